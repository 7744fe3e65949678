"""out/classroom.zip: all that a class needs in a room without network.

tools/classroom.py [--wheels no] [--torch INDEX]

Wheels are for this system and this version of Python. Those of torch come from INDEX, by default
PyTorch's own without CUDA, which is some 2 GB smaller; the index of PyPI has those with it."""
import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from string import Template
import course
from release_check import build, tracked
from run_nbs import ROOT

README = Path(__file__).parent/'site/classroom.md'
ZIP = ROOT/'out/classroom.zip'
WITHOUT_CUDA = 'https://download.pytorch.org/whl/cpu'
ALSO = 'jupyterlab', 'pytest'    # pytest: what Colab has and a chapter uses


def add_notebooks(folder):
    "All notebooks, with the ledgers and pictures that they read"
    for p in tracked():
        if not p.is_relative_to(ROOT/'nbs'): continue
        to = folder/'notebooks'/p.relative_to(ROOT/'nbs')
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, to)


def add_wheels(folder, torch):
    "The wheel of this package, and all wheels that it and Jupyter need"
    to = folder/'wheels'
    to.mkdir()
    with tempfile.TemporaryDirectory() as d: wheel = shutil.copy(build(Path(d))[1], to)
    cmd = [sys.executable, '-m', 'pip', 'download', '-q', '--only-binary', ':all:', '-d', to,
           '--find-links', to, '--extra-index-url', torch, wheel, *ALSO]
    if subprocess.run(cmd).returncode: sys.exit('pip could not download all wheels')
    builds = {p.name.split('-')[1].partition('+')[2] for p in to.glob('torch[-v]*')}
    if len(builds) > 1: sys.exit('torch and torchvision are not of one build: choose one TORCH')


def write_readme(folder):
    "README.md, and the licences"
    made = dict(system=f'{platform.system()} on {platform.machine()}',
                python='{}.{}'.format(*sys.version_info))
    text = Template(README.read_text(encoding='utf-8')).substitute(made)
    (folder/'README.md').write_text(text, encoding='utf-8')
    for name in ('LICENSE', 'LICENSE-TEXT'): shutil.copy(ROOT/name, folder)


def fill(folder, site):
    "Put all but the wheels into `folder`"
    folder.mkdir()
    add_notebooks(folder)
    shutil.copytree(site, folder/'site')
    course.write_sources(folder/'grading')
    write_readme(folder)


def pack(folder):
    "Write the zip; wheels are compressed already"
    ZIP.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(ZIP, 'w') as z:
        for p in sorted(p for p in folder.rglob('*') if p.is_file()):
            kind = zipfile.ZIP_STORED if p.suffix == '.whl' else zipfile.ZIP_DEFLATED
            z.write(p, p.relative_to(folder.parent), kind)


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--wheels', choices=('yes', 'no'), default='yes')
    a.add_argument('--torch', metavar='INDEX', default=WITHOUT_CUDA)
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)/'classroom'
        fill(folder, ROOT/'_docs')
        if a.wheels == 'yes': add_wheels(folder, a.torch)
        pack(folder)
    print(f'{ZIP.relative_to(ROOT)}: {ZIP.stat().st_size/1e6:.0f} MB')


if __name__ == '__main__': main()
