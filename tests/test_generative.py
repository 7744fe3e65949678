"ARAL and DGAAL: their losses by numpy, whose move changes what, odd pools and shapes, labels that must not matter."
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from asal_nb.aral import ARAL, ARALLoss, aral_learner, gan_loss, log_q, mean_gap
from asal_nb.core import rng
from asal_nb.data import asal_dls
from asal_nb.dgaal import DGAAL, DGAALLoss, dgaal_learner, fool, state_loss, told_apart
from asal_nb.exam import probabilities
from asal_nb.images import ImageData
from asal_nb.loop import ActiveLearning
from asal_nb.players import ClassEncoder, ImageGenerator, descend
from asal_nb.pool import Pool
from asal_nb.trainers import Supervised

CLASSES = 4


def toy(n=60, shape=(1, 8, 8), classes=CLASSES, labels=True):
    "Images whose brightness is their class; without `labels` its oracle refuses"
    g = rng(0, 'toy')
    y = torch.arange(n) % classes
    x = torch.rand(n, *shape, generator=g)*.4 + (y/classes*.6).view(-1, *[1]*len(shape))
    data = ImageData.from_arrays(x, y, x[:20], y[:20], [str(o) for o in range(classes)])
    if not labels: data.oracle = lambda rows: 1/0
    return data


def labelled(data, rows, y=None):
    pool = Pool(len(data), data.n_classes)
    rows = torch.as_tensor(rows)
    pool.label(rows, rows % data.n_classes if y is None else torch.as_tensor(y))
    return pool


SMALL = {'aral': lambda **kw: ARAL(**{'n_steps': 4, 'bs': 6, 'bs_U': 20, **kw}),
         'dgaal': lambda **kw: DGAAL(**{'train': Supervised(n_steps=4, bs=6), 'n_steps': 4, 'bs': 20, **kw})}
both = pytest.mark.parametrize('kind', SMALL)


def learner(kind, data, pool, seed=0):
    make = aral_learner if kind == 'aral' else dgaal_learner
    return make(asal_dls(data, pool, 6, bs_U=9, seed=seed), seed=seed, nz=5).silence()


# the losses, by numpy
def sp(a): return np.logaddexp(0, a)
def drawn(g, *shape): return torch.randn(*shape, generator=g, dtype=torch.float64)*2
sizes = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, sizes, st.integers(0, 10**6))
def test_arals_losses(n, m, k, seed):
    g = rng(seed)
    l_R, l_hat, f_hat, f = drawn(g, n, k), drawn(g, m, k), drawn(g, m, k), drawn(g, n, k)
    A_R, A_hat = [np.log(np.exp(o.numpy()).sum(1)) for o in (l_R, l_hat)]
    D_R, D_hat = [np.exp(a)/(1 + np.exp(a)) for a in (A_R, A_hat)]
    assert abs(gan_loss(l_R, l_hat).item() + .5*np.log(D_R).mean() + .5*np.log1p(-D_hat).mean()) < 1e-9
    assert abs(mean_gap(f_hat, f).item() - np.abs(f_hat.numpy().mean(0) - f.numpy().mean(0)).sum()) < 1e-9
    z, mu, logvar = [drawn(g, n, k) for _ in range(3)]
    want = -.5*((z - mu).numpy()**2/np.exp(logvar.numpy()) + logvar.numpy() + math.log(2*math.pi)).sum(1)
    assert np.abs(log_q(z, mu, logvar).numpy() - want).max() < 1e-9*max(1, np.abs(want).max())


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(0, 9), st.integers(0, 10**6), st.floats(0, 3))
def test_dgaals_losses(n, m, k, seed, w):
    g = rng(seed)
    d_L, d_U, d_hat = drawn(g, n), drawn(g, m), drawn(g, k)
    L, U, hat = [o.numpy() for o in (d_L, d_U, d_hat)]
    cost = sp(-hat).mean() if k else 0
    assert abs(fool(d_hat).item() - cost) < 1e-9
    assert abs(state_loss(d_L, d_U, d_hat, w).item() - sp(-L).mean() - sp(U).mean() - w*cost) < 1e-9
    assert abs(told_apart(lambda x: 2*x, d_L, d_U).item() - sp(-2*L).mean() - sp(2*U).mean()) < 1e-9


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=5), st.lists(st.floats(0, 5), min_size=5, max_size=5))
def test_the_sums(t, lam):
    gan, trd, rec, adv, y = lam
    loss = ARALLoss(10, lam_gan=gan, lam_trd=trd, lam_rec=rec, lam_adv=adv, lam_y=y)
    assert loss.total(t[0], t[1]) == pytest.approx(t[0] + gan*t[1])
    assert loss.of_others(*t) == pytest.approx(t[0] + rec*t[1] - trd*.2*t[2] + adv*t[3] + y*t[4], abs=1e-9)
    loss = DGAALLoss(gan, lam4=trd, lam_r=rec)
    assert loss.total(*t[:3]) == pytest.approx(-gan*t[0] + rec*t[1] + trd*t[2], abs=1e-9)


