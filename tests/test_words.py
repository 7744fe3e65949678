"The project's files name no machine's folders and no package host, and none is huge."
import re
import pytest
from conftest import ROOT
from release_check import tracked

pytestmark = pytest.mark.repo
WORDS = {
    'a folder of one machine': r'(?<![\w.~/:-])/(?:work|tmp|root|home|Users|opt|usr/local)/\w',
    'a package host': r'p[y]pi\.org|python[h]osted\.org|npm[j]s\.(?:org|com)|'
                      r'(?:deb|archive)\.(?:debian|ubuntu)\.',
    'a network address': r'\b(?:10|172|192)(?:\.\d{1,3}){3}\b'}
NAMED = ['see {}tmp/x', '"{}home/me"', 'https:{0}{0}py{1}pi.org/simple', 'on 192{1}.168.0.1']


def words(text):
    "What must not stand in `text`: (what, the words around it)"
    for what, pat in WORDS.items():
        for m in re.finditer(pat, text):
            yield what, text[max(0, m.start() - 30) : m.end() + 30].replace('\n', ' ')


def read(p):
    try: return p.read_text(encoding='utf-8')
    except UnicodeDecodeError: return ''  # a picture or a ledger


def test_no_folders_and_hosts():
    files = tracked()
    assert len(files) > 20
    bad = [f'{p.relative_to(ROOT)}: {what}: {s}' for p in files for what, s in words(read(p))]
    assert not bad, '\n'.join(bad)


@pytest.mark.parametrize('text', NAMED)
def test_they_are_noticed(text): assert list(words(text.format('/', '')))


def test_no_file_is_huge():
    big = [p.relative_to(ROOT).as_posix() for p in tracked() if p.stat().st_size > 2**20]
    assert not big, f'over 1 MiB: {big}'
