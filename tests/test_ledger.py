"What is on record survives: kills, full disks, flipped bits, hostile files; floats to the bit."
import contextlib
import csv
import json
import lzma
import math
import os
import random
import shutil
import sqlite3
import time
import pytest
import torch
from concurrent.futures import ThreadPoolExecutor
from hypothesis import given, settings, strategies as st
from pathlib import Path
from asal_nb.ledger.archive import opened
from asal_nb.ledger.ledger import OPEN, SKIP, UNSURE, Ledger, is_whole, salvage

ROOT = Path(__file__).parents[1]
needs_fork = pytest.mark.skipif(os.name == 'nt', reason='there is no fork')


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


def check(path, b=3):
    "A ledger that a kill left is whole: nothing half asked, half answered or measured too early"
    with Ledger(path) as led:
        assert led.check() == []
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
    "Kill this process before its k-th statement, those that only read left out"
    left = [k]
    def die(self, sql):
        if sql.startswith('SELECT'): return
        if not left[0]: os.kill(os.getpid(), 9)
        left[0] -= 1
    return die


def n_statements(path):
    Watched.watch, n = lambda self, sql: sql.startswith('SELECT') or n.append(sql), []
    with Watched(path) as led: play(led)
    return len(n)


if hasattr(os, 'fork'):
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


def forked(work, *args):
    "A child process that runs work(say, *args); its number, and a file of what it says"
    out, say = os.pipe()
    if (pid := os.fork()) == 0:
        try: work(lambda o: os.write(say, f'{o}\n'.encode()), *args)
        finally: os._exit(1)
    os.close(say)
    return pid, open(out)


def write_on(say, path):
    "Ask, answer one by one and measure, for ever; say each row that was answered"
    led = Ledger(path)
    run = led.open_run('tiny', dict(b=3), {})
    k = len(led.results(run))
    while True:
        if led.asked(run, k) is None: led.ask(run, k, [3*k, 3*k+1, 3*k+2])
        for r in led.pending(run).tolist():
            led.answer(run, [r], [r % 3])
            say(r)
        led.end_round(run, k, 3*k+3, dict(accuracy=.5))
        k += 1


def kill_writers(path, n, seed=0):
    "Kill a writing process n times at random; every label it had reported must be on record, once"
    moments, said = random.Random(seed), set()
    for _ in range(n):
        pid, out = forked(write_on, path)
        first = out.readline()
        time.sleep(moments.random()*.2)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        with out: said |= {int(o) for o in [first, *out] if o.strip()}
        with Ledger(path) as led:
            rows, y, _ = led.answers(1)
            assert led.check() == [] and y.tolist() == [r % 3 for r in rows.tolist()]
            lost, twice = said - set(rows.tolist()), len(rows) - len(set(rows.tolist()))
            assert not lost and not twice and all(len(led.history(1, r)) == 1 for r in rows)
    return len(said)


@needs_fork
def test_killed_from_outside(tmp_path):
    assert kill_writers(tmp_path/'a.db', 8) >= 8


def answer_every_second(say, path, first, n):
    with Ledger(path) as led:
        for r in range(first, n, 2): led.answer(1, [r], [r % 7], by=f'writer {first}')
    say('done')


def two_writers(path, n):
    "Two processes answer n rows, each every second one; return the labels on record"
    with Ledger(path) as led: led.ask(led.open_run('a', {}, {}), 0, range(n))
    both = [forked(answer_every_second, path, i, n) for i in (0, 1)]
    assert [o.read() for _, o in both] == ['done\n']*2
    for pid, out in both:
        out.close()
        os.waitpid(pid, 0)
    with Ledger(path) as led:
        assert led.check() == [] and all(len(led.history(1, r)) == 1 for r in range(n))
        return led.answers(1)[1].tolist()


@needs_fork
def test_two_writers(tmp_path):
    assert two_writers(tmp_path/'a.db', 60) == [r % 7 for r in range(60)]


def seen(led):
    "All that a ledger says, as plain values"
    runs = led.runs()
    return [(o, led.lines(o['id']), led.results(o['id']), led.taken(o['id'])) for o in runs]


def flip(path, n, seed=0, read=lambda p: Ledger(p, readonly=True)):
    "Flip a bit in each of n copies; return how many were refused; others must say the same"
    where, whole, refusals = random.Random(seed), path.read_bytes(), 0
    with read(path) as led: right = seen(led)
    bad = path.with_name(f'bad{path.suffix}')
    for _ in range(n):
        i = where.randrange(len(whole))
        bad.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << where.randrange(8)]) + whole[i+1:])
        try:
            with read(bad) as led: assert seen(led) == right
        except ValueError: refusals += 1
    return refusals


