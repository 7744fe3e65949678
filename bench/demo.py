"The main job, on digits from 20 labels: ASAL, random with the same training, random with supervised training."
import argparse
import os
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # small networks: one thread a job, two jobs at once

ROOT = Path(__file__).parent.parent


def arms():
    from asal_nb.loop import ASAL, Random
    return {'ASAL': ASAL(), 'random, same training': Random(train='asal'), 'random, supervised': Random(),
            'ASAL.paper()': ASAL.paper()}


def one_seed(seed, names, b):
    "Each arm's accuracies with this seed and its own test rows; the warm-up and the first rows are shared."
    from asal_nb.images import get_data
    from asal_nb.ledger import Ledger
    from asal_nb.loop import ActiveLearning
    ledger, out = Ledger(None), {}
    for name in names:
        data, method = get_data('digits', split=100 + seed), arms()[name]
        kw = dict(n_first=20, seed=seed, ledger=ledger, name=name, n_threads=1, quiet=True)
        al = ActiveLearning(data, method, b, **kw).run()
        out[name] = list(al.results.n_labelled), list(al.results.accuracy)
    return out


def run(names, seeds, b=(40, 140), n_jobs=2):
    "All seeds on `n_jobs` processes under a bar: arm -> n_labelled and accuracies, a row a seed."
    from asal_nb.core import bar
    from joblib import Parallel, delayed
    whole = len(seeds) // n_jobs * n_jobs  # the seeds left over are shared out arm by arm, so that no process idles
    parts = [(s, names) for s in seeds[:whole]] + [(s, [k]) for s in seeds[whole:] for k in names]
    jobs = Parallel(n_jobs, return_as='generator')(delayed(one_seed)(s, ks, list(b)) for s, ks in parts)
    res = {}
    for (s, _), o in zip(parts, bar(jobs, total=len(parts))): res.setdefault(s, {}).update(o)
    n = [int(o) for o in res[seeds[0]][names[0]][0]]
    return {k: dict(n_labelled=n, accuracy=[res[s][k][1] for s in seeds]) for k in names}


def interval(acc):
    "Mean over seeds and half of its 95 % t-interval, per column."
    import numpy as np
    from scipy import stats
    a = np.array(acc)
    half = stats.t.ppf(.975, len(a) - 1) * a.std(0, ddof=1) / len(a)**.5 if len(a) > 1 else a[0] * np.nan
    return a.mean(0), half


def table(res):
    "Means with intervals, in per cent, and the paired difference to ASAL."
    def line(name, acc, sign=''):
        return f'{name:30}' + ''.join(f'{100*m:{sign}9.1f} ± {100*h:4.1f}' for m, h in zip(*interval(acc)))
    lines = [f"{'labels':30}" + ''.join(f'{n:>16}' for n in res['ASAL']['n_labelled'])]
    lines += [line(k, r['accuracy']) for k, r in res.items()]
    for k, r in res.items():
        diff = [[a - b for a, b in zip(*rows)] for rows in zip(res['ASAL']['accuracy'], r['accuracy'])]
        if k != 'ASAL': lines.append(line(f'ASAL - {k}', diff, '+'))
    return '\n'.join(lines)


def draw(res, path):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    fig, ax = plt.subplots(figsize=(5.5, 3.5))
    for k, r in res.items():
        m, h = interval(r['accuracy'])
        ax.errorbar(r['n_labelled'], m, h, marker='o', capsize=3, label=k)
    ax.set(xlabel='labelled rows', ylabel='test accuracy', title='digits: means over seeds, 95 % t-intervals',
           xscale='log', xticks=r['n_labelled'], xticklabels=r['n_labelled'])
    ax.minorticks_off()
    ax.legend()
    fig.savefig(path, bbox_inches='tight', dpi=120)


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--seeds', type=int, default=5)
    a.add_argument('--jobs', type=int, default=2)
    a.add_argument('--paper', action='store_true', help='add the arm ASAL.paper()')
    a = a.parse_args()
    names = [k for k in arms() if a.paper or k != 'ASAL.paper()']
    print(f'{len(names)} arms x {a.seeds} seeds on digits, 20, 60 and 200 labels', flush=True)
    res = run(names, range(a.seeds), n_jobs=a.jobs)
    print(table(res))
    (ROOT/'out').mkdir(exist_ok=True)
    draw(res, ROOT/'out'/'demo.png')
    print('learning curves: out/demo.png')


if __name__ == '__main__': main()
