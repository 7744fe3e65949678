"""Which share of scoring a pool of 60,000 images is spent inside the networks: the clock runs on
their doorstep while the scores are taken, on one thread."""
import contextlib
import statistics
import time
import _measure as m

N, L, B = 60_000, 100, 100


@contextlib.contextmanager
def doorstep(*nets):
    "In the block the seconds of calls of `nets` add up in a list; calls within calls count once"
    inside, since, hooks = [0.], [], []
    def enter(net, x): since.append(time.process_time())
    def leave(net, x, out):
        t = since.pop()
        if not since: inside[0] += time.process_time() - t
    for net in nets:
        hooks += [net.register_forward_pre_hook(enter), net.register_forward_hook(leave)]
    try: yield inside
    finally:
        for h in hooks: h.remove()


def learners(n, device='cpu'):
    "One of either kind, untrained, on n random images of bytes"
    import torch
    from asal_nb.data.pool import Pool
    from asal_nb.data.images import ImageData
    from asal_nb.data.loaders import asal_dls
    from asal_nb.game.learner import asal_learner, supervised_learner
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=g)
    y = torch.arange(n) % 10
    data = ImageData.from_arrays(x, y, x[:100], y[:100]).to(device)
    pool = Pool(n, 10)
    pool.label(torch.arange(L), data.oracle(torch.arange(L)))
    return data, pool, asal_learner(asal_dls(data, pool)), supervised_learner(asal_dls(data, pool))


def ways(n):
    "Name -> what is called, and the networks it calls"
    from asal_nb.game.learner import probabilities
    from asal_nb.methods.uncertainty import Margin
    data, pool, game, plain = learners(n)
    rows, nets = pool.idx_U, [game.model.enc, game.model.clf, game.dsc]
    return {'learn.scores(rows)': (lambda: game.scores(rows), nets),
            "learn.ask(b, 'min')": (lambda: game.ask(B, 'min'), nets),
            'learn.ask(b)': (lambda: game.ask(B), nets),
            'probabilities(learn, x)': (lambda: probabilities(plain, data.x), [plain.model]),
            'Margin().query': (lambda: Margin().query(plain, data, pool, B, 0), [plain.model])}


def share(f, nets):
    "Seconds of one call of f, and which share of them the networks had"
    with doorstep(*nets) as inside:
        t = time.process_time()
        f()
        t = time.process_time() - t
    return t, inside[0]/t


def main():
    a = m.arguments(__doc__, repeats=5, n=N)
    n = 2_000 if a.quick else a.n
    calls, found = ways(n), {}
    for _ in range(a.repeats):
        for k, (f, nets) in calls.items(): found.setdefault(k, []).append(share(f, nets))
    mid = {k: list(map(statistics.median, zip(*v))) for k, v in found.items()}
    print(f'{n} images of 28 x 28 bytes, {a.threads} thread, medians of {a.repeats}')
    rows = [(k, t, f'{100*s:.1f} %') for k, (t, s) in mid.items()]
    print(m.table(rows, ('call', 'seconds', 'in the networks')))
    found = {k: dict(seconds=t, share=s) for k, (t, s) in mid.items()}
    m.keep('scoring', dict(n=n, b=B, repeats=a.repeats, clock='process_time',
                           machine=m.machine('fastai'), found=found), a.quick)


if __name__ == '__main__': main()
