"""A round of training and scoring, ours against the same loop organised as published code is, in
one process.

The published organisation, in code of our own: a loader opens each image by itself, the two pools
are encoded apart, each move of D passes its images through the whole VAE, and so does scoring, a
loader's batch at a time. VAAL's task model learns in the same loop. ASAL in this form encodes the
images of each term anew (see step.py). Networks, images, batch sizes and numbers of moves are the
same. On the same batch both forms give the same loss, which is asserted before anything is timed.

A part of a round is run. The table has the seconds of a whole one: each part of the work times
what is missing, and the set-up once."""
import contextlib
import statistics
import time
from unittest.mock import patch

from _measure import arguments, keep, machine, table
from run import Clock
from step import (
    down, forever, naive_dsc, naive_loaders, naive_optimisers, naive_terms, opened, same_loss)

SET_UP, PARTS = 'set-up', ('loading', 'VAE and C', 'D', 'task model', 'scoring')
BS, N_VAE, LAM4, ALPHA = 64, 2, .05, 5e-4  # of VAAL
# moves of the VAE that are run (for digits, whole epochs), and unlabelled rows that a round scores
SIZES = {'digits, 16 px': (190, 1197), 'clothes, 28 px': (20, 59_900)}


def data_of(name):
    "Digits enlarged to 16 x 16, or 6,000 images of Fashion-MNIST; None where it is not there"
    import torch.nn.functional as F
    from asal_nb.data.images import ImageData, as_floats, get_data
    if 'digits' in name:
        data = get_data('digits')
        x, x_test = [F.interpolate(as_floats(o), 16, mode='bilinear')
                     for o in (data.x, data.x_test)]
        x, x_test = [(255*o).round().byte() for o in (x, x_test)]
        return ImageData.from_arrays(x, data.oracle(range(len(x))), x_test, data.y_test)
    try: data = get_data('fashion_mnist')
    except (OSError, ValueError): return None
    x, y = data.x[:6000], data.oracle(range(6000))
    return ImageData.from_arrays(x, y, data.x_test[:500], data.y_test[:500], flip=True)


def pool_of(data, n=100):
    from asal_nb.data.pool import Pool
    pool = Pool(len(data), data.n_classes)
    pool.label(range(n), data.oracle(range(n)))
    return pool


@contextlib.contextmanager
def clocked(c):
    "Within the block our own training and scoring is timed by the clock"
    from asal_nb.data import batches
    from asal_nb.game import learner
    from asal_nb.game.callbacks import PoolLearner
    from asal_nb.game.turns import GameLearner, Turns
    fit = PoolLearner._do_fit

    def fit_as(learn):
        part = 'VAE and C' if isinstance(learn, GameLearner) else 'task model'
        c.during(part, fit)(learn)
    timed = {(batches.TwoPools, 'batch'): 'loading', (batches.OnePool, 'batch'): 'loading',
             (learner, 'with_views'): 'loading', (Turns, 'after_batch'): 'D'}
    with contextlib.ExitStack() as s:
        s.enter_context(patch.object(PoolLearner, '_do_fit', fit_as))
        for (owner, name), part in timed.items():
            s.enter_context(patch.object(owner, name, c.during(part, getattr(owner, name))))
        yield


def ours(how, data, pool, rows, c):
    "A round of a method of the package"
    with clocked(c):
        learn = how.fit(data, pool, None, 0)
        c.to('scoring')
        how.scores(learn, data, rows, 0)
    moved = getattr(learn, 'sampler', learn).train_iter
    assert moved == how.n_steps, f'{moved} moves, not {how.n_steps}'


def networks(data, condition='mu'):
    from asal_nb.core import seeded
    from asal_nb.game.networks import asal_net
    with seeded(0, 'round'): return asal_net(data.x_shape, data.n_classes, condition=condition)


def whole(net, x, noise=None):
    "The whole VAE: images, means and log-variances"
    import torch
    from asal_nb.paper.gauss import reparam
    mu, logvar = net.enc(x)
    return net.gen(reparam(mu, logvar, (noise or torch.randn_like)(mu))), mu, logvar


def vaal_loss(net, x_L, x_U, noise=None):
    "What VAAL's VAE descends, each pool through the whole VAE"
    from asal_nb.paper.adversarial import vae_adv_loss
    from asal_nb.paper.objective import vae_loss
    from asal_nb.paper.url import bound, log_p_x
    url, d = 0, []
    for x in (x_L, x_U):
        x_hat, mu, logvar = whole(net, x, noise)
        url = url + bound(log_p_x(x_hat, x), mu, logvar, .01)
        d.append(net.dsc(mu))
    return vae_loss(url, 0, 0, vae_adv_loss(*d), 2/net.gen.n_x, 0, 0, LAM4)


def scored(net, data, pool, rows, bs, seen):
    "D's logits, each image opened by itself, the whole VAE for a loader's batch at a time"
    import torch
    from torch.utils.data import DataLoader
    with torch.no_grad():
        loader = DataLoader(opened(data, rows, pool.y), bs)
        return torch.cat([net.dsc(seen(whole(net, x)[1])) for x, _ in loader])


