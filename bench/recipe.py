"""Attempts at a recipe, on tuning rows only: a whole run of some method, and its accuracies.

recipe.py NAME [--data fashion_mnist] [--method asal] [--train asal] [--set alpha1=.003,n_steps=800]
               [--plan 100 400 500] [--seeds 0 1 2] [--device cuda]
Each run is a line of bench/results/recipe.jsonl and is not made twice. Without NAME: the table."""
import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
KEPT = Path(__file__).parent/'results'/'recipe.jsonl'
# tuning rows that take the test set's place
HELD = {'digits': 400, 'fashion_mnist': 5000}
PLAN = {'digits': [20, 40, 140], 'fashion_mnist': [100, 400, 500]}  # first rows, then each query


def lines(): return [json.loads(o) for o in KEPT.read_text().splitlines()] if KEPT.exists() else []


def shown_accuracy(p, y):
    "Accuracy, printed at once: a run takes minutes, and may be cut off."
    acc = (p.argmax(1) == y).float().mean().item()
    print(f'{acc:.4f}', end=' ', flush=True)
    return acc


def attempt(data, method, train, switches, plan, seed, device='cpu'):
    "Accuracies on tuning rows after each round of a run, and the seconds of CPU it took."
    import torch
    from asal_nb.data.images import get_data
    from asal_nb.loop.loop import ActiveLearning
    from asal_nb.methods.table import method_of
    torch.set_num_threads(1)
    d = get_data(data, split=seed % 5) if data == 'digits' else get_data(data)
    d = d.tuning(HELD[data], seed).to(device)
    first = 'random' if method == 'random' else 'typiclust'
    start = time.process_time()
    m = method_of(method, train or None, **switches)
    al = ActiveLearning(d, m, plan[1:], n_first=plan[0], first=first, seed=seed, quiet=True,
                        metrics=dict(told=shown_accuracy))
    al.run()
    return [round(o, 4) for o in al.results.accuracy], round(time.process_time() - start)


def table():
    "A line a name: mean accuracy after each round, over how many seeds, and CPU seconds a run."
    import pandas as pd
    t = pd.DataFrame(lines())
    device = t.device.fillna('') if 'device' in t else ''
    t['what'] = t.method + ' ' + t.train + ' ' + t.switches + ' ' + device
    acc = pd.DataFrame([dict(enumerate(o)) for o in t.accuracy], index=t.index).add_prefix('round ')
    keys = ['data', 'name', 'what']
    by = pd.concat([t[[*keys, 'cpu_s']], acc], axis=1).groupby(keys, sort=False)
    return by.mean().round(4).assign(seeds=by.size()).to_string()


def main():
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('name', nargs='?')
    a.add_argument('--data', default='fashion_mnist', choices=HELD)
    a.add_argument('--method', default='asal')
    a.add_argument('--train', default='')
    a.add_argument('--set', default='')
    a.add_argument('--plan', type=int, nargs='+')
    a.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    a.add_argument('--device', default='cpu')
    a = a.parse_args()
    if not a.name: return print(table() if lines() else 'no attempts yet')
    from asal_nb.apps.cli import switches
    for seed in a.seeds:
        how = dict(data=a.data, name=a.name, method=a.method, train=a.train, switches=a.set)
        if a.device != 'cpu': how['device'] = a.device
        key = how | dict(plan=a.plan or PLAN[a.data], seed=seed)
        if any(key.items() <= o.items() for o in lines()): continue
        settings = a.method, a.train, switches(a.set)
        acc, spent = attempt(a.data, *settings, key['plan'], seed, a.device)
        with KEPT.open('a') as f: f.write(json.dumps(key | dict(accuracy=acc, cpu_s=spent)) + '\n')
        print(a.name, seed, acc, f'{spent} s', flush=True)


if __name__ == '__main__': main()
