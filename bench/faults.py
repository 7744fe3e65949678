"""What faults do to runs and studies: labels lost or given twice, other rows or numbers, files
that are read wrongly, processes that stay. All of these counts must be 0, or it exits with 1.

Kills and Ctrl-C come at random instants; half of the kills within 5 ms after an answer was given.
Children are forks of one process, and their runs are tiny. A stopped run is let to its end, and
compared with one that was not stopped: the same rows, answers and numbers, bit for bit."""
import os
import platform
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
import _measure as m
import torch
from asal_nb.all import ASAL, ActiveLearning, ImageData, Ledger, compare
from asal_nb.ledger.archive import opened
from asal_nb.loop.checkpoint import read_sealed

COUNTS = dict(kills=300, interrupts=100, answers=1000, flips=50, studies=20)
BAD = ('lost', 'doubled', 'different', 'wrong', 'orphans', 'hung', 'errors')
COLUMNS = ('tried', *BAD, 'sentences', 'asked again')


def toy(n=240, c=3):
    "Vectors of three classes that overlap; 40 of them to test on"
    g, y = torch.Generator().manual_seed(0), torch.arange(n) % c
    x = torch.rand(n, 6, generator=g)*.6 + torch.nn.functional.one_hot(y, 6)*.4
    return ImageData.from_arrays(x[:-40], y[:-40], x[-40:], y[-40:], name='toy')


DATA = toy()
LOG = []                                         # in a child: the file of its events


def say(*event):
    "Note what happens, in a line that a kill cannot cut"
    if LOG: os.write(LOG[0], (' '.join(map(str, event)) + '\n').encode())


class Told(ASAL):
    "ASAL that says what it is at"
    def warm_up(self, *args):
        say('warm-up')
        return super().warm_up(*args)
    def fit(self, *args):
        say('training')
        return super().fit(*args)
    def query(self, *args):
        say('asking')
        return super().query(*args)


def loop(path, at=lambda n: None):
    "A short run; its oracle says which row it answers, and once more when that is on disk"
    n = [0]

    def oracle(rows):
        for row in rows.tolist():
            at(n[0])
            n[0] += 1
            say('given', row)
            yield int(DATA.oracle([row])[0])
            say('kept', row)                     # the next question comes when this one is on disk
    how, plan = Told(n_warm=40, n_steps=20, bs=16), dict(b=5, rounds=2, n_first=10, first='random')
    return ActiveLearning(DATA, how, ledger=path, oracle=oracle, **plan, n_threads=1, quiet=True)


def child(log, work, *args):
    "A fork that does `work(*args)`: exit code 0 done, 2 a sentence, 3 another error, 130 Ctrl-C"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return pid
    code = 3
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if log: LOG[:] = [os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)]
        say('opening')
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work(*args)
        code = 0
    except KeyboardInterrupt: code = 130
    except BaseException as e:
        code = 2 if isinstance(e, ValueError) else 3
        traceback.print_exc()
    finally: os._exit(code)


def is_alive(pid): return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def end_of(pid, seconds=60):
    "The exit code of a child, minus the signal that ended it; None if it had to be killed"
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until: time.sleep(.005)
    if hangs := is_alive(pid): os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if hangs else code


def contents(path):
    "All that a ledger says, without times: settings, numbers, questions and answers of its runs"
    keys = 'row', 'name', 'round', 'y', 'by', 'note'
    with opened(path, readonly=True) as led:
        runs = sorted(led.runs(), key=lambda o: o['name'])
        return [(o['name'], o['settings'], repr(led.results(o['id'])),
                 [[a[k] for k in keys] for a in led.lines(o['id'])]) for o in runs]


def on_record(path):
    "Row -> number of answers to it"
    if not path.exists() or not path.stat().st_size: return {}
    with Ledger(path, readonly=True) as led:
        return {r: len(led.history(1, r)) for r in led.answers(1)[0].tolist()} if led.runs() else {}


def events(log, kind=None):
    "What a run said, in order; of one kind: the rows"
    said = [o.split() for o in log.read_text().splitlines()] if log.exists() else []
    return [int(o[1]) for o in said if o[0] == kind] if kind else [o[0] for o in said]


def lost(path, log): return len({*events(log, 'kept')} - {*on_record(path)})


