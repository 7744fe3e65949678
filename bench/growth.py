"""How time and memory of each way of asking grow from 10,000 to a million rows of 64-d codes, on
one thread; core-set beside the time it takes to read the codes once for each row asked. And what
a whole run on a million vectors holds: data, labels, training, and a query by each method."""
import time
import _measure as m

SIZES, BUDGETS, NZ, L = (10_000, 100_000, 1_000_000), (100, 1_000), 64, 100
RULES = ('core-set', 'core-set, plane', 'margin', 'diverse', 'cover', 'TypiClust', 'BADGE',
         'k-means', 'ProbCover')
QUADRATIC = dict.fromkeys(['TypiClust', 'ProbCover'],
                          'exact and quadratic to 60,000 rows, on 60,000 above')


DIMS = 32


def methods():
    "Every rule that asks, after a training that is short, by name"
    import asal_nb.all as nb
    from asal_nb.game.asking import ASK
    from asal_nb.methods.learning_loss import LossTrainer
    task, few, game = nb.Supervised(n_steps=20), dict(n_steps=20), dict(n_warm=20, n_steps=20)
    rank = LossTrainer('ranknet', n_steps=20)
    def made(*names, **kw): return {k: getattr(nb, k)(task, **kw) for k in names}
    own = made('Random', 'LeastConfidence', 'Margin', 'Entropy', 'CoreSet', 'KMeans', 'BADGE')
    own |= made('TypiClust', 'ProbCover', 'MaxHerding', n_warm=20)
    own |= made('UncertaintyHerding', n_warm=20, n_short=10) | made('DiscriminativeAL')
    own |= {'Margin, diverse': nb.Margin(task, diverse=True),
            'BALD': nb.BALD(nb.Supervised(n_steps=20, p_drop=.25), n_masks=4)}
    own |= {f'ASAL, {k}': nb.ASAL(ask=k, **game) for k in ASK}
    own |= made('VAAL', 'SRAAL', **few) | {k: getattr(nb, k)(**few) for k in ('ARAL', 'DGAAL')}
    return own | {'LearningLoss': nb.LearningLoss(**few), 'TAVAAL': nb.TAVAAL(rank, **few)}


def a_run(method, n):
    "A run of one query on n vectors, as a function without arguments; the data are its own"
    import torch
    import asal_nb.all as nb

    def run(n=n):
        x = torch.rand(n, DIMS, generator=torch.Generator().manual_seed(0))
        data = nb.ImageData.from_arrays(x, torch.arange(n) % 10, x[:500], torch.arange(500) % 10,
                                        copy=False, name='vectors')
        plan = dict(b=100, rounds=1, n_first=100, first='random', quiet=True)
        nb.ActiveLearning(data, methods()[method], **plan).run()
    run(2_000)                                            # the libraries' own pages are not counted
    return run


def measure_run(method, sizes):
    "Seconds, exponent, MiB above the imports, and how many times the data that is, at each size"
    out = [m.forked(a_run, method=method, n=n) for n in sizes]
    if bad := [o for o in out if 'error' in o]: return dict(method=method, **bad[0])
    found = dict(method=method, sizes=sizes, data=[n*DIMS*4/2**20 for n in sizes])
    for k in ('seconds', 'peak', 'above'): found[k] = [o[k] for o in out]
    found['exponent'] = m.exponent(sizes, found['seconds'])
    found['times the data'] = [a/d for a, d in zip(found['above'], found['data'])]
    return found


def codes(n, plane=False):
    "Ten clouds that overlap; or a plane in the 64 dimensions, where few rows are near to all"
    import torch
    g = torch.Generator().manual_seed(0)
    if plane: return torch.randn(n, 2, generator=g) @ torch.randn(2, NZ, generator=g)
    z = torch.randn(10, NZ, generator=g)[torch.arange(n) % 10]
    return z.add_(torch.randn(n, NZ, generator=g), alpha=.5)


