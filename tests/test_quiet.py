"What people see of a job: in a kernel, in a terminal, and nothing in a pipe. All outputs counted."
import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from collections import Counter
from datetime import datetime
import nbformat
import pytest
from nbclient import NotebookClient
from browser import FOLDERS, WAIT, answers, new_tab

# runs that are just long enough for a bar to be drawn
JOB = '''
import threading, time, warnings, torch
from asal_nb.all import *
from asal_nb.core import bar, silent
from asal_nb.game.callbacks import NoValid
data = get_data('digits')
def slow(learn): return time.sleep(.3) or {}
class Loud(Random):
    def query(self, *args):
        print('asking')
        warnings.warn(f'look out {args[-1]}')
        return super().query(*args)
def run(method=None, **kw):
    how = dict(b=5, rounds=2, n_first=10, first='random', watch=slow)
    method = method or ASAL(n_warm=30, n_steps=20)
    return ActiveLearning(data, method, **how | kw).run()
'''
ROUNDS = [rf'round {r}: {10+5*r} labelled, accuracy \d\.\d\d\d' for r in range(3)]
TABLE = ['epoch  train_loss  valid_loss    accuracy         url .*']
# name: what the cell runs, and patterns of the lines that stay
CELLS = dict(
    head=(JOB, []),
    run=('al = run()', ROUNDS),
    finished=('al.run();', []),
    trained_again=('al._learn = None\nlearn = al.learn', ['round 2: trained again']),
    quiet=('quiet = run(quiet=True)\nquiet._learn = None\nlearn = quiet.learn', []),
    two_networks=('run(VAAL(n_steps=20), rounds=1);', ROUNDS[:2]),
    first_rows=('''import asal_nb.loop.loop as loop
loop.warm_codes = lambda data, seed: torch.arange(len(data)*4.).reshape(-1, 4)
run(Random(Supervised(n_steps=20)), first='typiclust', rounds=1);''',
                ["10 first rows: .* without labels; first='random' skips it", *ROUNDS[:2]]),
    fit=('learn = asal_learner(asal_dls(data, al.pool, bs_U=400))\nlearn.fit(2)',
         [*TABLE, *[r' +\d( +-?\d+\.\d{6}){8}']*2]),
    unmeasured=('learn.fit(1, cbs=NoValid())',
                ['epoch  train_loss         url .*', r' +0( +-?\d+\.\d{6}){6}']),
    no_table=('with learn.no_logging(): learn.fit(1)\nwith learn.no_bar(), silent(): learn.fit(1)',
              []),
    predicted=('learn.get_preds(), learn.validate();', []),
    thread=('''thread = threading.Thread(target=lambda: learn.fit(1))
with silent(): thread.start() or thread.join()
assert len(learn.recorder.values)==1''', []),
    stopped=('''def stop(learn): raise KeyboardInterrupt
try: run(watch=stop)
except KeyboardInterrupt: pass''', ['digits-asal-0: stopped in round 0 of 2']),
    study=('''arms = dict(a=Margin(Supervised(n_steps=5)))
how = dict(b=5, rounds=1, n_first=10, first='random')
compare(arms, data, range(5), 'sequential', quiet=True, **how);''', []),
    counted=("for _ in bar(range(3), comment='pictures'): time.sleep(1)", ['pictures: 3 of 3']),
    short=('''list(bar(range(3), comment='pictures'))
Supervised(n_steps=5).fit(data, al.pool, None, 0);''', []))


class Counting(NotebookClient):
    "Counts the messages of each cell that show something"
    def process_message(self, msg, cell, i):
        if msg['msg_type'] in ('display_data', 'update_display_data', 'stream'):
            self.n[i] += 1
        return super().process_message(msg, cell, i)


def seconds(cell):
    "How long the kernel worked at the cell"
    at = [cell.metadata.execution[f'iopub.{k}'] for k in ('status.busy', 'status.idle')]
    start, end = [datetime.fromisoformat(o.replace('Z', '+00:00')) for o in at]
    return (end - start).total_seconds()


@pytest.fixture(scope='module')
def kernel(tmp_path_factory):
    "Each cell by name, run in a kernel that counts as watched, and how often it was drawn"
    cells = [nbformat.v4.new_code_cell(source) for source, _ in CELLS.values()]
    where = {'metadata': {'path': tmp_path_factory.mktemp('kernel')}}
    nb = nbformat.v4.new_notebook(cells=cells)
    client = Counting(nb, timeout=600, kernel_name='python3', resources=where)
    client.n = Counter()
    client.execute()
    return {k: (c, client.n[i]) for i, (k, c) in enumerate(zip(CELLS, cells))}


def matches(lines, patterns):
    "Does each line match its pattern, and is there none beyond?"
    return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


