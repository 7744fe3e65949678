"""On a GPU: the training step in each precision and format, compiled and as CUDA graphs; copying;
asking, against the CPU; scoring 60,000 images.

Each part is written once it is done; one that fails is kept as its error. `--device cpu --quick`
is a rehearsal."""
import contextlib
import itertools
import json
import tempfile
import time
import traceback
from functools import partial
import _measure as m
import asking
import scoring
import step

SIZES = ((64, 64), (64, 128), (512, 512))
DTYPE = dict(fp32='float32', tf32='float32', bf16='bfloat16')
COMPILED = (('fp32', 64, 128), ('bf16', 64, 128), ('bf16', 512, 512), ('fp32', 512, 512))
MODES = {'compiled': {}, 'CUDA graphs': dict(mode='reduce-overhead')}
RULES = (*asking.RULES, 'k-means', 'diverse')


def waiting(device):
    "What to call before the clock is read"
    import torch
    return torch.cuda.synchronize if 'cuda' in device else lambda: None


def attempt(f, *args):
    "What `f` gives, or its error, printed and in words"
    try: return f(*args)
    except Exception as e:
        traceback.print_exc()
        return dict(error=f'{type(e).__name__}: {str(e)[:300]}')


@contextlib.contextmanager
def tf32(on):
    "Within the block matrix products and convolutions of float32 use TF32, or do not"
    import torch
    owners = torch.backends.cuda.matmul, torch.backends.cudnn
    was = [o.allow_tf32 for o in owners]
    for o in owners: o.allow_tf32 = on
    try: yield
    finally:
        for o, v in zip(owners, was): o.allow_tf32 = v


# ---- the training step

def learner(data, pool, bs, bs_U, kind, cbs=()):
    "A function that makes `n` steps in that precision, and its learner"
    steps, learn = step.ours(data, pool, kind == 'bf16', bs, bs_U, cbs=list(cbs))

    def run(n):
        with tf32(kind == 'tf32'): steps(n)
    return run, learn


def eager(data, pool, bs, bs_U):
    "Name -> precision and function of the number of steps, for all that is not compiled"
    from fastai.learner import Recorder
    from asal_nb.game.callbacks import ChannelsLast
    make = partial(learner, data, pool, bs, bs_U)
    forms = {k: (k, make(k)[0]) for k in DTYPE}
    forms['bf16, channels last'] = 'bf16', make('bf16', [ChannelsLast()])[0]
    run, learn = make('fp32')
    # it fetches the loss from the device at every step
    learn.remove_cb(Recorder)
    forms['fp32, no recorder'] = 'fp32', run
    return forms


def memory_of(f, device):
    "MiB at most in steps that are not the first, and above what was held before"
    import torch
    f(3)
    if 'cuda' not in device: return {}
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    f(3)
    top = torch.cuda.max_memory_allocated()
    return dict(peak_mib=round(top/2**20, 1), above_mib=round((top - before)/2**20, 1))


def line(seconds, rows, work, peak, memory):
    "What is kept of a form: `seconds` of a step, rows and operations of one"
    return dict(ms=round(seconds*1e3, 3), samples_s=round(rows/seconds), **memory,
                of_peak=round(work/seconds/peak, 4) if peak and isinstance(work, int) else None)


def timed(forms, a, n=15):
    "Seconds a step of each form, rounds of `n` steps taken in turns after one that does not count"
    n = 2 if a.quick else n
    calls = {k: partial(f, n) for k, f in forms.items()}
    s = m.in_turns(calls, 1 if a.quick else 5, wait=waiting(a.device))
    return {k: t/n for k, t in m.medians(s).items()}


def steps_at(data, pool, bs, bs_U, peaks, a):
    "All eager forms at one size; those that fail their first steps are left out with the error"
    forms = eager(data, pool, bs, bs_U)
    memory = {k: attempt(memory_of, f, a.device) for k, (_, f) in forms.items()}
    work = attempt(step.flops, forms['fp32'][1])
    times = timed({k: f for k, (_, f) in forms.items() if 'error' not in memory[k]}, a)
    found = dict(memory)
    for k, t in times.items():
        found[k] = line(t, bs + bs_U, work, peaks.get(forms[k][0]), memory[k])
        print(f'  {bs}+{bs_U} {k}: {found[k]}', flush=True)
    return dict(flop=work, forms=found)


def peaks_of(a):
    "Operations a second of a large convolution, by precision"
    out = {}
    for k, dtype in DTYPE.items():
        with tf32(k == 'tf32'): out[k] = m.conv_peak(dtype, a.device)
    return out