# the game
MOVERS = {'aral': [{'gen', 'q'}, {'dsc'}], 'dgaal': [{'gen'}, {'dsc'}, {'real1', 'real2', 'last'}]}
FIRST = {'aral': {'enc', 'clf'}, 'dgaal': {'enc', 'rec'}}


def changed(net, was): return {k.split('.')[0] for k, v in net.state_dict().items() if not torch.equal(v, was[k])}
def state(net): return {k: v.clone() for k, v in net.state_dict().items()}


@both
def test_each_move_is_the_movers_own(kind):
    data = toy()
    learn = learner(kind, data, labelled(data, range(12)))
    learn.create_opt()
    (x_L, x_U), y_L = learn.dls.train.one_batch()
    o = learn.prepared(x_L, x_U, y_L)
    out = learn.model(learn.seen(x_L, x_U, y_L, o))
    moves = learn.moves(x_L, x_U, y_L, o, out)
    for who in MOVERS[kind]:
        was = state(learn.model)
        params, _, loss = next(moves)
        descend(loss, list(params), learn.opt)
        assert changed(learn.model, was) == who
    assert next(moves, None) is None


@both
def test_the_first_move_is_the_first_players(kind, monkeypatch):
    monkeypatch.setattr('asal_nb.players.descend', lambda *a: None)  # the others stand still
    data = toy()
    learn = learner(kind, data, labelled(data, range(12)))
    was = state(learn.model)
    learn.fit(1, 1e-2)
    assert changed(learn.model, was) == FIRST[kind]


@both
def test_every_player_learns_in_a_fit(kind):
    data = toy()
    learn = learner(kind, data, labelled(data, range(12)))
    was = state(learn.model)
    learn.fit(1, 1e-2)
    assert changed(learn.model, was) == {k for k, _ in learn.model.named_children()}


@both
def test_who_feels_which_term(kind):
    "Eq. (4) reaches the encoder of codes and not the other judges; the sampler's cost reaches the sampler alone."
    data = toy()
    learn = learner(kind, data, labelled(data, range(12)))
    terms, net = learn.terms(learn.dls.train.one_batch()), learn.model

    def felt(term):
        ps = dict(net.named_parameters())
        gs = torch.autograd.grad(terms[term], list(ps.values()), retain_graph=True, allow_unused=True)
        return {k.split('.')[0] for k, g in zip(ps, gs) if g is not None and g.abs().sum() > 0}
    assert felt('adv') == {'q' if kind == 'aral' else 'enc', 'dsc'}
    assert felt('dsc') == {'dsc'}
    if kind == 'aral':
        assert felt('cls') == {'enc', 'clf'} == felt('gan')
        assert felt('trd') == {'gen', 'q'}                    # the reconstruction's gradient is not cut off
        assert {'gen', 'q'} <= felt('rec') and 'gen' in felt('mean_gap')
    else:
        assert felt('url') == {'enc', 'rec'} and {'enc', 'rec'} <= felt('fool1')
        assert felt('last') == {'last'} and felt('real1') == {'real1'} and felt('real2') == {'real2'}
        assert 'gen' in felt('fool2') and 'gen' in felt('fool_s')


def test_what_is_new_is_the_last_round():
    data = toy()
    pool = labelled(data, range(8))
    pool.label(torch.arange(8, 12), torch.arange(8, 12) % CLASSES)
    learn = learner('dgaal', data, pool)
    assert learn.has_old
    for _ in range(5):
        (x_L, x_U), y_L = learn.dls.train.one_batch()
        rows = learn.dls.train.dataset.i_L
        assert learn.prepared(x_L, x_U, y_L)['is_new'].tolist() == (rows >= 8).tolist()
    assert not learner('dgaal', data, labelled(data, range(8))).has_old


# scores
@both
def test_scores_do_not_depend_on_company(kind):
    data = toy(labels=False)
    pool = labelled(data, range(12))
    learn = SMALL[kind]().fit(data, pool, None, 0)
    rows = torch.arange(len(data))
    d = learn.scores(rows)
    assert d.shape == (60,) and torch.equal(d, learn.scores(rows)) and learn.scores(rows[:0]).shape == (0,)
    for o in (rows.flip(0), rows[7:8], rows[::3]): assert torch.allclose(learn.scores(o), d[o], atol=1e-5)


def test_a_held_label_is_not_used():
    data = toy()
    pool = labelled(data, range(12))
    learn = learner('aral', data, pool)
    pool.is_held[3] = True
    assert learn.y[3] == -1 and learn.y[:3].tolist() == [0, 1, 2] and (learn.y[12:] == -1).all()


