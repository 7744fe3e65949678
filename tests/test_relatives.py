"""LL4AL, VAAL, TA-VAAL and SRAAL: each loss against a reference written here in numpy, from the papers' equations;
who moves whom; odd batches, tiny, full and lopsided pools; two rounds in the loop."""
import json
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.special import expit, log_expit, softmax
from torch import nn
from asal_nb.adversarial import dsc_loss, oui, soft_targets
from asal_nb.core import rng
from asal_nb.data import asal_dls
from asal_nb.exam import probabilities
from asal_nb.images import ImageData
from asal_nb.learning_loss import LearningLoss, LossNet, LossTrainer, drawn, pair_loss, predicted_loss
from asal_nb.loop import ActiveLearning
from asal_nb.networks import asal_net
from asal_nb.pool import Pool
from asal_nb.sraal import SRAAL, task_batch
from asal_nb.targets import Plain
from asal_nb.tavaal import TAVAAL, RankedNet, ranked_batch
from asal_nb.trainers import ASAL, Random, Supervised
from asal_nb.training import ASALLoss
from asal_nb.turns import dsc_batch, dsc_step
from asal_nb.vaal import VAAL, beside, sampler_learner

F64, QUICK = torch.float64, dict(n_steps=4, bs=8)
TASK = Supervised(n_steps=4, bs=8)
MAKE = dict(vaal=lambda **kw: VAAL(TASK, **QUICK, **kw),
            tavaal=lambda **kw: TAVAAL(LossTrainer('ranknet', n_steps=4, bs=8), **QUICK, **kw),
            sraal=lambda **kw: SRAAL(TASK, **QUICK, **kw),
            sraal_task=lambda **kw: SRAAL(TASK, uncertainty='task', **QUICK, **kw),
            learning_loss=lambda **kw: LearningLoss(**QUICK, **kw))
SAMPLERS = ['vaal', 'tavaal', 'sraal', 'sraal_task']


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
    return {k: f().fit(DATA.blind(), POOL, None, seed=0) for k, f in MAKE.items()}


def same(got, want): np.testing.assert_allclose(float(got.detach()), want, rtol=1e-9, atol=1e-9)


# --- the losses ---

def ref_pairs(l_hat, l, how, xi=1.):
    "The pairs one by one, from both ends"
    out, i, j = [], 0, len(l) - 1
    while i < j:
        s = 1 if l[i] > l[j] else -1
        gap = l_hat[i] - l_hat[j]
        out.append(max(0, xi - s*gap) if how == 'hinge' else -log_expit(s*gap))
        i, j = i + 1, j - 1
    return np.mean(out) if out else 0.


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 65), st.sampled_from(['hinge', 'ranknet']), st.floats(0, 3), st.integers(0, 99))
def test_pair_loss(n, how, xi, seed):
    l, l_hat = [2*torch.randn(n, dtype=F64, generator=rng(seed, k)) for k in 'ab']
    if n > 3: l[0] = l[-1]  # a tie
    same(pair_loss(l_hat, l, how, xi), ref_pairs(l_hat.numpy(), l.numpy(), how, xi))


def test_pair_loss_moves_the_predictions_alone():
    l, l_hat = [torch.randn(7, generator=rng(k)).requires_grad_() for k in 'ab']
    pair_loss(l_hat, l).backward()
    assert l.grad is None and l_hat.grad[3] == 0 and l_hat.grad.abs().sum() > 0


def mlp_D(net, z):
    "D by hand"
    z = z.numpy()
    layers = [m for m in net.dsc.net if hasattr(m, 'weight')]
    for i, m in enumerate(layers):
        z = z @ m.weight.detach().numpy().T + m.bias.detach().numpy()
        if i < len(layers) - 1: z = np.where(z > 0, z, .2*z)
    return z[:, 0]


