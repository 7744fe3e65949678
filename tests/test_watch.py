"""Watch the game, in a real browser: by mouse, by keys, in both themes and widths, without scripts.

The page is opened as a file: it needs no server. `make docs` first."""
import base64
import json
import pytest
import watch
from browser import FLAGS, axe
from conftest import ROOT, chromium

pytestmark = pytest.mark.repo
in_a_browser = pytest.mark.needs('chromium', 'site')
WIDE, PHONE = dict(width=1400, height=900), dict(width=390, height=800)
SHADE = 'document.querySelector(".watch canvas").toDataURL()'
SIDEWAYS = 'document.documentElement.scrollWidth - innerWidth'
MOVES = 'getComputedStyle(document.querySelector(".watch-plane path")).transitionDuration'
PLACES = '[...document.querySelectorAll(".watch-plane path")].map(o => o.style.transform).join()'


def test_the_file_is_what_the_command_writes():
    "One short run played again. On another kind of CPU the last digits may differ"
    file = ROOT/'nbs/watch.json'
    saved = json.loads(file.read_text(encoding='utf-8'))
    assert file.stat().st_size < 600_000
    assert list(saved['runs']) == [f'{o:g}' for o in watch.LAM4]
    for run in saved['runs'].values():
        assert {k: len(o) for k, o in run.items()} == dict.fromkeys(watch.RULES, watch.ROUNDS)
    for was, now in zip(saved['runs']['0.1']['min'], watch.records(.1, 'min', 2)):
        assert sorted(was['asked']) == sorted(now['asked'])
        assert abs(was['accuracy'] - now['accuracy']) < .01
        for name in ('z', 'd', 'D'):
            a, b = base64.b64decode(was[name]), base64.b64decode(now[name])
            assert len(a) == len(b) and max(abs(i - j) for i, j in zip(a, b)) < 4, name


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p: yield p.chromium.launch(executable_path=chromium(), args=FLAGS)


@pytest.fixture
def visit(browser):
    "Opens a page of the site; at the end, nothing must have gone wrong on it"
    tabs, wrong = [], []

    def visit(page='watch.html', **how):
        tab = browser.new_page(**how)
        tab.on('pageerror', lambda e: wrong.append(str(e)))
        tab.on('request', lambda r: r.url.startswith(('file:', 'data:')) or wrong.append(r.url))
        tab.goto((ROOT/'_docs'/page).as_uri())
        tabs.append(tab)
        return tab
    yield visit
    for o in tabs: o.close()
    assert not wrong


def press(tab, name): tab.get_by_role('button', name=name, exact=True).click()
def said(tab): return tab.locator('.watch-caption').inner_text()
def shown(tab, css): return tab.locator(f'.watch-plane {css}:not(.none)').count()


@in_a_browser
@pytest.mark.parametrize('size', [WIDE, PHONE], ids=['wide', 'phone'])
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_by_mouse(visit, theme, size):
    tab = visit(viewport=size, color_scheme=theme)
    assert said(tab).startswith('Round 0, train. All networks learn from 9 labels')
    assert (shown(tab, '.ring'), shown(tab, 'path[class^=class]')) == (0, 9)
    press(tab, 'Step')
    assert said(tab).startswith('Round 0, choose. The rings: the five smallest d.')
    assert shown(tab, '.ring') == 5 and tab.locator('.watch-logits .cut').count() == 1
    press(tab, 'Step')
    assert said(tab).startswith('Round 0, answer. The answers: 5 × newcomer.')
    assert (shown(tab, '.ring.class3'), shown(tab, 'path[class^=class]')) == (5, 14)
    press(tab, 'Step')
    assert said(tab).startswith('Round 1, train. All networks learn from 14 labels')
    press(tab, 'Back')
    shade, places = tab.evaluate(SHADE), tab.evaluate(PLACES)
    tab.get_by_label('1', exact=True).check()
    assert said(tab).startswith('Round 0, answer.')
    assert shade != tab.evaluate(SHADE) and places != tab.evaluate(PLACES)
    tab.get_by_label('random').check()
    press(tab, 'Back')
    assert 'at random' in said(tab) and not tab.locator('.watch-logits .cut').count()
    tab.locator('.watch-plane svg').hover()
    assert tab.locator('.watch-read').inner_text().startswith('d = ')
    tab.get_by_role('slider', name='round').fill('7')
    assert said(tab).startswith('Round 7, train. All networks learn from 44 labels')
    assert not axe(tab) and tab.evaluate(SIDEWAYS) <= 0


@in_a_browser
def test_by_keys(visit):
    tab = visit(viewport=WIDE)

    def keys(*names):
        for o in names: tab.keyboard.press(o)
    tab.locator('.watch input:checked').first.focus()
    keys('ArrowRight', 'Tab', 'ArrowRight')
    chosen = tab.locator('.watch input:checked').evaluate_all('all => all.map(o => o.value)')
    assert chosen == ['1', 'diverse']
    keys('Tab', 'Tab', 'Tab', 'Enter')
    assert said(tab).startswith('Round 0, choose. The rings: one dot from each of five clusters')
    keys('Tab', 'ArrowRight', 'ArrowRight')
    assert said(tab).startswith('Round 2, train.')
    keys('Tab', 'ArrowRight')
    assert 'Place 2 of 300' in tab.locator('.watch-read').inner_text()
    keys('End')
    assert 'Place 300 of 300' in tab.locator('.watch-read').inner_text()
    assert shown(tab, '.here') == 1
    keys(*['Shift+Tab']*3, 'Space')
    assert said(tab).startswith('Round 2, choose.')
    tab.locator('.watch-caption', has_text='Round 2, answer.').wait_for()
    keys('Space')
    tab.wait_for_timeout(1800)
    assert said(tab).startswith('Round 2, answer.')
    assert tab.get_by_role('button', name='Play').evaluate('o => o === document.activeElement')


@in_a_browser
def test_nothing_moves_that_should_not(visit):
    tab = visit(viewport=WIDE, reduced_motion='reduce')
    assert tab.evaluate(MOVES) == '0s'
    assert visit(viewport=WIDE, reduced_motion='no-preference').evaluate(MOVES) == '0.9s'
    tab.wait_for_timeout(2000)
    assert said(tab).startswith('Round 0, train.')


@in_a_browser
def test_the_front_page_plays_four_rounds(visit):
    tab = visit('index.html', viewport=PHONE)
    for _ in range(12): press(tab, 'Step')
    assert said(tab).startswith('Round 3, answer.')
    press(tab, 'Play')
    assert said(tab).startswith('Round 0, train.') and tab.evaluate(SIDEWAYS) <= 0
    assert tab.locator('.watch button').all_inner_texts() == ['Back', 'Pause', 'Step']


@in_a_browser
@pytest.mark.parametrize('page, n', [('watch.html', 4), ('index.html', 1)])
def test_without_scripts_there_are_stills(visit, page, n):
    tab = visit(page, viewport=PHONE, java_script_enabled=False)
    stills = tab.locator('[data-watch] img')
    assert stills.count() == n and not tab.locator('[data-watch] button').count()
    for o in stills.all(): assert o.is_visible() and len(o.get_attribute('alt')) > 60
    assert not visit(page).locator('[data-watch] img').count()
