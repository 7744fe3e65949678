"""The training step against its naive form and against the processor's limit, 64 + 64 images of
28x28, in one process.

The naive form is that of published loops: images opened and distorted one by one in a loader, each
term of the loss encoding its batch again (L three times, U twice and once distorted), and both
pools once more for D. Same networks, same equations: on the same batch both give the same loss,
which is asserted before anything is timed."""
import time

from _measure import (
    arguments, bandwidth, conv_peak, in_turns, keep, machine, medians, ratio, table)

BS, PIXELS, ROWS = 64, 28, 6000


def some_data(rows=ROWS):
    "Smooth random images with labels: what is in them does not change how long a step takes"
    import torch
    import torch.nn.functional as F
    from asal_nb.core import rng
    from asal_nb.data.images import ImageData
    g = rng(0, 'bench')
    x = F.interpolate(torch.rand(rows, 1, 7, 7, generator=g), PIXELS, mode='bilinear')
    x, y = (x*255).to(torch.uint8), torch.arange(rows) % 10
    return ImageData.from_arrays(x, y, x[:500], y[:500], flip=True)


def some_pool(data, n=500):
    import torch
    from asal_nb.data.pool import Pool
    pool, rows = Pool(len(data), data.n_classes), torch.arange(n)
    pool.label(rows, data.oracle(rows))
    return pool


def opened(data, rows, y, change=(), erase=()):
    "A data set that opens each image by itself, changes it and makes it a tensor"
    import torchvision.transforms.v2 as T
    from PIL import Image
    from torch.utils.data import Dataset
    change = T.Compose([*change, T.PILToTensor(), T.Lambda(lambda x: x.float()/255), *erase])

    class Opened(Dataset):
        def __len__(self): return len(rows)
        def __getitem__(self, i):
            r = int(rows[i])
            return change(Image.fromarray(data.x[r, 0].numpy())), int(y[r])
    return Opened()


def forever(ds, bs):
    "Batches of `bs` rows, drawn with replacement"
    from torch.utils.data import DataLoader, RandomSampler
    while True: yield from DataLoader(ds, bs, sampler=RandomSampler(ds, True, 100*bs))


def naive_loaders(data, pool, bs=BS, bs_U=BS):
    "Batches for ever, labelled, unlabelled and distorted: each image is opened by itself"
    import torchvision.transforms.v2 as T
    side = data.x_shape[-1]
    weak = [T.RandomCrop(side, padding=max(1, round(.08*side)), padding_mode='edge')]
    if data.flip: weak.append(T.RandomHorizontalFlip())
    hard = [*weak, T.RandomAffine(7.5, scale=(.9, 1.1)), T.ColorJitter(.2, .2)]
    erase = [T.RandomErasing(1., (.11, .11), (1, 1))]
    x_L, x_U = [opened(data, rows, pool.y, weak) for rows in (pool.idx_L, pool.idx_U)]
    x_h = opened(data, pool.idx_U, pool.y, hard, erase)
    return [forever(x_L, bs), forever(x_U, bs_U), forever(x_h, bs_U)]


def naive_terms(net, x_L, y_L, x_U, x_h, lam, noise):
    "Eq. (6), each term with encodings of its own; `noise(mu)` is that of its codes"
    from asal_nb.paper.gauss import reparam
    from asal_nb.paper.url import bound, log_p_x
    from asal_nb.paper.classifier import log_p_y
    from asal_nb.paper.adversarial import vae_adv_loss
    from asal_nb.paper.objective import vae_loss
    from asal_nb.game.networks import dsc_input
    from asal_nb.game.pseudo import pseudo

    def url(x):
        mu, logvar = net.enc(x)
        return bound(log_p_x(net.gen(reparam(mu, logvar, noise(mu))), x), mu, logvar, .01)

    def said(x, y):
        mu, logvar = net.enc(x)
        return bound(log_p_y(net.clf(reparam(mu, logvar, noise(mu))), y), mu, logvar, 1e-3)

    def seen(x):
        mu = net.enc(x)[0]
        return net.dsc(dsc_input(mu, net.clf(mu), net.condition))
    h = pseudo(net(x_U).detach().softmax(-1), .95)
    return vae_loss(
        url(x_L) + url(x_U), said(x_L, y_L), said(x_h, h), vae_adv_loss(seen(x_L), seen(x_U)), *lam)


def down(opt, loss):
    "One step of an optimiser"
    opt.zero_grad()
    loss.backward()
    opt.step()


