"""A person labels pictures in a real browser, by mouse and by keys; the ledger is compared.

The story: a folder of 300 pictures with litter and odd ones is opened by one command, which is
killed in the middle and opened again; pictures join; two more rounds. Nothing is asked twice,
nothing is lost."""
import json
import os
import sys
from contextlib import contextmanager
import pandas as pd
import pytest
from browser import WAIT, axe, new_tab, served
from PIL import Image
from asal_nb.ledger.ledger import UNSURE, Ledger

pytestmark = pytest.mark.needs('chromium')
CLASSES = ['dark', 'light', 'red']
TINTS = [(20, 20, 20), (230, 230, 230), (200, 30, 30)]
COMMAND = 'from asal_nb.apps.label import asal_label; asal_label.command()'
SHOTS = os.environ.get('ASAL_SHOTS')  # a folder for pictures of what is seen
SIZES = {'': (1000, 900), '-phone': (390, 844)}


def class_of(name):
    "The class of a picture, which its name tells"
    return name.rsplit('/')[-1].split('-')[0]


def paint(folder, numbers):
    "A picture of 24 by 24 pixels for each number, called after its class"
    folder.mkdir(parents=True, exist_ok=True)
    for i in numbers:
        tint = tuple(max(0, o - i % 19) for o in TINTS[i % 3])
        Image.new('RGB', (24, 24), tint).save(folder/f'{CLASSES[i % 3]}-{i:03}.png')