def test_flipped_bits_are_refused_or_harmless(tmp_path):
    with Ledger(tmp_path/'a.db') as led:
        play(led, rounds=10, b=20)
        led.pack(tmp_path/'a.xz')
    assert flip(tmp_path/'a.db', 60) > 5
    with Ledger(tmp_path/'b.db') as led:
        led.open_run('tiny', dict(plan=[3]), {})
        led.end_round(1, 0, 3, {})
        led.pack(tmp_path/'b.xz')
    assert flip(tmp_path/'b.xz', 50, read=lambda p: opened(p, readonly=True)) > 45


@pytest.mark.parametrize('cut', ['tail', 'middle', 'older', 'index'])
def test_a_damaged_ledger_is_never_a_smaller_one(tmp_path, cut):
    "A lost line, zeroed pages, a cut file and a damaged index are refused; the labels can be saved"
    path = tmp_path/'a.db'
    with Ledger(path) as led: play(led, rounds=20, b=20)
    whole = path.read_bytes()
    if cut == 'tail': path.write_bytes(whole[:-4096])
    if cut == 'middle': path.write_bytes(whole[:4096*14] + bytes(4096) + whole[4096*15:])
    if cut == 'older':
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute('DELETE FROM answer WHERE id>400')
            db.commit()
    if cut == 'index':
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute('PRAGMA writable_schema=ON')
            db.execute("DELETE FROM sqlite_master WHERE name='by_row'")
            db.commit()
    for readonly in (True, False):
        with refused('a.db cannot be used as a ledger'): Ledger(path, readonly=readonly)
    n = salvage(path, tmp_path/'saved.csv')
    with open(tmp_path/'saved.csv') as f: lines = list(csv.DictReader(f))
    assert n == len(lines) > 200 and {o['y'] for o in lines} == {'0', '1'}


@contextlib.contextmanager
def file_limit(n_bytes):
    "Files may not grow beyond a size, as if the disk were full"
    import resource
    import signal
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try: yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, was)


if hasattr(os, 'fork'):
    def test_full_disk(tmp_path):
        "A sentence; the answers that did not fit are written when there is room again"
        path = tmp_path/'a.db'
        with Ledger(path) as led:
            run = led.open_run('a', {}, {})
            led.ask(run, 0, range(3000))
            given_ = 0
            with file_limit(path.stat().st_size + 20_000), refused('cannot be used .*(full|I/O)'):
                for given_ in range(0, 3000, 50):
                    led.answer(run, range(given_, given_+50), [1]*50, note='x'*99)
            assert 0 < given_ < 3000 and len(led.pending(run)) == 3000-given_
            led.open_run('a', {}, {})
            assert len(led.pending(run)) == 2950-given_ and led.unsaved == []
        assert check_lines(path) == given_+50


def check_lines(path):
    with Ledger(path) as led:
        assert led.check() == []
        return len(led.select('SELECT id FROM answer'))


@pytest.mark.parametrize('how', ['deleted', 'replaced', 'emptied', 'older'])
def test_the_file_goes_while_it_is_in_use(tmp_path, how):
    path = tmp_path/'a.db'
    led = Ledger(path)
    run = led.open_run('a', {}, {})
    led.ask(run, 0, [1, 2])
    old = shutil.copy(path, tmp_path/'old.db')
    led.answer(run, [1], [0])
    if how == 'deleted': path.unlink()
    if how == 'replaced': os.replace(shutil.copy(path, tmp_path/'other.db'), path)
    if how == 'emptied': path.write_bytes(b'')
    if how == 'older': path.write_bytes(old.read_bytes())
    with refused('deleted or replaced|cannot be used'): led.answer(run, [2], [0])
    if how in ('deleted', 'replaced'):
        led.copy_to(tmp_path/'copy.db')
        with Ledger(tmp_path/'copy.db') as copy: assert copy.answers(run)[0].tolist() == [1]


def test_locked_and_closed(tmp_path):
    led = Ledger(tmp_path/'a.db')
    run = led.open_run('a', {}, {})
    led.ask(run, 0, [1])
    led.db.execute('PRAGMA busy_timeout=50')
    with contextlib.closing(sqlite3.connect(tmp_path/'a.db')) as other:
        other.execute('BEGIN IMMEDIATE')
        with refused('locked.*another process'): led.answer(run, [1], [0])
    led.answer(run, [1], [1])
    assert [o['y'] for o in led.history(run, 1)] == [0, 1]
    led.close()
    for call in (led.runs, lambda: led.answer(run, [1], [0]), lambda: led.results(run),
                 lambda: led.pending(run), lambda: led.open_run('a', {}, {})):
        with refused('is closed'): call()


