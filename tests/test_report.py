"The page of a study: it needs nothing but itself, in a real browser, in light and in dark."
import os
import re
import subprocess
import sys
import warnings

import pytest
from conftest import chromium
from test_compare import PLAN, TINY, Ends

import asal_nb.study.page  # noqa: F401 (adds Study.report)
from asal_nb.data.pool import Pool
from asal_nb.data.images import get_data
from asal_nb.data.loaders import asal_dls
from asal_nb.game.learner import asal_learner
from asal_nb.study.compare import compare

EVIL = '<img src=x onerror=alert(1)> & "b"'
RUN = (
    'import sys; from asal_nb.apps.cli import asal_report; sys.argv[0] = "asal-report";'
    ' asal_report.command()')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A study with an arm whose name is markup, its ledger, and its page with all that it can have"
    at, data = tmp_path_factory.mktemp('report'), get_data('digits')
    arms, plan = {'ends': Ends(TINY), EVIL: Ends(TINY)}, dict(PLAN, ledger=at/'study.db')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # fewer than five seeds
        s = compare(arms, data, range(3), 'sequential', quiet=True, **plan)
    pool = Pool(len(data), 10)
    pool.label(range(20), data.oracle(range(20)))
    learn = asal_learner(asal_dls(data, pool, 16))
    learn.fit(1)
    return s, at/'study.db', s.report(at/'page.html', data, learn, title=EVIL)


def test_names_are_escaped_and_nothing_is_fetched(made):
    text = made[2].read_text(encoding='utf-8')
    assert '<img src=x' not in text and '<script' not in text
    assert 'http' not in re.sub('data:image/png[^"]*', '', text)
    assert set(re.findall(r'(?:src|href)="([^",]*)', text)) == {'data:', 'data:image/png;base64'}
    assert 'url(' not in text and '@import' not in text
    assert text.index('<table') < text.index('<img')
    alts = re.findall('<img alt="([^"]*)"', text)
    assert len(alts) == text.count('<img') == 9
    assert all(len(o) > 10 for o in alts) and len(set(alts)) == len(alts)


def luminance(page, what):
    rgb = page.evaluate(f'getComputedStyle(document.body).{what}')
    return sum(map(int, re.findall(r'\d+', rgb)[:3]))/3


@pytest.mark.needs('chromium')
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_in_a_browser(made, scheme):
    "No error, no request, all pictures drawn, no sideways scrolling on a phone, enough contrast."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium(), args=['--no-sandbox', '--disable-gpu'])
        page = b.new_page(viewport=dict(width=390, height=800), color_scheme=scheme)
        said, asked = [], []
        page.on('console', lambda m: said.append(m.text))
        page.on('pageerror', lambda e: said.append(str(e)))
        page.on('dialog', lambda d: (said.append(d.message), d.dismiss()))
        page.on('request', lambda r: asked.append(r.url))
        page.goto(made[2].as_uri())
        assert said == [] and [o for o in asked if not o.startswith('data:')] == [made[2].as_uri()]
        assert page.evaluate('[...document.images].every(i => i.complete && i.naturalWidth > 100)')
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
        assert page.locator('h1').inner_text() == EVIL and page.locator('img').count() == 9
        ink, paper = luminance(page, 'color'), luminance(page, 'backgroundColor')
        assert (ink < 60 and paper > 240) if scheme == 'light' else (ink > 200 and paper < 40)
        b.close()


def command(*args):
    cmd = [sys.executable, '-W', 'ignore', '-c', RUN, *map(str, args)]
    p = subprocess.run(cmd, capture_output=True, text=True, env=os.environ | {'MPLBACKEND': 'agg'})
    return p.returncode, p.stdout, p.stderr


def test_the_command(made, tmp_path):
    "The same numbers as the study in memory, from the ledger alone."
    code, out, err = command(made[1].parent, '--out', tmp_path/'a.html')
    assert (code, out, err) == (0, f"report: {tmp_path/'a.html'}\n", '')
    table = re.compile('<table.*?</table>', re.S)
    pages = [o.read_text(encoding='utf-8') for o in (tmp_path/'a.html', made[2])]
    mine, theirs = [table.search(o)[0] for o in pages]
    assert mine == theirs and 'ends' in mine
