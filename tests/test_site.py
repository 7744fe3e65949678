"""The built site in a real browser: no error, nothing remote, open to everybody, found by search.

`make docs` first. axe-core sees every page on a wide screen in the light; every eighth, and with
ASAL_SITE=all every page, in the dark and on a telephone too."""
import ast
import functools
import http.server
import json
import os
import re
import shutil
import threading
import check_site
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT, chromium

pytestmark = [pytest.mark.repo, pytest.mark.needs('chromium', 'site')]
SITE, AXE = ROOT/'_docs', ROOT/'node_modules/axe-core/axe.min.js'
ALL = (p.relative_to(SITE) for p in SITE.rglob('*.html'))
PAGES = sorted(p.as_posix() for p in ALL if p.parts[0] != 'slides')    # test_slides.py has those
FLAGS = ('--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync '
         '--disable-background-networking --disable-component-update').split()
LOADED = 'imgs => imgs.every(i => i.complete && i.naturalWidth > 0)'
FRAME = 'new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))'
WEIGHT = "performance.getEntriesByType('resource').reduce((n, o) => n + o.decodedBodySize, 0)"
CHAPTERS = 'https://github.com/asal-nb/asal-nb/blob/main/nbs'
WIDE, PHONE = dict(width=1400, height=900), dict(width=390, height=800)
QUERIES = {
    'discriminator':    {'paper/adversarial.html', 'game/networks.html'},
    'own images':       {'data/images.html', 'data/sources.html', 'tutorials/quickstart.html'},
    'query strategy':   {'methods/gallery.html', 'methods/table.html', 'ask/sampler.html'},
    'Eq. 4':            {'paper/adversarial.html'},
    'adversarial loss': {'paper/adversarial.html'},
    'cold start':       {'ask/coldstart.html'},
    'KL divergence':    {'paper/gauss.html'},
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='module')
def url():
    handler = functools.partial(Quiet, directory=SITE)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p: yield p.chromium.launch(executable_path=chromium(), args=FLAGS)


@pytest.fixture
def tab(browser, url):
    "A page of the browser that writes down what goes wrong on it, in `tab.wrong`"
    t = browser.new_page(viewport=WIDE, color_scheme='light')
    t.wrong, ours = [], (url, 'data:', 'blob:')
    def note(what, bad=True): return bad and t.wrong.append(what)
    t.on('console', lambda m: note(f'console: {m.text}', m.type in ('error', 'warning')))
    t.on('pageerror', lambda e: note(f'error: {e}'))
    t.on('request', lambda r: note(f'request: {r.url}', not r.url.startswith(ours)))
    t.on('response', lambda r: note(f'{r.status}: {r.url}', r.status >= 400))
    yield t
    t.close()


def faults(tab):
    "What axe-core finds on the page as drawn, after what a new size brings: one line a node"
    tab.evaluate(FRAME)
    if not tab.evaluate('window.axe !== undefined'): tab.evaluate(AXE.read_text(encoding='utf-8'))
    found = tab.evaluate("axe.run({resultTypes: ['violations']})")['violations']
    return [f'{v["impact"]} {v["id"]}: {o["html"][:120]}' for v in found for o in v['nodes']]


def test_there_are_pages():
    pages = [p.parts for p in (ROOT/'nbs').rglob('[!_.]*.ipynb')]
    n = sum('.ipynb_checkpoints' not in o for o in pages)
    assert len(PAGES) == n > 0, 'run make docs'


@pytest.mark.parametrize('page', PAGES)
def test_page(page, tab, url):
    tab.goto(url + page)
    assert tab.locator('h1').inner_text().strip()
    assert tab.eval_on_selector_all('main img', LOADED), 'a picture did not load'
    maths = tab.locator('main .math').count()
    assert tab.locator('main mjx-container').count() == maths, 'an equation is not typeset'
    assert tab.locator('.copy').count() == tab.locator('div.sourceCode').count(), 'one button each'
    assert (SITE/page).stat().st_size + tab.evaluate(WEIGHT) < 1e6, 'heavier than 1 MB'
    assert not faults(tab)
    tab.set_viewport_size(PHONE)
    assert tab.evaluate('document.documentElement.scrollWidth') <= 390, 'scrolls sideways'
    if os.environ.get('ASAL_SITE') == 'all' or PAGES.index(page) % 8 == 0:
        assert not faults(tab)
        tab.locator('#theme').click()
        assert not faults(tab)
        tab.set_viewport_size(WIDE)
        assert not faults(tab)
    assert not tab.wrong


def test_axe_notices_a_fault(tab, url):
    tab.goto(url)
    tab.evaluate('''document.querySelector('main').insertAdjacentHTML(
        'beforeend', '<img src="site_libs/icon.svg"><p style="color:#bbb">pale</p>')''')
    found = sorted(o.split(':')[0] for o in faults(tab))
    assert found == ['critical image-alt', 'serious color-contrast']


