"""What faults do to runs: kills, Ctrl-C, two writers, flipped bits, full disks; prints counts.

bench/faults.py [--kills N] [--interrupts N] [--flips N] [--studies N] [--answers N]"""
import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
import torch
from asal_nb.all import ASAL, ActiveLearning, Ledger, Margin, Supervised, compare, get_data
from asal_nb.ledger.archive import opened
from asal_nb.loop.checkpoint import read_sealed, write_sealed

DATA = get_data('digits')
ARMS = {'margin': lambda: Margin(Supervised(n_steps=20))}


def loop(path, said=lambda kind, row: None):
    "A short run whose oracle answers one by one, and says what it gives and what was kept"
    def oracle(rows):
        for row in rows.tolist():
            said('given', row)
            yield int(DATA.oracle([row])[0])
            said('kept', row)                   # the next question comes when this one is on disk
    how = ASAL(n_warm=40, n_steps=40)
    plan = dict(b=5, rounds=2, n_first=10, first='random', n_threads=1, quiet=True)
    return ActiveLearning(DATA, how, ledger=path, oracle=oracle, **plan)


def work(path, log, limit=None):
    "In a child: the run, each event of the oracle as a line of `log`; the way it ended"
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with open(log, 'a', buffering=1, encoding='utf-8') as f:
        loop(path, lambda *event: f.write(' '.join(map(str, event)) + '\n')).run()


def child(*args):
    "A process that does `work(*args)`: exit code 0 done, 2 a sentence, 3 an error, 130 Ctrl-C"
    if pid := os.fork(): return pid
    code = 0
    try: work(*args)
    except KeyboardInterrupt: code = 130
    except ValueError: code = 2
    except BaseException: code = 3
    os._exit(code)


def seen(path):
    "All that the run at `path` says: results and answers"
    with Ledger(path) as led: return led.results(1), [o.tolist() for o in led.answers(1)]


def on_record(path):
    "Row -> number of answers to it"
    if not path.exists() or not path.stat().st_size: return {}
    with Ledger(path, readonly=True) as led:
        return {r: len(led.history(1, r)) for r in led.answers(1)[0].tolist()} if led.runs() else {}


def events(log):
    "Rows given and rows kept, in order; a line that was cut by a kill does not count"
    lines = log.read_text(encoding='utf-8').splitlines(keepends=True) if log.exists() else []
    pairs = [o.split() for o in lines if o.endswith('\n')]
    return [[int(row) for k, row in pairs if k == kind] for kind in ('given', 'kept')]


def stopped_runs(n, sig, right, seconds, seed=0, each=3):
    "Send `sig` n times at random instants, `each` times a run, and let each run end; counts"
    moments, found = random.Random(seed), dict(tried=0, lost=0, doubled=0, different=0, hung=0)
    while found['tried'] < n:
        with tempfile.TemporaryDirectory() as d:
            path, log = Path(d)/'a.db', Path(d)/'log'
            for _ in range(min(each, n - found['tried'])):
                pid = child(path, log)
                time.sleep(moments.random()*seconds)
                os.kill(pid, sig)
                found['hung'] += not ends(pid)
                found['tried'] += 1
                found['lost'] += len({*events(log)[1]} - {*on_record(path)})
            os.waitpid(child(path, log), 0)
            kept, answers = events(log)[1], on_record(path).values()
            found['doubled'] += len(kept) - len({*kept}) + sum(o > 1 for o in answers)
            found['different'] += seen(path) != right
    return found


def ends(pid, seconds=20):
    "Does the process end by itself? If not, it is killed"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]: return True
        time.sleep(.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def full_disks(limits, right):
    "No file may grow beyond a limit: how runs end, and whether they end the same with room again"
    found = dict(tried=0, sentences=0, errors=0, lost=0, different=0)
    for limit in limits:
        with tempfile.TemporaryDirectory() as d:
            path, log = Path(d)/'a.db', Path(d)/'log'
            code = os.waitstatus_to_exitcode(os.waitpid(child(path, log, limit), 0)[1])
            found['tried'] += 1
            found['sentences'] += code == 2
            found['errors'] += code not in (0, 2)
            found['lost'] += len({*events(log)[1]} - {*on_record(path)})
            os.waitpid(child(path, log), 0)
            found['different'] += seen(path) != right
    return found


def flipped(file, read, n, seed=0):
    "Flip one bit in each of n copies: refused, read as before, or read as something else"
    where, whole, right = random.Random(seed), file.read_bytes(), read(file)
    found = dict(tried=n, refused=0, same=0, wrong=0)
    bad = file.with_name('bad' + file.suffix)
    for _ in range(n):
        at = where.randrange(len(whole))
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << where.randrange(8)]) + whole[at+1:])
        try: said = read(bad)
        except ValueError: said = None
        found['refused' if said is None else 'same' if said == right else 'wrong'] += 1
    return found


