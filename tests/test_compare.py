"Comparing: a killed study ends as one that was not, processes change nothing, unequal arms are refused by name."
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import asal_nb.compare as module
from asal_nb import method, trainers
from asal_nb.arms import Arm, as_arms, conditions, task_of, with_random
from asal_nb.asking import ASK
from asal_nb.compare import compare
from asal_nb.core import rng
from asal_nb.discriminative import Permuted
from asal_nb.images import ImageData
from asal_nb.ledger import Ledger
from asal_nb.loop import ActiveLearning
from asal_nb.method import Method, run_steps
from asal_nb.records import read_study
from asal_nb.trainers import ASAL, Random, Supervised, Trained
from asal_nb.uncertainty import Margin

PLAN = dict(b=5, rounds=2, n_first=4, first='random')
TINY = Supervised(n_steps=4)
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


def study(backend, ledger=None, seeds=range(5), **kw):
    return compare(dict(ends=Ends(TINY), deep=Ends(ASAL(n_warm=0, n_steps=4))), toy, seeds, backend,
                   **{**PLAN, 'ledger': ledger, 'n_jobs': 2, 'quiet': True, **kw})


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The study in one piece, in one process, and its ledger"
    path = tmp_path_factory.mktemp('whole')/'study.db'
    return study('sequential', path), path


def same(a, b):
    "Are the numbers of two studies equal, bit for bit?"
    assert a.arms == b.arms and a.seeds == b.seeds
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
    "SIGKILL takes the parent while loky works; what was over is kept, the rest is done, the table is the same."
    path = tmp_path/'study.db'
    env = os.environ | {NAP: '.4', 'PYTHONPATH': str(Path(__file__).parent), 'PYTHONWARNINGS': 'ignore'}
    code = 'import sys, test_compare; test_compare.study("loky", sys.argv[1])'
    p = subprocess.Popen([sys.executable, '-c', code, str(path)], start_new_session=True, env=env)
    try:
        until = time.monotonic() + 240
        while p.poll() is None and len(runs_over(path)) < 3 and time.monotonic() < until: time.sleep(.02)
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
    assert [o['name'] for o in led.runs()][:k] == [o['name'] for o in runs] and len(led.runs()) == 20


def test_a_ledger_is_a_study(whole):
    same(read_study(whole[1], whole[0].arms), whole[0])


def test_a_job_is_a_run_of_the_loop(whole):
    "The same rows and numbers as `ActiveLearning` alone, and first rows that all arms of a seed share."
    al = ActiveLearning(toy(2), Ends(TINY), seed=2, n_threads=1, quiet=True, **PLAN).run()
    with Ledger(whole[1], readonly=True) as led:
        run, = [o['id'] for o in led.runs() if o['name'] == 'ends/2']
        assert [o.tolist() for o in led.answers(run)] == [o.tolist() for o in al.ledger.answers(al.run_id)]
        assert [o['accuracy'] for o in led.results(run)] == al.results.accuracy.tolist()
        firsts = {(o['name'].split('/')[1], tuple(led.asked(o['id'], 0).tolist())) for o in led.runs()}
    assert len(firsts) == 5


def alike():
    "Arms that train alike and ask differently; with dropout, so that training draws from the global generator too"
    def own(**kw): return ASAL(n_warm=6, n_steps=6, bs=8, bs_U=8, p_drop=.2, **kw)
    plain = Supervised(n_steps=6, p_drop=.2)
    return dict(**{how: own(ask=how) for how in ASK}, paper=own(condition='mu', relabel=None), permuted=Permuted(own()),
                margin=Margin(own(), diverse=True), ends=Ends(plain), plain=Margin(plain))


def asked_and_measured(ledger, run):
    "Rows, answers and accuracies of a run"
    return [o.tolist() for o in ledger.answers(run)], [o['accuracy'] for o in ledger.results(run)]


def test_what_arms_share_changes_nothing(monkeypatch):
    "What arms have in common is made once a seed; and each job is still what it would have been alone."
    made, led, arms = [], Ledger(), with_random(as_arms(alike()))
    method.once.last.clear()
    with monkeypatch.context() as m, warnings.catch_warnings():
        def counted(learn, *args): made.append(type(learn.loss_func)); return run_steps(learn, *args)
        for o in (method, trainers): m.setattr(o, 'run_steps', counted)
        warnings.simplefilter('ignore', UserWarning)
        compare(alike(), toy, range(2), 'sequential', ledger=led, quiet=True, **PLAN)
    warm_ups, first_rounds, later = 1, 3, 2*len(arms)    # one warm-up; ASAL's two trainings and the plain one
    assert len(made) == 2*(warm_ups + first_rounds + later)
    for o in led.runs():
        name, seed = o['name'].split('/')
        method.once.last.clear()
        al = ActiveLearning(toy(int(seed)), arms[name].method, seed=int(seed), n_threads=1, quiet=True, **PLAN).run()
        assert asked_and_measured(al.ledger, al.run_id) == asked_and_measured(led, o['id']), name


