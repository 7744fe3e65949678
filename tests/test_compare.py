"Comparing: a killed study ends as one that was not, unequal arms are refused by name."
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from joblib.externals.loky.backend.reduction import dumps
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
import asal_nb.study.compare as module
from asal_nb.core import rng
from asal_nb.data.images import ImageData
from asal_nb.game.asking import ASK
from asal_nb.ledger.archive import opened
from asal_nb.ledger.ledger import Ledger
from asal_nb.loop import asal, method
from asal_nb.loop.method import Method, run_steps
from asal_nb.loop.asal import ASAL, Supervised, Trained
from asal_nb.loop.loop import ActiveLearning
from asal_nb.methods.uncertainty import Margin
from asal_nb.check.controls import LBlind, Permuted
from asal_nb.study.arms import Arm, as_arms, with_random
from asal_nb.study.study import read_study
from asal_nb.study.compare import compare

PLAN = dict(b=5, rounds=2, n_first=4, first='random')
TINY = Supervised(n_steps=4)
# where other processes find this file, and whatever this one was told to find
FOUND = os.pathsep.join([str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')])
NAP = 'ASAL_TEST_NAP'  # seconds that `Ends` sleeps before it asks, so that a kill finds it at work


def toy(seed=0):
    "80 vectors of three classes, drawn anew for each seed; 30 of them to test on"
    g, y = rng(seed, 'toy'), torch.arange(80) % 3
    x = (torch.rand(80, 6, generator=g)*.6 + torch.nn.functional.one_hot(y, 6)*.4).clamp(0, 1)
    return ImageData.from_arrays(x[:50], y[:50], x[50:], y[50:], name='toy')


class Ends(Trained):
    "Asks for the first unlabelled rows."
    def query(self, learn, data, pool, b, seed):
        time.sleep(float(os.environ.get(NAP, 0)))
        return pool.idx_U[:b]


def study(backend, ledger=None):
    arms = dict(ends=Ends(TINY), deep=Ends(ASAL(n_warm=0, n_steps=4)))
    return compare(arms, toy, range(5), backend, ledger=ledger, n_jobs=2, quiet=True, **PLAN)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The study in one piece, in one process, and its ledger"
    path = tmp_path_factory.mktemp('whole')/'study.db'
    return study('sequential', path), path


def same(a, b):
    "Are the numbers of two studies equal, bit for bit, and is random asking there?"
    assert a.arms == b.arms == ['ends', 'deep', 'random (supervised)', 'random (asal)']
    assert a.seeds == b.seeds
    assert np.array_equal(a.acc, b.acc) and np.array_equal(a.n, b.n)
    for f in ('table', 'means', 'differences', 'penalties', 'labels_needed'):
        pd.testing.assert_frame_equal(getattr(a, f)(), getattr(b, f)(), check_exact=True)


def runs_over(path):
    "Names of the runs in the ledger at `path`, none while it is being made"
    if not path.exists(): return []
    try:
        with Ledger(path, readonly=True) as led: return [o['name'] for o in led.runs()]
    except (ValueError, sqlite3.Error): return []  # not all of it is there yet


def test_a_killed_study_ends_as_one_that_was_not(tmp_path, whole):
    "SIGKILL takes the parent while loky works; what was over is kept, and the table is the same."
    path = tmp_path/'study.db'
    env = os.environ | {NAP: '.4', 'PYTHONPATH': FOUND, 'PYTHONWARNINGS': 'ignore'}
    code = 'import sys, test_compare; test_compare.study("loky", sys.argv[1])'
    p = subprocess.Popen([sys.executable, '-c', code, str(path)], start_new_session=True, env=env)
    try:
        until = time.monotonic() + 240
        while p.poll() is None and len(runs_over(path)) < 3 and time.monotonic() < until:
            time.sleep(.02)
        assert p.poll() is None, 'it ended before it could be killed'
        p.send_signal(signal.SIGKILL)
        p.wait()
    finally: os.killpg(p.pid, signal.SIGKILL)  # its workers
    over = runs_over(path)
    assert 3 <= len(over) < 20
    with Ledger(path) as led:
        assert {o['n_rounds'] for o in led.runs()} == {3}
        before = [led.results(o['id']) for o in led.runs()]
    same(study('sequential', path), whole[0])
    with Ledger(path) as led:
        assert [o['name'] for o in led.runs()][:len(over)] == over and len(led.runs()) == 20
        assert [led.results(o['id']) for o in led.runs()][:len(over)] == before


def test_processes_change_nothing(whole):
    "Two loky processes and one after the other: the same bits."
    same(study('loky'), whole[0])


@pytest.mark.parametrize('k', [0, 1, 7, 19, 20])
def test_goes_on_from_any_number_of_jobs(whole, k):
    "Jobs in any order, any number of them over: the same table, and only the others are run."
    led = Ledger()
    with Ledger(whole[1], readonly=True) as old:
        runs = [old.runs()[i] for i in torch.randperm(20, generator=rng(k))[:k]]
        for o in runs: led.add_run(o['name'], o['settings'], o['env'], old.taken(o['id']))
    same(study('sequential', led), whole[0])
    assert [o['name'] for o in led.runs()][:k] == [o['name'] for o in runs]
    assert len(led.runs()) == 20


def test_a_ledger_is_a_study(whole):
    same(read_study(whole[1], whole[0].arms), whole[0])


def asked_and_measured(ledger, run):
    "Rows, answers and accuracies of a run"
    return [o.tolist() for o in ledger.answers(run)], [o['accuracy'] for o in ledger.results(run)]


def alike():
    "Arms that train alike and ask differently; dropout draws from the global generator, too"
    def own(**kw): return ASAL(n_warm=6, n_steps=6, bs=8, bs_U=8, p_drop=.2, **kw)
    plain = Supervised(n_steps=6, p_drop=.2)
    return dict(
        **{how: own(ask=how) for how in ASK}, paper=own(condition='mu', relabel=None),
        permuted=Permuted(own()), blind=LBlind(own()), margin=Margin(own(), diverse=True),
        ends=Ends(plain), plain=Margin(plain))


def test_what_arms_share_changes_nothing(monkeypatch):
    "What arms have in common is made once a seed; each job is what it would have been alone."
    made, led = [], Ledger()
    arms = with_random(as_arms(alike()))
    method.once.last.clear()
    with monkeypatch.context() as m, warnings.catch_warnings():
        def counted(*args):
            made.append(args)
            return run_steps(*args)
        for o in (method, asal): m.setattr(o, 'run_steps', counted)
        warnings.simplefilter('ignore', UserWarning)
        compare(alike(), toy, range(2), 'sequential', ledger=led, quiet=True, **PLAN)
    # a seed has one warm-up, first rounds of ASAL's two trainings and the plain one, later rounds
    assert len(made) == 2*(1 + 3 + 2*len(arms))
    for o in led.runs():
        name, seed = o['name'].split('/')
        method.once.last.clear()
        kw = dict(PLAN, seed=int(seed), n_threads=1, quiet=True)
        al = ActiveLearning(toy(int(seed)), arms[name].method, **kw).run()
        assert asked_and_measured(al.ledger, al.run_id) == asked_and_measured(led, o['id']), name


def test_a_notebooks_function_reaches_the_workers():
    "One that names `torch`, and an attribute called like a module of torch's, is sent by value."
    scope = {'__name__': '__main__', 'torch': torch}
    exec('def f(d): return torch.tensor([len(d.classes), d.ops])', scope)
    class Data: classes, ops = ['a', 'b'], 3
    assert pickle.loads(dumps(scope['f']))(Data).tolist() == [2, 3]


def test_pools_may_differ_in_size_between_seeds():
    "How many rows there are, and how many a third of them is, is a matter of the data."
    def data(seed):
        d, rows = toy(seed), range(3*seed, 50)
        return ImageData.from_arrays(d.x[3*seed:], d.oracle(rows), d.x_test, d.y_test)
    found = compare(
        {'margin': Margin(TINY, diverse=True)}, data, range(5), 'sequential', quiet=True, **PLAN)
    cut = [found.runs['margin', s]['settings']['shortlists'] for s in (0, 4)]
    assert found.seeds == [*range(5)] and cut[0] != cut[1]


def test_one_ledger_no_half_runs(whole):
    "A job whose lines do not fit leaves nothing behind."
    led = Ledger()
    with Ledger(whole[1], readonly=True) as old: lines = old.taken(1)
    lines['answer'].append((10**6, 0, 'me', 1, 'now'))  # nobody asked
    with pytest.raises(ValueError, match="run 'a/0' is not whole"):
        led.add_run('a/0', {}, {}, lines)
    assert led.runs() == [] and led.db.execute('SELECT count(*) FROM ask').fetchone() == (0,)


class Mine(Method):
    "Trains in a way that this package knows nothing of."
    def fit(self, data, pool, warm, seed): return TINY.fit(data, pool, warm, seed)
    def query(self, learn, data, pool, b, seed): return pool.idx_U[-b:]


class Inherits(Supervised):
    "Its `fit` is its own, so what its parent states as `task` says nothing about it."
    def fit(self, data, pool, warm, seed): return TINY.fit(data, pool, warm, seed)


Y = torch.arange(50) % 3
OTHER = ImageData.from_arrays(toy().x.flip(0), Y, toy().x_test, toy().y_test, name='toy')
WHOLE_TASK = ['network', 'augmentation', 'updates']
UNEQUAL = [
    (Arm(Ends(TINY), first='kcenter'), ['first'], 'first: '),
    (Arm(Ends(TINY), n_first=5), ['budgets'], 'budgets: [4, 5, 5] in'),
    (Arm(Ends(TINY), evaluate='independent'), ['evaluation', 'updates'], 'evaluation: model in'),
    (Arm(Ends(TINY), data=OTHER), ['data'], 'data: toy '),
    (Ends(Supervised(n_steps=5)), ['updates'], "4 in ['a', 'random (supervised)'], 5 in ['b'"),
    (Ends(Supervised(n_steps=4, p_drop=0.2)), ['network'], 'nz 32, p_drop 0.2 in'),
    (Mine(), WHOLE_TASK, 'not stated by'),
    (Ends(Inherits(n_steps=4)), WHOLE_TASK, 'states its task = dict(network=')]


class Begun(Exception): pass


@pytest.mark.parametrize('other, vary, words', UNEQUAL, ids=range(len(UNEQUAL)))
def test_unequal_arms_are_refused_unless_meant(other, vary, words, monkeypatch):
    "The difference is named before any job begins; jobs begin when all that differs is in vary=."
    def begin(*args, **kw): raise Begun
    def go(v):
        arms = dict(a=Ends(TINY), b=other)
        return compare(arms, toy(), range(5), 'sequential', **PLAN, quiet=True, vary=v)
    monkeypatch.setattr(module, '_results_of', begin)
    for k in [None, *vary]:
        v = [o for o in vary if o != k] if k else ()
        with pytest.raises(ValueError) as e: go(v)
        assert 'the arms differ in' in str(e.value)
        assert f'vary={[o for o in vary if o not in v]}' in str(e.value)
        if not v: assert words in str(e.value) and all(f'{o}: ' in str(e.value) for o in vary)
    with pytest.raises(Begun): go(vary)


def test_meant_differences_are_run():
    "Other budgets, network and updates: compared where budgets meet, each with its own random arm."
    arms = dict(a=Ends(TINY), b=Arm(Ends(Supervised(n_steps=3, nz=8)), b=[3, 9], n_first=5))
    vary = ['budgets', 'network', 'updates']
    s = compare(arms, toy(), range(5), 'sequential', **PLAN, quiet=True, vary=vary)
    assert s.n.tolist() == [5, 8, 9, 14]
    assert s.references() == {'a': 'random (supervised)', 'b': 'random (as b)'}
    assert s.counts()['updates'].to_dict('list') == {'min': [4, 3, 4, 3], 'max': [4, 3, 4, 3]}
    assert s.counts()['parameters', 'min'].nunique() == 2


def test_other_first_rows_in_fact_are_refused(whole):
    "Settings say the same, the ledger says otherwise: rows from another machine, or a hand."
    with Ledger(whole[1], readonly=True) as old:
        runs = [(o, old.taken(o['id'])) for o in old.runs()]
    led = Ledger()
    for o, lines in runs:
        if o['name'] == 'deep/3':
            spare = (set(range(50)) - {r for _, _, r in lines['ask']}).pop()
            was = lines['ask'][0][2]
            lines['ask'] = [(k, i, spare if r == was else r) for k, i, r in lines['ask']]
            lines['answer'] = [(spare if r == was else r, *rest) for r, *rest in lines['answer']]
        led.add_run(o['name'], o['settings'], o['env'], lines)
    with pytest.raises(ValueError, match="differ in first rows under seed 3"):
        study('sequential', led)


def test_four_seeds_warn_and_five_do_not():
    with pytest.warns(UserWarning, match='4 seeds: so few'): module.check_seeds(range(4))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module.check_seeds(range(5)) == [*range(5)]


@pytest.mark.parametrize('kw, words', [
    (dict(first='kmean'), "did you mean 'kmeans'"), (dict(evaluate='mine'), 'mine. is unknown'),
    (dict(vary='networks'), "did you mean 'network'")])
def test_bad_arguments_are_sentences(kw, words):
    with pytest.raises(ValueError, match=words):
        compare(dict(a=Ends(TINY)), toy(), range(5), 'sequential', quiet=True, **PLAN | kw)


def test_a_person_sees_a_bar_and_the_settings(capsys):
    "quiet=False shows both; a pipe sees nothing, not even what a method prints."
    class Loud(Ends):
        wait = 0
        def query(self, *args):
            print('asking')
            time.sleep(self.wait)
            return super().query(*args)
    args = dict(b=2, rounds=1, n_first=4, first='random')
    compare(dict(a=Loud(TINY)), toy(), range(5), 'sequential', **args)
    assert capsys.readouterr().out == ''
    Loud.wait = 2.5                                # s, for a bar that is done sooner is not drawn
    compare(dict(a=Loud(TINY), b=Ends(TINY)), toy(), range(2), 'sequential', **args, quiet=False)
    out = capsys.readouterr().out
    assert 'method.method' in out and '"Loud"' in out and 'jobs' in out and 'asking' not in out


RESULTS = Path(__file__).resolve().parents[1]/'nbs/results'


def calls_of(name, monkeypatch):
    "What the slow cells of a page of results give to `compare`, which only takes note of it"
    calls = []
    cells = json.loads((RESULTS/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
    cells = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    last = max(i for i, c in enumerate(cells) if c.startswith('#| slow'))
    monkeypatch.chdir(RESULTS)
    monkeypatch.setenv('ASAL_DATA', str(RESULTS.parents[1]/'data'))
    monkeypatch.setenv('ASAL_SLOW', '1')
    with monkeypatch.context() as m:
        m.setattr('asal_nb.all.compare', lambda *args, **kw: calls.append((args, kw)))
        scope = {}
        for c in cells[:last+1]:
            if 'get_ipython' not in c: exec(c, scope)
        if name == 'fashion': scope['run']('fashion-h100.xz', 'cpu')  # its card is not here
    return calls


PART = 'fashion-h100.xz'  # its page says that some arms are not finished on the card
CLOTHES = [pytest.param(o, marks=pytest.mark.needs('fashion_mnist')) for o in ('fashion', 'frozen')]


@pytest.mark.parametrize('name', ['digits', 'adversary', 'ablation', 'methods', *CLOTHES])
def test_nothing_is_left_to_do_in_the_results(name, monkeypatch, tmp_path):
    "Every committed ledger is read; it has every arm and seed, under the settings of today."
    monkeypatch.setenv('ASAL_CACHE', str(tmp_path))  # of features
    calls, seen = calls_of(name, monkeypatch), set()
    for (arms, data, seeds), kw in calls:
        arms = with_random(as_arms(arms))
        plan = {k: kw[k] for k in ('b', 'rounds', 'n_first', 'first') if k in kw}
        jobs = module.jobs_of(arms, seeds, dict(plan, data=data), kw.get('vary', ()))
        with opened(RESULTS/kw['ledger'], readonly=True) as led:
            left = module.unfinished(jobs, led)
        if kw['ledger'] == PART: assert 'ASAL' not in {o.name for o in left}
        else: assert not left and read_study(kw['ledger'], list(arms), seeds).arms == list(arms)
        seen.add(kw['ledger'])
    assert seen == {o.name for o in RESULTS.glob(f'{name}*.xz')}
