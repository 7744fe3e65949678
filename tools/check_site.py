"""Read the built site: links lead somewhere, equations resolve, signatures are there, nothing comes from elsewhere.

tools/check_site.py [folder]     _docs without an argument"""
import ast
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {'script': 'src', 'img': 'src', 'iframe': 'src', 'source': 'src', 'video': 'src', 'link': 'href'}
HEADINGS = {f'h{i}' for i in range(1, 7)}
VOID_LINK = ('', '#')
REMOTE = re.compile(r'(?:@import|url\()\s*["\']?((?:https?:)?//[\w.-]+)')


class Page(HTMLParser):
    "What a page holds: ids, links, loaded files, equation labels and references, ids of headings with code below them"
    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.loads, self.coded, self.under = path, set(), [], [], set(), None
        html = path.read_text(encoding='utf-8')
        self.feed(html)
        maths = ' '.join(re.findall(r'\\\[.*?\\\]|\\\(.*?\\\)', html, re.S))
        self.labels = re.findall(r'\\label\{([^}]+)\}', maths)
        self.refs = re.findall(r'\\(?:eq)?ref\{([^}]+)\}', maths)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if 'id' in attrs: self.ids.add(attrs['id'])
        if tag in HEADINGS: self.under = attrs.get('id')
        if tag == 'pre' and self.under: self.coded.add(self.under)
        if tag == 'a' and attrs.get('href', '') not in VOID_LINK: self.links.append(attrs['href'])
        if attrs.get(LOADS.get(tag)) and attrs.get('rel') != 'canonical': self.loads.append(attrs[LOADS[tag]])


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
    for url in filter(is_local, page.links + page.loads):
        p, frag = target(page, url, site)
        if p in absent: continue
        if not p.exists(): yield f'{url} does not exist'
        elif frag and p in pages and frag not in pages[p].ids: yield f'{url} has no such place on its page'


def faults(page, pages, site, absent):
    "All that is wrong with one page, as sentences"
    yield from broken_links(page, pages, site, absent)
    yield from (f'loads {u} from another host' for u in page.loads if is_remote(u))
    yield from (f'refers to equation {r}, which has no \\label on this page' for r in page.refs if r not in page.labels)
    yield from (f'labels equation {o} twice' for o in set(page.labels) if page.labels.count(o) > 1)


def is_patch(f): return any('patch' in ast.unparse(d) for d in f.decorator_list)


def documented(module):
    "Names whose signature the module's page shows: public functions and classes, and public methods added by patch"
    for f in ast.parse(module.read_text(encoding='utf-8')).body:
        if not isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or f.name.startswith('_'): continue
        if isinstance(f, ast.ClassDef) or not is_patch(f): yield f.name
        elif not re.search('property|contextmanager', ' '.join(map(ast.unparse, f.decorator_list))):
            for c in ast.unparse(f.args.args[0].annotation).split('|'): yield f'{c.strip()}.{f.name}'


def unsigned(site, lib, pages):
    "Names that the library has and the site does not show"
    for m in sorted(lib.glob('[!_]*.py')):
        p = (site/f'{m.stem}.html').resolve()
        shown = {re.sub(r'-\d+$', '', o) for o in pages[p].coded} if p in pages else set()  # x-1: below a heading x
        yield from (f'{p.name}: the signature of {n} is missing' for n in documented(m) if n.lower() not in shown)


def remote_styles(site):
    for p in sorted(site.rglob('*.css')):
        found = REMOTE.findall(p.read_text(encoding='utf-8'))
        yield from (f'{p.relative_to(site)} loads {u} from another host' for u in found)


def check(site, lib, absent=()):
    "The number of pages; stops with a list of all that is wrong. Pages in `absent` may be linked, but not exist."
    site = site.resolve()
    absent = {(site/a).resolve() for a in absent}
    pages = {p: Page(p) for p in sorted(site.rglob('*.html'))}
    bad = [f'{p.relative_to(site)}: {f}' for p, page in pages.items() for f in faults(page, pages, site, absent)]
    bad += [*unsigned(site, lib, pages), *remote_styles(site)]
    if not (site/'search.json').exists(): bad.append('search.json is missing')
    if bad: sys.exit('The site is not in order:\n' + '\n'.join(bad))
    return len(pages)


if __name__ == '__main__':
    root = Path(__file__).resolve().parents[1]
    print(check(Path(sys.argv[1]) if sys.argv[1:] else root/'_docs', root/'asal_nb'), 'pages in order')
