"Asking: the choice does not depend on the order of rows, is unique, and is that of a plain sort."
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import tensor
from asal_nb.core import seed_of
from asal_nb.ask.clusters import kmeans, one_per_centre
from asal_nb.ask.sampler import ask_positions, ask_rows, diverse, query, tie_key

quick = settings(max_examples=30, deadline=None)
scores = st.lists(st.integers(-4, 4), min_size=1, max_size=130)      # few values: mostly ties


def gen(seed): return torch.Generator().manual_seed(seed)


@quick
@given(scores, st.data())
def test_query_is_the_stable_sort(d, data):
    b = data.draw(st.integers(1, len(d)))
    assert query(tensor(d).float(), b).tolist() == sorted(range(len(d)), key=lambda i: d[i])[:b]


def test_tie_key_is_splitmix64():
    def ref(row, seed):
        x, full = (row ^ seed_of(seed, 'tie')) % 2**64, 2**64 - 1
        x = (x ^ x >> 30)*0xbf58476d1ce4e5b9 & full
        x = (x ^ x >> 27)*0x94d049bb133111eb & full
        x ^= x >> 31
        return x - 2**64 if x >= 2**63 else x
    rows = tensor([0, 1, 2, 59_999, 2**40])
    for seed in (0, 7, 'a'):
        assert tie_key(rows, seed).tolist() == [ref(r, seed) for r in rows.tolist()]


def test_tie_keys_are_even_and_differ():
    k = tie_key(torch.arange(100_000))
    assert len(k.unique()) == 100_000
    for bit in range(64):
        assert abs(((k >> bit) & 1).double().mean() - .5) < 4*.5/100_000**.5 + .002


@quick
@given(scores, st.integers(0, 99), st.data())
def test_ask_rows_ignores_the_order(d, seed, data):
    b = data.draw(st.integers(1, len(d)))
    d, rows = tensor(d).float(), torch.randperm(5000, generator=gen(seed))[:len(d)]
    p = torch.randperm(len(d), generator=gen(seed + 1))
    got = ask_rows(d, rows, b, seed)
    assert torch.equal(got, ask_rows(d[p], rows[p], b, seed))
    assert torch.equal(got, rows[ask_positions(d, rows, b, seed)])
    want = sorted(zip(d.tolist(), tie_key(rows, seed).tolist(), rows.tolist(), strict=True))[:b]
    assert got.tolist() == [r for *_, r in want]


@quick
@given(st.integers(1, 130), st.integers(0, 99), st.booleans(), st.data())
def test_diverse_ignores_the_order(n, seed, ties, data):
    b = data.draw(st.integers(1, min(n, 9)))
    d, z = torch.randn(n, generator=gen(seed)), torch.randn(n, 3, generator=gen(seed + 1))
    if ties: d, z = d.round(), z.round()
    rows = torch.randperm(5000, generator=gen(seed))[:n]
    p = torch.randperm(n, generator=gen(seed + 2))
    got = diverse(d, z, rows, b, seed, n_short=3)
    assert torch.equal(got, diverse(d[p], z[p], rows[p], b, seed, n_short=3))
    assert got.shape == (b,) and len(got.unique()) == b
    assert set(got.tolist()) <= set(ask_rows(d, rows, min(n, 3*b), seed).tolist())


def test_another_row_changes_no_key():
    d, rows = torch.zeros(50), torch.arange(50)
    few = ask_rows(d, rows, 50).tolist()
    assert [r for r in ask_rows(torch.zeros(80), torch.arange(80), 80).tolist() if r < 50] == few


def test_ties_fall_evenly():
    "Each of ten equal rows comes first equally often: chi-squared, 9 degrees, 99.99 % point."
    first = [ask_rows(torch.zeros(10), torch.arange(10), 1, s).item() for s in range(2000)]
    n = np.bincount(first, minlength=10)
    assert ((n - 200)**2/200).sum() < 33.7


@pytest.mark.parametrize('n,b', [(300, 7), (100_001, 100)])
def test_kmeans_is_deterministic_and_orderless(n, b):
    z, p = torch.randn(n, 2, generator=gen(0)), torch.randperm(n, generator=gen(1))
    c = kmeans(z, b, seed=3)
    assert c.shape == (b, 2) and torch.equal(c, kmeans(z, b, seed=3))
    assert torch.equal(c, kmeans(z[p], b, seed=3))
    inertia = torch.cdist(z, c).amin(1).square().sum()
    assert inertia < torch.cdist(z, z[:b]).amin(1).square().sum()


def test_kmeans_weights_are_repeats():
    z = tensor([[0.], [1.], [10.], [12.]], dtype=torch.float64)
    w = tensor([3, 1, 1, 2])
    a, b = kmeans(z, 2, weights=w), kmeans(z.repeat_interleave(w, 0), 2)
    torch.testing.assert_close(a.sort(0)[0], b.sort(0)[0])
    assert a.dtype == torch.float64


@quick
@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 9), st.data())
def test_one_per_centre_is_the_greedy_rule(n, seed, block, data):
    b = data.draw(st.integers(1, n))
    z, c = [torch.randn(k, 2, generator=gen(seed + i)).round() for i, k in enumerate((n, b))]
    d, want = np.linalg.norm(c.numpy()[:, None] - z.numpy()[None], axis=-1), []
    for i in range(b):
        want.append(d[i].argmin())
        d[:, want[-1]] = np.inf
    assert one_per_centre(z, c, block).tolist() == want


nan, Z = float('nan'), torch.zeros
@pytest.mark.parametrize('f,says', [
    (lambda: query(Z(4), 0), r'budget b=0 must be a whole number in 1\.\.4'),
    (lambda: query(Z(4), 1.), 'budget b=1.0'),
    (lambda: query(Z(4, 1), 1), r'd_U has shape \(4, 1\)'),
    (lambda: query(Z(0), 1), 'none are left'),
    (lambda: ask_rows(Z(3), tensor([1, 2]), 1), r'rows has shape \(2,\)'),
    (lambda: ask_rows(tensor([nan, 0.]), tensor([1, 2]), 1), 'nan'),
    (lambda: ask_rows(Z(2), Z(2), 1), 'rows is torch.float32'),
    (lambda: diverse(Z(3), Z(3, 2), torch.arange(3), 4), 'budget b=4'),
    (lambda: diverse(Z(3), Z(3, 2), torch.arange(3), 1, n_short=0), 'n_short=0'),
    (lambda: diverse(Z(3), Z(3, 2) + nan, torch.arange(3), 1), 'z holds nan'),
    (lambda: kmeans(Z(3, 2), 2, weights=Z(2)), r'weights has shape \(2,\)'),
    (lambda: one_per_centre(Z(3, 2), Z(1, 3)), r'centres has shape \(1, 3\)')])
def test_refusals_are_sentences(f, says):
    with pytest.raises(ValueError, match=says) as e: f()
    assert '\n' not in str(e.value)
