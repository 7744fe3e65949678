"The commands as a person types them: quick help, one sentence a mistake, Ctrl-C that goes on."
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from asal_nb.apps.cli import NAMES
from asal_nb.checks import plain_text, short
from asal_nb.loop.asal import ASAL, Supervised
from asal_nb.methods.table import METHODS, method_of

COMMANDS = 'asal-run', 'asal-compare', 'asal-report'
TINY = ['--first', 'random', '--set', 'n_warm=5', '--device', 'cpu', '--out', 'none', '--quiet']


def words(command, *args):
    "What starts a command of this tree, whatever is installed"
    f = command.replace('-', '_')
    code = f'import sys; sys.argv[0] = "{command}"; from asal_nb.apps.cli import {f}; {f}.command()'
    return [sys.executable, '-W', 'ignore', '-c', code, *map(str, args)]


def typed(command, *args, **kw):
    p = subprocess.run(words(command, *args), capture_output=True, text=True, timeout=300, **kw)
    return p.returncode, p.stdout, p.stderr


@pytest.mark.parametrize('command', COMMANDS)
def test_help_is_quick_and_names_all(command):
    "Two seconds of the processor at most, without torch; every method, data set and way to begin."
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, out, err = typed(command, '--help')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert (code, err) == (0, '') and took < 2
    told = out.replace(',', ' ').split()
    assert not [o for names in NAMES.values() for o in names if o not in told]
    assert f'  {command} ' in out


def test_the_table_of_names_is_the_one_of_methods():
    assert NAMES['methods'] == list(METHODS)


@pytest.mark.parametrize('line, said', [
    ('--ruonds 3', 'did you mean --rounds?'),
    ('--rounds x', 'invalid int value'),
    ('--set n_steps=5 --set n_steps=4', '--set names n_steps twice'),
    ('--set n_steps=5 --set nwarm=4', "did you mean 'n_warm' or"),
    ('./typo', './typo is not there'),
    ('--size 8 photo', "did you mean 'photos'?"),
    ('photos/a.txt', 'is a file; give the folder of the images'),
    ('--ledger photos', 'is a folder, but must be a file'),
    ('--ledger $NO_SUCH_NAME/a.db', 'the variable $NO_SUCH_NAME is not set'),
    ('--out nowhere/a.png', 'there is no folder nowhere'),
])
def test_a_mistake_is_answered_in_one_line(line, said, tmp_path):
    (tmp_path/'photos').mkdir()
    (tmp_path/'photos'/'a.txt').touch()
    code, out, err = typed('asal-run', *line.split(), cwd=tmp_path)
    assert (code, out) == (2, '') and said in err and len(err.splitlines()) == 1


def test_a_damaged_picture_stops_no_line(tmp_path):
    "It is named in one line beside the results, and so is what was left out."
    from PIL import Image
    for i in range(12):
        (tmp_path/'photos'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new('L', (8, 8), 9*i).save(tmp_path/f'photos/{"ab"[i % 2]}/{i}.png')
    (tmp_path/'photos/a/zero.jpg').touch()
    (tmp_path/'photos/a/x.heic').touch()
    args = 'photos', '--size', 8, '--rounds', 0, '--n-first', 4, '--set', 'n_steps=2', *TINY
    code, out, err = typed('asal-run', *args, cwd=tmp_path)
    assert code == 0 and len(out.splitlines()) == 2
    assert err == 'photos: left out: 1 × .heic; skipped: 1 that cannot be read (zero.jpg)\n'


def test_sets_add_up(tmp_path):
    args = '--rounds', 0, '--set', 'n_steps=2', *TINY
    code, out, err = typed('asal-run', *args, cwd=tmp_path)
    assert (code, err) == (0, '') and out.split()[:3] == ['round', 'n_labelled', 'accuracy']


def test_ctrl_c_says_how_to_go_on_and_the_line_does(tmp_path):
    "Exit code 130, one line; the line that it prints ends the run."
    args = '--rounds', 2, '--b', 5, '--n-steps', 150, '--ledger', 'my run.db', *TINY
    p = subprocess.Popen(words('asal-run', *args), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 200
    while p.poll() is None and not (tmp_path/'my run.db').exists() and time.monotonic() < until:
        time.sleep(.05)
    time.sleep(1)
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=60)[1]
    assert p.returncode == 130 and len(err.splitlines()) == 1
    assert err.startswith('stopped') and "goes on: asal-run --rounds 2 --b 5" in err
    assert "'my run.db'" in err
    code, out, err = typed('asal-run', *args, cwd=tmp_path)
    assert (code, err) == (0, '') and len(out.splitlines()) == 4


def alive(pids):
    "Those of the processes that there are"
    def is_there(o):
        try: os.kill(o, 0)
        except ProcessLookupError: return False
        return True
    return [o for o in pids if is_there(o)]


@pytest.mark.parametrize('sig', [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_study(sig, tmp_path):
    "No process goes on for nobody, and no folder stays."
    job = tmp_path/'job.py'
    job.write_text(
        'import os, sys, time\nfrom joblib import Parallel, delayed, parallel_config\n'
        'from asal_nb.study.compare import _end_with\n'
        'def work(i, folder):\n'
        '    from asal_nb.study import compare\n    compare._shared["folder"] = folder\n'
        '    print(os.getpid(), flush=True)\n    time.sleep(300)\n'
        'with parallel_config("loky", initializer=_end_with(os.getpid())):\n'
        '    Parallel(2)(delayed(work)(i, sys.argv[1]) for i in range(2))')
    (tmp_path/'shared').mkdir()
    args = [sys.executable, '-W', 'ignore', str(job), str(tmp_path/'shared')]
    p = subprocess.Popen(args, stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids = [int(p.stdout.readline()) for _ in range(2)]
    assert alive(pids) == pids
    p.send_signal(sig)
    p.wait()
    until = time.monotonic() + 30
    while alive(pids) and time.monotonic() < until: time.sleep(.2)
    assert alive(pids) == [] and not (tmp_path/'shared').exists()


@pytest.mark.parametrize('make, word, meant', [
    (ASAL, 'nsteps', 'n_steps'), (ASAL, 'epochs', 'n_steps'), (ASAL, 'lr', 'alpha1'),
    (ASAL, 'batch_size', 'bs'), (Supervised, 'lr', 'alpha'), (Supervised, 'n_step', 'n_steps'),
])
def test_a_misspelt_keyword_is_answered_by_the_closest(make, word, meant):
    "In Python and in the shell, in one line, the closest name first."
    with pytest.raises(ValueError) as e: make(**{word: 3})
    said = str(e.value)
    assert f"has no keyword {word!r}; did you mean {meant!r}" in said and len(said) < 250
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        method_of('asal' if make is ASAL else 'random', **{word: 3})


@pytest.mark.parametrize('o', ['a\x1b[2Jb', 'a\u202eb', 'a\udc80b', 'a\nb', 'a\u2028b'])
def test_no_character_steers_a_terminal(o):
    assert plain_text(o).isprintable() and plain_text(o).encode()
    assert short(o).isprintable() and os.linesep not in short(o)
