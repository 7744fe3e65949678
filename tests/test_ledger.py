"What is on record survives: kills between any two statements, damaged weights, floats to the last bit."
import json
import math
import os
import sqlite3
import subprocess
import sys
import time
import pytest
import torch
from hypothesis import given, settings, strategies as st
from asal_nb.ledger import Ledger


def play(led, rounds=2, b=3):
    "A run in which each round asks b rows, gets them answered, changes its mind about one, measures and keeps weights"
    run = led.open_run('tiny', dict(b=b), {})
    led.save_first_rows('key', range(b))
    for k in range(rounds):
        rows = list(range(b*k, b*k+b))
        led.ask(run, k, rows)
        led.answer(run, rows, [0]*b)
        led.answer(run, rows[:1], [1], by='ann')
        led.save_weights(run, 'warm', dict(w=torch.full((4,), float(k))))
        led.end_round(run, k, b*k+b, dict(accuracy=k/10))


def check(path, b=3):
    "A ledger that a kill left behind is whole: nothing is half asked, half answered or measured too early"
    with Ledger(path) as led:
        q = lambda s: led.db.execute(s).fetchall()
        assert q('PRAGMA integrity_check') == [('ok',)] and q('PRAGMA foreign_key_check') == []
        runs = led.runs()
        if not runs: return None
        (r,) = runs
        run = r['id']
        asked = [led.asked(run, k) for k in range(9)]
        n = sum(a is not None for a in asked)
        assert all(a is None or len(a) == b for a in asked) and all(a is not None for a in asked[:n])
        rows, y, rounds = led.answers(run)
        assert len(rows) in (b*n, b*n-b) and len(led.pending(run)) == b*n-len(rows)
        assert q('SELECT count(*) FROM (SELECT 1 FROM answer GROUP BY run,row HAVING sum(current)!=1)') == [(0,)]
        assert [o['round'] for o in led.results(run)] == list(range(r['n_rounds'])) and r['n_rounds'] in (n, n-1)
        w = led.weights(run, 'warm')
        assert w is None or (w['w'] == w['w'][0]).all() and w['w'][0] in (n-1, n-2)
        return n, len(rows), r['n_rounds']


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


def test_killed_from_outside(tmp_path):
    "Another process writes as fast as it can and is killed at some moment; what it had reported is on record"
    code = """
import sys
from asal_nb.ledger import Ledger
led = Ledger(sys.argv[1]); run = led.open_run('tiny', dict(b=3), {})
for k in range(10**6):
    rows = [3*k, 3*k+1, 3*k+2]
    led.ask(run, k, rows); led.answer(run, rows, [0, 1, 2]); led.end_round(run, k, 3*k+3, dict(accuracy=.5))
    print(k, flush=True)
"""
    path = tmp_path/'a.db'
    p = subprocess.Popen([sys.executable, '-c', code, str(path)], stdout=subprocess.PIPE, text=True)
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


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda s: s not in ('round', 'n_labelled')),
        st.floats() | st.integers(-(2**60), 2**60),
        max_size=5,
    )
)
def test_numbers_come_back_to_the_last_bit(metrics):
    with Ledger() as led:
        run = led.open_run('a', {}, {})
        led.end_round(run, 0, 1, metrics)
        back = led.results(run)[0]
    for k, v in metrics.items():
        assert (
            back[k] == v and math.copysign(1, back[k]) == math.copysign(1, v) or math.isnan(v) and math.isnan(back[k])
        )


def test_settings():
    led = Ledger()
    old = dict(a=1, b=[1, 2], lam4=.1, deep=dict(x=1))
    run = led.open_run('a', old, dict(torch='1'))
    assert led.open_run('a', json.loads(json.dumps(old)), dict(torch='2')) == run != led.open_run('b', old, {})
    with pytest.raises(ValueError, match="'a' exists with other settings: a was 1, now 1.0"):
        led.open_run('a', old | dict(a=1.0), {})
    with pytest.raises(ValueError, match=r'deep was {"x": 1}, now {"x": 2}'):
        led.open_run('a', old | dict(deep=dict(x=2)), {})
    with pytest.raises(ValueError, match='cannot be written down'): led.open_run('c', dict(f=print), {})
    assert [o['name'] for o in led.runs()] == ['a', 'b'] and led.runs()[0]['env'] == dict(torch='2')


