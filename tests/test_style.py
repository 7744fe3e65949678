"Each chapter keeps the book's rules: what it imports, what it documents, tests, draws and numbers."
import ast
import builtins
import dis
import importlib
import inspect
import json
import re
from types import CodeType
import pytest
from conftest import ROOT
from check_site import is_patch
from fastcore.docments import docments

pytestmark = pytest.mark.repo
EXPORT = re.compile(r'^#\|\s*export[si]?\b', re.M)
DEFAULT = re.compile(r'#\|\s*default_exp\s+(\S+)')
ASSERTS = re.compile(r'\b(assert|test_\w+\(|expect_fail|pytest\.raises)')
OWN = re.compile(r'^\s*from (?:asal_nb)?\.(\w+) import|^\s*import asal_nb\.(\w+)', re.M)
INSTALL = "if 'google.colab' in str(get_ipython()): get_ipython().system('pip install -q asal-nb')"
SENTENCE = re.compile(r'print\(f?["\'][A-Z]')
MOST = 25      # lines of doing in one exported cell
WRITTEN = 200  # lines of a module, without what nbdev adds


def book():
    "Path -> cells of every notebook, in the book's order"
    ps = sorted(p for p in (ROOT/'nbs').rglob('[!_.]*.ipynb') if '.ipynb_checkpoints' not in p.parts)
    return {p: json.loads(p.read_text(encoding='utf-8'))['cells'] for p in ps}


def src(c): return ''.join(c['source'])
def code(cells): return [c for c in cells if c['cell_type'] == 'code' and src(c).strip()]
def prose(cells): return '\n'.join(src(c) for c in cells if c['cell_type'] == 'markdown')
def is_import(s): return all(re.match(r'\s*(from|import|#|\)|$)|[\w, ]+\)?$', line) for line in s.splitlines())
def is_exported(c): return bool(EXPORT.search(src(c))) and not is_import(src(c))
def code_of(s): return '\n'.join(line.split('#')[0] for line in s.splitlines())
def asserts(c): return not EXPORT.search(src(c)) and bool(ASSERTS.search(code_of(src(c))))
def default_exp(cells): return next((m[1] for c in code(cells) if (m := DEFAULT.search(src(c)))), None)
def has_picture(c): return any(k.startswith('image/') for o in c.get('outputs', []) for k in o.get('data', {}))


BOOK = book()
MODULE = {p: m for p, cells in BOOK.items() if (m := default_exp(cells))}  # the chapters that have a module
CHAPTER = {m: p.name for p, m in MODULE.items()}
chapters = pytest.mark.parametrize('p', MODULE, ids=lambda p: p.stem)
modules = pytest.mark.parametrize('name', MODULE.values())


def free_lines(tree):
    "Line numbers of signatures and docstrings, which do nothing"
    for n in ast.walk(tree):
        if not isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
        doc = n.body[0] if ast.get_docstring(n) is not None else None
        first = n.body[1] if doc and len(n.body) > 1 else n.body[0]
        yield from range(n.lineno + 1, first.lineno)
        if doc: yield from range(doc.lineno, doc.end_lineno + 1)


def doing(s):
    "Lines of `s` that do something: signatures, docstrings and comments don't count"
    s = '\n'.join('' if line.startswith(('#|', '%', '!')) else line for line in s.splitlines())
    free = set(free_lines(ast.parse(s)))
    lines = [line.strip() for i, line in enumerate(s.splitlines(), 1) if i not in free]
    return sum(bool(line) and not line.startswith('#') for line in lines)


def imports(cells): return {a or b for c in code(cells) if EXPORT.search(src(c)) for a, b in OWN.findall(src(c))}


@chapters
def test_imports_only_lower_chapters(p):
    later = {m: CHAPTER.get(m, 'no chapter') for m in imports(BOOK[p]) if CHAPTER.get(m, '~') >= p.name}
    assert not later, f'{p.name} imports {later}: of the same or a later chapter'


def codes(c):
    "The code object `c` and all that are nested in it"
    yield c
    for o in c.co_consts:
        if isinstance(o, CodeType): yield from codes(o)


def globals_read(tree, name):
    "Names that the functions in `tree` look up globally"
    inner = [o for c in compile(tree, name, 'exec').co_consts if isinstance(c, CodeType) for o in codes(c)]
    return {i.argval for c in inner for i in dis.get_instructions(c) if i.opname == 'LOAD_GLOBAL'}


@modules
def test_no_function_reads_the_notebook(name):
    mod = importlib.import_module(f'asal_nb.{name}')
    lost = globals_read(ast.parse(inspect.getsource(mod)), name) - set(vars(mod)) - set(vars(builtins))
    assert not lost, f'asal_nb.{name} reads {sorted(lost)}, which only its notebook has'


def test_a_notebook_global_is_noticed():
    assert 'b' in globals_read(ast.parse('def f(d):\n    def g(): return d[:b]\n    return g'), 'demo')


def patches(mod):
    "Public methods that the module adds to classes by patch"
    for n in ast.parse(inspect.getsource(mod)).body:
        if not isinstance(n, ast.FunctionDef) or n.name.startswith('_') or not is_patch(n): continue
        for c in ast.unparse(n.args.args[0].annotation).split('|'):
            cls = eval(c, vars(mod))
            o = inspect.getattr_static(cls, n.name)
            yield f'{c.strip()}.{n.name}', o.fget if isinstance(o, property) else getattr(cls, n.name)


def public(mod):
    "Public functions and classes of a module and what it patches: name -> object"
    own = {n: getattr(mod, n) for n in mod.__all__ if '.' not in n}
    return {n: o for n, o in own.items() if inspect.isclass(o) or inspect.isroutine(o)} | dict(patches(mod))


