"The book's rules: what a part may import, what is numbered, documented, tested and explained."
import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from graphlib import TopologicalSorter
import asal_nb
import pytest
from conftest import ROOT
from check_site import is_patch
from run_nbs import notebooks
from fastcore.docments import docments

pytestmark = pytest.mark.repo
# a part imports only parts before it; `methods` and `check` may stand in either order
PARTS = 'checks core paper ledger ask data game loop methods check study apps all'.split()
MOST_MODULES = 65
EXPORT = re.compile(r'^#\|\s*export[si]?\b', re.M)
DEFAULT = re.compile(r'#\|\s*default_exp\s+(\S+)')
FIG_ALT = re.compile(r'^#\|\s*fig-alt:\s*\S.{19}', re.M)
OWN = re.compile(r'^\s*(?:from|import) asal_nb\.?([\w.]*)(?: import (\w+))?', re.M)
ASSERTS = re.compile(r'\b(assert|test_\w+\(|expect_fail|pytest\.raises)')
WHEEL = f'asal_nb-{asal_nb.__version__}-py3-none-any.whl'
DOES = re.compile(r'^(?!import |from |#|[)\s]|$)', re.M)  # a line that is no import
SENTENCE = re.compile(r'print\(f?["\'][A-Z]')
BARE = re.compile(r'Text\(|<Axes|<matplotlib|\[<matplotlib|array\(\[<Axes')
REGISTER = [f'D{i}' for i in range(1, 24)]


def src(c): return ''.join(c['source'])
def code(cells): return [c for c in cells if c['cell_type'] == 'code' and src(c).strip()]
def texts(cells): return [src(c) for c in cells if c['cell_type'] == 'markdown']
def prose(cells): return '\n'.join(texts(cells))
def exported(cells): return [c for c in code(cells) if EXPORT.search(src(c))]
def plain(s): return re.sub(r'^[%!].*', '', s, flags=re.M)


def asserts(c):
    return not EXPORT.search(src(c)) and ASSERTS.search(re.sub('#.*', '', src(c)))


def name_of(p): return p.relative_to(ROOT/'nbs').with_suffix('').as_posix()


# path -> cells of every notebook, in the book's order
BOOK = {p: json.loads(p.read_text(encoding='utf-8'))['cells'] for p in notebooks()}
SOURCE = {p: '\n'.join(map(src, code(cells))) for p, cells in BOOK.items()}
MODULE = {p: m[1] for p, s in SOURCE.items() if (m := DEFAULT.search(s))}  # of the chapters
NUMBER = {m: int(p.stem[:2]) for p, m in MODULE.items()}
each_page = pytest.mark.parametrize('p', BOOK, ids=name_of)
chapters = pytest.mark.parametrize('p', MODULE, ids=name_of)
modules = pytest.mark.parametrize('name', MODULE.values())


def imports(cells):
    "Modules of ours that the exported cells import, such as 'game.pseudo'"
    found = [o for c in exported(cells) for o in OWN.findall(src(c))]
    return {m if m in NUMBER or not name else f'{m}.{name}'.strip('.') for m, name in found}


def part(module): return module.split('.')[0]


def is_before(a, b, number):
    "May the module `b` import the module `a`?"
    if a not in number: return False
    if part(a) == part(b): return number[a] < number[b]
    if {part(a), part(b)} == {'check', 'methods'}: return True
    return PARTS.index(part(a)) < PARTS.index(part(b))


@chapters
def test_a_chapter_imports_only_what_stands_before(p):
    late = {m for m in imports(BOOK[p]) if not is_before(m, MODULE[p], NUMBER)}
    assert not late, f'{name_of(p)} imports {late}: of a later part or chapter, or no chapter'


def test_an_import_from_a_later_chapter_is_noticed():
    number = {'paper.kl': 5, 'ask.query': 2, 'ask.cold': 3, 'check.a': 8}
    cell = '#| export\nfrom asal_nb.paper import kl\n    import asal_nb.ask as q'
    assert imports([dict(cell_type='code', source=cell)]) == {'paper.kl', 'ask'}
    good = ('paper.kl', 'ask.query'), ('ask.query', 'ask.cold'), ('ask.cold', 'check.a')
    assert all(is_before(*o, number) for o in good) and not is_before('ask', 'check.a', number)
    assert not any(is_before(b, a, number) for a, b in good)


