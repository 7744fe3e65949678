"Every method that `asal-run` knows: two rounds on digits in few steps, bad settings, edges."
import re
import pandas as pd
import pytest
import torch
from asal_nb.data.pool import Pool
from asal_nb.data.images import ImageData, get_data
from asal_nb.loop.loop import ActiveLearning
from asal_nb.loop.health import health
from asal_nb.methods.table import METHODS, method_of
from asal_nb.apps.cli import asal_run, switches

WARM, OWN, BOTH = 'n_warm=4,train.n_steps=4', 'n_steps=4', 'n_steps=4,train.n_steps=4'
STEPS = {
    'asal': 'n_warm=4,n_steps=4', 'asal-paper': 'n_warm=4,n_steps=4', 'typiclust': WARM,
    'probcover': WARM, 'maxherding': WARM, 'uncertaintyherding': WARM,
    'learningloss': OWN, 'aral': OWN,
    **dict.fromkeys(['tavaal', 'vaal', 'sraal', 'dgaal', 'discriminativeal'], BOTH)}

@pytest.mark.parametrize('name', METHODS)
def test_two_rounds_from_the_command_line(name, tmp_path, capsys):
    steps = STEPS.get(name, 'train.n_steps=4')
    asal_run(method=name, rounds=2, first='random', set=steps, out=str(tmp_path/'curve.png'),
             ledger=str(tmp_path/'run.db'), quiet=True)
    lines = capsys.readouterr().out.splitlines()
    assert [o.split()[:2] for o in lines[1:4]] == [['0', '20'], ['1', '40'], ['2', '60']]
    assert (tmp_path/'curve.png').stat().st_size > 1000

def tiny(n=20, c=4, alike=False):
    "`n` random images of `c` classes, or the same image `n` times"
    g = torch.Generator().manual_seed(0)
    x = torch.rand(1 if alike else n, 1, 8, 8, generator=g).expand(n, 1, 8, 8).clone()
    return ImageData.from_arrays(x, torch.arange(n) % c, classes=[str(i) for i in range(c)])

BAD = dict(
    alpha=-1, alpha1=-1, alpha2=-1, beta=-1, beta_c=-1, lam1=-1, lam2='a', lam4=float('nan'),
    lam_adv=-1, w=-1, weight_decay=-1, clip=-1, tau=4, delta=-1, weight='x', xi=-1, stop=-1, nz=0,
    nf=3, p_drop=2, size=0, trunk=3, width=0, n_steps=0, n_warm=-1, n_vae=0, n_masks=0, n_short=0,
    n_sub=0, bs=0, bs_U=0, subset=0, fresh=3, augment='no', finetune='no', diverse=3,
    precision='fp8', likelihood='x', train=4, h='x', ask='x', uncertainty='x', space='x', how='x')
UNKNOWN = "unexpected keyword argument|has no keyword '.*'"

@pytest.mark.parametrize('name', METHODS)
def test_bad_settings_are_refused_before_any_work(name):
    said = {}
    for k, v in BAD.items():
        with pytest.raises((ValueError, TypeError)) as e: METHODS[name](**{k: v})
        if not re.search(UNKNOWN, str(e.value)): said[k] = e.value
    assert said
    for k, e in said.items(): assert isinstance(e, ValueError) and str(BAD[k]) in str(e), (k, e)

EDGES = dict(  # data, labelled rows, b
    one_label=(tiny(), range(1), 3), whole_pool=(tiny(), range(8), 12),
    one_is_left=(tiny(), range(19), 1), more_classes_than_labels=(tiny(c=10), range(2), 4),
    a_class_missing=(tiny(), [0, 1, 2, 4, 5, 6], 4),
    all_images_alike=(tiny(alike=True), range(4), 16), three_rows=(tiny(3, 2), range(1), 2))
REFUSED = dict(
    none_are_left=(tiny(), range(20), 1), too_many=(tiny(), range(8), 13),
    no_rows=(tiny(), range(8), 0))

def asked(name, data, rows, b):
    "One round of a method in a few steps: its pool, and what it asks for"
    m = method_of(name, **switches(STEPS.get(name, 'train.n_steps=4')))
    pool, rows = Pool(len(data), data.n_classes), torch.tensor(list(rows))
    pool.label(rows, data.oracle(rows))
    blind = data.blind()
    learn = m.fit(blind, pool, m.warm_up(blind, 0), 0)
    return pool, m.query(learn, blind, pool, b, 0)

@pytest.mark.parametrize('edge', EDGES)
@pytest.mark.parametrize('name', METHODS)
def test_edges_are_answered(name, edge):
    b = EDGES[edge][2]
    pool, rows = asked(name, *EDGES[edge])
    assert rows.shape == (b,) and rows.dtype == torch.int64 and len(rows.unique()) == b
    assert torch.isin(rows.cpu(), pool.idx_U).all()

@pytest.mark.parametrize('name', METHODS)
def test_what_cannot_be_asked_is_refused_with_a_sentence(name):
    said = 'none are left of the unlabelled', r'b=13 .* in 1\.\.12', r'b=0 .* in 1\.\.12'
    for edge, words in zip(REFUSED, said):
        with pytest.raises(ValueError, match=words): asked(name, *REFUSED[edge])

@pytest.mark.parametrize('train', ['supervised', 'asal'])
def test_health_looks_at_the_sampler(train):
    steps = {'n_steps': 4, 'train.n_steps': 4} | ({'train.n_warm': 4} if train == 'asal' else {})
    m = method_of('vaal', train, **steps)
    al = ActiveLearning(get_data('digits'), m, b=5, rounds=1, first='random', quiet=True).run()
    h = health(al.learn)
    assert set(h) >= {'auc', 'spread', 'active', 'kl', 'recon'}
    assert all(pd.notna(h[k]) for k in ('auc', 'kl', 'recon'))
