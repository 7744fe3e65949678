"""Methods of others that train more than a classifier: each loss against a reference in numpy, from
the papers' equations; who moves whom; odd batches, shapes and pools; two rounds in the loop."""
import json
import math
from types import SimpleNamespace
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from scipy.special import expit, log_expit, softmax
from torch import nn
from asal_nb.core import rng
from asal_nb.paper.adversarial import dsc_loss, soft_targets
from asal_nb.data.pool import Pool
from asal_nb.data.images import ImageData
from asal_nb.data.loaders import asal_dls
from asal_nb.game.networks import asal_net
from asal_nb.game.targets import Plain
from asal_nb.game.turns import descend, dsc_batch
from asal_nb.game.learner import probabilities, ASALLoss
from asal_nb.loop.asal import ASAL, Random, Supervised
from asal_nb.loop.loop import ActiveLearning
from asal_nb.methods.learning_loss import LearningLoss, LossNet, LossTrainer, pair_loss
from asal_nb.methods.vaal import VAAL, beside, sampler_learner
from asal_nb.methods.tavaal import TAVAAL, RankedNet, ranked_batch
from asal_nb.methods.sraal import SRAAL, task_batch
from asal_nb.methods.generators import ClassEncoder, ImageGenerator
from asal_nb.methods.aral import ARAL, ARALLoss, gan_loss, log_q, mean_gap
from asal_nb.methods.dgaal import DGAAL, DGAALLoss, fool, state_loss, told_apart

F64 = torch.float64


def made(kind, n_steps=4, bs=8, **kw):
    "A quick method"
    quick = dict(n_steps=n_steps, bs=bs)
    if kind == 'learning_loss': return LearningLoss(**quick, **kw)
    if kind == 'aral': return ARAL(bs_U=20, **quick, **kw)
    if kind == 'tavaal': return TAVAAL(LossTrainer('ranknet', **quick), **quick, **kw)
    if kind == 'sraal_task': kw['uncertainty'] = 'task'
    cls = dict(vaal=VAAL, dgaal=DGAAL).get(kind, SRAAL)
    return cls(Supervised(**quick), **quick, **kw)


SAMPLERS = ['vaal', 'tavaal', 'sraal', 'sraal_task']
DRAWING = ['aral', 'dgaal']
GAMES = SAMPLERS + DRAWING
MAKE = [*GAMES, 'learning_loss']


def each(kinds): return pytest.mark.parametrize('kind', kinds)


def game_of(kind, learn):
    "Who plays: ARAL's own learner, or the sampler beside the task model"
    return learn if kind == 'aral' else learn.sampler


def toy(n=60, c=3, shape=(1, 8, 8)):
    "Images whose brightness is their class"
    y = torch.arange(n) % c
    x = torch.rand(n, *shape, generator=rng(n, 'x'))*.5 + y.view(-1, *[1]*len(shape))*.5/c
    return ImageData.from_arrays(x, y, x[:12], y[:12], classes=[str(i) for i in range(c)])


def labelled(data, rows):
    "A pool with the labels of `rows`"
    pool, rows = Pool(len(data), data.n_classes), torch.as_tensor(list(rows))
    pool.label(rows, data.oracle(rows))
    return pool


DATA = toy()
POOL = labelled(DATA, range(0, 24, 2))


@pytest.fixture(scope='module')
def fitted():
    "Each method's learner after one round"
    return {k: made(k).fit(DATA.blind(), POOL, None, seed=0) for k in MAKE}


def same(got, want, tol=1e-9):
    got = torch.as_tensor(got, dtype=F64).detach().numpy()
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


# --- the losses ---

