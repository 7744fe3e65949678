"""Each way of asking beside scikit-activeml's, on the same features: time in turns on one thread,
peak memory each in a fork of its own. And `cover`, which it lacks: 500 of 60,000 rows of 32-d codes
on two threads."""
import itertools
import time
import _measure as m

B, L, C, NZ = 100, 20, 10, 64
SIZES = (5_000, 20_000, 60_000)
RULES = ('core-set', 'TypiClust', 'ProbCover', 'BADGE', 'margin', 'entropy')
TOO_LARGE = {('ProbCover', 60_000): 'n by n distances: 29 GB'}


def features(n, seed=0):
    "Codes of ten clouds that overlap, and C's probabilities; the first rows are labelled"
    import torch
    g = torch.Generator().manual_seed(seed)
    centre = torch.randn(C, NZ, generator=g)
    z = centre[torch.arange(n) % C] + .5*torch.randn(n, NZ, generator=g)
    return z, (z @ centre.T/8 + torch.randn(n, C, generator=g)).softmax(1)


def ours(rule, n, device='cpu'):
    "The rule as our method of that name runs it, a function of the seed"
    import torch
    from functools import partial
    from asal_nb.paper.adversarial import entropy, margin
    from asal_nb.ask.sampler import ask_rows
    from asal_nb.ask.coldstart import kcenter, probcover, typiclust
    from asal_nb.methods.geometry import keyed
    from asal_nb.methods.badge import badge
    z, p = [o.to(device) for o in features(n)]
    rows, U = torch.arange(n, device=device), torch.arange(L, n, device=device)
    if rule == 'core-set': return lambda seed=0: keyed(kcenter, z, rows, rows[:L], B, seed).tolist()
    how = {'TypiClust': typiclust, 'ProbCover': probcover}.get(rule)
    if how:
        return lambda seed=0: keyed(partial(how, seed=seed), z, rows, rows[:L], B, seed).tolist()
    if rule == 'BADGE': return lambda seed=0: badge(z[L:], p[L:], U, B, seed).tolist()
    score = {'margin': margin, 'entropy': lambda p: -entropy(p)}[rule]
    return lambda seed=0: ask_rows(score(p[L:]), U, B, seed).tolist()


def theirs(rule, n):
    "scikit-activeml's, with C's probabilities from the same table, a function of the seed"
    import warnings
    import numpy as np
    from skactiveml import pool
    from skactiveml.base import SkactivemlClassifier
    warnings.filterwarnings('ignore')
    z, p = (o.numpy() for o in features(n))

    class Table(SkactivemlClassifier):
        "Says what the table has for the unlabelled rows, which are the last"
        def __init__(self, classes=None, missing_label=np.nan, cost_matrix=None, random_state=None):
            super().__init__(classes, missing_label, cost_matrix, random_state)
        def fit(self, X, y, sample_weight=None): return self
        def predict_proba(self, X): return p[-len(X):]
    clf = Table(list(range(C)))
    clf.classes_, clf.cost_matrix_ = np.arange(C), 1 - np.eye(C)
    y = np.where(np.arange(n) < L, np.arange(n) % C, np.nan)
    plain = {'core-set': pool.CoreSet, 'TypiClust': pool.TypiClust, 'ProbCover': pool.ProbCover}
    kw = dict(n_classes=C) if rule == 'ProbCover' else {}
    if rule in plain:
        def plain_query(seed=0):
            return plain[rule](random_state=seed, **kw).query(z, y, batch_size=B).tolist()
        return plain_query
    method = dict(margin='margin_sampling', entropy='entropy').get(rule)

    def query(seed=0):
        if method: how = pool.UncertaintySampling(method, random_state=seed)
        else: how = pool.Badge(random_state=seed)
        return [int(i) for i in how.query(z, y, clf, fit_clf=False, batch_size=B)]
    return query


