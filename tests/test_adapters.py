"Our rules behind scikit-activeml's and modAL's calls, and theirs in our loop."
import ast
import inspect
import json
import os
import pickle
import subprocess
import sys
import unittest
import zipfile
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import skactiveml
import torch
from modAL.batch import uncertainty_batch_sampling
from modAL.disagreement import vote_entropy_sampling
from modAL.models import ActiveLearner, Committee
from modAL.models.learners import DeepActiveLearner
from modAL.uncertainty import entropy_sampling, margin_sampling, uncertainty_sampling
from scipy.sparse import csc_matrix, csr_matrix
from skactiveml import pool as skpool
from skactiveml.base import SingleAnnotatorPoolQueryStrategy
from skactiveml.classifier import (
    MixtureModelClassifier, ParzenWindowClassifier, SklearnClassifier)
from skactiveml.exceptions import MappingError
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from asal_nb.methods import adapters, foreign
from asal_nb.core import rng
from asal_nb.paper.adversarial import entropy, margin
from asal_nb.ask.coldstart import kcenter, probcover, typiclust
from asal_nb.data.pool import Pool
from asal_nb.data.images import ImageData, get_data
from asal_nb.loop.asal import ASAL, Supervised
from asal_nb.loop.loop import ActiveLearning as Loop
from asal_nb.methods.uncertainty import BALD, Entropy, LeastConfidence, Margin, confidence
from asal_nb.methods.geometry import CoreSet, TypiClust
from asal_nb.methods.badge import BADGE
from asal_nb.methods.discriminative import DiscriminativeAL
from asal_nb.methods.foreign import Foreign, from_modal, from_skactiveml
from asal_nb.methods.adapters import (
    SkRule, as_array, as_labels, kind_of, labelled_by, pick, to_modal, to_skactiveml)

QUICK = Supervised(n_steps=2, nz=3)

def clouds(n=120, seed=0):
    "X, true labels, and the labels that are known"
    y = np.arange(n) % 3
    noise = torch.randn(n, 4, generator=rng(seed, 'adapters'), dtype=torch.float64)
    X = 3*np.eye(3, 4)[y] + noise.numpy()
    return X, y, np.where(np.arange(n) < 9, y, np.nan)

def good(i, y, b): assert i.shape == (b,) and len(set(i.tolist())) == b and np.isnan(y[i]).all()

# ---- ours in scikit-activeml

LENDER = '0.5.0' # the last version whose wheel holds the template tests

@pytest.fixture(scope='module')
def template():
    "scikit-activeml's own tests for a pool strategy, fetched once"
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home()/'.cache'))
    home = cache/'asal-nb'/f'scikit-activeml-{LENDER}'
    fetch = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary',
             ':all:', f'scikit-activeml=={LENDER}', '--dest', str(home)]
    if not any(home.glob('*.whl')):
        said = subprocess.run(fetch, capture_output=True, text=True)
        if said.returncode:
            pytest.skip(f'the template tests could not be fetched: {said.stderr[-200:]}')
    for wheel in home.glob('*.whl'): zipfile.ZipFile(wheel).extractall(home)
    skactiveml.__path__.append(str(home/'skactiveml'))
    from skactiveml.tests import template_query_strategy
    return template_query_strategy.TemplateSingleAnnotatorPoolQueryStrategy

@pytest.mark.parametrize(
    'rule', [margin, kcenter, typiclust, Margin(Supervised(n_steps=5)), ASAL(n_warm=2, n_steps=2)],
    ids=lambda o: getattr(o, '__name__', None) or o.name)
def test_their_own_template_tests(rule, template):
    X = torch.randn(12, 3, generator=rng(0, 'template')).numpy()
    y = np.array([0, 1, 1, 0] + [np.nan]*8)

    class Theirs(template, unittest.TestCase):
        def setUp(self):
            clf = ParzenWindowClassifier(classes=[0, 1])
            query = dict(X=X, y=y, clf=clf, fit_clf=True)
            super().setUp(SkRule, dict(rule=rule, classes=[0, 1]), query)
        def test_init_param_rule(self):
            cases = [(rule, None), ('margin', ValueError), (ASAL, ValueError)]
            self._test_param('init', 'rule', cases)
        def test_init_param_classes(self):
            cases = [(np.arange(2), None), ((0, 1, 2), None), ([0], ValueError)]
            self._test_param('init', 'classes', cases)
        def test_init_param_shape(self): self._test_param('init', 'shape', [((3,), None)])
        def test_query_param_clf(self): super().test_query_param_clf(test_cases=[])
        def test_query(self):
            assert issubclass(self.qs_class, SingleAnnotatorPoolQueryStrategy)
    found = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Theirs).run(found)
    assert found.testsRun >= 23 and not found.skipped
    assert found.wasSuccessful(), '\n'.join(o for _, o in found.failures + found.errors)

