"Modules, notebooks, README.md and sidebar are in sync, and outputs clean: checks that can say no."
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
NBS = ROOT/'nbs'
TURNS, NB, CORE = 'asal_nb/game/turns.py', 'nbs/game/24_turns.ipynb', 'nbs/01_core.ipynb'
EDITS = [(TURNS, 'class ', 'class Un', check_sync.EXPORT, TURNS),
         (NB, 'class ', 'class Un', check_sync.EXPORT, TURNS),
         (CORE, '"execution_count": null', '"execution_count": 3', check_sync.CLEAN, CORE)]
OUTPUTS = {
    'a warning': 'UserWarning: no', 'a path of this machine': f'{ROOT}/nbs',
    'a timing': '<th>time</th>', 'an object address': '<o at 0x7f00deadbeef>',
    'a progress bar': '<progress value=1>'}
SIDEBARS = {
    '': 'not in the sidebar', 'index.ipynb, a.ipynb': 'not under nbs/: a',
    'index.ipynb, index.ipynb': 'twice'}


def test_in_sync_and_clean(): assert list(check_sync.report()) == []


@pytest.mark.parametrize('edited, old, new, code, changed', EDITS)
def test_an_edit_is_noticed(edited, old, new, code, changed, tmp_path):
    tree = check_sync.copy(ROOT, tmp_path/'tree')
    s = (tree/edited).read_text(encoding='utf-8')
    assert old in s
    (tree/edited).write_text(s.replace(old, new, 1), encoding='utf-8')
    assert changed in check_sync.changed_by(code, tree)


def test_a_module_without_a_notebook_is_noticed(tmp_path):
    tree = check_sync.copy(ROOT, tmp_path/'tree')
    (tree/'asal_nb/game/lost.py').touch()
    assert list(check_sync.orphans(tree)) == ['asal_nb/game/lost.py']


def test_the_sidebar_lists_every_notebook():
    build_docs.sidebar(ROOT/'_quarto.yml', NBS)  # stops with a sentence where it does not


@pytest.mark.parametrize('names', SIDEBARS)
def test_the_sidebar_check_can_fail(names, tmp_path):
    (tmp_path/'nbs').mkdir()
    (tmp_path/'nbs/index.ipynb').touch()
    (tmp_path/'_quarto.yml').write_text(f'website: {{sidebar: {{contents: [{names}]}}}}')
    with pytest.raises(SystemExit, match=SIDEBARS[names]):
        build_docs.sidebar(tmp_path/'_quarto.yml', tmp_path/'nbs')


def test_readme_is_the_index():
    old = make_readme.stale(ROOT, make_readme.render(get_config()))
    assert not old, f'out of date: {old}; run tools/make_readme.py'


def test_an_old_readme_is_noticed(tmp_path):
    (tmp_path/'index_files').mkdir()
    for n in ('README.md', 'index_files/a.png', 'index_files/b.png'):
        (tmp_path/n).write_bytes(b'old')
    files = {'README.md': b'new', 'index_files/a.png': b'old'}
    assert make_readme.stale(tmp_path, files) == ['README.md', 'index_files/b.png']


def test_the_link_to_quarto_yml():
    assert (NBS/'_quarto.yml').read_bytes() == (ROOT/'_quarto.yml').read_bytes()


@pytest.mark.parametrize('what', OUTPUTS)
def test_an_output_is_refused(what):
    output = dict(output_type='stream', name='stdout', text=OUTPUTS[what])
    nb = dict(cells=[dict(id='a', outputs=[output])])
    assert what in {w for _, w, _ in run_nbs.faults(nb)}


@pytest.mark.parametrize('p', run_nbs.notebooks(), ids=lambda p: p.relative_to(NBS).as_posix())
def test_stored_outputs(p):
    bad = list(run_nbs.faults(json.loads(p.read_text(encoding='utf-8'))))
    assert not bad, bad


def test_outputs_come_from_one_thread(tmp_path):
    p = tmp_path/'a.ipynb'
    write_nb(new_nb([mk_cell('import torch\ntorch.get_num_threads()')]), p)
    cmd, env = [sys.executable, ROOT/'tools/run_nbs.py', p], os.environ | {'OMP_NUM_THREADS': '2'}
    subprocess.run(cmd, check=True, env=env)
    out, = json.loads(p.read_text(encoding='utf-8'))['cells'][0]['outputs']
    assert out['data']['text/plain'] == ['1']
