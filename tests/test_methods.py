"""Every method that `asal-run` knows: two rounds on digits, as a person would start them, with few steps."""
import pandas as pd
import pytest
from asal_nb.cli import METHODS, asal_run, method_of
from asal_nb.health import health
from asal_nb.images import get_data
from asal_nb.loop import ActiveLearning

WARM, OWN, BOTH = 'n_warm=4,train.n_steps=4', 'n_steps=4', 'n_steps=4,train.n_steps=4'
STEPS = {'asal': 'n_warm=4,n_steps=4', 'asal-paper': 'n_warm=4,n_steps=4', 'typiclust': WARM, 'probcover': WARM,
         'learningloss': OWN, 'aral': OWN, 'tavaal': OWN, 'vaal': BOTH, 'sraal': BOTH, 'dgaal': BOTH}


@pytest.mark.parametrize('name', METHODS)
def test_two_rounds_from_the_command_line(name, tmp_path, capsys):
    steps = STEPS.get(name, 'train.n_steps=4')
    asal_run(method=name, rounds=2, first='random', set=steps, out=str(tmp_path/'curve.png'),
             ledger=str(tmp_path/'run.db'), quiet=True)
    lines = capsys.readouterr().out.splitlines()
    assert [o.split()[:2] for o in lines[1:4]] == [['0', '20'], ['1', '40'], ['2', '60']]
    assert (tmp_path/'curve.png').stat().st_size > 1000


@pytest.mark.parametrize('train', ['supervised', 'asal'])
def test_health_looks_at_the_sampler(train):
    steps = {'n_steps': 4, 'train.n_steps': 4} | ({'train.n_warm': 4} if train == 'asal' else {})
    m = method_of('vaal', train, **steps)
    al = ActiveLearning(get_data('digits'), m, b=5, rounds=1, first='random', quiet=True).run()
    h = health(al.learn)
    assert set(h) >= {'auc', 'spread', 'active', 'kl', 'recon'} and all(pd.notna(h[k]) for k in ('auc', 'kl', 'recon'))
