"A person moves the explorers' sliders: Voila serves `tests/app/`, Chromium shows it."
import re
import pytest
from browser import WAIT, new_tab, voila
from conftest import ROOT

pytestmark = pytest.mark.needs('chromium')
NUMBERS = re.compile(r'round (\d+), (\d+) labels: AUC [01]\.\d\d, accuracy [01]\.\d\d')
PLACE = re.compile(r'place (\d+) of 1297 by d: d = -?\d+\.\d\d, so D = [01]\.\d\d; .*; C says \d')
BYTES = 'async i => Array.from(new Uint8Array(await (await fetch(i.src)).arrayBuffer())).join()'
SIZE = 'i => [i.naturalWidth, i.naturalHeight, i.clientWidth, i.clientHeight]'


@pytest.fixture
def url(tmp_path):
    "The app's address on a Voila of its own"
    with voila(ROOT/'tests/app/explore.ipynb', tmp_path) as (url, _): yield url


@pytest.fixture
def tab():
    with new_tab() as tab: yield tab


class Explorer:
    "What a person does with the explorer in `tab` that shows these numbers, and sees"
    def __init__(self, tab, numbers):
        self.tab, self.line = tab, tab.get_by_text(numbers)
        self.line.wait_for(timeout=WAIT)
        self.box = tab.locator('.widget-vbox').filter(has=self.line)
        self.image = self.box.locator('img.widget-image')

    def picture(self): return self.image.evaluate(BYTES)

    def enter(self, name, value):
        "Type `value` beside the slider `name`; return the numbers once all has changed"
        numbers, picture = self.line.inner_text(), self.picture()
        label = self.tab.get_by_text(name, exact=True)
        self.box.locator('.widget-slider').filter(has=label).locator('.widget-readout').click()
        self.tab.keyboard.press('Control+a')
        self.tab.keyboard.type(value)
        self.tab.keyboard.press('Enter')
        self.line.filter(has_not_text=numbers).wait_for(timeout=WAIT)
        assert self.picture() != picture, f'the picture stays when {name} moves'
        return self.line.inner_text()


def test_explorers(url, tab):
    # Voila asks another host for MathJax
    tab.goto(url, wait_until='domcontentloaded', timeout=WAIT)
    move_the_toy(Explorer(tab, NUMBERS))
    walk_the_digits(Explorer(tab, PLACE))


def move_the_toy(app):
    first, picture = app.line.inner_text(), app.picture()
    assert NUMBERS.fullmatch(first).groups() == ('0', '9')
    assert NUMBERS.fullmatch(app.enter('lam4', '4.0')).groups() == ('0', '9')
    assert NUMBERS.fullmatch(app.enter('round', '1')).groups() == ('1', '14')
    app.enter('lam4', '0.1')
    assert app.enter('round', '0') == first and app.picture() == picture  # the way back
    # the picture is sharp and keeps its shape
    for width in (1000, 390):
        app.tab.set_viewport_size(dict(width=width, height=900))
        w, h, shown, high = app.image.evaluate(SIZE)
        assert w >= 2*shown > 0, f'{w} pixels are drawn over {shown}'
        assert abs(shown/high - w/h) < .02
        assert app.tab.evaluate('document.documentElement.scrollWidth') <= width


def walk_the_digits(app):
    first, picture = app.line.inner_text(), app.picture()
    assert PLACE.match(first)[1] == '1'
    assert PLACE.match(app.enter('place by d', '1297'))[1] == '1297'
    assert app.enter('place by d', '1') == first and app.picture() == picture
    app.box.locator('select').select_option('margin')
    for _ in range(50):     # the numbers stay, the rings move
        if app.picture() != picture: break
        app.tab.wait_for_timeout(200)
    assert app.picture() != picture and app.line.inner_text() == first
    assert app.line.evaluate('o => o.scrollWidth <= innerWidth')     # nothing is cut off