def test_no_row_twice_even_by_hand():
    led = Ledger()
    a, b = led.open_run('a', {}, {}), led.open_run('b', {}, {})
    led.ask(a, 0, [1]); led.ask(b, 0, [1])
    led.answer(a, [1], [0])
    for sql in [
        f'INSERT INTO ask VALUES ({a},7,0,1)',
        f'INSERT INTO answer(run,row,y,by) VALUES ({a},2,0,"x")'.replace('"', "'"),
        f"INSERT INTO answer(run,row,y,by) VALUES ({a},1,5,'x')",
        'INSERT INTO ask VALUES (99,0,0,1)',
    ]:
        with pytest.raises(sqlite3.IntegrityError): led.db.execute(sql)
    assert led.pending(b).tolist() == [1]


def test_order_of_asking_and_history():
    led = Ledger()
    run = led.open_run('a', {}, {})
    led.ask(run, 0, torch.tensor([9, 4])); led.ask(run, 1, [7])
    led.answer(run, [7, 9], [0, 1])
    led.answer(run, [9], [2], by='ann'); led.answer(run, [9], [2], by='bob')
    rows, y, rounds = led.answers(run)
    assert (rows.tolist(), y.tolist(), rounds.tolist()) == ([9, 7], [2, 0], [0, 1])
    assert [(o['y'], o['by'], o['current']) for o in led.history(run, 9)] == [
        (1, 'oracle', False),
        (2, 'ann', False),
        (2, 'bob', True),
    ]
    assert led.pending(run).tolist() == [4] and led.history(run, 4) == []
    empty = led.open_run('b', {}, {})
    assert (
        [o.tolist() for o in led.answers(empty)] == [[], [], []]
        and led.results(empty) == []
        and len(led.pending(empty)) == 0
    )


def test_files(tmp_path):
    (tmp_path/'text.db').write_text('no database '*99)
    sqlite3.connect(tmp_path/'other.db').execute('CREATE TABLE t(i)').connection.commit()
    (tmp_path/'file').write_text('')
    for bad in ('text.db', 'other.db', '.', 'file/a.db'):
        with pytest.raises(ValueError, match='cannot be used as a ledger'): Ledger(tmp_path/bad)
    path = tmp_path/'new folder #1?'/'a.db'
    with Ledger(path) as led: play(led)
    assert sorted(o.name for o in path.parent.iterdir()) == ['a.db', 'a.db.weights']
    was = path.read_bytes()
    with Ledger(path, readonly=True) as led:
        assert len(led.results(1)) == 2
        with pytest.raises(ValueError, match='Ledger .* was opened for reading only'): led.open_run('x', {}, {})
    assert path.read_bytes() == was


def test_a_cut_off_file_is_refused_or_read(tmp_path):
    path = tmp_path/'a.db'
    with Ledger(path) as led: play(led)
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(ValueError, match='cannot be used as a ledger'): Ledger(path)


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
        assert set(back) == set(w) and all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in w.items())
        assert (
            led.save_weights(run, 'again', dict(reversed(w.items())))
            == h
            != led.save_weights(run, 'warm', dict(t=base))
        )
        (f,) = [o for o in led.weights_folder.iterdir() if h in o.name]
        led.save_weights(run, 'warm', dict(t=base.T))
        assert f.exists() and len(list(led.weights_folder.iterdir())) == 2, (
            'files without a name in the ledger go, others stay'
        )
        for damage in (b'', f.read_bytes()[:-3], b'x' + f.read_bytes()[1:]):
            f.write_bytes(damage)
            assert led.weights(run, 'again') is None
        f.unlink()
        assert led.weights(run, 'again') is None and led.weights(run, 'none') is None
        assert not [o for o in led.weights_folder.iterdir() if o.suffix == '.tmp']


def test_first_rows(tmp_path):
    with Ledger(tmp_path/'a.db') as led:
        assert led.first_rows('k') is None
        led.save_first_rows('k', torch.tensor([3, 1])); led.save_first_rows('k', [3, 1])
        with pytest.raises(ValueError, match='other first rows'): led.save_first_rows('k', [1, 3])
    with Ledger(tmp_path/'a.db') as led: assert led.first_rows('k').tolist() == [3, 1]


def test_two_readers_and_a_thread(tmp_path):
    from concurrent.futures import ThreadPoolExecutor
    with Ledger(tmp_path/'a.db') as led, Ledger(tmp_path/'a.db') as other:
        run = led.open_run('a', {}, {})
        led.ask(run, 0, range(40))
        with ThreadPoolExecutor(4) as ex: list(ex.map(lambda r: led.answer(run, [r], [r]), range(40)))
        assert other.answers(run)[1].tolist() == list(range(40))
