"Each of the twenty checks catches planted defects by name, and flags no method that is right."
import copy
import functools
import random

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from fastai.data.load import DataLoader as FastLoader
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset
from types import SimpleNamespace

from asal_nb.adversarial import dsc_loss
from asal_nb.aral import ARAL
from asal_nb.conformance import CHECKS, check
from asal_nb.core import rng, seeded
from asal_nb.data import asal_dls
from asal_nb.dgaal import DGAAL
from asal_nb.discriminative import DiscriminativeAL
from asal_nb.evidence import sizes
from asal_nb.exam import probabilities
from asal_nb.geometry import CoreSet, ProbCover, TypiClust
from asal_nb.gradients import BADGE
from asal_nb.images import ImageData, get_data
from asal_nb.learning_loss import LearningLoss, LossTrainer, drawn, predicted_loss
from asal_nb.method import Method, run_steps
from asal_nb.reaching import holdings, is_kept, put_back
from asal_nb.sampler import ask_rows, query
from asal_nb.sraal import SRAAL
from asal_nb.tavaal import TAVAAL
from asal_nb.trainers import ASAL, Random, Supervised
from asal_nb.training import asal_learner
from asal_nb.turns import DscStep, dsc_step
from asal_nb.uncertainty import BALD, Entropy, LeastConfidence, Margin
from asal_nb.vaal import VAAL
from asal_nb.views import weak

DEFECTS = {}


def plant(*names, **kw):
    "The class below has the defects `names`; `kw` goes to `check`"
    def add(cls):
        DEFECTS[cls.__name__] = names, cls, kw
        return cls
    return add


class Game(ASAL):
    "ASAL in a few steps, whose learner `change` may spoil before it is trained"
    def __init__(self): super().__init__(n_warm=8, n_steps=20)
    def change(self, learn): pass
    def fit(self, data, pool, warm, seed):
        dls = asal_dls(data, pool, self.bs, bs_U=self.bs_U, seed=seed)
        learn = asal_learner(dls, self.h, self.relabel, self.condition, lam4=self.lam4, warm=warm, seed=seed)
        self.change(learn)
        return run_steps(learn, self.n_steps, seed)


class Plain(Random):
    "Random asking on a short supervised training"
    def __init__(self): super().__init__(Supervised(n_steps=4))


class Own(Method):
    "A user's method: a small net, trained by a loop of its own; `loss` and `net` may be changed"
    bs, n_steps, restart = 32, 12, True
    def net(self, data): return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, data.n_classes))
    def loss(self, net, x, y): return F.cross_entropy(net(x), y)
    def batches(self, x, y, g):
        for _ in range(self.n_steps):
            i = torch.randint(len(x), (min(self.bs, len(x)),), generator=g)
            yield x[i], y[i]
    def after(self, net, i): pass
    def fit(self, data, pool, warm, seed):
        with seeded(seed, 'init'):
            net = self.net(data)
            opt = torch.optim.SGD(net.parameters(), .1)
            x, y = self.rows(data, pool)
            for i, b in enumerate(self.batches(x, y, rng(seed, 'batches'))):
                opt.zero_grad()
                self.loss(net, *b).backward()
                opt.step()
                self.after(net, i)
        return SimpleNamespace(model=net)
    def rows(self, data, pool): return data.images(pool.idx_L), pool.y[pool.idx_L]
    def query(self, learn, data, pool, b, seed):
        U = pool.idx_U
        learn.model.eval()
        with torch.no_grad(): p = learn.model(data.images(U)).softmax(1)
        return ask_rows(p.amax(1), U, b, seed)


# D is taught the same of both pools

@plant('targets_differ')
class OneForBoth(Game):
    def change(self, learn):
        class Ones(DscStep):
            name = 'dsc_step'
            def after_batch(self):
                net, (x_L, x_U) = self.model, self.xb[0][:2]
                z = seen_by_dsc_of(net, torch.cat([x_L, x_U]))
                self.learn.loss_func.terms['dsc'] = dsc_step(net.dsc, self.opt, z, torch.ones(len(x_U)))
        learn.remove_cb(DscStep)
        learn.add_cb(Ones('margin'))


@torch.no_grad()
def seen_by_dsc_of(net, x):
    from asal_nb.networks import dsc_input
    mu = net.enc(x)[0]
    return dsc_input(mu, net.clf(mu), net.condition)


@plant('targets_differ')
class SmoothedOneForBoth(Game):
    def fit(self, *args):
        learn = super().fit(*args)
        def terms(b, f=learn.terms):
            d = learn.dsc(seen_by_dsc_of(learn.model, torch.cat(b[0])))
            return f(b) | dict(dsc=F.binary_cross_entropy_with_logits(d, torch.full_like(d, .9)))
        learn.terms = terms
        return learn


@plant('targets_differ')
class ZeroForBoth(Game):
    def change(self, learn):
        class Zeros(DscStep):
            name = 'dsc_step'
            def after_batch(self):
                net, (x_L, x_U) = self.model, self.xb[0][:2]
                d = net.dsc(seen_by_dsc_of(net, torch.cat([x_L, x_U])))
                for p in learn.opt.param_lists[1]: p.grad = None
                F.softplus(d).mean().backward()
                self.opt.step()
                self.learn.loss_func.terms['dsc'] = d.detach().mean()
        learn.remove_cb(DscStep)
        learn.add_cb(Zeros('margin'))


# the wrong end

@plant('direction')
class LargestD(Game):
    def query(self, learn, data, pool, b, seed): return ask_rows(-learn.scores(pool.idx_U), pool.idx_U, b, seed)


@plant('direction')
class SortedDown(VAAL):
    def __init__(self): super().__init__(train=Supervised(n_steps=4), n_steps=20)
    def choose(self, learn, data, pool, b, seed):
        return pool.idx_U[learn.scores(pool.idx_U).argsort(descending=True)[:b]]


@plant('direction')
class NegatedScores(Game):
    def fit(self, *args):
        learn = super().fit(*args)
        learn.scores = lambda rows: -type(learn).scores(learn, rows)
        return learn
    def query(self, learn, data, pool, b, seed): return ask_rows(learn.scores(pool.idx_U), pool.idx_U, b, seed)


class SwapsTerms:
    "The learner's `terms` say that labelled rows are taught 0, and the others 1"
    def fit(self, *args):
        learn = super().fit(*args)
        def terms(b, f=learn.terms):
            d, n = learn.dsc(seen_by_dsc_of(learn.model, torch.cat(b[0]))), len(b[1])
            return f(b) | dict(dsc=dsc_loss(d[n:], d[:n]))
        learn.terms = terms
        return learn


@plant('direction')
class SwappedPools(SwapsTerms, Game):
    "D is taught 0 for labelled rows, and the smallest are asked all the same"


@plant('direction')
class SwappedInTraining(Game):
    def change(self, learn):
        class Swapped(DscStep):
            name = 'dsc_step'
            def after_batch(self):
                net, (x_L, x_U) = self.model, self.xb[0][:2]
                d, n = net.dsc(seen_by_dsc_of(net, torch.cat([x_L, x_U]))), len(x_L)
                for p in learn.opt.param_lists[1]: p.grad = None
                loss = dsc_loss(d[n:], d[:n])
                loss.backward()
                self.opt.step()
                self.learn.loss_func.terms['dsc'] = loss.detach()
        learn.remove_cb(DscStep)
        learn.add_cb(Swapped('margin'))


@plant('direction')
class Surest(Own):
    def query(self, learn, data, pool, b, seed):
        return ask_rows(-probabilities(learn, data.x[pool.idx_U]).amax(1), pool.idx_U, b, seed)


@plant('direction')
class Nearest(Plain):
    def query(self, learn, data, pool, b, seed):
        x_L, x_U = [data.images(i).flatten(1) for i in (pool.idx_L, pool.idx_U)]
        return ask_rows(torch.cdist(x_U, x_L).amin(1), pool.idx_U, b, seed)


# a loader that shuffles

@plant('loader_order')
class ShuffledScores(Game):
    def query(self, learn, data, pool, b, seed):
        U = pool.idx_U
        d = learn.scores(U[torch.randperm(len(U), generator=rng(seed, 'loader'))])
        return U[d.argsort()[:b]]


@plant('loader_order')
class AlwaysTheSameShuffle(Game):
    def query(self, learn, data, pool, b, seed):
        U = pool.idx_U
        d = learn.scores(U[torch.randperm(len(U), generator=rng(3, 'loader'))])
        return U[d.argsort()[:b]]


@plant('loader_order')
class ShuffledLoader(VAAL):
    def __init__(self): super().__init__(train=Supervised(n_steps=4), n_steps=20)
    def choose(self, learn, data, pool, b, seed):
        dl = DataLoader(TensorDataset(data.images(pool.idx_U)), 50, shuffle=True, generator=rng(seed, 'dl'))
        net = learn.sampler.model.eval()
        with torch.no_grad(): d = torch.cat([net.dsc(net.enc(x)[0]) for x, in dl])
        return pool.idx_U[d.argsort()[:b]]


@plant('loader_order')
class ScoresInLoaderOrder(Game):
    def fit(self, *args):
        learn = super().fit(*args)
        def scores(rows): return type(learn).scores(learn, rows[torch.randperm(len(rows), generator=rng(0, 'dl'))])
        learn.scores = scores
        return learn
    def query(self, learn, data, pool, b, seed): return ask_rows(learn.scores(pool.idx_U), pool.idx_U, b, seed)


@plant('loader_order')
class ShuffledMargin(Own):
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U)[torch.randperm(len(pool.idx_U), generator=rng(seed, 'order'))]
        with torch.no_grad(): top = learn.model(x).softmax(1).topk(2).values
        return pool.idx_U[(top[:, 0]-top[:, 1]).argsort()[:b]]


class Files(Dataset):
    "A data set of the user's own: an array, normalised images, each with its row"
    def __init__(self, data, rows): self.x, self.idx = data.x.numpy(), rows.numpy()
    def __len__(self): return len(self.idx)
    def __getitem__(self, i):
        return (torch.from_numpy(self.x[self.idx[i]]).float()/255 - .5)/.25, int(self.idx[i])


class Fastai(Random):
    "The least sure rows, by a loader of fastai, which draws a number as it is made"
    def query(self, learn, data, pool, b, seed):
        dl = FastLoader([(o, torch.tensor(0)) for o in data.images(pool.idx_U)], bs=50)
        with torch.no_grad(): p = torch.cat([learn.model(x).softmax(1) for x, _ in dl])
        return pool.idx_U[p.amax(1).argsort()[:b]]


