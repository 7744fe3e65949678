"""Attempts at a recipe, on tuning rows only: how good is a training at so many random labels?

recipe.py NAME [--data fashion_mnist] [--train asal] [--set alpha1=.003,n_steps=800] [--labels 500] [--seeds 3]
Each attempt is a line of bench/results/recipe.jsonl and is not made twice. Without NAME: the table."""
import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
KEPT = Path(__file__).parent/'results'/'recipe.jsonl'
HELD = {'digits': 400, 'fashion_mnist': 5000}  # tuning rows that take the test set's place


def lines(): return [json.loads(o) for o in KEPT.read_text().splitlines()] if KEPT.exists() else []


def attempt(data, train, switches, n, seed):
    "Accuracy on tuning rows of one training with `n` labels at random, which are among those of any larger n."
    import torch
    from asal_nb.core import rng
    from asal_nb.images import get_data
    from asal_nb.loop import ASAL, Supervised, evaluate_on, probabilities
    from asal_nb.pool import Pool
    torch.set_num_threads(1)
    whole = get_data(data, split=seed % 5) if data == 'digits' else get_data(data)
    d = whole.tuning(HELD[data], seed)
    rows = torch.randperm(len(d), generator=rng(seed, 'labels'))[:n]
    pool = Pool(len(d), d.n_classes)
    pool.label(rows, d.oracle(rows))
    method = {'asal': ASAL, 'paper': ASAL.paper, 'supervised': Supervised}[train](**switches)
    start = time.process_time()
    learn = method.fit(d.blind(), pool, method.warm_up(d.blind(), seed), seed)
    spent = time.process_time() - start
    return evaluate_on(probabilities(learn, d.x_test), d.y_test, d.classes)['accuracy'], spent


def table():
    "A line an attempt: accuracy by number of labels, mean over seeds."
    import pandas as pd
    t = pd.DataFrame(lines())
    t['what'] = t.train + ' ' + t.switches
    show = t.pivot_table(index=['data', 'name', 'what'], columns='labels', values='accuracy', aggfunc=['mean', 'count'])
    return show.round(4).to_string()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('name', nargs='?')
    a.add_argument('--data', default='fashion_mnist', choices=HELD)
    a.add_argument('--train', default='asal', choices=['asal', 'paper', 'supervised'])
    a.add_argument('--set', default='')
    a.add_argument('--labels', type=int, nargs='+', default=[500])
    a.add_argument('--seeds', type=int, default=3)
    a = a.parse_args()
    if not a.name: return print(table() if lines() else 'no attempts yet')
    from asal_nb.cli import switches
    for seed in range(a.seeds):
        for n in a.labels:
            key = dict(data=a.data, name=a.name, train=a.train, switches=a.set, labels=n, seed=seed)
            if any(key.items() <= o.items() for o in lines()): continue
            acc, spent = attempt(a.data, a.train, switches(a.set), n, seed)
            with KEPT.open('a') as f: f.write(json.dumps(key | dict(accuracy=round(acc, 4), cpu_s=round(spent))) + '\n')
            print(a.name, n, seed, f'{acc:.4f}', f'{spent:.0f} s', flush=True)


if __name__ == '__main__': main()
