"""Lessons and their solutions: what a student opens has stubs, what nbgrader reads has both.

tools/course.py DIR   write nbgrader's source version of each lesson into DIR/source/LESSON/,
                      and DIR/nbgrader_config.py if there is none

A check cell is `check_ex('2.1', kl)`; the cell before it is the stub, `def kl(…)`. The same two
cells stand in solutions.ipynb, with the body written. nbgrader's marks are made here and kept
nowhere: nbdev-clean would drop them from the lessons."""
import argparse
import ast
import re
from pathlib import Path
import nbformat
from run_nbs import ROOT

COURSE = ROOT/'nbs/course'
SOLUTIONS = COURSE/'solutions.ipynb'
CHECK = re.compile(r"^check_ex\('(\d\.\d)', \w+\)$", re.M)
STUB = '    raise NotImplementedError'
NOT_RUN = '#| eval: false\n'
MARKS = '    ### BEGIN SOLUTION', '    ### END SOLUTION'
POINTS = 1
# By default a cell has 30 seconds. A first import may take longer, and a right answer gets no point
CONFIG = """c = get_config()
c.Execute.timeout = 600          # seconds for a cell
c.Execute.iopub_timeout = 60     # seconds for its last output
"""


def lessons(): return sorted(COURSE.glob('lesson*.ipynb'))
def read(p): return nbformat.read(p, as_version=4)


def exercises(nb):
    "Each exercise of a notebook: its name -> the cell of its function, the cell of its check"
    pairs = zip(nb.cells, nb.cells[1:])
    return {m[1]: (f, check) for f, check in pairs if (m := CHECK.search(check.source))}


def solutions():
    "Name of an exercise -> the source of its solution"
    return {name: f.source for name, (f, _) in exercises(read(SOLUTIONS)).items()}


def body(source):
    "The lines of a function below its docstring"
    f, = ast.parse(source).body
    return source.splitlines()[f.body[0].end_lineno:]


def solved(stub, solution):
    "The stub with the lines of the solution between nbgrader's marks"
    lines = stub.splitlines()
    if lines[-1] != STUB: raise ValueError(f'a stub ends in {STUB.strip()!r}, not in {lines[-1]!r}')
    return '\n'.join([*lines[:-1], MARKS[0], *body(solution), MARKS[1]])


def marks(kind, name, **kw):
    "nbgrader's metadata of a cell"
    common = dict(schema_version=3, grade_id=f'{kind}-{name.replace(".", "-")}', task=False)
    return dict(nbgrader=common | kw)


def source_version(p):
    "The lesson at `p` as nbgrader's teacher has it: with solutions, marks and points"
    nb, known = read(p), solutions()
    for name, (f, check) in exercises(nb).items():
        f.source = solved(f.source, known[name])
        check.source = check.source.removeprefix(NOT_RUN)
        f.metadata = marks('answer', name, grade=False, solution=True, locked=False)
        check.metadata = marks('check', name, grade=True, solution=False, locked=True,
                               points=POINTS)
    return nb


def write_sources(folder):
    "Write the source version of each lesson where nbgrader looks for it, and how long it may take"
    config = Path(folder)/'nbgrader_config.py'
    config.parent.mkdir(parents=True, exist_ok=True)
    if not config.exists(): config.write_text(CONFIG, encoding='utf-8')
    for p in lessons():
        to = Path(folder)/'source'/p.stem
        to.mkdir(parents=True, exist_ok=True)
        nbformat.write(source_version(p), to/p.name)


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('folder', metavar='DIR', help="nbgrader's course folder")
    write_sources(a.parse_args().folder)


if __name__ == '__main__': main()