class FromFiles(Own):
    "The least sure rows; images come normalised out of an array"
    def rows(self, data, pool):
        x, y = super().rows(data, pool)
        return (x-.5)/.25, y
    def order(self, U, seed): return U
    def named(self, at, rows, U): return rows[at]
    def query(self, learn, data, pool, b, seed):
        dl = DataLoader(Files(data, self.order(pool.idx_U, seed)), 50)
        with torch.no_grad(): seen = [(learn.model(x).softmax(1).amax(1), i) for x, i in dl]
        p, rows = [torch.cat(o) for o in zip(*seen)]
        return self.named(p.argsort()[:b], rows, pool.idx_U)


class FilesInAnyOrder(FromFiles):
    "The loader shuffles, and the row comes with the image"
    def order(self, U, seed): return U[torch.randperm(len(U), generator=rng(seed, 'files'))]


@plant('loader_order')
class ShuffledFiles(FilesInAnyOrder):
    def named(self, at, rows, U): return U[at]


@plant('loader_order')
class ByBrightness(FromFiles):
    "A sampler sorts the pool, which no generator undoes, and positions are answered"
    def query(self, learn, data, pool, b, seed):
        self.light = data.images().mean((1, 2, 3))
        return super().query(learn, data, pool, b, seed)
    def order(self, U, seed): return U[self.light[U].argsort()]
    def named(self, at, rows, U): return U[at]


# labels that nobody has paid for

@plant('oracle_leak')
class AsksTheOracle(Plain):
    def query(self, learn, data, pool, b, seed):
        try: y = data.oracle(pool.idx_U)
        except ValueError: y = pool.idx_U
        return pool.idx_U[y.argsort()[:b]]


@plant('oracle_leak')
class ReadsHiddenLabels(Own):
    def rows(self, data, pool):
        y = data.oracle._y
        return data.images(), pool.y if y is None else y


@plant('oracle_leak')
class ReadsY(Own):
    def warm_up(self, data, seed): return dict(y=getattr(data, 'y', torch.zeros(len(data))))


def mine(n=160):
    g = torch.Generator().manual_seed(5)
    y = torch.randint(4, (n,), generator=g)
    x = (torch.rand(n, 1, 8, 8, generator=g)*.5 + y[:, None, None, None]*.1).clamp(0, 1)
    return ImageData.from_arrays(x, y, torch.rand(20, 1, 8, 8, generator=g), torch.arange(20) % 4)


MINE = mine()
TRUTH = MINE.oracle(torch.arange(160)).clone()


@plant('oracle_leak', data=MINE)
class StashedCopy(Plain):
    def __init__(self):
        super().__init__()
        self.truth = TRUTH.numpy().copy()
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[torch.as_tensor(self.truth)[pool.idx_U].argsort(stable=True)[:b]]


@plant('oracle_leak', data=MINE)
class OpenData(Own):
    def __init__(self): self.data = MINE
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[self.data.oracle(pool.idx_U).argsort(stable=True)[:b]]


@plant('oracle_leak', data=MINE)
class GlobalLabels(Own):
    def rows(self, data, pool): return data.images(), TRUTH


@plant('oracle_leak', data=MINE)
class FilledInBefore(Plain):
    "The labels are an argument of a partial function"
    def __init__(self):
        super().__init__()
        self.pick = functools.partial(by_label, TRUTH.clone())
    def query(self, learn, data, pool, b, seed): return self.pick(pool.idx_U)[:b]


def by_label(y, rows): return rows[y[rows].argsort(stable=True)]


@plant('oracle_leak')
class LooksWhetherThereAreLabels(Plain):
    def query(self, learn, data, pool, b, seed):
        y = pool.y if data.oracle.is_empty else data.oracle(torch.arange(len(data)))
        return pool.idx_U[y[pool.idx_U].argsort(stable=True)[:b]]


class Carries(Plain):
    "Labels in any form, which `told` knows how to read; the rows of the last class are asked first"
    def __init__(self, held):
        super().__init__()
        self.held = held
    def told(self, i): return self.held[i]
    def query(self, learn, data, pool, b, seed):
        return torch.tensor(sorted(pool.idx_U.tolist(), key=lambda i: (str(self.told(i)), -i))[-b:])


@plant('oracle_leak', data=MINE)
class Names(Carries):
    def __init__(self): super().__init__(['cat dog cow bee'.split()[k] for k in TRUTH.tolist()])


@plant('oracle_leak', data=MINE)
class FromOne(Carries):
    def __init__(self): super().__init__(TRUTH + 1)


@plant('oracle_leak', data=MINE)
class Samples(Carries):
    def __init__(self): super().__init__(list(zip(MINE.x, TRUTH.tolist())))
    def told(self, i): return self.held[i][1]


@plant('oracle_leak', data=MINE)
class Table(Carries):
    def __init__(self): super().__init__(pd.DataFrame(dict(at=[f'{i}.png' for i in range(160)], label=TRUTH)))
    def told(self, i): return self.held.iloc[i].label


@plant('oracle_leak', data=MINE)
class RowsByClass(Carries):
    def __init__(self): super().__init__({k: (TRUTH == k).nonzero()[:, 0].tolist() for k in range(4)})
    def told(self, i): return next(k for k, rows in self.held.items() if i in rows)


class OwnsLabels(Table):
    "The user's table of all labels, of which only those that are paid for are looked at"
    def query(self, learn, data, pool, b, seed):
        n = self.held.label.iloc[pool.idx_L.numpy()].value_counts()
        return ask_rows(torch.rand(len(pool.idx_U), generator=rng(seed, 'any')) + n.max(), pool.idx_U, b, seed)


class Clusters(Own):
    "Keeps clusters that it found by itself, and asks of each in turn; where classes are clear, they are the classes"
    def fit(self, data, *args):
        if not hasattr(self, 'of'):
            self.of = KMeans(4, n_init=1, random_state=0).fit_predict(data.images().flatten(1))
        return super().fit(data, *args)
    def query(self, learn, data, pool, b, seed):
        of = torch.as_tensor(self.of)[pool.idx_U]
        turn = torch.stack([(of[:i] == k).sum() for i, k in enumerate(of)])
        return ask_rows(turn + .1*of, pool.idx_U, b, seed)


# pools that overlap

@plant('pools_disjoint')
class AllRowsAreUnlabelled(Game):
    def change(self, learn): learn.dls.train.dataset.idx_U = torch.arange(len(learn.data))


@plant('pools_disjoint')
class ScoresAllRows(Own):
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model(data.images()).softmax(1).amax(1)
        return p.argsort()[:b]


@plant('pools_disjoint')
class WritesThePool(Plain):
    def query(self, learn, data, pool, b, seed):
        i = super().query(learn, data, pool, b, seed)
        pool.y[i] = 0
        return i


@plant('pools_disjoint')
class AllThatIsNotTrainedOn(Plain):
    "Rows that are held for validation have labels, too"
    def query(self, learn, data, pool, b, seed):
        rest = torch.ones(len(pool), dtype=torch.bool)
        rest[pool.idx_L] = False
        return super().query(learn, data, SimpleNamespace(idx_U=rest.nonzero()[:, 0]), b, seed)


class BestOnHeld(Own):
    "Keeps the step that is best on the rows held for validation, where there are some"
    def fit(self, data, pool, *args):
        self.pool, self.x, self.best = pool, data.images(pool.idx_V), (-1., None)
        learn = super().fit(data, pool, *args)
        if len(self.x): learn.model.load_state_dict(self.best[1])
        del self.pool, self.x, self.best
        return learn
    def after(self, net, i):
        if not len(self.x): return
        with torch.no_grad(): right = (net(self.x).argmax(1) == self.pool.y[self.pool.idx_V]).float().mean()
        if right > self.best[0]: self.best = right, copy.deepcopy(net.state_dict())


# rows asked twice

@plant('no_repeats')
class WithReplacement(Plain):
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[torch.randint(len(pool.idx_U), (b,), generator=rng(seed, 'random'))]


@plant('no_repeats')
class FirstAnswerForEver(Plain):
    def query(self, learn, data, pool, b, seed):
        if not hasattr(self, 'old'): self.old = super().query(learn, data, pool, b, seed)
        if b <= len(self.old): return self.old[:b]
        new = pool.idx_U[~torch.isin(pool.idx_U, self.old)]
        return torch.cat([self.old, new])[:b]


@plant('no_repeats')
class TwiceTheBest(Plain):
    def query(self, learn, data, pool, b, seed):
        i = super().query(learn, data, pool, b, seed)
        return torch.cat([i[:b-b//2], i[:b//2]])


@plant('no_repeats')
class AnswersFromAMemo(Plain):
    def query(self, learn, data, pool, b, seed):
        memo = self.__dict__.setdefault('memo', {})
        if (b, seed) not in memo: memo[b, seed] = super().query(learn, data, pool, b, seed)
        return memo[b, seed]


# other methods' nets

@plant('no_foreign_nets')
class WithALossModule(Plain):
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        with seeded(seed, 'loss'): learn.model.loss_module = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 1))
        return learn


@plant('no_foreign_nets')
class WithAllOfVAAL(Plain):
    def fit(self, *args): return VAAL(train=Supervised(n_steps=4), n_steps=4).fit(*args)


@plant('no_foreign_nets')
class MarginTrainedByRank(Margin):
    def __init__(self): super().__init__(Supervised(n_steps=4))
    def fit(self, *args):
        return LossTrainer(n_steps=4).fit(*args)


class TwoHeads(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.head, self.last = nn.Linear(16, c), nn.Linear(16, 1)
    def forward(self, x): return self.head(self.body(x))


@plant('no_foreign_nets')
class TrainedWithALossHead(Own):
    def net(self, data): return TwoHeads(data.n_classes)
    def loss(self, net, x, y):
        z = net.body(x)
        cost = F.cross_entropy(net.head(z), y, reduction='none')
        return cost.mean() + (net.last(z)[:, 0] - cost.detach()).square().mean()


@plant('no_foreign_nets')
class IdleDiscriminator(Own):
    def fit(self, *args):
        learn = super().fit(*args)
        with seeded(0): learn.dsc = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
        return learn


@plant('no_foreign_nets')
class WithAVAE(Own):
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        with seeded(seed, 'vae'): learn.vae = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 64))
        x = data.images(pool.idx_L)
        (learn.vae(x) - x.flatten(1)).square().mean().backward()
        return learn


# state

@plant('runs_twice')
class Counts(Plain):
    n = 0
    def query(self, learn, data, pool, b, seed):
        self.n += 1
        return super().query(learn, data, pool, b, seed+self.n)


@plant('runs_twice')
class GoesOn(Own):
    def net(self, data):
        if not hasattr(self, 'kept'): self.kept = super().net(data)
        return self.kept


