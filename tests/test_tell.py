"A person or any oracle answers: each answer stays, and the run is a function of the ledger."
import csv
import json
import warnings
import math
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from asal_nb.core import rng
from asal_nb.data.images import ImageData
from asal_nb.data.pool import Pool
from asal_nb.ledger.ledger import SKIP, UNSURE, Ledger
from asal_nb.loop.asal import Random, Supervised
from asal_nb.loop.loop import ActiveLearning
from asal_nb.loop.people import Names, as_oracle, pairs_of

N, CLASSES = 60, ['cat', 'dog', 'owl']
Y = torch.arange(N) % 3
X = (torch.rand(N, 6, generator=rng(0, 'tell'))*.5 + Y[:, None]*.2).clamp(0, 1)
FILES = [f'p{i:02}.png' for i in range(N)]
HOW = Random(Supervised(n_steps=4, nz=4))


def photos(rows=range(N), classes=CLASSES):
    "Vectors with file names and no labels"
    rows = list(rows)
    data = ImageData.from_arrays(X[rows], classes=classes)
    data.files = [FILES[r] for r in rows]
    return data


def start(data=None, **kw):
    args = dict(b=4, rounds=2, n_first=5, first='random', n_threads=1, quiet=True)
    return ActiveLearning(photos() if data is None else data, HOW, **{**args, **kw})


def truth(asked): return {f: CLASSES[Y[FILES.index(f)]] for f in asked.names}


def outcome(al):
    "Rows asked, labels and measured numbers, by file"
    lines = al.ledger.lines(al.run_id)
    asked = [(o['round'], al.names.files[o['row']], o['y']) for o in lines]
    return asked, al.results.drop(columns='stale', errors='ignore').to_numpy().tolist()


def same(a, b): np.testing.assert_equal(a, b)  # nan equals nan


def test_ask_and_tell_is_the_same_as_an_oracle():
    "A person by name, a function by row: the same rows, labels and numbers."
    told, ran = start(), start(oracle=lambda rows: Y[rows]).run()
    while asked := told.next():
        for name, label in truth(asked).items(): told.tell({name: label})
    same(outcome(told), outcome(ran))
    assert len(told.results) == 3 and not told.next() and not len(told.waiting)


def one(row): return CLASSES[Y[row]]
def of_path(path): return one(FILES.index(path))
def of_image(image): return CLASSES[(X - image).abs().sum(1).argmin() % 3]
def of_files(files): return {f: int(Y[FILES.index(f)]) for f in files}
def in_turn(rows): return (CLASSES[Y[r]] for r in rows)


@pytest.mark.parametrize('oracle', [
    one, of_path, of_image, of_files, in_turn, dict(zip(FILES, Y.tolist())), Y, Y.tolist(),
    Y.numpy(), pd.Series(Y.numpy()), pd.DataFrame(dict(file=FILES, label=[CLASSES[y] for y in Y])),
    lambda rows: pd.Series(Y.numpy()).loc[rows.tolist()], lambda rows: map(one, rows.tolist()),
    lambda rows: pd.Categorical([one(r) for r in rows])],
    ids=lambda o: getattr(o, '__name__', type(o).__name__))
def test_kinds_of_oracles(oracle):
    al = start(oracle=oracle, rounds=1).run()
    rows, y, _ = al.ledger.answers(al.run_id)
    assert len(rows) == 9 and torch.equal(y, Y[rows])


@pytest.mark.parametrize('oracle, why', [
    (7, 'must be a function'), ('no.csv', 'no file'), (Names, 'is a class'), ({1, 2}, 'must be'),
    ([0, 1], r'shape \(2,\), .* the 60 rows'), (np.zeros((N, 3)), r'shape \(60, 3\), but must'),
    (pd.Series(['cat', 'dog'], [FILES[0]]*2), "'p00.png' has two labels in this table"),
    ({'a/p01.png': 'cat'}, "did you mean 'p01.png'"), ({'p01.png': 'Skip'}, "mean 'skip'"),
    ({'p01.png': 'cow'}, "label 'cow' does not exist"), ({'p99.png': 'cat'}, 'no file is called'),
    ({99: 'cat'}, 'row 99 does not exist'), (pd.DataFrame(dict(a=[1], b=[2])), 'columns file'),
    (lambda: 0, 'cannot be called'), (lambda row, *, by: 0, 'cannot be called')])