def test_random_is_always_there(whole):
    s = whole[0]
    assert s.arms == ['ends', 'deep', 'random (supervised)', 'random (asal)']
    assert s.references() == dict(ends='random (supervised)', deep='random (asal)')
    assert set(s.differences().index) == {'ends', 'deep'}
    once = with_random(as_arms(dict(a=Ends(TINY), b=Random(Supervised(n_steps=4)))))
    assert [*once] == ['a', 'b']


def test_one_ledger_no_half_runs(whole):
    "A job whose lines do not fit leaves nothing behind."
    led = Ledger()
    with Ledger(whole[1], readonly=True) as old: lines = old.taken(1)
    lines['answer'].append((10**6, 0, 'me', 1, 'now'))  # nobody asked
    with pytest.raises(ValueError, match="run 'a/0' is not whole"): led.add_run('a/0', {}, {}, lines)
    assert led.runs() == [] and led.db.execute('SELECT count(*) FROM ask').fetchone() == (0,)


class Mine(Method):
    "Trains in a way that this package knows nothing of."
    def fit(self, data, pool, warm, seed): return TINY.fit(data, pool, warm, seed)
    def query(self, learn, data, pool, b, seed): return pool.idx_U[-b:]


class Told(Mine):
    task = dict(network='nz 32', augmentation='weak', updates=4)


OTHER = ImageData.from_arrays(toy().x.flip(0), torch.arange(50) % 3, toy().x_test, toy().y_test, name='toy')
UNEQUAL = [(Arm(Ends(TINY), first='kcenter'), ['first'], 'first: '),
           (Arm(Ends(TINY), n_first=5), ['budgets'], 'budgets: [4, 5, 5] in'),
           (Arm(Ends(TINY), b=6), ['budgets'], 'budgets: [4, 5, 5] in'),
           (Arm(Ends(TINY), evaluate='independent'), ['evaluation', 'updates'], 'evaluation: model in'),
           (Arm(Ends(TINY), data=OTHER), ['data'], 'data: toy '),
           (Ends(Supervised(n_steps=5)), ['updates'], "updates: 4 in ['a', 'random (supervised)'], 5 in ['b'"),
           (Ends(Supervised(n_steps=4, nz=8)), ['network'], 'network: nz 32 in'),
           (Ends(Supervised(n_steps=4, p_drop=.2)), ['network'], 'nz 32, p_drop 0.2 in'),
           (Mine(), ['network', 'augmentation', 'updates'], 'not stated by')]


class Begun(Exception): pass


@pytest.mark.parametrize('other, vary, words', UNEQUAL, ids=range(len(UNEQUAL)))
def test_unequal_arms_are_refused_unless_meant(other, vary, words, monkeypatch):
    "The difference is named before any job begins; jobs begin when all that differs is in vary=, and not before."
    def begin(*args, **kw): raise Begun
    def go(v): return compare(dict(a=Ends(TINY), b=other), toy(), range(5), 'sequential', **PLAN, quiet=True, vary=v)
    monkeypatch.setattr(module, 'results_of', begin)
    for v in [(), *[[o for o in vary if o != k] for k in vary]]:
        with pytest.raises(ValueError) as e: go(v)
        assert 'the arms differ in' in str(e.value) and f'vary={[o for o in vary if o not in v]}' in str(e.value)
        if not v: assert words in str(e.value) and all(f'{o}: ' in str(e.value) for o in vary)
    with pytest.raises(Begun): go(vary)


def test_meant_differences_are_run():
    "Other budgets, network and updates: compared where the budgets meet, each with a random arm of its own."
    arms = dict(a=Ends(TINY), b=Arm(Ends(Supervised(n_steps=3, nz=8)), b=[3, 9], n_first=5))
    s = compare(arms, toy(), range(5), 'sequential', **PLAN, quiet=True, vary=['budgets', 'network', 'updates'])
    assert s.n.tolist() == [5, 8, 9, 14]
    assert s.references() == {'a': 'random (supervised)', 'b': 'random (as b)'}
    assert s.counts()['updates'].to_dict('list') == {'min': [4, 3, 4, 3], 'max': [4, 3, 4, 3]}
    assert s.counts()['parameters', 'min'].nunique() == 2