RULES = [
    margin, confidence, kcenter, typiclust, probcover, LeastConfidence(QUICK), BADGE(QUICK),
    CoreSet(QUICK), TypiClust(QUICK, n_warm=0), DiscriminativeAL(QUICK, n_sub=2, n_steps=3),
    ASAL(n_warm=2, n_steps=2), BALD(Supervised(n_steps=2, p_drop=.5), 2)]

@pytest.mark.parametrize('rule', RULES, ids=lambda o: getattr(o, '__name__', None) or o.name)
def test_a_cycle_as_in_their_tutorials(rule):
    "Query, label, again, with their classifier and their nan"
    X, truth, y = clouds()
    qs, fresh = [to_skactiveml(rule, classes=[0, 1, 2]) for _ in range(2)]
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    for b in (3, 1):
        i = qs.query(X=X, y=y, clf=clf, batch_size=b)
        good(i, y, b)
        assert i.tolist() == fresh.query(X, y, clf, batch_size=b).tolist()
        y[i] = truth[i]
    assert np.isnan(y).sum() == 120 - 13

@pytest.mark.parametrize('rule', RULES, ids=lambda o: getattr(o, '__name__', None) or o.name)
def test_utilities_say_what_was_asked(rule):
    "At each step the largest is asked; nan where a row is labelled, left out or asked before"
    X, _, y = clouds()
    qs = to_skactiveml(rule, np.unique(y[:9]))
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    for candidates in (None, np.arange(20, 60)):
        can = np.isnan(y) if candidates is None else np.isin(np.arange(120), candidates)
        i, u = qs.query(X, y, clf, candidates=candidates, batch_size=4, return_utilities=True)
        assert u.shape == (4, 120) and can[i].all() and len(set(i)) == 4
        for step in range(4):
            left = can & ~np.isin(np.arange(120), i[:step])
            assert (np.isnan(u[step]) == ~left).all()
            assert u[step][i[step]] == np.nanmax(u[step])
        assert i.tolist() == qs.query(X, y, clf, candidates=candidates, batch_size=4).tolist()

def test_utilities_are_scores_where_scores_rank():
    X, _, y = clouds()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2]).fit(X, y)
    i, u = to_skactiveml(margin).query(X, y, clf, False, return_utilities=True)
    p = torch.as_tensor(clf.predict_proba(X[9:])).float()
    assert np.allclose(u[0, 9:], -margin(p).numpy())
    i, u = to_skactiveml(Entropy(QUICK), [0, 1, 2]).query(X, y, return_utilities=True)
    assert len(np.unique(u[0, 9:])) > 50
    i, u = to_skactiveml(kcenter).query(X, y, return_utilities=True)
    assert sorted(set(u[0, 9:])) == [0, 1] and u[0, i[0]] == 1

def test_candidates_as_samples():
    X, _, y = clouds()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    qs = to_skactiveml(margin)
    i, u = qs.query(X, y, clf, candidates=X[50:70], batch_size=3, return_utilities=True)
    want = qs.query(X, y, clf, candidates=np.arange(50, 70), batch_size=3)
    assert (i + 50).tolist() == want.tolist() and u.shape == (3, 20)
    for rule in (kcenter, Margin(QUICK)):
        qs = to_skactiveml(rule, [0, 1, 2])
        with pytest.raises(MappingError): qs.query(X, y, candidates=X[50:70])
        with pytest.raises(ValueError, match='must not contain labeled'):
            qs.query(X, y, candidates=[3, 50])

