"""What a test needs beyond the Python packages: `@pytest.mark.needs('chromium')`, see PARTS.

A missing part leaves its tests out and says so in one line. With CI=true it fails them, and so does
any skip. (A GPU is never demanded, the site not before Python 3.11.) Slow chapters are named."""
import os
import shutil
import sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get('CI', '').lower() in ('1', 'true')
SLOW = 15  # seconds a chapter may take


def which(*names): return next(filter(None, map(shutil.which, names)), None)
def chromium(): return which('chromium', 'chromium-browser', 'google-chrome')
def compiler(): return which('gcc', 'clang', 'cc')
def fashion_mnist(): return (ROOT/'data/FashionMNIST/raw/t10k-images-idx3-ubyte').exists()
def site(): return (ROOT/'_docs/index.html').exists()


def cuda():
    import torch
    return torch.cuda.is_available()


# part: how to find it, its name, demanded with CI=true
PARTS = {
    'site': (site, 'a site: run make docs, with Python 3.11 or newer', sys.version_info >= (3, 11)),
    'chromium': (chromium, 'Chromium', True),
    'fashion_mnist': (fashion_mnist, 'Fashion-MNIST in data/FashionMNIST/raw', True),
    'compiler': (compiler, 'a C compiler', False),
    'cuda': (cuda, 'a GPU', False)}
MARKS = [f'needs(part): a part beyond the Python packages: {", ".join(PARTS)}',
         'repo: about the repository and its site, not about what the library computes']
left_out = {}


def lacking(item):
    "The parts that `item` needs and this machine lacks"
    names = {n for m in item.iter_markers('needs') for n in m.args}
    if unknown := names - set(PARTS):
        raise pytest.UsageError(f'{item.nodeid} needs {unknown}; known are {set(PARTS)}')
    return [n for n in sorted(names) if not PARTS[n][0]()]


def pytest_configure(config):
    for o in MARKS: config.addinivalue_line('markers', o)


def pytest_collection_modifyitems(config, items):
    out = set()
    for item in items:
        # of two processes one runs a whole file, for its fixtures; chapters go one by one
        if config.pluginmanager.hasplugin('xdist') and item.path.stem != 'test_notebooks':
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        lost = lacking(item)
        if lost and not (IN_CI and any(PARTS[n][2] for n in lost)):
            out.add(item)
            for n in lost: left_out[n] = left_out.get(n, 0) + 1
    if out:
        config.hook.pytest_deselected(items=list(out))
        items[:] = [i for i in items if i not in out]


def pytest_runtest_setup(item):
    lost = ' and '.join(PARTS[n][1] for n in lacking(item))
    if lost: pytest.fail(f'this machine lacks {lost}', pytrace=False)


def pytest_terminal_summary(terminalreporter):
    say = terminalreporter.write_line
    for n, k in left_out.items(): say(f'left out for want of {PARTS[n][1]}: {k} test{"s"[:k>1]}')
    for r in terminalreporter.stats.get('passed', []):
        if 'test_notebooks' in r.nodeid and r.duration > SLOW:
            say(f'slow: {r.nodeid} takes {r.duration:.0f} s')


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    left_out.update(getattr(node, 'workeroutput', {}).get('left_out', {}))


def pytest_sessionfinish(session):
    if hasattr(session.config, 'workeroutput'):  # one of several processes
        session.config.workeroutput['left_out'] = left_out
        return
    skips = session.config.pluginmanager.get_plugin('terminalreporter').stats.get('skipped', [])
    if IN_CI and skips and not session.exitstatus:
        session.exitstatus = 1
        names = ', '.join(sorted({r.nodeid for r in skips}))
        print(f'\nskipped, which CI counts as failed: {names}')
