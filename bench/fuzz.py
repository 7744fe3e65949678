"""Public names called with mixtures of sensible and wrong values, and what each call ended in.

bench/fuzz.py [--calls 10000] [--seeds '1 2'] [--only WORD] [--quick]
A call may end in a result or in one ValueError of one line, which changes nothing; prints all
others and exits with 1 where there are any."""
import contextlib
import fcntl
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
import _measure as m
import matplotlib
import numpy as np
import pandas as pd
import torch
from PIL import Image
import asal_nb
from asal_nb.all import ActiveLearning, ImageData, Ledger, Margin, Pool, Random, Study
from asal_nb.all import Supervised, asal_dls, asal_learner, compare
from asal_nb.data.images import Oracle
from asal_nb.game.learner import ASALLearner

SECONDS = 20                    # of a call
LETTERS = 400                   # of a refusal
PUBLIC = {   # what a user calls, beside the names of asal_nb.all and their methods
    'paper.gauss': '*', 'paper.url': '*', 'paper.classifier': '*', 'paper.adversarial': '*',
    'paper.objective': 'vae_loss warm_loss show_shares',
    'ask.clusters': 'kmeans one_per_centre knn',
    'ask.sampler': 'query tie_key ask_rows ask_positions shortlists diverse show_query',
    'ask.cover': 'kernel_width class_width cover', 'game.asking': 'auc_given deviance_given',
    'ask.coldstart': 'kcenter typicality typiclust purity_radius probcover first_rows show_first',
    'core': 'seed_of rng seeded threads environment check_device progress',
    'data.pool': 'ask_oracle plan',
    'data.images': 'Oracle', 'data.sources': 'read_image show_classes',
    'data.views': 'weak strong show_views', 'data.loaders': 'warm_dls', 'game.pseudo': '*',
    'game.targets': 'target_of', 'game.trunks': 'trunk_names', 'game.learner': 'probabilities',
    'ledger.ledger': 'salvage show_asked', 'ledger.archive': 'opened environments published',
    'loop.health': 'alarms', 'methods.adapters': 'labelled_by',
    'methods.uncertainty': 'confidence mutual_information show_uncertainty',
    'methods.badge': 'badge', 'methods.discriminative': 'discriminate',
    'methods.geometry': 'show_choice', 'methods.learning_loss': 'pair_loss random_rows',
    'methods.aral': 'gan_loss mean_gap log_q', 'methods.dgaal': 'fool state_loss',
    'study.arms': 'Arm as_arms', 'study.page': 'page', 'study.statistics': '*',
    'study.report': 'jaccard show_entropy show_asked_map'}
METHODS = {  # and of these classes the methods
    Pool: 'label unlabelled counts copy hold skip',
    ImageData: 'names pool images to fingerprint exam blind tuning show class_of from_arrays'
               ' from_files from_folder from_frame from_csv from_dls from_dataset',
    Ledger: 'open_run runs classes first_rows save_first_rows ask asked answer answers begin_round'
            ' stale lines history pending declined end_round results import_answers running'
            ' save_weights weights check add_run pack unpack',
    ActiveLearning: 'tell undo lines to_csv to_json plot next run',
    ASALLearner: 'scores ask terms',
    Study: 'values means references differences table curves penalties penalty_matrix'
           ' labels_needed counts show_differences asked compare_seeds show_compared_seeds'
           ' images_of show_chosen overlaps show_overlaps pitfalls report'}
LEFT = {     # not called, and why
    'other names of __all__': 'hand on what another function of ours made and checked: checks,'
                              ' networks, listings, callbacks, SQL; a user does not call them',
    'commands (apps.cli)': 'end the process; tests/test_shell.py calls them',
    'labeller, explorer': 'widgets; tests/test_label.py and tests/test_explore.py press them',
    'check, parametrize_with_checks': 'take minutes; tests/test_check.py runs them',
    'features': 'may download weights; tests/test_trunks.py calls it'}
KEEPS = {'tell', 'from_csv'}    # what was right before a refusal stays: documented

CONSTANTS = (
    None, math.nan, math.inf, -1, 0, 10**30, -10**30, 2**63, 2.5, -.5, True, 1j, Decimal('1.5'),
    '', 'x', 'random', 'line\nline', '\ud800', '\0', '~nobody/x', '=1+1', '<b>', 'a'*5000, b'x',
    b'\xff', Path('nowhere'), len, int, object(), ..., np.float64('nan'), np.int64(3),
    np.bool_(True), range(3), slice(2), math, pd.NA, pd.NaT)
