"""Are modules and notebooks in sync, are notebooks clean? Looked up on a copy of the tree.

Fails with the names of the files that nbdev-export (or nbdev-clean) would change."""
import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__', 'models')
KEPT = 'nbs asal_nb pyproject.toml settings.ini setup.py _quarto.yml README.md'.split()
# nbdev.yml is made from pyproject.toml; Quarto wants it beside the notebooks
EXPORT = '''import nbdev
from nbdev.quarto import refresh_quarto_yml
nbdev.nbdev_export.__wrapped__()
refresh_quarto_yml()'''
CLEAN = 'from nbdev.clean import nbdev_clean as f; f.__wrapped__()'


def copy(root, to):
    "What nbdev reads and writes of `root`, in the empty folder `to`"
    to.mkdir()
    for n in KEPT:
        if (root/n).is_dir(): shutil.copytree(root/n, to/n, symlinks=True, ignore=LEFT_OUT)
        elif (root/n).exists(): shutil.copy2(root/n, to/n)
    return to


def files(root):
    "What export and clean may change, relative to `root`"
    found = [p for d in ('nbs', 'asal_nb') for p in (root/d).rglob('*') if p.is_file()]
    return {p.relative_to(root) for p in found}


def same(a, b): return a.exists() and b.exists() and filecmp.cmp(a, b, shallow=False)


def changed_by(code, root):
    "Files that differ after `code` has run in a copy of `root`"
    with tempfile.TemporaryDirectory() as d:
        was, now = copy(root, Path(d)/'was'), copy(root, Path(d)/'now')
        env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
        env |= {'PYTHONPATH': str(now), 'HOME': d}
        cmd = [sys.executable, '-c', code]
        subprocess.run(cmd, cwd=now, env=env, check=True, stdout=subprocess.DEVNULL)
        return sorted(p.as_posix() for p in files(was) | files(now) if not same(was/p, now/p))


def orphans(root):
    "Modules that no notebook exports: export leaves them where they are"
    nbs = (root/'nbs').rglob('[!_.]*.ipynb')
    text = '\n'.join(p.read_text(encoding='utf-8') for p in nbs)
    made = {o.replace('.', '/') + '.py' for o in re.findall(r'#\| *default_exp ([\w.]+)', text)}
    for p in sorted((root/'asal_nb').rglob('[!_]*.py')):
        name = p.relative_to(root/'asal_nb').as_posix()
        if name not in made: yield f'asal_nb/{name}'


def report(root=ROOT):
    "One sentence for each thing that is wrong"
    if bad := changed_by(EXPORT, root): yield f'out of sync: {", ".join(bad)}; run nbdev-export'
    if bad := changed_by(CLEAN, root): yield f'not clean: {", ".join(bad)}; run nbdev-clean'
    if bad := list(orphans(root)): yield f'no notebook exports {", ".join(bad)}; delete them'


if __name__ == '__main__':
    bad = list(report())
    sys.exit('\n'.join(bad) if bad else print('modules in sync, notebooks clean'))