def ref_pairs(l_hat, l, how, xi=1.):
    "The pairs one by one, from both ends"
    out = []
    for i in range(len(l)//2):
        gap = (l_hat[i] - l_hat[-1-i])*(1 if l[i] > l[-1-i] else -1)
        out.append(max(0, xi - gap) if how == 'hinge' else -log_expit(gap))
    return np.mean(out) if out else 0.


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 65), st.sampled_from(['hinge', 'ranknet']), st.floats(0, 3), st.integers(0, 99))
def test_pair_loss(n, how, xi, seed):
    "As pair by pair; it moves the predictions alone, not that of a row without a partner."
    l, l_hat = [2*torch.randn(n, dtype=F64, generator=rng(seed, k)) for k in 'ab']
    if n > 3: l[0] = l[-1]  # a tie
    want = ref_pairs(l_hat.numpy(), l.numpy(), how, xi)
    for o in (l, l_hat): o.requires_grad_()
    loss = pair_loss(l_hat, l, how, xi)
    same(loss, want)
    loss.backward()
    assert l.grad is None and (n % 2 == 0 or l_hat.grad[n//2] == 0)


def mlp_D(net, z):
    "D by hand"
    z = z.numpy()
    layers = [m for m in net.dsc.net if hasattr(m, 'weight')]
    for i, m in enumerate(layers):
        z = z @ m.weight.detach().numpy().T + m.bias.detach().numpy()
        if i < len(layers) - 1: z = np.where(z > 0, z, .2*z)
    return z[:, 0]


def case(kind, n_L=5, n_U=7, seed=0):
    "Nets in float64, images and noise"
    torch.manual_seed(seed)
    own = asal_net((1, 8, 8), 3)
    task = LossNet(own.enc, own.clf, (1, 8, 8)).double()
    net = RankedNet((1, 8, 8), 3, task) if kind == 'tavaal' else asal_net((1, 8, 8), 3)
    x, eps = torch.rand(n_L + n_U, 1, 8, 8, dtype=F64), torch.randn(n_L + n_U, 32, dtype=F64)
    return SimpleNamespace(
        task=task, net=net.double(), x_L=x[:n_L], x_U=x[n_L:], eps=eps, y=torch.arange(n_L) % 3)


@pytest.mark.parametrize('seed', range(3))
@each(SAMPLERS)
def test_sampler_losses(kind, seed):
    "url, cls_L, adv and dsc as the learners compute them, and from the equations in numpy"
    c = case(kind, seed=seed)
    net, x = c.net, torch.cat([c.x_L, c.x_U])
    n, weights = len(c.x_L), dict(beta=.3, beta_c=.2)
    with torch.no_grad():
        mu, logvar = net.enc(x)
        z = mu + (logvar/2).exp()*c.eps
        r = torch.from_numpy(expit(c.task.eval()((x,))['l_hat'].numpy()))[:, None]
        x_hat = net.gen(torch.cat([z, r], 1) if kind == 'tavaal' else z).numpy()
        seen = torch.cat([mu, r], 1) if kind == 'tavaal' else mu
        d_net = net.dsc(seen)
        p_z = softmax(net.clf(z).numpy(), 1)
        p_U = softmax((c.task(x) if kind == 'sraal_task' else net.clf(mu)).numpy(), 1)[n:]
    d = mlp_D(net, seen)
    kl = .5*(mu.numpy()**2 + np.exp(logvar.numpy()) - 1 - logvar.numpy()).sum(1)
    rec = -.5*((x_hat - x.numpy())**2).reshape(len(x), -1).sum(1) - .3*kl
    log_p = np.log(p_z[np.arange(n), c.y.numpy()]) - .2*kl[:n]
    want = dict(
        url=rec[:n].mean() + rec[n:].mean(), cls_L=log_p.mean(),
        adv=-log_expit(d[:n]).mean() - log_expit(d[n:]).mean())
    got = ASALLoss(Plain(), 1., **weights).of(net((c.x_L, c.x_U, None, c.eps)), c.y)
    for k, v in want.items(): same(got[k], v)
    t_U = soft_targets(torch.from_numpy(p_U), 'oui') if kind.startswith('sraal') else None
    same(dsc_loss(d_net[:n], d_net[n:], t_U), ref_dsc(kind, d[:n], d[n:], p_U))


def ref_oui(p):
    "OUI, row by row"
    out = []
    for q in p:
        k, m = len(q), max(q)
        least = np.array([m] + [(1 - m)/(k - 1)]*(k - 1))
        out.append(1 - m*least.var()/q.var())
    return np.array(out)


def ref_dsc(kind, d_L, d_U, p_U):
    "D's loss; SRAAL's targets of unlabelled rows are by the class probabilities `p_U`"
    t = 1 - ref_oui(p_U) if kind.startswith('sraal') else 0.
    return -log_expit(d_L).mean() - (t*log_expit(d_U) + (1 - t)*log_expit(-d_U)).mean()


@each(SAMPLERS)
def test_what_dsc_is_shown(kind):
    "Inputs and targets as D's step makes them (in float32), without gradient, modes as they were"
    c, is_sraal = case(kind), kind.startswith('sraal')
    task, net = c.task.float(), c.net.float()
    x = torch.cat([c.x_L, c.x_U]).float()
    batch = dict(vaal=dsc_batch, tavaal=ranked_batch, sraal=dsc_batch).get(kind)
    batch = batch or (lambda *a: task_batch(*a, model=task))
    z, t_U = batch(net, x[:5], x[5:], 'oui' if is_sraal else None)
    with torch.no_grad():
        mu, r = net.enc(x)[0], task((x,))['l_hat'].sigmoid()[:, None]
        p = net.clf(mu[5:]) if kind == 'sraal' else task(x[5:])
    want = 1 - ref_oui(softmax(p.numpy(), 1)) if is_sraal else np.zeros(7)
    torch.testing.assert_close(z, torch.cat([mu, r], 1) if kind == 'tavaal' else mu)
    np.testing.assert_allclose(t_U.numpy(), want, atol=1e-4)
    assert not z.requires_grad and not t_U.requires_grad and task.training and net.training


def sp(a): return np.logaddexp(0, a)
def normals(seed, *shapes):
    g = rng(seed)
    return [torch.randn(*o, generator=g, dtype=F64)*2 for o in shapes]


sizes = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, sizes, st.integers(0, 10**6))
def test_arals_losses(n, m, k, seed):
    real, drawn = normals(seed, (n, k), (m, k))
    A_R, A_hat = [np.log(np.exp(o.numpy()).sum(1)) for o in (real, drawn)]
    same(gan_loss(real, drawn), .5*sp(-A_R).mean() + .5*sp(A_hat).mean())
    same(mean_gap(drawn, real), np.abs(drawn.numpy().mean(0) - real.numpy().mean(0)).sum())
    q = normals(seed + 1, (n, k), (n, k))
    mu, logvar = [o.numpy() for o in q]
    want = (real.numpy() - mu)**2/np.exp(logvar) + logvar + math.log(2*math.pi)
    same(log_q(real, *q), -.5*want.sum(1))


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(0, 9), st.integers(0, 10**6), st.floats(0, 3))
def test_dgaals_losses(n, m, k, seed, w):
    d = normals(seed, (n,), (m,), (k,))
    L, U = d[0].numpy(), d[1].numpy()
    cost = sp(-d[2].numpy()).mean() if k else 0
    same(fool(d[2]), cost)
    same(state_loss(*d, w), sp(-L).mean() + sp(U).mean() + w*cost)
    same(told_apart(lambda x: 2*x, *d[:2]), sp(-2*L).mean() + sp(2*U).mean())


