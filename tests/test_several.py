"Two processes with gloo on CPUs: each step is that of one process on both batches put together."
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastai.callback.core import Callback
from several_job import N_EPOCH, Kept, KeptD, learners, toy

from asal_nb.core import threads
from asal_nb.game.warmup import WarmViews

NAMES = 'asal', 'reused', 'paper', 'supervised', 'warm-up'


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    "What the two processes kept"
    at = tmp_path_factory.mktemp('two')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = str(s.getsockname()[1])
    job, ps = Path(__file__).parent/'several_job.py', []
    try:
        for r in ('0', '1'):
            env = os.environ | dict(
                RANK=r, LOCAL_RANK=r, WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            cmd = [sys.executable, job, at/f'{r}.pt']
            with open(at/f'{r}.txt', 'w') as f:
                ps.append(subprocess.Popen(cmd, env=env, stdout=f, stderr=f))
        for r, p in enumerate(ps): assert p.wait(300) == 0, (at/f'{r}.txt').read_text()[-3000:]
    finally:
        for p in ps: p.kill()
    return [torch.load(at/f'{r}.pt', weights_only=True) for r in (0, 1)]


def joined(a, b):
    "Two batches as one: tensors row after row, in tuples part by part"
    if a is None: return None
    if isinstance(a, torch.Tensor): return torch.cat([a, b])
    return type(a)(joined(*o) for o in zip(a, b))


def joined_x(a, b):
    "Two inputs as one; the noise belongs to the rows L, U and h, in this order, of either process"
    if isinstance(a, torch.Tensor): return torch.cat([a, b])
    *xs, eps = joined(a, b)
    sizes = [0 if o is None else len(o) for o in a[:3]]
    return (*xs, torch.cat([o for pair in zip(a[3].split(sizes), b[3].split(sizes)) for o in pair]))


class Given(Callback):
    "The batches of both processes, in place of a batch of one's own; games get them by `prepared`"
    order, run_valid = 9, False
    def __init__(self, a, b): self.xs, self.ys = [[*zip(a[k], b[k])] for k in 'xy']
    def at(self, k): return joined_x(*self.xs[k]), joined(*self.ys[k])
    def before_fit(self):
        if hasattr(self.learn, 'prepared'): self.learn.prepared = self.prepared
    def prepared(self, x, y):
        x, (y, t) = self.at(self.train_iter)
        return SimpleNamespace(seen=x, x_L=x[0], x_U=x[1], y=y, t=t)
    def before_batch(self):
        if not hasattr(self.learn, 'prepared'):
            x, self.learn.yb = self.at(self.train_iter)
            self.learn.xb = (x,)


class Times(Callback):
    "As many batches an epoch as two processes take"
    order = 2
    def __init__(self, n): self.n = n
    def before_train(self):
        b = next(iter(self.learn.dl))
        self.learn.dl = [b]*self.n


def alone(two, name, ks=(0, 1)):
    "What one process makes of the batches of the processes `ks`, and the weights it began with"
    learn = dict(learners(*toy()))[name]
    a, b = [two[k][name] for k in (ks*2)[:2]]
    first, kept = {k: v.clone() for k, v in learn.model.state_dict().items()}, Kept()
    learn.remove_cb(WarmViews)
    with threads(1):
        learn.fit(N_EPOCH, cbs=[Times(len(a['x'])//N_EPOCH), Given(a, b), kept, KeptD()])
    return kept.log | dict(weights=learn.model.state_dict(), first=first)


def largest(a, b): return max((v - b[k]).abs().max().item() for k, v in a.items())


@pytest.mark.parametrize('name', NAMES)
def test_the_same_steps_as_one_process(two, name):
    "Losses of each step, of D too, and the last weights, up to rounding; they move by 0.1."
    one, (a, b) = alone(two, name), [o[name] for o in two]
    for k in ('loss', 'dsc'):
        mean = (torch.tensor(a[k]) + torch.tensor(b[k]))/2
        torch.testing.assert_close(mean, torch.tensor(one[k]), rtol=1e-5, atol=2e-6)
    far, moved = largest(a['weights'], one['weights']), largest(one['first'], one['weights'])
    assert moved > .05 and far < 1e-3*moved


def test_half_the_rows_are_another_step(two):
    "What the test above would see if a process learned from its own rows alone."
    one, a = alone(two, 'asal', (0,)), two[0]['asal']
    assert largest(a['weights'], one['weights']) > .02*largest(one['first'], one['weights'])


@pytest.mark.parametrize('name', NAMES)
def test_the_same_in_both_processes(two, name):
    "Weights bit for bit, the loss that is shown, and predictions for all validation rows."
    a, b = [o[name] for o in two]
    assert all(torch.equal(v, b['weights'][k]) for k, v in a['weights'].items())
    if name != 'warm-up': assert torch.equal(a['preds'], b['preds']) and len(a['preds']) == 20
    assert [o[0] for o in a['values']] == [o[0] for o in b['values']]
    assert len(a['values']) == N_EPOCH


@pytest.mark.parametrize('name', NAMES)
def test_each_process_has_its_own(two, name):
    "Labelled rows and noise differ; the unlabelled rows of an epoch are all there, each once."
    a, b = [o[name] for o in two]
    n = len(a['rows'])//N_EPOCH
    assert len(a['rows']) == len(b['rows']) == n*N_EPOCH
    for k in range(N_EPOCH):
        U = [torch.cat([u for _, u in o['rows'][k*n:][:n]]) for o in (a, b)]
        want = range(0 if name == 'warm-up' else 12, 70)
        if name != 'supervised': assert torch.cat(U).sort().values.tolist() == list(want)
    if name != 'warm-up':
        assert any(not torch.equal(o[0], q[0]) for o, q in zip(a['rows'], b['rows']))
    if name != 'supervised':
        assert not any(torch.equal(o[3], q[3]) for o, q in zip(a['x'], b['x']))  # eps
