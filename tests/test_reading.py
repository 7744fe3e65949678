"""Pages of the course and of the paper can be read from the top: no letter and no term is used
before it is introduced or linked. And the site answers a student's questions."""
import json
import re
import pytest
from conftest import ROOT

pytestmark = pytest.mark.repo
NBS = ROOT/'nbs'
PAGES = sorted(p for part in ('course', 'paper') for p in (NBS/part).glob('[!_.]*.ipynb'))
each_page = pytest.mark.parametrize('p', PAGES, ids=lambda p: f'{p.parent.name}/{p.stem}')
MATHS = re.compile(r'\$\$(.+?)\$\$|\$([^$]+)\$', re.S)
GREEK = ('alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho '
         'sigma varsigma tau phi varphi chi psi omega').split()
NAMED = re.compile(r'\\(?:text|mathrm|operatorname|label|tag|eqref)\*?\{[^}]*\}')
FONT = re.compile(r'\\(mathbb|mathcal|mathbf) ?\{?([A-Z])\}?')
LETTER = re.compile(rf'\\({"|".join(GREEK)})(?![a-z])|\\[A-Za-z]+|((?:mathbb|mathcal|mathbf)[A-Z])'
                    r'|([A-Za-z]+)')
# these words are terms in the plural; in the singular they may be plain English
PLURAL = {'code', 'row', 'view', 'head', 'round', 'point', 'area', 'arm', 'game', 'seed', 'score'}


def texts(p):
    "The cells of a page that are text, with their numbers"
    cells = json.loads(p.read_text(encoding='utf-8'))['cells']
    return [(i, ''.join(c['source'])) for i, c in enumerate(cells) if c['cell_type'] == 'markdown']


# ------------------------------------------------------------------ letters


def letters(tex):
    "The letters of a formula, without words such as `VAE` and without commands"
    tex = FONT.sub(r' \1\2 ', NAMED.sub(' ', tex))
    found = [m[1] or m[2] or m[3] for m in LETTER.finditer(tex)]
    return [o for o in found if o and (len(o) == 1 or o in GREEK or o.startswith('math'))]


def formulas(text): return [a or b for a, b in MATHS.findall(text)]


def named(text):
    "Letters that stand alone somewhere in the text, with or without index, as in `$z$` or `$p_L(z)$`"
    alone = [re.sub(r"[_^](\{[^{}]*\}|\\?\w+|.)|\([^)]*\)|'", '', o) for o in formulas(text)]
    return {o for tex in alone if len(letters(tex)) == 1 for o in letters(tex)}


def in_the_table():
    "Letters of the notation's table, a list for each row"
    rows = [line for _, s in texts(NBS/'reference/notation.ipynb') for line in s.splitlines()
            if line.startswith('| $') and line.count('|') == 6]
    return [{letters(re.sub(r'_(\{[^}]*\}|.)', '', tex))[0] for tex in formulas(r.split('|')[1])}
            for r in rows]


def unknown_letters(cells, table):
    "(cell, letter) of letters used before they are named on the page or the notation is linked"
    known, bad = set(), []
    for i, text in cells:
        if 'notation.ipynb' in text: known |= table
        known |= named(text)
        new = {o for tex in formulas(text) for o in letters(tex)} - known
        bad += [(i, o) for o in sorted(new)]
        known |= new
    return bad


@each_page
def test_no_letter_before_it_is_introduced(p):
    bad = unknown_letters(texts(p), set().union(*in_the_table()))
    assert not bad, f'{p.relative_to(ROOT)}: (cell, letter) not introduced: {bad}'


def test_a_letter_has_one_meaning():
    rows = in_the_table()
    assert len(rows) > 30
    twice = {o for i, r in enumerate(rows) for o in r if any(o in s for s in rows[i+1:])}
    assert not twice, f'the notation has two rows for {twice}'


def test_an_unknown_letter_is_noticed():
    page = [(0, 'Let $z$ be a code.'), (1, r'$$ \lambda z + \mathcal L_{VAE} \label{a:b} $$')]
    assert unknown_letters(page, set()) == [(1, 'lambda'), (1, 'mathcalL')]
    page.insert(0, (9, '[letters](../reference/notation.ipynb)'))
    assert unknown_letters(page, {'lambda', 'mathcalL'}) == []


# ------------------------------------------------------------------ terms


def glossary():
    "Terms of the glossary"
    text = '\n'.join(s for _, s in texts(NBS/'reference/glossary.ipynb'))
    return [name.lower() for name in re.findall(r'<b id="glossary-[\w-]+">([^<]+)</b>', text)]


def prose(text):
    "Sentences without headings, quotations, formulas, source and the targets of links"
    text = re.sub(r'^(#|>).*$|```.*?```', '', text, flags=re.M | re.S if '```' in text else re.M)
    return re.sub(r'`[^`]*`|\]\([^)]*\)', ']', MATHS.sub('x', text))


def is_introduced(term, text):
    "Is the term emphasised or linked in the text, or the subject of a sentence that says what it is?"
    word = rf'{re.escape(term)}(?:e?s)?\b'
    return any(re.search(o, text, re.I | re.M) for o in (
        rf'\*[^*\n]*\b{word}[^*\n]*\*', rf'\[[^\]]*\b{word}[^\]]*\]',
        rf'(?:^|[.:;] )(?:An? |The )?{word}[^.,:]{{0,30}} (?:is|are|means)\b'))


def unknown_terms(cells, terms):
    "(cell, term) of terms whose first use neither introduces nor links them"
    bad = []
    for term in terms:
        ending = 's' if term in PLURAL else '(?:e?s)?'
        use = re.compile(rf'\b{re.escape(term)}{ending}\b', re.I)
        first = next(((i, s) for i, s in cells if use.search(s)), None)
        if first and not is_introduced(term, first[1]): bad.append((first[0], term))
    return bad


@each_page
def test_no_term_before_it_is_introduced(p):
    bad = unknown_terms([(i, prose(s)) for i, s in texts(p)[1:]], glossary())
    assert not bad, f'{p.relative_to(ROOT)}: (cell, term) neither introduced nor linked: {bad}'


def test_an_unknown_term_is_noticed():
    page = [(3, 'A ledger is a file.'), (4, 'Each *arm* has codes, and a code has a posterior.')]
    assert unknown_terms(page, ['ledger', 'arm', 'code', 'posterior']) == [(4, 'code'), (4, 'posterior')]
    assert unknown_terms([(0, prose('See [codes](a.ipynb).'))], ['code']) == []
