"Each promise can be broken, and is then named; right methods pass; the report, and pytest."
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn
from asal_nb.ask.sampler import ask_rows
from asal_nb.check.suite import CHECKS, check
from asal_nb.check.world import Trial, can_limit, tensors
from asal_nb.core import rng, seeded
from asal_nb.data.images import ImageData, get_data
from asal_nb.loop.asal import ASAL, Random, Supervised
from asal_nb.check.controls import LBlind, Permuted
from asal_nb.methods.foreign import from_skactiveml
from asal_nb.methods.table import METHODS, method_of
from asal_nb.paper.adversarial import dsc_loss, vae_adv_loss
from asal_nb.paper.gauss import kl

WRONG, RIGHT = {}, {}

def breaks(name, **kw):
    "The class below breaks the promise `name`; `kw` goes to `check`"
    def add(cls):
        WRONG[cls.__name__] = name, cls, kw
        return cls
    return add

def right(cls):
    "The class below keeps all promises"
    RIGHT[cls.__name__] = cls
    return cls

class Own:
    "A user's method: no class of ours, a small net, a plain loop, least confidence"
    n_steps = 12
    def net(self, data):
        n_in = data.x[0].numel()
        return nn.Sequential(
            nn.Flatten(), nn.Linear(n_in, 16), nn.ReLU(), nn.Linear(16, data.n_classes))
    def warm_up(self, data, seed): pass
    def batches(self, n, seed):
        g = rng(seed, 'batches')
        for _ in range(self.n_steps): yield torch.randint(n, (min(32, n),), generator=g)
    def loss(self, net, x, y): return F.cross_entropy(net(x), y)
    def after(self, net, step, x): pass
    def fit(self, data, pool, warm, seed):
        with seeded(seed, 'own'):
            net = self.net(data)
            opt = torch.optim.SGD(net.parameters(), .1)
            x, y = data.images(pool.idx_L), pool.y[pool.idx_L]
            for step, i in enumerate(self.batches(len(x), seed)):
                opt.zero_grad()
                self.loss(net, x[i], y[i]).backward()
                opt.step()
                self.after(net, step, x)
        return SimpleNamespace(model=net)
    def scores(self, learn, data, rows, seed):
        learn.model.eval()
        with torch.no_grad(): return learn.model(data.images(rows)).softmax(1).amax(1)
    def query(self, learn, data, pool, b, seed):
        return ask_rows(self.scores(learn, data, pool.idx_U, seed), pool.idx_U, b, seed)

class Plain(Random):
    "Random asking on a short supervised training"
    def __init__(self): super().__init__(Supervised(n_steps=2))

# ---- what a query answers

@breaks('count')
class OneLess(Plain):
    def query(self, learn, data, pool, b, seed):
        return super().query(learn, data, pool, b, seed)[1:]

@breaks('rows_not_positions')
class Positions(Own):
    def query(self, learn, data, pool, b, seed):
        return self.scores(learn, data, pool.idx_U, seed).argsort()[:b].numpy()

@breaks('no_repeats')
class WithReplacement(Plain):
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[torch.randint(len(pool.idx_U), (b,), generator=rng(seed, 'again'))]

@breaks('no_repeats')
class FirstAnswerForEver(Plain):
    def query(self, learn, data, pool, b, seed):
        m = len(pool.idx_U)
        if not hasattr(self, 'rows'): self.rows = super().query(learn, data, pool, m, 0)
        return self.rows[:b]

@breaks('pools_disjoint')
class ScoresAllRows(Own):
    def query(self, learn, data, pool, b, seed):
        rows = torch.arange(len(data))
        return ask_rows(self.scores(learn, data, rows, seed), rows, b, seed)

@breaks('pools_disjoint')
class WritesThePool(Plain):
    def query(self, learn, data, pool, b, seed):
        rows = super().query(learn, data, pool, b, seed)
        pool.y[rows] = 0
        return rows

# ---- what a method may look at

@breaks('oracle_leak')
class TriesTheOracle(Plain):
    "Goes on quietly where it is refused"
    def fit(self, data, pool, warm, seed):
        try: data.oracle(pool.idx_U)
        except ValueError: pass
        return super().fit(data, pool, warm, seed)