def test_a_strategy_is_copied_as_theirs():
    X, _, y = clouds()
    qs = to_skactiveml(Margin(QUICK), [0, 1, 2], random_state=5)
    i = qs.query(X, y, batch_size=4).tolist()
    for o in (clone(qs), pickle.loads(pickle.dumps(qs)), clone(qs).set_params(random_state=5)):
        assert o.query(X, y, batch_size=4).tolist() == i
    assert sorted(qs.get_params()) == ['classes', 'missing_label', 'random_state', 'rule', 'shape']
    drawn = [to_skactiveml(typiclust, random_state=o).query(X*0, y, batch_size=4).tolist()
             for o in (1, 1, 2, np.random.RandomState(3), np.random.RandomState(3))]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[3] == drawn[4]
    wrapped = skpool.SubSamplingWrapper(qs, max_candidates=10, random_state=0)
    good(wrapped.query(X, y, batch_size=4), y, 4)

@pytest.mark.parametrize('ours, theirs',
                         [(confidence, 'least_confident'), (margin, 'margin_sampling'),
                          (lambda p: -entropy(p), 'entropy')])
@pytest.mark.parametrize('clf',
                         [SklearnClassifier(LogisticRegression(), classes=[0, 1, 2]),
                          ParzenWindowClassifier(classes=[0, 1, 2])],
                         ids=['logistic', 'parzen'])
def test_scores_ask_for_the_same_rows_as_theirs(ours, theirs, clf):
    X, _, y = clouds()
    want = skpool.UncertaintySampling(method=theirs, random_state=0).query(X, y, clf, batch_size=10)
    got = to_skactiveml(ours, [0, 1, 2]).query(X, y, clf, batch_size=10)
    assert sorted(got.tolist()) == sorted(want.tolist())

def test_a_fitted_classifier_is_used_as_it_is():
    X, _, y = clouds()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2]).fit(X, y)
    qs = to_skactiveml(margin, [0, 1, 2])
    a, b = [qs.query(X, y, clf, fit_clf=o, batch_size=4).tolist() for o in (False, True)]
    assert a == b

def test_other_names_for_a_missing_label():
    X, truth, y = clouds()
    names = np.array(['ant', 'bee', 'cow'])
    words = np.array([names[t] if o == o else '?' for t, o in zip(truth, y)])
    nones = np.array([names[t] if o == o else None for t, o in zip(truth, y)], dtype=object)
    want = to_skactiveml(kcenter, [0, 1, 2]).query(X, y, batch_size=5).tolist()
    for labels, missing in ((words, '?'), (nones, None)):
        qs = to_skactiveml(kcenter, names, missing_label=missing)
        assert qs.query(X, labels, batch_size=5).tolist() == want
    with pytest.raises(ValueError, match="label='ant' is unknown; it must be one of 'dog'"):
        as_labels(words, ['dog'], '?')

def test_classes_without_a_label_yet():
    X, _, y = clouds()
    y[1:] = np.nan
    for rule in (Margin(QUICK), CoreSet(QUICK), kcenter):
        good(to_skactiveml(rule, range(7)).query(X, y, batch_size=4), y, 4)

def test_flat_images_get_their_shape():
    data = get_data('digits')
    X = data.images(torch.arange(80)).flatten(1).numpy()
    y = np.where(np.arange(80) < 9, data.oracle(torch.arange(80)).numpy(), np.nan)
    m = Margin(Supervised(n_steps=2))
    good(SkRule(m, range(10), shape=(1, 8, 8)).query(X, y, batch_size=5), y, 5)
    good(SkRule(m, range(10)).query(X.reshape(-1, 1, 8, 8), y, batch_size=5), y, 5)

def test_refusals_are_sentences():
    X, _, y = clouds()
    for rule, kw, said in (
        (margin, {}, 'needs a classifier'),
        (kcenter, dict(batch_size=0), 'batch_size'),
    ):
        with pytest.raises(ValueError, match=said): to_skactiveml(rule, [0, 1, 2]).query(X, y, **kw)
    with pytest.raises(ValueError, match='the smallest score is asked first'):
        to_skactiveml(entropy, [0, 1])
    with pytest.raises(ValueError, match='must be a `Method`'): kind_of('margin')
    for to in (to_skactiveml, to_modal):
        with pytest.raises(ValueError, match=r'ASAL is a class; make it: ASAL\(\)'): to(ASAL)
        with pytest.raises(ValueError, match='name its classes'): to(Margin(QUICK))
    with pytest.warns(UserWarning, match="'batch_size=111' was set"):
        assert len(to_skactiveml(kcenter).query(X, y, batch_size=112)) == 111

