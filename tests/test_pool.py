"In whatever order rows are labelled: the two pools partition them, and a refusal changes nothing."
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from asal_nb.checks import as_rows
from asal_nb.data.pool import Pool, ask_oracle, check_answer

plans = st.integers(1, 40).flatmap(lambda n: st.tuples(
    st.just(n), st.permutations(range(n)), st.lists(st.integers(1, 7), max_size=8)))


@settings(deadline=None, max_examples=60)
@given(plans)
def test_pools_partition_the_rows(plan):
    n, order, sizes = plan
    pool, truth, at = Pool(n, 3), torch.arange(n) % 3, 0
    for r, k in enumerate(sizes):
        rows = order[at:at+k]
        if not rows: break
        pool.label(rows, truth[rows])
        at += len(rows)
        L, U = pool.idx_L, pool.idx_U
        assert torch.equal(torch.cat([L, U]).sort().values, torch.arange(n))
        assert L.tolist() == sorted(order[:at]) and U.tolist() == sorted(order[at:])
        assert torch.equal(pool.y[L], truth[L]) and (pool.y[U] == -1).all()
        assert set(pool.round[rows].tolist()) == {r} and (pool.round[U] == -1).all()
    assert pool.counts().sum() == len(pool.idx_L) and len(pool) == n


@pytest.mark.parametrize('make', [
    list, tuple, np.array, torch.tensor, lambda o: np.array(o, 'int32'),
    lambda o: torch.tensor(o, dtype=torch.uint8)])
def test_rows_in_any_form(make):
    pool = Pool(5, 2)
    pool.label(make([3, 1]), make([1, 0]))
    assert pool.y.tolist() == [-1, 0, -1, 1, -1] and pool.y.dtype == pool.idx_L.dtype == torch.int64
    assert as_rows(make([4, 0, 2]), 5).tolist() == [4, 0, 2] and as_rows([], 5).dtype == torch.int64


@pytest.mark.parametrize('rows, y, why', [
    ([0], [2], 'label 2 does not exist'),
    ([0], [-1], 'label -1 does not exist'),
    ([5], [0], 'row 5 does not exist'),
    ([-1], [0], 'row -1 does not exist'),
    ([0, 0], [0, 0], 'more than once'),
    ([1], [0], 'labelled already'),
    ([0, 2], [0], '1 labels, but 2 rows'),
    ([[0]], [0], 'shape'),
    ([0], [[0]], 'shape'),
    ([0.], [0], 'whole numbers'),
    ([0], [0.], 'whole numbers'),
    ([True], [0], 'whole numbers'),
    ([0], [float('nan')], 'whole numbers'),
    (['a'], [0], 'list of whole numbers'),
    ([0], ['cat'], 'list of whole numbers'),
    ([0], [None], 'whole numbers'),
    (3, [0], 'list of whole numbers'),
    (None, [0], 'list of whole numbers'),
])
def test_refusals_change_nothing(rows, y, why):
    pool = Pool(5, 2)
    pool.label([1], [0])
    was = pool.y.clone(), pool.round.clone()
    with pytest.raises(ValueError, match=why): pool.label(rows, y)
    with pytest.raises(ValueError): ask_oracle(lambda _: y, pool, rows)
    assert torch.equal(pool.y, was[0]) and torch.equal(pool.round, was[1])


def test_sizes_and_rounds():
    for n, c in ((0, 2), (3, 0), (2.5, 2), (True, 2)):
        with pytest.raises(ValueError): Pool(n, c)
    pool = Pool(6, 2)
    for rows, y, r in (([0], [0], None), ([1], [0], 0), ([2], [1], 4), ([], [], None)):
        pool.label(rows, y, r)
    pool.label([3], [1])
    assert pool.round.tolist() == [0, 0, 4, 5, -1, -1]
    for bad in (-1, 1.5, True, '0'):
        with pytest.raises(ValueError, match='round='): pool.label([4], [0], round=bad)


def test_a_copy_goes_its_own_way():
    a = Pool(4, 2)
    a.label([0], [1])
    b = a.copy()
    b.label([1], [0])
    a.label([2], [0])
    b.hold([0])
    assert a.y.tolist() == [1, -1, 0, -1] and b.y.tolist() == [1, 0, -1, -1]
    assert a.idx_L.tolist() == [0, 2] and b.idx_L.tolist() == [1] and b.round.tolist()[1] == 1


def test_an_oracle_that_gives_up_or_changes_what_it_was_asked():
    pool = Pool(4, 2)
    def tired(rows): raise RuntimeError('tired')
    with pytest.raises(RuntimeError, match='tired'): ask_oracle(tired, pool, [0])
    assert not len(pool.idx_L)
    def oracle(rows):
        rows += 1
        return [1, 0]
    assert ask_oracle(oracle, pool, [0, 2]).tolist() == [1, 0]
    assert pool.idx_L.tolist() == [0, 2]


def test_skipped_rows_are_neither_pool():
    "A declined row is not asked, labelled or trained on; the pools and it partition the rows."
    pool = Pool(6, 2)
    pool.label([0, 1], [1, 0])
    pool.hold([1])
    pool.skip([3])
    parts = pool.idx_L, pool.idx_V, pool.idx_U, pool.idx_S
    assert [o.tolist() for o in parts] == [[0], [1], [2, 4, 5], [3]]
    for refused in (lambda: pool.skip([0]), lambda: pool.skip([3]), lambda: pool.label([3], [0])):
        with pytest.raises(ValueError, match='labelled already|skipped'): refused()
    assert pool.copy().idx_S.tolist() == [3] and '1 held for validation, 1 skipped' in repr(pool)


def test_a_column_of_pandas_is_taken_by_position():
    column = pd.Series([2, 0, 1], index=[9, 0, 7])
    assert check_answer(column, 3, 3).tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match='whole numbers'): check_answer(column/2, 3, 3)