def case(kind, n_L=5, n_U=7, seed=0):
    "A net in float64, images and noise"
    torch.manual_seed(seed)
    task = LossNet(*(lambda o: (o.enc, o.clf))(asal_net((1, 8, 8), 3)), (1, 8, 8)).double()
    net = (RankedNet((1, 8, 8), 3, task) if kind == 'tavaal' else asal_net((1, 8, 8), 3)).double()
    x = torch.rand(n_L + n_U, 1, 8, 8, dtype=F64)
    return task, net, x[:n_L], x[n_L:], torch.randn(n_L + n_U, 32, dtype=F64), torch.arange(n_L) % 3


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('kind', SAMPLERS)
def test_sampler_losses(kind, seed):
    "url, cls_L, adv and dsc as the learners compute them, and from the equations in numpy"
    task, net, x_L, x_U, eps, y = case(kind, seed=seed)
    beta, beta_c, n = .3, .2, len(x_L)
    x = torch.cat([x_L, x_U])
    with torch.no_grad():
        mu, logvar = net.enc(x)
        z = mu + (logvar/2).exp()*eps
        r = torch.from_numpy(expit(task.eval()((x,))['l_hat'].numpy()))[:, None]
        x_hat = net.gen(torch.cat([z, r], 1) if kind == 'tavaal' else z).numpy()
        p_z, p_mu, p_task = [softmax(o.numpy(), 1) for o in (net.clf(z), net.clf(mu), task(x))]
    d = mlp_D(net, torch.cat([mu, r], 1) if kind == 'tavaal' else mu)
    kl = .5*(mu.numpy()**2 + np.exp(logvar.numpy()) - 1 - logvar.numpy()).sum(1)
    rec = -.5*((x_hat - x.numpy())**2).reshape(len(x), -1).sum(1) - beta*kl
    log_p = np.log(p_z[np.arange(n), y.numpy()]) - beta_c*kl[:n]
    t = dict(vaal=0., tavaal=0., sraal=1 - ref_oui(p_mu[n:]), sraal_task=1 - ref_oui(p_task[n:]))[kind]
    want = dict(url=rec[:n].mean() + rec[n:].mean(), cls_L=log_p.mean(),
                adv=-log_expit(d[:n]).mean() - log_expit(d[n:]).mean(),
                dsc=-log_expit(d[:n]).mean() - (t*log_expit(d[n:]) + (1 - t)*log_expit(-d[n:])).mean())
    got = ASALLoss(Plain(), 1., beta=beta, beta_c=beta_c).of(net((x_L, x_U, None, eps)), y)
    for k in ('url', 'cls_L', 'adv'): same(got[k], want[k])
    with torch.no_grad(): d = net.dsc(torch.cat([mu, r], 1) if kind == 'tavaal' else mu)
    p = torch.from_numpy(p_task if kind == 'sraal_task' else p_mu)[n:]
    t_U = soft_targets(p, 'oui') if kind.startswith('sraal') else None
    same(dsc_loss(d[:n], d[n:], t_U), want['dsc'])


def ref_oui(p):
    "OUI, row by row"
    out = []
    for q in p:
        k, m = len(q), max(q)
        least = np.array([m] + [(1 - m)/(k - 1)]*(k - 1))
        out.append(1 - m*least.var()/q.var())
    return np.array(out)


BATCH = dict(vaal=dsc_batch, tavaal=ranked_batch, sraal=dsc_batch)


@pytest.mark.parametrize('kind', SAMPLERS)
def test_what_dsc_is_shown(kind):
    "Inputs and targets as D's step makes them (in float32), without gradient, modes as they were"
    task, net, x_L, x_U, _, _ = case(kind)
    task, net, x = task.float(), net.float(), torch.cat([x_L, x_U]).float()
    batch = BATCH.get(kind, lambda *a: task_batch(*a, model=task))
    z, t_U = batch(net, x[:5], x[5:], 'oui' if kind.startswith('sraal') else None)
    with torch.no_grad():
        mu, r = net.enc(x)[0], task((x,))['l_hat'].sigmoid()[:, None]
        p = net.clf(mu[5:]) if kind == 'sraal' else task(x[5:])
    want = 1 - ref_oui(softmax(p.numpy(), 1)) if kind.startswith('sraal') else np.zeros(7)
    torch.testing.assert_close(z, torch.cat([mu, r], 1) if kind == 'tavaal' else mu)
    np.testing.assert_allclose(t_U.numpy(), want, atol=1e-4)
    assert not z.requires_grad and not t_U.requires_grad and task.training and net.training


def test_oui_table():
    p = np.array([[1.] + [0]*9, [.9] + [.1/9]*9, [.9, .1] + [0]*8, [.5, .5] + [0]*8, [.1]*10])
    got = oui(torch.from_numpy(p)).numpy()
    np.testing.assert_allclose(got, [0, .1, .111, .778, 1], atol=5e-4)
    np.testing.assert_allclose(got[:4], ref_oui(p[:4]), atol=1e-12)


# --- who moves whom ---

