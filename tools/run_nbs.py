"""Execute notebooks by nbdev's rules, each in a kernel of its own, as a reader does; store outputs
and widget state.

tools/run_nbs.py [--flags "slow cuda"] [notebook ...]   all unless named; flagged cells run too"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = 'application/vnd.jupyter.widget-state+json'
DPI = 96
FOLDERS = {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir()}
HERE = '|'.join(map(re.escape, sorted(FOLDERS)))
REFUSED = {'a warning':              re.compile(r'\b\w*Warning\b'),
           'a path of this machine': re.compile(rf'(?:{HERE})\b'),
           'an object address':      re.compile(r'\bat 0x[0-9a-f]{6,}'),
           'a progress bar':         re.compile(r'<progress|\r|█'),
           'a timing':               re.compile(r'<th>time</th>|\btime\s*\n')}


def texts(output):
    "The parts of `output` that a reader sees as text"
    data = output.get('data', {})
    yield from (join(v) for k, v in data.items() if k.startswith('text/'))
    yield join(output.get('text', ''))


def join(s): return ''.join(s) if isinstance(s, list) else str(s)


def faults(nb):
    "What must not be stored: (cell id, what is wrong, where it begins)"
    for c in nb['cells']:
        for o in c.get('outputs', []):
            if o['output_type'] == 'error': yield c['id'], 'an error', o.get('ename', '')
            if o.get('name') == 'stderr': yield c['id'], 'stderr', join(o['text'])[:200]
            for t in texts(o):
                for what, pat in REFUSED.items():
                    if m := pat.search(t):
                        yield c['id'], what, t[max(0, m.start()-60):m.end()+60].strip()


def plain_ids(state):
    "Numbers for the random ids of widgets, so that each run stores the same bytes; and their state"
    names = {k: f'{i:032x}' for i, k in enumerate(state['state'])}
    return names, rename(state, names)


def rename(o, names):
    "`o` with every occurrence of the keys of `names` in its JSON replaced"
    if not names: return o
    return json.loads(re.sub('|'.join(names), lambda m: names[m[0]], json.dumps(o)))


def store_widgets(nb, state):
    "Keep the widgets' state in the notebook, or none where there are no widgets"
    nb['metadata'].pop('widgets', None)
    if not state['state']: return nb
    names, state = plain_ids(state)
    nb['metadata']['widgets'] = {STATE: state}
    for c in nb['cells']:
        if c.get('outputs'): c['outputs'] = rename(c['outputs'], names)
    return nb


# theirs, not the reader's
SETUP = f'''
import warnings
warnings.filterwarnings('ignore', module=r'(torch|torchvision|fastai|fastcore)\\b')
from matplotlib_inline.backend_inline import set_matplotlib_formats
set_matplotlib_formats('png')
import matplotlib
matplotlib.rcParams.update({{'figure.dpi': {DPI}, 'savefig.dpi': {DPI}}})
'''

WIDGETS = '''
import json
from ipywidgets import Widget
print(json.dumps(Widget.get_manager_state(drop_defaults=True)))
'''


def skipped(p, flags):
    "Of each cell of the notebook at `p`: is it left out by nbdev's rules?"
    from nbdev.config import get_config
    from nbdev.process import NBProcessor
    from nbdev.test import _skip_cell
    nb = NBProcessor(p, rm_directives=False, process=True).nb
    skip = _skip_cell(nb, set(get_config().tst_flags.split()) - set(flags))
    return [bool(skip(c)) for c in nb.cells]


def execute(p, flags=()):
    "The notebook at `p`, run by a kernel as a reader runs it, and the state of its widgets"
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    nb = nbformat.read(p, as_version=4)
    skip = skipped(p, flags)
    client = NotebookClient(nb, timeout=None, kernel_name='python3', record_timing=False,
                            coalesce_streams=True)  # lines of one stream stay one output

    def ours(source):
        "What a cell that is not the notebook's prints"
        nb.cells.append(nbformat.v4.new_code_cell(source))
        client.execute_cell(nb.cells[-1], len(nb.cells) - 1, store_history=False)
        return ''.join(join(o.text) for o in nb.cells.pop().outputs)
    try:
        with client.setup_kernel(cwd=p.parent):
            ours(SETUP)
            for i, c in enumerate(nb.cells):
                if not skip[i]: client.execute_cell(c, i)
            return nb, json.loads(ours(WIDGETS))
    except CellExecutionError as e: sys.exit(f'{p.name}: {e}')


def run(p, flags=()):
    "Execute the notebook at `p` and store it, unless an output holds what no reader should see"
    from fastcore.nbio import dict2nb, nb2dict, write_nb
    from nbdev.clean import clean_nb
    from nbformat.v4.rwbase import split_lines
    os.environ |= dict(SOURCE_DATE_EPOCH='0',   # no dates in pictures
                       OMP_NUM_THREADS='1')     # the last digits of what is stored depend on it
    if 'slow' in flags: os.environ['ASAL_SLOW'] = '1' # a reader's own run leaves studies alone
    os.chdir(p.parent)
    nb, state = execute(p, flags)
    nb = dict2nb(split_lines(nb))
    clean_nb(nb)
    nb = nb2dict(nb)
    store_widgets(nb, state)
    bad = [f'{p.name}, cell {i}: its output holds {what}: {s!r}' for i, what, s in faults(nb)]
    if bad: sys.exit('\n'.join(bad))
    write_nb(nb, p)


def notebooks():
    "All notebooks of the book, in its order"
    ps = sorted((ROOT/'nbs').rglob('[!_.]*.ipynb'), key=lambda p: p.name)
    return [p for p in ps if '.ipynb_checkpoints' not in p.parts]


def find(name):
    "The notebook called `name`: a path, or a name under nbs/ with or without its suffix"
    p = Path(name)
    if p.suffix == '.ipynb' and p.exists(): return p.resolve()
    for q in notebooks():
        if name in (q.stem, q.name): return q
    sys.exit(f'there is no notebook {name!r} under nbs/')


def flagged(ps, flags):
    "The notebooks among `ps` with a cell that bears one of `flags`"
    pat = re.compile(rf'"#\| *({"|".join(flags)})\b')
    return [p.stem for p in ps if flags and pat.search(p.read_text(encoding='utf-8'))]


def arguments():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('notebooks', nargs='*', type=find, help='paths, or names under nbs/')
    flags = 'flags whose cells run too: "slow cuda"'
    names = 'only name the notebooks that have such cells'
    a.add_argument('--flags', type=str.split, default=[], help=flags)
    a.add_argument('--list', action='store_true', help=names)
    return a.parse_args()


def main():
    a = arguments()
    ps = a.notebooks or notebooks()
    if a.list:
        sys.exit(f'these notebooks have such cells: {", ".join(flagged(ps, a.flags)) or "none"}')
    if len(ps) == 1: return run(ps[0], a.flags)
    for p in ps:
        t, flags = time.time(), f'--flags={" ".join(a.flags)}'
        subprocess.run([sys.executable, __file__, flags, str(p)], check=True)
        print(f'{p.name}: {time.time()-t:.1f} s', flush=True)


if __name__ == '__main__': main()
