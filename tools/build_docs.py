"""Build the site into _docs without Quarto: nbdev processes the notebooks, smalldocs renders them, scripts are local.

With --draft: a page that the sidebar lists but nobody has written yet is left out instead of refused."""
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
import yaml
from check_site import check
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import _build_modidx
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs

KATEX = re.compile(r'\s*<(?:link|script)[^>]*/katex@[^>]*>(?:</script>)?')
FONTS = re.compile(r'@import (?:url\()?(["\']?)https?://[^"\')]*\1\)?;')
# html-manager still calls MathJax 2's Hub.Queue for LaTeX in widget labels
MATHJAX = ('MathJax={tex:{tags:"ams"},startup:{ready(){MathJax.startup.defaultReady();'
           'MathJax.Hub={Queue(a){MathJax.typesetPromise([a[2]])}}}}}')
FOR_QUARTO = re.compile(r'key format-links|html.grid is ignored|format commonmark is not|output-file is not read')
VIEW = 'application/vnd.jupyter.widget-view+json'
SCRIPTS = {'mathjax.js': 'mathjax/es5/tex-svg.js', 'widgets.js': '@jupyter-widgets/html-manager/dist/embed.js'}


def walk(contents):
    "The notebooks in a sidebar, in order"
    for o in contents:
        if isinstance(o, str): yield o
        else: yield from walk(o.get('contents', []))


def only(contents, there):
    "A sidebar without the notebooks that are not in `there` and the sections left empty"
    out = [o if isinstance(o, str) else o | {'contents': only(o['contents'], there)} for o in contents]
    return [o for o in out if (o in there if isinstance(o, str) else o['contents'])]


def sidebar(yml, nbs, draft=False):
    "The site's configuration and the pages left out of a draft; refused when sidebar and notebooks differ"
    conf = yaml.safe_load(yml.read_text())
    there = {p.relative_to(nbs).as_posix() for p in nbs.rglob('[!_.]*.ipynb') if '.ipynb_checkpoints' not in p.parts}
    side = conf['website']['sidebar']
    listed = list(walk(side['contents']))
    if lost := sorted(there - set(listed)): sys.exit(f'not in the sidebar of _quarto.yml: {", ".join(lost)}')
    if twice := {o for o in listed if listed.count(o) > 1}: sys.exit(f'twice in the sidebar: {", ".join(twice)}')
    gone = [o for o in listed if o not in there]
    if gone and not draft: sys.exit(f'in the sidebar of _quarto.yml, but not under nbs/: {", ".join(gone)}')
    side['contents'] = only(side['contents'], there)
    return conf, [nbpath2html(o) for o in gone]


def tag(kind, data): return f'<script type="{kind}">{json.dumps(data)}</script>'


def embed_widgets(nb):
    "Give each widget view in `nb` the HTML that html-manager's embed.js looks for"
    outs = [o for c in nb['cells'] for o in c.get('outputs', []) if VIEW in o.get('data', {})]
    if not outs: return
    for o in outs: o['data']['text/html'] = tag(VIEW, o['data'][VIEW])
    state = ''.join(tag(k, v) for k, v in nb['metadata'].get('widgets', {}).items())
    out = dict(output_type='display_data', metadata={}, data={'text/html': state})
    nb['cells'].append(dict(cell_type='code', id='widgets', execution_count=None, metadata={}, outputs=[out],
                            source='#| echo: false'))


def renamed(s, names):
    "`s` with each notebook called as its page is, except inside the link of a Colab badge"
    for a, b in names.items():
        s = re.sub(rf'(https?://[^\s")]*)?(?<!\w){re.escape(a)}', lambda m, b=b: m[0] if m[1] else b, s)
    return s


def stage(cache, src, cfg, conf):
    "Copy nbdev's `_proc` to `src`, in the form that smalldocs renders as Quarto renders `_proc`"
    shutil.rmtree(src, ignore_errors=True)
    shutil.copytree(cache, src, ignore=shutil.ignore_patterns(cfg.doc_path.name, '.quarto'))
    (src/'_quarto.yml').write_text(yaml.safe_dump(conf, sort_keys=False))
    # Quarto honours nbdev's `output-file: core.html`; smalldocs does not, so the files lose their 00_ here
    names = {p.name: nbpath2html(p).with_suffix('.ipynb').name for p in src.rglob('*.ipynb')}
    for p in [p for p in src.rglob('*') if p.suffix in ('.ipynb', '.yml', '.qmd', '.md')]:
        s = renamed(p.read_text(), names)
        if p.suffix == '.ipynb':
            up = '../'*(len(p.relative_to(src).parts) - 1)
            s = s.replace(cfg.doc_url.rstrip('/') + '/', up)  # the site works anywhere
            nb = json.loads(s)
            embed_widgets(nb)
            s = json.dumps(nb)
        p.write_text(s)
        if p.name in names: p.rename(p.with_name(names[p.name]))


def localise(out, libs, modules):
    "Replace what would come from another host"
    for name, path in SCRIPTS.items():
        if not (modules/path).exists(): sys.exit(f'{modules.name}/{path} is missing: run npm ci')
        shutil.copy(modules/path, libs/name)
    for p in libs.rglob('*.css'): p.write_text(FONTS.sub('', p.read_text()))  # Bootswatch themes import web fonts
    for p in out.rglob('*.html'):
        s, maths = KATEX.subn('', p.read_text())
        rel = os.path.relpath(libs, p.parent)
        head = '<link rel="icon" href="data:,">'  # or the browser asks for favicon.ico
        if maths: head += f'<script>{MATHJAX}</script><script defer src="{rel}/mathjax.js"></script>'
        if VIEW in s: head += f'<script defer src="{rel}/widgets.js"></script>'
        p.write_text(s.replace('</head>', head + '</head>', 1))


def render(src):
    "Run smalldocs on `src`; of its warnings, pass on those that are not about keys meant for Quarto"
    cmd = [sys.executable, '-m', 'smalldocs.cli', 'render', '-q', str(src)]
    run = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = [line for line in run.stdout.splitlines() if run.returncode or not FOR_QUARTO.search(line)]
    if said: print('\n'.join(said))
    if run.returncode: sys.exit('smalldocs could not render the site')


def build(cfg, conf):
    "Render all notebooks into cfg.doc_path"
    src = cfg.config_path/'_proc_site'
    stage(proc_nbs(n_workers=2, force=True), src, cfg, conf)
    render(src)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(src/cfg.doc_path.name, cfg.doc_path)
    shutil.rmtree(src)
    localise(cfg.doc_path, cfg.doc_path/'site_libs', cfg.config_path/'node_modules')


def main():
    if not find_spec('smalldocs'): sys.exit('smalldocs is not here; it needs Python 3.11 and comes with the dev set')
    cfg = get_config()
    os.chdir(cfg.config_path)
    conf, absent = sidebar(cfg.config_path/'_quarto.yml', cfg.nbs_path, '--draft' in sys.argv)
    refresh_quarto_yml()
    _build_modidx()
    build(cfg, conf)
    n = check(cfg.doc_path, cfg.lib_path, absent)
    print(f'{n} pages in {cfg.doc_path.name}/')


if __name__ == '__main__': main()