@pytest.mark.parametrize('query', QUERIES)
def test_search(query, tab, url):
    tab.goto(url)
    tab.locator('#search').fill(query)
    tab.locator('#hits a').first.wait_for(timeout=20_000)
    hits = [o.get_attribute('href').partition('#')[0] for o in tab.locator('#hits a').all()[:3]]
    assert QUERIES[query] & set(hits), hits
    tab.keyboard.press('ArrowDown')
    assert tab.evaluate("document.activeElement.closest('#hits')"), 'hits are not reached by keys'
    assert not tab.wrong


def test_search_knows_functions_and_all_pages():
    found = {o['href'] for o in json.loads((SITE/'search.json').read_text(encoding='utf-8'))}
    assert {*PAGES, 'core.html#seed_of'} <= found


def test_keys_reach_the_text_and_the_chapters(tab, url):
    tab.goto(url + 'paper/adversarial.html')
    for key in ('Tab', 'Enter', 'Tab'): tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.closest('main') !== null")
    fold = tab.locator('#chapters summary', has_text='Methods')
    fold.focus()
    tab.keyboard.press('Enter')
    assert fold.locator('xpath=..').locator('a', has_text='VAAL').first.is_visible()


def test_the_site_map(tab, url):
    tab.goto(url)
    entries = 'Start, Course, Watch, Paper, Methods, Results, Compare yours, Reference'.split(', ')
    assert tab.locator('.entries a').all_inner_texts() == entries
    tab.set_viewport_size(PHONE)
    assert tab.locator('#search').is_visible() and not tab.locator('#chapters').is_visible()
    tab.locator('#menu').click()
    assert tab.locator('#chapters > ul > li:visible').count() == len(entries)
    tab.goto(url + 'paper/adversarial.html')
    assert tab.locator('details.contents').is_visible()


def test_dark_mode_is_kept(tab, url):
    shade = []
    for page in ('index.html', 'core.html'):
        tab.goto(url + page)
        shade.append(tab.evaluate('getComputedStyle(document.body).backgroundColor'))
        if page == 'index.html': tab.locator('#theme').click()
    assert shade[0] != shade[1] and not tab.wrong


def test_functions_once_codes_as_links_equations_notebook(tab, url):
    tab.goto(url + 'paper/adversarial.html')
    seen = ''.join(tab.locator('main pre:visible').all_inner_texts())
    assert seen.count('def vae_adv_loss(') == 1 and '\n    check_tensor(' in seen
    code = tab.locator('main p a', has_text=re.compile('^D2$')).first
    assert code.get_attribute('href').endswith('register.html#D2')
    assert not tab.locator(':is(h2, h3, pre) a.code').count()
    assert tab.locator('.tools a').count() == 3
    kept = tab.locator('.tools a[download]').get_attribute('href')
    assert (SITE/'paper'/kept).read_bytes() == (ROOT/'nbs'/kept[7:]).read_bytes()
    for label in ('eq-4', 'eq-5'):
        assert tab.locator(f'main span.math.display[id={label}] math').count() == 1
        assert tab.locator(f'main a[href="#{label}"]').count()


def test_shown_code_is_whole_and_no_link_is_text():
    n = 0
    for page in PAGES:
        html = BeautifulSoup((SITE/page).read_text(encoding='utf-8'), 'html.parser')
        for o in html.select('pre.cell-code'): n += bool(ast.parse(o.get_text()))
        for o in html.select('main p, main li, main td'):
            assert '](' not in ''.join(o.find_all(string=True, recursive=False)), page
    assert n > 500


def test_links_pictures_and_functions(): check_site.check(SITE, ROOT/'asal_nb')


FAULTS = {
    'nowhere.html does not exist': '<a href="nowhere.html">x</a>',
    'no such place': '<a href="core.html#nowhere">x</a>',
    'another host': '<script src="https://example.org/x.js"></script>',
    'pictures without a text': '<img src="styles.css">',
    'of the repository, which is not there': f'<a href="{CHAPTERS}/0.ipynb">x</a>',
}


def test_faults_are_noticed(tmp_path):
    site = shutil.copytree(SITE, tmp_path/'site')
    s = (site/'core.html').read_text(encoding='utf-8')
    worse = s.replace('</main>', ''.join(FAULTS.values()) + '</main>')
    (site/'core.html').write_text(worse.replace('id="seed_of"', 'id="sown"'), encoding='utf-8')
    with pytest.raises(SystemExit) as refused: check_site.check(site, ROOT/'asal_nb')
    for said in (*FAULTS, 'core.html: seed_of is missing'): assert said in refused.value.code