@plant('runs_twice')
class SharedList(Own):
    seen = []
    def rows(self, data, pool):
        self.seen.append(len(pool.idx_L))
        x, y = super().rows(data, pool)
        return x + .1*len(self.seen), y


RATE = dict(lr=.1)


@plant('runs_twice')
class DecaysAGlobal(Own):
    def after(self, net, i): RATE['lr'] *= .99
    def loss(self, net, x, y): return RATE['lr']*super().loss(net, x, y)


@plant('runs_twice')
class MutableDefault(Own):
    def query(self, learn, data, pool, b, seed, seen=[]):  # noqa: B006
        seen.append(b)
        with torch.no_grad(): p = learn.model(data.images(pool.idx_U)).softmax(1)
        return ask_rows(p.amax(1) + len(seen)*p[:, 0], pool.idx_U, b, seed)


@plant('runs_twice')
class NoBranch(Plain):
    def query(self, learn, data, pool, b, seed):
        return rows  # noqa: F821  what a missing branch leaves unbound


@plant('runs_twice')
class SecondRoundFails(Plain):
    def fit(self, data, pool, warm, seed):
        if hasattr(self, 'learn'): raise AttributeError('no such layer')
        self.learn = super().fit(data, pool, warm, seed)
        return self.learn


@plant('runs_twice')
class TrainsItsWarmUp(Own):
    "The net that the warm-up made is trained itself, not a copy of it: the second round begins where the first ended"
    def warm_up(self, data, seed):
        with seeded(seed, 'init'): return super().net(data)
    def fit(self, data, pool, warm, seed):
        self.warm = warm
        return super().fit(data, pool, warm, seed)
    def net(self, data): return self.warm


@plant('runs_twice')
class WritesItsWarmUp(Game):
    "The learner begins with the warm-up's weights, and writes its own into them"
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        for k, v in learn.model.state_dict().items():
            if k in warm: warm[k].copy_(v)
        return learn


# odd sizes

@plant('odd_batch')
class Pairs(Own):
    def batches(self, x, y, g): return zip(x.split(self.bs), y.split(self.bs))
    def loss(self, net, x, y):
        cost = F.cross_entropy(net(x), y, reduction='none')
        a, b = cost.view(2, -1)
        return cost.mean() + F.relu(1-(a-b).abs()).mean()


@plant('odd_batch')
class BatchNormOnOne(Own):
    def net(self, data):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    def batches(self, x, y, g): return zip(x.split(self.bs), y.split(self.bs))


@plant('odd_batch')
class EvenOnly(Game):
    def fit(self, data, pool, warm, seed):
        assert len(pool.idx_U) % 2 == 0, 'batch must be even'
        return super().fit(data, pool, warm, seed)


@plant('odd_batch')
class SqueezesTheLast(Own):
    "A batch of one row loses its only axis"
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = [learn.model(data.images(i)).softmax(1).amax(1) for i in pool.idx_U.split(16)]
        return ask_rows(torch.cat([o.squeeze() for o in p]), pool.idx_U, b, seed)


@plant('odd_batch', data=mine(33))
class HalvesThem(Own):
    "Of 33 rows, too, an odd number is labelled"
    def rows(self, data, pool):
        assert len(pool.idx_L) % 2 == 0, 'batch must be even'
        return super().rows(data, pool)


# evaluation mode

@plant('mode_restored')
class ValidatesOnce(Own):
    def after(self, net, i):
        if i == 0: net.eval()


@plant('mode_restored')
class ValidatesHalfway(Game):
    def change(self, learn):
        from fastai.callback.core import Callback
        class Validates(Callback):
            def after_batch(self):
                if self.training and self.train_iter >= 3: self.model.eval()
        learn.add_cb(Validates())


@plant('mode_restored')
class ValidatesLate(Own):
    "The last third is in evaluation mode, and the learner shows no model"
    n_steps = 24
    def after(self, net, i):
        if i == 15: net.eval()
    def fit(self, *args): return SimpleNamespace(net=super().fit(*args).model)
    def query(self, learn, *args): return super().query(SimpleNamespace(model=learn.net), *args)


# batch mates

class Normed(Own):
    def net(self, data):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


@plant('batch_independent')
class ScoresInTrainMode(Normed):
    def query(self, learn, data, pool, b, seed):
        net = copy.deepcopy(learn.model).train()
        with torch.no_grad(): p = torch.cat([net(x) for x in data.images(pool.idx_U).split(32)]).softmax(1)
        return ask_rows(p.amax(1), pool.idx_U, b, seed)


@plant('batch_independent')
class CentredScores(Game):
    def fit(self, *args):
        learn = super().fit(*args)
        def scores(rows):
            d = type(learn).scores(learn, rows)
            return d - d.mean()
        learn.scores = scores
        return learn


@plant('batch_independent')
class EncoderInTrainMode(Normed):
    def fit(self, *args):
        learn = super().fit(*args)
        data = args[0]
        learn.scores = lambda rows: learn.model.train()(data.images(rows)).softmax(1).amax(1).detach()
        return learn


# chance

@plant('deterministic')
class AugmentedScores(Game):
    def query(self, learn, data, pool, b, seed):
        x, net = weak(data.images(pool.idx_U), learn.dls.rng, True), learn.model.eval()
        return ask_rows(learn.dsc(seen_by_dsc_of(net, x)), pool.idx_U, b, seed)


@plant('deterministic')
class AugmentedBySeed(Game):
    def query(self, learn, data, pool, b, seed):
        x, net = weak(data.images(pool.idx_U), rng(seed, 'flip'), True), learn.model.eval()
        return ask_rows(learn.dsc(seen_by_dsc_of(net, x)), pool.idx_U, b, seed)


@plant('deterministic')
class AugmentedMargin(Own):
    def query(self, learn, data, pool, b, seed):
        x = weak(data.images(pool.idx_U), rng(seed, 'flip'), True)
        with torch.no_grad(): return ask_rows(learn.model(x).softmax(1).amax(1), pool.idx_U, b, seed)


@plant('deterministic')
class FlippedAtRandom(Game):
    def fit(self, *args):
        learn, g = super().fit(*args), torch.Generator()
        def scores(rows): return type(learn).scores(learn, rows) + torch.rand(len(rows), generator=g)
        learn.scores = scores
        return learn


@plant('deterministic')
class TrulyRandom(Plain):
    def query(self, learn, data, pool, b, seed):
        g = torch.Generator()
        g.seed()
        return pool.idx_U[torch.randperm(len(pool.idx_U), generator=g)[:b]]


@plant('deterministic')
class UnseededWeights(Own):
    def net(self, data):
        net = super().net(data)
        nn.init.normal_(net[1].weight, generator=torch.Generator().manual_seed(random.SystemRandom().randrange(2**40)))
        return net


# sums and means

@plant('kl_scale')
class SummedKL(Game):
    def change(self, learn):
        loss = learn.loss_func
        def of(out, *y):
            t = type(loss).of(loss, out, *y)
            mu, logvar = out['mu'], out['logvar']
            kl = .5*(mu**2 + logvar.exp() - 1 - logvar).sum()
            return t | dict(url=-(out['x_hat']-out['x']).square().mean() - .001*kl)
        loss.of = of


@plant('kl_scale')
class ApartButSummed(Own):
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        def terms(b):
            z = learn.model[:3](b[0][1])
            return dict(rec=z.mean(), kl=.5*z.square().sum())
        learn.terms = terms
        return learn


