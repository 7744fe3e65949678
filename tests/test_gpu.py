"""What holds where there is a GPU: the same step, scores and views as on the CPU, runs that replay,
half precision, formats and compilation, files, and no waiting for the device within a step."""
import contextlib
import functools
import pytest
import torch
from torch import nn
from asal_nb.core import rng, seeded
from asal_nb.paper.adversarial import dsc_loss
from asal_nb.ask.coldstart import first_rows
from asal_nb.data.pool import Pool
from asal_nb.data.views import covered, moved, shaded, strong, turned, weak
from asal_nb.data.images import ImageData
from asal_nb.data.batches import Rows, RowsDL
from asal_nb.data.loaders import asal_dls
from asal_nb.game.callbacks import ChannelsLast, Compile, DeviceAug, NoValid, Precision
from asal_nb.game.targets import codes
from asal_nb.game.turns import descend, dsc_batch
from asal_nb.game.learner import probabilities, asal_learner
from asal_nb.game.asking import ASK
from asal_nb.ledger.ledger import Ledger
from asal_nb.loop import asal
from asal_nb.loop.asal import ASAL, Supervised
from asal_nb.loop.loop import ActiveLearning
from asal_nb.loop.health import health
from asal_nb.methods.table import METHODS, method_of
from asal_nb.apps.cli import switches

pytestmark = [pytest.mark.needs('cuda'), pytest.mark.filterwarnings('ignore')]
GPU = 'cuda'
H = ['pseudo', 'propagate', 'pseudo+propagate', 'instance', 'rotation', 'cluster', None]
SHAPES = pytest.mark.parametrize('shape', [(1, 8, 8), (1, 28, 28), (5,)], ids=str)
QUICK = dict(n_warm=4, n_steps=6, bs=8, bs_U=8)
WARM, BOTH = 'n_warm=2,train.n_steps=3', 'n_steps=3,train.n_steps=3'
STEPS = dict(
    dict.fromkeys(['asal', 'asal-paper'], 'n_warm=2,n_steps=3'), typiclust=WARM, probcover=WARM,
    maxherding=WARM, uncertaintyherding=WARM, learningloss='n_steps=3', aral='n_steps=3',
    tavaal=BOTH, vaal=BOTH, sraal=BOTH, dgaal=BOTH, discriminativeal=BOTH)


def kind(o): return torch.device(o.device).type


@pytest.fixture(autouse=True)
def plain_float32():
    "Products and convolutions of float32 without TF32, so that both devices can be compared"
    owners = torch.backends.cuda.matmul, torch.backends.cudnn
    was = [o.allow_tf32 for o in owners]
    for o in owners: o.allow_tf32 = False
    yield
    for o, v in zip(owners, was): o.allow_tf32 = v


@functools.cache
def toy(shape=(1, 8, 8), n=80, c=4):
    "Images (or vectors) of bytes, darker or lighter by class"
    y = torch.arange(n) % c
    x = torch.rand(n, *shape, generator=rng(0, 'gpu'))*.5 + (y/c*.5).view(-1, *[1]*len(shape))
    if len(shape) == 3: x = (x*255).to(torch.uint8)
    return ImageData.from_arrays(x, y, x[:24], y[:24], classes=[str(i) for i in range(c)])


def labelled(data, n=16):
    pool = Pool(len(data), data.n_classes)
    pool.label(torch.arange(n), data.oracle(torch.arange(n)))
    return pool


def learner(device, shape=(1, 8, 8), cbs=(), **kw):
    data = toy(shape).to(device)
    dls = asal_dls(data, labelled(data), 8, bs_U=16)
    return asal_learner(dls, cbs=list(cbs), **{'seed': 1, **kw})


def fitted(device, n=2, **kw):
    "A learner after `n` passes over the unlabelled rows, its loader's generator on the device"
    learn = learner(device, **kw).silence()
    with seeded(0, 'fit'): learn.fit(n, cbs=NoValid())
    return learn


