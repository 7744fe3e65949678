"Modules and notebooks are in sync and clean, README.md and the sidebar up to date: and the checks can say no."
import json
import os
import subprocess
import sys
import build_docs
import check_sync
import make_readme
import pytest
import run_nbs
from conftest import ROOT
from fastcore.nbio import new_nb, mk_cell, write_nb
from nbdev.config import get_config

pytestmark = pytest.mark.repo


@pytest.fixture
def tree(tmp_path): return check_sync.copy(ROOT, tmp_path/'tree')


def edit(p, old, new):
    s = p.read_text(encoding='utf-8')
    assert old in s
    p.write_text(s.replace(old, new, 1), encoding='utf-8')


def test_in_sync_and_clean(): assert list(check_sync.report()) == []


def test_an_edited_module_is_out_of_sync(tree):
    edit(tree/'asal_nb/core.py', 'def rng(', 'def rgn(')
    assert 'asal_nb/core.py' in check_sync.changed_by(check_sync.EXPORT, tree)


def test_an_edited_notebook_is_out_of_sync(tree):
    edit(tree/'nbs/00_core.ipynb', 'def rng(', 'def rgn(')
    assert 'asal_nb/core.py' in check_sync.changed_by(check_sync.EXPORT, tree)


def test_execution_counts_are_not_clean(tree):
    edit(tree/'nbs/00_core.ipynb', '"execution_count": null', '"execution_count": 3')
    assert 'nbs/00_core.ipynb' in check_sync.changed_by(check_sync.CLEAN, tree)


def test_each_module_has_its_notebook():
    modules = {p.stem for p in (ROOT/'asal_nb').glob('[!_]*.py')}
    made = {p.stem.split('_', 1)[1] for p in (ROOT/'nbs').glob('[0-9]*.ipynb')}
    assert modules <= made, f'modules that no notebook exports: {modules - made}'


def test_the_sidebar_lists_every_notebook():
    build_docs.sidebar(ROOT/'_quarto.yml', ROOT/'nbs')  # stops with a sentence where it does not


def test_the_sidebar_check_can_fail(tmp_path):
    (tmp_path/'nbs').mkdir()
    (tmp_path/'nbs/index.ipynb').touch()
    cases = {'': 'not in the sidebar', 'index.ipynb, a.ipynb': 'not under nbs/: a', 'index.ipynb, index.ipynb': 'twice'}
    for n, said in cases.items():
        (tmp_path/'_quarto.yml').write_text(f'website: {{sidebar: {{contents: [{n}]}}}}')
        with pytest.raises(SystemExit, match=said): build_docs.sidebar(tmp_path/'_quarto.yml', tmp_path/'nbs')


def test_readme_is_the_index():
    old = make_readme.stale(ROOT, make_readme.render(get_config()))
    assert not old, f'out of date: {old}; run tools/make_readme.py'


def test_an_old_readme_is_noticed(tmp_path):
    (tmp_path/'index_files').mkdir()
    for n in ('README.md', 'index_files/a.png', 'index_files/b.png'): (tmp_path/n).write_bytes(b'old')
    files = {'README.md': b'new', 'index_files/a.png': b'old'}
    assert make_readme.stale(tmp_path, files) == ['README.md', 'index_files/b.png']


def test_the_link_to_quarto_yml(): assert (ROOT/'nbs/_quarto.yml').read_bytes() == (ROOT/'_quarto.yml').read_bytes()


OUTPUTS = {'a warning': 'UserWarning: no', 'a path of this machine': f'{ROOT}/nbs', 'a timing': '<th>time</th>',
           'an object address': '<o at 0x7f00deadbeef>', 'a progress bar': '<progress value=1>'}


@pytest.mark.parametrize('what', OUTPUTS)
def test_an_output_is_refused(what):
    nb = dict(cells=[dict(id='a', outputs=[dict(output_type='stream', name='stdout', text=OUTPUTS[what])])])
    assert what in {w for _, w, _ in run_nbs.faults(nb)}


@pytest.mark.parametrize('p', sorted((ROOT/'nbs').rglob('[!_.]*.ipynb')), ids=lambda p: p.stem)
def test_stored_outputs(p):
    bad = list(run_nbs.faults(json.loads(p.read_text(encoding='utf-8'))))
    assert not bad, bad


def test_outputs_come_from_one_thread(tmp_path):
    p = tmp_path/'a.ipynb'
    write_nb(new_nb([mk_cell('import torch\ntorch.get_num_threads()')]), p)
    subprocess.run([sys.executable, ROOT/'tools/run_nbs.py', p], check=True, env={**os.environ, 'OMP_NUM_THREADS': '2'})
    out, = json.loads(p.read_text(encoding='utf-8'))['cells'][0]['outputs']
    assert out['data']['text/plain'] == ['1']