def read_ledger(path):
    with opened(path, readonly=True) as led:
        return [(o['name'], led.results(o['id']), led.lines(o['id'])) for o in led.runs()]


def read_fit(path):
    tensors, notes = read_sealed(path)
    return tensors and ({k: v.tolist() for k, v in tensors.items()}, notes)


def writer(path, first, n):
    "In a child: every second answer, one by one"
    if pid := os.fork(): return pid
    code = 1
    try:
        with Ledger(path) as led:
            for row in range(first, n, 2): led.answer(1, [row], [row % 7], by=f'writer {first}')
        code = 0
    finally: os._exit(code)


def two_writers(n):
    "Two processes answer n rows of one ledger"
    with tempfile.TemporaryDirectory() as d:
        path = Path(d)/'a.db'
        with Ledger(path) as led: led.ask(led.open_run('a', {}, {}), 0, range(n))
        codes = [os.waitpid(o, 0)[1] for o in [writer(path, first, n) for first in (0, 1)]]
        found = on_record(path)
        return dict(tried=n, failed=sum(map(bool, codes)), lost=n - len(found),
                    doubled=sum(o > 1 for o in found.values()))


def study(path):
    "The study that is killed: one arm and its random arm, two seeds, two processes"
    arms = {k: make() for k, make in ARMS.items()}
    plan = dict(b=10, rounds=1, n_first=10, first='random', ledger=path, n_jobs=2, quiet=True)
    return compare(arms, DATA, range(2), **plan)


def alive(mark):
    "Processes whose environment holds `mark`"
    found = []
    for o in Path('/proc').glob('[0-9]*/environ'):
        try: found += [o.parent.name] if mark.encode() in o.read_bytes() else []
        except OSError: pass
    return found


def killed_studies(n, seconds=12, seed=0):
    "Kill a study with two workers n times, at random: processes that stay, tables that differ"
    moments, found = random.Random(seed), dict(tried=n, orphans=0, different=0)
    with tempfile.TemporaryDirectory() as d: right = study(Path(d)/'a.db').table().to_csv()
    for i in range(n):
        mark = f'ASAL_FAULTS={os.getpid()}-{i}'
        env = os.environ | dict([mark.split('=')])
        with tempfile.TemporaryDirectory() as d:
            path = Path(d)/'a.db'
            run = subprocess.Popen([sys.executable, __file__, '--study', path], env=env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(4 + moments.random()*seconds)
            run.kill()
            run.wait()
            until = time.monotonic() + 20
            while alive(mark) and time.monotonic() < until: time.sleep(.2)
            found['orphans'] += len(alive(mark))
            found['different'] += study(path).table().to_csv() != right
    return found


def main():
    a = argparse.ArgumentParser(description=__doc__)
    for name, n in dict(kills=300, interrupts=100, flips=50, studies=10, answers=1000).items():
        a.add_argument(f'--{name}', type=int, default=n)
    a.add_argument('--study', help=argparse.SUPPRESS)
    a = a.parse_args()
    torch.set_num_threads(1)
    if a.study: return study(a.study)
    with tempfile.TemporaryDirectory() as d:
        path, log, begin = Path(d)/'a.db', Path(d)/'log', time.monotonic()
        os.waitpid(child(path, log), 0)
        right, seconds = seen(path), time.monotonic() - begin
        found = {'killed': stopped_runs(a.kills, signal.SIGKILL, right, seconds)}
        print('killed', found['killed'], flush=True)
        found['interrupted'] = stopped_runs(a.interrupts, signal.SIGINT, right, seconds, seed=1)
        found['full disk'] = full_disks(range(20_000, 200_000, 10_000), right)
        found['two writers'] = two_writers(a.answers)
        with Ledger(path) as led: led.pack(Path(d)/'a.xz')
        write_sealed(Path(d)/'a.fit', {'w': torch.linspace(0, 1, 999)}, dict(epoch=3))
        for file, read in (('a.db', read_ledger), ('a.xz', read_ledger), ('a.fit', read_fit)):
            found[f'flipped bits, {file}'] = flipped(Path(d)/file, read, a.flips)
    found['killed studies'] = killed_studies(a.studies)
    print(json.dumps(found, indent=1))
    bad = 'lost', 'doubled', 'different', 'hung', 'errors', 'wrong', 'failed', 'orphans'
    sys.exit(any(o.get(k) for o in found.values() for k in bad))


if __name__ == '__main__': main()