def test_what_is_no_oracle_is_refused_at_once(oracle, why):
    with pytest.raises(ValueError, match=why) as e: start(oracle=oracle)
    assert '\n' not in str(e.value)


def test_an_oracle_without_answers_is_still_an_oracle():
    class Labeller(dict):
        def __call__(self, rows): return self.setdefault(len(self), Y[rows])
    person = Labeller()
    start(oracle=person, rounds=1).run()
    assert len(person) == 2


@pytest.mark.parametrize('stop', [KeyboardInterrupt, RuntimeError])
def test_a_stop_within_a_query_keeps_what_was_answered(stop, tmp_path):
    "One by one or as a generator: seven answers, seven on record, and only two are asked again."
    asked = []

    def person(row):
        if len(asked) == 7: raise stop
        asked.append(row)
        return one(row)
    whole = outcome(start(oracle=one).run())
    for oracle in (person, lambda rows: (person(r) for r in rows.tolist())):
        asked.clear()
        with Ledger(tmp_path/f'{len(list(tmp_path.iterdir()))}.db') as led:
            al = start(oracle=oracle, ledger=led)
            with pytest.raises(stop): al.run()
            assert torch.equal(led.answers(al.run_id)[0], torch.tensor(asked))
            rest = []
            al = start(oracle=lambda row, rest=rest: rest.append(row) or one(row), ledger=led)
            al.run()
            assert not {*asked} & {*rest} and len(asked + rest) == 13
            same(outcome(al), whole)


@pytest.mark.parametrize('bad, why', [
    ('cta', "did you mean 'cat'"), (9, 'labels are 0..2'), (.5, 'neither'), ([0], 'neither'),
    (True, 'neither'), (object(), 'neither')])
def test_a_wrong_answer_costs_no_other(bad, why):
    "In a list, from a generator, told: the sentence names it, the others are kept."
    def person(rows): return [*map(one, rows[:-1].tolist()), bad]
    for oracle in (person, lambda rows: iter(person(rows))):
        al = start(oracle=oracle)
        with pytest.raises(ValueError, match=f'{why}.*the other 4 answers are kept'): al.run()
        assert len(al.waiting) == 1
    told = start()
    a, *_, z = told.next().names
    with pytest.raises(ValueError, match=why): told.tell({z: bad, a: 'cat'})
    assert len(told.waiting) == 4


def test_skip_unsure_and_missing():
    "Declined rows are never asked again nor trained on; missing ones wait, and the run says so."
    al = start(oracle=lambda rows: ['skip', None, float('nan'), 'unsure', *map(one, rows[4:])])
    with pytest.raises(ValueError, match='no row has a label'):
        start(oracle=lambda rows: [None]*len(rows)).run()
    al.run()
    y = [o['y'] for o in al.ledger.lines(al.run_id)]
    assert y[:4] == [SKIP, SKIP, SKIP, UNSURE] and al.results.n_labelled.tolist() == [1, 1, 1]
    assert len(al.pool.idx_S) == 12 and len(al.pool.idx_L) == 1
    half = {f: 'cat' for f in FILES[::2]}
    al = start(oracle=half)
    with pytest.raises(ValueError, match=r'wait for an answer.*al.next\(\)') as e: al.run()
    left = al.waiting
    assert len(left) and (left % 2 == 1).all() and FILES[left[0]] in str(e.value)
    with pytest.raises(ValueError, match='a person must answer.*al.next'): start().run()


def test_a_new_run_beside_another_says_that_it_asks_anew(tmp_path):
    "And takes what the other one knows from its CSV; a run that goes on says nothing."
    al = start(ledger=tmp_path/'a.db')
    al.tell(truth(al.next()))
    al.to_csv(tmp_path/'labels.csv')
    with pytest.warns(UserWarning, match='new run beside .*labels.csv'):
        start(ledger=tmp_path/'a.db', seed=1).next()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        start(ledger=tmp_path/'a.db').next()
        known = start(ledger=tmp_path/'a.db', seed=2, oracle=tmp_path/'labels.csv')
        with pytest.raises(ValueError, match=r'al.next\(\)'): known.run()


