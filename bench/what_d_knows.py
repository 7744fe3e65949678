"""What three kinds of D know beyond the margin of C, on digits: does the score tell labelled rows
from unlabelled ones of like margin, and does it say where C errs? A JSON line for each seed and
number of labels is added to bench/results/what_d_knows.jsonl; lines that are there are not made
again.

- pi: D fitted without a game, on the codes of the warm-up, each row by a D that has not seen it
- trained: the D of `ASAL()`, which has seen the labelled rows
- cover: the largest similarity to another labelled row, on the codes of the warm-up

The true classes of the pool are read for this page alone."""
import json
import _measure as m

FIRST, THEN = 20, 40
OUT = m.HERE/'results'/'what_d_knows.jsonl'


def pi(z, is_L, seed):
    "Logits of D on frozen codes, each half of either pool by a D fitted to the other half"
    import torch
    from asal_nb.ask.sampler import tie_key
    from asal_nb.core import rng, seeded
    from asal_nb.game.asking import fit_dsc
    from asal_nb.game.networks import Discriminator
    rank, d = torch.zeros(len(z)).long(), z.new_zeros(len(z))
    for pool in (is_L, ~is_L):                           # as many of L in one half as in the other
        rows = pool.nonzero()[:, 0]
        rank[rows[tie_key(rows, seed).argsort()]] = torch.arange(len(rows))
    z = (z - z.mean(0))/z.std(0).clamp_min(1e-6)
    for k in (0, 1):
        there, here = rank % 2 != k, rank % 2 == k
        with seeded(seed, 'pi', k): dsc = Discriminator(z.shape[1])
        L, U = z[there & is_L], z[there & ~is_L]
        fit_dsc(dsc, L, U, z.new_zeros(len(U)), rng(seed, 'pi', k), 300)
        with torch.no_grad(): d[here] = dsc(z[here])
    return d


def nearest(z, is_L):
    "Similarity to the nearest labelled row, of a labelled row to another one"
    from asal_nb.ask.cover import kernel_width, similarity
    x = (z - z.mean(0))/(2**.5*kernel_width(z))
    k = similarity(x, x[is_L])
    own = is_L.nonzero()[:, 0]
    k[own, range(len(own))] = 0
    return k.amax(1)


def known(learn, data, pool, seed):
    "For each D: AUC of L against U, the same given the margin, and the deviance it takes off"
    import torch
    from asal_nb.game.asking import auc_given, deviance_given, warm_mu
    from asal_nb.game.learner import probabilities
    from asal_nb.paper.adversarial import auc, margin
    rows = torch.arange(len(data))
    is_L, z = pool.y >= 0, warm_mu(learn, rows)
    p = probabilities(learn, data.x)
    m, U = margin(p), (~is_L)
    wrong = p.argmax(1)[U] != data.oracle(rows[U])
    out = dict(n_labelled=int(is_L.sum()), n_wrong=int(wrong.sum()))
    for name, d in dict(pi=pi(z, is_L, seed), trained=learn.scores(rows),
                        cover=nearest(z, is_L)).items():
        without, with_ = deviance_given(d[U], wrong, m[U])
        out[name] = dict(auc=auc(d[is_L], d[U]), auc_given=auc_given(d, is_L, m),
                         deviance=without, gained=without - with_)
    return out


def rounds(seed, n_warm, n_steps):
    "The two lines of a seed: with the first labels, and after one query"
    from asal_nb.apps.cli import seed_data
    from asal_nb.ask.coldstart import first_rows
    from asal_nb.core import silent
    from asal_nb.data.pool import Pool
    from asal_nb.loop.asal import ASAL, warm_codes
    data = seed_data('digits', '', 64, seed)
    how, pool = ASAL(n_warm=n_warm, n_steps=n_steps), Pool(len(data), data.n_classes)
    with silent():
        rows = first_rows(warm_codes(data, seed, n_warm), FIRST, seed=seed)
        for r in (0, 1):
            pool.label(rows, data.oracle(rows))
            learn = how.fit(data.blind(), pool, how.warm_up(data, seed), seed)
            yield known(learn, data, pool, seed)
            if not r: rows = learn.ask(THEN, how.ask, seed)


def main():
    a = m.arguments(__doc__.splitlines()[0], seeds=10, first_seed=0)
    steps = dict(n_warm=20, n_steps=20) if a.quick else dict(n_warm=1200, n_steps=None)
    have = set()
    if OUT.exists() and not a.quick:
        have = {json.loads(o)['seed'] for o in OUT.read_text().splitlines()}
    for seed in range(a.first_seed, a.first_seed + (1 if a.quick else a.seeds)):
        if seed in have: continue
        lines = [json.dumps(dict(seed=seed, **steps, **o)) for o in rounds(seed, **steps)]
        if a.quick: print('\n'.join(lines))
        else:
            with OUT.open('a') as f: f.write('\n'.join(lines) + '\n')  # both lines or none
            print('.', end='', flush=True)


if __name__ == '__main__': main()
