"A person moves the explorer's sliders: Voila serves `tests/app/explore.ipynb`, Chromium shows it."
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import pytest
from conftest import ROOT, chromium

pytestmark = pytest.mark.needs('chromium')
APP = ROOT/'tests/app'
FOLDERS = 'JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR'
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
         '--disable-background-networking', '--disable-component-update']
NUMBERS = re.compile(r'round (\d+), (\d+) labels: AUC [01]\.\d\d, accuracy [01]\.\d\d')
BYTES = 'async i => Array.from(new Uint8Array(await (await fetch(i.src)).arrayBuffer())).join()'
WAIT = 120_000  # milliseconds, for anything: a busy machine takes long to import torch


def answers(address, p, seconds=60):
    "Does `address` answer in time, while the process `p` lives?"
    until = time.monotonic() + seconds
    while p.poll() is None and time.monotonic() < until:
        try: return urllib.request.urlopen(address, timeout=1).status == 200
        except OSError: time.sleep(.3)
    return False


@pytest.fixture
def url(tmp_path):
    "The app's address on a Voila of its own"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    env = os.environ | {k: str(tmp_path/k) for k in FOLDERS}
    env |= dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    cmd = [sys.executable, '-m', 'voila', 'explore.ipynb', '--no-browser', '--Voila.ip=127.0.0.1']
    with open(tmp_path/'log', 'w') as log, \
         subprocess.Popen([*cmd, f'--port={port}'], cwd=APP, env=env, stdout=log, stderr=log) as p:
        try:
            if not answers(f'http://127.0.0.1:{port}/voila/static/favicon.ico', p):
                pytest.fail((tmp_path/'log').read_text()[-3000:])
            yield f'http://127.0.0.1:{port}'
        finally: p.terminate()


@pytest.fixture
def tab():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser.new_page(viewport=dict(width=1000, height=900))
        browser.close()


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