def one_folder(n=100):
    x, y = torch.rand(n, 1, 8, 8, generator=rng(0)), torch.arange(n) % 4
    return ImageData.from_arrays(x, y, x[:30], y[:30])

@breaks('train_test_disjoint', data=one_folder())
class SameFolderTwice(Plain): pass

@breaks('no_foreign_nets')
class WithAnIdleNet(Plain):
    def fit(self, *args):
        learn = super().fit(*args)
        learn.vae = nn.Linear(3, 3)
        return learn

# ---- one round after another

@breaks('runs_twice')
class NoBranch(Plain):
    def query(self, learn, data, pool, b, seed): raise NameError("name 'arg' is not defined")

@breaks('runs_twice')
class GoesOn(Own):
    "Carries its network from round to round"
    def net(self, data):
        self.kept = getattr(self, 'kept', None) or super().net(data)
        return self.kept

@breaks('runs_twice')
class TrainsItsWarmUp(Own):
    def warm_up(self, data, seed): return dict(net=Own.net(self, data))
    def fit(self, data, pool, warm, seed):
        self.net = lambda data: warm['net']
        return super().fit(data, pool, warm, seed)

@breaks('odd_batch')
class Pairs(Own):
    def batches(self, n, seed): return torch.arange(n).split(32)
    def loss(self, net, x, y):
        a, b = net(x)[:, 0].view(2, -1)
        return super().loss(net, x, y) + F.relu(1 - a + b).mean()

@breaks('tiny_pool')
class TenNeighbours(Own):
    def query(self, learn, data, pool, b, seed):
        x_L, x_U = [data.images(i).flatten(1) for i in (pool.idx_L, pool.idx_U)]
        gap = torch.cdist(x_U, x_L).topk(10, largest=False).values.mean(1)
        return ask_rows(-gap, pool.idx_U, b, seed)

@breaks('tiny_pool', limit=1)
class WaitsForABatch(Own):
    def batches(self, n, seed):
        while n < 32: pass
        return super().batches(n, seed)

class Normed(Own):
    def net(self, data):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))

@breaks('mode_restored')
class ValidatesOnce(Normed):
    def after(self, net, step, x):
        if step == 0: net.eval()

@breaks('mode_restored')
class ValidatesHalfway(Normed):
    def after(self, net, step, x):
        if step == 6: net.eval()

# ---- what a score depends on

@breaks('deterministic')
class DropoutLeftOn(Own):
    def net(self, data): return nn.Sequential(*super().net(data), nn.Dropout(.5))
    def scores(self, learn, data, rows, seed):
        with torch.no_grad(): return learn.model.train()(data.images(rows)).softmax(1).amax(1)

@breaks('deterministic')
class CountsItsQueries(Plain):
    n = 0
    def query(self, learn, data, pool, b, seed):
        self.n += 1
        return super().query(learn, data, pool, b, seed + self.n)

@breaks('seeded')
class UnseededWeights(Own):
    def fit(self, data, pool, warm, seed):
        net = super().net(data)
        self.net = lambda data: net
        return super().fit(data, pool, warm, seed)

@breaks('seeded')
class FixedInit(Own):
    def fit(self, data, pool, warm, seed): return super().fit(data, pool, warm, 0)

@breaks('seeded')
class PythonsRandom(Plain):
    def query(self, learn, data, pool, b, seed): return random.sample(pool.idx_U.tolist(), b)

@breaks('batch_independent')
class ScoresInTrainMode(Normed):
    def scores(self, learn, data, rows, seed):
        with torch.no_grad(): return learn.model.train()(data.images(rows)).softmax(1).amax(1)

@breaks('batch_independent')
class CentredScores(Own):
    def scores(self, learn, data, rows, seed):
        s = super().scores(learn, data, rows, seed)
        return s - s.mean()

@breaks('loader_order')
class ShuffledLoader(Own):
    def query(self, learn, data, pool, b, seed):
        mixed = pool.idx_U[torch.randperm(len(pool.idx_U), generator=rng(seed, 'loader'))]
        return pool.idx_U[self.scores(learn, data, mixed, seed).argsort()[:b]]