def written(o):
    "The function whose source has the arguments of `o`"
    if inspect.isclass(o): o = vars(o).get('__init__')
    return o and inspect.unwrap(o)


def arguments(o):
    "Names of the arguments that a reader passes to `o`"
    f = written(o)
    c = getattr(f, '__code__', None)
    return [n for n in c.co_varnames[:c.co_argcount + c.co_kwonlyargcount] if n not in ('self', 'cls')] if c else []


@modules
def test_public_names_are_documented(name):
    mod = importlib.import_module(f'asal_nb.{name}')
    bad = []
    for n, o in public(mod).items():
        if not (o.__doc__ or '').strip(): bad.append(f'{n} has no docstring')
        if args := arguments(o):
            said = docments(written(o))
            bad += [f'{n}: nothing is said about {a}' for a in args if not said.get(a)]
    assert not bad, f'asal_nb.{name}: ' + '; '.join(bad)


def untested(cells):
    "First lines of exported cells that none of the next three code cells tests"
    cells = [c for c in code(cells) if not is_import(src(c))]
    lost = [c for i, c in enumerate(cells) if is_exported(c) and not any(map(asserts, cells[i+1:i+4]))]
    return [src(c).splitlines()[1] for c in lost]


@chapters
def test_exported_cells_are_tested(p):
    bad = untested(BOOK[p])
    assert not bad, f'{p.name}: no assertion within three cells of {bad}'


def test_an_untested_cell_is_noticed():
    sources = '#| export\ndef f(): pass', 'f()', 'f()', 'f()', 'assert f() is None'
    cells = [dict(cell_type='code', source=s) for s in sources]
    assert untested(cells) == ['def f(): pass'] and not untested(cells[:1] + cells[2:])


@chapters
def test_exported_cells_are_short(p):
    long = {src(c).splitlines()[1]: n for c in code(BOOK[p]) if is_exported(c) and (n := doing(src(c))) > MOST}
    assert not long, f'{p.name}: exported cells of more than {MOST} lines of doing: {long}'


@chapters
def test_each_exported_cell_has_a_cell_that_asserts(p):
    n, m = [sum(map(f, code(BOOK[p]))) for f in (is_exported, asserts)]
    assert m >= n, f'{p.name}: {n} exported cells, {m} that assert'


@chapters
def test_modules_are_short(p):
    n = sum(bool(line.strip()) for c in code(BOOK[p]) if EXPORT.search(src(c)) for line in src(c).splitlines()[1:])
    assert n <= WRITTEN, f'{p.name}: {n} lines, more than {WRITTEN}: two chapters'


@chapters
def test_exporting_chapters_have_a_picture(p):
    if any(map(is_exported, BOOK[p])): assert any(map(has_picture, BOOK[p])), f'{p.name} has no picture'


@pytest.mark.parametrize('p', BOOK, ids=lambda p: p.stem)
def test_pictures_stand_alone(p):
    "A cell that draws ends in a semicolon or in its axes' picture: no `Text(0.5, …)` stands under it."
    shown = [o['data'] for c in code(BOOK[p]) for o in c['outputs'] if 'data' in o]
    said = [''.join(o['text/plain']) for o in shown if o.keys() == {'text/plain'}]
    bad = [o for o in said if re.match(r'Text\(|<Axes|<matplotlib|\[<matplotlib|array\(\[<Axes', o)]
    assert not bad, f'{p.name} shows {bad}'


@chapters
def test_colab_installs_first(p):
    first = next(c for c in code(BOOK[p]) if not DEFAULT.search(src(c)))
    assert INSTALL in src(first), f'{p.name}: on Colab nothing installs the package'


@pytest.mark.parametrize('p', BOOK, ids=lambda p: p.stem)
def test_no_sentence_is_printed(p):
    bad = [src(c)[:60] for c in code(BOOK[p]) if not EXPORT.search(src(c)) and SENTENCE.search(src(c))]
    assert not bad, f'{p.name} prints sentences: {bad}'


REGISTER = [f'D{i}' for i in range(1, 23)]


def test_the_register_is_complete():
    rows = re.findall(r'^\|\s*\**(D\d+)\b', prose(BOOK[ROOT/'nbs/index.ipynb']), re.M)
    assert sorted(rows) == sorted(REGISTER), f'the register in index.ipynb has the rows {rows}'


def docstrings():
    "All docstrings of the library"
    for p in (ROOT/'asal_nb').glob('[!_]*.py'):
        for n in ast.walk(ast.parse(p.read_text(encoding='utf-8'))):
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Module)): yield ast.get_docstring(n) or ''


def test_each_departure_is_cited():
    cited = set(re.findall(r'\bD\d+\b', ' '.join(docstrings())))
    assert set(REGISTER) <= cited, f'no docstring cites {[d for d in REGISTER if d not in cited]}'
    assert cited <= set(REGISTER), f'docstrings cite {cited - set(REGISTER)}, which the register does not have'


@pytest.mark.parametrize('k', range(1, 9))
def test_each_equation_stands_once(k):
    where = [p.name for p, cells in BOOK.items() for _ in re.findall(rf'\\label\{{eq:{k}\}}', prose(cells))]
    assert len(where) == 1, f'Eq. ({k}) is labelled in {where}'
    assert rf'\tag{{{k}}}' in prose(next(cells for p, cells in BOOK.items() if p.name == where[0]))
    assert re.search(rf'Eqs?\. \(?[^.]*{k}', ' '.join(docstrings())), f'no docstring cites Eq. ({k})'