def test_tell_and_undo():
    al = start()
    with pytest.raises(ValueError, match="'p00.png'.*was not asked.*al.next"):
        al.tell({'p00.png': 'cat'})
    with pytest.raises(ValueError, match='no answer to take back'): al.undo()
    asked = al.next()
    assert {*asked} == {*al.waiting.tolist()} == {*al.next()}
    a, b, *_ = asked
    assert al.tell({a: 'cat'}) == 4 and al.tell(pd.Series({b: 2})) == 3
    assert (al.undo(), al.undo()) == (b, a) and len(al.waiting) == 5
    assert al.tell(truth(asked)) == 0
    al.undo()
    assert al.tell({asked.names[-1]: 'skip'}, by='ann', note='blurred') == 0
    line = al.ledger.lines(al.run_id)[-1]
    assert (line['y'], line['by'], line['note']) == (SKIP, 'ann', 'blurred')
    for wrong in (3, ['cat'], 'no.csv'):
        with pytest.raises(ValueError): al.tell(wrong)


def interrupted(cut, path):
    "Skips, a correction, an undo; a new session before every step if `cut`"
    al, log = start(ledger=path, rounds=3), []

    def again():
        nonlocal al
        if cut:
            al.ledger.close()
            al = start(ledger=path, rounds=3)
    for r in range(4):
        asked = al.next()
        for k, (name, label) in enumerate(truth(asked).items()):
            again()
            al.tell({name: 'skip' if k == r else label})
        if r == 1:
            al.tell({log[0]: 'owl', log[1]: 'skip'})
            al.undo()
            again()
            al.tell({log[1]: 'unsure', asked.names[0]: 'owl'})
        log += asked.names
        again()
    assert not al.next()
    return outcome(al)


@pytest.mark.filterwarnings('ignore:.*had been trained before')
def test_an_interrupted_run_with_corrections_ends_as_one_that_was_not(tmp_path):
    same(interrupted(True, tmp_path/'a.db'), interrupted(False, tmp_path/'b.db'))


def test_a_correction_of_a_trained_round_is_said():
    al = start(oracle=one, rounds=1).run()
    row = int(al.pool.idx_L[0])
    assert 'stale' not in al.results
    with pytest.warns(UserWarning, match='trained before an answer changed'):
        al.tell({row: CLASSES[(Y[row]+1) % 3]})
    assert al.results.stale.any() and len(al.waiting) == 0


def test_a_run_grows(tmp_path):
    "More rounds, more files among the old ones, another class: nothing asked twice, nothing lost."
    old, path = [r for r in range(N) if r % 4], tmp_path/'a.db'
    al = start(photos(old), oracle=lambda files: of_files(files), ledger=path, rounds=1).run()
    before = {o['name']: o['y'] for o in al.ledger.lines(al.run_id)}
    al.ledger.close()
    al = start(oracle=lambda files: of_files(files), ledger=path, rounds=3)
    assert al.waiting.tolist() == []
    al.run()
    lines = al.ledger.lines(al.run_id)
    after = {o['name']: o['y'] for o in lines}
    assert before.items() < after.items() and len(after) == len(lines) == 17
    assert all(al.data.files[o['row']] == o['name'] and Y[o['row']] == o['y'] for o in lines)
    assert al.results['round'].tolist() == [0, 1, 2, 3]
    al.ledger.close()
    with pytest.raises(ValueError, match='not in the data now'):
        start(photos(old), ledger=path).run()


@settings(max_examples=60, deadline=None)
@given(hold=st.sampled_from([0, .1, .2, .29, .5, .99]), seed=st.integers(0, 9),
       sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), k=st.integers(0, 9))
def test_the_held_share_is_of_all_labels(hold, seed, sizes, k):
    "After each round exactly that share is held, whatever its parts; what is held stays held."
    al = start(hold=hold, seed=seed)
    pool, at, was = Pool(N, 3), k, set()
    if k:
        pool.label(range(k), [0]*k)
        al.set_aside(pool, pool.idx_L)
    for n in sizes:
        rows = torch.arange(at, at + n)
        pool.label(rows, [0]*n)
        al.set_aside(pool, rows)
        at += n
        held = {*pool.idx_V.tolist()}
        assert was <= held and len(held) <= hold*at + 1e-6
        if len(held) < int(hold*at + 1e-9): assert {*rows.tolist()} <= held  # no more could be
        was = held


