"Every notebook runs under nbdev's rules (`#| eval: false`, `tst_flags`), on the exported modules."
import os
import matplotlib
import matplotlib.pyplot as plt
import pytest
import fastai.torch_core  # noqa: F401  it changes how fastcore compares tensors, for all chapters
from conftest import ROOT
from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import NBProcessor
from nbdev.processors import _default_exp
from nbdev.test import _skip_cell

pytestmark = pytest.mark.repo
cfg = get_config()
# NB_FLAGS="slow cuda" runs those too
FLAGS = set(cfg.tst_flags.split()) - set(os.environ.get('NB_FLAGS', '').split())
EXPORTS = {'export', 'exports', 'exporti'}
FROM_MODULE = '''import importlib as _i
_m = vars(_i.import_module('{}'))
globals().update({{k: v for k, v in _m.items() if not k.startswith('__')}})'''


def use_module(nb):
    "Replace exported cells by the names of the module: the cells after them test the library"
    if not (name := _default_exp(nb)): return
    source = FROM_MODULE.format(f'{cfg.lib_path.name}.{name}')
    for c in nb.cells:
        if c.cell_type == 'code' and EXPORTS & set(c.directives_): c.source, source = source, ''


@pytest.fixture
def shell(request, monkeypatch):
    "A shell for the notebook, in its folder; nothing of it stays behind"
    nb = request.getfixturevalue('nb')
    monkeypatch.chdir(nb.parent)
    matplotlib.rcdefaults()
    shell = CaptureShell(nb, mpl_format='png')
    yield shell
    plt.close('all')
    shell.close()


def name_of(p): return p.relative_to(ROOT/'nbs').with_suffix('').as_posix()


@pytest.mark.parametrize('nb', sorted(nbglob(as_path=True)), ids=name_of)
def test_notebook(nb, shell):
    book = NBProcessor(nb, rm_directives=False, process=True).nb
    use_module(book)
    try: shell.run_all(book, exc_stop=True, preproc=_skip_cell(book, FLAGS))
    except Exception: pytest.fail(shell.prettytb(fname=nb), pytrace=False)