def one_batch(learn, shape):
    "Images, labels and noise of a step, drawn on the CPU"
    x, y = toy(shape).images(torch.arange(32)), toy(shape).oracle(torch.arange(8))
    eps = torch.randn(32, learn.model.nz, generator=rng(0, 'batch'))
    return [o.to(learn.dls.device) for o in (*x.split([8, 12, 12]), y, eps)]


def game(device, shape, h):
    "Losses and gradients of E's move and of D's after it, on the batch above, by name, on the CPU"
    learn = learner(device, shape, h=h)
    *xs, y_L, eps = one_batch(learn, shape)
    net, t = learn.model, torch.arange(12, device=eps.device) % 4 if h == 'rotation' else None
    out = net((*xs, eps) if h else (*xs[:2], None, eps[:20]))
    terms = learn.loss_func.of(out, y_L, t)
    loss = learn.loss_func.total(**terms)
    loss.backward()
    grads = {f'grad {k}': p.grad for k, p in net.named_parameters() if p.grad is not None}
    found = {k: v.detach().cpu().clone() for k, v in dict(terms, loss=loss, **grads).items()}
    learn.create_opt()
    z, t_U = dsc_batch(net, *xs[:2], 'margin')
    d = net.dsc(z)
    loss = dsc_loss(d[:8], d[8:], t_U)
    descend(loss, net.dsc.parameters(), learn.opt)
    found |= dict(seen=z.cpu(), t_U=t_U.cpu(), dsc=loss.detach().cpu())
    return found | {f'D {k}': v.detach().cpu() for k, v in net.dsc.named_parameters()}


def close(a, b, rtol=1e-4):
    "Equal within a share of the largest entry"
    off = (a - b).abs().max() if a.shape == b.shape else None
    assert off is not None and off <= rtol*b.abs().max() + 1e-6, off


# ---- one step

@pytest.mark.parametrize('h', ['pseudo', 'instance', 'rotation', None])
@SHAPES
def test_a_step_is_that_of_the_cpu(shape, h):
    a, b = [game(d, shape, h) for d in (GPU, 'cpu')]
    assert set(a) == set(b) and a['loss'].isfinite()
    # of a million activations, rounding tips some at a ReLU's kink
    tol = 1e-2 if shape[-1] == 28 else 1e-3
    for k in a:
        if k.startswith('grad '): assert (a[k] - b[k]).norm() <= tol*b[k].norm() + 1e-6, k
        elif k.startswith('D '):
            assert (a[k] - b[k]).abs().mean() < 1e-4, k    # of a step of 5e-3, by signs alone
        else: close(a[k], b[k])


@SHAPES
def test_scores_codes_and_probabilities_are_those_of_the_cpu(shape):
    here, there = fitted(GPU, shape=shape), learner('cpu', shape)
    there.model.load_state_dict(here.model.state_dict())
    rows = torch.arange(80)
    assert kind(here.scores(rows)) == GPU
    close(here.scores(rows).cpu(), there.scores(rows))
    for a, b in zip(codes(here.model, here.data), codes(there.model, there.data)): close(a.cpu(), b)
    p = probabilities(here, here.data.x_test)
    assert kind(p) == 'cpu'
    close(p, probabilities(there, there.data.x_test))


@pytest.mark.parametrize('how', ASK)
def test_what_is_asked_is_unlabelled(how):
    learn = fitted(GPU)
    rows, again = [learn.ask(5, how).cpu() for _ in range(2)]
    assert torch.equal(rows, again) and len(rows.unique()) == 5
    assert torch.isin(rows, learn.pool.idx_U).all()


@pytest.mark.parametrize('h', H)
def test_every_target_trains(h):
    learn = fitted(GPU, 1, h=h)
    assert all(p.isfinite().all() and kind(p) == GPU for p in learn.model.parameters())


