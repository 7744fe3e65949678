"""Public names called with mixtures of sensible and wrong values; prints what each call ended in.

bench/fuzz.py [--calls 10000] [--seed 0] [--only WORD]
A call may end in a result or in one ValueError of one line; exits 1 where any ends otherwise."""
import argparse
import contextlib
import fcntl
import functools
import importlib
import inspect
import io
import math
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections import Counter
from decimal import Decimal
from pathlib import Path
import matplotlib
import numpy as np
import pandas as pd
import torch
import asal_nb
from asal_nb.all import ActiveLearning, ImageData, Ledger, Margin, Pool, Random, Study
from asal_nb.all import Supervised, asal_dls, asal_learner, compare, get_data
from asal_nb.data.images import Oracle

SECONDS = 5
LETTERS = 400                   # of a refusal
PUBLIC = {   # what a user calls, beside the names of asal_nb.all and their methods
    'checks': '*', 'paper.gauss': '*', 'paper.url': '*', 'paper.classifier': '*',
    'paper.adversarial': '*', 'paper.objective': 'vae_loss warm_loss show_shares',
    'ask.clusters': 'kmeans one_per_centre knn',
    'ask.sampler': 'query tie_key ask_rows ask_positions shortlists diverse show_query',
    'ask.cover': 'kernel_width class_width cover', 'game.asking': 'auc_given deviance_given',
    'ask.coldstart': 'kcenter check_rows_left typicality typiclust purity_radius probcover'
                     ' first_rows show_first',
    'core': 'seed_of rng seeded threads environment check_device progress',
    'data.pool': '*', 'data.images': 'Oracle', 'data.sources': 'read_image show_classes',
    'data.views': 'weak strong show_views', 'data.loaders': 'warm_dls',
    'game.pseudo': '*', 'game.targets': 'target_of', 'game.trunks': 'trunk_names',
    'game.learner': 'probabilities', 'ledger.ledger': 'salvage show_asked',
    'ledger.archive': 'opened environments published', 'loop.health': 'alarms',
    'loop.loop': 'evaluate_on held_interval', 'methods.adapters': '*',
    'methods.uncertainty': 'confidence mutual_information show_uncertainty',
    'methods.badge': 'badge', 'methods.discriminative': 'discriminate',
    'methods.geometry': 'show_choice', 'methods.learning_loss': 'pair_loss random_rows',
    'methods.aral': 'gan_loss mean_gap log_q', 'methods.dgaal': 'fool state_loss',
    'study.arms': 'Arm as_arms', 'study.page': 'page', 'study.statistics': '*',
    'study.report': 'jaccard show_entropy show_asked_map'}
LEFT = {                        # not called, and why
    'other names of __all__': 'hand on what another function of ours made and checked: networks,'
                              ' learners, listings, callbacks, SQL; a user does not call them',
    'commands (apps.cli)': 'end the process; tests/test_shell.py calls them',
    'labeller, explorer': 'widgets; tests/test_label.py and tests/test_explore.py press them',
    'check, parametrize_with_checks': 'take minutes; tests/test_check.py runs them',
    'features': 'may download weights; tests/test_trunks.py calls it'}
METHODS = {Pool: ['label', 'unlabelled', 'counts', 'copy', 'hold', 'skip'],
           ImageData: ['names', 'pool', 'images', 'fingerprint', 'exam', 'blind', 'tuning', 'show',
                       'class_of', 'from_arrays', 'from_files', 'from_folder', 'from_frame',
                       'from_csv', 'from_dls', 'from_dataset'],
           Ledger: ['open_run', 'runs', 'classes', 'first_rows', 'save_first_rows', 'ask', 'asked',
                    'answer', 'answers', 'begin_round', 'stale', 'lines', 'history', 'pending',
                    'declined', 'end_round', 'results', 'import_answers', 'running',
                    'save_weights', 'weights', 'check', 'add_run', 'pack', 'unpack'],
           ActiveLearning: ['tell', 'undo', 'lines', 'to_csv', 'to_json', 'plot', 'next'],
           Study: ['values', 'means', 'references', 'differences', 'table', 'curves', 'penalties',
                   'penalty_matrix', 'labels_needed', 'counts', 'show_differences', 'asked',
                   'compare_seeds', 'show_compared_seeds', 'images_of', 'show_chosen', 'overlaps',
                   'show_overlaps', 'pitfalls', 'report']}


def sparse(): return torch.rand(5, 4).to_sparse()