def published_vaal(n, data, pool, rows, c):
    "A round of VAAL: in each turn a move of the task model, two of the VAE, and one of D"
    import torch
    import torch.nn.functional as F
    from asal_nb.game.networks import TaskNet
    from asal_nb.paper.adversarial import dsc_loss
    net, other = networks(data), networks(data)
    task = TaskNet(other.enc, other.clf)
    vae = [*net.enc.parameters(), *net.gen.parameters()]
    opt_task, opt_vae, opt_dsc = [torch.optim.AdamW(o, ALPHA, weight_decay=0) for o in (
        task.parameters(), vae, net.dsc.parameters())]
    pools = [forever(opened(data, o, pool.y), BS) for o in (pool.idx_L, pool.idx_U)]
    for _ in range(n//N_VAE):
        for k in range(N_VAE):
            c.to('loading')
            (x_L, y_L), (x_U, _) = map(next, pools)
            c.to('task model')
            if not k: down(opt_task, F.cross_entropy(task(x_L), y_L))
            c.to('VAE and C')
            down(opt_vae, vaal_loss(net, x_L, x_U))
        c.to('D')
        with torch.no_grad(): mu_L, mu_U = [whole(net, x)[1] for x in (x_L, x_U)]
        down(opt_dsc, dsc_loss(net.dsc(mu_L), net.dsc(mu_U)))
    c.to('scoring')
    scored(net, data, pool, rows, BS, lambda mu: mu)


def published_asal(n, data, pool, rows, c):
    "A round of ASAL: each term encodes its images, h has a pass of its own, D encodes again"
    from asal_nb.data.loaders import batch_sizes
    from asal_nb.game.networks import dsc_input
    import torch
    net, sizes = networks(data, 'mu+p'), batch_sizes(data.x_shape)
    opt, opt_dsc = naive_optimisers(net)
    loaders, lam = naive_loaders(data, pool, *sizes), (2/net.gen.n_x, 1, 1, .1)
    for _ in range(n):
        c.to('loading')
        (x_L, y_L), (x_U, _), (x_h, _) = map(next, loaders)
        c.to('VAE and C')
        down(opt, naive_terms(net, x_L, y_L, x_U, x_h, lam, torch.randn_like))
        c.to('D')
        naive_dsc(net, opt_dsc, x_L, x_U)
    c.to('scoring')
    scored(net, data, pool, rows, sizes[0], lambda mu: dsc_input(mu, net.clf(mu), net.condition))


def same_vaal_loss(data, pool):
    "VAAL's VAE has the same loss in both forms, without noise (for ASAL, see step.py)"
    import torch
    from asal_nb.data.loaders import asal_dls
    from asal_nb.methods.vaal import sampler_learner
    learn = sampler_learner(asal_dls(data, pool, BS, augment=False), lam4=LAM4)
    net, (x, y) = learn.model, learn.dls.train.one_batch()
    out = net((*x, None, torch.zeros(2*BS, net.nz)))
    a = learn.loss_func.total(**learn.loss_func.of(out, y.as_subclass(torch.Tensor)))
    b = vaal_loss(net, *x, noise=torch.zeros_like)
    assert torch.allclose(a, b, rtol=1e-4), (a, b)


def in_parts(forms, repeats, now):
    "Seconds of each form by part, `repeats` times in turns, after one time that does not count"
    spent = {k: [] for k in forms}
    for i in range(repeats + 1):
        for k, f in forms.items():
            c = Clock((SET_UP, *PARTS), SET_UP, now)
            f(c)
            c.to(SET_UP)
            spent[k] += [c.spent][:i >= 1]
    return spent


def whole_round(spent, share):
    "Seconds by part of a whole round, of which `share` was run"
    return {k: v if k == SET_UP else v/share for k, v in spent.items()}


def measure(data, n, n_U, repeats, now):
    "Both methods in both forms: seconds by part, and how often ours fits into the published one"
    from asal_nb.data.loaders import steps_of
    from asal_nb.loop.asal import ASAL, Supervised
    from asal_nb.methods.vaal import VAAL
    pool, share = pool_of(data), n/steps_of(data.x_shape)
    same_vaal_loss(data, pool)
    same_loss(data, pool)
    rows = pool.idx_U[:round(n_U*share)]
    vaal = VAAL(Supervised(n_steps=n//N_VAE), n_steps=n, n_vae=N_VAE, bs=BS, lam4=LAM4)
    methods = dict(VAAL=(vaal, published_vaal), ASAL=(ASAL(n_warm=0, n_steps=n), published_asal))
    found = {}
    for name, (how, published) in methods.items():
        forms = dict(ours=lambda c, how=how: ours(how, data, pool, rows, c),
                     published=lambda c, f=published: f(n, data, pool, rows, c))
        rounds = {k: [whole_round(o, share) for o in v]
                  for k, v in in_parts(forms, repeats, now).items()}
        parts = {k: {p: round(statistics.median(o[p] for o in v), 2) for p in (SET_UP, *PARTS)}
                 for k, v in rounds.items()}
        totals = [[sum(o.values()) for o in v] for v in rounds.values()]
        ratio = statistics.median(b/a for a, b in zip(*totals))
        found[name] = parts | dict(ratio=round(ratio, 2))
    return found


def main():
    a = arguments(__doc__)
    now = time.process_time if a.threads == 1 else time.perf_counter
    repeats, found = (2 if a.quick else 5), {}
    for name, (n, n_U) in SIZES.items():
        data = data_of(name)
        if data is None: print(f'{name}: left out, as ASAL_DATA does not hold them')
        else: found[name] = measure(data, n//10*2 if a.quick else n, n_U, repeats, now)
    rows = []
    for name, methods in found.items():
        for method, o in methods.items():
            for form, ratio in (('published', o['ratio']), ('ours', 1.)):
                parts = o[form].values()
                rows.append([f'{name}, {method}, {form}', *parts, sum(parts), ratio])
    print(table(rows, ['seconds of a round', SET_UP, *PARTS, 'all', 'ratio']))
    keep('round', dict(found=found, repeats=repeats, sizes=SIZES, clock=now.__name__,
                       machine=machine('torchvision', 'fastai')), a.quick)


if __name__ == '__main__': main()
