"What tests in a browser share: Voila or JupyterLab on a port of its own, Chromium, axe-core."
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
import pytest
from conftest import ROOT, chromium

AXE = ROOT/'node_modules/axe-core/axe.min.js'
FOLDERS = 'JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR'
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
         '--disable-background-networking', '--disable-component-update']
WAIT = 120_000  # milliseconds, for anything: a busy machine takes long to import torch


def answers(address, p, seconds=60):
    "Does `address` answer in time, while the process `p` lives?"
    until = time.monotonic() + seconds
    while p.poll() is None and time.monotonic() < until:
        try: return urllib.request.urlopen(address, timeout=1).status == 200
        except OSError: time.sleep(.3)
    return False


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@contextmanager
def served(cmd, path, tmp_path, cwd):
    "The address of a server that `cmd` starts, once `path` on it answers; and its process"
    port = free_port()
    env = os.environ | {k: str(tmp_path/k) for k in FOLDERS}
    env |= dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    with open(tmp_path/'log', 'w') as log, \
         subprocess.Popen([*cmd, f'--port={port}'], cwd=cwd, env=env, stdout=log, stderr=log) as p:
        try:
            if not answers(f'http://127.0.0.1:{port}{path}', p):
                pytest.fail((tmp_path/'log').read_text()[-3000:])
            yield f'http://127.0.0.1:{port}', p
        finally: p.terminate()


def voila(app, tmp_path):
    "The notebook `app` served by Voila"
    cmd = [sys.executable, '-m', 'voila', app.name, '--no-browser', '--Voila.ip=127.0.0.1']
    return served(cmd, '/voila/static/favicon.ico', tmp_path, app.parent)


@contextmanager
def new_tab(width=1000, height=900):
    "A page of a Chromium of its own"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser.new_page(viewport=dict(width=width, height=height))
        browser.close()


def axe(tab, within=None):
    "What axe-core finds, on the whole page or within a selector: one line a node"
    if not tab.evaluate('window.axe !== undefined'): tab.evaluate(AXE.read_text(encoding='utf-8'))
    where = within or 'html'
    found = tab.evaluate(f"axe.run('{where}', {{resultTypes: ['violations']}})")['violations']
    return [f'{v["impact"]} {v["id"]}: {o["html"][:120]}' for v in found for o in v['nodes']]
