"The usual rules: against scikit-activeml and second routes, in any order, in linear memory."
import copy
import json
from functools import partial
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from asal_nb.core import rng
from asal_nb.paper.adversarial import entropy, margin
from asal_nb.ask.clusters import kmeans, one_per_centre
from asal_nb.ask.sampler import keyed
from asal_nb.ask.coldstart import first_rows, kcenter, probcover, typiclust
from asal_nb.ask.cover import cover
from asal_nb.data.pool import Pool
from asal_nb.data.images import ImageData
from asal_nb.loop.asal import ASAL, Random, Supervised
from asal_nb.loop.loop import ActiveLearning
from asal_nb.methods.uncertainty import (
    BALD, Entropy, LeastConfidence, Margin, confidence, mc_probabilities, mutual_information)
from asal_nb.methods.geometry import (
    CoreSet, KMeans, MaxHerding, ProbCover, TypiClust, UncertaintyHerding, known)
from asal_nb.methods.badge import BADGE, badge, grad_gap, residual
from asal_nb.methods.discriminative import DiscriminativeAL, discriminate

QUICK = Supervised(n_steps=1, nz=3)
METHODS = {'least': LeastConfidence(QUICK), 'margin': Margin(QUICK), 'entropy': Entropy(QUICK),
           'diverse': Margin(QUICK, diverse=True),
           'bald': BALD(Supervised(n_steps=1, nz=3, p_drop=.5), n_masks=3),
           'bald diverse': BALD(Supervised(n_steps=1, p_drop=.5), 2, True),
           'coreset': CoreSet(QUICK), 'badge': BADGE(QUICK), 'kmeans': KMeans(QUICK),
           'weighted': KMeans(QUICK, weight='margin'),
           'typiclust': TypiClust(QUICK, n_warm=0), 'probcover': ProbCover(QUICK, n_warm=0),
           'own space': TypiClust(QUICK, 'code'),
           'maxherding': MaxHerding(QUICK, n_warm=0),
           'uherding': UncertaintyHerding(QUICK, 'code', n_short=10),
           'by classes': UncertaintyHerding(QUICK, width='classes', n_warm=0),
           'dal': DiscriminativeAL(QUICK, n_sub=2, n_steps=5),
           'dal warm': DiscriminativeAL(QUICK, 'warm', n_sub=2, n_steps=5, n_warm=0)}
SCORES = dict(confidence=confidence, margin=margin, entropy=lambda p: -entropy(p))
RULES = dict(kcenter=kcenter, typiclust=typiclust, probcover=partial(probcover, delta=.5),
             cover=cover, dal=partial(discriminate, n_sub=2, n_steps=5))
each = pytest.mark.parametrize('name', METHODS)

def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=rng(seed, 'rules'), dtype=dtype)
def probs(seed, n, c, sharp=2): return (sharp*normal(seed, n, c, dtype=torch.float64)).softmax(-1)

def toy(n=60, c=3, seed=0):
    "Vectors in c clouds, as a data set"
    y = torch.arange(n) % c
    x = 3*torch.eye(c, 5)[y] + normal(seed, n, 5)
    return ImageData.from_arrays(x, y, x[:9], y[:9], classes=range(c))

def given_labels(data, rows):
    pool, rows = Pool(len(data), data.n_classes), torch.as_tensor(rows)
    pool.label(rows, data.oracle(rows))
    return pool

def answer(m, data, pool, b, seed=0):
    learn = m.fit(data, pool, m.warm_up(data, 0), 0)
    return m.query(learn, data, pool, b, seed)

def good(i, pool, b):
    i = i.cpu()
    assert i.dtype == torch.int64 and i.shape == (b,) and len(i.unique()) == b
    assert torch.isin(i, pool.idx_U).all()

# ---- at the edges

FEW = {'one label': [7], 'one class': [0, 3, 6], 'one left': list(range(1, 60))}

@each
@pytest.mark.parametrize('rows', FEW.values(), ids=FEW)
def test_few_labels_and_few_rows(name, rows):
    data = toy()
    pool = given_labels(data, rows)
    b = min(4, 60 - len(rows))
    good(answer(METHODS[name], data, pool, b), pool, b)

@each
def test_more_classes_than_labels(name):
    data = toy(c=5)
    pool = given_labels(data, [0, 1])
    good(answer(METHODS[name], data, pool, 5), pool, 5)

@each
def test_the_whole_pool(name):
    data = toy()
    pool = given_labels(data, range(6))
    i = answer(METHODS[name], data, pool, 54)
    assert i.sort()[0].tolist() == list(range(6, 60))

