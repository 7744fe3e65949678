"""The built site in a real browser: no error, no request to another host, equations numbered, pictures loaded.

`make docs` first. ASAL_SHOTS=1 pytest tests/test_site.py stores a picture of each page in out/shots/."""
import functools
import http.server
import json
import os
import re
import shutil
import threading
import check_site
import pytest
from conftest import ROOT, chromium

pytestmark = [pytest.mark.repo, pytest.mark.needs('chromium', 'site')]
SITE, SHOTS = ROOT/'_docs', ROOT/'out/shots'
PAGES = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob('*.html'))
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
LOADED = 'imgs => imgs.every(i => i.complete && i.naturalWidth > 0)'
WAIT = 'window.MathJax === undefined || (MathJax.startup && MathJax.startup.promise)'


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='module')
def url():
    "The site's address on a server of this process"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield b
        b.close()


@pytest.fixture
def tab(browser, url):
    "A page of the browser that writes down what goes wrong on it, in `tab.wrong`"
    t = browser.new_page(viewport=dict(width=1280, height=900))
    t.wrong = []
    def note(what, bad=True): return bad and t.wrong.append(what)
    t.on('console', lambda m: note(f'console: {m.text}', m.type == 'error'))
    t.on('pageerror', lambda e: note(f'error: {e}'))
    t.on('request', lambda r: note(f'request: {r.url}', not r.url.startswith((url, 'data:', 'blob:'))))
    t.on('response', lambda r: note(f'{r.status}: {r.url}', r.status >= 400))
    yield t
    t.close()


def equations(page):
    "Numbers of the equations tagged in the source of a page"
    return re.findall(r'\\tag\{([^}]+)\}', (SITE/page).read_text(encoding='utf-8'))


def test_there_are_pages():
    notebooks = [p for p in (ROOT/'nbs').rglob('[!_.]*.ipynb') if '.ipynb_checkpoints' not in p.parts]
    assert len(PAGES) == len(notebooks) > 0, 'run make docs'


@pytest.mark.parametrize('page', PAGES)
def test_page(page, tab, url):
    tab.goto(url + page)
    tab.wait_for_function(WAIT)
    tab.wait_for_load_state('networkidle')
    if os.environ.get('ASAL_SHOTS'): tab.screenshot(path=SHOTS/f'{page.replace("/", "_")}.png', full_page=True)
    assert not tab.wrong
    assert tab.locator('h1.title').inner_text().strip()
    assert tab.eval_on_selector_all('main img', LOADED), 'a picture did not load'
    maths = tab.locator('main .math')
    assert tab.locator('main mjx-container').count() == maths.count(), 'an equation is not typeset'
    assert not tab.locator('mjx-merror, [data-mjx-error]').count(), 'MathJax could not read an equation'
    for n in equations(page):
        assert tab.locator(f'main [id="mjx-eqn:{n}"], main [id="mjx-eqn:eq:{n}"]').count(), f'no number at equation {n}'


def test_search_finds_a_function(tab, url):
    tab.goto(url)
    tab.locator('input[type=search]').first.fill('check_count')
    hit = tab.locator('.smalldocs-search-results a').first
    hit.wait_for(timeout=10_000)
    assert 'core.html' in hit.get_attribute('href') and not tab.wrong


def test_search_index():
    found = {o['href'].partition('#')[0] for o in json.loads((SITE/'search.json').read_text(encoding='utf-8'))}
    assert set(PAGES) <= found, f'search.json does not know {set(PAGES) - found}'


def test_dark_mode(tab, url):
    tab.goto(url)
    light = tab.evaluate('getComputedStyle(document.body).backgroundColor')
    tab.locator('.quarto-color-scheme-toggle').first.click()
    tab.wait_for_function('c => getComputedStyle(document.body).backgroundColor != c', arg=light)
    assert not tab.wrong


def test_a_telephone_needs_no_sideways_scrolling(tab, url):
    tab.set_viewport_size(dict(width=390, height=800))
    wide = {}
    for page in PAGES:
        tab.goto(url + page)
        tab.wait_for_function(WAIT)
        if (w := tab.evaluate('document.documentElement.scrollWidth')) > 400: wide[page] = w
    assert not wide, f'pages wider than the screen: {wide}'


def test_links_equations_and_signatures(): check_site.check(SITE, ROOT/'asal_nb')


FAULTS = {'does not exist': '<a href="nowhere.html">x</a>', 'no such place': '<a href="core.html#nowhere">x</a>',
          'another host': '<script src="https://example.org/x.js"></script>',
          r'no \\label': r'<span>\(\eqref{eq:99}\)</span>'}


@pytest.mark.parametrize('said', FAULTS)
def test_a_fault_is_noticed(said, tmp_path):
    site = edited(tmp_path, '</main>', FAULTS[said] + '</main>')
    with pytest.raises(SystemExit, match=said): check_site.check(site, ROOT/'asal_nb')


def test_a_missing_signature_is_noticed(tmp_path):
    site = edited(tmp_path, 'id="seed_of"', 'id="sown"')
    with pytest.raises(SystemExit, match='the signature of seed_of is missing'): check_site.check(site, ROOT/'asal_nb')


def edited(to, old, new):
    "A copy of the site with `old` replaced on the page of chapter 00"
    site = shutil.copytree(SITE, to/'site')
    s = (site/'core.html').read_text(encoding='utf-8')
    assert old in s
    (site/'core.html').write_text(s.replace(old, new), encoding='utf-8')
    return site