def test_a_method_without_labels_draws_at_random():
    X, _, y = clouds()
    def ask(s): return to_skactiveml(Margin(QUICK), [0, 1, 2], random_state=s)
    a, b, c = [ask(s).query(X, y*np.nan, batch_size=6) for s in (0, 0, 1)]
    assert len(set(a)) == 6 and a.tolist() == b.tolist() != c.tolist()

def test_the_labels_of_unlabelled_rows_are_out_of_reach():
    "A method behind the adapter gets data without labels, and a pool with those that are known"
    seen = []

    class Spy(Margin):
        def query(self, learn, data, pool, b, seed):
            seen.append(pool.y.clone())
            with pytest.raises(ValueError, match='blind'): data.oracle(torch.arange(3))
            return super().query(learn, data, pool, b, seed)
    X, truth, y = clouds()
    to_skactiveml(Spy(QUICK), [0, 1, 2]).query(X, y, batch_size=2)
    assert torch.equal(seen[0], torch.as_tensor(np.nan_to_num(y, nan=-1)).long())

# ---- ours in modAL

POOLS = dict(array=np.asarray, tensor=torch.as_tensor, list=np.ndarray.tolist, csr=csr_matrix,
             csc=csc_matrix, frame=lambda X: pd.DataFrame(X, columns=list('abcd')))
KINDS = dict(score=margin, features=kcenter, margin=Margin(QUICK), coreset=CoreSet(QUICK))

@pytest.mark.parametrize('n', [1, 2, 5])
@pytest.mark.parametrize('rule', KINDS.values(), ids=KINDS)
def test_modal_gets_positions_in_its_pool(rule, n):
    "Their real learner asks, for the rows that scikit-activeml gets from the same rule"
    X, truth, y = clouds()
    classes = np.unique(truth)
    learner = ActiveLearner(LogisticRegression(), to_modal(rule, classes), X[:9], truth[:9])
    i, rows = learner.query(X[9:], n_instances=n)
    assert i.shape == (n,) and (rows == X[9:][i]).all()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    qs = to_skactiveml(rule, classes)
    assert (i + 9).tolist() == qs.query(X, y, clf, batch_size=n).tolist()

@pytest.mark.filterwarnings('ignore:X does not have valid feature names')
@pytest.mark.parametrize('kind', POOLS)
@pytest.mark.parametrize('rule', KINDS.values(), ids=KINDS)
def test_modal_pools_of_every_kind(rule, kind):
    X, truth, _ = clouds()
    of = POOLS[kind]
    asked = []
    for made in (np.asarray, of):
        strategy = to_modal(rule, [0, 1, 2])
        learner = ActiveLearner(LogisticRegression(), strategy, made(X[:9]), truth[:9])
        i, rows = learner.query(made(X[9:]), n_instances=3)
        assert np.allclose(as_array(rows), X[9:][i])
        own = strategy(learner, made(X[9:]), 3)[1]
        assert type(own) is type(made(X[9:])) and np.allclose(as_array(own), X[9:][i])
        asked.append(i.tolist())
    assert asked[0] == asked[1]

@pytest.mark.parametrize('rule', KINDS.values(), ids=KINDS)
def test_modal_cycles(rule):
    "A new learner each round, until the pool is empty: `teach` fails on scikit-learn 1.8"
    X, truth, _ = clouds(24)
    known, pool = list(range(9)), list(range(9, 24))
    while pool:
        strategy = to_modal(rule, range(3))
        learner = ActiveLearner(LogisticRegression(), strategy, X[known], truth[known])
        i, _ = learner.query(X[pool], n_instances=5)
        rows = [pool[j] for j in i]
        known, pool = known + rows, [j for j in pool if j not in rows]
    assert sorted(known) == list(range(24))

