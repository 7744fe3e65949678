"""Slides of each lesson, from its page of the site: one file each, that needs no network.

tools/slides.py SITE DIR   writes DIR/lesson1.html and so on; their links lead to SITE

A heading begins a slide, and so do an exercise and a question of the quiz. Where there is no room
for all of its text, a slide has the first sentences and those in bold of each long paragraph; the
whole is in the speaker's notes (key S).
Long code, and code beside a picture or table, is left out."""
import argparse
import copy
import html
import os
import re
from pathlib import Path
from string import Template
from bs4 import BeautifulSoup, NavigableString, Tag
from run_nbs import ROOT

HERE = Path(__file__).parent/'site'
REVEAL = ROOT/'node_modules/reveal.js/dist'
ROOM, WIDTH = 12, 68           # lines of a slide below its heading, and characters of a line
LONG, LONG_CODE = 200, 8       # characters shown of a paragraph, lines of code left out
END = re.compile(r'(?<!Eq)(?<!Eqs)(?<!e\.g)[.?!][”’)]*(?=\s|$)')    # of a sentence
AT_END = re.compile(END.pattern + r'\s*$')


def new(name, *children, **attrs):
    "An element that belongs to no page"
    o = BeautifulSoup('', 'html.parser').new_tag(name, attrs=attrs)
    o.extend(children)
    return o


# ------------------------------------------------------------------ what a slide shows of a block


def is_picture(o): return o.find('img') is not None
def is_maths(o): return o.select_one('.math.display') is not None
def is_question(o): return o.name == 'p' and re.match(r'\d\. ', o.get_text()) is not None


def visible(o):
    "The text of a block, without what only screen readers are told of an equation"
    o = copy.copy(o)
    if isinstance(o, Tag):
        for maths in o.find_all('mjx-container'): maths.replace_with('x = y')
    return o.get_text()


def pieces(o):
    "The children of a paragraph, its texts cut at the ends of sentences"
    for child in o.children:
        if not isinstance(child, NavigableString): yield copy.copy(child)
        else: yield from map(NavigableString, END.sub(r'\g<0>\0', child).split('\0'))


def first_sentences(o):
    "A copy of a paragraph with as many sentences as there is room for, and at least one"
    parts, kept, n = list(pieces(o)), 0, 0
    for i, part in enumerate(parts, 1):
        n += len(visible(part))
        ends = AT_END.search(part.get_text()) and part.name in (None, 'strong', 'em')
        if ends and (n <= LONG or not kept): kept = i
    return new(o.name, *parts[:kept or None])


def shortened(o):
    "What the slide shows of a paragraph, or of a point of a list"
    text = visible(o).strip()
    if len(text) <= LONG or is_maths(o) or not AT_END.search(text): return copy.copy(o)
    short = first_sentences(o)
    for b in o.find_all('strong', recursive=False):
        if AT_END.search(b.get_text()) and b not in short: short.extend([' ', copy.copy(b)])
    return short


def shown(o, text=shortened):
    "What the slide shows of a block of the page, by `text` of a paragraph; None for nothing"
    if o.name == 'p': return text(o)
    if o.name in ('ul', 'ol'):
        return new(o.name, *[text(li) for li in o.find_all('li', recursive=False)])
    if 'cell' not in o.get('class', []): return copy.copy(o)
    if is_picture(o): return new('img', **o.find('img').attrs | {'class': 'r-stretch'})
    cell = copy.copy(o)
    for fold in cell.select('details.code-fold'): fold.decompose()
    for code in cell.select('.code-copy-outer-scaffold'):
        if cell.find('table') or code.get_text().count('\n') >= LONG_CODE: code.decompose()
    return cell if cell.get_text(strip=True) else None


