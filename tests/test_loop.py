"The loop as a whole: kills and resumes, equal bits in two processes, odd plans, the command line."
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from asal_nb.core import rng, seeded
from asal_nb.data.pool import Pool, plan
from asal_nb.data.images import ImageData
from asal_nb.ledger.ledger import Ledger
from asal_nb.loop import asal, method
from asal_nb.loop.asal import ASAL, Random, Supervised
from asal_nb.loop.loop import ActiveLearning

RUN = '''
import sys, torch
from asal_nb.core import rng
from asal_nb.data.images import ImageData
from asal_nb.loop.asal import ASAL
from asal_nb.loop.loop import ActiveLearning
g = rng(0, 'toy')
y = torch.arange(120) % 3
x = (torch.rand(120, 1, 8, 8, generator=g)*.5 + y[:, None, None, None]*.2).clamp(0, 1)
data = ImageData.from_arrays(x, y, x[:30], y[:30])
how = ASAL(n_warm=4, n_steps=12, bs=8, bs_U=16)
al = ActiveLearning(data, how, b=7, rounds=5, n_first=6, first='random', seed=1,
                    ledger=sys.argv[1], n_threads=1, quiet=True).run()
sums = [float(v.double().sum()) for v in al.learn.model.state_dict().values()]
print(al.pool.round.tolist(), al.results.accuracy.tolist(), sums)
'''


def start(ledger):
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', RUN, str(ledger)], stdout=subprocess.PIPE, text=True)


def said(p):
    out, _ = p.communicate(timeout=300)
    assert p.returncode == 0
    return out


def rounds_over(path):
    "How many rounds the ledger at `path` has"
    if not path.exists(): return 0
    try:
        with Ledger(path, readonly=True) as led:
            return sum(len(led.results(o['id'])) for o in led.runs())
    except (ValueError, sqlite3.Error): return 0  # not all of it is there yet


def test_a_killed_run_ends_as_one_that_was_not(tmp_path):
    "Two processes give the same bits; killed twice at any instant, the run has the same end."
    whole = said(start(tmp_path/'whole.db'))
    assert '[' in whole
    killed = 0
    for n in (1, 3):
        p = start(tmp_path/'cut.db')
        while p.poll() is None and rounds_over(tmp_path/'cut.db') < n: time.sleep(.02)
        if p.poll() is None:
            p.send_signal(signal.SIGKILL)
            killed += 1
        p.communicate()
    assert killed and rounds_over(tmp_path/'cut.db') < 6
    assert said(start(tmp_path/'cut.db')) == whole


@settings(max_examples=12, deadline=None)
@given(
    n=st.integers(3, 60), n_first=st.integers(1, 20), b=st.integers(1, 30),
    rounds=st.integers(0, 3), bs=st.integers(1, 64),
    ask=st.sampled_from(['min', 'diverse', 'refit', 'sequential']))
def test_budgets_and_pools(n, n_first, b, rounds, bs, ask):
    "Any sizes: the plan is kept, pools stay disjoint and complete, no row comes twice, no nan."
    y = torch.arange(n) % 3
    test = torch.rand(4, 5), y[:1].repeat(4)
    data = ImageData.from_arrays(torch.rand(n, 5), y, *test, classes=list('abc'))
    b, rounds = min(b, 6) if ask == 'sequential' else b, min(rounds, 2)
    method = ASAL(h_warm=None, n_warm=0, n_steps=1, bs=bs, bs_U=bs, ask=ask, nz=3)
    al = ActiveLearning(data, method, b, rounds, n_first, 'random', last='rest', quiet=True).run()
    asks = plan(n, b, rounds, n_first, 'rest')
    assert al.results.n_labelled.tolist() == [sum(asks[:i+1]) for i in range(len(asks))]
    rows = al.ledger.answers(al.run_id)[0]
    assert len(rows.unique()) == len(rows) == sum(asks)
    assert torch.equal(torch.cat([al.pool.idx_L, al.pool.idx_U]).sort()[0], torch.arange(n))
    assert torch.equal(al.pool.y[rows], y[rows])
    assert all(v.isfinite().all() for v in al.learn.model.state_dict().values())
    assert al.results.accuracy.notna().all()


@settings(max_examples=12, deadline=None)
@given(n_L=st.integers(1, 130), bs=st.integers(1, 64), bs_U=st.integers(1, 64))
def test_any_labelled_size_and_batch_trains(n_L, bs, bs_U):
    "1 to 130 labels, batches of 1 to 64, also with all rows labelled: one epoch ends without nan."
    y = torch.arange(130) % 4
    data = ImageData.from_arrays(torch.rand(130, 6), y)
    pool = Pool(130, 4)
    pool.label(torch.arange(n_L), y[:n_L])
    learn = ASAL(n_steps=1, bs=bs, bs_U=bs_U, nz=4).fit(data, pool, None, 0)
    assert all(v.isfinite().all() for v in learn.model.state_dict().values())
    assert learn.dls.train.dataset.bs == bs


def photos():
    "Images of 72 pixels, more than our own trunk takes"
    g, y = rng(0, 'photos'), torch.arange(40) % 3
    x = (torch.rand(40, 3, 72, 72, generator=g)*.5 + y[:, None, None, None]*.2).clamp(0, 1)
    return ImageData.from_arrays(x, y, x[:9], y[:9])


