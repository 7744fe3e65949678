"""What a test needs beyond the Python packages: `@pytest.mark.needs('chromium')` and so on, see PARTS.

A missing part leaves its tests out and says so in one line; with CI=true it fails them, and so does any skip. (A GPU is
never demanded, the site not before Python 3.11.) Chapters that take long are named at the end."""
import os
import shutil
import subprocess
import sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get('CI', '').lower() in ('1', 'true')
SLOW = 15  # seconds a chapter may take
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'


def chromium(): return next(filter(None, map(shutil.which, BROWSERS)), None)
def fashion_mnist(): return (ROOT/'data/FashionMNIST/raw/t10k-images-idx3-ubyte').exists()


def cuda():
    import torch
    return torch.cuda.is_available()


def compiler(): return next(filter(None, map(shutil.which, ('gcc', 'clang', 'cc'))), None)
def site(): return (ROOT/'_docs/index.html').exists()


PARTS = {'site':          (site, 'a site: run make docs, with Python 3.11 or newer', sys.version_info >= (3, 11)),
         'chromium':      (chromium, 'Chromium', True),
         'fashion_mnist': (fashion_mnist, 'Fashion-MNIST in data/FashionMNIST/raw', True),
         'compiler':      (compiler, 'a C compiler', False),
         'cuda':          (cuda, 'a GPU', False)}  # part: how to find it, its name, demanded with CI=true
left_out = {}


def lacking(item):
    "The parts that `item` needs and this machine lacks"
    names = {n for m in item.iter_markers('needs') for n in m.args}
    if unknown := names - set(PARTS): raise pytest.UsageError(f'{item.nodeid} needs {unknown}; known are {set(PARTS)}')
    return [n for n in sorted(names) if not PARTS[n][0]()]


def pytest_configure(config):
    config.addinivalue_line('markers', f'needs(part): a part beyond the Python packages: {", ".join(PARTS)}')
    config.addinivalue_line('markers', 'repo: about the repository and its site, not about what the library computes')


def pytest_collection_modifyitems(config, items):
    out = []
    for item in items:
        lost = lacking(item)
        if lost and not (IN_CI and any(PARTS[n][2] for n in lost)):
            out.append(item)
            for n in lost: left_out[n] = left_out.get(n, 0) + 1
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [i for i in items if i not in set(out)]


def pytest_runtest_setup(item):
    lost = ' and '.join(PARTS[n][1] for n in lacking(item))
    if lost: pytest.fail(f'this machine lacks {lost}', pytrace=False)


def pytest_terminal_summary(terminalreporter):
    say, passed = terminalreporter.write_line, terminalreporter.stats.get('passed', [])
    for n, k in left_out.items(): say(f'left out for want of {PARTS[n][1]}: {k} test{"s"[:k>1]}')
    for r in passed:
        if 'test_notebooks' in r.nodeid and r.duration > SLOW: say(f'slow: {r.nodeid} takes {r.duration:.0f} s')


def pytest_sessionfinish(session):
    skips = session.config.pluginmanager.get_plugin('terminalreporter').stats.get('skipped', [])
    if IN_CI and skips and not session.exitstatus:
        session.exitstatus = 1
        print(f'\nskipped, which CI counts as failed: {", ".join(sorted({r.nodeid for r in skips}))}')


def tracked():
    "The files that are, or would be, committed"
    cmd = ['git', 'ls-files', '-co', '--exclude-standard', '-z']
    out = subprocess.run(cmd, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [ROOT/n for n in out.split('\0') if n and (ROOT/n).is_file()]