def naive_dsc(net, opt, x_L, x_U):
    "D descends Eq. (5) on codes made anew"
    import torch
    from asal_nb.paper.adversarial import dsc_loss, soft_targets
    from asal_nb.game.networks import dsc_input
    with torch.no_grad():
        mu_L, mu_U = net.enc(x_L)[0], net.enc(x_U)[0]
        p_L, p_U = net.clf(mu_L), net.clf(mu_U)
    d_L, d_U = [net.dsc(dsc_input(mu, p, net.condition)) for mu, p in ((mu_L, p_L), (mu_U, p_U))]
    down(opt, dsc_loss(d_L, d_U, soft_targets(p_U.softmax(-1), 'margin')))


def naive_optimisers(net):
    "One for E, G and C, one for D"
    import torch
    rest = [p for k, p in net.named_parameters() if not k.startswith('dsc.')]
    return torch.optim.AdamW(rest, 1e-2), torch.optim.AdamW(net.dsc.parameters(), 5e-3)


def naive(data, pool, device='cpu'):
    "A function that makes `n` naive steps; the loaders are on the CPU, the networks on `device`"
    import torch
    from asal_nb.core import seeded
    from asal_nb.game.networks import asal_net
    with seeded(0, 'naive'):
        net = asal_net(data.x_shape, data.n_classes, condition='mu+p').to(device)
    lam, loaders = (2/net.gen.n_x, 1, 1, .1), naive_loaders(data, pool)
    opt, opt_dsc = naive_optimisers(net)

    def steps(n):
        for _ in range(n):
            (x_L, y_L), (x_U, _), (x_h, _) = map(next, loaders)
            x_L, y_L, x_U, x_h = [t.to(device) for t in (x_L, y_L, x_U, x_h)]
            down(opt, naive_terms(net, x_L, y_L, x_U, x_h, lam, torch.randn_like))
            naive_dsc(net, opt_dsc, x_L, x_U)
    return steps


def ours(data, pool, half=False, bs=BS, bs_U=None, **kw):
    "A function that makes `n` steps of the package's learner, and the learner"
    from fastai.callback.core import Callback, CancelFitException
    from asal_nb.data.loaders import asal_dls
    from asal_nb.game.callbacks import NoValid
    from asal_nb.game.learner import asal_learner
    learn = asal_learner(asal_dls(data, pool, bs, bs_U=bs_U, seed=0), **kw)
    if half: learn.to_bf16()

    class Stop(Callback):
        order = 99  # after D's step
        def __init__(self, n): self.left = n
        def after_batch(self):
            self.left -= 1
            if not self.left: raise CancelFitException()
    return lambda n: learn.fit(999, cbs=[NoValid(), Stop(n)]), learn


def same_loss(data, pool):
    "Both forms give the same loss on the same batch, without noise"
    import torch
    from asal_nb.paper.classifier import log_p_y
    from asal_nb.game.pseudo import pseudo
    _, learn = ours(data, pool, h=None)
    net, (x, y_L) = learn.model, learn.dls.train.one_batch()
    x_L, x_U = x
    out = net((x_L, x_U, x_U, torch.zeros(3*BS, net.nz)))
    loss, h = learn.loss_func, pseudo(out['logits'][BS:].softmax(-1), .95)
    logp = log_p_y(out['logits_z'][2*BS:], h)
    loss.h.log_p = lambda *_: (logp, out['mu'][2*BS:], out['logvar'][2*BS:])
    a = loss.total(**loss.of(out, y_L))
    lam = loss.lam1, loss.lam2, loss.lam3, loss.lam4
    b = naive_terms(net, x_L, y_L, x_U, x_U, lam, torch.zeros_like)
    assert torch.allclose(a, b, rtol=1e-4), (a, b)


def flops(step):
    "Floating-point operations of the matrix products and convolutions of one step, both ways"
    from torch.utils.flop_counter import FlopCounterMode
    with FlopCounterMode(display=False) as f: step(1)
    return f.get_total_flops()


# where a step's time goes: a term, and the operations that it is made of
TERMS = {
    'convolutions': ('conv', 'transposed'), 'matrix products': ('addmm', 'aten::mm', 'aten::bmm'),
    'normalisation': ('group_norm', 'GroupNorm'),
    'standardised filters': ('layer_norm', 'LayerNorm'),
    'activations': ('clamp_min', 'threshold', 'relu', 'Relu'),
    'optimiser': ('adam', 'Adam', 'Optimizer'), 'all else in torch': ('',)}