def test_accuracy_of_a_handful_is_shown_as_that():
    al = start(oracle=one, hold=.5).run()
    t = al.results
    assert t.n_held.tolist() == [2, 4, 6] and list(t)[2:6] == ['accuracy', 'n_held', 'low', 'high']
    assert ((t.low <= t.accuracy) & (t.accuracy <= t.high)).all() and (t.high - t.low > .3).all()
    assert al.plot().get_ylabel() == 'held-out accuracy (n=6)'
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        none = start(oracle=one, hold=0).run()
    assert none.results.accuracy.isna().all() and len(none.pool.idx_V) == 0
    assert len([o for o in said if 'no test set' in str(o.message)]) == 1
    with pytest.raises(ValueError, match='other settings: hold was'):
        start(oracle=one, ledger=none.ledger).run()


def test_a_network_of_nan_has_no_accuracy():
    how = Random(Supervised(n_steps=20, alpha=1e38))
    data = ImageData.from_arrays(X, Y, X[:9], Y[:9])
    al = ActiveLearning(data, how, 4, 1, 5, 'random', metrics=dict(one=lambda p, y: 1.), quiet=True)
    with pytest.warns(UserWarning, match='training has diverged'): al.run()
    assert al.results[['accuracy', 'accuracy_0', 'one']].isna().all().all()


def test_exports_are_whole_and_inert(tmp_path):
    "Formulas and control characters do nothing in a table; it is read back; tasks import."
    data = photos(classes=['cat', '=dog()', 'owl'])
    names = ['=1+1.png', '@x', '+x', '-x', '\ttab', 'a\x1b[31m.png', "'q", 'é,"z".png',
             'new\nline']
    data.files = names + FILES[9:]
    al = start(data, b=N-5, rounds=1)
    for _ in range(2):
        asked = al.next()
        al.tell({r: int(Y[r]) for r in asked})
    al.tell({'=1+1.png': 'skip', FILES[20]: 'unsure'})
    path = al.to_csv(tmp_path/'a.csv')
    cells = [c for line in csv.reader(path.open(encoding='utf-8', newline='')) for c in line]
    assert not [c for c in cells if c.startswith(tuple('=+-@\t\r\n'))]
    assert '\x1b' not in path.read_text(encoding='utf-8')
    batch, = as_oracle(path, data)(torch.arange(N))
    back = {r: al.names.label(y) for r, y in batch}
    assert back == {o['row']: o['y'] for o in al.ledger.lines(al.run_id)} and len(back) == N
    tasks = json.loads(al.to_json(tmp_path/'a.json').read_text())
    assert {t['data']['image'] for t in tasks} == {*data.files}
    done = [t['annotations'][0] for t in tasks]
    result = next(o['result'][0] for o in done if o['result'])
    assert {k: result[k] for k in ('from_name', 'to_name', 'type')} == dict(
        from_name='label', to_name='image', type='choices')
    assert sum(o.get('was_cancelled', False) for o in done) == 2
    html = asked._repr_html_()
    assert '<script' not in html and '\x1b' not in html and '\x1b' not in repr(asked)


def test_numbers_that_name_classes_are_not_guessed():
    al = start(photos(classes=['1', '2', '3']))
    asked = al.next()
    with pytest.raises(ValueError, match='give the name as text'): al.tell({asked.names[0]: 1})
    al.tell({asked.names[0]: '1'})
    assert al.ledger.answers(al.run_id)[1].tolist() == [0]


def test_empty_cells_of_a_table_are_not_answers(tmp_path):
    path = tmp_path/'a.csv'
    path.write_text('file,label\np01.png,cat\np02.png,\np03.png,skip\n')
    assert pairs_of(path) == [('p01.png', 'cat'), ('p03.png', 'skip')]
    assert pairs_of(pd.Series([1., math.nan])) == [(0, 1.)]


