"A study on a Dask scheduler with two workers, one killed within a job: as of one process."
import os
import signal
import subprocess
import sys
import threading
import time

import dask
import pytest
from distributed import Client
from test_compare import FOUND, NAP, Ends, TINY, PLAN, same, toy, whole  # noqa: F401 (a fixture)

from asal_nb.ledger.ledger import Ledger
from asal_nb.loop.asal import ASAL
from asal_nb.study.compare import compare

LOG = 'ASAL_TEST_LOG'  # file in which each query notes who asks for what


class Noted(Ends):
    "`Ends` that notes its process and seed before it asks; the ledger calls it `Ends`."
    @property
    def settings(self): return {**super().settings, 'method': 'Ends'}

    def query(self, learn, data, pool, b, seed):
        with open(os.environ[LOG], 'a') as f:
            f.write(f'{os.getpid()} {type(self.train).__name__} {seed}\n')
        return super().query(learn, data, pool, b, seed)


def notes(path):
    return [tuple(o.split()) for o in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def cluster(tmp_path):
    "A client of two workers, of one thread and of two, which nobody restarts; the log of the jobs"
    log, at = tmp_path/'log', tmp_path/'scheduler.json'
    env = os.environ | {
        NAP: '.2', LOG: str(log), 'PYTHONPATH': FOUND, 'PYTHONWARNINGS': 'ignore'}

    def start(what, *args):
        out = open(tmp_path/f'{what}{len(procs)}.txt', 'w')
        cmd = [sys.executable, '-m', f'distributed.cli.dask_{what}', '--scheduler-file', at]
        cmd += ['--no-dashboard', *args]
        procs.append(subprocess.Popen(cmd, env=env, cwd=tmp_path, stdout=out, stderr=out))
    procs = []
    try:
        start('scheduler', '--host', '127.0.0.1', '--port', '0')
        for n in (1, 2):
            start('worker', '--no-nanny', '--nthreads', str(n), '--local-directory', tmp_path)
        until = time.monotonic() + 60
        while not at.exists() and time.monotonic() < until: time.sleep(.05)
        with Client(scheduler_file=str(at), set_as_default=False) as c:
            c.wait_for_workers(2, timeout=60)
            yield c, log
    finally:
        for p in procs: p.kill()
        for p in procs: p.wait()


def killed_within_a_job(path, log):
    "Once three runs are over, kills whoever noted the last query, while it sleeps; its pid"
    until = time.monotonic() + 240
    while time.monotonic() < until:
        time.sleep(.02)
        with Ledger(path) as led: over = len(led.runs())
        if over >= 3:
            n = len(notes(log))
            while len(notes(log)) == n and time.monotonic() < until: time.sleep(.002)
            pid = notes(log)[-1][0]
            os.kill(int(pid), signal.SIGKILL)
            return pid


def taken(path):
    "Name -> all that the run asked, was answered and measured, without the time of day"
    with Ledger(path, readonly=True) as led:
        lines = {o['name']: led.taken(o['id']) for o in led.runs()}
        assert len(lines) == len(led.runs())
        n = led.db.execute('SELECT count(*) FROM ask').fetchone()[0]
        assert n == sum(len(o['ask']) for o in lines.values())
    for o in lines.values(): o['answer'] = [a[:-1] for a in o['answer']]
    return lines


def test_a_worker_dies_and_the_study_ends_the_same(tmp_path, whole, cluster):  # noqa: F811
    "SIGKILL takes a worker within a job: the other does it again, nothing is lost or doubled."
    client, log = cluster
    path, dead = tmp_path/'study.db', []
    Ledger(path).close()
    t = threading.Thread(target=lambda: dead.append(killed_within_a_job(path, log)))
    t.start()
    arms = dict(ends=Noted(TINY), deep=Noted(ASAL(n_warm=0, n_steps=4)))
    kw = dict(PLAN, ledger=path, quiet=True, address=client.scheduler.address)
    s = compare(arms, toy, range(5), 'dask', **kw)
    t.join()
    loops = [o for o in threading.enumerate() if o.name == 'IO loop']
    assert len(loops) == 1, 'the study left a client behind'
    assert len(client.scheduler_info()['workers']) == 1, 'both workers live: nothing was killed'
    begun = [o for o in notes(log) if o[0] == dead[0]]
    again = [o for o in notes(log) if o[0] != dead[0]]
    assert begun[-1][1:] in [o[1:] for o in again], 'the killed worker was in no job'
    same(s, whole[0])
    assert taken(path) == taken(whole[1])


def test_no_scheduler_is_a_sentence():
    address = 'tcp://127.0.0.1:9'
    with dask.config.set({'distributed.comm.timeouts.connect': '.2s'}):
        with pytest.raises(ValueError, match=f"no Dask scheduler answers at address='{address}'"):
            compare(dict(ends=Ends(TINY)), toy, range(5), 'dask', **PLAN, address=address)