HOSTILE = {
    'trigger': 'CREATE TRIGGER t AFTER INSERT ON answer BEGIN UPDATE answer SET y=0; END',
    'view': 'CREATE VIEW v AS SELECT 1', 'table': 'CREATE TABLE more(i)',
    'index': 'CREATE INDEX more ON answer(y)', 'column': 'ALTER TABLE ask ADD COLUMN z',
    'renamed': 'ALTER TABLE run RENAME TO r2'}


@pytest.mark.parametrize('kind', HOSTILE)
def test_other_tables_than_ours_are_refused(tmp_path, kind):
    Ledger(tmp_path/'a.db').close()
    with contextlib.closing(sqlite3.connect(tmp_path/'a.db')) as db: db.execute(HOSTILE[kind])
    with refused('tables, views or triggers are not those'): Ledger(tmp_path/'a.db')


VALUES = [
    "UPDATE run SET settings='[1]'", "UPDATE run SET settings='{\"plan\": 3}'",
    "UPDATE session SET env='" + '['*9999 + "'", "UPDATE round SET metrics='{\"round\": 1}'",
    "UPDATE round SET metrics='{\"accuracy\": \"x\"}'", "UPDATE answer SET y='x'",
    "UPDATE answer SET y=1.5", "UPDATE answer SET by=x'ff'", "UPDATE ask SET pos=x'00' WHERE row=1",
    "UPDATE round SET metrics=CAST(x'ff' AS TEXT)"]


@pytest.mark.parametrize('change', VALUES)
def test_values_of_a_strangers_ledger(tmp_path, change):
    "Values that nobody of ours would write, sealed as if we had: a sentence on opening or reading"
    with Ledger(tmp_path/'a.db') as led: play(led)
    with contextlib.closing(sqlite3.connect(tmp_path/'a.db')) as db:
        db.execute('PRAGMA ignore_check_constraints=ON')
        db.execute(change)
        db.commit()
    with refused('cannot be used'): Ledger(tmp_path/'a.db')
    with contextlib.suppress(ValueError), Ledger(tmp_path/'b.db') as led:
        play(led)
        with led.writing() as db:
            db.execute(change)
            led.reseal()
        with refused('on record|plan'): seen(led)
        assert led.check()


def test_huge_values_are_refused(tmp_path):
    if not hasattr(sqlite3.Connection, 'setlimit'): return  # Python 3.10 cannot set a limit
    with Ledger(tmp_path/'a.db') as led: play(led)
    with contextlib.closing(sqlite3.connect(tmp_path/'a.db')) as db:
        db.execute("UPDATE run SET settings=printf('%.*c', 70000000, '1')")
        db.commit()
    with refused('too big'): Ledger(tmp_path/'a.db')


BOMB = {
    'spaces': lambda: b'{}\n' + b' '*2**27, 'deep': lambda: b'{}\n' + b'['*10**6,
    'number': lambda: b'{}\n' + b'9'*10**5, 'infinite': lambda: b'{"k": [1e999]}',
    'unequal': lambda: b'{}\n{"name": "a/0", "settings": {}, "env": {}, "columns": '
                       b'{"ask": [[0],[0,1],[5]], "answer": [], "round": []}}',
    'table': lambda: b'{}\n{"name": "a/0", "settings": {}, "env": {}, "columns": '
                     b'{"ask": [], "answer": [], "round": [], "run": [[1]]}}',
    'type': lambda: b'{}\n{"name": "a/0", "settings": {}, "env": {}, "columns": '
                    b'{"ask": [[0],["x"],[5]], "answer": [], "round": []}}',
    'current': lambda: b'{}\n{"name": "a/0", "settings": {}, "env": {}, "columns": '
                       b'{"ask": [[0],[0],[5]], "answer": [[5],[1],["o"],[0],["t"]], "round": []}}'}


@pytest.mark.parametrize('kind', BOMB)
def test_hostile_archives(tmp_path, kind):
    (tmp_path/'a.xz').write_bytes(lzma.compress(BOMB[kind](), preset=0))
    with refused('packed ledger|is not whole|whole numbers|wrong type'):
        opened(tmp_path/'a.xz', readonly=True)