@contextmanager
def judged(found, right, folder=None):
    "A new folder for a run and its log; after the block the run goes to its end and is judged"
    with tempfile.TemporaryDirectory() as d, tempfile.TemporaryDirectory(dir=folder) as at:
        path, log = Path(at)/'a.db', Path(d)/'log'
        yield path, log
        found['lost'] += lost(path, log)
        code = end_of(child(log, lambda: loop(path).run()))
        found['errors'] += code not in (0, None)
        found['hung'] += code is None
        kept, given = events(log, 'kept'), events(log, 'given')
        found['lost'] += lost(path, log)
        found['doubled'] += len(kept) - len({*kept}) + sum(o > 1 for o in on_record(path).values())
        found['asked again'] += len(given) - len({*given})
        found['different'] += contents(path) != right


def killed_runs(n, right, seconds, seed=0, each=5):
    "Kill runs n times, each of them several times; and what they were at when they were killed"
    chance, found, at = random.Random(seed), Counter(), Counter()
    while found['tried'] < n:
        with judged(found, right) as (path, log):
            for _ in range(min(each, n - found['tried'])):
                pid = aimed(path, log, chance) if found['tried'] % 2 else timed(
                    log, chance.random()*seconds/2, lambda: loop(path).run())
                if end_of(pid) not in (-signal.SIGKILL, -signal.SIGALRM): break
                found['tried'] += 1
                found['lost'] += lost(path, log)
                at[events(log)[-1] if log.exists() else 'opening'] += 1
    return found, dict(at)


def timed(log, seconds, work, *args):
    "A child that is killed after so many seconds"
    pid = child(log, work, *args)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return pid


def aimed(path, log, chance):
    "A run that its own clock kills within 5 ms after one of its first answers was given"
    k, wait = chance.randrange(5), chance.uniform(1e-6, .005)

    def clock(n):
        if n == k: signal.setitimer(signal.ITIMER_REAL, wait)
    return child(log, lambda: loop(path, clock).run())


def stubborn(path):
    "Who starts the run again after each Ctrl-C, as in a notebook"
    al = loop(path)
    while True:
        try: return al.run()
        except KeyboardInterrupt: say('interrupted')


def interrupted_runs(n, right, seconds, seed=1, each=5):
    "Ctrl-C n times at random instants, several times a run, which goes on in the same process"
    chance, found, at = random.Random(seed), Counter(), Counter()
    while found['tried'] < n:
        with judged(found, right) as (path, log):
            pid = child(log, stubborn, path)
            for _ in range(min(each, n - found['tried'])):
                time.sleep(chance.random()*seconds/2)
                if not is_alive(pid): break
                os.kill(pid, signal.SIGINT)
                found['tried'] += 1
            code = end_of(pid)
            found['hung'] += code is None
            found['errors'] += code not in (0, 130, None)
            said = events(log)
            at.update(a for a, b in zip(said, said[1:]) if b == 'interrupted')
    return found, dict(at)


def troubled(path, k, begin, end):
    "A run under which a disk fails with the k-th answer, and is well again after the sentence"
    def at(n):
        if n == k > 0: begin(path)
    al = None
    try:
        if not k: begin(path)
        al = loop(path, at)
        return al.run()
    except ValueError as e: say('sentence', str(e).splitlines()[0])
    end(path)
    (al or loop(path)).run()


def bad_disks(right, troubles, folder=None):
    "A run under each trouble; every second one goes on from a kill"
    found, chance = Counter(), random.Random(2)
    for i, (begin, end) in enumerate(troubles):
        with judged(found, right, folder) as (path, log):
            if i % 2: end_of(aimed(path, log, chance))
            code = end_of(child(log, troubled, path, i % 3*4, begin, end))
            found['tried'] += 1
            found['sentences'] += 'sentence' in events(log)
            found['errors'] += code not in (0, None)
            found['hung'] += code is None
    return found


HARD = resource.getrlimit(resource.RLIMIT_FSIZE)[1]


def limit_files(n, path):
    "No file may grow beyond n bytes"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, HARD))


def fill(n, path):
    "Leave n bytes on the disk"
    disk = os.statvfs(path.parent)
    path.with_name('filler').write_bytes(bytes(disk.f_bavail*disk.f_frsize - n))


def make_room(path): path.with_name('filler').unlink()


@contextmanager
def small_disk(mib=16):
    "A folder on a disk of its own; None where this process may not mount one"
    with tempfile.TemporaryDirectory() as d:
        how = ['mount', '-t', 'tmpfs', '-o', f'size={mib}m', 'none', d]
        try: ok = not subprocess.run(how, stderr=subprocess.DEVNULL).returncode
        except OSError: ok = False
        try: yield Path(d) if ok else None
        finally:
            if ok: subprocess.run(['umount', d])


def forbid(what, path):
    "The folder or the file may only be read; root gives up its rights, for which modes are nothing"
    path.touch()
    os.chmod(path.parent, 0o555 if what == 'folder' else 0o777)
    os.chmod(path, 0o444)
    if not os.getuid(): os.seteuid(65534)


