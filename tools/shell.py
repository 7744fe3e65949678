"""What stands around the text of each page: top bar, chapters, contents, tools, search entries.

The shell is site/page.html, the look nbs/styles.css. A page asks no other host for anything."""
import html
import json
import re
import shutil
import sys
from pathlib import Path
from string import Template
import pages as text
import yaml
from bs4 import BeautifulSoup, NavigableString

HERE = text.HERE
COLAB = 'https://colab.research.google.com/github/asal-nb/asal-nb/blob/main/nbs'
STEPS = (text.clean, text.show_once, text.link_register, text.describe_pictures, text.mark_tables,
         text.put_players)


def heading_text(h):
    "A heading without the link to its source"
    return ''.join(o.get_text() for o in h.children if getattr(o, 'name', None) != 'a').strip()


# ------------------------------------------------------------------ search


def prose(node):
    "The headings and the text of a page in order, without its code"
    for o in node.children:
        if isinstance(o, NavigableString) or o.name in ('h2', 'h3'): yield o
        elif o.name not in ('h1', 'pre', 'style', 'script'): yield from prose(o)


def sections(page, words):
    "Search entries: of the page, of each heading; the numbers of equations are words to look for"
    def entry(href, section='', words=''):
        return dict(href=href, title=page.name, section=section, words=words, text='')
    out = [entry(page.path, words=words)]
    heads = {id(h): anchor for h, anchor in page.headings()}
    for o in prose(page.main):
        if anchor := heads.get(id(o)): out.append(entry(f'{page.path}#{anchor}', heading_text(o)))
        elif isinstance(o, NavigableString):
            out[-1]['words'] += ''.join(f' Eq. {n} equation {n}' for n in text.TAG.findall(o))
            out[-1]['text'] += text.LABEL.sub('', text.TAG.sub('', o))
    for o in out: o['text'] = re.sub(r'\s+|\\[()\[\]]', ' ', o['text']).strip()
    return out


# ------------------------------------------------------------------ navigation


def link(page, to, attrs=''):
    "A link to another page by its number and title"
    if to is page: attrs += ' aria-current="page"'
    return f'<a href="{page.up}{to.path}"{attrs}>{html.escape(to.name)}</a>'


def chapters(page, tree, pages):
    "The site map as nested lists, folded but for the way to this page"
    items = []
    for o in tree:
        if isinstance(o, str): items.append(link(page, pages[o]))
        else:
            below = chapters(page, o['contents'], pages)
            state = ' open' if 'aria-current' in below else ''
            head = f'<summary>{o["section"]}</summary>'
            items.append(f'<details{state}>{head}\n{below}\n</details>')
    return '<ul>\n' + '\n'.join(f'<li>{o}</li>' for o in items) + '\n</ul>'


def entries(page, tree, pages):
    "The top bar: each section leads to its first page"
    out = []
    for name in (o['section'] for o in tree):
        first = next(p for p in pages.values() if p.section == name)
        here = ' class="here"' if name == page.section else ''
        out.append(f'<li><a href="{page.up}{first.path}"{here}>{name}</a></li>')
    return '\n'.join(out)


def turn(page, pages):
    "Links to the pages before and after, in reading order"
    order = list(pages.values())
    i = order.index(page)
    before = [link(page, o, ' rel="prev"') for o in order[:i][-1:]]
    return '\n'.join(before + [link(page, o, ' rel="next"') for o in order[i+1:i+2]])


def contents(page):
    "The headings of the page as a list of links; nothing where there are fewer than two"
    items = []
    for h, anchor in page.headings():
        to = f'<a href="#{anchor}">{html.escape(heading_text(h))}</a>'
        items.append(f'<li class="{h.name}">{to}</li>')
    return '<ul>' + '\n'.join(items) + '</ul>' if len(items) > 1 else ''


def is_lesson(notebook): return notebook.startswith('course/lesson')


def tools(page, repo):
    "Where to run, keep and change the notebook of a page; of a lesson, its slides"
    nb = page.notebook
    shown = f'<a href="../slides/{Path(page.path).name}">Slides</a> ' if is_lesson(nb) else ''
    return (f'<p class="tools"><a href="{COLAB}/{nb}">Open in Colab</a> '
            f'<a href="{page.up}nbs/{nb}" download="{Path(nb).name}">Download the notebook</a> '
            f'{shown}<a href="{repo}/edit/main/nbs/{nb}">Edit</a></p>')


def whole(page, tree, pages, glyphs, repo):
    "The page with its shell, as HTML"
    listed, side, fold = contents(page), '', ''
    if listed:
        side = f'<nav class="contents side" aria-label="On this page">{listed}</nav>'
        fold = f'<details class="contents fold"><summary>On this page</summary>{listed}</details>'
    title = page.main.find(id='title-block-header')
    title.name = 'div'
    described = title.find(class_='description')
    title.append(BeautifulSoup(tools(page, repo) + fold, 'html.parser'))
    if page.number: title.h1.insert(0, page.new('span', page.number + ' ', class_='number'))
    style = f'<link rel="stylesheet" href="{page.up}site_libs/maths.css">\n' if page.maths else ''
    return Template((HERE/'page.html').read_text(encoding='utf-8')).substitute(
        title=html.escape(page.name), up=page.up, repo=repo, styles=style,
        description=html.escape(described.get_text().strip() if described else page.title),
        entries=entries(page, tree, pages), chapters=chapters(page, tree, pages),
        main=page.main.decode_contents().strip(), contents=side, turn=turn(page, pages),
        glyphs=glyphs if page.maths else '')


# ------------------------------------------------------------------ all pages


def search_words(pages, strict):
    "The table of site/words.yml; refused if it names a page that is not there"
    words = yaml.safe_load((HERE/'words.yml').read_text(encoding='utf-8'))
    lost = set(words) - {p.path for p in pages}
    if strict and lost: sys.exit(f'site/words.yml names pages that are not there: {sorted(lost)}')
    return words


def finish(site, tree, order, notebooks, modules, repo, strict=True):
    "Rewrite the pages of `site` in place; `order` has each notebook, its page and its section"
    pages = {nb: text.Page(path, nb, section, site/path) for nb, path, section in order}
    for p in pages.values():
        for step in STEPS: step(p)
    text.mend_links(pages.values())
    words = search_words(pages.values(), strict)
    index = [o for p in pages.values() for o in sections(p, words.get(p.path, ''))]
    for p in pages.values(): text.take_maths(p)
    glyphs, style = text.typeset(pages.values(), modules)
    libs = site/'site_libs'
    shutil.rmtree(libs)
    libs.mkdir()
    (libs/'maths.css').write_text(style, encoding='utf-8')
    shutil.copy(modules/'minisearch/dist/umd/index.js', libs/'minisearch.js')
    for name in ('site.js', 'theme.js', 'icon.svg'): shutil.copy(HERE/name, libs)
    (site/'search.json').write_text(json.dumps(index, ensure_ascii=False), encoding='utf-8')
    for nb, p in pages.items():
        p.file.write_text(whole(p, tree, pages, glyphs[p.path], repo), encoding='utf-8')
        (site/'nbs'/nb).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebooks/nb, site/'nbs'/nb)
