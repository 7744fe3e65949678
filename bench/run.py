"""Where the time of a whole run goes: ASAL on digits (20 + 40 + 140 labels) and on Fashion-MNIST
(100 + 400 + 500).

Within training a clock stands at each of fastai's events; around it, the methods of the loop are
timed. What is neither augmentation, forward, backward nor an optimiser's step is the overhead."""
import contextlib
import time
from unittest.mock import patch

from _measure import arguments, keep, machine, table

RUNS = {'digits': dict(b=[40, 140], n_first=20), 'fashion_mnist': dict(b=[400, 500], n_first=100)}
PHASES = ('augmentation', 'forward', 'backward', 'optimisers', "D's step", 'scoring', 'asking',
          'loop')
WORK = PHASES[:6]  # what a run is for: scoring is the networks' forward pass over the pool


class Clock:
    "Seconds by phase: whoever calls `to` ends one phase and starts another"
    def __init__(self, phases=PHASES, phase='loop', now=time.perf_counter):
        self.spent, self.phase, self.now = dict.fromkeys(phases, 0.), phase, now
        self.since = now()
    def to(self, phase):
        now = self.now()
        self.spent[self.phase] += now - self.since
        was, self.phase, self.since = self.phase, phase, now
        return was
    def during(self, phase, f):
        "`f`, whose time counts as `phase`"
        def timed(*args, **kw):
            was = self.to(phase)
            try: return f(*args, **kw)
            finally: self.to(was)
        return timed


@contextlib.contextmanager
def clocked(c):
    "Within the block all training and asking is timed by the clock"
    import torch
    from asal_nb.data import batches
    from asal_nb.game import asking, networks, targets, turns, warmup
    from asal_nb.loop import asal, loop
    with contextlib.ExitStack() as s:
        def time_as(phase, owner, name):
            s.enter_context(patch.object(owner, name, c.during(phase, getattr(owner, name))))
        time_as('augmentation', batches.TwoPools, 'batch')
        time_as('augmentation', batches.AllRows, 'batch')
        time_as('augmentation', warmup.WarmViews, 'before_batch')
        time_as('forward', networks.ASALNet, 'forward')
        time_as('forward', warmup.CodeLoss, '__call__')
        time_as('backward', torch.Tensor, 'backward')
        time_as('optimisers', torch.optim.AdamW, 'step')
        time_as("D's step", turns.Turns, 'after_batch')
        time_as('asking', asal.ASAL, 'query')
        time_as('asking', loop, 'first_rows')
        scored = c.during('scoring', targets.codes)
        for owner in (asking, loop): s.enter_context(patch.object(owner, 'codes', scored))
        time_as('scoring', loop, 'probabilities')
        yield


def shares(name, n_steps):
    "Seconds by phase of one run"
    from asal_nb.data.images import get_data
    from asal_nb.loop.asal import ASAL
    from asal_nb.loop.loop import ActiveLearning
    c, data = Clock(), get_data(name)
    with clocked(c):
        c.to('loop')
        # typical rows would bring the whole default warm-up
        first = 'typiclust' if n_steps == 1200 else 'random'
        method = ASAL(n_warm=n_steps, n_steps=n_steps)
        ActiveLearning(data, method, first=first, quiet=True, **RUNS[name]).run()
        c.to('loop')
    return c.spent


def main():
    a = arguments(__doc__)
    found = {name: shares(name, 20 if a.quick else 1200) for name in RUNS}
    rows, seconds = [], {}
    for name, s in found.items():
        share = {p: round(100*v/sum(s.values()), 1) for p, v in s.items()}
        work = sum(s[p] for p in WORK)/sum(s.values())
        rows.append([name, *share.values(), round(100*(1 - work), 1)])
        seconds[name] = {p: round(v, 1) for p, v in s.items()}
    print(table(rows, ['per cent', *PHASES, 'overhead']))
    keep('run', dict(seconds=seconds, machine=machine('fastai')), a.quick)


if __name__ == '__main__': main()