WRONG = [lambda o=o: o for o in (
    None, math.nan, math.inf, -1, 0, 10**30, -10**30, 2**63, 2.5, -.5, True, 1j, Decimal('1.5'), '',
    'x', 'random', 'line\nline', '\ud800', 'a'*5000, b'x', Path('nowhere'), len, int, object(), ...,
    np.float64('nan'), np.int64(3), range(3), slice(2), math)] + [
    list, dict, set, tuple, lambda: [1, 'a'], lambda: [[1, 2], [3]], lambda: [[1, 2], [3, 4]],
    lambda: [.1], lambda: [1], lambda: [None], lambda: {'a': 1}, lambda: {1: None},
    lambda: iter([1]),
    lambda: lambda *a, **k: 0, lambda: torch.tensor(3), lambda: torch.zeros(0),
    lambda: torch.zeros(0, 5), lambda: torch.rand(3), lambda: torch.rand(2, 3, 4, 5),
    lambda: torch.arange(5), lambda: torch.arange(5)+0j, lambda: torch.arange(5) > 2, sparse,
    lambda: torch.full((9, 2), math.nan), lambda: torch.tensor([10**18, -1]),
    lambda: torch.rand(40, 5).half(), lambda: np.array([1, 'a'], dtype=object),
    lambda: np.array(['2020-01-01'], dtype='M8[D]'), lambda: np.zeros((2, 2)),
    lambda: pd.Series([1, 2], index=[7, 8]), lambda: pd.Series(['a', None]),
    lambda: pd.DataFrame({'a': [1, 2]}), lambda: pd.DataFrame()]
N, NZ, C = 40, 5, 4


def of_rows(): return torch.rand(N, NZ)


def chances(): return torch.rand(N, C).softmax(1)


def logits(): return torch.randn(N)


def classes(): return torch.arange(N) % C


def pictures(): return torch.rand(N, 1, 8, 8)


def generator(): return torch.Generator().manual_seed(0)


class World:
    "What sensible arguments are made of; in a temporary folder"
    def __init__(self):
        self.data = get_data('digits')
        files = [f'{i:02}.png' for i in range(N)]
        x = pictures()
        self.small = ImageData(x, Oracle(classes(), files=files), x[:9], classes()[:9],
                               list('abcd'), files=files)
        from PIL import Image
        for name in ('a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'):
            Path('pictures', name).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (9, 9)).save(Path('pictures', name))
        plan = dict(b=5, rounds=2, n_first=10, first='random', n_threads=1, quiet=True)
        how = Supervised(n_steps=1)
        self.study_ledger = Ledger('study.db')
        arms = {'margin': Margin(how), 'random': Random(how)}
        plan.pop('n_threads')
        self.study = compare(arms, self.small, seeds=range(3), ledger=self.study_ledger,
                             backend='sequential', **plan)
        self.arms = arms
        pool = self.pool()
        self.dls = asal_dls(self.small, pool, bs=4)
        self.learn = asal_learner(self.dls)
        self.net = self.learn.model

    def pool(self):
        pool = Pool(N, C)
        pool.label(torch.arange(10), classes()[:10])
        return pool

    def ledger(self):
        led = Ledger()
        run = led.open_run('a', {}, {})
        led.ask(run, 0, [1, 2, 3])
        led.answer(run, [1, 2], [0, 1])
        return led

    def loop(self):
        people = dict(b=2, rounds=2, n_first=4, first='random', quiet=True)
        data = ImageData.from_arrays(self.small.x, classes=list('abcd'))
        al = ActiveLearning(data, Random(Supervised(n_steps=1)), **people)
        al.next()
        return al


