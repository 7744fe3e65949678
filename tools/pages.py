"""The text of each page, from smalldocs' HTML: each function once, codes linked, equations typeset.

What stands around the text is the work of shell.py."""
import base64
import io
import json
import posixpath
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from bs4 import BeautifulSoup, Comment
from PIL import Image

HERE = Path(__file__).parent/'site'
REGISTER = 'paper/register.html'
BAR = re.compile(r'\w+: (\d+ of \d+|finished)')    # what a bar leaves behind
CODE = re.compile(r'\bD(?:1\d?|2[0-3]?|[3-9])\b')   # of the register: D1 to D23
NOT_LINKED = ['a', 'code', 'pre', 'summary', 'h1', 'h2', 'h3', 'h4', 'figcaption', 'svg']
REF = re.compile(r'\\\(\s*\\eqref\{([^}]+)\}\s*\\\)')
LABEL = re.compile(r'\\label\{([^}]+)\}')
TAG = re.compile(r'\\tag\{([^}]+)\}')
SHORT, LONG = 16, 40    # lines, a function and in all, shown as source in place of signatures


def quieter(s):
    "Code with a span only where the style sets a colour, and one for neighbours of a kind"
    s = re.sub(r'<span class="(?:op|bu|va|dt|at|sc|ot|er)">([^<]*)</span>', r'\1', s)
    s = re.sub(r'<span class="(?:ss|ch)">', '<span class="st">', s)
    n = 1
    while n: s, n = re.subn(r'(<span class="(st|co)">[^<]*)</span><span class="\2">', r'\1', s)
    return s


@dataclass
class Page:
    "A page of the site, on its way from smalldocs' HTML to ours"
    path: str                  # paper/gauss.html
    notebook: str              # paper/02_gauss.ipynb
    section: str               # Paper
    file: Path                 # where the site keeps it
    maths: list = field(default_factory=list)

    def __post_init__(self):
        s = self.file.read_text(encoding='utf-8')
        main = s[s.index('<main'):s.index('</main>')] + '</main>'
        self.soup = BeautifulSoup(quieter(main), 'html.parser')
        self.main = self.soup.main
        self.up = '../'*self.path.count('/')
        self.title = self.main.h1.get_text().strip()
        number = re.match(r'\d+', Path(self.notebook).name)
        self.number = number[0] if number else ''
        self.name = f'{self.number} {self.title}'.strip()

    def new(self, name, text='', **attrs):
        "A new element, as in new('a', 'text', href='x'); a class is class_"
        return self.soup.new_tag(name, string=text or None,
                                 attrs={k.rstrip('_'): v for k, v in attrs.items()})

    def headings(self):
        "Each heading below the title with the id that leads to it"
        for h in self.main.find_all(['h2', 'h3']):
            if anchor := h.get('id') or h.get('data-anchor-id'): yield h, anchor


def clean(page):
    """Drop what belongs to smalldocs' own shell, what pandas writes for notebooks, the last line
    of a bar, and the badge for Colab: each page has a link of its own"""
    main = page.main
    drop = 'nav, .quarto-title-meta, style[scoped], .code-copy-button, i.bi'
    badges = main.select('p > a > img[src$="colab-badge.svg"]')
    bars = [o for o in main.select('.cell-output-display') if BAR.fullmatch(o.get_text().strip())]
    for o in [*main.select(drop), *(o.find_parent('p') for o in badges), *bars]: o.decompose()
    for o in main.find_all(string=lambda s: isinstance(s, Comment)): o.extract()
    for o in main.find_all(['table', 'tr'], attrs=True):
        for a in ('border', 'style'): o.attrs.pop(a, None)
    for a in main.find_all('a', href=''): a['href'] = page.up + 'index.html'
    for a in main.find_all('a', target='_blank'): del a['target']


# ------------------------------------------------------------------ functions


def neighbours(page):
    "The cells of a page in runs between which there is no prose"
    run = []
    for cell in page.main.select('div.cell'):
        if run and cell.find_previous_sibling() is not run[-1]:
            yield run
            run = []
        run.append(cell)
    yield run