@each
@pytest.mark.parametrize('n, b, said', [
    (6, 55, 'must be .* in 1..54, the unlabelled'), (60, 1, 'is impossible: none are left'),
    (6, 0, 'in 1..54')])
def test_too_much_is_refused_in_a_sentence(name, n, b, said):
    data = toy()
    pool = given_labels(data, range(n))
    learn = METHODS[name].fit(data, pool, METHODS[name].warm_up(data, 0), 0)
    with pytest.raises(ValueError, match=f'budget b={b} .*{said}'):
        METHODS[name].query(learn, data, pool, b, 0)

@each
def test_copies_of_one_row(name):
    "Where all rows are alike, b different rows are still named, and the seed decides which"
    x = torch.ones(30, 5)
    data = ImageData.from_arrays(x, torch.arange(30) % 2, x[:2], torch.arange(2))
    pool = given_labels(data, [4, 5])
    i = answer(METHODS[name], data, pool, 6)
    good(i, pool, 6)
    assert torch.equal(i, answer(METHODS[name], data, pool, 6))

@each
def test_rows_held_for_validation_are_neither_asked_nor_used(name):
    "Labelled rows outside L: the answer is the same if their images are others"
    data = toy()
    pool = given_labels(data, range(12))
    pool.hold(torch.arange(8, 12))
    i = answer(METHODS[name], data, pool, 5)
    good(i, pool, 5)
    if 'warm' in vars(METHODS[name]).values(): return                # which looks at all images
    x, y = data.x.index_fill(0, torch.arange(8, 12), 9.), data.oracle(torch.arange(60))
    other = ImageData.from_arrays(x, y, data.x_test, data.y_test)
    assert torch.equal(i, answer(METHODS[name], other, pool.copy(), 5))

@each
def test_the_loop_takes_it_and_settings_are_plain(name):
    data = toy()
    plan = dict(b=5, rounds=2, n_first=5, first='random', quiet=True)
    al = ActiveLearning(data, METHODS[name], **plan).run()
    assert al.results.n_labelled.tolist() == [5, 10, 15]
    json.dumps(METHODS[name].settings)

@each
def test_nothing_of_the_learner_changes(name):
    "Weights, statistics, mode and global generators are as before the query"
    data = toy()
    pool, m = given_labels(data, range(6)), METHODS[name]
    learn = m.fit(data, pool, m.warm_up(data, 0), 0)
    learn.model.train()
    was, state = {k: v.clone() for k, v in learn.model.state_dict().items()}, torch.get_rng_state()
    modes = [o.training for o in learn.model.modules()]
    m.query(learn, data, pool, 5, 0)
    assert all(torch.equal(v, was[k]) for k, v in learn.model.state_dict().items())
    assert modes == [o.training for o in learn.model.modules()]
    assert torch.equal(state, torch.get_rng_state())

@each
def test_on_top_of_the_game(name):
    "With `train=` the whole of ASAL's training, every rule asks as well"
    m = copy.copy(METHODS[name])
    m.train = ASAL(n_warm=2, n_steps=1, p_drop=.25, nz=3)
    data = toy()
    pool = given_labels(data, range(6))
    good(answer(m, data, pool, 5), pool, 5)

def test_random_is_trained_as_the_rule_is():
    "What `compare` relies on: with the space 'warm' too, the trainer's network is as it is alone"
    data = toy()
    pool, m = given_labels(data, range(6)), TypiClust(Supervised(n_steps=3), n_warm=2)
    a, b = [o.fit(data, pool, o.warm_up(data, 0), 5) for o in (m, Random(m.train))]
    assert all(torch.equal(v, w) for v, w in zip(a.model.parameters(), b.model.parameters()))
    asal = TypiClust(ASAL(n_warm=2, n_steps=1), n_warm=2)
    assert set(asal.warm_up(data, 0)) - set(asal.train.warm_up(data, 0)) == {'z_warm'}

def test_the_warm_space_is_the_one_of_the_first_rows():
    data = toy()
    al = ActiveLearning(data, TypiClust(), n_first=5, b=5, rounds=1, seed=3)
    assert torch.equal(al.choose_first(), first_rows(al.warm['z_warm'], 5, 'typiclust', 3))

@pytest.mark.needs('cuda')
@each
def test_on_a_gpu(name):
    data = toy().to('cuda')
    pool = given_labels(data, range(6))
    good(answer(METHODS[name], data, pool, 7), pool, 7)

