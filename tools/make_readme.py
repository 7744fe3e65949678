"""Write README.md and its pictures from nbs/index.ipynb, without Quarto.

With --check: only fail where they are stale. With --for-pypi: pictures by their whole address, as
PyPI needs them; not to be committed."""
import base64
import re
import sys
from nbdev.config import get_config
from nbdev.process import NBProcessor
from nbdev.readme_filter import doc_link

HEAD = '<!-- Generated from nbs/index.ipynb by tools/make_readme.py; do not edit. -->'
HIDDEN = {'hide', 'export', 'exporti', 'default_exp'}
CALLOUT = re.compile(r'^::: *\{\.callout-(\w+)\}\n(.*?)\n:::$', re.M | re.S)
PICTURE = re.compile(r'(!\[[^\]]*\])\(([^)]+)\)')
# its text may be a picture: a badge
LINK = re.compile(r'(?<!!)(\[(?:!\[[^\]]*\]\([^)]*\)|[^\]])*\])\(([^)]+)\)')


def join(s): return ''.join(s) if isinstance(s, list) else s
def indent(s, by): return re.sub('^', by, s, flags=re.M)
def alert(m): return f'> [!{m[1].upper()}]\n' + indent(m[2], '> ')


def markdown(s, cfg):
    "A markdown cell as GitHub reads it: callouts become alerts, notebooks pages of the site"
    s = CALLOUT.sub(alert, s)
    s = PICTURE.sub(lambda m: m[0] if '/' in m[2] else f'{m[1]}({cfg.nbs_path.name}/{m[2]})', s)
    return LINK.sub(lambda m: f'{m[1]}({doc_link(m[2], cfg.doc_url)})', s)


def for_pypi(s, cfg):
    "The README with pictures by their whole address"
    raw = cfg.git_url.replace('github.com', 'raw.githubusercontent.com') + f'/{cfg.branch}/'
    return PICTURE.sub(lambda m: m[0] if '://' in m[2] else f'{m[1]}({raw}{m[2]})', s)


def shown(output, name, files):
    "One output as markdown; a picture goes to `files`"
    data = output.get('data', {})
    if 'image/png' in data:
        files[name] = base64.b64decode(join(data['image/png']))
        return f'![]({name})'
    if 'text/markdown' in data: return join(data['text/markdown'])
    text = join(output.get('text') or data.get('text/plain', ''))
    return indent(text.rstrip(), '    ') if text else None


def parts(cfg, files):
    "The blocks of the README, in order"
    yield HEAD
    for c in NBProcessor(cfg.nbs_path/cfg.readme_nb, rm_directives=True, process=True).nb.cells:
        if c.cell_type == 'markdown': yield markdown(c.source, cfg)
        if c.cell_type != 'code' or HIDDEN & set(c.directives_): continue
        if c.directives_.get('echo') != 'false': yield f'```python\n{c.source.strip()}\n```'
        yield from (shown(o, f'index_files/{c.id}-{i}.png', files) for i, o in enumerate(c.outputs))


def render(cfg):
    "File name -> bytes: README.md and its pictures"
    files = {}
    md = '\n\n'.join(p for p in parts(cfg, files) if p) + '\n'
    return {'README.md': md.encode()} | files


def stale(root, files):
    "The names among `files`, and the pictures no longer used, that differ from what is on disk"
    there = {'README.md'} | {f'index_files/{p.name}' for p in (root/'index_files').glob('*')}
    return sorted(
        n
        for n in there | set(files)
        if not (root / n).exists() or (root / n).read_bytes() != files.get(n))


def main():
    cfg = get_config()
    root, index = cfg.config_path, cfg.nbs_path/cfg.readme_nb
    if not index.exists():
        sys.exit(f'{index.relative_to(root)}, of which README.md is made, does not exist')
    files = render(cfg)
    if '--for-pypi' in sys.argv:
        files['README.md'] = for_pypi(files['README.md'].decode(), cfg).encode()
    old = stale(root, files)
    if '--check' in sys.argv:
        sys.exit(f'out of date: {", ".join(old)}; run tools/make_readme.py' if old else 0)
    for n in old:
        if n not in files:
            (root/n).unlink()
            continue
        (root/n).parent.mkdir(exist_ok=True)
        (root/n).write_bytes(files[n])


if __name__ == '__main__': main()
