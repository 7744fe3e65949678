"""Play the toy for the page Watch: nbs/watch.json, four still pictures, and the front page's.

tools/watch.py     some two minutes; the same bytes each time on one kind of CPU"""
import base64
import json
from pathlib import Path
import asal_nb  # noqa: F401  first: fastai's import warns otherwise
import matplotlib.pyplot as plt
import torch
from asal_nb.apps.explore import CLASSES, RULES, first_pool, play, toy
from asal_nb.core import COLOURS
from matplotlib.figure import Figure

NBS = Path(__file__).resolve().parents[1]/'nbs'
LAM4, ROUNDS, GRID = (0, .1, 1, 4), 8, 32
CUT = dict(min=5, diverse=50, margin=0, random=0)   # rows below the cut in d, as each rule has it
INK = '#009E73', '#AA5599', '#C77700', '#222222'    # of the classes, as in site/watch.css


def packed(t):
    "Numbers in 0..1 as one byte each, in base64"
    return base64.b64encode(bytes((255*t).round().byte().flatten().tolist())).decode()


@torch.no_grad()
def window(frame):
    "The window that holds all codes: its lower left corner, its sides, and D on a grid over it"
    lo, hi = frame.z.amin(0), frame.z.amax(0)
    sides = 1.16*(hi - lo)
    corner = (lo + hi - sides)/2
    u = torch.linspace(0, 1, GRID)
    D = frame.dsc(torch.cartesian_prod(u, u).flip(1)*sides + corner).sigmoid()
    return corner, sides, D.view(GRID, GRID)    # rows go up, columns to the right


@torch.no_grad()
def record(frame):
    "A frame as the page reads it; numbers are packed into one byte each"
    corner, sides, D = window(frame)
    d = frame.dsc(frame.z)
    lo, hi = d.min().item(), d.max().item()
    return dict(
        accuracy=round(frame.accuracy, 3), asked=frame.asked.tolist(),
        low=[round(o, 2) for o in corner.tolist()],
        high=[round(o, 2) for o in (corner + sides).tolist()],
        z=packed((frame.z - corner)/sides), D=packed(D), d=packed((d - lo)/(hi - lo)),
        lo=round(lo, 3), hi=round(hi, 3))


def records(lam4, rule, rounds=ROUNDS):
    "The first rounds of one run, as the page reads them"
    return [record(o) for o in play(dict(lam4=float(lam4)), rounds - 1, rule=rule)]


def everything():
    "All that the page knows of the toy and its runs"
    data = toy()
    runs = {f'{lam4:g}': {rule: records(lam4, rule) for rule in RULES} for lam4 in LAM4}
    return dict(y=data.oracle(range(len(data))).tolist(), classes=list(CLASSES), grid=GRID,
                first=first_pool(data).idx_L.tolist(), cut=CUT, runs=runs)


# ------------------------------------------------------------------ stills


def draw_plane(frame, ax, phase='choose'):
    "The codes over D's contours; rings if rows are chosen, in the class's colour once answered"
    corner, sides, D = window(frame)
    kind, known = toy().oracle(range(len(frame.y))), frame.y.clone()
    if phase == 'answer': known[frame.asked] = kind[frame.asked]
    at = torch.linspace(0, 1, GRID)[:, None]*sides + corner
    shade = dict(levels=torch.linspace(0, 1, 11), cmap='Blues', vmin=0, vmax=1.4)
    ax.contourf(*at.T, D, **shade)
    ax.scatter(*frame.z[known < 0].T, s=7, color=COLOURS['unlabelled'])
    for k, marker in enumerate(CLASSES.values()):
        ax.scatter(*frame.z[known == k].T, s=34, color=INK[k], marker=marker, edgecolors='w', lw=.7)
    asked = [INK[k] for k in kind[frame.asked]] if phase == 'answer' else COLOURS['asked']
    if phase != 'train':
        ax.scatter(*frame.z[frame.asked].T, s=110, facecolors='none', edgecolors=asked, lw=2)
    ax.set(xticks=[], yticks=[], box_aspect=1)


def draw_logits(frame, ax, phase):
    "Histograms of D's logits, unlabelled up and labelled down, and the cut"
    with torch.no_grad(): d = frame.dsc(frame.z)
    for is_L, name in ((False, 'unlabelled'), (True, 'labelled')):
        part = d[(frame.y >= 0) == is_L]
        weights = torch.full_like(part, (-1 if is_L else 1)/len(part))
        ax.hist(part, bins=torch.linspace(d.min(), d.max(), 25), weights=weights,
                color=COLOURS[name], label=name)
    cut = d[frame.asked].max()
    if phase != 'train': ax.axvline(cut, color=COLOURS['asked'], ls='--', label='the cut')
    ax.axhline(0, color='k', lw=.6)
    ax.set(xlabel="d, D's logit (small: looks unlabelled)", ylabel='share of the pool', yticks=[])
    ax.legend(ncols=3, fontsize=8, frameon=False, loc='lower center', bbox_to_anchor=(.5, 1))


def save(fig, name): fig.savefig(NBS/name, dpi=110, metadata={'Software': None})


def stills():
    "One round in three pictures, the same round with a strong game, and the front page's"
    calm, strong = play(dict(lam4=.1), 3), play(dict(lam4=1.), 0)
    shown = [(calm[0], 'train', '1. train'), (calm[0], 'choose', '2. choose'),
             (calm[0], 'answer', '3. answer'), (strong[0], 'choose', 'lambda_4 = 1: choose')]
    for i, (frame, phase, title) in enumerate(shown, 1):
        fig = Figure(figsize=(4, 5.4), layout='constrained')
        plane, logits = fig.subplots(2, height_ratios=(3, 1))
        draw_plane(frame, plane, phase)
        draw_logits(frame, logits, phase)
        plane.set_title(title)
        save(fig, f'watch-{i}.png')
    fig = Figure(figsize=(5, 5.4), layout='constrained')
    for frame, ax in zip(calm, fig.subplots(2, 2).flat):
        draw_plane(frame, ax)
        n = int((frame.y >= 0).sum())
        ax.set_title(f'round {frame.round}: {n} labels, {frame.accuracy:.0%} right', fontsize=10)
    save(fig, 'rounds.png')


def main():
    text = json.dumps(everything(), separators=(',', ':'))
    (NBS/'watch.json').write_text(text + '\n', encoding='utf-8')
    with plt.style.context('default'): stills()


if __name__ == '__main__': main()