def show_once(page):
    "A short function is shown by its source, a long one by its signature over the folded source"
    for run in neighbours(page):
        heads = [cell.select_one('.cell-output-markdown > [id]:is(h3, h4)') for cell in run]
        heads = [h for h in heads if h]
        for h in heads: as_entry(h)
        for cell in run:
            fold = cell.find('details', class_='code-fold')
            if not fold or fold.summary.get_text() != 'Exported source': continue
            code = fold.find('code')
            source = code.get_text().strip()
            own = [h for h in heads if defines(source, h['id'])]
            own.sort(key=lambda h: defines(source, h['id']).start())
            heads = [h for h in heads if h not in own]
            for h in own: cell.insert_before(h.find_parent('div', class_='cell'))
            fold.summary.string = 'Source'
            del fold['open']
            is_short = source.count('\n') < min(SHORT*len(own), LONG)
            if own and is_short: unfold(fold, code, [h.parent for h in own])


def defines(source, name):
    "Does a source define the function, class or method whose entry has this id?"
    return re.search(rf'\b(def|class) {name.split(".")[-1]}\b', source, re.I)


def as_entry(head):
    "nbdev's entry of one function: a heading with the link to the source, and the docstring"
    entry = head.parent
    entry['class'] = 'entry'
    for o in entry.find_all('hr'): o.decompose()
    for o in head.find_all('strong'): o.replace_with(f'__{o.get_text()}__')    # __getitem__
    if link := entry.find('a', string='source'):
        label = f'source of {head.get_text()}'
        link.attrs = {'href': link['href'], 'class': 'source', 'aria-label': label}
        link.parent.unwrap()
        head.append(link)
    for p in entry.find_all('p'):
        p['class'] = 'doc'
        for em in p.find_all('em', recursive=False): em.unwrap()


def unfold(fold, code, entries):
    "Show the source of functions in place of their signatures"
    for o in entries: o.find('div', class_='sourceCode').parent.decompose()
    drop_docstrings(code, [p.get_text() for o in entries for p in o.select('p.doc')])
    fold.replace_with(fold.find('div', class_='code-copy-outer-scaffold'))


def words_of(text): return re.findall(r'\w+', text)


def drop_docstrings(code, docs):
    "Take from a shown source the one-line docstrings that the page prints above it"
    said = [words_of(o) for o in docs]
    def is_said(line):
        text = BeautifulSoup(line, 'html.parser').get_text().strip()
        return text[:1] in '"\'' and words_of(text) in said
    kept = '\n'.join(o for o in code.decode_contents().split('\n') if not is_said(o))
    pre = BeautifulSoup(f'<pre>{kept}</pre>', 'html.parser').pre    # or indents would be lost
    code.clear()
    code.extend(list(pre.children))


# ------------------------------------------------------------------ links


def link_register(page):
    "Each code such as D13 in the text leads to its row in the register; the rows get ids"
    if page.path == REGISTER: mark_rows(page.main)
    at = '' if page.path == REGISTER else page.up + REGISTER
    for text in list(page.main.find_all(string=CODE)):
        if text.find_parent(NOT_LINKED) or text.find_parent('tr', id=text.strip()): continue
        parts = re.split(f'({CODE.pattern})', text)
        for i, code in enumerate(parts):
            if i%2: parts[i] = page.new('a', code, href=f'{at}#{code}', class_='code')
        text.replace_with(*parts)


def mark_rows(main):
    for tr in main.find_all('tr'):
        first = tr.find(['td', 'th'])
        code = first.get_text().strip() if first else ''
        if CODE.fullmatch(code): tr['id'] = code


def mend_links(pages):
    "A link to a method that has no entry of its own leads to its class"
    ids = {p.path: {o['id'] for o in p.main.find_all(id=True)} for p in pages}
    for p in pages:
        for a in p.main.find_all('a', href=re.compile(r'#\w+\.\w+$')):
            path, _, name = a['href'].partition('#')
            there = posixpath.normpath(posixpath.join(posixpath.dirname(p.path), path))
            known = ids.get(there if path else p.path, ())
            owner = name.split('.')[0]
            if name not in known and owner in known: a['href'] = f'{path}#{owner}'


# ------------------------------------------------------------------ pictures and tables


def is_photo(png):
    "Does a picture hold dark surfaces or many shades (4 bits), as images have and plots do not?"
    shades = Image.open(io.BytesIO(png)).convert('L')
    n = shades.histogram()
    return sum(n[:60]) > .16*sum(n) or shades.entropy() > 4


def describe_pictures(page):
    "Each picture has a text: the cell's fig-alt, else the sentence before it"
    for img in page.main.find_all('img'):
        if not img.get('alt'):
            before = img.find_previous('p')
            img['alt'] = before.get_text().strip()[:250] if before else page.title
        kind, _, data = img['src'].partition(',')
        if kind == 'data:image/png;base64': png = base64.b64decode(data)
        elif kind.endswith('.png'): png = (page.file.parent/kind).read_bytes()
        else: continue
        img['class'] = 'photo' if is_photo(png) else 'plot'
    for caption in page.main.find_all('figcaption'):  # smalldocs repeats the text of a picture
        img = caption.find_parent('figure').find('img')
        if img and words_of(img['alt']) == words_of(caption.get_text()): caption.decompose()


