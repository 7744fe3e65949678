"Tutorials: on Colab, their first cell brings all that they import."
import json
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from release_check import settings

pytestmark = pytest.mark.repo
WHEEL = settings((ROOT/'settings.ini').read_text(encoding='utf-8'))['DEFAULT']['requirements']
PAGES = sorted((ROOT/'nbs/tutorials').glob('*.ipynb'))
IMPORT = re.compile(r'^(?:from|import) (\w+)', re.M)
MORE = re.compile(r"^ +more = '(.+)'", re.M)


def plain(name): return re.sub(r'[-_.]+', '-', name).lower()


def with_needs(names, known=None):
    "These packages and all that they require"
    known = set() if known is None else known
    for r in map(Requirement, names):
        if plain(r.name) in known or (r.marker and not r.marker.evaluate({'extra': ''})): continue
        known.add(plain(r.name))
        try: with_needs(requires(r.name) or [], known)
        except PackageNotFoundError: pass  # of another platform
    return known


def missing(cells):
    "Modules that the code cells import, and that neither the wheel nor the first cell brings"
    first, *rest = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    assert 'pip install -q' in first, 'the first code cell installs nothing'
    named = ' '.join(MORE.findall(first))
    known, of = with_needs([*WHEEL.split(), *named.split()]), packages_distributions()
    found = {o for s in rest for o in IMPORT.findall(s)} - {'asal_nb', *sys.stdlib_module_names}
    return {m for m in found if not known & {plain(o) for o in of.get(m, [])}}


@pytest.mark.parametrize('p', PAGES, ids=lambda p: p.stem)
def test_colab_gets_what_a_page_imports(p):
    cells = json.loads(p.read_text(encoding='utf-8'))['cells']
    assert missing(cells) == set()


def test_a_missing_package_is_noticed():
    code = "get_ipython().system(f'pip install -q wheel')", 'import json, torch', 'import datasets'
    cells = [dict(cell_type='code', source=s) for s in code]
    assert missing(cells) == {'datasets'}
    cells[0]['source'] += "\n    more = 'datasets'"
    assert missing(cells) == set()