MAKERS = (   # of wrong values that a call may change
    list, dict, set, tuple, object, lambda: [1, 'a'], lambda: [[1, 2], [3]], lambda: [True, 2],
    lambda: [.1], lambda: [1], lambda: [None], lambda: {'a': 1}, lambda: {1: None}, lambda: {1, 2},
    lambda: iter([1]), lambda: lambda *a, **k: 0, lambda: torch.tensor(3), lambda: torch.zeros(0),
    lambda: torch.zeros(0, 5), lambda: torch.rand(3), lambda: torch.rand(2, 3, 4, 5),
    lambda: torch.arange(5), lambda: torch.arange(5)+0j, lambda: torch.arange(5) > 2,
    lambda: torch.rand(5, 4).to_sparse(), lambda: torch.full((9, 2), math.nan),
    lambda: torch.tensor([10**18, -1]), lambda: torch.rand(40, 5).half(),
    lambda: np.array([1, 'a'], dtype=object), lambda: np.array(['2020-01-01'], dtype='M8[D]'),
    lambda: np.zeros((2, 2)), lambda: np.arange(3, dtype='>i4'), lambda: np.array(['a', 'nan']),
    lambda: pd.Series([1, 2], index=[7, 8]), lambda: pd.Series(['a', None]),
    lambda: pd.DataFrame({'a': [1, 2]}), pd.DataFrame)
N, NZ, C = 40, 5, 4
FILES = [f'{i:02}.png' for i in range(N)]
PEOPLE = dict(b=2, rounds=2, n_first=4, first='random', quiet=True)


def wrong(rnd):
    "A value that is probably wrong everywhere"
    o = rnd.choice([*enumerate(CONSTANTS), *MAKERS])
    return o[1] if isinstance(o, tuple) else o()


def bent(o, rnd):
    "A value near to `o` that is probably wrong"
    if isinstance(o, torch.Tensor):
        ways = [lambda: o[:-1], lambda: o[None], o.long, o.double, o.half, lambda: o+0j, o.numpy,
                lambda: o*math.nan, lambda: -o-1, lambda: o > 0, lambda: o[:0], lambda: o[:1],
                o.tolist, o.to_sparse, lambda: o[..., 0], o.flatten, lambda: o*1000,
                lambda: o.clone().float().requires_grad_(), lambda: o.expand(2, *o.shape)[0],
                lambda: o.numpy()[::-1], lambda: pd.Series(o.numpy(), index=range(9, 9+len(o)))]
    elif isinstance(o, bool): ways = [lambda: 2, lambda: 'yes']
    elif isinstance(o, (int, float)):
        ways = [lambda: -o-1, lambda: str(o), lambda: o+.5, lambda: [o], lambda: np.array(o),
                lambda: torch.tensor(o)]
    elif isinstance(o, str):
        ways = [lambda: o+'x', lambda: [o], lambda: Path(o), o.encode, lambda: np.array(o)]
    elif isinstance(o, (list, range)):
        ways = [lambda: list(o)[:-1], lambda: [*o, *o], lambda: [list(o)], lambda: set(o),
                lambda: dict.fromkeys(o), lambda: iter(o), lambda: [str(i) for i in o],
                lambda: np.array(o), lambda: [*o][:-1]+[None], lambda: pd.Series(o)[::-1]]
    else: ways = [lambda: [o], lambda: str(o), lambda: type(o)]
    try: return rnd.choice(ways)()
    except Exception: return None


