"A fit that is stopped at any batch ends in the same bits as one that was not."
import random
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import MixUp
from fastai.callback.tracker import EarlyStoppingCallback
from fastai.callback.training import GradientAccumulation
from fastai.learner import Learner
from asal_nb.all import (ASAL, DGAAL, SRAAL, VAAL, ImageData, LearningLoss, Pool, Supervised,
                         get_data)
from asal_nb.loop import checkpoint
from asal_nb.loop.checkpoint import checkpoints
from asal_nb.loop.method import once


class Stopped(BaseException): pass


@pytest.fixture
def small():
    "200 digits without labels, and a pool with 30 of them labelled"
    digits = get_data('digits')
    pool, rows = Pool(200, 10), range(0, 200, 7)
    pool.label(rows, digits.oracle(rows))
    x = digits.x[:200]
    return ImageData.from_arrays(x, classes=list('0123456789'), device='cpu').blind(), pool


@pytest.fixture
def steps(monkeypatch):
    "Writing after each batch; the steps done, and the one before which it stops"
    monkeypatch.setattr(checkpoint.Checkpoint.__init__, '__defaults__', (float('inf'), 0.))
    done, step = dict(n=0, stop=None), Learner.one_batch
    def one_batch(self, i, b):
        if done['n'] == done['stop']: raise Stopped
        done['n'] += 1
        step(self, i, b)
    monkeypatch.setattr(Learner, 'one_batch', one_batch)
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield done
    torch.set_num_threads(n)


def trained(method, data, pool):
    "All weights after warm-up and a round, the sampler's too"
    once.last = {}
    warm = method.warm_up(data, 1)
    learn = method.fit(data, pool, warm, 2)
    nets = [warm or {}, learn.model.state_dict()]
    if hasattr(learn, 'sampler'): nets.append(learn.sampler.model.state_dict())
    return [v.clone() for o in nets for v in o.values()]


def stopped_often(method, data, pool, steps, folder, n_stops=3):
    "Steps done twice, where it is stopped again and again; the end must have the same bits"
    steps.update(n=0, stop=None)
    whole = trained(method, data, pool)
    total, n_done = steps['n'], 0
    g = random.Random(0)
    for _ in range(n_stops):
        steps.update(n=0, stop=g.randint(1, total//4))
        try:
            with checkpoints(folder, keep=True): trained(method, data, pool)
        except Stopped: pass
        n_done += steps['n']
    steps.update(n=0, stop=None)
    with checkpoints(folder): again = trained(method, data, pool)
    assert len(whole) == len(again) and all(map(torch.equal, whole, again))
    return n_done + steps['n'] - total


PLAIN = dict(n_steps=14, bs=32, p_drop=.25)
METHODS = dict(
    asal=lambda: ASAL(n_warm=6, n_steps=9, h='pseudo+propagate'),
    clusters=lambda: ASAL(n_warm=6, n_steps=5, h_warm='cluster', h='cluster'),
    supervised=lambda: Supervised(**PLAIN), learning_loss=lambda: LearningLoss(**PLAIN),
    vaal=lambda: VAAL(Supervised(**PLAIN), n_steps=14, augment=True),
    sraal=lambda: SRAAL(Supervised(**PLAIN), n_steps=9, uncertainty='task'),
    dgaal=lambda: DGAAL(Supervised(**PLAIN), n_steps=12))


@pytest.mark.parametrize('name', METHODS)
def test_no_step_is_done_twice_and_no_bit_differs(name, small, steps, tmp_path):
    assert stopped_often(METHODS[name](), *small, steps, tmp_path/'a/b/c') == 0


class Second(Callback):
    "Holds a second network, which `state_of` does not reach; at the end it is the model"
    run_valid = False
    def before_fit(self): self.second = [p.detach().clone() for p in self.model.parameters()]
    def after_batch(self):
        for m, p in zip(self.second, self.model.parameters()): m.lerp_(p.detach(), .1)
    def after_fit(self):
        for m, p in zip(self.second, self.model.parameters()): p.data.copy_(m)


class Decays(Callback):
    "Plain values that change within an epoch and after it, by the mean loss"
    run_valid = False
    def before_fit(self): self.n, self.share = 0, 1.
    def after_batch(self): self.n += 1
    def before_step(self):
        for p in self.model.parameters():
            if p.grad is not None: p.grad *= self.share/(1 + self.n % 3)
    def after_epoch(self): self.share = .3*float(self.recorder.smooth_loss.value)


STATE = dict(  # how far it falls back
    mixup=(MixUp, 'nowhere'), plain=(Decays, 'epoch'), second=(Second, 'start'),
    sums=(lambda: GradientAccumulation(100), 'epoch'),
    stop=(lambda: EarlyStoppingCallback('train_loss', min_delta=.05, patience=1), 'epoch'))


@pytest.mark.parametrize('name', STATE)
def test_a_callback_whose_state_is_not_kept_falls_back(name, small, steps, tmp_path):
    make, to = STATE[name]
    method = Supervised(n_steps=36, bs=32, cbs=make)
    twice = stopped_often(method, *small, steps, tmp_path/'a/b/c')
    assert (twice == 0) == (to == 'nowhere')
    if to == 'start':
        assert not list(tmp_path.rglob('*.fit'))