def ask(rule, b, n):
    "The rule on n codes, as a function without arguments"
    import torch
    from asal_nb.paper.adversarial import margin
    from asal_nb.ask.sampler import ask_rows, diverse
    from asal_nb.ask.coldstart import first_rows, kcenter
    from asal_nb.ask.cover import cover
    z, rows = codes(n, 'plane' in rule), torch.arange(n)
    if 'core-set' in rule: return lambda: kcenter(z, b)
    if rule in ('k-means', 'TypiClust', 'ProbCover'):
        return lambda: first_rows(z, b, rule.lower().replace('-', ''))
    if rule == 'diverse': return lambda: diverse(z[:, 0], z, rows, b)
    p = (2*z[:, :10]).softmax(1)
    if rule == 'margin': return lambda: ask_rows(margin(p), rows, b)
    if rule == 'cover': return lambda: cover(z, b, range(L), 1 - margin(p))
    from asal_nb.methods.badge import badge
    return lambda: badge(z, p, rows, b)


def measure(rule, b, sizes):
    "Seconds and MiB at each size, in forks, the exponent, and for core-set reads of all codes"
    def reads(): return m.bandwidth(256, clock=time.process_time)
    speed, out = reads(), [m.forked(ask, rule=rule, b=b, n=n) for n in sizes]
    if bad := [o for o in out if 'error' in o]: return dict(rule=rule, b=b, **bad[0])
    found = dict(rule=rule, b=b, sizes=sizes)
    for k in ('seconds', 'peak', 'above'): found[k] = [o[k] for o in out]
    found['exponent'] = m.exponent(sizes, found['seconds'])
    if rule in QUADRATIC: found['note'] = QUADRATIC[rule]
    if 'core-set' in rule:
        found['bandwidth'] = (speed + reads())/2
        once = [n*NZ*4/found['bandwidth'] for n in sizes]
        found['per reading'] = [s/(b*o) for s, o in zip(found['seconds'], once)]
    return found


def main():
    a = m.arguments(__doc__, parts='runs,rules')
    sizes = [2_000, 10_000, 50_000] if a.quick else list(SIZES)
    if 'runs' in a.parts: all_runs(sizes, a.quick)
    if 'rules' in a.parts: all_rules(sizes, a.quick, a.threads)


def all_runs(sizes, quick):
    "Whole runs by each method"
    import asal_nb.all                       # noqa: F401  before the first fork
    found = []
    for o in methods():
        found.append(measure_run(o, sizes))
        print('.', end='', flush=True)
        m.keep('pools', dict(dims=DIMS, runs=found, machine=m.machine()), quick)
    print(f'\nwhole runs on {DIMS}-d vectors, one query: processor seconds; for {sizes[-1]:,} rows'
          f' MiB above the imports, and times the {sizes[-1]*DIMS*4 >> 20} MiB of the data')
    def last(o, k): return o.get(k, [None])[-1]
    rows = [[o['method'], *o.get('seconds', ()), o.get('exponent'), last(o, 'above'),
             last(o, 'times the data')] for o in found]
    print(m.table(rows, ['method', *[f'{n:,}' for n in sizes], 'exponent', 'MiB', 'times']))


def all_rules(sizes, quick, threads):
    "Each rule on codes"
    found = []
    for rule in RULES:
        ask(rule, 10, 2_000)()                            # imports, before the first fork
    for rule in RULES:
        for b in BUDGETS[:1] if quick else BUDGETS:
            found.append(measure(rule, b, sizes))
            print('.', end='', flush=True)
            kept = dict(nz=NZ, clock='process_time', found=found, machine=m.machine('scikit-learn'))
            m.keep('growth', kept, quick)
    print(f'\nprocessor seconds on {threads} thread, exponent; for {sizes[-1]:,} rows MiB at'
          f' most, imports and {sizes[-1]*NZ*4 >> 20} of codes among them, and times that b reads'
          ' of the codes would take')
    heads = 'rule', 'b', *[f'{n:,}' for n in sizes], 'exponent', 'MiB', 'readings'
    print(m.table(map(as_line, found), heads))


def as_line(r):
    "What was found of a rule, in the order of the table's heads"
    last = [r.get(k, [None])[-1] for k in ('peak', 'per reading')]
    return [r['rule'], r['b'], *r.get('seconds', ()), r.get('exponent'), *last]


if __name__ == '__main__': main()