def five(a, b): return st.lists(st.floats(a, b), min_size=5, max_size=5)


@given(five(-5, 5), five(0, 5))
def test_the_sums(t, lam):
    loss = ARALLoss(10, **dict(zip(('lam_gan', 'lam_trd', 'lam_rec', 'lam_adv', 'lam_y'), lam)))
    same(loss.total(t[0], t[1]), t[0] + lam[0]*t[1])
    same(loss.of_others(*t), t[0] + lam[2]*t[1] - lam[1]*.2*t[2] + lam[3]*t[3] + lam[4]*t[4])
    loss = DGAALLoss(lam[0], lam4=lam[1], lam_r=lam[2])
    same(loss.total(*t[:3]), -lam[0]*t[0] + lam[2]*t[1] + lam[1]*t[2])


# --- who moves whom ---

MOVERS = dict(aral=[{'gen', 'q'}, {'dsc'}], dgaal=[{'gen'}, {'dsc'}, {'real1', 'real2', 'last'}])
FIRST = dict(aral={'enc', 'clf'}, dgaal={'enc', 'rec'})
FELT = dict(
    aral=dict(adv={'q', 'dsc'}, cls=FIRST['aral'], gan=FIRST['aral'], trd={'gen', 'q'}),
    dgaal=dict(adv={'enc', 'dsc'}, url=FIRST['dgaal'], last={'last'}, real1={'real1'},
               real2={'real2'}))