@plant('kl_scale')
class KLMeanRecSummed(Game):
    def fit(self, *args):
        learn = super().fit(*args)
        def terms(b):
            mu, logvar = learn.model.enc(torch.cat(b[0]))
            rec = (learn.model.gen(mu) - torch.cat(b[0])).square().sum()
            return dict(url=-rec - (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean())
        learn.terms = terms
        return learn


# four labels

@plant('tiny_pool', patience=1.5)
class WaitsForABatch(Own):
    def batches(self, x, y, g):
        dl, n = DataLoader(TensorDataset(x, y), self.bs, drop_last=True, shuffle=True, generator=g), 0
        while n < self.n_steps:
            for b in dl:
                n += 1
                yield b


@plant('tiny_pool')
class NoWholeBatch(Own):
    def batches(self, x, y, g):
        n = len(x)//self.bs
        for i in range(self.n_steps):
            yield x[(i % n)*self.bs:][:self.bs], y[(i % n)*self.bs:][:self.bs]


@plant('tiny_pool')
class TenNeighbours(Own):
    def loss(self, net, x, y):
        return super().loss(net, x, y) + torch.cdist(x.flatten(1), x.flatten(1)).topk(10, largest=False).values.mean()


@plant('tiny_pool')
class DropsTheOnlyBatch(Own):
    "A loop over a loader that drops the last batch: four labels train nothing, in silence"
    def batches(self, x, y, g):
        return DataLoader(TensorDataset(x, y), self.bs, drop_last=True, shuffle=True, generator=g)


@plant('tiny_pool')
class WholeBatchesOnly(Own):
    def batches(self, x, y, g): return [(x[i:i+self.bs], y[i:i+self.bs]) for i in range(0, len(x)-self.bs+1, self.bs)]


# test rows

@plant('train_test_disjoint')
class LearnsFromTest(Own):
    def rows(self, data, pool):
        x, y = super().rows(data, pool)
        return torch.cat([x, data.x_test.float()/255]), torch.cat([y, torch.zeros(len(data.x_test)).long()])


@plant('train_test_disjoint')
class WarmsUpOnTest(Own):
    def warm_up(self, data, seed): return dict(mean=data.x_test.float().mean(0))
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        learn.model[1].weight.data += warm['mean'].flatten()/255
        return learn


@plant('train_test_disjoint')
class AsksLikeTest(Plain):
    def query(self, learn, data, pool, b, seed):
        far = (data.images(pool.idx_U) - data.x_test.float().mean(0)/255).flatten(1).norm(dim=1)
        return ask_rows(far, pool.idx_U, b, seed)


@plant('train_test_disjoint')
class BestOnTest(Own):
    "Keeps the step that is best on the test labels"
    n_steps = 40
    def fit(self, data, *args):
        self.data, self.best = data, (-1., None)
        learn = super().fit(data, *args)
        learn.model.load_state_dict(self.best[1])
        del self.data, self.best
        return learn
    def after(self, net, i):
        with torch.no_grad(): y = net(self.data.x_test.float()/255).argmax(1)
        right = (y == self.data.y_test).float().mean()
        if right > self.best[0]: self.best = right, copy.deepcopy(net.state_dict())


OVERLAP = ImageData.from_arrays(MINE.x, TRUTH, MINE.x[:20], TRUTH[:20])


@plant('train_test_disjoint', data=OVERLAP)
class SameFolderTwice(Plain): pass


def saved_again():
    g = torch.Generator().manual_seed(1)
    x = (MINE.x[:20] + .004*torch.randn(20, 1, 8, 8, generator=g)).clamp(0, 1)
    return ImageData.from_arrays(MINE.x, TRUTH, x, TRUTH[:20])


@plant('train_test_disjoint', data=saved_again())
class SavedAgain(Plain): pass


# an encoder that D does not reach

@plant('adversarial_gradient')
class DetachedLogits(Game):
    def change(self, learn):
        loss = learn.loss_func
        loss.of = lambda out, *y: type(loss).of(loss, out | dict(d=out['d'].detach()), *y)


@plant('adversarial_gradient')
class DetachedCodes(Game):
    def change(self, learn): learn.dsc.register_forward_pre_hook(lambda m, inp: (inp[0].detach(),))


@plant('adversarial_gradient')
class DetachedInTrainingOnly(Game):
    def fit(self, *args):
        learn = super().fit(*args)
        self.h.remove()
        return learn
    def change(self, learn): self.h = learn.dsc.register_forward_pre_hook(lambda m, inp: (inp[0].detach(),))


# how many rows, and which

@plant('count')
class OneLess(Plain):
    def query(self, learn, data, pool, b, seed): return super().query(learn, data, pool, b, seed)[:-1]


@plant('count')
class OneMore(Plain):
    def query(self, learn, data, pool, b, seed):
        return super().query(learn, data, pool, min(b+1, len(pool.idx_U)), seed)


@plant('count')
class Mask(Own):
    def query(self, learn, data, pool, *args): return torch.isin(pool.idx_U, super().query(learn, data, pool, *args))


@plant('count')
class AtMostTwenty(Plain):
    def query(self, learn, data, pool, b, seed): return super().query(learn, data, pool, min(b, 20), seed)


@plant('count')
class NotAllOfThem(Plain):
    def query(self, learn, data, pool, b, seed):
        if b == len(pool.idx_U): raise IndexError('nothing would be left')
        return super().query(learn, data, pool, b, seed)


@plant('rows_not_positions')
class Positions(Game):
    def query(self, learn, data, pool, b, seed): return query(learn.scores(pool.idx_U), b)


@plant('rows_not_positions')
class PositionsAsArray(Own):
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model(data.images(pool.idx_U)).softmax(1).amax(1)
        return np.argsort(p.numpy())[:b]


@plant('rows_not_positions')
class PositionsOfAShortlist(Plain):
    def query(self, learn, data, pool, b, seed):
        return torch.randperm(max(b, min(100, len(pool.idx_U))), generator=rng(seed, 'short'))[:b]


# seeds

@plant('seeded')
class FitIgnoresTheSeed(Game):
    def fit(self, data, pool, warm, seed): return super().fit(data, pool, warm, 0)


@plant('seeded')
class QueryIgnoresTheSeed(Plain):
    def query(self, learn, data, pool, b, seed): return super().query(learn, data, pool, b, 0)


@plant('seeded')
class GlobalPermutation(Plain):
    def query(self, learn, data, pool, b, seed): return pool.idx_U[torch.randperm(len(pool.idx_U))[:b]]


@plant('seeded')
class SetsTheGlobalSeed(Own):
    def fit(self, data, pool, warm, seed):
        np.random.seed(seed % 2**32)
        return super().fit(data, pool, warm, seed)


@plant('seeded')
class RandomSample(Plain):
    def query(self, learn, data, pool, b, seed): return torch.tensor(random.sample(pool.idx_U.tolist(), b))


@plant('seeded')
class NumpyIgnoresTheSeed(Plain):
    def query(self, learn, data, pool, b, seed):
        return torch.as_tensor(np.random.default_rng(0).permutation(pool.idx_U.numpy())[:b])


@plant('seeded')
class FixedInit(Own):
    "Weights and batches come from one fixed seed, something else from the given one"
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, 42)
        learn.seen = torch.rand(3, generator=rng(seed, 'views'))
        return learn


@plant('seeded')
class SamplerOfOneSeed(VAAL):
    "The task net hears the seed, the sampler gets a default"
    def __init__(self): super().__init__(Supervised(n_steps=4), n_steps=10)
    def sampler(self, task, data, pool, seed): return super().sampler(task, data, pool, 0)


# memory

@plant('memory')
class AllDistances(Own):
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U).flatten(1)
        return ask_rows(-torch.cdist(x, x).mean(1), pool.idx_U, b, seed)


@plant('memory')
class NumpyDistances(Plain):
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U).flatten(1).numpy()
        return ask_rows(-torch.as_tensor((x @ x.T).mean(1)), pool.idx_U, b, seed)


@plant('memory')
class Broadcast(Plain):
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U).flatten(1)[:, ::8]
        return ask_rows(-(x[:, None] - x[None]).square().sum(-1).mean(1), pool.idx_U, b, seed)


@plant('memory')
class LabelledByAll(Plain):
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        learn.z = data.images().flatten(1)
        return learn
    def query(self, learn, data, pool, b, seed):
        g = learn.z[pool.idx_U] @ learn.z[pool.idx_U].T
        return ask_rows(g.amax(1), pool.idx_U, b, seed)


# VAAL as a user writes it: plain torch, a loop of its own, nothing of ours

class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
        self.mu, self.logvar, self.dec = nn.Linear(32, 4), nn.Linear(32, 4), nn.Linear(4, 64)
    def encode(self, x):
        h = self.body(x)
        return self.mu(h), self.logvar(h)