@both
def test_labels_that_were_not_asked_for_do_not_matter(kind):
    rows = []
    for data in (toy(), toy(labels=False)):
        pool = labelled(data, range(12))
        # garbage that still means unlabelled
        if not data.oracle.__class__.__name__ == 'Oracle': pool.y[pool.idx_U] = -7
        m = SMALL[kind]()
        rows.append(m.query(m.fit(data, pool, None, 3), data, pool, 15, 4).tolist())
    assert rows[0] == rows[1]


@both
def test_same_seed_same_rows(kind):
    data = toy()
    pool = labelled(data, range(12))
    m = SMALL[kind]()
    ask = [m.query(m.fit(data, pool, None, s), data, pool, 9, s).tolist() for s in (1, 1, 2)]
    assert ask[0] == ask[1] != ask[2]


# odd pools, odd shapes
ODD = dict(one_label=[5], missing_class=[0, 1, 4, 5], most=list(range(59)), all_but_three=list(range(57)))


@both
@pytest.mark.parametrize('rows', ODD.values(), ids=ODD)
def test_odd_pools(kind, rows):
    data = toy()
    pool = labelled(data, rows)
    m = SMALL[kind]()
    learn = m.fit(data, pool, None, 0)
    n = len(pool.idx_U)
    assert sorted(m.query(learn, data, pool, n, 0).tolist()) == pool.idx_U.tolist()   # b = the whole rest
    p = probabilities(learn, data.x_test)
    assert p.shape == (20, CLASSES) and p.isfinite().all()
    for b in (0, n + 1):
        with pytest.raises(ValueError, match='the unlabelled rows'): m.query(learn, data, pool, b, 0)


@both
def test_no_row_is_left(kind):
    data = toy()
    pool = labelled(data, range(60))
    m = SMALL[kind]()
    learn = m.fit(data, pool, None, 0)
    assert probabilities(learn, data.x_test).isfinite().all()
    with pytest.raises(ValueError, match='none are left'): m.query(learn, data, pool, 1, 0)


@both
def test_more_classes_than_labels(kind):
    data = toy(classes=20)
    pool = labelled(data, range(3))
    m = SMALL[kind]()
    assert len(m.query(m.fit(data, pool, None, 0), data, pool, 5, 0).unique()) == 5


@both
@pytest.mark.parametrize('n', [1, 2, 5])
def test_odd_batches(kind, n):
    data = toy()
    learn = learner(kind, data, labelled(data, range(12)))
    (x_L, x_U), y_L = learn.dls.train.one_batch()
    terms = learn.terms(((x_L[:n], x_U[:n+2]), y_L[:n]))
    assert all(v.shape == () and v.isfinite() for v in terms.values())


@both
@pytest.mark.parametrize('shape', [(1, 12, 12), (3, 8, 8), (3, 28, 28), (1, 33, 33), (3, 64, 64), (7,)], ids=str)
def test_shapes(kind, shape):
    data = toy(24, shape)
    pool = labelled(data, range(8))
    m = SMALL[kind](n_steps=1)
    learn = m.fit(data, pool, None, 0)
    assert len(m.query(learn, data, pool, 3, 0)) == 3
    who = learn if kind == 'aral' else learn.sampler
    x = who.drawn(torch.arange(4) if kind == 'aral' else 4)
    assert x.shape == (4, *shape) and x.isfinite().all()


@both
def test_a_shape_there_are_no_networks_for(kind):
    data = toy(24, (1, 6, 6))
    with pytest.raises(ValueError, match='square images'): SMALL[kind]().fit(data, labelled(data, range(8)), None, 0)


@settings(max_examples=12, deadline=None)
@given(st.integers(8, 64), st.sampled_from([1, 3]))
def test_images_of_every_size(size, c):
    x = ImageGenerator((c, size, size), 2, 3, nf=8)(torch.zeros(1, 2), F.one_hot(torch.tensor([1]), 3))
    assert x.shape == (1, c, size, size) and 0 <= x.min() and x.max() <= 1
    assert ClassEncoder((c, size, size), 2, 3)(x, torch.zeros(1, 3))[0].shape == (1, 2)


# the loop
@both
def test_two_rounds(kind):
    data = toy()
    al = ActiveLearning(data, SMALL[kind](), b=5, rounds=2, n_first=6, first='random', quiet=True).run()
    assert al.results.n_labelled.tolist() == [6, 11, 16] and al.results.accuracy.between(0, 1).all()


@both
def test_settings(kind):
    a, b = SMALL[kind](), SMALL[kind](n_steps=5)
    assert a.settings != b.settings and a.settings == SMALL[kind]().settings
    with pytest.raises(ValueError, match=f"{kind.upper()} keyword='n_stepps' is unknown"): SMALL[kind](n_stepps=3)
    with pytest.raises(ValueError, match='beta=-1'): SMALL[kind](beta=-1)
    with pytest.raises(ValueError, match='bs=0'): SMALL[kind](bs=0)
