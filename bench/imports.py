"How long `import asal_nb.all` takes beside `import fastai.vision.all`, each in fresh processes that take turns."
import json
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

MINE, THEIRS, N = 'asal_nb.all', 'fastai.vision.all', 5
TIMED = 'import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)'


def seconds(module):
    "Wall seconds of one import in a process of its own"
    run = subprocess.run([sys.executable, '-c', TIMED.format(module)], check=True, stdout=subprocess.PIPE, text=True)
    return float(run.stdout)


def measure(n=N):
    "Medians of `n` imports of either, after one of each that fills the disk's cache, and their ratio"
    times = {m: [] for m in (MINE, THEIRS)}
    for i in range(n + 1):
        for m in times: times[m] += [seconds(m)][:i]
    mid = {m: statistics.median(t) for m, t in times.items()}
    return dict(seconds={m: [round(o, 3) for o in t] for m, t in times.items()}, ratio=round(mid[MINE]/mid[THEIRS], 3))


def main():
    found = measure()
    setting = dict(python=platform.python_version(), torch=version('torch'), fastai=version('fastai'),
                   machine=platform.machine())
    out = Path(__file__).parent/'results'/'imports.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found | setting, indent=1) + '\n')
    print(f'{MINE} takes {found["ratio"]:.2f} times as long to import as {THEIRS} (medians of {N})')


if __name__ == '__main__': main()