def test_imports_make_no_circle():
    TopologicalSorter({m: imports(BOOK[p]) for p, m in MODULE.items()}).prepare()


def test_chapters_are_numbered_without_gaps():
    assert sorted(NUMBER.values()) == list(range(len(NUMBER))) and len(NUMBER) <= MOST_MODULES
    parts = [part(MODULE[p]) for p in BOOK if p in MODULE]
    changes = sum(a != b for a, b in zip(parts, parts[1:]))
    assert changes == len(set(parts)) - 1, f'the chapters of a part are scattered: {parts}'
    for p, m in MODULE.items(): assert re.sub(r'\d\d_', '', name_of(p)).replace('/', '.') == m


def undefined(path):
    "What the modules read and nobody defines, such as a global of the notebook"
    cmd = 'ruff check --isolated --no-cache --quiet --output-format=concise --select=F821,F403,F405'
    run = subprocess.run([sys.executable, '-m', *cmd.split(), path], stdout=subprocess.PIPE)
    return run.stdout.decode()


def test_no_module_reads_the_notebook(tmp_path):
    assert undefined(ROOT/'asal_nb') == ''
    (tmp_path/'a.py').write_text('def f(d):\n    def g(): return d[:b]\n    return g')
    assert 'Undefined name `b`' in undefined(tmp_path)


def patches(mod):
    "Public methods that the module adds to classes"
    for n in ast.parse(inspect.getsource(mod)).body:
        if not isinstance(n, ast.FunctionDef) or n.name.startswith('_') or not is_patch(n): continue
        for c in ast.unparse(n.args.args[0].annotation).split('|'):
            o = getattr(eval(c, vars(mod)), n.name)
            yield f'{c.strip()}.{n.name}', o.fget if isinstance(o, property) else o


def public(mod):
    "Public functions and classes of a module and what it patches: name -> object"
    own = {n: getattr(mod, n) for n in mod.__all__ if '.' not in n}
    own = {n: o for n, o in own.items() if inspect.isclass(o) or inspect.isroutine(o)}
    return own | dict(patches(mod))


def undocumented(o):
    "Names of the arguments of `o` that no docment explains"
    if is_dataclass(o): return [a.name for a in fields(o) if not docments(o).get(a.name)]
    f = vars(o).get('__init__') if inspect.isclass(o) else o
    f = f and inspect.unwrap(f)
    if not hasattr(f, '__code__'): return []
    n = f.__code__.co_argcount + f.__code__.co_kwonlyargcount
    names = [a for a in f.__code__.co_varnames[:n] if a not in ('self', 'cls')]
    return [a for a in names if not docments(f).get(a)]


@modules
def test_public_names_are_documented(name):
    bad = []
    for n, o in public(importlib.import_module(f'asal_nb.{name}')).items():
        if not (o.__doc__ or '').strip(): bad.append(f'{n} has no docstring')
        bad += [f'{n}: nothing is said about {a}' for a in undocumented(o)]
    assert not bad, f'asal_nb.{name}: {bad}'


def test_a_missing_docment_is_noticed():
    def f(a, b): pass
    assert undocumented(f) == ['a', 'b']


