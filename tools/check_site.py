"""Read the built site: links lead somewhere, pictures have a text, functions are there.

tools/check_site.py [folder]     _docs without an argument"""
import ast
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = dict(script='src', img='src', iframe='src', source='src', video='src', link='href')
REMOTE = re.compile(r'(?:@import|url\()\s*["\']?((?:https?:)?//[\w.-]+)')
OURS = re.compile(r'asal-nb/asal-nb/(?:blob|edit)/main/([^#?]+)')


class Page(HTMLParser):
    "What a page holds: ids, links, loaded files, pictures without a text"
    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.loads, self.mute = path, set(), [], [], 0
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if 'id' in attrs: self.ids.add(attrs['id'])
        if tag == 'a' and attrs.get('href', '') not in ('', '#'): self.links.append(attrs['href'])
        if attrs.get(LOADS.get(tag)): self.loads.append(attrs[LOADS[tag]])
        if tag == 'img' and 'alt' not in attrs: self.mute += 1


def is_remote(url): return bool(urlsplit(url).netloc) or urlsplit(url).scheme in ('http', 'https')
def is_local(url): return not is_remote(url) and not urlsplit(url).scheme


def target(page, url, site):
    "The file that `url` on `page` means, and the id in it"
    u = urlsplit(url)
    base = site if u.path.startswith('/') else page.path.parent
    p = (base/unquote(u.path).lstrip('/')).resolve() if u.path else page.path
    return (p/'index.html' if p.is_dir() else p), unquote(u.fragment)


def broken_links(page, pages, site, absent):
    "Links and loaded files of `page` that lead nowhere"
    for url in sorted({o for o in page.links + page.loads if is_local(o)}):
        p, frag = target(page, url, site)
        if p in absent: continue
        if not p.exists(): yield f'{url} does not exist'
        elif frag and p in pages and frag not in pages[p].ids:
            yield f'{url} has no such place on its page'


def faults(page, pages, site, absent, root):
    "All that is wrong with one page, as sentences"
    yield from broken_links(page, pages, site, absent)
    yield from (f'loads {u} from another host' for u in page.loads if is_remote(u))
    ours = {unquote(m[1]) for m in map(OURS.search, page.links) if m}
    lost = sorted(o for o in ours if not (root/o).exists())
    yield from (f'links {o} of the repository, which is not there' for o in lost)
    if page.mute: yield f'has {page.mute} pictures without a text'


def is_patch(f): return any('patch' in ast.unparse(d) for d in f.decorator_list)


def documented(module):
    "Names that the module's page shows: what __all__ has, and public methods added by patch"
    body = ast.parse(module.read_text(encoding='utf-8')).body
    listed = [o.value for o in body if ast.unparse(o).startswith('__all__ = ')]
    public = set(ast.literal_eval(listed[0])) if listed else set()
    for f in body:
        if not isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
        if f.name in public: yield f.name
        elif f.name.startswith('_') or not is_patch(f): continue
        elif not re.search('property|contextmanager', ' '.join(map(ast.unparse, f.decorator_list))):
            owners = ast.unparse(f.args.args[0].annotation).split('|')
            yield from (f'{c.strip()}.{f.name}' for c in owners)


def unshown(site, lib, pages):
    "Names that the library has and the site does not show"
    for m in sorted(lib.rglob('[!_]*.py')):
        name = m.relative_to(lib).with_suffix('.html')
        page = pages.get((site/name).resolve())
        shown = page.ids if page else set()
        lost = [n for n in documented(m) if n.lower() not in shown]
        yield from (f'{name.as_posix()}: {n} is missing' for n in lost)


def remote_styles(site):
    "Styles and scripts that load something from another host"
    for p in sorted(site.rglob('*.css')):
        found = REMOTE.findall(p.read_text(encoding='utf-8'))
        yield from (f'{p.relative_to(site)} loads {u} from another host' for u in found)


def check(site, lib, absent=()):
    "The number of pages; stops with a list of all that is wrong. Those in `absent` may be linked"
    site = site.resolve()
    absent = {(site/a).resolve() for a in absent}
    pages = {p: Page(p) for p in sorted(site.rglob('*.html'))}
    bad = [f'{p.relative_to(site)}: {f}' for p, page in pages.items()
           for f in faults(page, pages, site, absent, lib.parent)]
    bad += [*unshown(site, lib, pages), *remote_styles(site)]
    if not (site/'search.json').exists(): bad.append('search.json is missing')
    if bad: sys.exit('The site is not in order:\n' + '\n'.join(bad))
    return len(pages)


if __name__ == '__main__':
    root = Path(__file__).resolve().parents[1]
    site = Path(sys.argv[1]) if sys.argv[1:] else root/'_docs'
    print(check(site, root/'asal_nb'), 'pages in order')