@pytest.mark.parametrize('kind', SAMPLERS)
def test_dsc_step_moves_dsc_alone(kind):
    "Bit for bit, the task model and its ranker among the others"
    learn = MAKE[kind]().fit(DATA.blind(), POOL, None, seed=0)
    s, task = learn.sampler, learn.model
    nets = dict(sampler=s.model, task=task)
    nets = {f'{n}.{k}': v for n, net in nets.items() for k, v in net.state_dict().items()}
    was = {k: v.clone() for k, v in nets.items()}
    (x_L, x_U), _ = learn.batch()
    dsc_step(s.dsc, s.opt, *s.dsc_step.batch(s.model, x_L, x_U, s.dsc_step.relabel))
    moved = [k for k, v in nets.items() if not torch.equal(v, was[k])]
    assert moved and all(k.startswith('sampler.dsc.') for k in moved)


@pytest.mark.parametrize('kind', SAMPLERS)
def test_gradients(fitted, kind):
    "Eq. (4) reaches E, D's loss reaches D alone, and nothing reaches the task model"
    learn = fitted[kind]
    t, s = learn.terms(learn.batch()), learn.sampler.model
    for o in (s, learn.model): o.zero_grad(set_to_none=True)
    t['dsc'].backward(retain_graph=True)
    assert all(p.grad is None for k, p in s.named_parameters() if not k.startswith('dsc.'))
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in s.dsc.parameters())
    t['adv'].backward(retain_graph=True)
    assert all(p.grad is not None for p in s.enc.trunk.parameters()) and s.enc.mu.weight.grad.abs().sum() > 0
    sum(t.values()).backward()
    assert all(p.grad is None for p in learn.model.parameters())


@pytest.mark.parametrize('kind', SAMPLERS)
def test_the_task_is_trained_as_without_a_sampler(fitted, kind):
    alone = MAKE[kind]().train.fit(DATA.blind(), POOL, None, seed=0)
    assert all(torch.equal(v, fitted[kind].model.state_dict()[k]) for k, v in alone.model.state_dict().items())
    assert torch.equal(probabilities(alone, DATA.x_test), probabilities(fitted[kind], DATA.x_test))


def test_vaal_sees_no_class(fitted):
    wrong = Pool(60, 3)
    wrong.label(POOL.idx_L, (POOL.y[POOL.idx_L] + 1) % 3)
    other = {k: MAKE[k]().fit(DATA.blind(), wrong, None, seed=0).scores(POOL.idx_U) for k in ('vaal', 'sraal')}
    assert torch.equal(other['vaal'], fitted['vaal'].scores(POOL.idx_U))
    assert not torch.equal(other['sraal'], fitted['sraal'].scores(POOL.idx_U))


def test_no_other_method_has_the_loss_module(fitted):
    has = {k for k, v in fitted.items() if isinstance(v.model, LossNet)}
    assert has == {'learning_loss', 'tavaal'}
    assert not any(isinstance(m, LossNet) for k in SAMPLERS for m in fitted[k].sampler.model.modules())


def test_dsc_moves_every_n_vae():
    "Six batches, n_vae = 3: two moves; the column shows the last"
    s = sampler_learner(asal_dls(DATA, POOL, 8, augment=False), n_vae=3)
    n, step = [], s.dsc_step.batch
    s.dsc_step.batch = lambda *a: n.append(1) or step(*a)
    s.fit(1)
    assert len(s.dls.train) == 6 and len(n) == 2 and np.isfinite(s.recorder.values[-1][0])


def test_stopped_ranker_leaves_E_alone():
    task = LossNet(*(lambda o: (o.enc, o.clf))(asal_net((1, 8, 8), 3)), (1, 8, 8))
    for stopped in (True, False):
        task.stopped = stopped
        task.zero_grad(set_to_none=True)
        task((torch.rand(5, 1, 8, 8),))['l_hat'].sum().backward()
        assert task.loss.last.weight.grad is not None
        assert (next(task.enc.parameters()).grad is None) == stopped


# --- scores and choices ---

