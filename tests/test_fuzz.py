"A few hundred calls of public names with wrong values; `make bench` makes twenty thousand."
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1]/'bench'/'fuzz.py'


def test_each_call_ends_in_a_result_or_in_one_sentence():
    call = [sys.executable, '-W', 'ignore', FUZZ, '--quick', '--seeds', '3']
    p = subprocess.run(list(map(str, call)), capture_output=True, text=True, timeout=300)
    assert p.returncode == 0, p.stdout + p.stderr
    assert '500 calls' in p.stdout and ' 0 other' in p.stdout


def two_lines(): raise ValueError('one\ntwo')


def half_done(pool):
    pool.label([11], [0])
    raise ValueError('refused, but one row was labelled')


@pytest.mark.parametrize('f, ended', [
    (lambda pool: 1/0, 'ZeroDivisionError'), (lambda pool: two_lines(), 'ValueError, no sentence'),
    (lambda pool: sys.exit(2), 'SystemExit'), (half_done, 'changed something')])
def test_another_end_is_seen(f, ended, monkeypatch):
    monkeypatch.syspath_prepend(FUZZ.parent)
    from fuzz import Pool, one
    pool = Pool(40, 4)
    assert one(f, [pool], {}, pool)[0] == ended
    assert one(lambda: pool.label([1], [0]), [], {}, pool) == 'result'
    assert one(lambda: pool.label([-1], [0]), [], {}, pool) == 'sentence'
