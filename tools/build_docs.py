"""Build the site into _docs: nbdev reads the notebooks, smalldocs renders them, shell.py finishes.

With --draft, a page that the sidebar lists but nobody has written yet is left out, not refused."""
import html
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
import slides
import yaml
from check_site import check
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import _build_modidx
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from shell import finish

FOR_QUARTO = re.compile(
    r'key format-links|html.grid is ignored|format commonmark is not|output-file is not read')
MODULE = re.compile(
    r'\b(?:__main__|asal_nb|torch|numpy|pathlib|ipywidgets|pandas)\.(?:\w+\.)*(?=[A-Z])')
SWITCH = re.compile(r'<function (\w+) at 0x\w+>')    # how a function prints that serves as a type
VIEW = 'application/vnd.jupyter.widget-view+json'
STATE = 'application/vnd.jupyter.widget-state+json'


def walk(contents):
    "The notebooks in a sidebar, in order"
    for o in contents:
        if isinstance(o, str): yield o
        else: yield from walk(o['contents'])


def only(contents, there):
    "A sidebar without the notebooks that are not in `there` and the sections left empty"
    kept = []
    for o in contents:
        if isinstance(o, dict): o = o | {'contents': only(o['contents'], there)}
        if o in there if isinstance(o, str) else o['contents']: kept.append(o)
    return kept


def sidebar(yml, nbs, draft=False):
    "The configuration, and the pages left out of a draft; refused if sidebar and notebooks differ"
    conf = yaml.safe_load(yml.read_text())
    books = [p.relative_to(nbs) for p in nbs.rglob('[!_.]*.ipynb')]
    there = {p.as_posix() for p in books if '.ipynb_checkpoints' not in p.parts}
    side = conf['website']['sidebar']
    listed = list(walk(side['contents']))
    if lost := sorted(there - set(listed)):
        sys.exit(f'not in the sidebar of _quarto.yml: {", ".join(lost)}')
    if twice := {o for o in listed if listed.count(o) > 1}:
        sys.exit(f'twice in the sidebar: {", ".join(twice)}')
    gone = [o for o in listed if o not in there]
    if gone and not draft:
        sys.exit(f'in the sidebar of _quarto.yml, but not under nbs/: {", ".join(gone)}')
    side['contents'] = only(side['contents'], there)
    return conf, [page_of(o) for o in gone]


def page_of(notebook):
    "paper/gauss.html for paper/02_gauss.ipynb"
    return nbpath2html(notebook).as_posix()


def still(state, name):
    "A widget as it was stored, in HTML that needs no script: there is no kernel behind a page"
    widget = state[name.removeprefix('IPY_MODEL_')]
    value = widget['state']
    if children := value.get('children'):
        return '\n'.join(still(state, o) for o in children)
    if widget['model_name'] == 'ImageModel':
        return f'<p><img src="data:image/png;base64,{widget["buffers"][0]["data"]}"></p>'
    if options := value.get('_options_labels'): value['value'] = options[value['index']]
    if value.get('description'):
        return f'<p class="setting"><code>{value["description"]}</code> {value["value"]}</p>'
    return f'<p>{html.escape(str(value.get("value", "")))}</p>'


def draw_widgets(nb):
    "Give each widget view in `nb` its picture in HTML"
    state = nb['metadata'].pop('widgets', {}).get(STATE, {}).get('state')
    for o in (o for c in nb['cells'] for o in c.get('outputs', [])):
        if view := o.get('data', {}).pop(VIEW, None):
            o['data']['text/html'] = f'<div class="widget">{still(state, view["model_id"])}</div>'


def shorten_types(nb):
    "Types in shown signatures as one writes them: ImageData, not asal_nb.data.images.ImageData"
    for o in (o for c in nb['cells'] for o in c.get('outputs', [])):
        text = ''.join(o.get('data', {}).get('text/markdown', ''))
        if '\ndef ' not in text: continue
        text = SWITCH.sub(r'\1', MODULE.sub('', text))
        o['data']['text/markdown'] = text.replace(':NoneType=None', '=None')


def renamed(s, names):
    "`s` with each notebook called as its page is, except inside the link of a Colab badge"
    def page(m): return m[0] if m[1] else names.get(m[2], m[2])
    return re.sub(r'(https?://[^\s")]*)?(?<!\w)(\w+\.ipynb)', page, s)


def stage(cache, src, cfg, conf):
    "Copy nbdev's `_proc` to `src`, in the form that smalldocs renders as Quarto renders `_proc`"
    shutil.rmtree(src, ignore_errors=True)
    shutil.copytree(cache, src, ignore=shutil.ignore_patterns(cfg.doc_path.name, '.quarto'))
    (src/'_quarto.yml').write_text(yaml.safe_dump(conf, sort_keys=False))
    # Quarto honours nbdev's `output-file: core.html`; smalldocs does not, so files lose their 00_
    names = {p.name: nbpath2html(p).with_suffix('.ipynb').name for p in src.rglob('*.ipynb')}
    for p in [p for p in src.rglob('*') if p.suffix in ('.ipynb', '.yml', '.qmd', '.md')]:
        s = renamed(p.read_text(), names)
        if p.suffix == '.ipynb':
            up = '../'*(len(p.relative_to(src).parts) - 1)
            nb = json.loads(s.replace(cfg.doc_url.rstrip('/') + '/', up))  # the site works anywhere
            draw_widgets(nb)
            shorten_types(nb)
            s = json.dumps(nb)
        p.write_text(s)
        if p.name in names: p.rename(p.with_name(names[p.name]))


def render(src):
    "Run smalldocs on `src`; pass on its warnings, but for those about keys meant for Quarto"
    cmd = [sys.executable, '-m', 'smalldocs.cli', 'render', '-q', str(src)]
    run = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in run.stdout.splitlines():
        if run.returncode or not FOR_QUARTO.search(line): print(line)
    if run.returncode: sys.exit('smalldocs could not render the site')


def build(cfg, conf, strict):
    "Render all notebooks into cfg.doc_path"
    src = cfg.config_path/'_proc_site'
    stage(proc_nbs(n_workers=2, force=True), src, cfg, conf)
    render(src)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(src/cfg.doc_path.name, cfg.doc_path)
    shutil.rmtree(src)
    tree = conf['website']['sidebar']['contents']
    order = [(nb, page_of(nb), o['section']) for o in tree for nb in walk(o['contents'])]
    modules = cfg.config_path/'node_modules'
    if not modules.exists(): sys.exit('node_modules is missing: run npm ci')
    finish(cfg.doc_path, tree, order, cfg.nbs_path, modules, cfg.git_url, strict)
    slides.write(cfg.doc_path, cfg.doc_path/'slides')


def main():
    if not find_spec('smalldocs'):
        sys.exit('smalldocs is not here; it needs Python 3.11 and comes with the dev set')
    cfg = get_config()
    os.chdir(cfg.config_path)
    draft = '--draft' in sys.argv
    conf, absent = sidebar(cfg.config_path/'_quarto.yml', cfg.nbs_path, draft)
    refresh_quarto_yml()
    _build_modidx()
    build(cfg, conf, not draft)
    n = check(cfg.doc_path, cfg.lib_path, absent)
    print(f'{n} pages in {cfg.doc_path.name}/')


if __name__ == '__main__': main()