@pytest.mark.parametrize('kind', SAMPLERS)
def test_scores(fitted, kind):
    "The same in any block and any order, twice; modes as they were; the smallest are asked"
    learn, rows = fitted[kind], POOL.idx_U
    modes = [m.training for m in learn.sampler.model.modules()], [m.training for m in learn.model.modules()]
    d = learn.scores(rows)
    for bs in (1, 7, 128): torch.testing.assert_close(learn.sampler.scores(rows, bs=bs), d, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(learn.scores(rows.flip(0)).flip(0), d, atol=1e-5, rtol=1e-4)
    assert torch.equal(learn.scores(rows), d)
    assert modes == ([m.training for m in learn.sampler.model.modules()], [m.training for m in learn.model.modules()])
    i = MAKE[kind]().query(learn, learn.dls.data, POOL, 5, seed=0)
    assert set(i.tolist()) == set(rows[d.argsort()[:5]].tolist())


@pytest.mark.parametrize('kind', SAMPLERS)
def test_a_trunk_with_dropout(kind):
    "Scored in inference mode, without batch mates; the trunk that was passed in is not trained"
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Dropout(.5), nn.BatchNorm1d(24))
    was = {k: v.clone() for k, v in trunk.state_dict().items()}
    learn = MAKE[kind](trunk=trunk).fit(DATA.blind(), POOL, None, seed=0)
    assert torch.equal(learn.scores(POOL.idx_U), learn.scores(POOL.idx_U))
    torch.testing.assert_close(learn.sampler.scores(POOL.idx_U, bs=1), learn.scores(POOL.idx_U), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(v, was[k]) for k, v in trunk.state_dict().items())


@pytest.mark.parametrize('kind', SAMPLERS)
def test_terms_of_a_batch(fitted, kind):
    "The learner's own D loss, with the targets that its method asks for"
    learn = fitted[kind]
    b, net = learn.batch(), learn.sampler.model
    (x_L, x_U), _ = b
    assert torch.equal(learn.batch()[0][1], x_U)  # no noise is used up
    with torch.no_grad():
        z = [torch.cat([net.enc(x)[0], net.rank(x)], 1) if kind == 'tavaal' else net.enc(x)[0] for x in (x_L, x_U)]
        d = [net.dsc(o).numpy() for o in z]
        p = softmax((learn.model(x_U) if kind == 'sraal_task' else net(x_U)).numpy(), 1)
    t = 1 - ref_oui(p) if kind.startswith('sraal') else 0.
    want = -log_expit(d[0]).mean() - (t*log_expit(d[1]) + (1 - t)*log_expit(-d[1])).mean()
    np.testing.assert_allclose(learn.terms(b)['dsc'].item(), want, rtol=1e-4)


def test_largest_predicted_loss_is_asked(fitted):
    learn = fitted['learning_loss']
    i = MAKE['learning_loss']().query(learn, learn.dls.data, POOL, 5, seed=0)
    l_hat = predicted_loss(learn.model, DATA.images(POOL.idx_U))
    assert set(i.tolist()) == set(POOL.idx_U[l_hat.argsort(descending=True)[:5]].tolist())


@pytest.mark.parametrize('kind', MAKE)
def test_same_seed_same_rows(fitted, kind):
    m = MAKE[kind]()
    a, b = [m.query(o, o.dls.data, POOL, 9, seed=3) for o in (fitted[kind], m.fit(DATA.blind(), POOL, None, seed=0))]
    assert torch.equal(a, b) and len(a.unique()) == 9 and torch.isin(a, POOL.idx_U).all()


@pytest.mark.parametrize('kind', ['learning_loss', 'tavaal'])
def test_subset(fitted, kind):
    rows, learn = POOL.idx_U, fitted[kind]
    i = MAKE[kind](subset=12).query(learn, learn.dls.data, POOL, 10, seed=1)
    assert torch.isin(i, drawn(rows, 12, 1)).all()
    assert len(MAKE[kind](subset=2).query(learn, learn.dls.data, POOL, 10, seed=1).unique()) == 10  # b rows at least
    assert torch.equal(drawn(rows, 12, 1), drawn(rows[torch.randperm(len(rows))], 12, 1))


# --- edges ---

EDGES = {'one label': ([5], 3, 4), 'all labels': (range(60), 3, 0), 'the whole pool': (range(7), 3, 53),
         'a missing class': (range(0, 60, 3), 3, 4), 'more classes than labels': ([1, 2], 9, 4)}  # rows, c, b


@pytest.mark.parametrize('kind', MAKE)
@pytest.mark.parametrize('rows, c, b', EDGES.values(), ids=EDGES)
def test_edges(kind, rows, c, b):
    "An answer, whatever the pool; numbers stay finite"
    data = toy(c=c).blind()
    pool, m = labelled(toy(c=c), rows), MAKE[kind]()
    learn = m.fit(data, pool, None, seed=0)
    assert probabilities(learn, data.x_test).isfinite().all()
    if hasattr(learn, 'terms'): assert all(v.isfinite() for v in learn.terms(learn.batch()).values())
    if b:
        i = m.query(learn, data, pool, b, seed=0)
        assert len(i.unique()) == b and torch.isin(i, pool.idx_U).all()
    with pytest.raises(ValueError, match='budget b=61'): m.query(learn, data, pool, 61, seed=0)
    with pytest.raises(ValueError, match='another .data, pool.'): m.query(learn, data, pool.copy(), 1, seed=0)