@chapters
def test_a_chapter_says_what_it_is_for(p):
    "A title in words, what it is, what it needs (linked), how long it takes; what comes next."
    cells = [c for c in BOOK[p] if src(c).strip() and not DEFAULT.search(src(c))]
    install, first = [i for i, c in enumerate(cells) if c['cell_type'] == 'code'][:2]
    assert WHEEL in src(cells[install]), 'on Colab nothing installs the package'
    assert 'nbdev_export()' not in '\n'.join(map(src, code(cells))), 'Colab has no nbdev'
    title, text = src(cells[0]).splitlines()[0], prose(cells[:first])
    assert title.startswith('# ') and title[2:].lower() != p.stem[3:], f'{title!r} is no title'
    assert re.search(r'^> \S', text, re.M), 'no line that begins with > says what it is'
    assert re.search(r'\bneeds?\b', text, re.I), 'the head does not say what the chapter needs'
    assert '.ipynb)' in text or 'nothing' in text, 'what the chapter needs is not linked'
    assert re.search(r'\bminutes?\b', text), 'the head does not say how long the chapter takes'
    assert '](' in texts(BOOK[p])[-1], 'the last text links to nothing to read next'


@each_page
def test_pictures_have_a_text(p):
    bad = [src(c)[:60] for c in code(BOOK[p]) for o in c['outputs']
           if 'image/png' in o.get('data', {}) and not FIG_ALT.search(src(c))]
    assert not bad, f'{name_of(p)}: no `#| fig-alt: "…"` in {bad}'


@each_page
def test_pictures_stand_alone(p):
    "No `Text(0.5, …)` stands under a picture, and no sentence is printed."
    shown = [o['data'] for c in code(BOOK[p]) for o in c['outputs'] if 'data' in o]
    words = [''.join(o['text/plain']) for o in shown if o.keys() == {'text/plain'}]
    bad = [o for o in words if BARE.match(o)]
    bad += [src(c)[:60] for c in code(BOOK[p])
            if not EXPORT.search(src(c)) and SENTENCE.search(src(c))]
    assert not bad, f'{name_of(p)} shows {bad}'


@each_page
def test_the_text_of_a_link_is_no_code(p):
    "nbdev links a name in code to its page, and a link within a link is broken."
    bad = re.findall(r'\[`[^`\]]+`\]\([^)]*\.ipynb', '\n'.join(texts(BOOK[p])))
    assert not bad, f'{name_of(p)}: {bad}'


def untested(cells):
    "First lines of exported cells that none of the next three code cells tests"
    cells = [c for c in code(cells) if DOES.search(plain(src(c)))]
    return [src(c).splitlines()[1] for i, c in enumerate(cells)
            if EXPORT.search(src(c)) and not any(map(asserts, cells[i + 1 : i + 4]))]


@chapters
def test_exported_cells_are_tested(p):
    bad = untested(BOOK[p])
    assert not bad, f'{name_of(p)}: no assertion within three cells of {bad}'


def test_an_untested_cell_is_noticed():
    sources = '#| export\ndef f(): pass', 'f()', 'f()', 'f()', 'assert f() is None'
    cells = [dict(cell_type='code', source=s) for s in sources]
    assert untested(cells) == ['def f(): pass'] and not untested(cells[:1] + cells[2:])


def docstrings():
    "All docstrings of the library"
    for p in (ROOT/'asal_nb').rglob('[!_]*.py'):
        for n in ast.walk(ast.parse(p.read_text(encoding='utf-8'))):
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                yield ast.get_docstring(n) or ''


def test_the_register_is_complete_and_cited():
    rows = [re.findall(r'^\|\s*\**(D\d+)\b', prose(cells), re.M) for cells in BOOK.values()]
    assert [sorted(o) for o in rows if o] == [sorted(REGISTER)], 'one page has each row once'
    cited = set(re.findall(r'\bD\d+\b', ' '.join(docstrings())))
    assert cited == set(REGISTER), f'in docstrings or register, not both: {cited ^ set(REGISTER)}'


@pytest.mark.parametrize('k', range(1, 9))
def test_each_equation_stands_once(k):
    where = [p for p, cells in BOOK.items()
             for _ in re.findall(rf'\\label\{{eq:{k}\}}', prose(cells))]
    assert len(where) == 1, f'Eq. ({k}) is labelled in {where}'
    assert rf'\tag{{{k}}}' in prose(BOOK[where[0]])
    cited = re.search(rf'Eqs?\. \(?[^.]*{k}', ' '.join(docstrings()))
    assert cited, f'no docstring cites Eq. ({k})'