AT_LEAST = dict(
    aral=dict(rec={'gen', 'q'}, mean_gap={'gen'}),
    dgaal=dict(fool1={'enc', 'rec'}, fool2={'gen'}, fool_s={'gen'}))


def state(net): return {k: v.clone() for k, v in net.state_dict().items()}
def players(names): return {k.split('.')[0] for k in names}
def changed(net, was):
    return players(k for k, v in net.state_dict().items() if not torch.equal(v, was[k]))


def fresh(kind):
    "A learner that nobody else uses, and who plays in it"
    learn = made(kind).fit(DATA.blind(), POOL, None, seed=0)
    return learn, game_of(kind, learn)


@each(GAMES)
def test_each_move_is_the_movers_own(kind):
    "Bit for bit; a task model apart and its ranker stand still"
    learn, game = fresh(kind)
    moves = game.moves(*game.first_pass(game.dls.train.one_batch()))
    task = state(learn.model)
    for who in MOVERS.get(kind, [{'dsc'}]):
        was = state(game.model)
        params, _, loss = next(moves)
        descend(loss, params, game.opt)
        assert changed(game.model, was) == who
    assert next(moves, None) is None and (kind == 'aral' or not changed(learn.model, task))


@each(DRAWING)
def test_every_player_learns_in_a_fit(kind, monkeypatch):
    "The first player's move is its own, too: the others stand still at first"
    game = fresh(kind)[1].silence()
    was = state(game.model)
    with monkeypatch.context() as m:
        m.setattr('asal_nb.game.turns.descend', lambda *a: None)
        game.fit(1, 1e-2)
    assert changed(game.model, was) == FIRST[kind]
    game.fit(1, 1e-2)
    assert changed(game.model, was) == players(k for k, _ in game.model.named_children())


@each([*DRAWING, 'tavaal'])  # whose D moves at each step
def test_the_moves_descend_what_terms_shows(kind, monkeypatch):
    "A step's losses are those that `terms_of` gives for its batch and noise"
    game = fresh(kind)[1].silence()
    monkeypatch.setattr('asal_nb.game.turns.descend', lambda *a: None)
    game.loss_func.total = lambda **terms: 0*sum(terms.values())  # nobody moves
    game.create_opt()  # without memory of what it was trained for
    game.dls.train.n_steps, noise = 1, game.dls.rng.get_state()
    want = game.terms_of(game.dls.train.one_batch())
    game.dls.rng.set_state(noise)
    game.fit(1)
    assert game.loss_func.terms == {k: v.detach() for k, v in want.items()}


@each(GAMES)
def test_who_feels_which_term(fitted, kind):
    "Eq. (4) reaches the encoder of codes, D's loss D alone, no term a task model apart"
    learn = fitted[kind]
    net, terms = game_of(kind, learn).model, learn.terms(POOL.idx_L, POOL.idx_U)
    ps = dict(net.named_parameters())

    def felt(term):
        "Names of the parameters that a term has a gradient for"
        kw = dict(retain_graph=True, allow_unused=True)
        gs = torch.autograd.grad(terms[term], [*ps.values()], **kw)
        return {k for k, g in zip(ps, gs) if g is not None and g.abs().sum() > 0}
    assert players(felt('dsc')) == {'dsc'}
    assert any('.trunk.' in k for k in felt('adv')) and any('.mu.' in k for k in felt('adv'))
    for k, who in FELT.get(kind, dict(adv={'enc', 'dsc'})).items(): assert players(felt(k)) == who
    for k, who in AT_LEAST.get(kind, {}).items(): assert players(felt(k)) >= who
    sum(terms.values()).backward()
    assert kind == 'aral' or all(p.grad is None for p in learn.model.parameters())


@each([*SAMPLERS, 'dgaal'])
def test_the_task_is_trained_as_without_a_sampler(fitted, kind):
    alone = made(kind).train.fit(DATA.blind(), POOL, None, seed=0)
    assert not changed(alone.model, fitted[kind].model.state_dict())
    assert torch.equal(probabilities(alone, DATA.x_test), probabilities(fitted[kind], DATA.x_test))