def terms(step, n):
    "Milliseconds of a step by term, from torch's profiler; what is left is Python and fastai"
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CPU]) as p:
        t = time.perf_counter()
        step(n)
        t = time.perf_counter() - t
    ms = dict.fromkeys(TERMS, 0.)
    for o in p.key_averages():
        term = next(k for k, names in TERMS.items() if any(name in o.key for name in names))
        ms[term] += o.self_cpu_time_total/n/1e3
    return ms | {'Python and fastai': max(0., t/n*1e3 - sum(ms.values()))}


def both_ways(layer, x):
    "A function that passes `x` through a layer, and its gradient back"
    def f(): layer(x).sum().backward()
    return f


def layers(net, rows):
    "Each convolution alone, on inputs of a step's size: GFLOP and GFLOP/s, both ways"
    from torch import nn
    seen = {}

    def note(name):
        def hook(m, args, out): seen[name] = m, args[0].detach()
        return hook
    of = {k: m for k, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))}
    hooks = [m.register_forward_hook(note(k)) for k, m in of.items()]
    mu, _ = net.enc(rows)
    net.gen(mu)
    for o in hooks: o.remove()
    found = {}
    for name, (m, x) in seen.items():
        f = both_ways(m, x.requires_grad_(not name.startswith('enc.trunk.0')))  # images need none
        work, t = flops(lambda n, f=f: f()), min(in_turns({name: f}, 9)[name])
        found[name] = dict(shape=f'{m.in_channels}-{m.out_channels}, {tuple(x.shape[2:])}',
                           gflop=round(work/1e9, 3), gflop_s=round(work/t/1e9, 1))
    return found


def traffic(step):
    "Bytes that the operations of one step read and write"
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Count(TorchDispatchMode):
        n = 0
        def __torch_dispatch__(self, f, types, args=(), kwargs=None):
            out = f(*args, **(kwargs or {}))
            if not f.is_view:
                seen = tree_leaves((args, kwargs, out))
                self.n += sum(o.numel()*o.element_size() for o in seen
                              if isinstance(o, torch.Tensor))
            return out
    with Count() as c: step(1)
    return c.n


def main():
    a = arguments(__doc__)
    from asal_nb.game.callbacks import ChannelsLast, Compile
    n, rounds = (2, 3) if a.quick else (10, 7)
    data = some_data()
    pool = some_pool(data)
    same_loss(data, pool)
    forms = dict(naive=naive(data, pool))
    for half in (False, True):
        for fresh in (True, False):
            name = ('paper order' if fresh else 'codes reused') + ', bf16'*half
            forms[name], learn = ours(data, pool, half, fresh=fresh)
    forms['paper order, channels last'], _ = ours(data, pool, cbs=[ChannelsLast()])
    forms['paper order, compiled'], _ = ours(data, pool, cbs=[Compile()])
    work = {k: flops(f) for k, f in forms.items()}
    s = in_turns({k: (lambda f=f: f(n)) for k, f in forms.items()}, rounds)
    peaks = {k: conv_peak(k) for k in ('float32', 'bfloat16')}
    found = {}
    for k, t in medians(s).items():
        peak = peaks['bfloat16' if 'bf16' in k else 'float32']
        found[k] = dict(samples_s=round(2*BS*n/t), ratio=round(ratio(s, 'naive', k), 2),
                        gflop=round(work[k]/1e9, 2), of_peak=round(work[k]*n/t/peak, 2))
    print(table([[k, *o.values()] for k, o in found.items()],
                ['form', 'samples/s', 'ratio', 'GFLOP', 'of conv peak']))
    peaks = {k: round(v/1e9) for k, v in peaks.items()}
    print("a 3x3 convolution's peak, GFLOP/s:", peaks)
    spent = {k: terms(forms[k], n) for k in ('paper order', 'paper order, bf16')}
    print(table([[k, *(o[k] for o in spent.values())] for k in [*TERMS, 'Python and fastai']],
                ['ms a step', *spent]))
    alone = layers(learn.model, data.images(range(3*BS)))
    print(table([[k, *o.values()] for k, o in alone.items()],
                ['layer alone', 'channels, pixels', 'GFLOP', 'GFLOP/s']))
    moved = dict(bytes=traffic(forms['paper order']), at_best=round(bandwidth()))
    print('memory: {bytes:.3g} bytes a step, at most {at_best:.3g} a second'.format(**moved))
    keep('step', dict(forms=found, peaks=peaks, terms=spent, layers=alone, memory=moved,
                      rounds=rounds, steps=n, machine=machine('torchvision', 'fastai')), a.quick)


if __name__ == '__main__': main()