def sensible(w):
    "Makers of good values by the argument's name, of a function's too"
    def mean(): return torch.randn(N, NZ)
    def led(): return w.ledger()
    rows = torch.arange
    return dict(
        z=of_rows, x=of_rows, p=chances, y=classes, rows=lambda: rows(N), idx_L=lambda: [1, 2, 3],
        rows_L=lambda: rows(3), b=lambda: 3, n=lambda: 20, seed=lambda: 0, mu=mean, logvar=mean,
        eps=mean, logits=lambda: torch.randn(N, C), d_U=logits, d_L=logits, d_hat=logits, d=logits,
        t_U=lambda: torch.rand(N), t=lambda: .5, name=lambda: 'a', path=lambda: 'pictures',
        data=lambda: w.small, pool=w.pool, learn=lambda: w.learn, net=lambda: w.net,
        dls=lambda: w.dls,
        ledger=led, run=lambda: 1, round=lambda: 0, method=lambda: Random(Supervised(n_steps=1)),
        n_steps=lambda: 1, n_warm=lambda: 1, n_epoch=lambda: 1, n_iter=lambda: 2, n_boot=lambda: 50,
        n_flips=lambda: 50, c=lambda: C, n_classes=lambda: C, classes=lambda: list('abcd'),
        x_hat=of_rows, centres=lambda: torch.rand(4, NZ), rng=generator, g=generator,
        flip=lambda: False, h=lambda: 'pseudo', nz=lambda: 4, x_shape=lambda: (1, 8, 8),
        size=lambda: 8, n_in=lambda: 1, k=lambda: 3, ax=lambda: None, h_warm=lambda: 'instance',
        title=lambda: 't', titles=lambda: None, oracle=lambda: w.small.oracle,
        files=lambda: ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'], labels=lambda: list('aabb'),
        root=lambda: 'pictures', fit=lambda: 'crop', device=lambda: 'cpu', out=lambda: 'out.csv',
        df=lambda: pd.DataFrame({'file': ['a/1.png', 'b/3.png'], 'label': ['a', 'b']}),
        settings=dict, env=dict, seeds=lambda: range(3), arms=lambda: w.arms, effect=lambda: .1,
        sd=lambda: .1, acc=lambda: np.random.rand(3, 2, 4), a=lambda: rows(5),
        what=lambda: 'a thing',
        text=lambda: 'a text', metrics=lambda: None, beta=lambda: .1, temp=lambda: .2,
        i=lambda: rows(3), v=lambda: torch.rand(N), f=lambda: len, lo=lambda: 0, hi=lambda: 5,
        word=lambda: 'margin', names=lambda: ['a', 'b'], kwargs=dict, allowed=lambda: ['a', 'b'],
        shape=lambda: 'n nz', p_drop=lambda: .1, tau=lambda: .9, alpha=lambda: .9, delta=lambda: .5,
        angle=lambda: torch.rand(N), scale=lambda: torch.ones(N), image=lambda: None,
        file=lambda: None,
        quiet=lambda: True, trunk=lambda: None, bs=lambda: 4, bs_U=lambda: 4,
        backend=lambda: 'sequential',
        n_jobs=lambda: 1, rounds=lambda: 2, n_first=lambda: 5, first=lambda: 'random',
        level=lambda: .95,
        train=lambda: Supervised(n_steps=1), answers=lambda: {1: 'a'},
        tensors=lambda: {'a': torch.rand(2)},
        led=led, readonly=lambda: False, to=lambda: '.', target=lambda: .5, test=lambda: None)


SPECIAL = {     # arguments that mean something else here
    'data.sources': dict(x=pictures, size=lambda: 8, file=lambda: 'pictures/a/1.png'),
    'data.views': dict(x=pictures, d=lambda: torch.zeros(N, 2), flip=lambda: None),
    'data.batches': dict(x=pictures),
    'data.images': dict(x=pictures),
    'game.pseudo': dict(p_mean=lambda: torch.full((C,), 1/C), prior=lambda: torch.full((C,), 1/C),
                        q=chances),
    'paper.url': dict(logp=logits),
    'paper.classifier': dict(u=of_rows),
    'paper.objective': dict(url=lambda: torch.tensor(1.), cls_L=lambda: torch.tensor(1.),
                            cls_U=lambda: torch.tensor(1.), adv=lambda: torch.tensor(1.),
                            cls=lambda: torch.tensor(1.),
                            terms=lambda: {'a': 1.}, weights=lambda: {'a': 1.}),
    'paper.adversarial.best_d': dict(p_L=lambda: torch.rand(9), p_U=lambda: torch.rand(9)),
    'study.statistics': dict(d=lambda: np.random.randn(3, 4), n=lambda: [10, 20, 30, 40],
                             a=lambda: np.random.rand(3, 4), b=lambda: np.random.rand(3, 4),
                             p=lambda: [.1, .2]),
    'study.statistics.power': dict(n=lambda: 5),
    'study.statistics.detectable': dict(n=lambda: 5),
    'study.statistics.bootstrap_t': dict(d=lambda: np.random.randn(5)),
    'study.statistics.sign_flip': dict(d=lambda: np.random.randn(5)),
    'loop.loop': dict(p=chances, y=classes, b=lambda: 2),
    'game.warmup': dict(c=lambda: None, h=lambda: 'instance'),
    'checks': dict(kind=lambda: list, must=lambda: 'fit', fits=lambda: math.isfinite, n=lambda: N,
                   least=lambda: 1, of=lambda: '', like=lambda: '', finite=lambda: False,
                   most=lambda: 60,
                   keep=lambda: '', keyword=lambda: 'c', y=classes, x=of_rows, o=lambda: [1, 2],
                   value=lambda: 'a'),
}
LONG = {'n_steps', 'n_iter', 'n_epoch', 'n_warm', 'n_boot', 'n_flips', 'total', 'n_masks', 'n_sub',
        'rounds', 'split', 'block', 'width', 'nf', 'nz', 'n_h', 'side', 'size', 'imsize', 'n_vae'}