def test_no_other_method_has_the_loss_module(fitted):
    has = {k for k, v in fitted.items() if isinstance(v.model, LossNet)}
    assert has == {'learning_loss', 'tavaal'}
    modules = [m for k in GAMES for m in game_of(k, fitted[k]).model.modules()]
    assert not any(isinstance(m, LossNet) for m in modules)


def test_dsc_moves_every_n_vae():
    "Six batches, n_vae = 3: two moves; the column shows their mean"
    s = sampler_learner(asal_dls(DATA, POOL, 8, augment=False), n_vae=3)
    n, shown = [], s.shown
    s.shown = lambda *a: n.append(1) or shown(*a)
    s.fit(1)
    assert len(s.dls.train) == 6 and len(n) == s.loss_terms.n['dsc'] == 2
    assert s.loss_terms.n['url'] == 6 and np.isfinite(s.recorder.values[-1][0])


def test_what_is_new_is_the_last_round():
    pool, m = labelled(DATA, range(8)), made('dgaal')
    assert not m.fit(DATA, pool, None, 0).sampler.has_old
    pool.label(torch.arange(8, 12), torch.arange(8, 12) % 3)
    learn = m.fit(DATA, pool, None, 0).sampler
    assert learn.has_old
    for _ in range(5):
        x, y_L = learn.dls.train.one_batch()
        assert torch.equal(learn.prepared(x, y_L).is_new, y_L.i_L >= 8)


# --- scores and choices ---

@each(GAMES)
def test_scores(fitted, kind):
    "The same in any block, order and company, twice; modes as they were; the smallest are asked"
    learn, m = fitted[kind], made(kind)
    game, data = game_of(kind, learn), learn.dls.data
    rows = POOL.idx_U
    def modes(): return [o.training for net in (game, learn) for o in net.model.modules()]
    was, d = modes(), learn.scores(rows)
    def near(got, want): torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    for bs in (1, 7, 128): near(game.scores(rows, bs=bs), d)
    for i in (slice(7, 8), slice(0, None, 3), list(range(len(rows)))[::-1]):
        near(learn.scores(rows[i]), d[i])
    assert d.shape == rows.shape and learn.scores(rows[:0]).shape == (0,) and modes() == was
    assert torch.equal(learn.scores(rows), d) and torch.equal(m.scores(learn, data, rows, 0), d)
    i = m.query(learn, data, POOL, 5, seed=0)
    assert set(i.tolist()) == set(rows[d.argsort()[:5]].tolist())


def test_a_held_label_is_not_used():
    pool = labelled(DATA, range(12))
    learn = made('aral').fit(DATA, pool, None, 0)
    pool.is_held[3] = True
    y = learn.y_of(torch.arange(len(DATA)))
    assert y[3] == -1 and y[:3].tolist() == [0, 1, 2] and (y[12:] == -1).all()


@each(SAMPLERS)
def test_a_trunk_with_dropout(kind):
    "Scored in inference mode, without batch mates; the trunk that was passed in is not trained"
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Dropout(.5), nn.BatchNorm1d(24))
    was = {k: v.clone() for k, v in trunk.state_dict().items()}
    learn = made(kind, trunk=trunk).fit(DATA.blind(), POOL, None, seed=0)
    assert torch.equal(learn.scores(POOL.idx_U), learn.scores(POOL.idx_U))
    torch.testing.assert_close(
        learn.sampler.scores(POOL.idx_U, bs=1), learn.scores(POOL.idx_U), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(v, was[k]) for k, v in trunk.state_dict().items())


@each(GAMES)
@pytest.mark.parametrize('n, m', [(12, 48), (5, 3), (1, 3), (1, 1)])
def test_terms_of_rows(fitted, kind, n, m):
    "All are finite numbers; a sampler's own D loss has the targets that its method asks for"
    learn, rows = fitted[kind], [POOL.idx_L[:n], POOL.idx_U[:m]]
    terms = learn.terms(*rows)
    assert all(v.shape == () and v.isfinite() for v in terms.values())
    if kind in DRAWING: return  # their chapters check every term
    net, xs = learn.sampler.model, [DATA.images(o) for o in rows]
    with torch.no_grad():
        z = [net.enc(x)[0] for x in xs]
        if kind == 'tavaal': z = [torch.cat([o, net.rank(x)], 1) for o, x in zip(z, xs)]
        d_L, d_U = [net.dsc(o).numpy() for o in z]
        p = softmax((learn.model if kind == 'sraal_task' else net)(xs[1]).numpy(), 1)
    same(terms['dsc'], ref_dsc(kind, d_L, d_U, p), 1e-4)