def cover_rows(b, n, nz):
    "Asks for b of n rows in doubt, 100 of them labelled, as a function without arguments"
    import torch
    from asal_nb.ask.cover import cover
    g = torch.Generator().manual_seed(0)
    z = torch.randn(C, nz, generator=g)[torch.arange(n) % C] + .5*torch.randn(n, nz, generator=g)
    doubt = torch.rand(n, generator=g)
    return lambda: cover(z, b, range(100), doubt).tolist()


def measure_cover(threads=2, **how):
    "Wall and processor seconds, and MiB above imports and codes, in a child on so many threads"
    run = m.in_child('asking', 'timed_cover', threads=threads, **how)
    return dict(rule='cover', threads=threads, **how, **run.pop('out'), **run)


def timed_cover(threads, **how):
    "`cover_rows` on so many threads, which says how long it took"
    m.use_threads(threads)
    f = cover_rows(**how)
    def timed():
        t = time.perf_counter()
        f()
        return dict(wall=time.perf_counter() - t)
    return timed


def by_seed(f):
    "f with the next seed at each call, as k-means takes longer from some starts than from others"
    seeds = itertools.count()
    return lambda: f(next(seeds))


def compare(rule, n, repeats):
    "Medians, their ratio, the share of rows that both ask for, and peak memory"
    fits = (rule, n) not in TOO_LARGE
    sides = dict(ours=ours, theirs=theirs) if fits else dict(ours=ours)
    memory = {k: m.forked(f, rule=rule, n=n) for k, f in sides.items()}
    # once will do where theirs takes half a minute
    s = {k: [v['seconds']] for k, v in memory.items()}
    if rule != 'ProbCover' or n < 10_000:
        calls = {k: by_seed(f(rule, n)) for k, f in sides.items()}
        s = m.in_turns(calls, repeats, clock=time.process_time)
    found = dict(rule=rule, n=n, seconds=m.medians(s), repeats=len(s['ours']),
                 ratio=m.ratio(s, 'theirs', 'ours') if fits else None)
    for what in ('peak', 'above'): found[what] = {k: v[what] for k, v in memory.items()}
    if fits: found['same rows'] = len({*memory['ours']['out']} & {*memory['theirs']['out']})
    else: found['left out'] = TOO_LARGE[rule, n]
    return found


def main():
    a = m.arguments(__doc__, repeats=5)
    sizes, found = (SIZES[:1] if a.quick else SIZES), []
    for rule in RULES:
        ours(rule, 500)(), theirs(rule, 500)()           # imports, before the first fork
    for n in sizes:
        for rule in RULES:
            found.append(compare(rule, n, 1 if a.quick else a.repeats))
            kept = dict(b=B, labelled=L, nz=NZ, clock='process_time', found=found,
                        machine=m.machine('scikit-activeml', 'scikit-learn'))
            m.keep('asking', kept, a.quick)
            print('.', end='', flush=True)
    one = measure_cover(b=500, n=6_000 if a.quick else 60_000, nz=32)
    m.keep('asking', dict(kept, cover=one), a.quick)
    print(f'\n{B} rows of n x {NZ} features, {L} of them labelled; processor seconds on {a.threads}'
          ' thread, medians;\nMiB at most, and above the features and imports')
    heads = ['rule', 'n', 'ours, s', 'theirs, s', 'ratio', 'ours, MiB', 'theirs', 'ours above',
             'theirs above', 'same']
    print(m.table(map(as_line, found), heads))
    print('cover, {b} of {n} x {nz} on {threads} threads: {wall:.1f} s, processor {seconds:.1f} s,'
          ' {above} MiB above'.format(**one))


def as_line(r):
    "What was found of a rule, in the order of the table's heads"
    def both(what): return map(r[what].get, ('ours', 'theirs'))
    return [r['rule'], r['n'], *both('seconds'), r['ratio'], *both('peak'), *both('above'),
            r.get('same rows')]


if __name__ == '__main__': main()