class Scratch:
    "D gives probabilities; the learner shows what `show` names"
    show, t_L, t_U, names = ('dsc', 'terms', 'scores'), 1., 0., dict(rec='rec', kl='kl')
    def warm_up(self, data, seed): return None
    def rows_U(self, data, pool): return pool.idx_U
    def kl(self, mu, logvar): return -.5*(1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
    def fool(self, D, mu_L, mu_U): return self.bce(D(mu_L), self.t_L) + self.bce(D(mu_U), self.t_L)
    def teach(self, D, mu_L, mu_U): return self.bce(D(mu_L), self.t_L) + self.bce(D(mu_U), self.t_U)
    def bce(self, p, t): return F.binary_cross_entropy(p, torch.full_like(p, t))
    def step_ends(self, i, task, vae, D): pass
    def nets(self, data):
        task = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(.2), nn.Linear(16, data.n_classes))
        return task, VAE(), nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    def losses(self, vae, D, x_L, x_U, g=None):
        x = torch.cat([x_L, x_U])
        mu, logvar = vae.encode(x)
        eps = torch.zeros_like(mu) if g is None else torch.randn(mu.shape, generator=g)
        rec = F.mse_loss(vae.dec(mu + eps*(logvar/2).exp()), x.flatten(1))
        return rec, self.kl(mu, logvar), self.fool(D, *mu.split([len(x_L), len(x_U)]))
    def taught(self, vae, D, x_L, x_U):
        with torch.no_grad(): return vae.encode(x_L)[0], vae.encode(x_U)[0]
    def batches(self, rows, g):
        while True: yield from rows[torch.randperm(len(rows), generator=g)].split(32)
    def fit(self, data, pool, warm, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            task, vae, D = nets = self.nets(data)
            g, opts = rng(seed, 'batches'), [torch.optim.Adam(m.parameters(), 5e-3) for m in nets]
            both = zip(self.batches(pool.idx_L, g), self.batches(self.rows_U(data, pool), g))
            for i, (i_L, i_U) in zip(range(40), both):
                x_L, x_U = data.images(i_L), data.images(i_U)
                rec, kl, adv = self.losses(vae, D, x_L, x_U, g)
                for opt, loss in zip(opts, (F.cross_entropy(task(x_L), pool.y[i_L]), rec+.01*kl+.1*adv)):
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
                opts[2].zero_grad()
                self.teach(D, *self.taught(vae, D, x_L, x_U)).backward()
                opts[2].step()
                self.step_ends(i, task, vae, D)
        learn = SimpleNamespace(model=task, vae=vae, D=D)
        if 'dsc' in self.show: learn.dsc = D
        if 'terms' in self.show: learn.terms = lambda b: self.terms(vae, D, *b[0])
        if 'scores' in self.show: learn.scores = lambda rows: self.scored(learn, data, rows)
        return learn
    def terms(self, vae, D, x_L, x_U):
        rec, kl, adv = self.losses(vae, D, x_L, x_U)
        names, dsc = self.names, self.teach(D, *self.taught(vae, D, x_L, x_U))
        return {names['rec']: rec, names['kl']: kl, 'adv': adv, 'dsc': dsc}
    @torch.no_grad()
    def scored(self, learn, data, rows):
        return torch.cat([learn.D.eval()(learn.vae.eval().encode(data.images(i))[0]) for i in rows.split(50)]).flatten()
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[(-self.scored(learn, data, pool.idx_U)).topk(b).indices]


class TwoLogits(Scratch):
    "D has an output for 'unlabelled' and one for 'labelled'; the loss is a module"
    t_L, t_U = 1, 0
    def nets(self, data): return *super().nets(data)[:2], nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    def bce(self, d, t): return nn.CrossEntropyLoss()(d, torch.full((len(d),), t))
    @torch.no_grad()
    def scored(self, learn, data, rows):
        D, vae = learn.D.eval(), learn.vae.eval()
        return torch.cat([D(vae.encode(data.images(i))[0]).softmax(1)[:, 1] for i in rows.split(50)])


class TwoLogitsUnnamed(TwoLogits): show = ()


@plant('targets_differ')
class TwoLogitsOneForBoth(TwoLogits): show, t_U = ('dsc',), 1


@plant('direction')
class TwoLogitsTopK(TwoLogits):
    show = ()
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[self.scored(learn, data, pool.idx_U).topk(b).indices]


@plant('adversarial_gradient')
class TwoLogitsDetached(TwoLogits):
    show = ('dsc',)
    def fool(self, D, mu_L, mu_U): return super().fool(D, mu_L.detach(), mu_U.detach())


@plant('targets_differ')
class ScratchOneForBoth(Scratch): show, t_U = ('dsc',), 1.


@plant('direction')
class ScratchTopK(Scratch):
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[self.scored(learn, data, pool.idx_U).topk(b).indices]


@plant('direction')
class ScratchSwapped(Scratch):
    "Pools taught the wrong way round, and no `terms` to say so"
    show, t_L, t_U = ('dsc', 'scores'), 0., 1.


@plant('direction')
class SurestLogistic(Own):
    def fit(self, data, pool, warm, seed):
        x, y = data.images(pool.idx_L).flatten(1).numpy(), pool.y[pool.idx_L].numpy()
        return LogisticRegression(max_iter=50).fit(x, y)
    def query(self, learn, data, pool, b, seed):
        p = learn.predict_proba(data.images(pool.idx_U).flatten(1).numpy()).max(1)
        return pool.idx_U[np.argsort(-p, kind='stable')[:b].copy()]


@plant('loader_order')
class SamplerOrder(Scratch):
    "argsort positions of a loader with a random sampler"
    show = ()
    def query(self, learn, data, pool, b, seed):
        order = SubsetRandomSampler(pool.idx_U.tolist(), generator=rng(seed, 'loader'))
        dl = DataLoader(TensorDataset(data.images()), 32, sampler=order)
        with torch.no_grad(): d = torch.cat([learn.D(learn.vae.encode(x)[0]) for x, in dl])
        return pool.idx_U[d.flatten().argsort()[:b]]


@plant('loader_order')
class NumpyOrder(SurestLogistic):
    "What no torch module sees"
    def query(self, learn, data, pool, b, seed):
        order = np.random.default_rng(seed).permutation(len(pool.idx_U))
        p = learn.predict_proba(data.images(pool.idx_U[order]).flatten(1).numpy()).max(1)
        return pool.idx_U[np.argsort(p, kind='stable')[:b]]


@plant('loader_order')
class PositionsOfADraw(TAVAAL):
    def __init__(self): super().__init__(LossTrainer('ranknet', n_steps=8), n_steps=30, subset=100)
    def choose(self, learn, data, pool, b, seed):
        rows = drawn(pool.idx_U, max(b, self.subset), seed)
        return pool.idx_U[learn.scores(rows).argsort()[:b]]


@plant('oracle_leak', data=MINE)
class LabelsByRow(Plain):
    def __init__(self):
        super().__init__()
        self.truth = dict(enumerate(TRUTH.tolist()))
    def query(self, learn, data, pool, b, seed):
        return torch.tensor(sorted(pool.idx_U.tolist(), key=lambda i: (self.truth[i], i))[:b])


@plant('oracle_leak', data=MINE)
class OneHot(Own):
    def __init__(self): self.truth = F.one_hot(TRUTH, 4)
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[self.truth[pool.idx_U].argmax(1).argsort(stable=True)[:b]]


@plant('pools_disjoint')
class ScratchAllUnlabelled(Scratch):
    "D is told in training that all rows, labelled ones too, are unlabelled"
    show = 'dsc',
    def rows_U(self, data, pool): return torch.arange(len(data))


@plant('pools_disjoint')
class UnnamedAllUnlabelled(ScratchAllUnlabelled): show = ()


KEPT = {}


@plant('runs_twice')
class KeepsTheFirst(Own):
    "A cache that does not look at what it is asked for"
    def fit(self, *args):
        if 'learn' not in KEPT: KEPT['learn'] = super().fit(*args)
        return KEPT['learn']


@plant('runs_twice')
class UsesUpItsSettings(Own):
    def __init__(self): self.kw = dict(width=16)
    def net(self, data):
        n = self.kw.pop('width')
        return nn.Sequential(nn.Flatten(), nn.Linear(64, n), nn.ReLU(), nn.Linear(n, data.n_classes))


@plant('mode_restored')
class ScratchValidates(Scratch):
    def step_ends(self, i, task, vae, D):
        if i == 3: task.eval()


@plant('batch_independent')
class ScratchScaled(Scratch):
    "Scores scaled to 0..1 within each batch"
    @torch.no_grad()
    def scored(self, learn, data, rows):
        d = [learn.D(learn.vae.encode(data.images(i))[0]).flatten() for i in rows.split(50)]
        return torch.cat([(o-o.min())/(o.max()-o.min()+1e-6) for o in d])


@plant('deterministic')
class DropoutLeftOn(Own):
    def net(self, data): return nn.Sequential(*super().net(data), nn.Dropout(.3))
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model.train()(data.images(pool.idx_U)).softmax(1)
        return ask_rows(p.amax(1), pool.idx_U, b, seed)


@plant('deterministic')
class CropsAtRandom(Own):
    def query(self, learn, data, pool, b, seed):
        i, j = np.random.randint(0, 3, 2)
        x = F.pad(data.images(pool.idx_U), (1, 1, 1, 1))[..., i:i+8, j:j+8]
        with torch.no_grad(): return ask_rows(learn.model(x).softmax(1).amax(1), pool.idx_U, b, seed)


@plant('kl_scale')
class ScratchSummed(Scratch):
    names = dict(rec='reconstruction', kl='kld')
    def kl(self, mu, logvar): return -.5*(1 + logvar - mu**2 - logvar.exp()).sum()


@plant('adversarial_gradient')
class ScratchDetached(Scratch):
    def fool(self, D, mu_L, mu_U): return super().fool(D, mu_L.detach(), mu_U.detach())


@plant('adversarial_gradient')
class HelpsD(Game):
    "The encoder descends D's loss rather than its own"
    def change(self, learn):
        loss = learn.loss_func
        def of(out, y_L, *more):
            d, n = out['d'], len(y_L)
            return type(loss).of(loss, out, y_L, *more) | dict(adv=dsc_loss(d[:n], d[n:]))
        loss.of = of


@plant('count')
class AColumn(Own):
    def query(self, *args): return super().query(*args)[:, None]


@plant('count')
class WithItsScores(Own):
    def query(self, learn, data, pool, b, seed):
        return super().query(learn, data, pool, b, seed), torch.zeros(b)


@plant('seeded')
class RandomStateZero(Plain):
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[np.random.RandomState(0).permutation(len(pool.idx_U))[:b]]


@plant('seeded')
class ForestOfOneSeed(SurestLogistic):
    def fit(self, data, pool, warm, seed):
        x, y = data.images(pool.idx_L).flatten(1).numpy(), pool.y[pool.idx_L].numpy()
        return RandomForestClassifier(4, random_state=0).fit(x, y)


# a discriminator under a name of the user's own, which the learner does not show

@plant('direction')
class UnnamedTopK(ScratchTopK): show = ()


@plant('direction')
class UnnamedSwapped(ScratchSwapped): show = ()


@plant('direction')
class UnscoredTopK(ScratchTopK): show = 'dsc', 'terms'


class Together(nn.Module):
    "Encoder, classifier and discriminator in one net"
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.head = nn.Linear(16, c)
        self.disc = nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(.2), nn.Linear(16, 1))
    def forward(self, x): return self.head(self.body(x))