@pytest.mark.parametrize('kind', POOLS)
def test_modal_committees_know_what_their_members_know(kind):
    "Labels are the members'; a row that two of them hold counts once"
    X, truth, _ = clouds()
    of = POOLS[kind]
    parts = (LogisticRegression(), 0, 6), (RandomForestClassifier(5, random_state=0), 3, 9)
    members = [ActiveLearner(o, vote_entropy_sampling, of(X[a:b]), truth[a:b]) for o, a, b in parts]
    rows, y = labelled_by(Committee(members))
    assert (rows == X[:9]).all() and (y == truth[:9]).all()
    alone = ActiveLearner(LogisticRegression(), X_training=X[:9], y_training=truth[:9])
    for rule in (kcenter, Margin(QUICK), CoreSet(QUICK)):
        strategy = to_modal(rule, np.unique(truth))
        want = strategy(alone, X[9:], 4)[0].tolist()
        assert strategy(Committee(members, strategy), of(X[9:]), 4)[0].tolist() == want
    if kind in ('array', 'csr'):
        committee = Committee(members, to_modal(margin))
        i, _ = committee.query(of(X[9:]), n_instances=4)
        p = torch.as_tensor(committee.predict_proba(of(X[9:]))).float()
        assert set(i.tolist()) == set(margin(p).argsort()[:4].tolist())

def test_modal_before_any_label():
    X, _, _ = clouds()
    empty = ActiveLearner(LogisticRegression(), to_modal(kcenter))
    i, _ = empty.query(X, n_instances=4)
    assert i.tolist() == kcenter(torch.as_tensor(X).float(), 4).tolist()
    assert len(set(to_modal(Margin(QUICK), [0, 1, 2])(empty, X, 6)[0])) == 6

def test_modal_refusals_are_sentences():
    X, truth, _ = clouds()
    learner = ActiveLearner(LogisticRegression(), X_training=X[:9], y_training=truth[:9])
    words, gap = pd.DataFrame(dict(a=['x'], b=['y'], c=['z'], d=['w'])), X[9:].copy()
    gap[3, 1] = np.nan

    class Net(LogisticRegression):
        def initialize(self): return self
    for rule, who, X_pool, said in (
        (kcenter, learner, pd.concat([words]*4), 'X_pool must hold numbers'),
        (kcenter, learner, [[1., 2.], [3.], [4.]], 'X_pool must hold numbers'),
        (kcenter, learner, gap, 'X_pool holds nan'),
        (kcenter, learner, X[9:, :2], 'a row of the pool'),
        (kcenter, learner, X[:2], 'n_instances=3 must be a whole number in 1..2'),
        (kcenter, DeepActiveLearner(Net()), X, 'DeepActiveLearner does not keep'),
        (margin, ActiveLearner(LogisticRegression()), X, 'needs probabilities'),
        (margin, ActiveLearner(SVC(), X_training=X[:9], y_training=truth[:9]), X, 'needs probab'),
    ):
        with pytest.raises(ValueError, match=said): to_modal(rule)(who, X_pool, 3)
    with pytest.raises(ValueError, match='label=2 is unknown'):
        to_modal(Margin(QUICK), [0, 1])(learner, X, 3)

# ---- theirs in ours

def digits(n=150, n_L=20):
    y = get_data('digits').oracle(torch.arange(n))
    data = ImageData.from_arrays(get_data('digits').x[:n], y, classes=range(10)).blind()
    pool = Pool(n, 10)
    pool.label(torch.arange(n_L), y[:n_L])
    return data, pool

STRATEGIES = [
    skpool.RandomSampling(), skpool.UncertaintySampling(), skpool.CoreSet(), skpool.TypiClust(),
    skpool.Badge(), skpool.Clue(), skpool.Falcun(), skpool.ProbCover(n_classes=10),
    skpool.Quire(classes=list(range(10))), skpool.ContrastiveAL(), skpool.DropQuery(),
    skpool.MaxHerding(), skpool.SubSamplingWrapper(skpool.UncertaintySampling(), 30)]

@pytest.mark.filterwarnings('ignore:The maximum purity')
@pytest.mark.parametrize('qs', STRATEGIES, ids=lambda o: type(o).__name__)
def test_theirs_ask_in_our_loop(qs):
    "The real strategies: b new rows, the same for one seed, plain settings, nothing remembered"
    data, pool = digits()
    was, m = repr(qs), from_skactiveml(qs, Supervised(n_steps=3))
    learn = m.fit(data, pool, m.warm_up(data, 0), 0)
    i = m.query(learn, data, pool, 6, 1)
    assert torch.equal(i, m.query(learn, data, pool, 6, 1)) and len(i.unique()) == 6
    assert torch.isin(i, pool.idx_U).all() and m.name == f'skactiveml-{type(qs).__name__}'.lower()
    assert type(qs).__name__ in json.dumps(m.settings) and ' at 0x' not in json.dumps(m.settings)
    assert repr(qs) == was and not hasattr(qs, 'random_state_')