def step_part(a, data, pool, peaks):
    sizes = SIZES[:2] if a.quick else SIZES
    return {f'{bs}+{bs_U}': attempt(steps_at, data, pool, bs, bs_U, peaks, a) for bs, bs_U in sizes}


def naive_part(a, *_):
    "The step as published loops have it: images opened one by one, networks on the device"
    data = step.some_data()
    with tf32(False):
        t = timed(dict(naive=step.naive(data, step.some_pool(data), a.device)), a, 5)['naive']
    return dict(ms=round(t*1e3, 2), samples_s=round(2*step.BS/t))


def busy_part(a, data, pool, peaks):
    "What the GPU does in an eager fp32 step of 64 + 128: kernels, waits, busy share of a step"
    from torch.profiler import ProfilerActivity, profile
    n, (run, _) = 2 if a.quick else 20, learner(data, pool, 64, 128, 'fp32')
    run(3)
    t = timed(dict(step=run), a)['step']
    acts = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA]*('cuda' in a.device)
    with profile(activities=acts) as p:
        run(n)
        waiting(a.device)()
    with tempfile.TemporaryDirectory() as d:
        p.export_chrome_trace(f'{d}/trace.json')
        with open(f'{d}/trace.json') as f: events = json.load(f)['traceEvents']
    def of(*kinds): return [e for e in events if e.get('cat') in kinds]
    us = sum(e.get('dur', 0) for e in of('kernel', 'gpu_memcpy', 'gpu_memset'))
    waits = sum('Synchronize' in e.get('name', '') for e in of('cuda_runtime'))
    return dict(ms=round(t*1e3, 3), kernels=round(len(of('kernel'))/n, 1),
                copies=round(len(of('gpu_memcpy'))/n, 1), waits=round(waits/n, 1),
                gpu_ms=round(us/n/1e3, 3), busy=round(us/n/1e6/t, 3))


def compiled_at(data, pool, bs, bs_U, kind, kw, peaks, a):
    "A compiled form beside the eager one, with the seconds until its first steps are done"
    import torch
    from asal_nb.game.callbacks import Compile
    # another size would be taken for a changing one
    torch.compiler.reset()
    make = partial(learner, data, pool, bs, bs_U, kind)
    plain, run = make()[0], make([Compile(**kw)])[0]
    t = time.perf_counter()
    memory = memory_of(run, a.device)
    t = time.perf_counter() - t
    s = timed(dict(eager=plain, compiled=run), a)
    work = a.found.get('step', {}).get(f'{bs}+{bs_U}', {}).get('flop')
    return line(s['compiled'], bs + bs_U, work, peaks.get(kind), memory) | dict(
        compile_s=round(t - 6*s['compiled'], 1), eager_ms=round(s['eager']*1e3, 3),
        ratio=round(s['eager']/s['compiled'], 2))


def compiled_part(a, data, pool, peaks):
    "The slowest part, the most wanted form first; written form by form, cut short when time is up"
    out = {}
    forms = COMPILED[:1] if a.quick else COMPILED
    for (kind, bs, bs_U), (mode, kw) in itertools.product(forms, MODES.items()):
        k = f'{bs}+{bs_U} {kind}, {mode}'
        if time.perf_counter() - a.start > a.seconds: out[k] = dict(error='left out: no time left')
        else: out[k] = attempt(compiled_at, data, pool, bs, bs_U, kind, kw, peaks, a)
        print(f'  {k}: {out[k]}', flush=True)
        write(a, compiled=out)
    return out


# ---- memory, asking, scoring

def copy_speed(a):
    "Bytes read and written a second by a copy from device to device"
    import torch
    x = torch.ones((16 if a.quick else 2048)*2**18, device=a.device)       # MiB of float32
    y = torch.empty_like(x)
    t = m.in_turns(dict(copy=lambda: y.copy_(x)), 10, warm=2, wait=waiting(a.device))
    return 2*x.nbytes/m.medians(t)['copy']


def memory_part(a, *_): return dict(copy_GB_s=round(copy_speed(a)/1e9))


def rule(name, n, device):
    "A function of the seed: 100 of `n` rows by that rule, on the device"
    import torch
    from asal_nb.paper.adversarial import margin
    from asal_nb.ask.clusters import kmeans, one_per_centre
    from asal_nb.ask.sampler import diverse
    if name in asking.RULES: return asking.ours(name, n, device)
    z, p = [o.to(device) for o in asking.features(n)]
    if name == 'k-means':
        return lambda seed=0: one_per_centre(z, kmeans(z, asking.B, seed)).tolist()
    rows = torch.arange(n, device=device)
    return lambda seed=0: diverse(margin(p), z, rows, asking.B, seed).tolist()