def trunk():
    with seeded(3, 'trunk'):
        return nn.Sequential(nn.Conv2d(3, 8, 5, stride=8), nn.BatchNorm2d(8), nn.ReLU())


SMALL = dict(n_steps=5, bs=8, nz=4)


@pytest.mark.parametrize('make', [
    lambda t: ASAL(trunk=t, n_warm=1, bs_U=8, size=16, **SMALL),
    lambda t: Random(Supervised(trunk=t, **SMALL))], ids=['asal', 'random'])
def test_a_trunk_of_ones_own(make, tmp_path):
    "The ledger has its class and weights; it is left as it was; runs do not depend on others."
    data, mine = photos(), trunk()

    def run(t, ledger, seed=1):
        args = 5, 1, 6, 'random', seed, tmp_path/ledger
        al = ActiveLearning(data, make(t), *args, quiet=True).run()
        weights = [v.tolist() for v in al.learn.model.state_dict().values()]
        return al.results.values.tolist(), weights

    first = run(mine, 'a.db')
    run(mine, 'b.db', seed=2)
    asal.once.last.clear()
    assert run(mine, 'c.db') == first == run(trunk(), 'a.db')
    for a, b in zip(mine.state_dict().values(), trunk().state_dict().values()):
        assert torch.equal(a, b)
    with torch.no_grad(): mine[0].bias += 1
    with pytest.raises(ValueError, match='other settings: method was .*Sequential, 624 parameters'):
        run(mine, 'a.db')


def test_rows_without_a_network_are_refused_at_once():
    "Above 64 pixels the default network, as method or judge, is refused before anybody is asked."
    judged = dict(method=ASAL(trunk=trunk()), evaluate='independent')
    for kw in (dict(method=ASAL()), dict(method=Random()), judged):
        with pytest.raises(ValueError, match=r'rows have shape \(3, 72, 72\)'):
            ActiveLearning(photos(), **kw, b=2, rounds=1, n_first=6)


def test_first_codes_of_photographs(monkeypatch):
    "First rows come from the default warm-up, which sees photographs at 64 pixels."
    def warm_up(self, data, seed): return asal.warmed(data, seed, 'instance', 0)
    monkeypatch.setattr(ASAL, 'warm_up', warm_up)
    al = ActiveLearning(photos(), ASAL(trunk=trunk()), b=2, rounds=1, n_first=6)
    assert len(al.choose_first().unique()) == 6


def test_the_ledger_notes_the_threads_of_the_run():
    "Not those of the process around it."
    data = ImageData.from_arrays(torch.rand(20, 4), torch.arange(20) % 2)
    n, how = torch.get_num_threads() + 1, Random(Supervised(n_steps=1))
    al = ActiveLearning(data, how, 2, 1, 4, 'random', n_threads=n, quiet=True).run()
    assert al.ledger.runs()[0]['env']['threads'] == n and torch.get_num_threads() == n - 1


def test_arms_start_alike():
    "First rows depend on data, seed, n_first and first alone: not on the method."
    y = torch.arange(80) % 4
    data = ImageData.from_arrays(torch.rand(80, 6), y)
    hows = ASAL(n_warm=0, n_steps=1), Random(Supervised(n_steps=1))
    als = [ActiveLearning(data, m, 2, 1, 5, 'kmeans', seed=3, quiet=True).run() for m in hows]
    assert torch.equal(*[o.pool.round == 0 for o in als])


@pytest.mark.parametrize('kw, words', [
    (dict(data='digit'), "did you mean 'digits'"),
    (dict(set='lamb4=1'), "has no keyword 'lamb4'; did you mean 'lam4'"),
    (dict(set='ask=minn'), "did you mean 'min'"),
    (dict(set='alpha2=-1'), 'alpha2=-1 must be'),
    (dict(set='nf=-8'), 'nf=-8 must be a whole number'),
    (dict(set='fresh=maybe'), "fresh='maybe' must be True or False"),
    (dict(set='trunk=resnet'), "trunk='resnet' must be a feature extractor"),
    (dict(method='random', set='p_drop=2'), 'p_drop=2 must be'),
    (dict(device='nonsense'), "device='nonsense' cannot be used here"),
    (dict(device='cuda:99'), "device='cuda:99' cannot be used here"),
    (dict(out='x.pgn'), "did you mean 'png'"),
    (dict(first='typi'), "first='typi' is unknown"),
    (dict(ledger='/proc/none/x.db'), 'x.db'),
    (dict(rounds=-1), 'rounds=-1'),
])
def test_command_says_what_is_wrong(kw, words, capsys, monkeypatch):
    "One sentence and exit code 2, before any work."
    from asal_nb.apps.cli import asal_run
    for o in (method, asal):
        monkeypatch.setattr(o, 'run_steps', lambda *args: pytest.fail('it had begun to train'))
    with pytest.raises(SystemExit) as e: asal_run(**kw)
    said = capsys.readouterr()
    assert (e.value.code, said.out) == (2, '')
    assert words in said.err and len(said.err.splitlines()) == 1


def test_empty_folder_is_a_sentence(tmp_path):
    "The installed command, as a person types it."
    cmd = [Path(sys.executable).with_name('asal-run'), '--data', str(tmp_path)]
    env = os.environ | {'PYTHONWARNINGS': 'ignore'}
    p = subprocess.run(cmd, capture_output=True, text=True, env=env)
    assert p.returncode == 2 and 'Traceback' not in p.stderr
    assert len(p.stderr.strip().splitlines()) == 1
