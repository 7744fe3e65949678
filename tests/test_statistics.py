"Statistics: every figure by scipy or by hand, verdicts that keep their rates, bad input."
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

from asal_nb.study import statistics as s

WORDS = ('better', 'worse', 'not shown')
accs = st.floats(0, 1, width=16)
quick = settings(max_examples=60, deadline=None)


def four_errors(p, n): return 4*math.sqrt(p*(1-p)/n)


def binomial_twins(n, k=1, studies=2000, seed=0, m=500):
    "Two equal arms: accuracies on m test rows, on splits that are hard or easy for both"
    rng = np.random.default_rng([seed, n, k])
    p = np.clip(rng.normal(.8, .03, (studies, 1, n)), 0, 1)
    draw = [rng.binomial(m, np.broadcast_to(p, (studies, i, n)))/m for i in (k, 1)]
    return s.differences(draw[0], np.broadcast_to(draw[1], draw[0].shape))


@pytest.mark.parametrize('n', [5, 10])
@pytest.mark.parametrize('seed', [1, 2])
def test_equal_arms_are_rarely_told_apart(n, seed):
    "2,000 studies of two identical arms: 'better' in 2.5 %, 'worse' in 2.5 %."
    v = s.verdicts(binomial_twins(n, seed=seed))['verdict']
    for o in WORDS[:2]: assert abs((v == o).mean() - .025) < four_errors(.025, 2000)


@pytest.mark.parametrize('n', [5, 10])
def test_families_keep_their_rate(n):
    "Any false verdict among five arms that equal their reference: at most 5 %, also beside a gain."
    d = binomial_twins(n, 5)
    assert (s.verdicts(d)['verdict'] != 'not shown').any(1).mean() < .05 + four_errors(.05, 2000)
    d[:, 0] += .2
    v = s.verdicts(d)['verdict']
    assert (v[:, 0] == 'better').all()
    assert (v[:, 1:] != 'not shown').any(1).mean() < .05 + four_errors(.05, 2000)


def test_the_simulation_notices_a_loose_rule():
    "An interval that is too short by a fifth is outside of the four standard errors."
    m, lo, hi = s.t_interval(binomial_twins(5)[:, 0])
    assert abs((m - .8*(m-lo) > 0).mean() - .025) > four_errors(.025, 2000)


def test_bootstrap_and_flips_keep_their_rates():
    "Without normality assumed: rates near 5 % at n = 10; the exact flip test never above."
    d = binomial_twins(10, studies=400)[:, 0]
    ends = np.array([s.bootstrap_t(o, n_boot=999)[1:] for o in d])
    out = ((ends[:, 0] > 0) | (ends[:, 1] < 0)).mean()
    assert .01 < out < .05 + four_errors(.05, 400)
    assert np.mean([s.sign_flip(o) <= .05 for o in d]) < .05 + four_errors(.05, 400)


@quick
@given(
    arrays(float, st.tuples(st.integers(1, 5), st.integers(2, 9)), elements=accs),
    st.sampled_from([.8, .9, .95]))
def test_verdicts_are_scipys_t_tests(d, level):
    "Means, p and verdict from scipy's one-sample test; Holm written as its definition."
    assume((d.std(1) > 1e-3).all())
    v, p = s.verdicts(d, level), stats.ttest_1samp(d, 0, axis=1).pvalue
    order, k = sorted(range(len(p)), key=lambda i: p[i]), len(p)
    worst, want = 0, [0]*k
    for j, i in enumerate(order):
        worst = max(worst, min(1, (k-j)*p[i]))
        want[i] = worst
    np.testing.assert_allclose(v['p'], want, rtol=1e-9)
    np.testing.assert_allclose(v['mean'], d.mean(1))
    for i in range(k):
        if abs(want[i] - (1-level)) > 1e-9:
            assert (v['verdict'][i] != 'not shown') == (want[i] < 1-level)
        assert v['verdict'][i] == (
            'better' if v['lo'][i] > 0 else 'worse' if v['hi'][i] < 0 else 'not shown')


@quick
@given(arrays(float, st.integers(2, 12), elements=st.floats(-1, 1, width=16)))
def test_flips_are_scipys(d):
    kw = dict(permutation_type='samples', n_resamples=np.inf)
    want = min(1, stats.permutation_test((d,), np.mean, **kw).pvalue)
    assert s.sign_flip(d) == pytest.approx(want, abs=1e-12)


@quick
@given(
    arrays(float, st.integers(4, 5), elements=st.floats(-1, 1, width=16)), st.floats(-3, 3),
    st.floats(.1, 9))
def test_bootstrap_moves_with_its_data(d, a, b):
    "Shifted and scaled differences give the shifted and scaled interval; the mean lies inside."
    assume(d.std() > 1e-2)
    m, lo, hi = s.bootstrap_t(d)
    assert lo <= m <= hi
    want = [a + b*o for o in (m, lo, hi)]
    np.testing.assert_allclose(s.bootstrap_t(a + b*d), want, rtol=1e-6, atol=1e-6)