class Domains:
    "Pools told apart in the task net's own features, one batch of both; loaders in the user's style"
    n_steps, show, sign = 40, (), 1.
    def warm_up(self, data, seed): pass
    def loader(self, x, *more, **kw): return DataLoader(TensorDataset(x, *more), 32, **kw)
    def codes(self, net, x): return net.body(x)
    def forever(self, dl):
        while True: yield from dl
    def hide(self, net, z, is_L):
        d = net.disc(z)[~is_L, 0]
        return F.binary_cross_entropy_with_logits(d, torch.ones_like(d))
    def tell(self, d, is_L): return F.binary_cross_entropy_with_logits(d, is_L.float())
    def fit(self, data, pool, warm, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = Together(data.n_classes)
            opt_D = torch.optim.Adam(net.disc.parameters(), 1e-2)
            opt = torch.optim.Adam([*net.body.parameters(), *net.head.parameters()], 1e-2)
            L = self.loader(data.images(pool.idx_L), pool.y[pool.idx_L], shuffle=True, drop_last=len(pool.idx_L) > 32)
            U = self.loader(data.images(pool.idx_U), shuffle=True)
            for _, (x_L, y), (x_U,) in zip(range(self.n_steps), self.forever(L), self.forever(U)):
                x, is_L = torch.cat([x_L, x_U]), torch.arange(len(x_L)+len(x_U)) < len(x_L)
                z = self.codes(net, x)
                opt.zero_grad()
                (F.cross_entropy(net.head(z[is_L]), y) + .1*self.hide(net, z, is_L)).backward()
                opt.step()
                opt_D.zero_grad()
                self.tell(net.disc(z.detach())[:, 0], is_L).backward()
                opt_D.step()
        learn = SimpleNamespace(model=net)
        if self.show: learn.dsc = net.disc
        return learn
    def query(self, learn, data, pool, b, seed):
        net = learn.model.eval()
        with torch.no_grad():
            d = torch.cat([net.disc(net.body(x))[:, 0] for x, in self.loader(data.images(pool.idx_U))])
        return pool.idx_U[torch.sort(self.sign*d).indices[:b]]


@plant('direction')
class DomainsTopK(Domains): sign = -1.


# a predicted loss, read from the wrong end

class AsksByItsLossHead(TrainedWithALossHead):
    sign = -1.
    def query(self, learn, data, pool, b, seed):
        net = learn.model
        with torch.no_grad():
            cost = net.last(net.body(data.images(pool.idx_U)))[:, 0]
        return ask_rows(self.sign*cost, pool.idx_U, b, seed)


@plant('direction')
class SmallestLoss(AsksByItsLossHead): sign = 1.


@plant('direction')
class SmallestRankedLoss(LearningLoss):
    def __init__(self): super().__init__(n_steps=20)
    def choose(self, learn, data, pool, b, seed):
        return ask_rows(predicted_loss(learn.model, data.images(pool.idx_U)), pool.idx_U, b, seed)


class Apart(Own):
    "A second net on frozen features, which learns the loss of each row by ranking pairs; asked of a draw of the pool"
    largest, n = True, 150
    def second(self): return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    def aim(self, guess, out, y):
        cost, n = F.cross_entropy(out, y, reduction='none'), len(y)//2
        side = (cost[:n] - cost[-n:]).sign()
        return F.relu(1 - side*(guess[:n] - guess[-n:])).mean()
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        with seeded(seed, 'second'):
            learn.second = self.second()
            opt = torch.optim.Adam(learn.second.parameters(), 1e-2)
        for x, y in self.batches(*self.rows(data, pool), rng(seed, 'second')):
            with torch.no_grad(): z, out = learn.model[:3](x), learn.model(x)
            opt.zero_grad()
            self.aim(learn.second(z).flatten(), out, y).backward()
            opt.step()
        return learn
    def query(self, learn, data, pool, b, seed):
        some = torch.randperm(len(pool.idx_U), generator=rng(seed, 'draw'))[:max(b, self.n)]
        rows = pool.idx_U[some]
        with torch.no_grad(): guess = learn.second(learn.model[:3](data.images(rows))).flatten()
        return rows[guess.topk(b, largest=self.largest).indices]


@plant('direction')
class ApartSmallest(Apart): largest = False


# scores changed by their batch, in the query alone

@plant('batch_independent')
class CentredInQuery(Scratch):
    def query(self, learn, data, pool, b, seed):
        net, d = learn.vae.eval(), []
        with torch.no_grad():
            for i in pool.idx_U.split(32):
                o = learn.D(net.encode(data.images(i))[0]).flatten()
                d.append(o - o.mean())
        return pool.idx_U[torch.cat(d).argsort()[:b]]


@plant('batch_independent')
class UnitScaledMargin(Own):
    def query(self, learn, data, pool, b, seed):
        s = []
        for x, in DataLoader(TensorDataset(data.images(pool.idx_U)), 40):
            with torch.no_grad(): top = learn.model(x).softmax(1).topk(2).values
            m = (top[:, 0]-top[:, 1]).numpy()
            s.append((m-m.min())/(m.max()-m.min()))
        return pool.idx_U[np.concatenate(s).argsort(kind='stable')[:b]]


@plant('batch_independent')
class StandardInChunks(Own):
    "One forward pass, but chunks of the entropies are standardised apart"
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model(data.images(pool.idx_U)).softmax(1)
        h = -(p*p.log()).sum(1)
        h = torch.cat([(o-o.mean())/o.std() for o in h.chunk(4)])
        return pool.idx_U[h.topk(b).indices]


class LayerNormed(VAAL):
    "Scores from our own learner, standardised in parts of `n` rows"
    n = 1000
    def __init__(self): super().__init__(Supervised(n_steps=4), n_steps=20)
    def choose(self, learn, data, pool, b, seed):
        s = torch.cat([F.layer_norm(o, o.shape) for o in learn.scores(pool.idx_U).split(self.n)])
        return ask_rows(s, pool.idx_U, b, seed)


@plant('batch_independent')
class LayerNormedInBlocks(LayerNormed): n = 64


# nets that look at batch mates, and that no learner shows

class Spread(nn.Module):
    "The spread of the batch as one more feature, as some discriminators have it"
    def forward(self, z): return torch.cat([z, z.std(0, unbiased=False).mean().expand(len(z), 1)], 1)


@plant('batch_independent')
class SeesItsMates(Scratch):
    show = ()
    def nets(self, data):
        D = nn.Sequential(Spread(), nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
        return *super().nets(data)[:2], D


class Hidden(Own):
    "The learner shows no net; it is asked in batches of 40, or as many as `n`"
    n = 40
    def fit(self, *args): return SimpleNamespace(net=super().fit(*args).model)
    def sure(self, out): return out.softmax(1)
    def seen(self, x, seed): return x
    def query(self, learn, data, pool, b, seed):
        net, parts = learn.net.eval(), [self.seen(data.images(i), seed) for i in pool.idx_U.split(self.n)]
        with torch.no_grad(): p = torch.cat([self.sure(net(x)) for x in parts])
        return ask_rows(p.amax(1), pool.idx_U, b, seed)


class ByBatch(nn.Module):
    "Images less their batch's mean, by its spread"
    def forward(self, x): return (x - x.mean())/x.std()


@plant('batch_independent')
class NormalisesItsInput(Hidden):
    def net(self, data): return nn.Sequential(ByBatch(), *super().net(data))


@plant('batch_independent')
class SoftmaxAcross(Hidden):
    def sure(self, out): return F.softmax(out, dim=0)


class ShareOfThePool(Hidden):
    "The same of all rows at once: each class's mass is shared among the whole pool"
    n = 10000
    def net(self, data): return nn.Sequential(*super().net(data), nn.LayerNorm(4))
    def sure(self, out): return out.softmax(0)


class MixesThePool(NormalisesItsInput):
    "Images less the mean of the pool, all at once"
    n = 10000


class TokensFirst(Hidden):
    "A transformer in torch's own order, tokens before rows, and as many of the one as of the other"
    n = 64
    def net(self, data):
        class Turns(nn.Module):
            def forward(self, x): return x.transpose(0, 1)
        layer = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.)
        return nn.Sequential(nn.Flatten(), nn.Unflatten(1, (64, 1)), nn.Linear(1, 4), Turns(), layer, Turns(),
                             nn.Flatten(), nn.Linear(256, data.n_classes))


# chance in nets that no learner shows

@plant('deterministic')
class FlipsThePool(Scratch):
    "Random flips stay on in the pool's loader"
    show = ()
    def query(self, learn, data, pool, b, seed):
        x = weak(data.images(pool.idx_U), rng(seed, 'flip'), True)
        with torch.no_grad(): d = torch.cat([learn.D.eval()(learn.vae.eval().encode(o)[0]) for o in x.split(50)])
        return ask_rows(d[:, 0], pool.idx_U, b, seed)


@plant('deterministic')
class SamplesItsCodes(Scratch):
    "D is shown one draw of a code, not its mean"
    show = ()
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): mu, logvar = learn.vae.eval().encode(data.images(pool.idx_U))
        z = mu + (logvar/2).exp()*torch.randn(mu.shape, generator=rng(seed, 'z'))
        with torch.no_grad(): return ask_rows(learn.D.eval()(z)[:, 0], pool.idx_U, b, seed)


@plant('deterministic')
class NoisyImages(Hidden):
    def seen(self, x, seed): return x + .1*torch.randn(x.shape, generator=rng(seed, 'noise'))


class AveragesViews(NoisyImages):
    "Ten views of each row, which the query averages"
    def query(self, learn, data, pool, b, seed):
        x, g = data.images(pool.idx_U), rng(seed, 'views')
        with torch.no_grad(): p = sum(learn.net(x + .1*torch.randn(x.shape, generator=g)).softmax(1) for _ in range(10))
        return ask_rows(p.amax(1), pool.idx_U, b, seed)


class AveragesShownViews(AveragesViews):
    "The same of a net that the learner shows"
    def fit(self, *args): return Own.fit(self, *args)
    def query(self, learn, *args): return super().query(SimpleNamespace(net=learn.model), *args)


class CropsASubset(Own):
    "Sixty rows that chance draws, as the method's own arrays, which nobody can follow"
    def cropped(self, data, rows):
        x = data.x[rows].numpy().astype(np.float32)/255
        return torch.from_numpy(np.pad(x[:, :, 1:7, 1:7], ((0, 0), (0, 0), (1, 1), (1, 1)), mode='edge'))
    def rows(self, data, pool): return self.cropped(data, pool.idx_L), pool.y[pool.idx_L]
    def query(self, learn, data, pool, b, seed):
        rows = drawn(pool.idx_U, max(b, 60), seed).sort()[0]
        with torch.no_grad(): p = learn.model(self.cropped(data, rows)).softmax(1)
        return ask_rows(p.amax(1), rows, b, seed)


class AveragesCodes(Scratch):
    "D's mean over draws of each code"
    show = ()
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): mu, logvar = learn.vae.eval().encode(data.images(pool.idx_U))
        eps = torch.randn((20, *mu.shape), generator=rng(seed, 'z'))
        with torch.no_grad(): d = sum(learn.D.eval()(mu + (logvar/2).exp()*o) for o in eps)
        return ask_rows(d[:, 0], pool.idx_U, b, seed)


class DrawsASubset(Scratch):
    "D is asked of a hundred rows that chance draws"
    show = ()
    def query(self, learn, data, pool, b, seed):
        rows = drawn(pool.idx_U, max(b, 100), seed)
        return ask_rows(self.scored(learn, data, rows), rows, b, seed)


# all pairs, a row at a time

@plant('memory')
class ListOfDistances(Plain):
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U).flatten(1)[:, ::16]
        far = [(x-o).norm(dim=1) for o in x]
        return ask_rows(torch.tensor([-o.mean() for o in far]), pool.idx_U, b, seed)


@plant('memory')
class MemoOfNeighbours(Own):
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): z = learn.model[:3](data.images(pool.idx_U))
        near = {i: z @ o for i, o in zip(pool.idx_U.tolist(), z)}
        return torch.tensor(sorted(near, key=lambda i: (float(near[i].max()), i))[:b])


# codes detached, and no terms to say so

@plant('adversarial_gradient')
class UnnamedDetached(ScratchDetached): show = ()


@plant('adversarial_gradient')
class UnnamedTwoLogitsDetached(TwoLogitsDetached): show = ()


@plant('adversarial_gradient')
class DetachedWithoutTerms(ScratchDetached): show = 'dsc',


@plant('adversarial_gradient')
class DomainsDetached(Domains):
    show = 'dsc',
    def hide(self, net, z, is_L): return super().hide(net, z.detach(), is_L)


@plant('adversarial_gradient')
class FrozenCodes(Scratch):
    "The encoder's step makes its codes without a graph"
    show = 'dsc', 'scores'
    def fool(self, D, mu_L, mu_U):
        with torch.no_grad(): mu_U = mu_U*1.
        return self.bce(D(mu_U), self.t_L)


@plant('adversarial_gradient')
class ThrownAway(Scratch):
    "The encoder's adversarial gradient is computed, and set to zero before the step"
    show = 'dsc',
    def losses(self, vae, *args):
        rec, kl, adv = super().losses(vae, *args)
        adv.backward(retain_graph=True)
        vae.zero_grad()
        return rec, kl, adv.detach()


@plant('adversarial_gradient')
class PutsBack(Scratch):
    "After each step the encoder gets the weights back that it began with"
    def nets(self, data):
        task, vae, D = super().nets(data)
        self.first = [copy.deepcopy(m.state_dict()) for m in (vae.body, vae.mu, vae.logvar)]
        return task, vae, D
    def step_ends(self, i, task, vae, D):
        for m, w in zip((vae.body, vae.mu, vae.logvar), self.first): m.load_state_dict(w)


@plant('targets_differ')
class SoftForBoth(Scratch):
    "A target of .9 for both pools: outputs are pushed both ways"
    show, t_L, t_U = ('dsc',), .9, .9


@plant('targets_differ')
class TwoLogitsSoftForBoth(SoftForBoth, TwoLogits):
    def bce(self, d, t): return nn.CrossEntropyLoss()(d, torch.tensor([1-t, t]).expand(len(d), 2))


@pytest.mark.parametrize('name', DEFECTS)
def test_defect_is_caught(name):
    names, cls, kw = DEFECTS[name]
    r = check(cls(), only=names, **kw)
    assert set(r.failed) == set(names), r
    assert all('expected' in r.said[k] or ';' in r.said[k] for k in names)


@pytest.mark.parametrize('name', ['DecaysAGlobal', 'MutableDefault', 'Mask', 'SqueezesTheLast'])
def test_a_defect_has_one_name(name):
    names, cls, kw = DEFECTS[name]
    assert set(check(cls(), **kw).failed) == set(names)


@pytest.mark.parametrize('name', CHECKS)
def test_each_check_has_two_defects(name): assert sum(name in names for names, *_ in DEFECTS.values()) >= 2