@each(MAKE)
def test_same_seed_same_rows(fitted, kind):
    "Whatever stands where no label was asked for; with another seed other rows"
    rows = []
    for seed in (0, 1):
        pool, m = POOL.copy(), made(kind)
        pool.y[pool.idx_U] = -7  # garbage that still means unlabelled
        rows.append(m.query(m.fit(DATA, pool, None, seed), DATA, pool, 9, seed=seed))
    own = made(kind).query(fitted[kind], fitted[kind].dls.data, POOL, 9, seed=0)
    assert torch.equal(own, rows[0]) and not torch.equal(own, rows[1])
    assert len(own.unique()) == 9 and torch.isin(own, POOL.idx_U).all()


@each(['learning_loss', 'tavaal'])
def test_a_subset_has_the_budgets_rows_at_least(fitted, kind):
    i = made(kind, subset=2).query(fitted[kind], fitted[kind].dls.data, POOL, 10, seed=1)
    assert len(i.unique()) == 10


# --- edges ---

# rows, c, b
EDGES = {
    'one label': ([5], 3, 4), 'all labels': (range(60), 3, 0), 'the whole pool': (range(7), 3, 53),
    'a missing class': (range(0, 60, 3), 3, 4), 'more classes than labels': ([1, 2], 20, 4),
    'one row left': (range(59), 3, 1), 'three rows left': (range(57), 3, 3)}


@each(MAKE)
@pytest.mark.parametrize('rows, c, b', EDGES.values(), ids=EDGES)
def test_edges(kind, rows, c, b):
    "An answer, whatever the pool; numbers stay finite"
    data = toy(c=c).blind()
    pool, m = labelled(toy(c=c), rows), made(kind)
    learn = m.fit(data, pool, None, seed=0)
    p, left = probabilities(learn, data.x_test), len(pool.idx_U)
    assert p.shape == (12, c) and p.isfinite().all()
    if kind != 'learning_loss':
        terms = learn.terms(pool.idx_L[:8], pool.idx_U[:8])
        assert all(v.isfinite() for v in terms.values())
    if b:
        i = m.query(learn, data, pool, b, seed=0)
        assert len(i.unique()) == b and torch.isin(i, pool.idx_U).all()
    for bad in (0, left + 1, 61):
        why = 'the unlabelled rows' if left else 'is impossible: none are left'
        with pytest.raises(ValueError, match=f'budget b={bad} .*{why}'):
            m.query(learn, data, pool, bad, seed=0)
    with pytest.raises(ValueError, match='another .data, pool.'):
        m.query(learn, data, pool.copy(), 1, seed=0)


SHAPES = [(1, 12, 12), (3, 8, 8), (3, 28, 28), (1, 33, 33), (3, 64, 64)]


@each(MAKE)
@pytest.mark.parametrize('shape, bs', [((5,), 1), ((5,), 7), *[(o, 8) for o in SHAPES]], ids=str)
def test_shapes_and_odd_batches(kind, shape, bs):
    "Rows that are vectors, or images of any size, 29 of them; images are drawn in that shape, too"
    data, m = toy(29, shape=shape), made(kind, 2, bs)
    pool = labelled(data, range(11))
    learn = m.fit(data, pool, None, 0)
    assert len(m.query(learn, data, pool, 5, 0).unique()) == 5
    if kind in DRAWING:
        x = game_of(kind, learn).drawn(torch.arange(4) % 3 if kind == 'aral' else 4)
        assert x.shape == (4, *shape) and x.isfinite().all()


@each(MAKE)
def test_what_cannot_be_trained_is_a_sentence(kind):
    with pytest.raises(ValueError, match='no row is labelled yet'):
        made(kind).fit(DATA, Pool(60, 3), None, 0)
    data = toy(24, shape=(1, 6, 6))
    with pytest.raises(ValueError, match='square images'):
        made(kind).fit(data, labelled(data, range(8)), None, 0)


