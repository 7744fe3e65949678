"A process of test_several.py: trains learners under `distrib_ctx`; keeps steps and weights."
import sys

import torch
from fastai.callback.core import Callback

from asal_nb.core import rng, seeded, threads
from asal_nb.data.images import ImageData
from asal_nb.data.loaders import asal_dls, supervised_dls
from asal_nb.data.pool import Pool
from asal_nb.game.learner import asal_learner, supervised_learner
from asal_nb.game.networks import asal_net
from asal_nb.game.warmup import warm_learner

N_EPOCH = 2


def toy():
    "90 images of three classes, and a pool in which 12 are labelled"
    x, y = torch.rand(90, 1, 8, 8, generator=rng(0, 'several'))*.5, torch.arange(90) % 3
    x[torch.arange(90), 0, 2*y, :] += .5
    data, pool = ImageData.from_arrays(x[:70], y[:70], x[70:], y[70:], name='toy'), Pool(70, 3)
    pool.label(torch.arange(12), y[:12])
    return data, pool


def learners(data, pool):
    "Name -> a learner, each made from the same seeds in every process"
    def asal(**kw): return asal_learner(asal_dls(data, pool, 5, bs_U=8), nz=8, **kw)
    yield 'asal', asal()  # pseudo-labels, margins, fresh codes: the defaults
    yield 'reused', asal(fresh=False, relabel='entropy', h='pseudo+propagate')
    yield 'paper', asal(h=None, relabel=None, condition='mu')
    yield 'supervised', supervised_learner(supervised_dls(data, pool, 6, n_steps=9), nz=8)
    with seeded(0, 'init'): net = asal_net(data.x_shape, 3, nz=8)
    yield 'warm-up', warm_learner(net, data, None, bs=8)


class Kept(Callback):
    "Keeps the rows of each training batch, what the model gets of it, its loss and D's."
    order, run_valid = 7, False
    def before_fit(self): self.log = {k: [] for k in ('x', 'y', 'rows', 'loss', 'dsc')}
    def before_batch(self):
        y = self.yb[0]
        self.log['rows'].append([getattr(y, 'i_L', y[:0]), getattr(y, 'i_U', y)])
    def after_pred(self):
        self.log['x'].append(self.xb[0])
        self.log['y'].append(tuple(self.yb))
    def after_batch(self): self.log['loss'].append(self.loss.item())


class KeptD(Callback):
    "Keeps D's loss, once D has moved."
    order, run_valid = 45, False
    def after_batch(self):
        terms = getattr(self.loss_func, 'terms', {})
        self.learn.kept.log['dsc'].append(float(terms.get('dsc', 0)))


def run(name, learn):
    with learn.distrib_ctx(sync_bn=False, cpu=True):
        kept = Kept()
        learn.fit(N_EPOCH, cbs=[kept, KeptD()])
        values = [list(o) for o in learn.recorder.values]
        # before `get_preds` makes them equal
        weights = {k: v.clone() for k, v in learn.model.state_dict().items()}
        preds = learn.get_preds()[0]
    return dict(**kept.log, preds=preds, values=values, weights=weights)


if __name__ == '__main__':
    import asal_nb.game.several  # noqa: F401 (patches `distrib_ctx`)
    with threads(1): out = {k: run(k, o) for k, o in learners(*toy())}
    torch.save(out, sys.argv[1])
    torch.distributed.destroy_process_group()
