"Slides of the lessons in a real browser: all is there, nothing is cut off, answers are hidden."
import re
import classroom
import pytest
import slides
from browser import new_tab
from bs4 import BeautifulSoup
from conftest import ROOT

pytestmark = [pytest.mark.repo, pytest.mark.needs('chromium', 'site')]
SITE = ROOT/'_docs'
LESSONS = sorted(p.stem for p in (ROOT/'nbs/course').glob('lesson*.ipynb'))
TOO_FULL = '''() => [...Array(Reveal.getTotalSlides()).keys()].filter(i => {
    Reveal.slide(i);
    const s = Reveal.getCurrentSlide(), imgs = [...s.querySelectorAll('img')];
    return s.scrollHeight > 720 || s.scrollWidth > 1280 || imgs.some(o => o.offsetHeight < 150);
}).map(i => i + 1)'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('slides')
    slides.write(SITE, folder)
    return folder


@pytest.fixture(scope='module')
def tab():
    with new_tab(1280, 720) as t: yield t


@pytest.mark.parametrize('lesson', LESSONS)
def test_slides_in_a_browser(lesson, folder, tab):
    wrong = []
    tab.on('pageerror', lambda e: wrong.append(str(e)))
    tab.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(m.text))
    tab.on('request', lambda r: r.url.startswith(('file:', 'data:')) or wrong.append(r.url))
    tab.goto((folder/f'{lesson}.html').as_uri())
    tab.wait_for_function('window.Reveal && Reveal.isReady()')
    assert not tab.locator('details[open]').count(), 'an answer is shown'
    tab.evaluate("document.querySelectorAll('details').forEach(o => o.open = true)")
    assert tab.evaluate(TOO_FULL) == []
    assert not wrong


def read(p): return BeautifulSoup(p.read_text(encoding='utf-8'), 'html.parser')


def links(html, folder):
    "The pages that an HTML file in `folder` leads to"
    to = {a['href'].partition('#')[0] for a in html.select('section a')}
    return {(folder/o).resolve() for o in to if ':' not in o}


@pytest.mark.parametrize('lesson', LESSONS)
def test_nothing_of_a_lesson_is_lost(lesson, folder):
    page, made = read(SITE/f'course/{lesson}.html'), read(folder/f'{lesson}.html')
    heads = {o.get_text() for o in page.main.find_all(['h1', 'h2', 'h3'])}
    assert heads - {'Exercises'} <= {o.get_text() for o in made.find_all(['h1', 'h2', 'h3'])}
    for kind in ('section img', 'section .math.display', 'section details:not(.code-fold)'):
        assert len(made.select(kind)) == len(page.main.select(kind)), kind
    assert links(made, folder) <= links(page.main, SITE/'course')


def paragraph(text): return BeautifulSoup(f'<p>{text}</p>', 'html.parser').p


def test_where_room_lacks_a_paragraph_is_cut_at_a_sentence_and_whole_in_the_notes():
    far = 'word '*40
    cut = paragraph(f'It is Eq. (5). {far}. <strong>Remember this.</strong> {far}.')
    shown = slides.shortened(cut).get_text()
    assert shown == 'It is Eq. (5). Remember this.'
    assert slides.slide(paragraph('x'), [cut, cut]).aside.get_text() == 2*cut.get_text()
    alone = slides.slide(paragraph('x'), [cut])            # there is room for all of it
    assert cut.get_text() in alone.get_text() and not alone.aside
    whole = f'{far}. So the loss {far} is'    # an equation follows
    assert slides.shortened(paragraph(whole)).get_text() == whole


def test_the_zip_of_a_classroom_is_complete(tmp_path):
    "What its README.md names and where its lessons lead is in it, and so are the ledgers"
    room = tmp_path/'room'
    classroom.fill(room, SITE)
    readme = (room/'README.md').read_text(encoding='utf-8')
    named = re.findall(r'`((?:notebooks|site|grading)/[^`]*)`', readme)
    assert len(named) > 6 and [o for o in named if not (room/o).exists()] == []
    for lesson in LESSONS:
        nb = (room/f'notebooks/course/{lesson}.ipynb').read_text(encoding='utf-8')
        for o in re.findall(r'\]\((?!http)([^)#]+\.(?:ipynb|png|svg))', nb):
            assert (room/'notebooks/course'/o).exists(), f'{lesson} leads to {o}'
        made = read(room/f'site/slides/{lesson}.html')
        led = links(made, room/'site/slides')
        assert all(o.exists() and room in o.parents for o in led), f'slides of {lesson}: {led}'
        assert (room/f'grading/source/{lesson}/{lesson}.ipynb').exists()
    assert {p.name for p in (room/'notebooks/results').glob('*.xz')} >= {'digits.xz', 'methods.xz'}