@breaks('loader_order')
class ScoresInOrder(Own):
    def scores(self, learn, data, rows, seed):
        return super().scores(learn, data, rows.sort()[0], seed)

@breaks('direction')
class Surest(Own):
    def query(self, learn, data, pool, b, seed):
        return ask_rows(-self.scores(learn, data, pool.idx_U, seed), pool.idx_U, b, seed)

@breaks('direction')
class Nearest(Plain):
    "Without scores: near copies of what is labelled"
    def query(self, learn, data, pool, b, seed):
        x_L, x_U = [data.images(i).flatten(1) for i in (pool.idx_L, pool.idx_U)]
        return ask_rows(torch.cdist(x_U, x_L).amin(1), pool.idx_U, b, seed)

# ---- inside the game: a user's own, of two small nets

class Scratch(Own):
    "An encoder, a decoder and a D of one's own, with `terms` and `dsc`; three switches spoil it"
    t_U, cut, sums, n_steps = 0., False, False, 40
    def terms_of(self, nets, x_L, x_U):
        x, n = torch.cat([x_L, x_U]).flatten(1), len(x_L)
        mu, logvar = nets.enc(x).chunk(2, 1)
        nats, fixed = kl(mu, logvar), nets.dsc(mu.detach()).squeeze(1)
        d = nets.dsc(mu.detach() if self.cut else mu).squeeze(1)
        return dict(
            mse=(nets.dec(mu) - x).square().mean(), kl=nats.sum() if self.sums else nats.mean(),
            adv=vae_adv_loss(d[:n], d[n:]),
            dsc=dsc_loss(fixed[:n], fixed[n:], torch.full((len(x_U),), self.t_U)))
    def fit(self, data, pool, warm, seed):
        with seeded(seed, 'scratch'):
            parts = dict(enc=nn.Linear(64, 8), dec=nn.Linear(4, 64), dsc=nn.Linear(4, 1))
            nets = nn.ModuleDict(parts)
            vae = torch.optim.Adam([*nets.enc.parameters(), *nets.dec.parameters()], 1e-3)
            dsc = torch.optim.Adam(nets.dsc.parameters(), 1e-1)
            for _ in range(self.n_steps):
                i_L, i_U = [o[torch.randint(len(o), (32,))] for o in (pool.idx_L, pool.idx_U)]
                for opt, names in ((vae, ('mse', 'adv')), (dsc, ('dsc',))):
                    terms = self.terms_of(nets, data.images(i_L), data.images(i_U))
                    opt.zero_grad()
                    sum(terms[k] for k in names).backward()
                    opt.step()
        def terms(i_L, i_U): return self.terms_of(nets, data.images(i_L), data.images(i_U))
        return SimpleNamespace(model=nets, dsc=nets.dsc, terms=terms)
    def scores(self, learn, data, rows, seed):
        mu = learn.model.enc(data.images(rows).flatten(1)).chunk(2, 1)[0]
        return learn.dsc(mu).squeeze(1).detach()

@breaks('targets_differ')
class OneForBoth(Scratch): t_U = 1.

@breaks('targets_differ')
class ShowsAnother(Scratch):
    "Trains D with one target, and shows two"
    t_U = 1.
    def fit(self, *args):
        learn = super().fit(*args)
        self.t_U = 0.
        return learn

@breaks('adversarial_gradient')
class CutCodes(Scratch): cut = True

@breaks('kl_scale')
class SummedKL(Scratch): sums = True

@breaks('direction')
class LargestD(Scratch):
    def query(self, learn, data, pool, b, seed):
        return ask_rows(-self.scores(learn, data, pool.idx_U, seed), pool.idx_U, b, seed)

@pytest.mark.parametrize('name', WRONG)
def test_a_broken_promise_is_named(name):
    promise, cls, kw = WRONG[name]
    if kw.get('limit') and not can_limit(): pytest.skip('what hangs cannot be broken off here')
    r = check(cls(), only=[promise], **kw)
    assert r.failed == [promise] and not r.ok and len(r.said[promise]) > 20

def test_each_promise_can_be_broken():
    assert {name for name, *_ in WRONG.values()} == set(CHECKS)

# ---- what is right
for o in (Own, Scratch, Normed): right(o)

