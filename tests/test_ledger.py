"What is on record survives: kills between statements, damaged weights, floats to the last bit."
import json
import math
import os
import sqlite3
import subprocess
import sys
import time
import pytest
import torch
from concurrent.futures import ThreadPoolExecutor
from hypothesis import given, settings, strategies as st
from asal_nb.ledger.ledger import Ledger


def refused(why): return pytest.raises(ValueError, match=why)


def play(led, rounds=2, b=3):
    "Each round asks b rows, gets answers, changes its mind about one, measures and keeps weights"
    run = led.open_run('tiny', dict(b=b), {})
    led.save_first_rows('key', range(b))
    for k in range(rounds):
        rows = list(range(b*k, b*k+b))
        led.ask(run, k, rows)
        led.answer(run, rows, [0]*b)
        led.answer(run, rows[:1], [1], by='ann')
        led.save_weights(run, 'warm', dict(w=torch.full((4,), float(k))))
        led.end_round(run, k, b*k+b, dict(accuracy=k/10))


NOT_ONE_CURRENT = ('SELECT count(*) FROM (SELECT 1 FROM answer GROUP BY run,row'
                   ' HAVING sum(current)!=1)')


def check(path, b=3):
    "A ledger that a kill left is whole: nothing half asked, half answered or measured too early"
    with Ledger(path) as led:
        def query(sql): return led.db.execute(sql).fetchall()
        assert query('PRAGMA integrity_check') == [('ok',)]
        assert query('PRAGMA foreign_key_check') == [] and query(NOT_ONE_CURRENT) == [(0,)]
        runs = led.runs()
        if not runs: return None
        (r,) = runs
        run, over = r['id'], r['n_rounds']
        asked = [led.asked(run, k) for k in range(9)]
        n = sum(a is not None for a in asked)
        assert all(a is not None and len(a) == b for a in asked[:n])
        rows = led.answers(run)[0]
        assert len(rows) in (b*n, b*n-b) and len(led.pending(run)) == b*n-len(rows)
        assert [o['round'] for o in led.results(run)] == list(range(over)) and over in (n, n-1)
        w = led.weights(run, 'warm')
        assert w is None or (w['w'] == w['w'][0]).all() and w['w'][0] in (n-1, n-2)
        return n, len(rows), over


class Watched(Ledger):
    "A ledger that calls `watch` before each SQL statement, those of opening and closing too"
    watch = None
    def connect(self, readonly):
        db = super().connect(readonly)
        db.set_trace_callback(self.watch)
        return db


def dies_before(k):
    "Kill this process before its k-th statement"
    left = [k]
    def die(self, sql):
        if not left[0]: os.kill(os.getpid(), 9)
        left[0] -= 1
    return die


def n_statements(path):
    Watched.watch, n = lambda self, sql: n.append(sql), []
    with Watched(path) as led: play(led)
    return len(n)


if hasattr(os, 'fork'):  # where there is none, the test below is the only one
    def test_killed_before_each_statement(tmp_path):
        "A child kills itself before its k-th SQL statement, for every k"
        seen, n = set(), n_statements(tmp_path/'whole.db')
        for k in range(n):
            path = tmp_path/f'{k}.db'
            if (pid := os.fork()) == 0:
                try:
                    Watched.watch = dies_before(k)
                    with Watched(path) as led: play(led)
                finally: os._exit(1)  # not reached
            assert os.waitpid(pid, 0)[1] == 9
            seen.add(check(path))
        assert n > 40 and len(seen) > 6 and None in seen


WRITER = """
import sys
from asal_nb.ledger.ledger import Ledger
led = Ledger(sys.argv[1])
run = led.open_run('tiny', dict(b=3), {})
for k in range(10**6):
    rows = [3*k, 3*k+1, 3*k+2]
    led.ask(run, k, rows)
    led.answer(run, rows, [0, 1, 2])
    led.end_round(run, k, 3*k+3, dict(accuracy=.5))
    print(k, flush=True)
"""


def test_killed_from_outside(tmp_path):
    "A process that writes as fast as it can is killed; what it had reported is on record"
    path = tmp_path/'a.db'
    command = [sys.executable, '-c', WRITER, str(path)]
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(5): assert p.stdout.readline().strip()
    time.sleep(.05)
    p.kill()
    said = p.communicate()[0].split()
    with Ledger(path) as led:
        assert led.db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        run = led.open_run('tiny', dict(b=3), {})
        n = len(led.results(run))
        assert n >= (int(said[-1])+1 if said else 5)
        assert len(led.pending(run)) in (0, 3) and len(led.answers(run)[0]) in (3*n, 3*n+3)


def test_an_error_in_a_transaction_leaves_nothing(tmp_path):
    with Ledger(tmp_path/'a.db') as led:
        run = led.open_run('a', {}, {})
        led.ask(run, 0, [1, 2])
        for rows, y in [([1, 5], [0, 0]), ([1, 2], [0]), ([1, 2], ['a', 0])]:
            with pytest.raises(ValueError): led.answer(run, rows, y)
        for rows in ([3, 1], [4, 4], []):
            with pytest.raises(ValueError): led.ask(run, 1, rows)
        assert led.pending(run).tolist() == [1, 2] and led.asked(run, 1) is None


names = st.text(min_size=1).filter(lambda s: s not in ('round', 'n_labelled'))
values = st.floats() | st.integers(-(2**60), 2**60)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(names, values, max_size=5))
def test_numbers_come_back_to_the_last_bit(metrics):
    with Ledger() as led:
        run = led.open_run('a', {}, {})
        led.end_round(run, 0, 1, metrics)
        back = led.results(run)[0]
    for k, v in metrics.items():
        if math.isnan(v): assert math.isnan(back[k])
        else: assert back[k] == v and math.copysign(1, back[k]) == math.copysign(1, v)


