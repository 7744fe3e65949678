"Asking: the choice does not depend on the order of rows, is unique, and is that of a plain sort."
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import tensor
from asal_nb.core import seed_of
from asal_nb.ask.clusters import kmeans, one_per_centre
from asal_nb.ask.sampler import (
    ask_positions, ask_rows, diverse, keyed, query, shortlists, tie_key)
from asal_nb.ask.cover import class_width, cover, coverage, kernel_width, lift, similarity

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
    parts = shortlists(n, b, 3)
    if len(parts) > 1: return
    assert set(got.tolist()) <= set(ask_rows(d, rows, parts[0][1], seed).tolist())


@quick
@given(st.integers(1, 2000), st.integers(1, 30), st.data())
def test_no_shortlist_holds_more_than_a_third(n, n_short, data):
    b = data.draw(st.integers(1, n))
    parts = shortlists(n, b, n_short)
    assert sum(k for k, _ in parts) == b
    for k, m in parts:
        assert k <= m <= max(n_short*k, k) and (m <= n//3 or k == m == 1)
        assert m > k or n_short == 1 or n < 6          # the score leaves k-means a choice
        n -= k
    if 3*b < n: assert len(parts) == 1


def test_the_score_decides_where_b_is_large():
    "A hundred of 300: k-means over all rows would take as many from either half"
    rank, z = torch.randperm(300, generator=gen(0)), torch.randn(300, 3, generator=gen(1))
    i = diverse(rank.float(), z, torch.arange(300), 100)
    assert (rank[i] < 150).float().mean() > .95 and (rank[i] >= 100).any()


# --- cover ---

def gains(z, S, u, width):
    "What each row would add, from the whole matrix in float64"
    k = (-torch.cdist(z.double(), z.double())**2/(2*width**2)).exp()
    D = k[:, S].amax(1) if len(S) else torch.zeros(len(z)).double()
    U = torch.ones(len(z)).index_fill(0, torch.tensor(S).long(), 0).double()
    return (U*u.double()) @ (k - D[:, None]).relu()


@quick
@given(st.integers(2, 90), st.integers(0, 99), st.floats(.1, 3), st.booleans(), st.data())
def test_each_row_of_cover_has_the_largest_gain(n, seed, width, ties, data):
    n_L = data.draw(st.integers(0, n - 1))
    b = data.draw(st.integers(1, n - n_L))
    z, u = torch.randn(n, 3, generator=gen(seed)), torch.rand(n, generator=gen(seed + 1))
    if ties: z, u = z.round(), u.round()
    L = torch.randperm(n, generator=gen(seed))[:n_L].tolist()
    taken = list(L)
    for i in cover(z, b, L, u, width, n_short=None).tolist():
        assert i not in taken
        g = gains(z, taken, u, width).index_fill(0, torch.tensor(taken).long(), -1)
        assert g[i] >= g.max()*(1 - 1e-4) - 1e-5*max(1, u.sum())
        taken.append(i)


def test_cover_takes_candidates_from_the_doubtful_alone():
    z, u = torch.randn(300, 3, generator=gen(0)), torch.rand(300, generator=gen(1))
    doubtful = (20 + u[20:].argsort(descending=True)).tolist()
    for b, n_short, m in ((5, 10, 50), (20, 10, 93), (5, 1, 5)):
        assert set(cover(z, b, range(20), u, n_short=n_short).tolist()) <= set(doubtful[:m])
    assert sorted(cover(z, 280, range(20), u).tolist()) == list(range(20, 300))


def test_cover_is_the_same_in_any_block_and_order():
    z, rows = torch.randn(3000, 4, generator=gen(0)), torch.arange(3000)
    u, p = torch.rand(3000, generator=gen(1)), torch.randperm(3000, generator=gen(2))
    a, b = [keyed(cover, z[o], rows[o], rows[:9], 40, 1, doubt=u[o]) for o in (rows, p)]
    assert torch.equal(a, b) and len(a.unique()) == 40
    D, one = torch.rand(3000, generator=gen(3)), torch.ones(3000)
    mid = D + (1 - D)/2
    whole = lift(z, z[:70], u, D, one)
    halves = lift(z, z[:70], u, D, mid) + lift(z, z[:70], u, mid, one)
    torch.testing.assert_close(whole, halves, rtol=1e-5, atol=1e-4)
    k = similarity(z, z[:70]).double()
    torch.testing.assert_close(whole, u.double() @ (k - D[:, None]).relu(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(coverage(z, z[:700]), similarity(z, z[:700]).amax(1))


def test_the_width_follows_the_codes():
    z = torch.randn(500, 5, generator=gen(0))
    want = torch.cdist(z, z).sort(1)[0][:, 7].median()
    assert kernel_width(z) == pytest.approx(want.item(), rel=1e-4)
    assert kernel_width(9*z + 5) == pytest.approx(9*want.item(), rel=1e-3)
    assert abs(kernel_width(z, n_most=100) - want) < .1*want
    y = (z[:, 0] > 0).long()
    want = torch.cdist(z[y == 0], z[y == 1]).min().item()
    assert class_width(z, y) == pytest.approx(want, rel=1e-4)


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
    (lambda: shortlists(3, 4), r'budget b=4 must be a whole number in 1\.\.3'),
    (lambda: shortlists(-1, 1), 'n=-1'),
    (lambda: cover(Z(3, 2), 3, [0]), 'b=3'),
    (lambda: cover(Z(3, 2), 1, [3]), r'idx_L holds 3\.\.3'),
    (lambda: cover(Z(3, 2), 1, doubt=Z(2)), r'doubt has shape \(2,\)'),
    (lambda: cover(Z(3, 2), 1, doubt=Z(3) - 1), 'doubt holds -1'),
    (lambda: cover(Z(3, 2), 1, doubt=Z(3) + nan), 'doubt holds nan'),
    (lambda: cover(Z(3, 2), 1, width=nan), 'width=nan'),
    (lambda: cover(Z(3, 2), 1, n_short=0), 'n_short=0'),
    (lambda: class_width(Z(3, 2), tensor([1, 1, 1])), 'one class only'),
    (lambda: kernel_width(Z(3, 2), 1.5), 'k=1.5'),
    (lambda: kmeans(Z(3, 2), 2, weights=Z(2)), r'weights has shape \(2,\)'),
    (lambda: one_per_centre(Z(3, 2), Z(1, 3)), r'centres has shape \(1, 3\)')])
def test_refusals_are_sentences(f, says):
    with pytest.raises(ValueError, match=says) as e: f()
    assert '\n' not in str(e.value)
