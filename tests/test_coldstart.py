"The first labels: b different rows, the same for the same seed, each rule by its definition."
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from asal_nb.ask.clusters import distances
from asal_nb.ask.sampler import tie_key
from asal_nb.ask.coldstart import (
    first_rows, kcenter, probcover, purity_radius, typicality, typiclust)

HOWS = ['random', 'kmeans', 'kcenter', 'typiclust', 'probcover']


def gen(seed): return torch.Generator().manual_seed(seed)
def cloud(seed, n, nz=3): return torch.randn(n, nz, generator=gen(seed))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(HOWS), st.integers(1, 130), st.integers(1, 130), st.integers(0, 99),
       st.sampled_from(['float', 'ties', 'few', 'one', 'zeros']))
def test_b_different_rows_every_time(how, n, b, seed, kind):
    b, z = min(b, n), cloud(seed, n)
    few = z[:max(1, b//3)].repeat(n, 1)[:n]
    z = dict(float=z, ties=z.round(), few=few, one=z[:1].repeat(n, 1), zeros=0*z)[kind]
    i = first_rows(z, b, how, seed)
    assert i.dtype == torch.int64 and i.shape == (b,) and len(i.unique()) == b
    assert 0 <= i.min() and i.max() < n
    assert torch.equal(i, first_rows(z.clone(), b, how, seed))


@pytest.mark.parametrize('how', ['random', 'kmeans', 'typiclust'])
def test_the_seed_counts(how):
    z = cloud(0, 400)
    assert not torch.equal(first_rows(z, 20, how, 0), first_rows(z, 20, how, 1))


@pytest.mark.parametrize('how', HOWS)
def test_global_generators_are_left_alone(how):
    was, np_was = torch.get_rng_state(), np.random.get_state()[1].copy()
    z = torch.arange(150.).view(50, 3).sin()
    z_was = z.clone()
    first_rows(z, 5, how)
    assert torch.equal(was, torch.get_rng_state()) and (np_was == np.random.get_state()[1]).all()
    assert torch.equal(z, z_was)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 130), st.integers(0, 99))
def test_kcenter_radius_never_grows(n, seed):
    z = cloud(seed, n).double()
    i = kcenter(z, n).numpy()
    assert i[0] == torch.cdist(z, z.mean(0, keepdim=True)).argmin()
    d = np.linalg.norm(z.numpy()[:, None] - z.numpy()[None], axis=-1)
    radius = [d[i[:k]].min(0).max() for k in range(1, n + 1)]
    assert (np.diff(radius) <= 1e-12).all() and radius[-1] == 0
    for k in range(1, n): assert abs(d[i[:k]].min(0)[i[k]] - radius[k - 1]) < 1e-9


@settings(max_examples=20, deadline=None)
@given(st.integers(1100, 3000), st.integers(0, 40), st.integers(0, 99),
       st.sampled_from(['float', 'ties', 'line', 'far', 'copies']))