def test_archives_are_read_and_packed_to_the_same_bytes(tmp_path):
    path = ROOT/'nbs'/'results'/'methods.xz'
    with opened(path, readonly=True) as led:
        assert len(led.runs()) == 81 and all(map(is_whole, led.runs()))
        led.pack(tmp_path/'again.xz')
    assert (tmp_path/'again.xz').read_bytes() == path.read_bytes()


def test_a_packed_run_keeps_what_people_did(tmp_path):
    "Notes, repeated answers, file names, what is no label, and which answers a round saw"
    led = Ledger(tmp_path/'a.db')
    led.ask(led.open_run('other', {}, {}), 0, [1])
    led.answer(1, [1], [0])
    run = led.open_run('a/0', dict(plan=[3]), {})
    led.ask(run, 0, [5, 6, 7], names=['e', 'f', 'g'])
    led.answer(run, [5, 6], [0, SKIP], by='ann', note='dark')
    led.answer(run, [7], [1])
    led.answer(run, [5], [1], again=True)
    led.answer(run, [5], [2])
    led.begin_round(run, 0)
    led.answer(run, [7], [0])
    led.end_round(run, 0, 2, {})
    led.pack(tmp_path/'a.xz')
    with opened(tmp_path/'a.xz', readonly=True) as back:
        for o in ('lines', 'declined', 'stale', 'results'):
            assert getattr(back, o)(1) == getattr(led, o)(run)
        assert back.history(1, 5) == led.history(run, 5)
        assert back.answers(1, upto=0)[1].tolist() == led.answers(run, upto=0)[1].tolist() == [2, 1]


def rows_y(o): return dict(zip(o[0].tolist(), o[1].tolist()))


def test_answers_that_are_no_label():
    led = Ledger()
    run = led.open_run('a', {}, {})
    led.ask(run, 0, [3, 1, 2, 4])
    led.answer(run, [3, 1, 2], [0, SKIP, UNSURE], by='ann')
    assert rows_y(led.answers(run)) == {3: 0} and led.declined(run) == {1: SKIP, 2: UNSURE}
    led.answer(run, [3], [OPEN])
    assert led.pending(run).tolist() == [3, 4] and rows_y(led.answers(run)) == {}
    assert [o['y'] for o in led.lines(run)] == [None, SKIP, UNSURE, None]
    led.answer(run, [3, 1], [2, 1])
    led.answer(run, [3], [0], again=True)
    assert rows_y(led.answers(run)) == {3: 2, 1: 1} and led.declined(run) == {2: UNSURE}
    seen_ = [(o['y'], o['again'], o['current']) for o in led.history(run, 3)]
    assert seen_ == [(0, False, False), (OPEN, False, False), (2, False, True), (0, True, False)]
    with refused('no answer yet that could be repeated'): led.answer(run, [4], [0], again=True)


def test_a_correction_counts_from_the_next_round_on():
    "What a round's training saw is a function of the ledger alone"
    led = Ledger()
    run = led.open_run('a', {}, {})
    for r in range(3):
        led.ask(run, r, [2*r, 2*r+1])
        led.answer(run, [2*r, 2*r+1], [0, 0])
        led.end_round(run, r, 2*r+2, {})
        if r == 0: led.answer(run, [1], [1])
    assert [rows_y(led.answers(run, upto=r))[1] for r in range(3)] == [0, 1, 1]
    assert [len(led.answers(run, upto=r)[0]) for r in range(3)] == [2, 4, 6]
    assert led.stale(run) == [0]
    led.answer(run, [2], [3])
    assert led.stale(run) == [0, 1, 2] and rows_y(led.answers(run, upto=2))[2] == 0
    led.answer(run, [2], [0])
    assert led.stale(run) == [0]  # corrected back


def test_a_correction_before_the_training_counts_at_once():
    led = Ledger()
    run = led.open_run('a', {}, {})
    led.ask(run, 0, [0, 1])
    led.answer(run, [0, 1], [0, 0])
    led.answer(run, [1], [OPEN])
    led.answer(run, [1], [5])
    led.begin_round(run, 0)
    led.answer(run, [0], [7])
    led.begin_round(run, 0)  # a resumed round: only the first time counts
    led.end_round(run, 0, 2, {})
    assert rows_y(led.answers(run, upto=0)) == {0: 0, 1: 5} and led.stale(run) == [0]


