"Every notebook in nbs/ runs under nbdev's own rules (`#| eval: false`, `tst_flags`), against the exported module."
import os
import matplotlib
import matplotlib.pyplot as plt
import pytest
import fastai.torch_core  # noqa: F401  it changes how fastcore compares tensors: for every chapter, whatever the order
from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import NBProcessor
from nbdev.processors import _default_exp
from nbdev.test import _skip_cell

pytestmark = pytest.mark.repo
cfg = get_config()
FLAGS = set(cfg.tst_flags.split()) - set(os.environ.get('NB_FLAGS', '').split())  # NB_FLAGS="slow cuda" runs those too
EXPORTS = {'export', 'exports', 'exporti'}
FROM_MODULE = 'import {0} as _m; globals().update({{k: v for k, v in vars(_m).items() if not k.startswith("__")}})'


def use_module(nb):
    "Replace exported cells by the exported names, so that the cells after them test (and cover) the library itself"
    if not (name := _default_exp(nb)): return
    source = FROM_MODULE.format(f'{cfg.lib_path.name}.{name}')
    for c in nb.cells:
        if c.cell_type == 'code' and EXPORTS & set(c.directives_): c.source, source = source, ''


@pytest.fixture
def shell(request, monkeypatch):
    "A shell for the notebook, in its folder; nothing of it stays behind"
    nb = request.getfixturevalue('nb')
    monkeypatch.chdir(nb.parent)
    monkeypatch.setenv('IN_TEST', '1')
    matplotlib.rcdefaults()
    shell = CaptureShell(nb, mpl_format='png')
    yield shell
    plt.close('all')
    shell.close()


@pytest.mark.parametrize('nb', sorted(nbglob(as_path=True)), ids=lambda p: p.stem)
def test_notebook(nb, shell):
    book = NBProcessor(nb, rm_directives=False, process=True).nb
    use_module(book)
    try: shell.run_all(book, exc_stop=True, preproc=_skip_cell(book, FLAGS))
    except Exception: pytest.fail(shell.prettytb(fname=nb), pytrace=False)
