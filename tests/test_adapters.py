"Our rules behind scikit-activeml's and modAL's calls, and theirs in our loop."
import ast
import inspect
import json
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from asal_nb.methods import adapters, foreign
from asal_nb.core import rng
from asal_nb.paper.adversarial import entropy, margin
from asal_nb.ask.coldstart import kcenter, probcover, typiclust
from asal_nb.data.pool import Pool
from asal_nb.data.images import ImageData, get_data
from asal_nb.loop.asal import ASAL, Supervised
from asal_nb.loop.loop import ActiveLearning
from asal_nb.methods.uncertainty import BALD, LeastConfidence, Margin, confidence
from asal_nb.methods.geometry import CoreSet, TypiClust
from asal_nb.methods.badge import BADGE
from asal_nb.methods.discriminative import DiscriminativeAL
from asal_nb.methods.foreign import Foreign, from_modal, from_skactiveml
from asal_nb.methods.adapters import SkRule, as_labels, kind_of, pick, to_modal, to_skactiveml

pytest.importorskip('skactiveml')
from skactiveml import pool as skpool
from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier

QUICK = Supervised(n_steps=2, nz=3)

def clouds(n=120, seed=0):
    "X, true labels, and the labels that are known"
    y = np.arange(n) % 3
    noise = torch.randn(n, 4, generator=rng(seed, 'adapters'), dtype=torch.float64)
    X = 3*np.eye(3, 4)[y] + noise.numpy()
    return X, y, np.where(np.arange(n) < 9, y, np.nan)

def good(i, y, b): assert i.shape == (b,) and len(set(i.tolist())) == b and np.isnan(y[i]).all()

# ---- ours in scikit-activeml

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
    words = np.array([names[t] if o == o else '?' for t, o in zip(truth, y)], dtype=object)
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
        (kcenter, dict(batch_size=112), 'batch size=112 must be a whole number in 1..111'),
        (kcenter, dict(candidates=[50]), 'candidates'),
        (kcenter, dict(return_utilities=True), 'return_utilities'),
    ):
        with pytest.raises(ValueError, match=said): to_skactiveml(rule, [0, 1, 2]).query(X, y, **kw)
    with pytest.raises(ValueError, match='the smallest score is asked first'):
        to_skactiveml(entropy, [0, 1])
    with pytest.raises(ValueError, match='must be a `Method`'): kind_of('margin')
    with pytest.raises(ValueError, match='give it at least one'):
        to_skactiveml(Margin(QUICK), [0, 1, 2]).query(X, y*np.nan)

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

class Learner:
    "What a strategy sees of modAL's `ActiveLearner`, and how its versions unpack an answer"
    def __init__(self, X, y, strategy):
        self.X_training, self.y_training = X, y
        self.strategy, self.estimator = strategy, LogisticRegression().fit(X, y)
    def predict_proba(self, X): return self.estimator.predict_proba(X)
    def query(self, X_pool, **kw):
        out = self.strategy(self, X_pool, **kw)
        try: i, _ = out
        except ValueError: i = out
        return i, X_pool[i]

@pytest.mark.parametrize('n', [1, 2, 5])
@pytest.mark.parametrize('rule', [margin, kcenter, Margin(QUICK), CoreSet(QUICK)],
                         ids=['score', 'features', 'margin', 'coreset'])
def test_modal_gets_positions_in_its_pool(rule, n):
    X, truth, y = clouds()
    learner = Learner(X[:9], truth[:9], to_modal(rule, [0, 1, 2]))
    i, rows = learner.query(X[9:], n_instances=n)
    assert i.shape == (n,) and (rows == X[9:][i]).all()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    qs = to_skactiveml(rule, [0, 1, 2])
    assert (i + 9).tolist() == qs.query(X, y, clf, batch_size=n).tolist()

def test_modal_before_any_label():
    X, _, _ = clouds()

    class Empty: X_training = y_training = None
    Empty.predict_proba = lambda X: np.full((len(X), 3), 1/3)
    i, _ = to_modal(kcenter)(Empty, X, 4)
    assert i.tolist() == kcenter(torch.as_tensor(X).float(), 4).tolist()
    assert len(set(to_modal(margin)(Empty, X, 6)[0])) == 6
    with pytest.raises(ValueError, match='name its classes'): to_modal(Margin())

# ---- theirs in ours

def digits(n=150, n_L=20):
    y = get_data('digits').oracle(torch.arange(n))
    data = ImageData.from_arrays(get_data('digits').x[:n], y, classes=range(10)).blind()
    pool = Pool(n, 10)
    pool.label(torch.arange(n_L), y[:n_L])
    return data, pool

STRATEGIES = [
    skpool.RandomSampling(), skpool.UncertaintySampling(), skpool.CoreSet(), skpool.TypiClust(),
    skpool.Badge(), skpool.Clue(), skpool.Falcun(), skpool.ProbCover(n_classes=10)]

@pytest.mark.filterwarnings('ignore:The maximum purity')
@pytest.mark.parametrize('qs', STRATEGIES, ids=lambda o: type(o).__name__)
def test_theirs_ask_in_our_loop(qs):
    "The real strategies: b new rows, the same for one seed, plain settings, nothing remembered"
    data, pool = digits()
    was, m = repr(qs), from_skactiveml(qs, Supervised(n_steps=3))
    learn = m.fit(data, pool, m.warm_up(data, 0), 0)
    i = m.query(learn, data, pool, 6, 1)
    assert torch.equal(i, m.query(learn, data, pool, 6, 1)) and len(i.unique()) == 6
    assert torch.isin(i, pool.idx_U).all() and m.name == type(qs).__name__.lower()
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

def test_the_loop_runs_and_resumes_theirs(tmp_path):
    data = get_data('digits')
    args = dict(b=5, rounds=1, n_first=10, first='random', ledger=tmp_path/'runs.db', quiet=True)
    runs = [ActiveLearning(data, from_skactiveml(skpool.Badge(), Supervised(n_steps=3)),
                           **args).run() for _ in range(2)]
    assert runs[0].results.equals(runs[1].results) and runs[0].name == 'digits-badge-0'
    with pytest.raises(ValueError):
        ActiveLearning(data, from_skactiveml(skpool.Badge(), Supervised(n_steps=4)), **args).run()

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
    a, b = [set(o.query(learn, data, pool, 8, 0).tolist()) for o in (m, Margin())]
    assert a == b

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
    a, b = [pick(kcenter, o, y, 5, [0, 1, 2]) for o in (X, torch.as_tensor(X))]
    assert torch.equal(a, b)