def test_health_of_a_learner():
    h = health(fitted(GPU))
    assert {'auc', 'spread', 'active', 'kl', 'recon', 'h_gain'} <= set(h)
    assert all(isinstance(v, (int, float)) for v in h.values())


# ---- no waiting

@contextlib.contextmanager
def no_waiting():
    "Within the block whatever makes the processor wait for the device is an error"
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try: yield
    finally: torch.cuda.set_sync_debug_mode('default')


def step(learn, b):
    "All moves on a batch, as the learner makes them, without fastai's records"
    learn._split(b)
    learn.turns.before_batch()
    learn.pred = learn.model(*learn.xb)
    loss = learn.loss_func(learn.pred, *learn.yb)
    loss.backward()
    learn.turns.after_backward()
    learn.opt.step()
    learn.opt.zero_grad()
    learn.turns.after_batch()
    return loss


@pytest.mark.parametrize('relabel', ['margin', 'entropy', 'oui', None])
@pytest.mark.parametrize('h', ['pseudo', 'instance', None])
def test_no_step_waits_for_the_device(h, relabel):
    learn = fitted(GPU, 1, h=h, relabel=relabel)
    it = iter(learn.dls.train)
    for _ in range(2): step(learn, next(it))
    with no_waiting():
        for _ in range(2): loss = step(learn, next(it))
    assert loss.isfinite()


# ---- views

IMAGES, VECTORS = (6, 3, 16, 16), (6, 5)


@pytest.mark.parametrize('shape', [IMAGES, VECTORS], ids=str)
@pytest.mark.parametrize('view', [weak, strong])
def test_views_stay_on_the_device_and_replay(view, shape):
    x = torch.rand(shape, generator=rng(0)).to(GPU)
    with no_waiting(): views = [view(x, rng(i, device=x.device), flip=True) for i in (1, 1, 2)]
    a = views[0]
    assert kind(a) == GPU and a.shape == x.shape and torch.equal(a, views[1])
    assert view is weak and len(shape) == 2 or not torch.equal(a, views[2])


def uniform(g, lo): return torch.rand(6, generator=g) + lo


PARTS = {
    moved: lambda g: (torch.randint(-2, 3, (2, 6), generator=g), torch.arange(6) % 2 == 0),
    turned: lambda g: (uniform(g, -.5), uniform(g, .5)),
    shaded: lambda g: (uniform(g, .5), uniform(g, .5)),
    covered: lambda g: (torch.randint(16, (2, 6), generator=g),)}


@pytest.mark.parametrize('view, how', PARTS.items(), ids=[o.__name__ for o in PARTS])
def test_each_part_of_a_view_is_that_of_the_cpu(view, how):
    x, args = torch.rand(IMAGES, generator=rng(0)), how(rng(1))
    more = (5,) if view is covered else ()
    here = view(x.to(GPU), *[o.to(GPU) for o in args], *more)
    assert kind(here) == GPU
    torch.testing.assert_close(here.cpu(), view(x, *args, *more), rtol=1e-4, atol=1e-4)


def test_augmentation_by_callback():
    seen = []
    learn = learner(GPU)
    learn.add_cb(DeviceAug(lambda x, g: (seen.append(kind(g)), x)[1]))
    learn.fit(1, cbs=NoValid())
    assert set(seen) == {GPU}


# ---- precision, format, compilation

@pytest.mark.parametrize('mode', ['bf16', 'fp16'])
@SHAPES
def test_half_precision_trains(mode, shape):
    learn = learner(GPU, shape).silence()
    was = {k: v.clone() for k, v in learn.model.state_dict().items()}
    learn.add_cb(Precision(mode))
    for _ in range(2): learn.fit(2, cbs=NoValid())
    now = learn.model.state_dict()
    assert torch.stack(learn.recorder.losses).isfinite().all()
    assert all(v.isfinite().all() and v.dtype == torch.float32 for v in now.values())
    still = [k for k in now if torch.equal(now[k], was[k])]
    # no target trains the head of h here
    assert not [k for k in still if not k.startswith('clf.h_head.')]


