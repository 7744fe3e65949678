"A person moves the explorer's sliders: Voila serves `tests/app/explore.ipynb`, Chromium shows it."
import re
import pytest
from browser import WAIT, new_tab, voila
from conftest import ROOT

pytestmark = pytest.mark.needs('chromium')
NUMBERS = re.compile(r'round (\d+), (\d+) labels: AUC [01]\.\d\d, accuracy [01]\.\d\d')
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
    "What a person does with the explorer in `tab`, and sees"
    def __init__(self, tab):
        self.tab, self.line = tab, tab.get_by_text(NUMBERS)
        self.line.wait_for(timeout=WAIT)

    def picture(self): return self.tab.locator('img.widget-image').evaluate(BYTES)

    def enter(self, name, value):
        "Type `value` beside the slider `name`; return the numbers once all has changed"
        numbers, picture = self.line.inner_text(), self.picture()
        label = self.tab.get_by_text(name, exact=True)
        self.tab.locator('.widget-slider').filter(has=label).locator('.widget-readout').click()
        self.tab.keyboard.press('Control+a')
        self.tab.keyboard.type(value)
        self.tab.keyboard.press('Enter')
        self.line.filter(has_not_text=numbers).wait_for(timeout=WAIT)
        assert self.picture() != picture, f'the picture stays when {name} moves'
        return self.line.inner_text()


def test_explorer(url, tab):
    # Voila asks another host for MathJax
    tab.goto(url, wait_until='domcontentloaded', timeout=WAIT)
    app = Explorer(tab)
    first, picture = app.line.inner_text(), app.picture()
    assert NUMBERS.fullmatch(first).groups() == ('0', '9')
    assert NUMBERS.fullmatch(app.enter('lam4', '4.0')).groups() == ('0', '9')
    assert NUMBERS.fullmatch(app.enter('round', '1')).groups() == ('1', '14')
    app.enter('lam4', '0.1')
    assert app.enter('round', '0') == first and app.picture() == picture  # the way back
    # the picture is sharp and keeps its shape
    for width in (1000, 390):
        tab.set_viewport_size(dict(width=width, height=900))
        w, h, shown, high = tab.locator('img.widget-image').evaluate(SIZE)
        assert w >= 2*shown > 0, f'{w} pixels are drawn over {shown}'
        assert abs(shown/high - w/h) < .02
        assert tab.evaluate('document.documentElement.scrollWidth') <= width