def asked(name, n, a):
    "Seconds of a rule on the CPU and on the device, and how many rows it names on both"
    calls = {d: rule(name, n, d) for d in dict.fromkeys(['cpu', a.device])}
    rows = {d: f() for d, f in calls.items()}
    s = m.medians(m.in_turns(calls, 1 if a.quick else 2, warm=0, wait=waiting(a.device)))
    there, here = rows['cpu'], rows[a.device]
    return dict(cpu_s=round(s['cpu'], 5), device_s=round(s[a.device], 5),
                ratio=round(s['cpu']/s[a.device], 2), same=len({*there} & {*here}),
                same_order=there == here)


def large_kcenter(a):
    "k-center among a million rows, beside as many reads of all codes as it takes rows"
    import torch
    from asal_nb.ask.coldstart import kcenter
    n, b = (5000, 50) if a.quick else (1_000_000, 1000)
    g = torch.Generator(a.device).manual_seed(0)
    centres = torch.randn(10, asking.NZ, generator=g, device=a.device)
    z = centres[torch.arange(n, device=a.device) % 10]
    z += .5*torch.randn(n, asking.NZ, generator=g, device=a.device)
    t = m.in_turns(dict(large=lambda: kcenter(z, b, range(asking.L))), 1, wait=waiting(a.device))
    reads, t = b*z.nbytes/copy_speed(a), m.medians(t)['large']
    return dict(n=n, b=b, seconds=round(t, 3), reads_s=round(reads, 4), ratio=round(t/reads, 2))


def asking_part(a, *_):
    "On float32 without TF32, as rounding bounds count on"
    import torch
    n, found = 2000 if a.quick else 20_000, {}
    with tf32(False):
        for name in RULES:
            found[name] = attempt(asked, name, n, a)
            print(f'  {name}: {found[name]}', flush=True)
        found['k-center, large'] = attempt(large_kcenter, a)
    return dict(n=n, b=asking.B, threads=torch.get_num_threads(), found=found)


def scoring_part(a, *_):
    "Rows a second: D's scores of a pool, in blocks that fill the device or a CPU's cache"
    import torch
    import asal_nb.game.asking  # noqa: F401, gives learners their scores
    from asal_nb.game.targets import codes
    n = 2000 if a.quick else scoring.N
    data, pool, game, _ = scoring.learners(n, a.device)
    rows = pool.idx_U.to(a.device)
    small = partial(codes, game.model, data, rows, bs=128)

    def half(f):
        with torch.autocast(torch.device(a.device).type, torch.bfloat16): f()
    calls = {'fp32': lambda: game.scores(rows), 'bf16': lambda: half(lambda: game.scores(rows)),
             'fp32, blocks of 128': small, 'bf16, blocks of 128': lambda: half(small)}
    with tf32(False): s = m.medians(m.in_turns(calls, 1 if a.quick else 5, wait=waiting(a.device)))
    return {k: dict(seconds=round(t, 4), rows_s=round(len(rows)/t)) for k, t in s.items()}


# ----

PARTS = dict(
    memory=memory_part, step=step_part, busy=busy_part, scoring=scoring_part, asking=asking_part,
    naive=naive_part, compiled=compiled_part)


def write(a, **parts):
    "Keep these parts beside those that are done"
    a.found.update(parts)
    m.keep('gpu', a.found, a.quick)


def main():
    a = m.arguments(__doc__, threads=4, device='', parts=','.join(PARTS), seconds=90)
    import torch
    if not a.device and not torch.cuda.is_available():
        return print('left out: this machine has no GPU')
    a.device, a.start = a.device or 'cuda', time.perf_counter()
    old, a.found = m.HERE/'results/gpu.json', {}
    if a.parts != ','.join(PARTS) and old.exists(): a.found = json.loads(old.read_text())
    a.found |= dict(machine=m.machine('fastai', 'triton'), cuda=torch.version.cuda, device=a.device)
    data = step.some_data(1500 if a.quick else 24_000).to(a.device)
    pool, peaks = step.some_pool(data), attempt(peaks_of, a)
    if 'error' not in peaks: write(a, peaks_TFLOP_s={k: round(v/1e12, 2) for k, v in peaks.items()})
    else: peaks = {}
    for k in a.parts.split(','):
        t = time.perf_counter()
        write(a, **{k: attempt(PARTS[k], a, data, pool, peaks)})
        print(f'{k}, {time.perf_counter() - t:.1f} s: {json.dumps(a.found[k])}', flush=True)


if __name__ == '__main__': main()
