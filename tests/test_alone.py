"tools/alone.py: a notebook runs where nothing of this tree is, and its first fault is named."
import sys
import nbformat
import pytest
import alone


@pytest.fixture(scope='module', autouse=True)
def kernel(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setenv('JUPYTER_PATH', '')
        m.setenv('ASAL_SLOW', '1')
        alone.add_kernel(sys.executable, tmp_path_factory.mktemp('jupyter'))
        yield


def fault_of(folder, *sources):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(s, id=f'c{i}') for i, s in enumerate(sources)]
    nbformat.write(nb, folder/'a.ipynb')
    return alone.fault(folder/'a.ipynb')


def test_a_page_runs_in_an_empty_folder(tmp_path):
    "Flagged cells run too, and nothing tells them to be slow."
    flagged = '#| eval: false\nx = 1', '#| slow\nx += 1', 'assert x == 2'
    empty = 'import os; assert not os.listdir() and "ASAL_SLOW" not in os.environ'
    assert fault_of(tmp_path, empty, *flagged) == ''


@pytest.mark.parametrize('source, said', [
    ('open("../results/digits.xz")', 'cell c1: FileNotFoundError'),
    ('import sys; print("epoch", file=sys.stderr)', 'cell c1 prints in red'),
    ('import nbdev_of_nobody', 'cell c1: ModuleNotFoundError')])
def test_the_first_fault_is_named(tmp_path, source, said):
    assert fault_of(tmp_path, 'x = 1', source, '1/0').startswith(said)