def mark_tables(page):
    "Each header of a table says of what, an empty corner is no header; what may scroll is named"
    for table in page.main.find_all('table'):
        for th in table.find_all('th'):
            if th.get_text().strip(): th['scope'] = 'col' if th.find_parent('thead') else 'row'
            else: th.name = 'td'
        if 'sd-table' not in table.parent.get('class', []):
            table.wrap(page.new('div', class_='sd-table'))
        table.parent['data-wide'] = 'Table'
        if 'dataframe' in table.get('class', []): align_words(table)
    for o in page.main.find_all('pre'): o['data-wide'] = 'Code'
    for o in page.main.select('.cell-output pre'):
        in_columns = re.search(r'\S  +\S', o.get_text())
        if not in_columns: o['class'] = 'words'
    for o in page.main.select('span.math.display'): o['data-wide'] = 'Equation'


def align_words(table):
    "In a table of numbers, a column of words stands to the left; long words have room"
    rows = [tr.find_all(['td', 'th']) for tr in table.find_all('tr')]
    for i in range(1, 1 + min(map(len, rows))):    # from the right: the left may span rows
        column = [row[-i] for row in rows]
        said = [o.get_text().strip() for o in column if not o.find_parent('thead')]
        if not any(re.search('[A-Za-z]{4}', o) for o in said): continue
        for o in column: o['class'] = 'words'
        if max(map(len, said)) > 30: column[-1]['class'] = 'words long'


# ------------------------------------------------------------------ watch the game


def put_players(page):
    "Each `data-watch` gets the rounds it asks for: all, or 'lambda_4 rule count'; and their player"
    roots = page.main.select('[data-watch]')
    if not roots: return
    saved = json.loads((HERE.parents[1]/'nbs/watch.json').read_text(encoding='utf-8'))
    for root in roots:
        data = dict(saved)
        if root['data-watch']:
            lam4, rule, n = root['data-watch'].split()
            data['runs'] = {lam4: {rule: saved['runs'][lam4][rule][:int(n)]}}
        root.append(page.new('script', json.dumps(data), type='application/json'))
    page.main.append(page.new('style', (HERE/'watch.css').read_text(encoding='utf-8')))
    page.main.append(page.new('script', (HERE/'watch.js').read_text(encoding='utf-8')))


# ------------------------------------------------------------------ equations


def take_maths(page):
    "Note the equations of a page for the typesetter; a reference to one becomes a link"
    tags = {}
    for o in page.main.select('span.math.display'):
        for label in LABEL.findall(o.get_text()):
            o['id'] = label.replace(':', '-')
            tags[label] = (TAG.search(o.get_text()) or LABEL.search(o.get_text()))[1]
    for o in page.main.select('span.math'):
        ref = REF.fullmatch(o.get_text().strip())
        label = ref[1] if ref else None
        if not ref: page.maths.append(o)
        elif label not in tags: sys.exit(f'{page.path}: no equation is labelled {label}')
        else: o.replace_with(page.new('a', f'({tags[label]})', href='#' + label.replace(':', '-')))


def typeset(pages, modules):
    "Make each equation an SVG, with MathML for screen readers; each page's glyphs, and the style"
    todo = {p.path: [o.get_text() for o in p.maths] for p in pages}
    beside = Path(sys.executable).parent    # where the wheel of node puts it
    node = shutil.which('node') or shutil.which('node', path=beside)
    if not node: sys.exit('node is missing, which typesets the equations')
    run = subprocess.run([node, HERE/'maths.js', modules], input=json.dumps(todo), text=True,
                         encoding='utf-8', capture_output=True)
    if run.returncode: sys.exit(f'the equations could not be typeset: {run.stderr}')
    done = json.loads(run.stdout)
    for p in pages:
        for o, svg in zip(p.maths, done['pages'][p.path]['maths']):
            if '<mjx-container' not in svg or 'data-mjx-error' in svg:
                sys.exit(f'{p.path}: MathJax cannot read {o.get_text()}')
            o.clear()
            o.append(BeautifulSoup(svg, 'html.parser'))
    return {path: o['glyphs'] for path, o in done['pages'].items()}, done['css']
