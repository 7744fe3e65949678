"""Fresh seeds of digits, answered from one look at an image and from five: the same networks, rows
and images, so the difference is the looks' alone.

looks.py [--seeds 100 101 ...]
Each run of `ASAL(tta=True)` is a line of bench/results/looks.jsonl and is not made twice. The table
has the mean accuracy after each round, and the difference with its 95 % interval."""
import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
KEPT = Path(__file__).parent/'results'/'looks.jsonl'
PLAN = 20, 40, 140  # first rows, then each query
SEEDS = range(100, 150)  # of splits 200-249


def lines(): return [json.loads(o) for o in KEPT.read_text().splitlines()] if KEPT.exists() else []


def one_look(learn, data):
    "Accuracy on the test images if the network of `learn` sees each image once"
    from asal_nb.game.learner import probabilities
    net = learn.model
    views, net.views = net.views, None
    p = probabilities(learn, data.x_test)
    net.views = views
    return (p.argmax(1) == data.y_test).float().mean().item()


def run(seed):
    "Accuracies after each round by five looks and by one"
    from asal_nb.apps.cli import seed_data
    from asal_nb.core import environment
    from asal_nb.loop.asal import ASAL
    from asal_nb.loop.loop import ActiveLearning
    data, start = seed_data('digits', '', 64, seed), time.process_time()
    al = ActiveLearning(
        data, ASAL(tta=True), [*PLAN[1:]], n_first=PLAN[0], seed=seed, n_threads=1, quiet=True,
        watch=lambda learn: dict(one_look=one_look(learn, data))).run()
    five, one = [al.results[o].round(4).tolist() for o in ('accuracy', 'one_look')]
    where = environment(data.device)
    return dict(seed=seed, five=five, one=one, cpu_s=round(time.process_time() - start),
                processor=where['processor'], torch=where['torch'])


def table():
    import pandas as pd
    import torch
    from asal_nb.study.statistics import t_interval
    known = lines()
    five, one = [torch.tensor([o[k] for o in known]).double().T for k in ('five', 'one')]
    mean, lo, hi = t_interval(five - one)
    t = pd.DataFrame(dict(five=five.mean(1), one=one.mean(1), gain=mean, lo=lo, hi=hi))
    return t.set_axis([20, 60, 200]).round(4).to_string()


def main():
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--seeds', type=int, nargs='*', default=[*SEEDS])
    a = a.parse_args()
    known = {o['seed'] for o in lines()}
    for seed in a.seeds:
        if seed in known: continue
        line = run(seed)
        with KEPT.open('a') as f: f.write(json.dumps(line) + '\n')
        print(line, flush=True)
    print(table())


if __name__ == '__main__': main()
