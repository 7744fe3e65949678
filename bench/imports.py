"How long `import asal_nb.all` takes beside `import fastai.vision.all`, in fresh processes."
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

MINE, THEIRS, N = 'asal_nb.all', 'fastai.vision.all', 9
TIMED = """
import os, time
t = time.perf_counter()
import {}
print(time.perf_counter() - t, sum(os.times()[:2]))
"""


def seconds(module):
    "Of one import in a process of its own: wall, and of the processor for the whole process"
    command = [sys.executable, '-W', 'ignore', '-c', TIMED.format(module)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                         env=os.environ | {'OMP_NUM_THREADS': '1'})
    return [round(float(o), 3) for o in run.stdout.split()]


def measure(n=N):
    "`n` imports of either in turns, after one of each that fills the disk's cache; medians' ratios"
    times = {m: [] for m in (MINE, THEIRS)}
    for i in range(n + 1):
        for m in times: times[m] += [seconds(m)][:i]
    out = {}
    for k, name in enumerate(('wall', 'processor')):
        t = {m: [o[k] for o in v] for m, v in times.items()}
        mid = {m: statistics.median(v) for m, v in t.items()}
        out[name] = dict(seconds=t, medians=mid, ratio=round(mid[MINE]/mid[THEIRS], 3))
    return out


def setting():
    "What the numbers depend on"
    import torch
    packages = ('torch', 'torchvision', 'fastai', 'matplotlib', 'scikit-learn', 'pandas')
    return dict(machine=platform.machine(), capability=torch.backends.cpu.get_cpu_capability(),
                threads=1, processors=os.cpu_count(), load=round(os.getloadavg()[0], 1),
                python=platform.python_version(), **{m: version(m) for m in packages})


def main():
    found = measure()
    out = Path(__file__).parent/'results'/'imports.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found | dict(setting=setting()), indent=1) + '\n')
    wall, processor = [found[k]['ratio'] for k in ('wall', 'processor')]
    print(f'{MINE} takes {wall:.2f} times as long to import as {THEIRS} (medians of {N}); processor'
          f' time {processor:.2f}')


if __name__ == '__main__': main()
