"What the benchmarks share: medians taken in turns, peak memory, the machine and its limits."
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
CHILD = ('import json, sys; sys.path.insert(0, {here!r}); from _measure import peak; '
         'call = json.loads(sys.argv[1]); module = __import__(call["module"]); '
         'print(json.dumps(peak(getattr(module, call["f"]), call["kw"])))')


def arguments(doc, threads=1, **kw):
    "The command line of a benchmark: --quick, --threads, which are set, and switches of its own"
    a = argparse.ArgumentParser(description=doc)
    a.add_argument(
        '--quick', action='store_true', help='small sizes and few repeats, nothing is written')
    a.add_argument('--threads', type=int, default=threads, help='of torch, BLAS and OpenMP')
    for k, v in kw.items(): a.add_argument('--' + k.replace('_', '-'), type=type(v), default=v)
    a = a.parse_args()
    use_threads(a.threads)
    return a


def use_threads(n):
    "This process and those it starts use `n` threads from here on"
    import torch
    from threadpoolctl import threadpool_limits
    os.environ['OMP_NUM_THREADS'] = str(n)
    torch.set_num_threads(n)
    threadpool_limits(n)


def in_turns(calls, n=5, warm=1, wait=lambda: None, clock=time.perf_counter):
    """Seconds of each of `calls` (name -> function), `n` of each, in turns, after `warm` that do
    not count. With one thread `time.process_time` is a clock that stands still while neighbours
    have the core"""
    seconds = {k: [] for k in calls}
    for i in range(n + warm):
        for k, f in calls.items():
            wait()
            t = clock()
            f()
            wait()
            seconds[k] += [clock() - t][:i >= warm]
    return seconds


def medians(seconds): return {k: statistics.median(v) for k, v in seconds.items()}


def ratio(seconds, a, b):
    "How many times as long as b a takes: the median over rounds, as a slow round slows both"
    return statistics.median(x/y for x, y in zip(seconds[a], seconds[b]))


def exponent(sizes, seconds):
    "The slope of log seconds over log sizes: 1 is linear"
    import numpy as np
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def rss(kind='VmHWM'):
    "MiB this process holds now ('VmRSS') or held at most ('VmHWM', or where there is no /proc)"
    try: return int(Path('/proc/self/status').read_text().split(kind + ':')[1].split()[0])/1024
    except OSError:
        import resource
        unit = 2**20 if sys.platform == 'darwin' else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/unit


def peak(prepare, kw):
    "Processor seconds of the function that `prepare(**kw)` returns, MiB at most and above before"
    f = prepare(**kw)
    try: Path('/proc/self/clear_refs').write_text('5')       # the mark of the most held starts anew
    except OSError: pass
    before, t = rss('VmRSS'), time.process_time()
    out = f()
    seconds = time.process_time() - t
    if not is_plain(out): out = None
    return dict(seconds=seconds, peak=round(rss()), above=round(rss() - before), out=out)


def is_plain(o): return isinstance(o, (int, float, str, list, dict, type(None)))


def in_child(module, f, timeout=None, **kw):
    """`peak` of the function `f` of the benchmark `module` in a process of its own, which imports
    nothing but that; None if it ran out of time, a dict with `error` if it failed"""
    call = json.dumps(dict(module=module, f=f, kw=kw))
    command = [sys.executable, '-c', CHILD.format(here=str(HERE)), call]
    try: run = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired: return None
    if run.returncode:
        return dict(error=(run.stderr.strip().splitlines() or [f'exit code {run.returncode}'])[-1])
    return json.loads(run.stdout.splitlines()[-1])


def forked(prepare, **kw):
    "`peak` in a fork of this process, with all its imports; where there is fork, and one thread"
    read, write = os.pipe()
    if not (child := os.fork()):
        found = dict(error='killed')
        try: found = peak(prepare, kw)
        except BaseException as e: found = dict(error=f'{type(e).__name__}: {e}')
        finally:
            with os.fdopen(write, 'w') as f: json.dump(found, f)
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as f: said = f.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else dict(error='killed')


def bandwidth(mib=512, n=5, clock=time.perf_counter):
    "Bytes a second at which a float32 matrix too large for the caches is read, in the better way"
    import torch
    x, v = torch.ones(mib*2**20//256, 64), torch.ones(64)
    mid = medians(in_turns(dict(sum=lambda: x.sum(), product=lambda: x @ v), n, clock=clock))
    return x.numel()*4/min(mid.values())


def conv_peak(dtype='float32', device='cpu', repeats=9):
    "Floating-point operations a second of a large 3x3 convolution, the quickest of `repeats`"
    import torch
    import torch.nn.functional as F
    kw = dict(dtype=getattr(torch, dtype), device=device)
    x, w = torch.ones(64, 128, 16, 16, **kw), torch.ones(128, 128, 3, 3, **kw)
    x, w = [o.contiguous(memory_format=torch.channels_last) for o in (x, w)]
    wait = torch.cuda.synchronize if 'cuda' in device else lambda: None
    with torch.no_grad():
        t = in_turns(dict(conv=lambda: F.conv2d(x, w, padding=1)), repeats, wait=wait)
    return 2*x.numel()*128*9/min(t['conv'])


def processor():
    "The processor's name"
    try:
        after = Path('/proc/cpuinfo').read_text().split('model name')[1].split(':')[1]
        return after.splitlines()[0].strip()
    except (OSError, IndexError): return platform.processor() or platform.machine()


def versions(*names):
    "Versions of packages, without those that are not installed"
    out = {}
    for k in names:
        try: out[k] = version(k)
        except PackageNotFoundError: pass
    return out


def machine(*packages):
    "What a result depends on: processor, cores, threads, versions of Python, torch and `packages`"
    import torch
    found = dict(processor=processor(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                 python=platform.python_version(), **versions('torch', 'numpy', *packages))
    if torch.cuda.is_available(): found['gpu'] = torch.cuda.get_device_name()
    return found


def table(rows, heads=None):
    "Rows of strings and numbers as lines with aligned columns, the first one to the left"
    def word(o): return '' if o is None else f'{o:.3g}' if isinstance(o, float) else str(o)
    rows = [list(map(word, r)) for r in ([heads] if heads else []) + list(rows)]
    wide = [max(map(len, c)) for c in zip(*rows)]
    def line(r): return '  '.join([r[0].ljust(wide[0]), *map(str.rjust, r[1:], wide[1:])])
    return '\n'.join(map(line, rows))


def keep(name, found, quick=False):
    "Write what was found to bench/results/name.json, unless it was a quick look"
    if quick: return
    out = HERE/'results'/f'{name}.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + '\n')