@pytest.mark.needs('cuda')
@pytest.mark.parametrize('name', ['kcenter', 'typiclust', 'probcover', 'cover', 'badge', 'k-means'])
def test_the_same_rows_on_a_gpu(name):
    n = 3000
    z, rows = normal(0, n, 16), torch.arange(n)

    def ask(device):
        x, i = z.to(device), rows.to(device)
        if name == 'badge': return badge(x, (2*x[:, :10]).softmax(1), i, 60).cpu()
        if name == 'k-means': return one_per_centre(x, kmeans(x, 60)).cpu()
        return keyed(RULES[name], x, i, i[:20], 60).cpu()
    assert torch.equal(ask('cpu'), ask('cuda'))

# ---- order

@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.sampled_from(['float', 'ties']))
def test_the_order_of_the_pool_changes_nothing(seed, kind):
    z, rows = normal(seed, 60, 3), torch.arange(100, 160)
    perm = torch.randperm(60, generator=rng(seed, 'perm'))
    if kind == 'ties': z = z.round()
    p = probs(seed, 60, 4) if kind == 'float' else probs(seed, 60, 4).round(decimals=0)*0 + .25
    for f in RULES.values():
        a, b = [keyed(f, z[o], rows[o], rows[:5], 9, seed) for o in (slice(None), perm)]
        assert torch.equal(a, b)
    a, b = [badge(z[o].double(), p[o], rows[o], 9, seed) for o in (slice(None), perm)]
    assert torch.equal(a, b)

@each
def test_the_seed_breaks_ties(name):
    "Of rows that are all alike, different seeds choose different ones"
    x = torch.ones(40, 5)
    data = ImageData.from_arrays(x, torch.arange(40) % 2, x[:2], torch.arange(2))
    pool = given_labels(data, [0, 1])
    assert len({tuple(answer(METHODS[name], data, pool, 3, s).tolist()) for s in range(4)}) > 1

# ---- second routes

@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 9), st.integers(2, 6), st.integers(0, 99))
def test_badge_never_builds_what_it_measures(n, k, c, seed):
    h, u = normal(seed, n, k, dtype=torch.float64), residual(probs(seed, n, c))
    g = (u[:, :, None]*h[:, None, :]).flatten(1).numpy()
    want = ((g[:, None] - g[None])**2).sum(-1)
    np.testing.assert_allclose(
        torch.stack([grad_gap(h, u, i) for i in range(n)]), want, atol=1e-10 * max(1, want.max()))

def test_badge_never_takes_a_row_twice():
    "In float32 a row's distance to itself need not be 0: twenty pairs of copies give forty rows"
    h, p = 30*normal(0, 20, 64).repeat(2, 1), probs(0, 20, 7).float().repeat(2, 1)
    for seed in range(20): assert len(badge(h, p, torch.arange(40), 40, seed).unique()) == 40

@settings(max_examples=15, deadline=None)
@given(st.integers(12, 80), st.integers(0, 99))
def test_the_radius_of_core_set_never_grows(n, seed):
    z, L = normal(seed, n, 3, dtype=torch.float64), torch.arange(3)
    i = keyed(kcenter, z, torch.arange(n), L, n - 3, seed)
    d = torch.cdist(z, z, compute_mode='donot_use_mm_for_euclid_dist').numpy()
    gap = [d[torch.cat([L, i[:k]])].min(0) for k in range(n - 2)]
    radius = [o.max() for o in gap]
    assert (np.diff(radius) <= 1e-12).all() and radius[-1] == 0
    for k in range(n - 3): assert abs(gap[k][i[k]] - radius[k]) < 1e-9

def test_bald_is_the_mean_divergence_and_is_safe_at_zero():
    ps = torch.stack([probs(t, 50, 3, sharp=4) for t in range(6)])
    want = (ps*(ps/ps.mean(0)).log()).sum(-1).mean(0)
    torch.testing.assert_close(mutual_information(ps), want, atol=1e-12, rtol=0)
    # agreement, rounded
    assert (mutual_information(probs(0, 500, 3).float().expand(5, -1, -1)) >= 0).all()
    hard = torch.eye(3, dtype=torch.float64)[torch.randint(3, (6, 50), generator=rng(0, 'hard'))]
    assert mutual_information(hard).isfinite().all()
    assert mutual_information(hard[:1]).abs().max() == 0

def test_dropout_masks_follow_the_seed_and_not_the_batch():
    net = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 4, 4)), torch.nn.Conv2d(1, 6, 3), torch.nn.BatchNorm2d(6),
        torch.nn.Dropout2d(0.5), torch.nn.Flatten(), torch.nn.Dropout(0.3), torch.nn.Linear(24, 3))
    x = normal(0, 20, 16)
    ps = mc_probabilities(net, x, 4, seed=1)
    assert torch.equal(ps, mc_probabilities(net, x, 4, seed=1))
    assert not torch.equal(ps, mc_probabilities(net, x, 4, seed=2))
    torch.testing.assert_close(
        torch.cat([mc_probabilities(net, o, 4, seed=1) for o in x.split(7)], 1), ps)
    assert (ps[0] - ps[1]).abs().max() > 1e-3 and not net[2].num_batches_tracked