def test_kcenter_looks_only_where_it_must_and_misses_nothing(n, n_L, seed, kind):
    "More rows than it looks at together: as with all distances in float64, ties by position"
    z = cloud(seed, n, 8)
    copies = z[:n//5].repeat(5, 1)
    z = dict(float=z, ties=z[:, :2].round(), line=z[:, :1], far=1e3 + z, copies=copies)[kind]
    i, x = kcenter(z, 30, range(n_L)), z.double()
    d = distances(x[i], x)
    near = torch.full((len(z),), torch.inf, dtype=torch.float64)
    if n_L: near = distances(x[:n_L], x).amin(0)
    near[:n_L] = -1
    for k in range(30):
        if k or n_L: assert i[k] == near.argmax()
        near = near.minimum(d[k])
        near[i[k]] = -1


def test_kcenter_goes_on_from_the_labelled():
    z = cloud(3, 90).double()
    i = kcenter(z, 12)
    assert torch.equal(kcenter(z, 7, idx_L=i[:5]), i[5:])


def test_typicality_is_its_formula():
    z = cloud(4, 50).double()
    for n, k in ((50, 20), (8, 4)):  # of eight rows at most half are neighbours
        d = np.sort(np.linalg.norm(z[:n].numpy()[:, None] - z[:n].numpy()[None], axis=-1))[:, 1:k+1]
        np.testing.assert_allclose(typicality(z[:n], 20), 1/(d.mean(1) + 1e-5), rtol=1e-9)


def fans(seed=5, n=(40, 30, 20, 4)):
    "Clouds around the axes, which k-means cannot miss, of these sizes."
    at = 10*torch.eye(len(n))
    return torch.cat([at[k] + .3*cloud(seed + k, m, len(n)) for k, m in enumerate(n)])


def test_typiclust_takes_the_most_typical_of_each_cluster():
    z = fans(n=(40, 30, 20))
    u = z/z.norm(dim=1, keepdim=True)
    want = [lo + typicality(u[lo:hi]).argmax().item() for lo, hi in ((0, 40), (40, 70), (70, 90))]
    assert typiclust(z, 3).tolist() == want


def test_typiclust_small_clusters_wait_and_labelled_clusters_too():
    z = fans()
    assert typiclust(z, 4).max() < 90  # of four clusters the one of 4 rows waits
    assert 40 <= typiclust(z[:70], 1, idx_L=[0]).item() < 70
    L = typiclust(z, 10)
    assert not set(L.tolist()) & set(typiclust(z, 84, idx_L=L).tolist())


def test_typiclust_looks_at_60_000_rows_at_most():
    z, by_key = cloud(7, 61_000, 2), tie_key(torch.arange(61_000)).argsort()
    i = typiclust(z, 300)
    assert len(i.unique()) == 300 and torch.isin(i, by_key[:60_000]).all()
    L = by_key[:300]  # come on top of those
    i = typiclust(z, 300, idx_L=L)
    assert torch.isin(i, by_key[300:60_300]).all() and not torch.isin(i, L).any()


def test_probcover_is_the_greedy_cover():
    z = cloud(6, 300).double()
    u = z/z.norm(dim=1, keepdim=True)
    near, todo = torch.cdist(u, u) < .5, torch.ones(300, dtype=torch.bool)
    for i in probcover(z, 8, delta=.5):
        n_new = (near & todo).sum(1)
        assert n_new[i] == n_new.max() > 0
        todo &= ~near[i]
    L = probcover(z, 3, delta=.5)
    assert torch.equal(probcover(z, 5, delta=.5, idx_L=L), probcover(z, 8, delta=.5)[3:])


def test_probcover_falls_back_when_all_is_covered():
    z = fans(n=(20, 20))
    i = probcover(z, 9, delta=1.)
    assert len({int(k >= 20) for k in i[:2].tolist()}) == 2 and len(i.unique()) == 9
    assert not set(probcover(z, 30, delta=1., idx_L=i).tolist()) & set(i.tolist())


def test_purity_radius_is_the_largest_pure_one():
    z = fans(n=(50, 50))
    z = z/z.norm(dim=1, keepdim=True)
    y = torch.arange(100) >= 50
    nearest_foe = torch.cdist(z, z).masked_fill(y[:, None] == y, torch.inf).amin(1)
    def pure(r): return (nearest_foe >= r).double().mean()
    r = purity_radius(z, 2)
    assert pure(r - 1e-3) >= .95 > pure(r + .05)


@pytest.mark.parametrize('f,says', [
    (lambda z: first_rows(z, 0), r'b=0 must be a whole number in 1\.\.9'),
    (lambda z: first_rows(z*float('nan'), 2), 'z holds nan'),
    (lambda z: first_rows(z[0], 2), r'z has shape \(3,\)'),
    (lambda z: first_rows(z.long(), 2), 'z is torch.int64'),
    (lambda z: kcenter(z, 8, idx_L=[0, 1]), r'b=8 must be a whole number in 1\.\.7')])
def test_refusals_are_sentences(f, says):
    with pytest.raises(ValueError, match=says) as e: f(cloud(0, 9))
    assert '\n' not in str(e.value)
