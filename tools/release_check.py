"""Would a release work? Builds sdist and wheel from the files of git, and reads and installs them.

Installing is into an empty environment, with all that the wheel requires: a large download.
There each notebook runs alone (tools/alone.py), with the extras that pages install on Colab."""
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path
from packaging.requirements import Requirement
import alone
import run_nbs

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = 'dask', 'multi', 'app', 'peers', 'dev'
WITH_EXTRA = {'asal_nb.game.several'}   # of [multi]: fastai's own module needs accelerate
COMMANDS = {'asal-run', 'asal-compare', 'asal-report', 'asal-label'}
BUILDS = {*'settings.ini setup.py pyproject.toml README.md LICENSE asal_nb/py.typed'.split()}
ASK = '''import importlib, json, sys
from importlib.metadata import requires, version
names = sys.argv[1:]
for n in names: importlib.import_module(n)
import asal_nb
print(json.dumps([asal_nb.__version__, version('asal-nb'), asal_nb.__file__,
                  requires('asal-nb')]))'''


def tracked():
    "The files that are, or would be, committed"
    cmd = ['git', 'ls-files', '-co', '--exclude-standard', '-z']
    out = subprocess.run(cmd, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [ROOT/n for n in out.split('\0') if n and (ROOT/n).is_file()]


def build(folder):
    "Paths of (sdist, wheel) under `folder`, made from a copy of the tracked files"
    src, out = folder/'src', folder/'dist'
    for p in tracked():
        (src/p.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(p, src/p.relative_to(ROOT))
    cmd = [sys.executable, '-m', 'build', '--no-isolation', '-o', out, src]
    run = subprocess.run(cmd, capture_output=True, text=True)
    if run.returncode: sys.exit(run.stdout[-2000:] + run.stderr[-2000:])
    return next(out.glob('*.tar.gz')), next(out.glob('*.whl'))


def read(dist):
    "Name -> text of what a wheel or an sdist holds, an sdist's names without its folder"
    if dist.suffix == '.whl':
        with zipfile.ZipFile(dist) as z:
            return {n: z.read(n).decode(errors='replace') for n in z.namelist()}
    with tarfile.open(dist) as t: return {n.partition('/')[2]: '' for n in t.getnames()}


def settings(text):
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read_string(text)
    return cfg


def as_row(r, extra):
    return r.name.lower().replace('_', '-'), str(r.specifier), tuple(sorted(r.extras)), extra


def wanted():
    "The requirements of settings.ini, as (name, bounds, extras, extra)"
    cfg = settings((ROOT/'settings.ini').read_text(encoding='utf-8'))['DEFAULT']
    lists = {None: cfg['requirements']} | {e: cfg[f'{e}_requirements'] for e in EXTRAS}
    return {as_row(Requirement(o), e) for e, s in lists.items() for o in s.split()}


def extra_of(r):
    "The extra that the requirement `r` belongs to, or None"
    here = {'python_version': '3.12'}  # some are for newer Pythons only
    if r.marker: return next((e for e in EXTRAS if r.marker.evaluate(here | {'extra': e})), None)


def declared(requires):
    "The same of a list of Requires-Dist lines"
    return {as_row(r, extra_of(r)) for r in map(Requirement, requires)}


def version():
    text = (ROOT/'asal_nb/__init__.py').read_text(encoding='utf-8')
    return re.search(r'__version__ = "(.+)"', text)[1]


def modules(wheel):
    names = [n[:-3].replace('/', '.') for n in wheel if n.endswith('.py')]
    return sorted(n for n in names if n.startswith('asal_nb.') and not n.endswith('__init__'))


def faults(sdist, wheel, changelog):
    "One sentence for each thing that is wrong, of what `read` gives and the text of the changelog"
    info = {n.rpartition('/')[2]: s for n, s in wheel.items() if '.dist-info/' in n}
    meta, own = HeaderParser().parsestr(info['METADATA']), {p.relative_to(ROOT) for p in tracked()}
    expected = {'Version': version(), 'License-Expression': 'Apache-2.0',
                'Requires-Python': '>=3.10', 'Description-Content-Type': 'text/markdown'}
    for k, v in expected.items():
        if meta[k] != v: yield f'{k} is {meta[k]}, not {v}'
    top = re.search(r'^## \[?([\w.]+)', changelog, re.M)[1]
    if top != version(): yield f'the changelog begins with {top}, the version is {version()}'
    if differ := declared(meta.get_all('Requires-Dist')) ^ wanted():
        yield f'required by settings.ini or the wheel, not both: {differ}'
    if set(meta.get_all('Provides-Extra')) != set(EXTRAS): yield 'other extras than settings.ini'
    if len(meta.get_payload()) < 500: yield 'README.md is missing'
    if 'Apache License' not in info.get('LICENSE', ''): yield 'LICENSE is missing'
    if lost := BUILDS - set(sdist): yield f'the sdist lacks {lost}'
    package = {p.as_posix() for p in own if p.parts[0] == 'asal_nb'}
    if differ := {n for n in wheel if '.dist-info/' not in n} ^ package:
        yield f'in the wheel or in asal_nb/, not both: {sorted(differ)}'
    entries = settings(info['entry_points.txt'])
    if entries['nbdev']['asal_nb'] != 'asal_nb._modidx:d': yield 'nbdev does not find the index'
    yield from (f'no command {n}' for n in COMMANDS - set(entries['console_scripts']))
    for name, where in entries['console_scripts'].items():
        module, _, function = where.partition(':')
        text = wheel.get(module.replace('.', '/') + '.py', '')
        f, _, how = function.partition('.')
        before, found, _ = text.partition(f'\ndef {f}(')
        is_command = before.rpartition('\n@')[2].startswith('command')
        if how != 'command' or not found or not is_command:
            yield f'the command {name} is {where}, which does not exist'


def install(dist, *options, python=sys.executable):
    "Install a distribution file with pip, or with uv where it is, for a Python"
    tool = [shutil.which('uv'), 'pip'] if shutil.which('uv') else [sys.executable, '-m', 'pip']
    env = os.environ | {'PIP_PYTHON': str(python), 'UV_PYTHON': str(python)}
    subprocess.run([*tool, 'install', '-q', *options, dist], check=True, env=env)


def environment(folder):
    "The Python of a new, empty environment, and where its packages go"
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    py = folder/('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
    cmd = [py, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']
    return py, Path(subprocess.run(cmd, check=True, capture_output=True, text=True).stdout.strip())


def ask(py, folder, names=(), **env):
    "Import `names` outside this tree: (version, version of the metadata, file, requirements)"
    cmd = [py, '-c', ASK, *names]
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | env
    out = subprocess.run(cmd, cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout)


def main():
    with tempfile.TemporaryDirectory() as d:
        sdist, wheel = build(Path(d))
        held = read(wheel)
        changelog = (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')
        if bad := list(faults(read(sdist), held, changelog)): sys.exit('\n'.join(bad))
        py, site = environment(Path(d)/'env')
        install(wheel, '--target', site)
        names = [n for n in modules(held) if n not in WITH_EXTRA]
        here, meta, where, _ = ask(py, d, names)
        if not here == meta == version() or Path(d).resolve() not in Path(where).resolve().parents:
            sys.exit(f'installed is {here} (metadata {meta}) at {where}')
        print(f'asal-nb {here}: {len(names)} modules import, nothing is missing')
        install(f'{wheel}[{",".join(alone.EXTRAS)}]', *alone.COLAB, python=py)
        if alone.run_alone(py, run_nbs.notebooks()): sys.exit(1)


if __name__ == '__main__': main()