def test_their_seed_is_ours():
    data, pool = digits()
    m = from_skactiveml(skpool.RandomSampling(random_state=5), QUICK)
    learn = m.fit(data, pool, None, 0)
    assert not torch.equal(m.query(learn, data, pool, 6, 1), m.query(learn, data, pool, 6, 2))

def test_their_core_set_is_ours():
    data, pool = digits()
    ours, theirs = CoreSet(QUICK), from_skactiveml(skpool.CoreSet(), QUICK)
    learn = ours.fit(data, pool, None, 0)
    a, b = [m.query(learn, data, pool, 12, 0).tolist() for m in (ours, theirs)]
    assert a == b

@pytest.mark.parametrize('space', ['penultimate', 'code'])
def test_their_uncertainty_sees_our_classifier(space):
    data, pool = digits()
    ours = LeastConfidence(Supervised(n_steps=40))
    theirs = from_skactiveml(skpool.UncertaintySampling(), QUICK, space)
    learn = ours.fit(data, pool, None, 0)
    a, b = [set(m.query(learn, data, pool, 9, 0).tolist()) for m in (ours, theirs)]
    assert a == b

def test_what_they_need_beyond_the_classifier():
    data, pool = digits()
    with pytest.raises(ValueError, match='DiscriminativeAL.query also needs discriminator'):
        from_skactiveml(skpool.DiscriminativeAL())
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1])
    m = from_skactiveml(skpool.DiscriminativeAL(), QUICK, 'code', discriminator=clf)
    assert 'LogisticRegression' in m.settings['theirs']
    assert len(m.query(m.fit(data, pool, None, 0), data, pool, 4, 0).unique()) == 4
    own = from_skactiveml(skpool.UncertaintySampling(), QUICK, 'warm',
                          clf=SklearnClassifier(LogisticRegression(max_iter=50), classes=range(10)))
    own.n_warm = 0
    learn = own.fit(data, pool, own.warm_up(data, 0), 0)
    assert len(own.query(learn, data, pool, 4, 0).unique()) == 4
    with pytest.raises(ValueError, match="which the space 'warm' does not have"):
        from_skactiveml(skpool.Badge(), space='warm')
    classes = list(range(10))
    forest = SklearnClassifier(RandomForestClassifier(5), classes=classes)
    for qs, kw in ((skpool.QueryByCommittee(), dict(ensemble=forest)),
                   (skpool.FourDs(), dict(clf=MixtureModelClassifier(classes=classes))),
                   (skpool.ProbabilisticAL(), dict(clf=ParzenWindowClassifier(classes=classes)))):
        m = from_skactiveml(qs, QUICK, 'code', **kw)
        assert len(m.query(m.fit(data, pool, None, 0), data, pool, 4, 0).unique()) == 4
    for qs in (skpool.FourDs(), skpool.ProbabilisticAL(), skpool.MonteCarloEER()):
        m = from_skactiveml(qs, QUICK)
        with pytest.raises(ValueError, match="does not take C's last layer as its clf"):
            m.query(m.fit(data, pool, None, 0), data, pool, 4, 0)

def test_what_is_no_strategy_is_refused():
    X, truth, _ = clouds()
    for qs, said in (
        (skpool.UncertaintySampling, r'is a class; make it: UncertaintySampling\(\)'),
        (margin, 'must be a pool strategy'), (skpool.SubSamplingWrapper(), 'must be a pool strat'),
    ):
        with pytest.raises(ValueError, match=said): from_skactiveml(qs)
    learner = ActiveLearner(LogisticRegression(), X_training=X[:9], y_training=truth[:9])
    for f, said in ((learner, 'give its query_strategy'), (skpool.Badge(), 'a function'),
                    (ActiveLearner, 'a function'), ('margin', 'a function')):
        with pytest.raises(ValueError, match=said): from_modal(f)

def test_the_loop_runs_and_resumes_theirs(tmp_path):
    data = get_data('digits')
    args = dict(b=5, rounds=1, n_first=10, first='random', ledger=tmp_path/'runs.db', quiet=True)
    runs = [Loop(data, from_skactiveml(skpool.Badge(), Supervised(n_steps=3)),
                           **args).run() for _ in range(2)]
    assert runs[0].results.equals(runs[1].results) and runs[0].name == 'digits-skactiveml-badge-0'
    with pytest.raises(ValueError):
        Loop(data, from_skactiveml(skpool.Badge(), Supervised(n_steps=4)), **args).run()

