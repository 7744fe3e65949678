"The main job, on digits from 20 to 200 labels: ASAL, and random rows with either training."
import argparse
import os
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # small networks: one thread a job, two jobs at once
OUT = Path(__file__).parent.parent/'out'/'demo.png'


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--seeds', type=int, default=5)
    a.add_argument('--jobs', type=int, default=2)
    a.add_argument('--paper', action='store_true',
                   help='add the arm ASAL.paper(), and random with its training')
    a = a.parse_args()
    import matplotlib
    matplotlib.use('Agg')
    from asal_nb.loop.asal import ASAL, Random
    from asal_nb.study.compare import compare
    from asal_nb.apps.cli import seed_data
    import asal_nb.study.report  # noqa: F401, gives studies `compare_seeds`
    arms = {'ASAL': ASAL(), 'random (supervised)': Random()}
    if a.paper: arms['ASAL.paper()'] = ASAL.paper()
    data = partial(seed_data, 'digits', '', 64)
    study = compare(arms, data, range(a.seeds), b=[40, 140], n_first=20, n_jobs=a.jobs)
    print(study.table(digits=3).to_string())
    others = [o for o in study.arms if o != 'ASAL']
    for n in study.n.astype(int).tolist():
        t = study.compare_seeds('ASAL', others, on=n)
        print(f'\nwith {n} labels', t.round(3).to_string(), sep='\n')
    OUT.parent.mkdir(exist_ok=True)
    ax = study.curves()
    ax.set(xscale='log', xticks=study.n, xticklabels=study.n.astype(int),
           title='digits, 95 % t-intervals')
    ax.minorticks_off()
    ax.figure.savefig(OUT, bbox_inches='tight', dpi=120)
    print('\nlearning curves: out/demo.png')


if __name__ == '__main__': main()