def test_a_run_grows(tmp_path):
    led = Ledger(tmp_path/'a.db')
    old = dict(data='x', exam='t', plan=[2, 2], seed=0)
    run = led.open_run('a', old, {}, files=['b', 'd', 'e'], classes=['cat', 'dog'])
    led.ask(run, 0, [0, 2], names=['b', 'e'])
    led.answer(run, [2], [1], by='ann')
    new = dict(old, data='y', exam='u', plan=[2, 2, 1])
    more = dict(files=['a', 'b', 'c', 'd', 'e'], classes=['cat', 'dog', 'cow'])
    for bad, why in [(dict(new, seed=1), 'seed was 0, now 1'), (dict(new, plan=[2]), 'plan was')]:
        with refused(why): led.open_run('a', bad, {}, **more)
    with refused('data was "x", now "y"'): led.open_run('a', new, {}, classes=['cat', 'dog'])
    with refused("asked for 'e', which is not in the data"): led.open_run('a', new, {}, ['a', 'b'])
    with refused('classes may only be added'): led.open_run('a', old, {}, classes=['dog', 'cat'])
    assert led.open_run('a', new, {}, **more) == run
    led.close()
    with Ledger(tmp_path/'a.db') as led:
        assert led.check() == [] and led.classes(run) == ['cat', 'dog', 'cow']
        assert led.asked(run, 0).tolist() == [1, 4] and rows_y(led.answers(run)) == {4: 1}
        assert led.runs()[0]['settings'] == new
        assert [(o['name'], o['y']) for o in led.lines(run)] == [('b', None), ('e', 1)]
        with refused('plan was'): led.open_run('a', dict(new, plan=[2, 2]), {}, **more)


def hold(say, path):
    led = Ledger(path)
    with led.running(1), led.running(1):
        say('in')
        time.sleep(100)


@pytest.mark.parametrize('read, more', [
    ('classes', ()), ('asked', (0,)), ('answers', ()), ('stale', ()), ('lines', ()),
    ('history', (0,)), ('pending', ()), ('declined', ()), ('results', ()), ('weights', ('warm',))])
def test_a_run_that_is_not_there_is_never_an_empty_one(read, more):
    with Ledger() as led, refused('run 7 does not exist'): getattr(led, read)(7, *more)


@needs_fork
def test_one_process_a_run(tmp_path):
    "A second process is refused; the same may enter again; a kill leaves no lock"
    with Ledger(tmp_path/'a.db') as led:
        for o in ('x\x1b[2J', 'y'): led.open_run(o, {}, {})
    pid, out = forked(hold, tmp_path/'a.db')
    assert out.readline() == 'in\n'
    led = Ledger(tmp_path/'a.db')
    with refused(r"run 'x.x1b\[2J' is going on in another process"), led.running(1, wait=0): pass
    with led.running(2): pass
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    out.close()
    with led.running(1), Ledger(tmp_path/'a.db').running(1): pass
    with refused('run 9 does not exist'), led.running(9): pass


def test_imported_answers(tmp_path):
    led = Ledger()
    run = led.open_run('a', {}, {}, classes=['cat', 'dog'])
    led.ask(run, 0, [4, 2, 9], names=['a.png', 'b.png', 'c.png'])
    (tmp_path/'a.csv').write_text('file,label\na.png,dog\nb.png,\nz.png,cat\nc.png,unsure\n')
    assert led.import_answers(run, tmp_path/'a.csv', by='ann') == ['z.png']
    assert rows_y(led.answers(run)) == {4: 1} and led.declined(run) == {9: UNSURE}
    assert led.import_answers(run, {2: 0}) == [] and rows_y(led.answers(run)) == {4: 1, 2: 0}
    for bad in ({2: 'cow'}, {2: 7}, [1], tmp_path/'none.csv', {2: 'dog', 4: -1}):
        with refused('.'): led.import_answers(run, bad)
    assert rows_y(led.answers(run)) == {4: 1, 2: 0}


def test_an_interrupted_answer_is_neither_lost_nor_doubled():
    "Ctrl-C after each SQL statement of an answer; then the next call"
    class Interrupted:
        def __init__(self, db, k): self.db, self.k = db, k
        def __getattr__(self, name): return getattr(self.db, name)
        def execute(self, *a):
            out = self.db.execute(*a)
            self.k -= 1
            if self.k == 0: raise KeyboardInterrupt
            return out
    for k in range(1, 60):
        led = Ledger()
        run = led.open_run('a', {}, {})
        led.ask(run, 0, [1, 2])
        real, led.db = led.db, Interrupted(led.db, k)
        with contextlib.suppress(KeyboardInterrupt): led.answer(run, [1], [0])
        led.db = real
        given_ = bool(led.unsaved) or len(led.pending(run)) == 1
        led.answer(run, [2], [0])
        assert [len(led.history(run, r)) for r in (1, 2)] == [int(given_), 1]
        led.verify()


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
