"""The main job, on digits from 20 to 200 labels: ASAL, and random rows with either training.

In half a minute there is out/first.png: the digits that are labelled first. At the end there are a
table, and the learning curves in out/demo.png. Three seeds keep it short, and are too few for a
verdict: --seeds 10 takes three times as long."""
import argparse
import os
import warnings
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # small networks: one thread a job, two jobs at once
OUT = Path(__file__).parent.parent/'out'
N_FIRST = 20


def show_first(data):
    "Chooses the first digits to label, without a label, and draws them"
    from asal_nb.ask.coldstart import first_rows
    from asal_nb.data.views import show_items
    from asal_nb.loop.asal import warm_codes
    rows = first_rows(warm_codes(data, 0), N_FIRST)
    shown = data.oracle(rows)
    axs = show_items(data.images(rows), [data.classes[o] for o in shown], nrows=2)
    axs[0].figure.savefig(OUT/'first.png', dpi=120)
    print(f'the {N_FIRST} digits to label first, chosen without labels: out/first.png\n'
          f'they have {len(shown.unique())} of the {data.n_classes} classes', flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--seeds', type=int, default=3)
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
    OUT.mkdir(exist_ok=True)
    data = partial(seed_data, 'digits', '', 64)
    show_first(data(0))
    arms = {'ASAL': ASAL(), 'random (supervised)': Random()}
    if a.paper: arms['ASAL.paper()'] = ASAL.paper()
    few = ', too few for a verdict (the pages have ten and fifty)' if a.seeds < 5 else ''
    print(f'now {a.seeds} runs of each arm{few}', flush=True)
    warnings.filterwarnings('ignore', '.*so few can mislead')  # it was just said
    study = compare(arms, data, range(a.seeds), b=[40, 140], n_first=N_FIRST, n_jobs=a.jobs)
    print(study.table(digits=3).to_string())
    others = [o for o in study.arms if o != 'ASAL']
    for n in study.n.astype(int).tolist():
        t = study.compare_seeds('ASAL', others, on=n)
        print(f'\nwith {n} labels', t.round(3).to_string(), sep='\n')
    ax = study.curves()
    ax.set(xscale='log', xticks=study.n, xticklabels=study.n.astype(int),
           title='digits, 95 % t-intervals')
    ax.minorticks_off()
    ax.figure.savefig(OUT/'demo.png', bbox_inches='tight', dpi=120)
    print('\nlearning curves: out/demo.png')


if __name__ == '__main__': main()