@settings(max_examples=12, deadline=None)
@given(st.integers(8, 64), st.sampled_from([1, 3]))
def test_images_of_every_size(size, c):
    gen, y = ImageGenerator((c, size, size), 2, 3, nf=8), F.one_hot(torch.tensor([1]), 3)
    x = gen(torch.zeros(1, 2), y)
    assert x.shape == (1, c, size, size) and 0 <= x.min() and x.max() <= 1
    assert ClassEncoder((c, size, size), 2, 3)(x, torch.zeros(1, 3))[0].shape == (1, 2)


REFUSED = [
    (VAAL, dict(lam2=1.), "VAAL has no keyword 'lam2'"), (VAAL, dict(n_vae=0), 'n_vae=0'),
    (VAAL, dict(train='asla'), "did you mean 'asal'"), (TAVAAL, dict(betta=1), "'beta'"),
    (TAVAAL, dict(train='asal'), "train='asal' is unknown"),
    (SRAAL, dict(uncertainty='oui'), "uncertainty='oui'"), (SRAAL, dict(lam2=-1.), 'lam2=-1.0'),
    (LearningLoss, dict(xi=-1), 'xi=-1'), (LearningLoss, dict(subset=0), 'subset=0'),
    (LearningLoss, dict(epochs=1), "has no keyword 'epochs'; did you mean 'n_steps'"),
    (LossTrainer, dict(how='hing'), "did you mean 'hinge'"),
    (ARAL, dict(n_stepps=3), "ARAL has no keyword 'n_stepps'; did you mean 'n_steps'"),
    (DGAAL, dict(n_stepps=3), "DGAAL has no keyword 'n_stepps'; did you mean 'n_steps'"),
    (ARAL, dict(bs=0), 'bs=0'), (DGAAL, dict(bs=0), 'bs=0'),
    (ARAL, dict(beta=-1), 'beta=-1'), (DGAAL, dict(beta=-1), 'beta=-1')]


@pytest.mark.parametrize('cls, kw, words', REFUSED)
def test_refusals(cls, kw, words):
    with pytest.raises(ValueError, match=words): cls(**kw)


# --- in the loop ---

@each(MAKE)
def test_two_rounds(kind):
    def run(): return ActiveLearning(DATA, made(kind), 5, 2, 6, 'random', quiet=True).run()
    al = run()
    assert al.results.n_labelled.tolist() == [6, 11, 16] and al.results.accuracy.between(0, 1).all()
    assert torch.equal(al.pool.round, run().pool.round)


def settings_of_each():
    ms = [
        VAAL(), VAAL(n_vae=1), VAAL(beta=1.0), VAAL('asal'), TAVAAL(), TAVAAL(subset=9),
        TAVAAL('finetune'), SRAAL(), SRAAL(uncertainty='task'), SRAAL(lam2=0.5), SRAAL(beta_c=1.0),
        LearningLoss(), LearningLoss(lam=0.5), LearningLoss(subset=9), LearningLoss(n_steps=7),
        ARAL(), ARAL(n_steps=5), DGAAL(), DGAAL(n_steps=5)]
    return [json.dumps(m.settings, sort_keys=True) for m in ms]


def test_settings_tell_methods_apart():
    said = settings_of_each()
    assert said == settings_of_each() and len(set(said)) == len(said)


def test_any_training_may_stand_under_a_sampler():
    "ASAL's training has a D of its own; the sampler's is the one that is asked"
    m = VAAL(ASAL(n_warm=2, n_steps=3, bs=8, bs_U=8), n_steps=4, bs=8)
    warm = m.warm_up(DATA.blind(), 0)
    learn = m.fit(DATA.blind(), POOL, warm, 0)
    assert learn.dsc is learn.sampler.dsc and learn.dsc is not learn.model.dsc
    assert len(m.query(learn, learn.dls.data, POOL, 5, 0)) == 5
    r = Random(train=LossTrainer(n_steps=3, bs=8))
    assert len(r.query(r.fit(DATA, POOL, None, 0), DATA, POOL, 5, 0)) == 5


def test_beside_takes_any_object():
    task, stub = SimpleNamespace(model=nn.Linear(2, 2)), SimpleNamespace(dsc='D', scores=abs)
    stub.terms = dict
    t = beside(task, stub)
    assert t is task and t.dsc == 'D' and t.scores(-3) == 3 and t.terms({}) == {}