def test_settings():
    led = Ledger()
    old = dict(a=1, b=[1, 2], lam4=.1, deep=dict(x=1))
    run = led.open_run('a', old, dict(torch='1'))
    assert led.open_run('a', json.loads(json.dumps(old)), dict(torch='2')) == run
    assert led.open_run('b', old, {}) != run
    with refused("'a' exists with other settings: a was 1, now 1.0"):
        led.open_run('a', old | dict(a=1.), {})
    with refused(r'deep was {"x": 1}, now {"x": 2}'):
        led.open_run('a', old | dict(deep=dict(x=2)), {})
    assert [o['name'] for o in led.runs()] == ['a', 'b'] and led.runs()[0]['env'] == dict(torch='2')


def test_runs_do_not_mix():
    led = Ledger()
    a, b = [led.open_run(o, {}, {}) for o in 'ab']
    for run in (a, b): led.ask(run, 0, [1])
    led.answer(a, [1], [0])
    assert led.pending(b).tolist() == [1]
    for rows in (torch.tensor([3, 1]), [3, 1]): led.save_first_rows('k', rows)
    with refused('other first rows'): led.save_first_rows('k', [1, 3])
    with pytest.raises(sqlite3.IntegrityError): led.db.execute('INSERT INTO ask VALUES (99,0,0,1)')


def test_order_of_asking_and_history():
    led = Ledger()
    run, empty = led.open_run('a', {}, {}), led.open_run('b', {}, {})
    led.ask(run, 0, torch.tensor([9, 4]))
    led.ask(run, 1, [7])
    led.answer(run, [7, 9], [0, 1])
    for by in ('ann', 'bob'): led.answer(run, [9], [2], by=by)
    assert [o.tolist() for o in led.answers(run)] == [[9, 7], [2, 0], [0, 1]]
    seen = [(o['y'], o['by'], o['current']) for o in led.history(run, 9)]
    assert seen == [(1, 'oracle', False), (2, 'ann', False), (2, 'bob', True)]
    assert led.pending(run).tolist() == [4] and led.history(run, 4) == []
    assert [o.tolist() for o in led.answers(empty)] == [[], [], []]
    assert led.results(empty) == [] and len(led.pending(empty)) == 0


def test_files(tmp_path):
    sqlite3.connect(tmp_path/'other.db').execute('CREATE TABLE t(i)').connection.commit()
    (tmp_path/'file').write_text('')
    for bad in ('other.db', 'file/a.db'):
        with refused('cannot be used as a ledger'): Ledger(tmp_path/bad)
    path = tmp_path/'new folder #1?'/'a.db'
    with Ledger(path) as led: play(led)
    assert sorted(o.name for o in path.parent.iterdir()) == ['a.db', 'a.db.weights']
    was = path.read_bytes()
    with Ledger(path, readonly=True) as led:
        assert len(led.results(1)) == 2 and led.first_rows('key').tolist() == [0, 1, 2]
        with refused('Ledger .* was opened for reading only'): led.open_run('x', {}, {})
    assert path.read_bytes() == was
    path.write_bytes(was[:50])
    with refused('cannot be used as a ledger'): Ledger(path)


def test_without_wal(tmp_path, monkeypatch):
    "Where the write-ahead log does not work, the older journal is used"
    class NoWAL(sqlite3.Connection):
        def execute(self, sql, *a):
            if 'WAL' in sql: raise sqlite3.OperationalError('locking protocol')
            return super().execute(sql, *a)
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, 'connect', lambda *a, **kw: real(*a, factory=NoWAL, **kw))
    with Ledger(tmp_path/'a.db') as led:
        assert led.db.execute('PRAGMA journal_mode').fetchone() == ('delete',)
        play(led)
    assert check(tmp_path/'a.db') == (2, 6, 2)


def test_weights(tmp_path):
    with Ledger(tmp_path/'a.db') as led:
        run = led.open_run('a', {}, {})
        base = torch.arange(12.).view(3, 4)
        w = dict(t=base.T, shared=base[0], n=torch.tensor(3), half=base.half())
        h = led.save_weights(run, 'warm', w)
        back = led.weights(run, 'warm')
        assert set(back) == set(w)
        for k, v in w.items(): assert torch.equal(back[k], v) and back[k].dtype == v.dtype
        assert led.save_weights(run, 'again', dict(reversed(w.items()))) == h
        assert led.save_weights(run, 'warm', dict(t=base)) != h
        (f,) = [o for o in led.weights_folder.iterdir() if h in o.name]
        led.save_weights(run, 'warm', dict(t=base.T))
        # files without a name in the ledger go, others stay
        assert f.exists() and len(list(led.weights_folder.iterdir())) == 2
        for damage in (b'', f.read_bytes()[:-3], b'x' + f.read_bytes()[1:]):
            f.write_bytes(damage)
            assert led.weights(run, 'again') is None
        f.unlink()
        assert led.weights(run, 'again') is None and led.weights(run, 'none') is None
        assert not [o for o in led.weights_folder.iterdir() if o.suffix == '.tmp']


def test_two_readers_and_a_thread(tmp_path):
    with Ledger(tmp_path/'a.db') as led, Ledger(tmp_path/'a.db') as other:
        run = led.open_run('a', {}, {})
        led.ask(run, 0, range(40))
        def answer(r): led.answer(run, [r], [r])
        with ThreadPoolExecutor(4) as ex: list(ex.map(answer, range(40)))
        assert other.answers(run)[1].tolist() == list(range(40))