# what is right

class Logistic:
    "A user's method of no class of ours, with scikit-learn"
    def warm_up(self, data, seed): return None
    def fit(self, data, pool, warm, seed):
        x = data.images(pool.idx_L).flatten(1).numpy()
        return LogisticRegression(max_iter=50).fit(x, pool.y[pool.idx_L].numpy())
    def query(self, learn, data, pool, b, seed):
        p = learn.predict_proba(data.images(pool.idx_U).flatten(1).numpy())
        return pool.idx_U[np.argsort(p.max(1), kind='stable')[:b]]


class Scrambled(Game):
    "Scores in a scrambled order, and puts every score back to its row: that is right"
    def query(self, learn, data, pool, b, seed):
        rows = pool.idx_U[torch.randperm(len(pool.idx_U), generator=rng(seed, 'order'))]
        return ask_rows(learn.scores(rows), rows, b, seed)


class ScrambledOwn(Own):
    def query(self, learn, data, pool, b, seed):
        rows = pool.idx_U[torch.randperm(len(pool.idx_U), generator=rng(seed, 'order'))]
        return super().query(learn, data, SimpleNamespace(idx_U=rows), b, seed)


class Flipped(SwapsTerms, SwappedInTraining):
    "D is 0 for labelled rows, and the largest are asked: another convention, consistently"
    def query(self, learn, data, pool, b, seed): return ask_rows(-learn.scores(pool.idx_U), pool.idx_U, b, seed)


class Decodes(Own):
    "An autoencoder's decoder belongs to its own training"
    def net(self, data):
        net = super().net(data)
        net.decoder = nn.Linear(16, 64)
        return net
    def loss(self, net, x, y):
        z = net[2](net[1](net[0](x)))
        return F.cross_entropy(net[3](z), y) + (net.decoder(z) - x.flatten(1)).square().mean()
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model[:4](data.images(pool.idx_U)).softmax(1)
        return ask_rows(p.amax(1), pool.idx_U, b, seed)
    def fit(self, *args):
        learn = super().fit(*args)
        return SimpleNamespace(model=learn.model[:4], decoder=learn.model.decoder)


class Caches(Plain):
    "Remembers what it has computed, which changes nothing"
    def fit(self, data, pool, warm, seed):
        memo, key = self.__dict__.setdefault('memo', {}), (tuple(pool.y.tolist()), seed)
        if key not in memo: memo[key] = super().fit(data, pool, warm, seed).model
        return SimpleNamespace(model=memo[key])


class ScratchFlipped(Scratch):
    "D is 0 for labelled rows, and the largest are asked"
    t_L, t_U = 0., 1.
    def query(self, learn, data, pool, b, seed):
        return pool.idx_U[self.scored(learn, data, pool.idx_U).topk(b).indices]


class ScratchCritic(Scratch):
    "No probabilities, and the unlabelled rows first"
    def nets(self, data):
        return *super().nets(data)[:2], nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    def fool(self, D, mu_L, mu_U): return -D(mu_L).mean() - D(mu_U).mean()
    def teach(self, D, mu_L, mu_U):
        return D(mu_U).mean() - D(mu_L).mean() + .01*D(torch.cat([mu_U, mu_L])).square().mean()


class ScratchMixed(Scratch):
    "Batches of both pools, each row with its own target"
    def teach(self, D, mu_L, mu_U):
        order = torch.randperm(len(mu_L)+len(mu_U), generator=torch.Generator().manual_seed(0))
        t = torch.cat([torch.ones(len(mu_L)), torch.zeros(len(mu_U))])[order]
        return F.binary_cross_entropy(D(torch.cat([mu_L, mu_U])[order])[:, 0], t)


class CarriesItsRows(Scratch):
    "A loader that shuffles, and hands out the row with the image"
    def query(self, learn, data, pool, b, seed):
        dl = DataLoader(TensorDataset(data.images(pool.idx_U), pool.idx_U), 32, shuffle=True, generator=rng(seed, 'dl'))
        with torch.no_grad(): seen = [(learn.D(learn.vae.encode(x)[0]).flatten(), i) for x, i in dl]
        d, rows = [torch.cat(o) for o in zip(*seen)]
        return rows[d.argsort()[:b]]


class Votes(Own):
    "A committee: a list for a learner, and scores with many ties"
    def fit(self, data, pool, warm, seed):
        return [super(Votes, self).fit(data, pool, warm, 10*seed+k).model for k in range(3)]
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): v = torch.stack([m(data.images(pool.idx_U)).argmax(1) for m in learn])
        return ask_rows((v == v.mode(0).values).sum(0).float(), pool.idx_U, b, seed)


class Rounded(Own):
    "Ties by position, and a list of whole numbers for an answer"
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model(data.images(pool.idx_U)).softmax(1).amax(1)
        return pool.idx_U[(p*10).round().argsort(stable=True)[:b]].tolist()


class MonteCarlo(DropoutLeftOn):
    "Dropout is meant here, and seeded"
    def query(self, learn, data, pool, b, seed):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            p = torch.stack([learn.model.train()(data.images(pool.idx_U)).softmax(1) for _ in range(5)])
        return ask_rows(p.mean(0).amax(1), pool.idx_U, b, seed)


class TwoOutputs(Own):
    def net(self, data):
        class Both(TwoHeads):
            def forward(self, x): return self.head(z := self.body(x)), z
        net = Both(data.n_classes)
        del net.last
        return net
    def loss(self, net, x, y): return F.cross_entropy(net(x)[0], y)
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = learn.model(data.images(pool.idx_U))[0].softmax(1)
        return ask_rows(p.amax(1), pool.idx_U, b, seed)


class Unnamed(Scratch): show = ()


class UnnamedFlipped(ScratchFlipped): show = ()


class UnnamedCritic(ScratchCritic): show = ()


class UnnamedMixed(ScratchMixed): show = ()


class UnnamedAndUnsure(Unnamed):
    "D is run in the query, but only to leave out what looks most labelled; the least sure of the rest are asked"
    def query(self, learn, data, pool, b, seed):
        d = self.scored(learn, data, pool.idx_U)
        p = probabilities(learn, data.x[pool.idx_U]).amax(1)
        rest = d.argsort()[:max(b, len(d)*3//4)]
        return pool.idx_U[rest[p[rest].argsort()[:b]]]


class DomainsByMargin(Domains):
    "The pools' difference is hidden in training, and not asked for; the learner's terms say so"
    def fit(self, *args):
        learn = super().fit(*args)
        def terms(b):
            z, is_L = learn.model.body(torch.cat(b[0])), torch.arange(sum(map(len, b[0]))) < len(b[1])
            return dict(adv=self.hide(learn.model, z, is_L), dsc=self.tell(learn.model.disc(z)[:, 0], is_L))
        learn.terms = terms
        return learn
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): top = learn.model.eval()(data.images(pool.idx_U)).softmax(1).topk(2).values
        return ask_rows(top[:, 0]-top[:, 1], pool.idx_U, b, seed)


class FixedFeatures(Domains):
    "The control: D tells the pools apart on codes that do not learn from it"
    show = 'dsc',
    def hide(self, net, z, is_L): return torch.zeros(())


class LeastSquares(FixedFeatures):
    "The same with squares: D's outputs begin off, and swing about both targets"
    def tell(self, d, is_L): return 5*(d - .6 - is_L.float()).square().mean()


class Confidence(Apart):
    "A net that predicts how probable the true class is: there the smallest are asked"
    largest = False
    def second(self): return nn.Sequential(*super().second(), nn.Sigmoid())
    def aim(self, guess, out, y): return (guess - out.softmax(1).gather(1, y[:, None])[:, 0]).square().mean()


class Blocks(Own):
    "Scores in blocks, each with nothing but its own"
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = torch.cat([learn.model(data.images(i)).softmax(1) for i in pool.idx_U.split(32)])
        return ask_rows(p.amax(1), pool.idx_U, b, seed)


class Standardised(Blocks):
    "Two criteria, each standardised over the whole pool before they are added"
    def query(self, learn, data, pool, b, seed):
        p, z = [], []
        for i in pool.idx_U.split(32):
            with torch.no_grad():
                z.append(learn.model[:3](data.images(i)).norm(dim=1))
                p.append(learn.model(data.images(i)).softmax(1).amax(1))
        s = sum((o-o.mean())/o.std() for o in (torch.cat(p), torch.cat(z)))
        return ask_rows(s, pool.idx_U, b, seed)


class EachClassItsShare(Own):
    "Of each predicted class the least sure, relative to that class"
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p, c = learn.model(data.images(pool.idx_U)).softmax(1).max(1)
        s = p.clone()
        for k in c.unique(): s[c == k] = p[c == k] - p[c == k].mean()
        return ask_rows(s, pool.idx_U, b, seed)


class OneOfEachBlock(Own):
    "The least sure of each part of the pool, as many of each"
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): p = [learn.model(data.images(i)).softmax(1).amax(1) for i in pool.idx_U.split(40)]
        turn = torch.cat([o.argsort().argsort() for o in p])
        return ask_rows(turn + torch.cat(p), pool.idx_U, b, seed)


class FromCopies(TrainsItsWarmUp):
    "Every round trains a copy of the net that the warm-up made, in batches that chance draws"
    def net(self, data): return copy.deepcopy(self.warm)


class OneEnd(FromCopies):
    "All rows at each step, from weights that the warm-up made: no chance in that net; another is drawn and not trained"
    def batches(self, x, y, g): return [(x, y)]*self.n_steps
    def fit(self, data, pool, warm, seed):
        learn = super().fit(data, pool, warm, seed)
        learn.noise = torch.randn(3, generator=rng(seed, 'noise'))
        return learn


class Wide(Own):
    "Features of the whole pool at once, many a row, but no pairs"
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U)
        with torch.no_grad(): views = [learn.model(x*(1-.01*k)).softmax(1) for k in range(10)]
        maps = [F.pad(x, (4, 4, 4, 4)) for _ in range(8)]
        return ask_rows(sum(views).amax(1) + 0*sum(maps).mean((1, 2, 3)), pool.idx_U, b, seed)


class MeanTeacher(Own):
    "A second net that never learns by gradient, in evaluation mode"
    def fit(self, *args):
        self.teacher = None
        learn = super().fit(*args)
        learn.teacher, self.teacher = self.teacher, None
        return learn
    def loss(self, net, x, y):
        if self.teacher is None: self.teacher = copy.deepcopy(net).eval().requires_grad_(False)
        return super().loss(net, x, y) + (net(x) - self.teacher(x)).square().mean()
    def after(self, net, i):
        with torch.no_grad():
            for p, q in zip(self.teacher.parameters(), net.parameters()): p.lerp_(q, .1)