def lines(o):
    "The lines that a block takes of a slide, about"
    if o.name == 'img': return 7
    if is_maths(o): return 2.5
    if o.name in ('ul', 'ol'): return .4 + sum(map(lines, o.find_all('li', recursive=False)))
    if o.find('table'): return sum(1 + .75*(len(visible(r))//WIDTH) for r in o.find_all('tr'))
    if o.find('pre'): return sum(1.2 + .75*p.get_text().count('\n') for p in o.find_all('pre'))
    if o.name == 'details': return 1
    return .4 + (1 + len(visible(o))//WIDTH)


# ------------------------------------------------------------------ slides


def groups(blocks):
    "Blocks that stay together: what follows a paragraph stays with it, and a quiz's question whole"
    group, quiz = [], False
    for o in blocks:
        quiz = is_question(o) or quiz and group[-1].name != 'details'
        joined = quiz and not is_question(o) or o.name != 'p' or is_maths(o)
        if group and not (joined and (quiz or group[-1].name == 'p')):
            yield group
            group = []
        group.append(o)
    if group: yield group


def packed(blocks):
    "The blocks of each slide: as many groups as there is room for, and none below a picture"
    slide, room = [], ROOM
    for group in groups(blocks):
        need = sum(lines(s) for s in map(shown, group) if s)
        if slide and (need > room or is_question(group[0])):
            yield slide
            slide, room = [], ROOM
        slide += group
        room = 0 if any(is_picture(o) for o in group) else room - need
    if slide: yield slide


def for_notes(o):
    "A block in the speaker's window: with MathML, for the window lacks the page's glyphs"
    o = copy.copy(o)
    for maths in o.find_all('mjx-container'): maths.replace_with(maths.find('math'))
    return o


def fit(blocks):
    "What a slide shows of its blocks: all of their text if there is room, else the first sentences"
    every = [shown(o, copy.copy) for o in blocks]
    if sum(lines(s) for s in every if s) <= ROOM: return every
    return [shown(o) for o in blocks]


def slide(heading, blocks, whole=False):
    "One slide; the notes have each paragraph that the slide shows in part"
    parts = zip(blocks, map(copy.copy, blocks) if whole else fit(blocks))
    parts = [(o, s) for o, s in parts if s]
    cut = [for_notes(o) for o, s in parts if o.name in ('p', 'ul', 'ol') and str(o) != str(s)]
    notes = [new('aside', *cut, **{'class': 'notes'})] if cut else []
    return new('section', copy.copy(heading), *[s for _, s in parts], *notes)


def children(o): return [c for c in o.children if isinstance(c, Tag)]


def title_slide(main):
    "The title, what the lesson is about, and what one can do after it"
    title = main.select_one('#title-block-header')
    goals = main.find('ul', recursive=False)
    lead = goals.find_previous_sibling('p')
    return slide(title.h1, [title.select_one('.description'), lead, goals], whole=True)


def slides_of(main):
    "All slides of a page"
    yield title_slide(main)
    for section in main.select('section.level2'):
        heading, *blocks = children(section)
        below = [o for o in blocks if o.name == 'section']
        blocks = [o for o in blocks if o.name != 'section' and shown(o)]
        last = [o for o in blocks if o.get_text().startswith('Read next')]
        for group in packed([o for o in blocks if o not in last]): yield slide(heading, group)
        for o in below: yield slide(children(o)[0], children(o)[1:], whole=True)
        for o in last: yield slide(new('h2', 'Read next'), [o], whole=True)


# ------------------------------------------------------------------ files


def mended(slides, page, folder):
    "Slides without the page's ids and copy buttons, with links that lead from `folder` to the site"
    for s in slides:
        for o in s.find_all(id=True): del o['id']
        for a in s.find_all('a', href=True):
            if ':' in a['href'] or a['href'].startswith('#'): continue
            a['href'] = Path(os.path.relpath(page.parent/a['href'], folder)).as_posix()
        yield s


def presentation(page, folder):
    "The HTML of a lesson's slides, with all that it needs inside"
    soup = BeautifulSoup(page.read_text(encoding='utf-8'), 'html.parser')
    glyphs = soup.find(id='MJX-SVG-global-cache')
    slides = list(mended(slides_of(soup.main), page, folder))
    site = page.parents[1]
    styles = site/'styles.css', site/'site_libs/maths.css', REVEAL/'reveal.css', HERE/'slides.css'
    scripts = REVEAL/'reveal.js', REVEAL/'plugin/notes.js'
    def joined(files): return '\n'.join(p.read_text(encoding='utf-8') for p in files)
    return Template((HERE/'slides.html').read_text(encoding='utf-8')).substitute(
        title=html.escape(soup.main.h1.get_text()), styles=joined(styles),
        slides='\n'.join(map(str, slides)), scripts=joined(scripts),
        glyphs=glyphs or '')


def write(site, folder):
    "Write the slides of each lesson of `site` into `folder`; their number"
    pages = sorted((site/'course').glob('lesson*.html'))
    folder.mkdir(parents=True, exist_ok=True)
    for p in pages: (folder/p.name).write_text(presentation(p, folder), encoding='utf-8')
    return len(pages)


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('site', type=Path, metavar='SITE', help='the built site, _docs')
    a.add_argument('folder', type=Path, metavar='DIR')
    a = a.parse_args()
    print(f'slides of {write(a.site.resolve(), a.folder.resolve())} lessons in {a.folder}/')


if __name__ == '__main__': main()