@pytest.mark.parametrize('theirs, ours', [(uncertainty_sampling, LeastConfidence),
                                          (margin_sampling, Margin), (entropy_sampling, Entropy)],
                         ids=lambda o: o.__name__)
def test_real_modal_strategies_as_methods(theirs, ours):
    data, pool = digits()
    m = from_modal(theirs, Supervised(n_steps=40))
    learn = m.fit(data, pool, None, 0)
    a, b = [set(o.query(learn, data, pool, 7, 0).tolist()) for o in (m, ours())]
    assert a == b and m.name == f'modal-{theirs.__name__}'

def test_modal_strategies_that_need_more_or_less():
    data, pool = digits()
    m = from_modal(uncertainty_batch_sampling, QUICK)
    learn = m.fit(data, pool, None, 0)
    assert len(m.query(learn, data, pool, 7, 0).unique()) == 7
    with pytest.raises(ValueError, match='wants a committee'):
        from_modal(vote_entropy_sampling, QUICK).query(learn, data, pool, 7, 0)
    def doubles(learner, X, n_instances): return [0]*n_instances
    with pytest.raises(ValueError, match='must name 7 different rows'):
        from_modal(doubles, QUICK).query(learn, data, pool, 7, 0)

@pytest.mark.parametrize('answer', [lambda i: i, lambda i: (i, None), lambda i: i.tolist()],
                         ids=['array', 'pair', 'list'])
def test_a_modal_strategy_as_a_method(answer):
    data, pool = digits()

    def shy(learner, X, n_instances=1, power=1):
        assert learner.estimator is learner and learner.X_training.shape == (20, X.shape[1])
        assert len(learner.y_training) == 20
        top = learner.predict_proba(X).max(1)**power
        return answer(np.argsort(top, kind='stable')[:n_instances])
    m = from_modal(shy, Supervised(n_steps=40), power=2)
    learn = m.fit(data, pool, None, 0)
    got = m.query(learn, data, pool, 7, 0)
    assert set(got.tolist()) == set(LeastConfidence().query(learn, data, pool, 7, 0).tolist())
    assert "{'power': 2}" in m.settings['theirs'] and isinstance(m, Foreign)

def test_there_and_back():
    "A rule of ours as a modAL strategy, taken as a method again, asks for what it asks for"
    data, pool = digits()
    m = from_modal(to_modal(margin), Supervised(n_steps=40))
    learn = m.fit(data, pool, None, 0)
    back = from_skactiveml(to_skactiveml(margin), Supervised(n_steps=40))
    a, b, c = [set(o.query(learn, data, pool, 8, 0).tolist()) for o in (m, Margin(), back)]
    assert a == b == c
    assert m.settings['theirs'] == 'margin' and m.name == 'modal-margin'

def test_a_pool_with_rows_held_for_validation():
    "Their positions are turned into dataset rows, whatever rows are left out"
    data, pool = digits()
    pool.hold(torch.arange(5, 9))
    for m in (from_skactiveml(skpool.CoreSet(), QUICK),
              from_modal(lambda learner, X, n_instances: np.arange(n_instances), QUICK)):
        i = m.query(m.fit(data, pool, None, 0), data, pool, 5, 0)
        assert torch.isin(i, pool.idx_U).all()
    assert i.tolist() == pool.idx_U[:5].tolist()

# ---- without them

@pytest.mark.parametrize('mod', [adapters, foreign], ids=['adapters', 'foreign'])
def test_neither_library_is_needed_to_import(mod):
    "What a module imports when it is imported: the lines at its top"
    body = ast.parse(inspect.getsource(mod)).body
    top = [n for n in body if isinstance(n, (ast.Import, ast.ImportFrom))]
    assert top and not any(o in ast.unparse(n) for n in top for o in ('skactiveml', 'modAL'))

def test_the_same_answer_for_arrays_and_tensors():
    X, _, y = clouds()
    y = as_labels(y, [0, 1, 2])
    a, b = [pick(kcenter, o, y, 5)[0] for o in (X, torch.as_tensor(X))]
    assert torch.equal(a, b)