def test_a_stated_task_is_taken():
    assert task_of(Told()) == task_of(Ends(TINY))
    s = compare(dict(a=Ends(TINY), b=Told()), toy(), range(5), 'sequential', **PLAN, quiet=True)
    assert s.arms == ['a', 'b', 'random (supervised)', 'random (told)']


def test_other_first_rows_in_fact_are_refused(whole):
    "Settings say the same, the ledger says otherwise: rows from another machine, or a hand."
    with Ledger(whole[1], readonly=True) as old: runs = [(o, old.taken(o['id'])) for o in old.runs()]
    led = Ledger()
    for o, lines in runs:
        if o['name'] == 'deep/3':
            spare = (set(range(50)) - {r for _, _, r in lines['ask']}).pop()
            was = lines['ask'][0][2]
            lines['ask'] = [(k, i, spare if r == was else r) for k, i, r in lines['ask']]
            lines['answer'] = [(spare if r == was else r, *rest) for r, *rest in lines['answer']]
        led.add_run(o['name'], o['settings'], o['env'], lines)
    with pytest.raises(ValueError, match="differ in first rows under seed 3"): study('sequential', led)


def test_a_ledger_of_another_study_is_refused(whole):
    with pytest.raises(ValueError, match=r"'ends/0' with other settings: plan was \[4, 5, 5\], now \[4, 6, 6\]"):
        study('sequential', whole[1], b=6)


@pytest.mark.parametrize('n, warned', [(2, True), (4, True), (5, False)])
def test_few_seeds_warn(n, warned):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        compare(dict(a=Random(TINY)), toy(), range(n), 'sequential', **PLAN | dict(rounds=0), quiet=True)
    said = [str(o.message) for o in w if f'{n} seeds: so few' in str(o.message)]
    assert bool(said) == warned


@pytest.mark.parametrize('kw, words', [
    (dict(seeds=[1]), 'at least two different whole numbers'),
    (dict(seeds=[1, 1]), 'at least two different whole numbers'),
    (dict(backend='lokey'), "did you mean 'loky'"),
    (dict(backend='loky', address='tcp://a:1'), "is for backend='dask'"),
    (dict(b=999), 'the plan asks for'),
    (dict(first='kmean'), "did you mean 'kmeans'"),
    (dict(vary='networks'), "did you mean 'network'"),
    (dict(evaluate='mine'), "evaluate='mine' is unknown"),
])
def test_bad_arguments_are_sentences(kw, words):
    args = dict(seeds=range(5), backend='sequential', quiet=True) | PLAN | kw
    with pytest.raises(ValueError) as e: compare(dict(a=Ends(TINY)), toy(), **args)
    assert words in str(e.value)


def test_dask_gets_its_address(monkeypatch):
    "What joblib is told; the cluster itself is tested elsewhere."
    told = []

    class Config:
        def __init__(self, backend, **kw): told.append((backend, kw))
        def __enter__(self): pass
        def __exit__(self, *exc): pass
    monkeypatch.setattr(module, 'parallel_config', Config)
    monkeypatch.setattr(module, '_client', lambda address: contextlib.nullcontext(f'client of {address}'))
    assert [*module.results_of([], 'dask', -1, 'tcp://a:8786')] == []
    assert told == [('dask', dict(n_jobs=-1, client='client of tcp://a:8786'))]


def test_a_person_sees_a_bar_and_the_settings(capsys):
    "quiet=False shows both; a pipe sees nothing, not even what a method prints."
    class Loud(Ends):
        def query(self, *args): print('asking'); return super().query(*args)
    args = dict(b=2, rounds=1, n_first=4, first='random')
    compare(dict(a=Loud(TINY)), toy(), range(5), 'sequential', **args)
    assert capsys.readouterr().out == ''
    compare(dict(a=Loud(TINY), b=Ends(TINY)), toy(), range(5), 'sequential', **args, quiet=False)
    out = capsys.readouterr().out
    assert 'method.method' in out and '"Loud"' in out and 'jobs' in out and 'asking' not in out


def test_independent_judges_do_not_ask_how_you_train():
    "Under evaluate='independent' one and the same net is judged, so trainings may differ."
    plan = dict(PLAN, data=toy(), evaluate='independent')
    a, b = [conditions(Arm(m).loop(0, plan)) for m in (Ends(TINY), Mine())]
    assert a == b