OURS = {'name', 'what', 'kind', 'least', 'lo', 'hi', 'of', 'shape', 'like', 'finite', 'allowed',
    'kwargs',
        'names', 'most', 'keep', 'must', 'fits', 'keyword',
            'f'} # of `checks`: words and bounds of ours


def bent(o, rnd):
    "A value near to `o` that is probably wrong"
    if isinstance(o, torch.Tensor):
        ways = [lambda: o[:-1], lambda: o[None], lambda: o.long(), lambda: o.double(), lambda: o+0j,
                lambda: o*math.nan, lambda: -o-1, lambda: o > 0, lambda: o[:0], lambda: o.numpy(),
                lambda: o.tolist(), lambda: o.to_sparse(), lambda: o[..., 0],
                lambda: o.flatten(), lambda: o.clone().float().requires_grad_(), lambda: o*1000]
    elif isinstance(o, bool): ways = [lambda: 2, lambda: 'yes']
    elif isinstance(o, (int, float)):
        ways = [lambda: -o-1, lambda: str(o), lambda: o+.5, lambda: [o], lambda: np.array(o),
                lambda: torch.tensor(o)]
    elif isinstance(o, str):
        ways = [lambda: o+'x', lambda: [o], lambda: Path(o), lambda: o.encode()]
    elif isinstance(o, (list, range)):
        ways = [lambda: list(o)[:-1], lambda: [*o, *o], lambda: [list(o)], lambda: set(o),
                lambda: dict.fromkeys(o), lambda: iter(o), lambda: [str(i) for i in o],
                lambda: np.array(o)]
    else: ways = [lambda: [o], lambda: str(o), lambda: type(o)]
    try: return rnd.choice(ways)()
    except Exception: return None


def targets(only=''):
    "(name, owner, method or None) of everything public that is called"
    left = {o for k in LEFT for o in k.split(', ')}
    found = {f'all.{k}': getattr(asal_nb.all, k) for k in asal_nb.all.__all__ if k not in left}
    for name, public in PUBLIC.items():
        module = importlib.import_module(f'asal_nb.{name}')
        names = module.__all__ if public == '*' else public.split()
        found |= {f'{name}.{k}': getattr(module, k) for k in names}
    out = {}
    for f in found.values():
        is_ours = getattr(f, '__module__', '').startswith('asal_nb') and callable(f)
        if not is_ours or inspect.isclass(f) and issubclass(f, Exception): continue
        home = f"{f.__module__.removeprefix('asal_nb.')}.{f.__name__}"
        out[home] = home, f, None
        names = METHODS.get(f, ()) if inspect.isclass(f) else ()
        out |= {f'{home}.{k}': (f'{home}.{k}', f, k) for k in names}
    return [o for k, o in out.items() if only in k]


def receiver(w, cls):
    "The object whose method is called"
    made = {Pool: w.pool, ImageData: lambda: w.small, Ledger: w.ledger, ActiveLearning: w.loop,
            Study: lambda: w.study}
    return made[cls]()


def arguments(full, f, good, rnd):
    "Keyword arguments: sensible ones, of which none to two are bent or wrong"
    module = full.split('.')
    makers = dict(good)
    for k in range(1, len(module)+1): makers.update(SPECIAL.get('.'.join(module[:k]), {}))
    try: own = inspect.signature(f).parameters.values()
    except (TypeError, ValueError): return [], {}
    own = [o for o in own if o.name != 'self']
    args, kw = [], {}
    for o in own:
        if o.kind == o.VAR_KEYWORD: continue
        if o.kind == o.VAR_POSITIONAL:
            args = [rnd.choice(WRONG)() for _ in range(rnd.randrange(3))]
        elif o.default is o.empty or rnd.random() < .15:
            make = makers.get(o.name)
            if make: kw[o.name] = make()
            else: kw[o.name] = rnd.choice(WRONG)() if o.default is o.empty else o.default
    names = [o.name for o in own if o.kind not in (o.VAR_KEYWORD, o.VAR_POSITIONAL)]
    if module[0] == 'checks': names = [o for o in names if o not in OURS]
    if full == 'checks.as_rows': names = ['rows']
    for name in rnd.sample(names, min(len(names), rnd.choice([0, 1, 1, 1, 2]))):
        if name in kw and rnd.random() < .5: kw[name] = bent(kw[name], rnd)
        else: kw[name] = rnd.choice(WRONG)()
        if name in LONG and isinstance(kw[name], int) and kw[name] > 100: kw[name] = 2
    if args:
        order = [o.name for o in own if o.kind == o.POSITIONAL_OR_KEYWORD]
        args = [kw.pop(k) for k in order if k in kw] + args
    else:
        first = [o.name for o in own if o.kind == o.POSITIONAL_ONLY and o.name in kw]
        args = [kw.pop(k) for k in first]
    return args, kw