@pytest.mark.parametrize('bs', [1, 7])
@pytest.mark.parametrize('kind', MAKE)
def test_odd_batches_and_vectors(kind, bs):
    "Rows that are vectors, 59 of them, in odd batches"
    data = toy(59, shape=(5,))
    kw = dict(n_steps=3, bs=bs)
    task, ranked = Supervised(**kw), LossTrainer('ranknet', **kw)
    m = dict(vaal=VAAL(task, **kw), tavaal=TAVAAL(ranked, **kw), sraal=SRAAL(task, **kw),
             sraal_task=SRAAL(task, uncertainty='task', **kw), learning_loss=LearningLoss(**kw))[kind]
    pool = labelled(data, range(11))
    assert len(m.query(m.fit(data, pool, None, 0), data, pool, 5, 0).unique()) == 5


def test_no_labels_is_a_sentence():
    for f in MAKE.values():
        with pytest.raises(ValueError, match='no row is labelled yet'): f().fit(DATA, Pool(60, 3), None, 0)


@pytest.mark.parametrize('make, words', [
    (lambda: VAAL(lam2=1.), "VAAL keyword='lam2' is unknown"), (lambda: VAAL(n_vae=0), 'n_vae=0'),
    (lambda: VAAL('asla'), "did you mean 'asal'"), (lambda: TAVAAL('asal'), "train='asal' is unknown"),
    (lambda: TAVAAL(betta=1), "'beta'"), (lambda: SRAAL(uncertainty='oui'), "uncertainty='oui'"),
    (lambda: SRAAL(lam2=-1.), 'lam2=-1.0'), (lambda: LearningLoss(xi=-1), 'xi=-1'),
    (lambda: LearningLoss(epochs=1), "Supervised keyword='epochs'"),
    (lambda: LossTrainer('hing'), "did you mean 'hinge'"), (lambda: LearningLoss(subset=0), 'subset=0')])
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words.replace('(', '.')): make()


# --- in the loop ---

@pytest.mark.parametrize('kind', MAKE)
def test_two_rounds(kind):
    al = ActiveLearning(DATA, MAKE[kind](), b=5, rounds=2, n_first=6, first='random', quiet=True).run()
    assert al.results.n_labelled.tolist() == [6, 11, 16] and al.results.accuracy.between(0, 1).all()
    again = ActiveLearning(DATA, MAKE[kind](), b=5, rounds=2, n_first=6, first='random', quiet=True).run()
    assert torch.equal(al.pool.round, again.pool.round)


def test_settings_tell_methods_apart():
    ms = [VAAL(), VAAL(n_vae=1), VAAL(beta=1.), VAAL('asal'), TAVAAL(), TAVAAL(subset=9), TAVAAL('finetune'),
          SRAAL(), SRAAL(uncertainty='task'), SRAAL(lam2=.5), SRAAL(beta_c=1.),
          LearningLoss(), LearningLoss(lam=.5), LearningLoss(subset=9), LearningLoss(n_steps=7)]
    said = [json.dumps(m.settings, sort_keys=True) for m in ms]
    assert len(set(said)) == len(ms)


def test_any_training_may_stand_under_a_sampler():
    "ASAL's training has a D of its own; the sampler's is the one that is asked"
    m = VAAL(ASAL(n_warm=2, n_steps=3, bs=8, bs_U=8), **QUICK)
    warm = m.warm_up(DATA.blind(), 0)
    learn = m.fit(DATA.blind(), POOL, warm, 0)
    assert learn.dsc is learn.sampler.dsc and learn.dsc is not learn.model.dsc
    assert len(m.query(learn, learn.dls.data, POOL, 5, 0)) == 5
    r = Random(train=LossTrainer(n_steps=3, bs=8))
    assert len(r.query(r.fit(DATA, POOL, None, 0), DATA, POOL, 5, 0)) == 5


def test_beside_takes_any_object():
    class Task: model = nn.Linear(2, 2)
    class Stub: dsc, scores, terms = 'D', staticmethod(lambda rows: rows*2), staticmethod(lambda b: {})
    t = beside(Task(), Stub())
    assert isinstance(t, Task) and t.dsc == 'D' and t.scores(3) == 6 and t.terms(None) == {}