@quick
@given(arrays(float, (3, 5), elements=accs), accs)
def test_labels_needed_are_roots(acc, target):
    "The first crossing, found by walking the interpolated curve in small steps and solving there."
    n = np.array([10, 20, 40, 80, 100])
    got = s.labels_needed(n, acc, target)
    ends = [
        stats.ttest_1samp(c, 0).confidence_interval() if c.std() else (c[0], c[0]) for c in acc.T]
    low, high = np.array(ends).T
    for k, curve in dict(labels=acc.mean(0), lo=high, hi=low).items():
        if abs(curve - target).min() < 1e-9: continue
        above = np.flatnonzero(curve >= target)
        if not len(above): assert got[k] == math.inf
        elif above[0] == 0: assert got[k] == 10
        else:
            i = above[0]
            want = optimize.brentq(
                lambda x, c: np.interp(x, n, c) - target, n[i - 1], n[i], args=(curve,))
            assert got[k] == pytest.approx(want, abs=1e-6)
    assert got['lo'] <= got['labels'] <= got['hi']
    assert got['reached'] == sum(max(o) >= target for o in acc)


@quick
@given(arrays(float, (4, 6), elements=accs))
def test_area_is_a_mean(acc):
    "Between least and largest accuracy; linear; a budget on its neighbours' line changes nothing."
    n = np.array([10, 15, 30, 60, 61, 100])
    a = s.area(n, acc)
    assert ((acc.min(1) - 1e-12 <= a) & (a <= acc.max(1) + 1e-12)).all()
    np.testing.assert_allclose(s.area(n, 2*acc + 1), 2*a + 1)
    more = np.sort(np.append(n, 45))
    np.testing.assert_allclose(s.area(more, [np.interp(more, n, o) for o in acc]), a)


@pytest.mark.parametrize('n, k', [(3, 1), (5, 1), (5, 6), (12, 3)])
def test_detectable_is_found_as_often_as_said(n, k):
    "20,000 studies with the detectable difference: 80 % are better at Holm's first level."
    e = s.detectable(.02, n, k)
    d = np.random.default_rng(n).normal(e, .02, (20_000, n))
    assert abs((s.t_interval(d, 1 - .05/k)[1] > 0).mean() - .8) < four_errors(.8, 20_000)


nan = float('nan')


@pytest.mark.parametrize('call, words', [
    (lambda: s.area([10, 20], [.5, nan]), 'acc holds 1 values that are nan'),
    (lambda: s.area([10, 10], [.5, .6]), 'must ascend'),
    (lambda: s.area([10, 20], [.5, .6, .7]), 'its last axis must have as many'),
    (lambda: s.area([[10, 20]], [.5, .6]), 'n has shape (1, 2)'),
    (lambda: s.differences([.1, .2, .3], [.1, .2]), 'a has 3 seeds, b has 2'),
    (lambda: s.differences([.1], [.2]), 'a has 1 seed'),
    (lambda: s.differences([.1, nan], [.1, .2]), 'a holds 1 values that are nan'),
    (lambda: s.differences([.1, .2], [.1, math.inf]), 'b holds 1 values that are nan or infinite'),
    (lambda: s.t_interval(.3), 'd has 1 seed'),
    (lambda: s.t_interval([.1, .2], 1.), 'level=1.0 must lie between 0 and 1'),
    (lambda: s.bootstrap_t([.1]), 'd has 1 seed'),
    (lambda: s.bootstrap_t([.1, .2], n_boot=0), 'n_boot=0'),
    (lambda: s.sign_flip([nan, .1]), 'd holds 1 values'),
    (lambda: s.holm([.1, nan]), 'p holds 1 values'),
    (lambda: s.holm([-.1]), 'p must be a list of values in 0..1'),
    (lambda: s.verdicts([.1, .2]), 'give one line of seeds for each comparison'),
    (lambda: s.penalty_matrix([[.1, .2]]), 'acc has shape (1, 2)'),
    (lambda: s.labels_needed([10, 20], [[.1, .2]], .2), 'd has 1 seed'),
    (lambda: s.labels_needed([10, 20], [[.1, .2], [.1, nan]], .2), 'acc holds 1 values'),
    (lambda: s.power(.1, -1, 5), 'sd=-1 must be above 0'),
    (lambda: s.power(.1, nan, 5), 'sd=nan must be above 0'),
    (lambda: s.detectable(.1, 1), 'n=1 must be a whole number at least 2'),
    (lambda: s.detectable(.1, 5, chance=1), 'chance=1 must lie between'),
    (lambda: s.detectable(.1, 5, k=0), 'k=0'),
])
def test_bad_input_is_a_sentence(call, words):
    with pytest.raises(ValueError) as e: call()
    assert words in str(e.value) and len(str(e.value).splitlines()) == 1


def test_no_warnings_where_nothing_varies(recwarn):
    "Equal differences, zero or not, have an interval of no width and no division by zero."
    v = s.verdicts(np.array([[0.]*5, [.5]*5]))
    assert v['verdict'].tolist() == ['not shown', 'better'] and v['p'].tolist() == [1, 0]
    assert s.bootstrap_t([0., 0., 0.]) == (0, 0, 0) and s.sign_flip([0., 0.]) == 1
    assert not recwarn.list