def test_the_method_never_sees_more_labels_than_were_told():
    "Declined, held and unanswered rows have no label in the pool that a method gets."
    seen = []

    class Spy(Supervised):
        def fit(self, data, pool, warm, seed):
            seen.append((pool.y.clone(), pool.idx_S.tolist()))
            return super().fit(data, pool, warm, seed)
    al = start(oracle=lambda rows: [None, *map(one, rows[1:])])
    al.method = Random(Spy(n_steps=2, nz=4))
    al.run()
    for r, (y, skipped) in enumerate(seen):
        assert int((y >= 0).sum()) == al.results.n_labelled[r] and len(skipped) == r + 1
        assert (y[skipped] == -1).all()


def test_classes_rows_and_rounds_are_added_together(tmp_path):
    "A longer list of classes with the same beginning goes on; any other list is refused."
    def begin(data, **kw): return start(data, name='a', ledger=tmp_path/'a.db', **kw)
    al = begin(photos(range(40)))
    for _ in range(2): al.tell(truth(al.next()))
    was = al.ledger.lines(al.run_id)
    for bad in (['cat', 'dog', 'cow'], ['cat', 'dog'], ['dog', 'cat', 'owl', 'cow']):
        with pytest.raises(ValueError, match='only be added at the end'):
            begin(photos(range(40), bad)).next()
    more = begin(photos(range(40), [*CLASSES, 'cow']))
    assert more.open() == al.run_id and more.ledger.classes(1)[-1] == 'cow'
    more = begin(photos(range(N-1, -1, -1), [*CLASSES, 'cow', 'elk']), rounds=3)
    more.tell(truth(more.next()) | {more.waiting[0].item(): 'cow'})
    lines = more.ledger.lines(more.run_id)
    assert [(o['name'], o['y']) for o in lines[:len(was)]] == [(o['name'], o['y']) for o in was]
    assert lines[len(was)]['y'] == 3 and more.ledger.check() == []
    assert len(more.next()) == 4 and 'accuracy_elk' in more.results


def test_other_test_labels_are_refused_with_more_classes(tmp_path):
    def begin(classes, y):
        data = ImageData.from_arrays(X, None, X[:9], y, classes=classes)
        return start(data, name='a', ledger=tmp_path/'a.db').open()
    assert begin(CLASSES, Y[:9]) == begin([*CLASSES, 'cow'], Y[:9])
    with pytest.raises(ValueError, match='exam was'): begin([*CLASSES, 'cow'], Y[1:10])


def test_a_round_that_was_skipped_whole_goes_on_with_the_first_label():
    al = start()
    al.tell(dict.fromkeys(al.next().names, 'skip'))
    row = al.ledger.lines(al.run_id)[0]['row']
    with pytest.raises(ValueError, match='5 were skipped'): al.next()
    al.tell({row: 'cat'})
    with pytest.warns(UserWarning, match='none of 1 labels is held'): assert len(al.next()) == 4


@pytest.mark.parametrize('text', [
    'file;label\np01.png;cat\n', 'file\tlabel\np01.png\tcat\n', 'Filename, Class\np01.png, cat\n',
    'file,label\n.\\p01.png,cat\n', 'file,row,label\n,1,cat\n'])
def test_tables_as_spreadsheets_write_them(tmp_path, text):
    (tmp_path/'a.csv').write_text(text, encoding='utf-8-sig')
    answers = as_oracle(tmp_path/'a.csv', photos())(torch.tensor([1]))
    assert [o for part in answers for o in part] == [(1, 0)]


def test_an_exported_table_is_imported_again(tmp_path):
    "Names that a spreadsheet would run are written inert, and read as they were."
    odd = ['=1+1', 'a, "b"', 'c\nd']
    data = ImageData.from_arrays(X, classes=odd, files=[f'={o}' for o in FILES])
    al, other = start(data), start(data)
    rows = al.next().rows.tolist()
    al.tell(dict(zip(rows, [*odd, 'skip', 'unsure'])))
    other.next()
    assert other.ledger.import_answers(other.run_id, al.to_csv(tmp_path/'a.csv')) == []
    kept = [[(o['row'], o['y']) for o in a.ledger.lines(a.run_id)] for a in (al, other)]
    assert kept[0] == kept[1]