class World:
    "What sensible arguments are made of; in a temporary folder"
    def __init__(self):
        for name in ('a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'):
            Path('pictures', name).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (9, 9)).save(Path('pictures', name))
        x, y, names = torch.rand(N, 1, 8, 8), torch.arange(N) % C, list('abcd')
        self.small = ImageData(x, Oracle(y, files=FILES), x[:9], y[:9], names, files=FILES)
        self.unlabelled = ImageData.from_arrays(x, classes=names, device='cpu')
        self.arms = {'margin': Margin(Supervised(n_steps=1)), 'random': self.method()}
        self.study = compare(self.arms, self.small, seeds=range(3), ledger=Ledger('study.db'),
                             backend='sequential', **PEOPLE)
        self.dls = asal_dls(self.small, self.pool(), bs=4)
        self.learn = asal_learner(self.dls)

    def method(self): return Random(Supervised(n_steps=1))

    def pool(self):
        pool = Pool(N, C)
        pool.label(torch.arange(10), torch.arange(10) % C)
        return pool

    def ledger(self):
        led = Ledger()
        run = led.open_run('a', {}, {})
        led.ask(run, 0, [1, 2, 3])
        led.answer(run, [1, 2], [0, 1])
        return led

    def loop(self):
        al = ActiveLearning(self.unlabelled, self.method(), **PEOPLE)
        al.next()
        return al

    def receiver(self, cls):
        "The object whose method is called"
        made = {Pool: self.pool, Ledger: self.ledger, ActiveLearning: self.loop}
        kept = {ImageData: self.small, Study: self.study, ASALLearner: self.learn}
        return made[cls]() if cls in made else kept[cls]

    def sensible(self):
        "Makers of good values by the argument's name"
        same = dict(   # values that no call changes
            b=3, n=20, seed=0, t=.5, name='a', path='pictures', data=self.small, learn=self.learn,
            net=self.learn.model, dls=self.dls, run=1, round=0, n_steps=1, n_warm=1, n_epoch=1,
            n_iter=2, n_boot=50, n_flips=50, c=C, n_classes=C, flip=False, h='pseudo', nz=4,
            x_shape=(1, 8, 8), size=8, n_in=1, k=3, ax=None, h_warm='instance', title='t',
            titles=None, oracle=self.small.oracle, root='pictures', fit='crop', device='cpu',
            out='out.csv', seeds=range(3), arms=self.arms, effect=.1, sd=.1, what='a thing',
            text='a text', metrics=None, beta=.1, temp=.2, f=len, lo=0, hi=5, word='margin',
            shape='n nz', p_drop=.1, tau=.9, alpha=.9, delta=.5, image=None, file=None, quiet=True,
            trunk=None, bs=4, bs_U=4, backend='sequential', n_jobs=1, rounds=2, n_first=5,
            first='random', level=.95, train=Supervised(n_steps=1), readonly=False, to='.',
            target=.5, test=None, cache=None)
        made = dict(
            z=lambda: torch.rand(N, NZ), p=lambda: torch.rand(N, C).softmax(1),
            y=lambda: torch.arange(N) % C, rows=lambda: torch.arange(N), idx_L=lambda: [1, 2, 3],
            mu=lambda: torch.randn(N, NZ), logits=lambda: torch.randn(N, C),
            d=lambda: torch.randn(N), t_U=lambda: torch.rand(N), a=lambda: torch.arange(5),
            centres=lambda: torch.rand(4, NZ), rng=lambda: torch.Generator().manual_seed(0),
            scale=lambda: torch.ones(N), pool=self.pool, ledger=self.ledger, method=self.method,
            classes=lambda: list('abcd'), labels=lambda: list('aabb'), names=lambda: ['a', 'b'],
            files=lambda: ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'], answers=lambda: {1: 'a'},
            df=lambda: pd.DataFrame({'file': ['a/1.png', 'b/3.png'], 'label': ['a', 'b']}),
            settings=dict, env=dict, acc=lambda: np.random.rand(3, 2, 4),
            tensors=lambda: {'a': torch.rand(2)})
        like = dict(x='z', x_hat='z', rows_L='a', logvar='mu', eps='mu', d_U='d', d_L='d',
                    d_hat='d', g='rng', i='a', v='t_U', angle='t_U', led='ledger', i_L='idx_L')
        made |= {k: lambda o=o: o for k, o in same.items()}
        return made | {k: made[o] for k, o in like.items()}


def pictures(): return torch.rand(N, 1, 8, 8)


def shares(): return torch.full((C,), 1/C)