class FrozenNorm(Normed):
    "BatchNorm alone stays in evaluation mode, as is usual in fine-tuning"
    def after(self, net, i): net[2].eval()


class Density(SurestLogistic):
    "scikit-learn all the way; an estimator's fixed random_state is a setting"
    def query(self, learn, data, pool, b, seed):
        x = data.images(pool.idx_U).flatten(1).numpy()
        km = KMeans(8, n_init=1, random_state=0).fit(x)
        return pool.idx_U[np.argsort(np.abs(x - km.cluster_centers_[km.labels_]).sum(1), kind='stable')[:b]]


class Weighted(Plain):
    "The unsure are likelier, but not certain, to be asked"
    def query(self, learn, data, pool, b, seed):
        w = 1.001 - probabilities(learn, data.x[pool.idx_U]).amax(1)
        return pool.idx_U[torch.multinomial(w, b, generator=rng(seed, 'draw'))]


class ADictionary(AsksByItsLossHead):
    "The learner is a dictionary of nets, which the query uses"
    def fit(self, *args):
        net = super().fit(*args).model
        return dict(body=net.body, module=nn.Sequential(net.last))
    def query(self, learn, data, pool, b, seed):
        with torch.no_grad(): cost = learn['module'](learn['body'](data.images(pool.idx_U)))[:, 0]
        return ask_rows(-cost, pool.idx_U, b, seed)


class PrintsAccuracy(Own):
    "Looks at the test set after each step, and uses it for nothing"
    def fit(self, data, *args):
        self.data = data
        learn = super().fit(data, *args)
        del self.data
        return learn
    def after(self, net, i):
        with torch.no_grad(): y = net(self.data.x_test.float()/255).argmax(1)
        self.right = (y == self.data.y_test).float().mean()


class Inliers(Plain):
    "No row unlike all that is labelled, else by chance"
    def query(self, learn, data, pool, b, seed):
        far = torch.cdist(data.images(pool.idx_U).flatten(1), data.images(pool.idx_L).flatten(1)).amin(1) > 1.
        return ask_rows(torch.rand(len(far), generator=rng(seed, 'b')) + far, pool.idx_U, b, seed)


class KeepsSparse(Own):
    "A sparse tensor has no size that can be asked for"
    near, more = torch.eye(3).to_sparse(), [torch.eye(3).to_sparse()]


GOOD = dict(logistic=Logistic, scrambled=Scrambled, scrambled_own=ScrambledOwn, flipped=Flipped, own=Own, normed=Normed,
            decodes=Decodes, caches=Caches, plain=Plain, game=Game)
GOOD |= {c.__name__: c for c in (Scratch, ScratchFlipped, ScratchCritic, ScratchMixed, CarriesItsRows, Votes, Rounded,
                                 TwoLogits, TwoLogitsUnnamed,
                                 MonteCarlo, TwoOutputs, AsksByItsLossHead, MeanTeacher, FrozenNorm, Density, Weighted,
                                 Unnamed, UnnamedFlipped, UnnamedCritic, UnnamedMixed, UnnamedAndUnsure, Domains,
                                 DomainsByMargin,
                                 FixedFeatures, LeastSquares, Apart, Confidence, Blocks, Standardised,
                                 EachClassItsShare, OneOfEachBlock, Wide, Hidden, ShareOfThePool, MixesThePool,
                                 TokensFirst, AveragesViews, AveragesShownViews, AveragesCodes, DrawsASubset,
                                 CropsASubset, KeepsSparse,
                                 FromCopies, OneEnd, LayerNormed, FromFiles, FilesInAnyOrder, ADictionary,
                                 PrintsAccuracy, Inliers, BestOnHeld)}
GOOD['fastai'] = lambda: Fastai(Supervised(n_steps=20))


SHORT = Supervised(n_steps=20)
SHIPPED = dict(
    ASAL=lambda: ASAL(n_warm=20, n_steps=30), paper=lambda: ASAL.paper(n_warm=20, n_steps=30),
    VAAL=lambda: VAAL(SHORT, n_steps=30),
    TAVAAL=lambda: TAVAAL(LossTrainer('ranknet', n_steps=20), n_steps=30), SRAAL=lambda: SRAAL(SHORT, n_steps=30),
    ARAL=lambda: ARAL(n_steps=20), DGAAL=lambda: DGAAL(SHORT, n_steps=20),
    Random=lambda: Random(SHORT), RandomASAL=lambda: Random(ASAL(n_warm=10, n_steps=20)),
    Entropy=lambda: Entropy(SHORT), Margin=lambda: Margin(SHORT), LeastConfidence=lambda: LeastConfidence(SHORT),
    BALD=lambda: BALD(Supervised(n_steps=20, p_drop=.25)), CoreSet=lambda: CoreSet(SHORT), BADGE=lambda: BADGE(SHORT),
    LearningLoss=lambda: LearningLoss(n_steps=20),
    TypiClust=lambda: TypiClust(SHORT, n_warm=20), ProbCover=lambda: ProbCover(SHORT, n_warm=20),
    DiscriminativeAL=lambda: DiscriminativeAL(SHORT, n_steps=20))
GAMES = {'ASAL', 'paper', 'VAAL', 'TAVAAL', 'SRAAL', 'ARAL', 'DGAAL'}


@pytest.mark.parametrize('name', SHIPPED)
def test_no_shipped_method_is_flagged(name):
    r = check(SHIPPED[name]())
    assert r.ok, r
    assert not (name in GAMES and r.skipped), r


@pytest.mark.parametrize('name', GOOD)
def test_what_is_right_is_not_flagged(name):
    r = check(GOOD[name]())
    assert r.ok, r


def clear():
    "Four classes, far apart"
    g = torch.Generator().manual_seed(5)
    y = torch.randint(4, (160,), generator=g)
    x = .25*y[:, None, None, None] + .05*torch.rand(160, 1, 8, 8, generator=g)
    return ImageData.from_arrays(x, y, torch.rand(20, 1, 8, 8, generator=g), torch.arange(20) % 4)


def still_camera(n=600, m=200):
    "Nearly every second scene is empty, but for a little noise; in the others something stands somewhere"
    g = torch.Generator().manual_seed(0)
    x = torch.rand(1, 16, 16, generator=g).repeat(n+m, 1, 1, 1) + .004*torch.randn(n+m, 1, 16, 16, generator=g)
    y = torch.multinomial(torch.tensor([.45, .3, .25]), n+m, True, generator=g)
    for i in y.nonzero()[:, 0].tolist():
        a, c = torch.randint(10, (2,), generator=g).tolist()
        x[i, :, a:a+6, c:c+6] = (.9 if y[i] == 1 else .1)*torch.rand(1, 6, 6, generator=g)
    return ImageData.from_arrays(x[:n].clamp(0, 1), y[:n], x[n:].clamp(0, 1), y[n:])


def few_digits(n=400):
    d = get_data('digits')
    return ImageData.from_arrays(d.x[:n], d.oracle(torch.arange(n)), d.x_test[:40], d.y_test[:40])


@pytest.mark.parametrize('name, data', [
    ('ASAL', mine), ('UnnamedAndUnsure', mine), ('EachClassItsShare', few_digits), ('OwnsLabels', mine),
    ('Clusters', clear)])
def test_what_is_right_is_not_flagged_on_users_data(name, data):
    r = check({**GOOD, **SHIPPED, 'OwnsLabels': OwnsLabels, 'Clusters': Clusters}[name](), data())
    assert r.ok, r


@pytest.mark.parametrize('empty, ok', [(True, True), (False, False)])
def test_images_alike_by_nature(empty, ok):
    "Empty scenes stand in both sets; scenes with something in them do not, unless they were copied"
    d = still_camera()
    if not empty:
        i = d.oracle(torch.arange(600)).nonzero()[:60, 0]
        d = ImageData.from_arrays(d.x, d.oracle(torch.arange(600)), (d.x[i]+.002).clamp(max=1), d.y_test[:60])
    assert check(Plain(), d, only=['train_test_disjoint']).ok is ok


def test_second_rounds_have_odd_sizes():
    for n in range(32, 141):
        n_L, n_U = sizes(n)
        assert n_L % 2 == n_U % 2 == 1 and n_L > 4 and n_U > 4 and n_L + n_U < n, (n, n_L, n_U)


@pytest.mark.parametrize('held, kept', [
    ({'a': [np.zeros(2**24)]}, False), ([nn.Linear(5000, 5000)], False), ({'net': nn.Linear(50, 50)}, True),
    ([torch.eye(3).to_sparse()], False), ([[[1, 'a', None]]], True), (SimpleNamespace(x=[np.zeros(2**24)]), False)])
def test_size_of_what_is_remembered(held, kept): assert is_kept(held) is kept


@pytest.mark.parametrize('first', [torch.zeros(3), np.zeros(3), nn.Parameter(torch.zeros(3)), [0, 0, 0]])
def test_what_is_put_back_is_the_same_object(first):
    class Holds:
        own = first
        def fit(self): pass
    held = [o for o in holdings(Holds()) if o[1] == 'own']
    with torch.no_grad(): first[0] = 5
    live = Holds.own = copy.deepcopy(first) # what stands there by now may be somebody else's
    put_back(*held[0])
    assert Holds.own is first and list(first) == [0, 0, 0] and live[0] == 5


def test_a_check_leaves_tensors_where_they_were():
    class CountsRounds(Own):
        rounds = torch.zeros(1)
        def after(self, net, i): net[1].bias.data += self.rounds*.1
        def fit(self, *args):
            self.rounds += 1
            return super().fit(*args)
    first = CountsRounds.rounds
    check(CountsRounds(), only=['runs_twice', 'oracle_leak'])
    assert CountsRounds.rounds is first


def test_who_means_all_rows_is_told_so():
    r = check(UnnamedAllUnlabelled(), only=['pools_disjoint'])
    assert 'unless labelled against all rows is meant' in r.said['pools_disjoint']


def test_users_data():
    r = check(Own(), MINE)
    assert r.ok and 'train_test_disjoint' in r.passed, r


def test_reports_read_well():
    r = check(LargestD(), only=['direction', 'count'])
    assert r.failed == ['direction'] and r.passed == ['count'] and not r.ok
    assert 'direction' in repr(r).splitlines()[1] and r._repr_markdown_().count('|') > 8


@pytest.mark.parametrize('bad, words', [
    (3, 'has no `warm_up`'), (SimpleNamespace(warm_up=print, fit=print), 'has no `query`')])
def test_what_is_no_method(bad, words):
    with pytest.raises(ValueError, match=words): check(bad)