@pytest.mark.xdist_group('kernel')   # which is started once
@pytest.mark.parametrize('name', CELLS)
def test_a_cell_has_one_output_of_lines(kernel, name):
    "No stderr, no HTML, no widget, no remains of a bar; drawn at most four times a second"
    cell, n = kernel[name]
    lines = CELLS[name][1]
    assert [o.output_type for o in cell.outputs] == ['display_data'][:len(lines)]
    if not lines: return
    assert [*cell.outputs[0].data] == ['text/plain']
    assert matches(cell.outputs[0].data['text/plain'].split('\n'), lines), cell.outputs
    assert n <= 4*seconds(cell) + 2


SCRIPT = JOB + '''
al = run(Loud(ASAL(n_warm=30, n_steps=20)))
learn = asal_learner(asal_dls(data, al.pool, bs_U=400))
learn.fit(1)
for _ in bar(range(3), comment='pictures'): time.sleep(1)
'''
ASKING = ['asking', r'.*UserWarning: look out \d+', " +warnings.warn.*"]
SEEN = [ROUNDS[0], *ASKING, ROUNDS[1], *ASKING, ROUNDS[2], *TABLE, r' +0( +-?\d+\.\d{6}){8}',
        'pictures: 3 of 3']


def on_a_terminal(code, path):
    "All bytes that a terminal of 100 columns receives from Python running `code`"
    script = path/'job.py'
    script.write_text(code)
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 40, 100, 0, 0))
    p = subprocess.Popen([sys.executable, script], stdout=theirs, stderr=theirs, cwd=path)
    os.close(theirs)
    got = b''
    while True:
        try: more = os.read(mine, 65536)
        except OSError: break  # Linux: the last writer is gone
        if not more: break
        got += more
    os.close(mine)
    assert p.wait() == 0, got.decode()
    return got.decode()


def screen(text):
    "The lines that stand there in the end: each is written over from its left by a return"
    out = []
    for line in text.replace('\r\n', '\n').split('\n'):
        shown = ''
        for piece in line.split('\r'): shown = piece + shown[len(piece):]
        out.append(shown.rstrip())
    return out


def test_a_terminal_shows_bar_and_lines_apart(tmp_path):
    text = on_a_terminal(SCRIPT, tmp_path)
    lines = [o for o in screen(text) if 'torch.jit' not in o and o]
    assert matches(lines, SEEN), '\n'.join(lines)
    bars = [o for o in re.split(r'[\r\n]', text) if ' left' in o]
    assert any('█' in o and re.search(r'round 1 of 2, step \d+/\d+, loss \d', o) for o in bars)
    assert max(map(len, bars)) <= 100


def test_a_pipe_gets_not_a_byte(tmp_path):
    code = SCRIPT.replace('Loud(ASAL(n_warm=30, n_steps=20))', '')
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, cwd=tmp_path)
    assert (p.returncode, p.stdout, p.stderr) == (0, b'', b'')


LAB = '''import time
from asal_nb.core import note, progress
with progress('demo', total=2) as job:
    for r in range(2):
        job.begin(f'round {r} of 1')
        for k in range(8): job.step(k+1, 8, loss=.5) or time.sleep(.2)
        note(f'round {r} is done')
        job.end()
'''


@pytest.fixture
def lab(tmp_path):
    "The address of a notebook with `LAB` on a JupyterLab of its own"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LAB)])
    nb.metadata.kernelspec = dict(name='python3', display_name='Python 3', language='python')
    nbformat.write(nb, tmp_path/'quiet.ipynb')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    env = os.environ | {k: str(tmp_path/k) for k in FOLDERS}
    cmd = [sys.executable, '-m', 'jupyterlab', '--no-browser', f'--port={port}', '--allow-root',
           '--IdentityProvider.token=', '--ServerApp.ip=127.0.0.1', '--LabApp.news_url=None']
    with open(tmp_path/'log', 'w') as log, \
         subprocess.Popen(cmd, cwd=tmp_path, env=env, stdout=log, stderr=log) as p:
        try:
            if not answers(f'http://127.0.0.1:{port}/api', p):
                pytest.fail((tmp_path/'log').read_text()[-3000:])
            yield f'http://127.0.0.1:{port}/lab/tree/quiet.ipynb'
        finally: p.terminate()


@pytest.fixture
def tab():
    with new_tab() as tab: yield tab


@pytest.mark.needs('chromium')
def test_jupyterlab_shows_one_output(lab, tab):
    tab.goto(lab, wait_until='domcontentloaded', timeout=WAIT)
    tab.get_by_text('| Idle').wait_for(timeout=WAIT)  # the kernel is there
    tab.locator('.jp-Notebook .jp-CodeCell .cm-content').first.click(timeout=WAIT)
    tab.keyboard.press('Shift+Enter')
    out = tab.locator('.jp-CodeCell').first.locator('.jp-OutputArea-child')
    out.filter(has_text='round 0 of 1, step').first.wait_for(timeout=WAIT)  # the bar
    out.filter(has_text='round 1 is done').first.wait_for(timeout=WAIT)
    tab.locator('.jp-CodeCell').first.get_by_text('[1]').wait_for(timeout=WAIT)
    assert out.count() == 1
    assert out.inner_text().strip().split('\n') == ['round 0 is done', 'round 1 is done']
