"The front page: what it shows is what runs, and PyPI can show its pictures."
import json
import re
import make_readme
import pytest
from conftest import ROOT
from nbdev.config import get_config

pytestmark = pytest.mark.repo


def cells(kind):
    "The sources of the front page's cells of a kind, in order"
    book = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))
    return [''.join(c['source']) for c in book['cells'] if c['cell_type'] == kind]


def test_the_six_lines_run_as_they_stand():
    shown = re.search(r'```python\n(.*?)\n```', '\n'.join(cells('markdown')), re.S)[1]
    run = '\n'.join(re.sub(r'^#\|.*\n', '', o, flags=re.M) for o in cells('code'))
    assert len(shown.splitlines()) == 6 and shown in run


def test_pictures_on_pypi_have_whole_addresses():
    readme = make_readme.for_pypi((ROOT/'README.md').read_text(encoding='utf-8'), get_config())
    found = re.findall(r'!\[[^\]]*\]\(([^)]+)\)', readme)
    assert found and all(o.startswith('https://raw.githubusercontent.com/') for o in found)
    for o in found: assert (ROOT/o.partition('/main/')[2]).exists()
