"Lessons: stubs and solutions fit, checks fail on stubs, and nbgrader's own commands run."
import ast
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
import course
import pytest
from asal_nb.check.exercises import EXERCISES
from conftest import ROOT

pytestmark = pytest.mark.repo
LESSONS = {p.stem: course.read(p) for p in course.lessons()}
STUBS = {name: (f, check) for nb in LESSONS.values()
         for name, (f, check) in course.exercises(nb).items()}
each_stub = pytest.mark.parametrize('name', STUBS)
each_lesson = pytest.mark.parametrize('name', LESSONS)
GRADED = 'lesson2'


def test_each_exercise_stands_in_its_lesson():
    known = course.solutions()
    assert [*known] == [*EXERCISES]
    missing = {o for o in known if f'lesson{o[0]}' in LESSONS} - set(STUBS)
    assert not missing, f'no stub and check for {missing}'
    for lesson, nb in LESSONS.items():
        assert {f'lesson{o[0]}' for o in course.exercises(nb)} == {lesson}


def signature(source):
    f, = ast.parse(source).body
    return f.name, ast.unparse(f.args), ast.get_docstring(f)


@each_stub
def test_stub_and_solution_have_one_signature(name):
    f, check = STUBS[name]
    assert signature(f.source) == signature(course.solutions()[name])
    assert check.source == f"{course.NOT_RUN}check_ex('{name}', {signature(f.source)[0]})"


def code(nb): return [c for c in nb.cells if c.cell_type == 'code']


def run(nb, name):
    "Execute the function of an exercise and its check, with the names that every lesson imports"
    f, check = course.exercises(nb)[name]
    scope = {}
    exec('from asal_nb.all import *', scope)
    for c in (f, check): exec(c.source, scope)


@each_lesson
def test_a_lesson_with_solutions_passes_its_checks(name):
    nb = course.source_version(course.COURSE/f'{name}.ipynb')
    for o in course.exercises(nb): run(nb, o)


@each_stub
def test_a_stub_fails_its_check(name):
    nb = LESSONS[f'lesson{name[0]}']
    with pytest.raises(AssertionError, match='is not written yet'): run(nb, name)


@each_stub
def test_nothing_after_an_exercise_uses_its_stub(name):
    cells = code(LESSONS[f'lesson{name[0]}'])
    f, check = STUBS[name]
    called = signature(f.source)[0]
    later = [c for c in cells[cells.index(f) + 1:] if c is not check]
    names = [n.id for c in later for n in ast.walk(ast.parse(c.source)) if isinstance(n, ast.Name)]
    assert called not in names


@each_lesson
def test_a_lesson_has_its_parts(name):
    text = '\n'.join(c.source for c in LESSONS[name].cells if c.cell_type == 'markdown')
    for part in ('**After this hour** you can', '**You need**', '**It takes**', '## Watch',
                 '## Exercises', '## Quiz', '**Read next:**'):
        assert text.count(part) == 1, f'{name} has no {part!r}, or several'
    assert text.count('<details><summary>Answer</summary>\n\n') == 5
    assert text.count('\n\n</details>') == 5


@each_lesson
def test_the_pictures_of_a_lesson_are_stored(name):
    drawn = [c for c in code(LESSONS[name]) if 'fig-alt:' in c.source]
    assert len(drawn) >= 3
    bad = [c.source for c in drawn
           if not any('image/png' in o.get('data', {}) for o in c.outputs)]
    assert not bad, f'tools/run_nbs.py has not run this lesson: {bad}'


def test_an_unfinished_stub_is_refused():
    with pytest.raises(ValueError, match='a stub ends in'):
        course.solved('def f(x):\n    return 1', 'def f(x):\n    "Doc."\n    return x')


@pytest.fixture(scope='module')
def graded(tmp_path_factory):
    "nbgrader's course folder, after a release and two submissions; student -> score"
    at = tmp_path_factory.mktemp('course')
    course.write_sources(at)
    nbgrader(at, 'generate_assignment', GRADED)
    release = at/'release'/GRADED/f'{GRADED}.ipynb'
    lines = ['raise NotImplementedError()', '# YOUR CODE HERE']
    solved = course.read(release)
    known = course.solutions()
    for name, (f, _) in course.exercises(solved).items():
        assert all(o in f.source for o in lines) and 'SOLUTION' not in f.source
        head = f.source.splitlines()[:2]
        f.source = '\n'.join([*head, *course.body(known[name])])
    for student, nb in {'ada': solved, 'bob': course.read(release)}.items():
        keep_exercises(nb)
        to = at/'submitted'/student/GRADED
        to.mkdir(parents=True)
        course.nbformat.write(nb, to/f'{GRADED}.ipynb')
    nbgrader(at, 'autograde', GRADED)
    nbgrader(at, 'export', '--to', 'grades.csv')
    return at


def keep_exercises(nb):
    "Leave the reading's cells empty: only imports and exercises are executed"
    graded = [c for pair in course.exercises(nb).values() for c in pair]
    for c in code(nb):
        if c not in graded and c.source != 'from asal_nb.all import *': c.source = ''


def nbgrader(at, command, *args):
    here = Path(sys.executable).parent  # nbgrader starts alembic, which is there
    env = os.environ | {'PATH': os.pathsep.join([str(here), os.environ.get('PATH', '')])}
    run = subprocess.run([sys.executable, '-m', 'nbgrader', command, *args], cwd=at, env=env,
                         text=True, capture_output=True)
    assert not run.returncode, run.stdout + run.stderr


def test_nbgrader_gives_all_points_or_none(graded):
    with open(graded/'grades.csv', encoding='utf-8') as f: rows = [*csv.DictReader(f)]
    scores = {o['student_id']: float(o['score']) for o in rows}
    assert scores == {'ada': 2*course.POINTS, 'bob': 0}
    assert {float(o['max_score']) for o in rows} == {2*course.POINTS}


def test_nbgrader_shows_the_student_why(graded):
    nb = json.loads((graded/'autograded/bob'/GRADED/f'{GRADED}.ipynb').read_text(encoding='utf-8'))
    said = json.dumps([c.get('outputs') for c in nb['cells']])
    assert 'Exercise 2.1 is not written yet' in said and 'Exercise 2.2 is not written yet' in said


def test_the_command_writes_every_lesson(tmp_path):
    subprocess.run([sys.executable, ROOT/'tools/course.py', tmp_path], check=True)
    assert {p.stem for p in (tmp_path/'source').rglob('*.ipynb')} == set(LESSONS)
    assert 'c.Execute.timeout = 600' in (tmp_path/'nbgrader_config.py').read_text(encoding='utf-8')
    nb = course.read(tmp_path/'source'/GRADED/f'{GRADED}.ipynb')
    f, check = course.exercises(nb)['2.1']
    assert all(o in f.source for o in course.MARKS) and 'eval' not in check.source