def test_bald_refuses_a_net_without_dropout():
    data = toy()
    pool = given_labels(data, range(6))
    with pytest.raises(ValueError, match='has p_drop=0'): BALD(ASAL())
    with pytest.raises(ValueError, match='BALD needs dropout'):
        BALD(Random(QUICK)).query(QUICK.fit(data, pool, None, 0), data, pool, 2, 0)

def test_a_model_without_features_is_refused_in_a_sentence():
    data = toy()
    pool, learn = given_labels(data, range(6)), SimpleNamespace(model=torch.nn.Linear(5, 3))
    # probabilities are all it needs
    good(Margin().query(learn, data, pool, 5, 0), pool, 5)
    for m in (CoreSet(), BADGE(), KMeans(), DiscriminativeAL(), Margin(diverse=True)):
        with pytest.raises(ValueError, match='which Linear does not have'):
            m.query(learn, data, pool, 5, 0)
    with pytest.raises(ValueError, match='give `fit` what `warm_up` returned'):
        TypiClust().query(learn, data, pool, 5, 0)

def test_parts_of_the_budget_spread_the_choice():
    "Three clouds, one of them known: in parts the budget reaches both others; it begins as one D"
    z = torch.tensor([[0., 0.], [6., 0.], [0., 6.]])[torch.arange(150) // 50] + .5*normal(1, 150, 2)
    parts, whole = [discriminate(z, 8, range(25), n_sub=k, n_steps=80).tolist() for k in (8, 1)]
    assert {i // 50 for i in parts} == {1, 2} and parts[0] == whole[0] and min(whole) >= 50

# ---- memory

@pytest.fixture
def largest(monkeypatch):
    "The most elements of any tensor that a torch function returned within the test"
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        most = 0

        def __torch_function__(self, f, types, args=(), kwargs=None):
            out = f(*args, **(kwargs or {}))
            for o in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(o, torch.Tensor) and o.layout == torch.strided and not o.is_meta:
                    self.most = max(
                        self.most, o.untyped_storage().nbytes() // max(1, o.element_size()))
            return out
    return Watch()

@pytest.mark.parametrize('name', [*RULES, 'badge'])
def test_no_matrix_of_all_pairs(name, largest):
    "At 20,000 rows no tensor has more than a twelfth of n times n elements"
    n = 20_000
    z, rows = normal(0, n, 4), torch.arange(n)
    with largest:
        if name == 'badge': badge(z, probs(0, n, 10).float(), rows, 5)
        else: keyed(RULES[name], z, rows, rows[:50], 5)
    limit = {'badge': 20, 'kcenter': 100, 'dal': 140}.get(name, 1_600)
    assert n < largest.most <= limit*n

def test_a_matrix_of_all_pairs_is_noticed(largest):
    z = normal(0, 2000, 3)
    with largest: torch.cdist(z, z)
    assert largest.most == 2000**2

# ---- against scikit-activeml, on the same features

skpool = pytest.importorskip('skactiveml.pool')

def partly(n, labelled): return np.where(np.isin(np.arange(n), labelled), np.arange(n) % 3, np.nan)

@pytest.mark.parametrize('seed', range(5))
def test_core_set_agrees(seed):
    "With labels the rule is the same. Without, ours starts nearest the mean, theirs at random"
    z = normal(seed, 200, 5, dtype=torch.float64)
    ours = keyed(kcenter, z, torch.arange(200), torch.arange(6), 15, seed)
    def theirs(labelled, b):
        return skpool.CoreSet(random_state=seed).query(
            z.numpy(), partly(200, labelled), batch_size=b)
    assert ours.tolist() == theirs(range(6), 15).tolist()
    first = kcenter(z, 15)
    assert first[1:].tolist() == theirs(first[:1], 14).tolist()

@pytest.mark.filterwarnings('ignore:The maximum purity')
@pytest.mark.parametrize('seed', range(5))
def test_prob_cover_agrees(seed):
    """At a given radius, on features of length 1, the rule is the same. Counts often tie: ours go
    by key, theirs at random, so each choice of ours must be one of their best. The radius is chosen
    otherwise: theirs is the largest on a grid, ours the exact quantile."""
    z = torch.nn.functional.normalize(normal(seed, 150, 3, dtype=torch.float64), dim=1)
    labelled = list(range(4))
    rule = partial(probcover, delta=.45)
    ours = keyed(rule, z, torch.arange(150), torch.tensor(labelled), 8, seed).tolist()
    for k, i in enumerate(ours):
        qs = skpool.ProbCover(n_classes=3, deltas=[.45], random_state=seed)
        u = qs.query(z.numpy(), partly(150, labelled + ours[:k]), return_utilities=True)[1][0]
        assert u[i] == np.nanmax(u) > 0

@pytest.mark.parametrize('seed', range(5))
def test_typi_clust_agrees(seed):
    """On clouds that k-means cannot miss, the rule is the same while clusters of more than five
    rows have no label. Then ours goes on to the least labelled cluster, theirs at random. Ours
    counts min(20, half the cluster) neighbours among free rows, by direction; theirs a fixed k."""
    sizes = (60, 55, 50, 45, 41)
    z = torch.cat([
        20 * torch.eye(5)[k] + normal(seed + k, m, 5, dtype=torch.float64)
        for k, m in enumerate(sizes)])
    z, n = torch.nn.functional.normalize(z, dim=1), sum(sizes)
    for labelled, b in (([], 5), ([0, 60], 3)):
        qs = skpool.TypiClust(random_state=seed, k=20, cluster_algo_dict=dict(n_init=10))
        theirs = qs.query(z.numpy(), partly(n, labelled), batch_size=b)
        rule, known = partial(typiclust, seed=seed), torch.tensor(labelled).long()
        ours = keyed(rule, z, torch.arange(n), known, b, seed)
        assert ours.tolist() == theirs.tolist()

class Says:
    "A classifier of theirs that has its probabilities in a table, by the first feature"
    def __new__(cls, p):
        from skactiveml.base import SkactivemlClassifier

        class Table(SkactivemlClassifier):
            def __init__(self, classes=None, missing_label=np.nan, cost_matrix=None,
                         random_state=None):
                super().__init__(classes, missing_label, cost_matrix, random_state)
            def fit(self, X, y, sample_weight=None): return self
            def predict_proba(self, X): return p[X[:, 0].astype(int)]
        clf = Table(list(range(p.shape[1])))
        clf.classes_, clf.cost_matrix_ = np.arange(p.shape[1]), 1 - np.eye(p.shape[1])
        return clf

@pytest.mark.parametrize('method, score', [
    ('least_confident', 'confidence'), ('margin_sampling', 'margin'), ('entropy', 'entropy')])
def test_uncertainty_agrees(method, score):
    p = probs(0, 90, 4)
    X, y = np.c_[np.arange(90.), np.zeros(90)], partly(90, range(5))
    qs = skpool.UncertaintySampling(method=method, random_state=0)
    theirs = qs.query(X, y, Says(p.numpy()), fit_clf=False, batch_size=9)
    assert (5 + SCORES[score](p)[5:].argsort()[:9]).tolist() == theirs.tolist()

def test_badge_measures_as_they_do():
    """Both start at the longest gradient, and distances are the same. Theirs keeps squared
    lengths as a first distance, as if the origin were taken; ours, like the authors', does not."""
    p = probs(1, 60, 4)
    h = torch.cat([torch.arange(60.)[:, None], normal(1, 60, 3)], 1).double()
    X, y = h.numpy(), partly(60, range(5))
    i, u = skpool.Badge(random_state=0).query(
        X, y, Says(p.numpy()), fit_clf=False, batch_size=3, return_utilities=True)
    assert badge(h[5:], p[5:], torch.arange(5, 60), 3)[0] == i[0]
    gap = (residual(p[5:])**2).sum(1)*(h[5:]**2).sum(1)
    for k in (0, 1):
        gap = gap.minimum(grad_gap(h[5:], residual(p[5:]), int(i[k]) - 5))
        want = gap/gap.sum()
        np.testing.assert_allclose(np.nan_to_num(u[k+1][5:]), want, atol=1e-9)


def test_vectors_are_encoded_when_core_set_needs_them():
    "The same rows as with all features in memory at once."
    x = torch.rand(3_000, 6, generator=rng(0, 'vectors'))
    data = ImageData.from_arrays(x, torch.arange(3_000) % 3, x[:9], torch.arange(9) % 3)
    pool = Pool(3_000, 3)
    pool.label(range(30), data.oracle(range(30)))
    rule = CoreSet(Supervised(n_steps=2))
    learn = rule.fit(data.blind(), pool, None, 0)
    rows = rule.query(learn, learn.dls.data, pool, 50, 0)
    assert torch.equal(rows, keyed(kcenter, *known(rule, learn, data, pool), 50, 0))