SPECIAL = {     # arguments that mean something else here
    'data.sources': dict(x=pictures, file=lambda: 'pictures/a/1.png'),
    'data.views': dict(x=pictures, d=lambda: torch.zeros(N, 2), flip=lambda: None),
    'data.images': dict(x=pictures),
    'game.pseudo': dict(p_mean=shares, prior=shares, q=lambda: torch.rand(N, C).softmax(1)),
    'paper.url': dict(logp=lambda: torch.randn(N)),
    'paper.classifier': dict(u=lambda: torch.rand(N, NZ)),
    'paper.objective': dict.fromkeys(['url', 'cls_L', 'cls_U', 'adv', 'cls'],
                                     lambda: torch.tensor(1.))
    | dict.fromkeys(['terms', 'weights'], lambda: {'a': 1.}),
    'paper.adversarial.best_d': dict.fromkeys(['p_L', 'p_U'], lambda: torch.rand(9)),
    'study.statistics': dict(n=lambda: [10, 20, 30, 40], p=lambda: [.1, .2])
    | dict.fromkeys('dab', lambda: np.random.rand(3, 4)),
    'study.statistics.power': dict(n=lambda: 5),
    'study.statistics.detectable': dict(n=lambda: 5),
    'study.statistics.bootstrap_t': dict(d=lambda: np.random.randn(5)),
    'study.statistics.sign_flip': dict(d=lambda: np.random.randn(5)),
    'game.warmup': dict(c=lambda: None, h=lambda: 'instance'),
    'game.learner.ASALLearner': dict(rows=lambda: torch.arange(10, N), i_U=lambda: [20, 21])}
LONG = {'n_steps', 'n_iter', 'n_epoch', 'n_warm', 'n_boot', 'n_flips', 'total', 'n_masks', 'n_sub',
        'rounds', 'split', 'block', 'width', 'nf', 'nz', 'n_h', 'side', 'size', 'imsize', 'n_vae'}
ALWAYS = {'backend', 'n_steps', 'n_warm', 'n_epoch'}    # given even where they have a default


def targets(only=''):
    "(name, function or class, name of its method or None) of everything public that is called"
    left = {o for k in LEFT for o in k.split(', ')}
    found = [getattr(asal_nb.all, k) for k in asal_nb.all.__all__ if k not in left]
    for name, public in PUBLIC.items():
        module = importlib.import_module(f'asal_nb.{name}')
        names = module.__all__ if public == '*' else public.split()
        found += [getattr(module, k) for k in names]
    out = {}
    for f in [*found, ASALLearner]:
        is_ours = getattr(f, '__module__', '').startswith('asal_nb') and callable(f)
        if not is_ours or inspect.isclass(f) and issubclass(f, Exception): continue
        home = f"{f.__module__.removeprefix('asal_nb.')}.{f.__name__}"
        if f is not ASALLearner: out[home] = home, f, None
        names = METHODS.get(f, '').split() if inspect.isclass(f) else []
        out |= {f'{home}.{k}': (f'{home}.{k}', f, k) for k in names}
    return [o for k, o in out.items() if only in k]


def arguments(full, f, good, rnd):
    "Arguments in order and by name: sensible ones, of which none to two are bent or wrong"
    parts, makers = full.split('.'), dict(good)
    for k in range(1, len(parts)+1): makers.update(SPECIAL.get('.'.join(parts[:k]), {}))
    own = [o for o in inspect.signature(f).parameters.values()
           if o.name != 'self' and o.kind != o.VAR_KEYWORD]
    args, kw = [], {}
    for o in own:
        if o.kind == o.VAR_POSITIONAL: args = [wrong(rnd) for _ in range(rnd.randrange(3))]
        elif o.default is o.empty or o.name in ALWAYS or rnd.random() < .15:
            if o.name in makers: kw[o.name] = makers[o.name]()
            else: kw[o.name] = wrong(rnd) if o.default is o.empty else o.default
    names = [o.name for o in own if o.kind != o.VAR_POSITIONAL]
    for name in rnd.sample(names, min(len(names), rnd.choice([0, 1, 1, 1, 2]))):
        if name in kw and rnd.random() < .5: kw[name] = bent(kw[name], rnd)
        else: kw[name] = wrong(rnd)
        if name in LONG and isinstance(kw[name], int) and kw[name] > 100: kw[name] = 2
    order = [o.name for o in own if o.name in kw and (
        o.kind == o.POSITIONAL_ONLY or args and o.kind == o.POSITIONAL_OR_KEYWORD)]
    return [kw.pop(k) for k in order] + args, kw


