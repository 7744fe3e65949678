"Wheel and sdist, built from a copy of this tree: the requirements of settings.ini, installed where nothing of it is."
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path
import pytest
from conftest import ROOT, tracked
from packaging.requirements import Requirement
import asal_nb

pytestmark = pytest.mark.repo
EXTRAS = 'dask', 'multi', 'app', 'dev'
ASK = '''import json, sys
from importlib.metadata import distribution, version
import asal_nb
d = distribution('asal-nb')
print(json.dumps([asal_nb.__version__, version('asal-nb'), asal_nb.__file__, sorted(d.requires)]))'''


def settings():
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read_string((ROOT/'settings.ini').read_text(encoding='utf-8'))
    return cfg['DEFAULT']


def wanted():
    "The requirements of settings.ini, as (name, bounds, extra)"
    cfg = settings()
    lists = {None: cfg['requirements']} | {e: cfg[f'{e}_requirements'] for e in EXTRAS}
    return {as_row(Requirement(o), e) for e, s in lists.items() for o in s.split()}


def as_row(r, extra): return r.name.lower().replace('_', '-'), str(r.specifier), tuple(sorted(r.extras)), extra


def declared(requires):
    "The same of a list of Requires-Dist lines"
    here = {'python_version': '3.12'}  # some are for newer Pythons only
    for r in map(Requirement, requires):
        extra = next((e for e in EXTRAS if r.marker and r.marker.evaluate(here | {'extra': e})), None)
        yield as_row(r, extra)


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "Paths of (sdist, wheel); the wheel is made from the sdist"
    src, out = tmp_path_factory.mktemp('src'), tmp_path_factory.mktemp('dist')
    for p in tracked():
        (src/p.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(p, src/p.relative_to(ROOT))
    cmd = [sys.executable, '-m', 'build', '--no-isolation', '-o', out, src]
    run = subprocess.run(cmd, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return next(out.glob('*.tar.gz')), next(out.glob('*.whl'))


@pytest.fixture(scope='module')
def wheel(built):
    "Name -> text of what the wheel holds"
    with zipfile.ZipFile(built[1]) as z: return {n: z.read(n).decode() for n in z.namelist()}


def part(wheel, end): return next(s for n, s in wheel.items() if n.endswith(end))


def test_requirements(wheel):
    meta = HeaderParser().parsestr(part(wheel, 'METADATA'))
    assert set(declared(meta.get_all('Requires-Dist'))) == wanted()
    assert set(meta.get_all('Provides-Extra')) == set(EXTRAS)


def test_a_lost_requirement_is_noticed(): assert set(declared(['torch>=2.6', 'voila; extra == "app"'])) < wanted()


def test_metadata(wheel):
    meta = HeaderParser().parsestr(part(wheel, 'METADATA'))
    assert meta['Version'] == asal_nb.__version__ and meta['Requires-Python'] == '>=3.10'
    assert meta['License-Expression'] == 'Apache-2.0' and 'Apache License' in part(wheel, 'LICENSE')
    assert meta['Description-Content-Type'] == 'text/markdown' and len(meta.get_payload()) > 500, 'README.md is missing'


def test_the_wheel_holds_the_package_alone(wheel):
    own = {f'asal_nb/{p.name}' for p in (ROOT/'asal_nb').glob('*') if p.suffix == '.py' or p.name == 'py.typed'}
    assert {n for n in wheel if '.dist-info/' not in n} == own


def test_entry_points(wheel):
    s = ConfigParser()
    s.read_string(part(wheel, 'entry_points.txt'))
    assert s['nbdev']['asal_nb'] == 'asal_nb._modidx:d'
    for name, where in s['console_scripts'].items():
        module, _, function = where.partition(':')
        text = wheel.get(module.replace('.', '/') + '.py', '')
        f, _, how = function.partition('.')
        there = how == 'command' and f'@command\ndef {f}(' in text
        assert there, f'the command {name} is {where}, which does not exist'


def test_the_sdist_can_build(built):
    with tarfile.open(built[0]) as t: names = {n.partition('/')[2] for n in t.getnames()}
    assert {'settings.ini', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'asal_nb/py.typed'} <= names


@pytest.mark.parametrize('kind', [0, 1], ids=['sdist', 'wheel'])
def test_it_installs_where_nothing_is(built, kind, tmp_path):
    "Into a new environment, without its requirements: the package, its version and its metadata are there"
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path/'env'], check=True)
    py = next(tmp_path.glob('env/bin/python')) if sys.platform != 'win32' else tmp_path/'env/Scripts/python.exe'
    site = subprocess.run([py, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
                          check=True, capture_output=True, text=True).stdout.strip()
    install(built[kind], site)
    out = subprocess.run([py, '-I', '-c', ASK], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    here, meta, where, requires = json.loads(out)
    assert here == meta == asal_nb.__version__ and Path(where).is_relative_to(Path(site).resolve())
    assert set(declared(requires)) == wanted()


def test_each_module_of_the_wheel_imports(built, tmp_path):
    "With the requirements of this environment, but none of this tree"
    install(built[1], tmp_path/'site')
    names = [p.stem for p in (ROOT/'asal_nb').glob('*.py') if p.stem != '__init__']
    code = '; '.join(f'import asal_nb.{n}' for n in names) + '; print(asal_nb.__file__)'
    env = os.environ | {'PYTHONPATH': str(tmp_path/'site')}
    cmd = [sys.executable, '-c', code]
    out = subprocess.run(cmd, cwd=tmp_path, env=env, check=True, stdout=subprocess.PIPE, text=True)
    assert Path(out.stdout.strip()).parent == tmp_path/'site/asal_nb'


def install(dist, site):
    "Install a distribution file, without its requirements, into the folder `site`"
    tool = [shutil.which('uv'), 'pip'] if shutil.which('uv') else [sys.executable, '-m', 'pip']
    subprocess.run([*tool, 'install', '-q', '--no-deps', '--no-build-isolation', '--target', site, dist], check=True)