@pytest.mark.parametrize('mode', ['bf16', 'fp16'])
def test_half_precision_in_the_loop(mode):
    al = run(precision=mode)
    assert al.results.accuracy.between(0, 1).all()
    assert al.learn.scores(torch.arange(9)).dtype == torch.float32


def first_losses(*cbs, n=1, shape=(1, 8, 8)):
    "The smoothed losses of the first steps"
    learn = fitted(GPU, n, cbs=cbs, shape=shape)
    return torch.stack([torch.as_tensor(o) for o in learn.recorder.losses])


def test_channels_last_gives_the_same_losses():
    close(first_losses(ChannelsLast(), shape=(1, 28, 28)), first_losses(shape=(1, 28, 28)), .02)


# ---- whole runs

def run(seed=0, ledger=None, b=6, device=GPU, **kw):
    "Two rounds on tiny data"
    m = ASAL(**QUICK, **kw)
    return ActiveLearning(
        toy().to(device), m, b, 2, 10, 'random', seed, ledger, quiet=True).run()


@pytest.mark.parametrize('ask', ASK)
def test_a_run_keeps_its_budget_and_replays(ask, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    a = run(ask=ask)
    asal.once.last.clear()
    b = run(ask=ask)
    assert a.results.n_labelled.tolist() == [10, 16, 22] and (a.pool.y >= 0).sum() == 22
    assert torch.equal(a.pool.round, b.pool.round) and kind(a.learn.model.enc.mu.weight) == GPU
    assert kind(a.pool.y) == 'cpu'


@pytest.mark.parametrize('how', ['random', 'kmeans', 'kcenter', 'typiclust', 'probcover'])
def test_first_rows_are_those_of_the_cpu(how):
    z = torch.randn(400, 16, generator=rng(3))
    rows = first_rows(z.to(GPU), 20, how)
    assert kind(rows) == GPU and torch.equal(rows.cpu(), first_rows(z, 20, how))


def test_first_rows_of_a_run(monkeypatch):
    def quick(self, data, seed): return asal.warmed(data, seed, 'instance', 2)
    monkeypatch.setattr(ASAL, 'warm_up', quick)
    runs = [ActiveLearning(toy().to(GPU), ASAL(**QUICK), 5, 1, 10, seed=i) for i in (0, 0, 1)]
    rows = [o.choose_first() for o in runs]
    assert torch.equal(*rows[:2]) and all(len(o.unique()) == 10 and kind(o) == 'cpu' for o in rows)


@pytest.mark.parametrize('name', METHODS)
def test_every_method_asks(name):
    data, m = toy().to(GPU), method_of(name, **switches(STEPS.get(name, 'train.n_steps=3')))
    pool, blind = labelled(data), data.blind()
    learn = m.fit(blind, pool, m.warm_up(blind, 0), 0)
    rows = torch.as_tensor(m.query(learn, blind, pool, 7, 0)).cpu()
    assert rows.shape == (7,) and len(rows.unique()) == 7 and torch.isin(rows, pool.idx_U).all()
    assert kind(next(learn.model.parameters())) == GPU


def test_a_run_goes_on_from_its_ledger_on_the_other_device(tmp_path):
    "What was asked on the GPU stays asked: the run on the CPU only trains again"
    a = run(ledger=tmp_path/'run.db')
    b = run(ledger=tmp_path/'run.db', device='cpu')
    assert a.results.equals(b.results) and torch.equal(a.pool.round, b.pool.round)
    assert kind(b.learn.model.enc.mu.weight) == 'cpu'


def test_a_run_that_was_cut_off_ends_on_the_other_device(tmp_path, monkeypatch):
    led = Ledger(tmp_path/'run.db')
    step = ActiveLearning.step

    def cut(self, run, r, b):
        if r: raise KeyboardInterrupt
        step(self, run, r, b)
    with monkeypatch.context() as m:
        m.setattr(ActiveLearning, 'step', cut)
        with pytest.raises(KeyboardInterrupt): run(ledger=led)
    a = run(ledger=led, device='cpu')
    assert a.results.n_labelled.tolist() == [10, 16, 22] and len(a.ledger.runs()) == 1


def test_data_on_the_cpu_stay_there():
    "Having a GPU does not mean using it"
    learn = fitted('cpu', 1)
    y_L = learn.dls.one_batch()[1]
    assert {kind(o) for o in (*learn.model.parameters(), y_L, y_L.i_L, y_L.i_U)} == {'cpu'}
    assert kind(next(iter(RowsDL(Rows(torch.zeros(4, 2)), 2)))[0]) == 'cpu'
    al = run(device='cpu')
    assert kind(al.learn.model.enc.mu.weight) == 'cpu'
    assert al.results.n_labelled.tolist() == [10, 16, 22]


def test_a_batch_carries_its_rows_on_the_device():
    (x_L, x_U), y_L = learner(GPU).dls.one_batch()
    assert {kind(o) for o in (x_L, x_U, y_L, y_L.i_L, y_L.i_U)} == {GPU}
    assert [len(y_L.i_L), len(y_L.i_U)] == [8, 16]


def test_there_and_back():
    data = toy()
    there = data.to(GPU)
    back = there.to('cpu')
    assert kind(there) == kind(there.x_test) == kind(there.y_test) == GPU
    assert there.to(there.device) is there and torch.equal(back.x, data.x)
    assert back.fingerprint() == there.fingerprint() == data.fingerprint()
    assert back.exam() == data.exam()
    assert kind(there.images([3, 1])) == kind(there.tuning(20)) == GPU


def test_seeds_leave_the_global_generators_alone():
    was, drawn = torch.cuda.get_rng_state(), []
    for _ in range(2):
        with seeded(0, 'gpu'): drawn.append(torch.rand(4, device=GPU))
    assert torch.equal(*drawn) and torch.equal(was, torch.cuda.get_rng_state())


# ---- files

def test_save_and_load(tmp_path):
    a, b = fitted(GPU), learner(GPU, seed=2)
    a.path = b.path = tmp_path
    a.save('a')
    b.load('a')
    own = a.model.state_dict()
    assert all(torch.equal(v, own[k]) for k, v in b.model.state_dict().items())
    b.fit(1, cbs=NoValid())
    c = learner('cpu', seed=2)
    c.path = tmp_path
    c.load('a')
    close(c.scores(torch.arange(9)), a.scores(torch.arange(9)).cpu())


def test_export_and_prediction(tmp_path):
    from fastai.learner import load_learner
    learn = fitted(GPU)
    learn.path = tmp_path
    p, y = learn.get_preds()
    assert p.shape == (24, 4) and torch.equal(y.cpu(), toy().y_test)
    said = learn.predict(toy().x_test[2])
    assert said[0] == str(int(said[1]))
    close(said[2].cpu(), p[2].cpu())
    learn.export('a.pkl')
    again = load_learner(tmp_path/'a.pkl')
    close(again.silence().predict(toy().x_test[2])[2].cpu(), p[2].cpu())
    learn.dls.show_batch()
    learn.show_results()


def test_supervised_training_on_a_trunk_of_ones_own():
    data = toy().to(GPU)
    trunk = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    learn = Supervised(n_steps=4, bs=8, trunk=trunk).fit(data, labelled(data), None, 0)
    assert kind(next(trunk.parameters())) == 'cpu' and kind(next(learn.model.parameters())) == GPU


# ---- last, as it takes longest

@pytest.mark.parametrize('backend', [
    'aot_eager', pytest.param('inductor', marks=pytest.mark.needs('compiler'))])
def test_compiled_steps_have_the_same_losses(backend):
    torch.compiler.reset()
    close(first_losses(Compile(backend=backend), shape=(5,)), first_losses(shape=(5,)), .02)