def disturb(folder):
    "Litter, odd pictures and damaged ones, as any folder has them"
    for litter in ('.hidden.png', '__MACOSX/._a.png', 'notes.txt', '@eaDir/thumb.png', 'a.heic',
                   'empty.jpg', 'May/.ipynb_checkpoints/dark-000-checkpoint.png'):
        (folder/litter).parent.mkdir(exist_ok=True)
        (folder/litter).write_bytes(b'')
    (folder/'half.png').write_bytes((folder/'May'/'dark-000.png').read_bytes()[:60])
    for i in range(0, 150, 10):
        file, = (folder/'May').glob(f'*-{i:03}.png')
        with Image.open(file) as im: im.convert(['RGBA', 'P', 'L', 'I;16'][i//10 % 4]).save(file)


class Person:
    "Looks at the page, and answers what the name of a picture tells"
    def __init__(self, tab):
        self.tab, self.box = tab, tab.locator('.asal-label')

    def until(self, phase):
        self.tab.locator(f'.asal-label[data-phase={phase}]').wait_for(timeout=WAIT)

    def name(self): return self.box.locator('.stage bdi').first.inner_text()
    def count(self): return self.box.locator('.head span').inner_text()

    def hears(self, words):
        self.box.locator('.said').filter(has_text=words).wait_for(timeout=WAIT)

    def answer(self, say, word=None):
        "Answer the picture on show by `say`, wait until the page says that this is saved"
        name = self.name()
        word = word or class_of(name)
        say(word)
        self.hears(f'{name}: {word}. Saved.')
        return name

    def press(self, word):
        key = {'skipped': 's', 'unsure': 'u'}.get(word) or str(CLASSES.index(word) + 1)
        self.tab.keyboard.press(key)

    def click(self, word): self.box.get_by_role('button', name=word, exact=True).click()

    def all(self, say):
        "Answer all that is asked"
        while self.box.get_attribute('data-phase') == 'ask': self.answer(say)


def lines(file):
    "What the ledger's only run has asked, the answers to that, and repeated answers"
    with Ledger(file, readonly=True) as led:
        run, = [o['id'] for o in led.runs()]
        asked = led.lines(run)
        answers = [o for line in asked for o in led.history(run, line['row'])]
    return asked, [o for o in answers if not o['again']], [o for o in answers if o['again']]


def is_told_truly(asked): return all(CLASSES[o['y']] == class_of(o['name']) for o in asked)


def shot(tab, name):
    if SHOTS: tab.screenshot(path=f'{SHOTS}/{name}.png', full_page=True)


@contextmanager
def opened(folder, tmp_path, tab, phase='ask'):
    "A person at the page of `asal-label`, and the command's process"
    cmd = [sys.executable, '-c', COMMAND, folder.name, '--classes', ','.join(CLASSES)]
    cmd += ['--size', '16', '--b', '6', '--rounds', '3', '--set', 'train.n_steps=5']
    path = '/voila/static/favicon.ico'
    with served([*cmd, '--no-browser'], path, tmp_path, folder.parent) as (url, p):
        tab.goto(url, wait_until='domcontentloaded', timeout=WAIT)
        person = Person(tab)
        person.until(phase)
        yield person, p


def faults(tab):
    "Anything that axe-core finds in the labeller; what is serious also on Voila's page around it"
    grave = [o for o in axe(tab) if o.startswith(('serious', 'critical'))]
    return axe(tab, '.asal-label') + grave


def looks_well(person):
    "No fault for axe-core, nothing wider than the screen: one image and a grid, desktop and phone"
    tab = person.tab
    for view in ('grid', 'one'):
        tab.keyboard.press('g')
        person.box.locator(f'.{view}').wait_for(timeout=WAIT)
        for name, (width, height) in SIZES.items():
            tab.set_viewport_size(dict(width=width, height=height))
            assert tab.evaluate('document.documentElement.scrollWidth') <= width
            assert not faults(tab)
            shot(tab, f'{view}{name}')
    tab.set_viewport_size(dict(width=1000, height=900))


def test_the_story_of_a_folder(tmp_path):
    photos = tmp_path/'photos'
    paint(photos/'May', range(150))
    paint(photos/'June 2026', range(150, 300))
    disturb(photos)

    with new_tab() as tab:
        with opened(photos, tmp_path, tab) as (person, p):  # by mouse, until the power fails
            assert person.count() == '0 of 6 answered'
            assert 'skipped: 2 that cannot be read' in person.box.inner_text()
            for _ in range(4): person.answer(person.click)
            p.kill()
        assert len([o for o in lines(tmp_path/'photos.db')[0] if o['y'] is not None]) == 4

        with opened(photos, tmp_path, tab) as (person, _):  # the same line, by keys alone
            assert person.count() == '4 of 6 answered'
            person.all(person.press)
            assert not faults(tab)
            shot(tab, 'train')
            tab.keyboard.press('Enter')
            person.until('ask')
            assert person.count() == '0 of 8 answered'  # two are shown again
            tab.keyboard.press('n')
            tab.keyboard.type('out of focus')
            tab.keyboard.press('Enter')
            noted = person.answer(person.press)
            skipped = person.answer(person.press, 'skipped')
            tab.keyboard.press('z')
            person.hears('taken back')
            assert person.name() == skipped
            person.answer(person.press, 'unsure')
            tab.reload(wait_until='domcontentloaded', timeout=WAIT)  # a kernel of its own
            person.until('ask')
            assert person.count() == '2 of 8 answered'
            person.all(person.press)

        paint(photos/'July', range(300, 350))  # tomorrow there are more
        with opened(photos, tmp_path, tab, 'train') as (person, _):
            for again in range(2):
                tab.keyboard.press('Enter')
                person.until('ask')
                if again: looks_well(person)
                person.all(person.press)
            person.click('Save labels')
            person.hears('labels are in')
            shot(tab, 'saved')

    asked, answers, again = lines(tmp_path/'photos.db')
    assert len(asked) == len({o['name'] for o in asked}) == 24
    labelled = [o for o in asked if o['y'] >= 0]
    assert is_told_truly(labelled) and len(labelled) == 23
    assert [o['name'] for o in asked if o['y'] == UNSURE] == [skipped]
    assert len(answers) == 23 + 3  # skipped, taken back, unsure
    assert [o['name'] for o in asked if o['note'] == 'out of focus'] == [noted]
    assert {o['by'] for o in answers} == {'person'} and len(again) == 6
    table = pd.read_csv(tmp_path/'photos.csv')
    table = table[table.label.isin(CLASSES)]
    assert set(table.file) == {o['name'] for o in labelled}
    assert list(table.label) == [class_of(o) for o in table.file]


CELL = """from asal_nb.all import *
from asal_nb.apps.label import labeller
data = ImageData.from_folder('photos', size=16, classes=['dark','light','red'])
plan = dict(b=6, rounds=2, n_first=6, first='random', ledger='labels.db')
labeller(ActiveLearning(data, Margin(Supervised(n_steps=5)), **plan))"""


def notebook(file):
    "Write a notebook of one cell"
    cell = dict(cell_type='code', id='a', metadata={}, source=CELL, outputs=[])
    kernel = dict(name='python3', display_name='Python 3', language='python')
    nb = dict(cells=[cell | dict(execution_count=None)], metadata=dict(kernelspec=kernel))
    file.write_text(json.dumps(nb | dict(nbformat=4, nbformat_minor=5)))


def test_in_jupyterlab(tmp_path):
    at = tmp_path/'work'
    paint(at/'photos', range(30))
    notebook(at/'label.ipynb')
    cmd = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root']
    cmd += ['--IdentityProvider.token=', '--ServerApp.ip=127.0.0.1']
    with served(cmd, '/api', tmp_path, at) as (url, _), new_tab() as tab:
        tab.goto(f'{url}/lab/tree/label.ipynb?reset', timeout=WAIT)
        code = tab.locator('.jp-CodeCell .cm-content')
        idle = '.jp-Notebook-ExecutionIndicator[data-status=idle]'
        tab.locator(idle).wait_for(state='attached', timeout=WAIT)
        for _ in range(30):  # a notebook that is still being drawn misses the keys
            code.click(timeout=WAIT)
            tab.keyboard.press('Control+Enter')
            tab.wait_for_timeout(1000)
            if tab.locator('.jp-InputPrompt').first.inner_text() != '[ ]:': break
        person = Person(tab)
        person.until('ask')
        assert not axe(tab, '.asal-label')
        for _ in range(3): person.answer(person.click)

        code.click()
        tab.keyboard.press('Control+s')
        tab.wait_for_function("!document.querySelector('.jp-mod-dirty')", timeout=WAIT)
        tab.reload(timeout=WAIT)  # the kernel lives on, the page is drawn again
        person.until('ask')
        assert person.count() == '3 of 6 answered'

        code.click(timeout=WAIT)
        tab.keyboard.press('Escape')
        into = "document.activeElement.closest('.asal-label') !== null"
        for _ in range(60):  # from here on there is no mouse
            if tab.evaluate(into): break
            tab.keyboard.press('Tab')
        assert tab.evaluate(into), 'the keyboard does not reach the labeller'
        person.all(person.press)
        tab.keyboard.press('Enter')
        person.until('ask')
        person.all(person.press)
        shot(tab, 'lab')
        assert tab.locator('.jp-Cell').count() == tab.locator('.jp-CodeCell').count() == 1

    asked, answers, again = lines(at/'labels.db')
    assert len(asked) == len({o['name'] for o in asked}) == len(answers) == 12
    assert is_told_truly(asked) and len(again) == 2