def state(o):
    "What a refusal must leave alone"
    if isinstance(o, Pool): return [v.tolist() for v in (o.y, o.round, o.is_held, o.is_skipped)]
    if isinstance(o, Ledger):
        tables = 'run', 'ask', 'answer', 'round', 'first', 'weights'
        return [repr(o.select(f'SELECT * FROM {t}')) for t in tables]


class Late(BaseException): "A call took longer than SECONDS"


def late(*_): raise Late


def place(e):
    "The last line of ours that a traceback names"
    ours = [o for o in traceback.extract_tb(e.__traceback__) if '/asal_nb/' in o.filename]
    if not ours: return '(the call itself)'
    at = Path(ours[-1].filename)
    return f'{at.parent.name}/{at.name}:{ours[-1].lineno}'


def begun(out):
    "What a call gave, begun where it waits: a generator, or a context"
    if isinstance(out, types.GeneratorType): next(out, None)
    elif isinstance(out, contextlib.AbstractContextManager) and hasattr(out, 'gen'):
        with out: pass


def one(f, args, kw, owner=None):
    "'result', 'sentence', or (type of error, place, message)"
    before = state(owner)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            begun(f(*args, **kw))
        return 'result'
    except Late as e: return 'Late', place(e), ''
    except ValueError as e:
        said = str(e).strip()
        if isinstance(e, UnicodeError) or len(said.splitlines()) != 1 or len(said) > LETTERS:
            return f'{type(e).__name__}, no sentence', place(e), said
        if state(owner) == before: return 'sentence'
        return 'changed something', place(e), said
    except (Exception, SystemExit) as e: return type(e).__name__, place(e), str(e)
    finally: signal.setitimer(signal.ITIMER_REAL, 0)


def brief(o):
    "A value in a few letters"
    shape = getattr(o, 'shape', None)
    if isinstance(shape, tuple) and shape:
        return f"<{type(o).__name__} {getattr(o, 'dtype', '')} {tuple(shape)}>"
    try: return ascii(o)[:40]
    except Exception: return f'<{type(o).__name__}>'


def run(w, todo, calls, seed):
    "How many calls ended in what, and a Counter of the places where they ended otherwise"
    rnd, good, spent = random.Random(seed), w.sensible(), Counter()
    torch.manual_seed(seed)
    np.random.seed(seed)
    ended, others, start = Counter(result=0, sentence=0, other=0), Counter(), time.time()
    for k in range(calls):
        full, owner, method = todo[k % len(todo)]
        if spent[full] > 60: full, owner, method = rnd.choice(todo)
        began = time.time()
        o = w.receiver(owner) if method else None
        f = getattr(o, method) if method else owner
        args, kw = arguments(full, f, good, rnd)
        said = one(f, args, kw, None if method in KEEPS else o)
        matplotlib.pyplot.close('all')
        spent[full] += time.time() - began
        is_fine = isinstance(said, str)
        ended[said if is_fine else 'other'] += 1
        if is_fine: continue
        given = ', '.join([*map(brief, args), *(f'{k}={brief(o)}' for k, o in kw.items())])
        key = full, *said[:2]
        if key not in others: print(*key, f'{said[2][:90]!r} ({given})')
        others[key] += 1
    print(f'seed {seed}: {calls} calls of {len(todo)} names in {time.time()-start:.0f} s:',
          ', '.join(f'{n} {k}' for k, n in ended.items()), f'at {len(others)} places')
    return dict(seed=seed, calls=calls, names=len(todo), **ended)


def main():
    a = m.arguments(__doc__, calls=10_000, seeds='77 78', only='')
    calls = min(a.calls, 500) if a.quick else a.calls
    sys.stdout = os.fdopen(fcntl.fcntl(1, fcntl.F_DUPFD, 99), 'w', 1) # a call may close file 1
    matplotlib.use('agg')
    warnings.simplefilter('ignore')
    signal.signal(signal.SIGALRM, late)
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        w, todo = World(), targets(a.only)
        runs = [run(w, todo, calls, seed) for seed in map(int, a.seeds.split())]
        os.chdir(home)
    for k, why in LEFT.items(): print(f'left out: {k}: {why}')
    packages = 'fastai', 'pandas', 'matplotlib', 'scikit-learn', 'asal-nb'
    m.keep('fuzz', dict(machine=m.machine(*packages), runs=runs), a.quick or a.only)
    return any(o['other'] for o in runs)


if __name__ == '__main__': sys.exit(main())
