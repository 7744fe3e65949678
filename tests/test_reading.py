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
PLURAL = {'code', 'row', 'view', 'head', 'round', 'area', 'arm', 'game', 'seed', 'score'}


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
    "Letters that stand alone somewhere in the text, as in `$z$`, `$t_U$` or `$p_L(z)$`"
    alone = [re.sub(r"[_^](\{[^{}]*\}|\\?\w+|.)|\([^)]*\)|'", '', o) for o in formulas(text)]
    return {o for tex in alone if len(letters(tex)) == 1 for o in letters(tex)}


def in_the_table():
    "Letters of the notation's table, a list for each row"
    rows = [line for _, s in texts(NBS/'reference/notation.ipynb') for line in s.splitlines()
            if line.startswith('| $') and line.count('|') == 6]
    bare = [re.sub(r'_(\{[^}]*\}|\\\w+|.)', '', r.split('|')[1]) for r in rows]
    return [{o for tex in formulas(s) for o in letters(tex)} for s in bare]


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
    text = re.sub(r'^(#|>).*$', '', re.sub(r'(?s)```.*?```', '', text), flags=re.M)
    return re.sub(r'`[^`]*`|\]\([^)]*\)', ']', MATHS.sub('x', text))


def is_introduced(term, text):
    "Is the term emphasised or linked in the text, or does a sentence say that it *is* something?"
    word = rf'(?<![\w-]){re.escape(term)}(?:e?s)?\b'
    return any(re.search(o, text, re.I | re.M) for o in (
        rf'\*[^*\n]*{word}[^*\n]*\*', rf'\[[^\]]*{word}[^\]]*\]',
        rf'(?:^|[.:;] )(?:An? |The )?{word}[^.,:]{{0,30}} (?:is|are|means)\b'))


def unknown_terms(cells, terms):
    "(cell, term) of terms whose first use neither introduces nor links them"
    bad = []
    for term in terms:
        ending = 's' if term in PLURAL else '(?:e?s)?'
        use = re.compile(rf'(?<![\w-]){re.escape(term)}{ending}\b', re.I)
        first = next((n for n, (_, s) in enumerate(cells) if use.search(s)), None)
        if first is None: continue
        if not any(is_introduced(term, s) for _, s in cells[:first+1]):
            bad.append((cells[first][0], term))
    return bad


@each_page
def test_no_term_before_it_is_introduced(p):
    bad = unknown_terms([(i, prose(s)) for i, s in texts(p)[1:]], glossary())
    assert not bad, f'{p.relative_to(ROOT)}: (cell, term) neither introduced nor linked: {bad}'


def test_an_unknown_term_is_noticed():
    page = [(3, 'A ledger is a file.'), (4, 'Each *arm* has codes, and a code has a posterior.')]
    bad = unknown_terms(page, ['ledger', 'arm', 'code', 'posterior'])
    assert bad == [(4, 'code'), (4, 'posterior')]
    assert unknown_terms([(0, prose('See [codes](a.ipynb).'))], ['code']) == []


# ------------------------------------------------------------------ a student's questions

ANSWERS = {
    'Why does D choose what it chooses?': (
        'The logit of the best D is log p_L/p_U, the log of a density ratio. So the smallest D are '
        'codes that are common in the pool and rare among the labelled ones.',
        'paper/05_adversarial.ipynb#what-does-the-best-d-know',
        'course/lesson4.ipynb#where-does-it-ask',
        'ask/08_sampler.ipynb#which-20-images-would-you-choose',
        'reference/glossary.ipynb#glossary-density-ratio'),
    'Why is it blind after a random start?': (
        'Random rows have the density of the pool: p_L = p_U, so the best logit is 0 everywhere. '
        'What D still says is the sampling noise of its few labelled rows.',
        'paper/05_adversarial.ipynb#when-does-d-know-nothing',
        'course/lesson4.ipynb#after-a-random-start-d-knows-nothing'),
    'Why can the smallest D lose to random?': (
        'A ratio does not count images: it is smallest at the rim of a new clump, where few are. '
        'And the b smallest are alike, while random rows are varied.',
        'paper/05_adversarial.ipynb#what-does-the-best-d-know',
        'course/lesson7.ipynb#why-can-the-smallest-d-lose-to-random-choice',
        'ask/08_sampler.ipynb#a-varied-choice',
        'results/index.ipynb#what-is-not-shown'),
    "What does Eq. (4)'s first term do?": (
        'It makes E pay if a labelled code looks unlabelled. Without it E may let the pools change '
        'places, which deceives this D and hides nothing from the next.',
        'paper/05_adversarial.ipynb#what-does-the-first-term-of-eq.-4-do',
        'course/lesson5.ipynb#what-does-the-first-term-do'),
    'If one half is the goal, is asking guesswork?': (
        'No: the AUC is a mean over all rows, and a tail of few rows may still be told apart. With '
        'soft targets D also ranks by the doubt of C. With neither, it is guesswork.',
        'paper/05_adversarial.ipynb#is-one-half-good-or-bad',
        'course/lesson5.ipynb#one-half-is-the-goal.-is-asking-then-guesswork'),
    'What should I use for 500 photographs?': (
        'Label all of them if a label takes seconds. Else: features of a pretrained network, '
        'TypiClust for the first labels, then the margin spread over clusters, in small rounds.',
        'reference/choose.ipynb#five-hundred-photographs',
        'tutorials/photos.ipynb',
        'game/18_trunks.ipynb'),
}


def anchors(p):
    "Places of a page that a link can name: its headings, and ids in its text"
    text = '\n'.join(s for _, s in texts(p))
    heads = [re.sub(r'[^\w\s.-]', '', o.lower()) for o in re.findall(r'^#+ (.+)$', text, re.M)]
    return {re.sub(r'\s+', '-', o.strip()) for o in heads} | set(re.findall(r' id="([^"]+)"', text))


@pytest.mark.parametrize('question', ANSWERS)
def test_questions_are_answered(question):
    answer, *links = ANSWERS[question]
    assert links and len(answer.split()) < 50
    for page, _, anchor in (o.partition('#') for o in links):
        assert (NBS/page).is_file(), f'{question} {page} is not there'
        assert not anchor or anchor in anchors(NBS/page), f'{question} {page} has no #{anchor}'


def test_the_glossary_leads_to_places():
    "Each entry ends with the link to where it is taught, and its name is its anchor."
    entries = [o for _, s in texts(NBS/'reference/glossary.ipynb') for o in s.splitlines()
               if o.startswith('- ')]
    assert len(entries) == len(glossary()) > 50
    for o in entries: assert re.search(r'→ \[[^\]]+\]\(\.\./[\w/]+\.ipynb(#[\w-]+)?\)$', o), o
