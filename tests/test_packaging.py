"Wheel and sdist: what they hold and require, installed where nothing of this tree is."
import sys
from pathlib import Path
import pytest
import release_check as rc
import asal_nb

pytestmark = pytest.mark.repo
LOG = '# Changelog\n\n## {}\n'


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "Paths of (sdist, wheel)"
    return rc.build(tmp_path_factory.mktemp('build'))


@pytest.fixture(scope='module')
def held(built):
    "What they hold"
    return tuple(map(rc.read, built))


def test_nothing_is_wrong(held):
    changelog = (rc.ROOT/'CHANGELOG.md').read_text(encoding='utf-8')
    assert list(rc.faults(*held, changelog)) == []
    assert rc.version() == asal_nb.__version__ and len(rc.modules(held[1])) > 40


CHANGES = {
    'METADATA': ('Requires-Dist: torch', 'Requires-Dist: tensorflow', 'required by settings.ini'),
    'cli.py': ('def asal_run(', 'def asal_walk(', 'asal-run is asal_nb.apps.cli:asal_run.command'),
    'entry_points.txt': ('asal-report', 'asal-reports', 'no command asal-report'),
    'LICENSE': ('Apache License', '', 'LICENSE is missing')}


@pytest.mark.parametrize('end', CHANGES)
def test_a_changed_file_is_noticed(held, end):
    old, new, said = CHANGES[end]
    name = next(n for n in held[1] if n.endswith('/' + end))
    assert old in held[1][name]
    wheel = held[1] | {name: held[1][name].replace(old, new)}
    assert any(said in o for o in rc.faults(held[0], wheel, LOG.format(rc.version())))


def test_lost_files_and_old_versions_are_noticed(held):
    sdist, wheel = [{k: v for k, v in o.items() if not k.endswith('py.typed')} for o in held]
    said = '\n'.join(rc.faults(sdist, wheel, LOG.format('0.0.0')))
    for o in ('the sdist lacks', "not both: ['asal_nb/py.typed']", 'changelog begins with 0.0.0'):
        assert o in said


@pytest.mark.parametrize('kind', [0, 1], ids=['sdist', 'wheel'])
def test_it_installs_where_nothing_is(built, kind, tmp_path):
    "Into a new environment, without its requirements: the package, its version, its metadata"
    py, site = rc.environment(tmp_path/'env')
    rc.install(built[kind], '--no-deps', '--no-build-isolation', '--target', site)
    here, meta, where, requires = rc.ask(py, tmp_path)
    assert here == meta == asal_nb.__version__ and Path(where).is_relative_to(site.resolve())
    assert rc.declared(requires) == rc.wanted()


def test_each_module_of_the_wheel_imports(built, held, tmp_path):
    "With the requirements of this environment, but none of this tree"
    site = tmp_path/'site'
    rc.install(built[1], '--no-deps', '--no-build-isolation', '--target', site)
    where = rc.ask(sys.executable, tmp_path, rc.modules(held[1]), PYTHONPATH=str(site))[2]
    assert Path(where).parent == site/'asal_nb'