class Late(BaseException): "A call took longer than SECONDS"


def late(*_): raise Late


def place(e):
    "The last line of ours that a traceback names"
    ours = [o for o in traceback.extract_tb(e.__traceback__) if '/asal_nb/' in o.filename]
    if not ours: return '(the call itself)'
    at = ours[-1]
    return f'{Path(at.filename).parent.name}/{Path(at.filename).name}:{at.lineno}'


def used(out):
    "What a call gave, begun where it waits: a generator, or a context"
    if isinstance(out, types.GeneratorType): next(out, None)
    elif isinstance(out, contextlib.AbstractContextManager) and hasattr(out, 'gen'):
        with out: pass
    elif isinstance(out, functools.partial): pass
    return out


def one(f, args, kw):
    "'result', 'sentence', or (type of error, place, message)"
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            used(f(*args, **kw))
        return 'result'
    except Late as e: return 'Late', place(e), ''
    except ValueError as e:
        said = str(e).strip()
        if type(e) is UnicodeEncodeError or len(said.splitlines()) != 1 or len(said) > LETTERS:
            return f'{type(e).__name__}, no sentence', place(e), said
        return 'sentence'
    except (Exception, SystemExit) as e: return type(e).__name__, place(e), str(e)
    finally: signal.setitimer(signal.ITIMER_REAL, 0)


def main(calls, seed, only, most):
    sys.stdout = os.fdopen(fcntl.fcntl(1, fcntl.F_DUPFD, 99), 'w')  # a call may close file 1
    rnd = random.Random(seed)
    torch.manual_seed(seed)
    np.random.seed(seed)
    matplotlib.use('agg')
    warnings.simplefilter('ignore')
    signal.signal(signal.SIGALRM, late)
    ended, wrong, shown = Counter(), Counter(), {}
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        home = os.getcwd()
        os.chdir(folder)
        w = World()
        good, todo = sensible(w), targets(only)
        spent = Counter()
        for k in range(calls):
            full, owner, method = todo[k % len(todo)]
            if spent[full] > 60: full, owner, method = rnd.choice(todo)
            began = time.time()
            f = getattr(receiver(w, owner), method) if method else owner
            args, kw = arguments(full, f, good, rnd)
            said = one(f, args, kw)
            matplotlib.pyplot.close('all')
            spent[full] += time.time() - began
            ended[said if isinstance(said, str) else 'else'] += 1
            if isinstance(said, str): continue
            key = full, *said[:2]
            wrong[key] += 1
            given = ', '.join([*map(brief, args), *(f'{a}={brief(o)}' for a, o in kw.items())])
            shown.setdefault(key, f'{said[2][:90]!r} ({given})')
        os.chdir(home)
    for key, n in wrong.most_common(most): print(f'{n:4}', *key, shown[key])
    print(f"{sum(ended.values())} calls of {len(todo)} names in {time.time()-start:.0f} s:",
          ', '.join(f'{n} {k}' for k, n in ended.items()), f'at {len(wrong)} places')
    if most is None:
        for k, why in LEFT.items(): print(f'left out: {k}: {why}')
    return ended['else'] > 0


def brief(o):
    "A value in a few letters"
    shape = getattr(o, 'shape', None)
    if isinstance(shape, tuple) and shape:
        return f"<{type(o).__name__} {getattr(o, 'dtype', '')} {tuple(shape)}>"
    try: return ascii(o)[:40]
    except Exception: return f'<{type(o).__name__}>'


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--calls', type=int, default=10_000)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--only', default='', help='names that contain this')
    p.add_argument('--most', type=int, help='places shown; all if left out')
    a = p.parse_args()
    sys.exit(main(a.calls, a.seed, a.only, a.most))