@right
class Centres:
    "No network, no chance, no scores; answers in numpy, and a learner that is an array"
    def warm_up(self, data, seed): return {}
    def fit(self, data, pool, warm, seed):
        x, y = data.images(pool.idx_L).flatten(1).numpy(), pool.y[pool.idx_L].numpy()
        return np.stack([x[y == k].mean(0) for k in np.unique(y)])
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U).flatten(1).numpy()
        gap = ((x[:, None] - learn[None])**2).sum(-1).min(1)
        return pool.idx_U.numpy()[np.argsort(-gap)[:b]]

@right
class NoLearner(Centres):
    "Trains nothing at all"
    def fit(self, *args): pass
    def query(self, learn, data, pool, b, seed):
        return np.random.RandomState(seed % 2**32).permutation(pool.idx_U.numpy())[:b].tolist()

@right
class Logistic(Own):
    "scikit-learn's, which has no chance in it"
    def fit(self, data, pool, warm, seed):
        x, y = data.images(pool.idx_L).flatten(1).numpy(), pool.y[pool.idx_L].numpy()
        return LogisticRegression(max_iter=50).fit(x, y)
    def scores(self, learn, data, rows, seed):
        p = learn.predict_proba(data.images(rows).flatten(1).numpy())
        return torch.as_tensor(p).amax(1)

@right
class LinearFromZero(Own):
    "Full batches from weights of 0: two seeds give the same, rightly"
    def net(self, data):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        for p in net.parameters(): nn.init.zeros_(p)
        return net
    def batches(self, n, seed): return [slice(None)]*12

@right
class AModule(Own):
    "`fit` returns the network itself"
    def fit(self, *args): return super().fit(*args).model
    def scores(self, learn, *args): return super().scores(SimpleNamespace(model=learn), *args)

@right
class PrintsAccuracy(Normed):
    "Validates after each step, with gradients on, and goes back to train mode"
    def after(self, net, step, x):
        net.eval()
        net(x).argmax(1)
        net.train()

@right
class FrozenNorm(Normed):
    "Layers of normalisation stay in evaluation mode, as in fine-tuning"
    def after(self, net, step, x): net[2].eval()

@right
class OnTopOfSupervised(Plain):
    "Our training, and a net of its own beside it that the query needs"
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        with seeded(seed, 'beside'): learn.beside = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
        return learn
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): s = learn.beside(data.images(pool.idx_U)).squeeze(1)
        return ask_rows(s, pool.idx_U, b, seed)