def allow(path):
    if not os.getuid(): os.seteuid(0)
    os.chmod(path.parent, 0o755)
    os.chmod(path, 0o644)


def full_disks(right, n=18):
    "Limits on the size of a file; and a disk that is full, where one may be mounted"
    sizes = [8_000 + 120_000*i//n for i in range(n)]   # the log, too, is a file
    small = bad_disks(right, [(partial(limit_files, o), partial(limit_files, HARD)) for o in sizes])
    with small_disk() as folder:
        if not folder: return {'files that may not grow': small}
        full = bad_disks(right, [(partial(fill, o), make_room) for o in sizes], folder)
    return {'files that may not grow': small, 'full disks': full}


def read_only(right, n=8):
    "Folders and files that may only be read"
    kinds = [partial(forbid, ('folder', 'file')[i // 2 % 2]) for i in range(n)]
    return bad_disks(right, [(o, allow) for o in kinds])


def flipped(file, read, n, seed=3):
    "Change one byte in each of n copies: refused, read as before, or read as something else"
    chance, whole, right = random.Random(seed), file.read_bytes(), read(file)
    found, bad = Counter(), file.with_name('bad' + file.suffix)
    for _ in range(n):
        at = chance.randrange(len(whole))
        byte = whole[at] ^ chance.randrange(1, 256)
        bad.write_bytes(whole[:at] + bytes([byte]) + whole[at+1:])
        found['tried'] += 1
        try: said = read(bad)
        except ValueError: found['sentences'] += 1
        except Exception:
            traceback.print_exc()
            found['errors'] += 1
        else: found['wrong'] += said != right
    return found


def read_fit(path):
    "What a checkpoint says; a damaged one must count as missing"
    tensors, notes = read_sealed(path)
    if tensors is None: raise ValueError('it is made again')
    return {k: v.tolist() for k, v in tensors.items()}, notes


def half_a_fit(path, log, seconds):
    "Kill a run when it has written a checkpoint; its file"
    while True:
        end_of(timed(log, seconds/2, lambda: loop(path).run()))
        if fits := sorted(path.parent.rglob('*.fit')): return fits[0]
        seconds *= .7
        for o in path.parent.glob('*.db'): o.unlink()


def flipped_files(right, seconds, n):
    "Changed bytes in a ledger, an archive, a checkpoint; and runs that go on from such checkpoints"
    found = {}
    with tempfile.TemporaryDirectory() as d:
        path, log = Path(d)/'a.db', Path(d)/'log'
        end_of(child(log, lambda: loop(path).run()))
        with Ledger(path) as led:                # more lines, so that few bytes are empty
            run = led.open_run('more', dict(plan=[2000]), {})
            led.ask(run, 0, range(2000))
            led.answer(run, range(2000), [o % 3 for o in range(2000)])
            led.end_round(run, 0, 2000, dict(accuracy=.5))
            led.pack(Path(d)/'a.xz')
        found['changed bytes, ledger'] = flipped(path, contents, n)
        found['changed bytes, archive'] = flipped(Path(d)/'a.xz', contents, n)
        (Path(d)/'half').mkdir()
        fit = half_a_fit(Path(d)/'half'/'a.db', log, seconds)
        found['changed bytes, checkpoint'] = flipped(fit, read_fit, n)
        fit.with_name('bad.fit').unlink()
        found['runs from such checkpoints'] = damaged_fits(right, Path(d)/'half', -(-n//5))
    return found


def damaged_fits(right, half, n, seed=4):
    "Runs that go on from checkpoints in each of which a byte was changed"
    chance, found = random.Random(seed), Counter()
    for _ in range(n):
        with judged(found, right) as (path, log):
            shutil.copytree(half, path.parent, dirs_exist_ok=True)
            for fit in path.parent.rglob('*.fit'):
                data = bytearray(fit.read_bytes())
                data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
                fit.write_bytes(data)
            found['tried'] += 1
    return found


def two_writers(n):
    "Two processes answer n rows of one ledger"
    def write(path, first):
        with Ledger(path) as led:
            for row in range(first, n, 2): led.answer(1, [row], [row % 7], by=f'writer {first}')
    with tempfile.TemporaryDirectory() as d:
        path = Path(d)/'a.db'
        with Ledger(path) as led: led.ask(led.open_run('a', {}, {}), 0, range(n))
        codes = [end_of(o, 300) for o in [child(None, write, path, first) for first in (0, 1)]]
        with Ledger(path, readonly=True) as led:
            given = {o['row']: (o['y'], o['by']) for o in led.lines(1) if o['y'] is not None}
        wanted = {row: (row % 7, f'writer {row % 2}') for row in range(n)}
        return Counter(
            tried=n, errors=sum(map(bool, codes)), lost=n - len(given), different=given != wanted,
            doubled=sum(o > 1 for o in on_record(path).values()))


def study(path, backend='sequential', mark=''):
    "The study that is stopped: one arm and its random arm, two seeds, on loky two processes"
    if mark:
        os.setsid()
        os.environ['ASAL_FAULTS'] = mark
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)         # what killed workers say
    warnings.simplefilter('ignore')
    plan = dict(b=5, rounds=1, n_first=10, first='random', ledger=path, n_jobs=2, quiet=True)
    compare(dict(asal=ASAL(n_warm=40, n_steps=20, bs=16)), DATA, range(2), backend, **plan)


def alive(mark):
    "Processes whose environment holds `mark`"
    found = []
    for o in Path('/proc').glob('[0-9]*/environ'):
        try: found += [int(o.parent.name)] if mark.encode() in o.read_bytes() else []
        except OSError: pass
    return found


def stopped_studies(n, sig, seed=5):
    "Stop a study with two workers n times, at random: processes that stay, rows and numbers"
    chance, found = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as d:
        begin = time.monotonic()
        end_of(child(None, study, Path(d)/'a.db', 'loky', f'faults-{os.getpid()}'), 300)
        right, seconds = contents(Path(d)/'a.db'), time.monotonic() - begin
    while found['tried'] < n:
        mark = f'faults-{os.getpid()}-{sig}-{found["tried"]}'
        with tempfile.TemporaryDirectory() as d:
            path = Path(d)/'a.db'
            pid = child(None, study, path, 'loky', mark)
            time.sleep(.1 + chance.random()*seconds)
            if is_alive(pid): found['tried'] += 1
            (os.killpg if sig == signal.SIGINT else os.kill)(pid, sig)
            code = end_of(pid)
            found['hung'] += code is None
            found['errors'] += code not in (0, 130, -sig, None)
            until = time.monotonic() + 20
            while alive(mark) and time.monotonic() < until: time.sleep(.1)
            found['orphans'] += len(alive(mark))
            for o in alive(mark): os.kill(o, signal.SIGKILL)
            code = end_of(child(None, study, path), 300)
            found['errors'] += code != 0
            found['different'] += contents(path) != right
    return found


def first_run():
    "What a run that is not stopped says, and its seconds"
    with tempfile.TemporaryDirectory() as d:
        path, begin = Path(d)/'a.db', time.monotonic()
        end_of(child(None, lambda: loop(path).run()))
        return contents(path), time.monotonic() - begin


def all_faults(kills, interrupts, answers, flips, studies):
    "Kind of fault and counts, one after the other; what stopped runs were at"
    torch.set_num_threads(1)
    right, seconds = first_run()
    yield 'kills of runs', *killed_runs(kills, right, seconds)
    yield 'Ctrl-C in runs', *interrupted_runs(interrupts, right, seconds)
    yield 'two writers', two_writers(answers), {}
    disks = full_disks(right) | {'read-only disks': read_only(right)}
    for name, found in (disks | flipped_files(right, seconds, flips)).items():
        yield name, found, {}
    yield 'kills of studies', stopped_studies(studies, signal.SIGKILL), {}
    yield 'Ctrl-C in studies', stopped_studies(studies // 4, signal.SIGINT), {}


def is_bad(found): return any(found.get(k) for k in BAD)


def main():
    a = m.arguments(__doc__, **COUNTS)
    begin, found, at = time.monotonic(), {}, {}
    print(f'{time.strftime("%H:%M")} about 25 minutes on 2 cores')
    for name, counts, when in all_faults(**{k: getattr(a, k) for k in COUNTS}):
        found[name] = {k: counts[k] for k in COLUMNS}
        if when: at[name] = when
        print(f'{time.strftime("%H:%M:%S")} {name}: {dict(counts)} {when}', flush=True)
    print(m.table([[k, *o.values()] for k, o in found.items()], ['', *COLUMNS]))
    how = m.machine('fastai', 'numpy', 'safetensors', 'joblib', 'filelock')
    how |= dict(sqlite=sqlite3.sqlite_version, system=platform.platform())
    kept = dict(found=found, at=at, minutes=(time.monotonic() - begin)/60, machine=how)
    m.keep('faults', kept, a.quick)
    sys.exit(any(map(is_bad, found.values())))


if __name__ == '__main__': main()