@right
class HalfAtRandom(Own):
    "The least sure half of the budget, and the rest at random"
    def query(self, learn, data, pool, b, seed):
        first = super().query(learn, data, pool, (b + 1)//2, seed)
        rest = pool.idx_U[~torch.isin(pool.idx_U, first)]
        mixed = rest[torch.randperm(len(rest), generator=rng(seed, 'rest'))]
        return torch.cat([first, mixed[:b//2]])

@pytest.mark.parametrize('name', RIGHT)
def test_what_is_right_is_not_flagged(name):
    r = check(RIGHT[name]())
    assert r.ok, r

STEPS = {'n_steps': 4, 'n_warm': 4, 'train.n_steps': 4}
QUICK = dict(
    asal='n_steps n_warm', typiclust='n_warm train.n_steps', probcover='n_warm train.n_steps',
    maxherding='n_warm train.n_steps', uncertaintyherding='n_warm train.n_steps',
    learningloss='n_steps', aral='n_steps', **dict.fromkeys(
        ['tavaal', 'vaal', 'sraal', 'dgaal', 'discriminativeal'], 'n_steps train.n_steps'))
QUICK['asal-paper'] = QUICK['asal']

@pytest.mark.parametrize('name', METHODS)
def test_no_shipped_method_is_flagged(name):
    keys = QUICK.get(name, 'train.n_steps').split()
    r = check(method_of(name, **{k: STEPS[k] for k in keys}))
    assert r.ok and len(r.passed) >= 14, r

def test_controls_and_other_libraries_are_not_flagged():
    for make in (Permuted, LBlind): assert check(make(ASAL(n_warm=4, n_steps=4))).ok
    pool = pytest.importorskip('skactiveml.pool')
    for qs in (pool.Badge(), pool.UncertaintySampling(), pool.CoreSet()):
        r = check(from_skactiveml(qs, Supervised(n_steps=4)))
        assert r.ok, r

# ---- data of the user's
@pytest.mark.parametrize('data', [
    get_data('digits'),
    ImageData.from_arrays(torch.rand(90, 5, generator=rng(1)), torch.arange(90) % 3)],
    ids=['digits', 'vectors'])
def test_users_data(data):
    for m in (Own(), Plain()):
        r = check(m, data)
        assert r.ok and len(r.passed) >= 10, r
    assert check(Surest(), data, only=['direction']).failed == ['direction']

# ---- the report, and pytest

def test_the_report_reads_well():
    r = check(Surest(), only=['count', 'direction', 'kl_scale'])
    assert (r.failed, r.passed, r.skipped) == (['direction'], ['count'], ['kl_scale'])
    lines = repr(r).splitlines()
    assert lines[0] == 'Surest: 1 failed, 1 skipped, 1 passed'
    assert lines[1].split()[:2] == ['failed', 'direction'] and 'mean place' in lines[1]
    assert lines[2].endswith('the learner has no `terms`') and lines[3].endswith('whole numbers.')

def test_expected_failures():
    kw = dict(only=['count', 'direction'], expected_failures=dict(direction='a control'))
    r = check(Surest(), **kw)
    assert r.ok and r.expected == ['direction'] and r.said['direction'].startswith('a control (')
    assert check(Own(), **kw).passed == ['count', 'direction']
    with pytest.raises(ValueError, match="check='cuont' is unknown; .*did you mean 'count'"):
        check(Own(), expected_failures=dict(cuont='?'))

@pytest.mark.parametrize('bad, words', [
    ('margin', "'margin' lacks `warm_up`"), (Own, 'Own is a class'), (None, 'lacks `warm_up`'),
    (SimpleNamespace(warm_up=1, fit=print, query=print), 'lacks `warm_up`')])
def test_what_is_no_method(bad, words):
    with pytest.raises(ValueError, match=words): check(bad)

FEW = ImageData.from_arrays(torch.rand(9, 4), torch.arange(9) % 2)

@pytest.mark.parametrize('bad', ['digits', get_data('digits').blind(), FEW], ids='abc')
def test_what_is_no_data(bad):
    with pytest.raises(ValueError, match='must be an ImageData with labels and at least 64 rows'):
        check(Own(), bad)

def test_a_check_leaves_no_trace():
    "The reader's generators, the learner's weights and modes of hooks are as before"
    state, t = torch.get_rng_state(), Trial(Scratch())
    was = {k: v.clone() for k, v in tensors(t.learn).items()}
    for f in CHECKS.values():
        try: f(t)
        except Exception: pass
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, was[k]) for k, v in tensors(t.learn).items())
    assert not t.dsc._forward_hooks and not t.pool.is_held.any()

MINE = '''
from test_check import Own, Surest
from asal_nb.check.suite import parametrize_with_checks
def known(method): return dict(direction='a control') if type(method) is Surest else {}
@parametrize_with_checks([Own(), Surest()], expected_failures=known)
def test_promises(method, check): check(method)
@parametrize_with_checks([Surest()])
def test_strictly(method, check): check(method)
'''

def test_under_pytest(tmp_path):
    "Named as scikit-learn names them; what is expected is xfailed, what cannot be seen is skipped"
    (tmp_path/'test_mine.py').write_text(MINE)
    here = Path(__file__).parent
    env = os.environ | dict(PYTHONPATH=os.pathsep.join([str(here), str(here.parent)]))
    out = subprocess.run(
        [sys.executable, '-m', 'pytest', '-rA', '-q', '-p', 'no:cacheprovider', 'test_mine.py'],
        capture_output=True, text=True, cwd=tmp_path, env=env).stdout
    assert 'PASSED test_mine.py::test_promises[Own-no_repeats]' in out, out
    assert 'XFAIL test_mine.py::test_promises[Surest-direction] - a control' in out
    assert 'FAILED test_mine.py::test_strictly[Surest-direction]' in out
    assert '1 failed, ' in out and '12 skipped' in out and ', 1 xfailed' in out
