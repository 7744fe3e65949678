"""The register D1-D23: each row is complete, is cited by a docstring that it names, and has a test.

A test's name begins with its row: test_D13_... ; if a row names another file, that goes further."""
import ast
import inspect
import json
import re
import pytest
import torch
from conftest import ROOT
from torch import tensor
from asal_nb.paper.gauss import kl
from asal_nb.paper.url import bound, log_p_x
from asal_nb.paper.classifier import log_p_instance, log_p_y
from asal_nb.paper.adversarial import auc, dsc_loss, soft_targets, vae_adv_loss
from asal_nb.paper.objective import vae_loss, warm_loss
from asal_nb.ask.sampler import ask_rows, diverse, query
from asal_nb.ask.coldstart import first_rows
from asal_nb.data.pool import Pool, ask_oracle
from asal_nb.data.images import ImageData
from asal_nb.data.loaders import asal_dls, steps_of
from asal_nb.game.networks import asal_net, dsc_input
from asal_nb.game.pseudo import pseudo
from asal_nb.game.targets import TARGETS, H, Instance, Plain, codes
from asal_nb.game.warmup import WarmLoss, rate_of, warm_learner
from asal_nb.game.turns import descend, dsc_batch, two_groups
from asal_nb.game.learner import probabilities, ASALLoss, asal_learner, decay_of
from asal_nb.game.asking import seen_by_dsc
from asal_nb.loop.asal import ASAL
from asal_nb.loop.loop import ActiveLearning
from asal_nb.loop.health import NoAdversarialGradient, alarms, dsc_health, health

REGISTER = [f'D{i}' for i in range(1, 24)]
N, N_L, C = 40, 12, 3  # rows, labelled rows, classes


# --- the table itself ---

def page(name):
    "The words of a page of the paper's part"
    nb = json.loads((ROOT/f'nbs/paper/{name}.ipynb').read_text(encoding='utf-8'))
    return '\n\n'.join(''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')


def rows(text):
    "Row name -> its four other columns"
    found = re.findall(r'^\| *(D\d+) *\|(.*)\| *$', text, re.M)
    return {d: [o.strip() for o in rest.split('|')] for d, rest in found}


def docstrings():
    "Public name, 'Class.method' also where it is patched -> its docstring"
    for p in (ROOT/'asal_nb').rglob('[!_]*.py'):
        for n in ast.parse(p.read_text(encoding='utf-8')).body:
            if not isinstance(n, (ast.FunctionDef, ast.ClassDef)) or n.name.startswith('_'):
                continue
            name, own = n.name, [m for m in n.body if isinstance(m, ast.FunctionDef)]
            if any('patch' in ast.unparse(d) for d in n.decorator_list):
                name = f'{ast.unparse(n.args.args[0].annotation)}.{name}'
            yield name, ast.get_docstring(n) or ''
            if isinstance(n, ast.ClassDef):
                yield from ((f'{name}.{m.name}', ast.get_docstring(m) or '') for m in own)


ROWS, DOCS = rows(page('register')), dict(docstrings())
each = pytest.mark.parametrize('d', REGISTER)


def cites(doc, d): return bool(re.search(rf'\([^()]*\b{d}\b[^()]*\)', doc))


def test_rows_are_those_of_the_register(): assert list(ROWS) == REGISTER


@each
def test_the_row_is_complete(d):
    assert len(ROWS[d]) == 4 and all(ROWS[d]), f'{d} needs four filled columns; it has {ROWS[d]}'
    named = re.findall(r'`([^`]+)`', ROWS[d][3])
    files = [o for o in named if o.startswith('tests/')]
    lost = [o for o in files if not (ROOT/o).exists()]
    lost += [o for o in named if o not in files and o not in DOCS]
    assert not lost, f'{d} names {lost}, which do not exist'
    assert files and len(named) > len(files), f'{d} names {named}, no function or no test'


@each
def test_what_the_row_names_cites_it(d):
    named = [o for o in re.findall(r'`([^`]+)`', ROWS[d][3]) if o in DOCS]
    assert any(cites(DOCS[o], d) for o in named), f'no docstring of {named} cites ({d})'


@each
def test_the_row_is_held(d): assert any(name.startswith(f'test_{d}_') for name in globals())


def test_each_equation_has_a_row_that_names_its_function():
    found = re.findall(r'^\| Eq\. (\d) \|[^|]+\|([^|]+)\|', page('equations'), re.M)
    found = dict(found)
    assert list(found) == list('12345678')
    for k, names in found.items():
        docs = [DOCS[o] for o in re.findall(r'`([^`]+)`', names)]
        cited = [o for o in docs if re.search(rf'Eqs?\. [^.:]*\({k}\)', o)]
        assert cited, f'no docstring of {names} cites Eq. ({k})'


# --- one small test, or two, for each row ---

def gen(seed=0): return torch.Generator().manual_seed(seed)
def images(n=N, seed=0): return torch.rand(n, 1, 8, 8, generator=gen(seed))


def toy(n_L=N_L):
    "Forty grey images in three classes, a pool with some of them labelled"
    y, first = torch.arange(N) % C, torch.arange(0, N, 3)[:n_L]
    data, pool = ImageData.from_arrays(images(), y, images(9, 1), y[:9]), Pool(N, C)
    pool.label(first, data.oracle(first))
    return data, pool


def learner(h='instance', **kw):
    data, pool = toy()
    return asal_learner(asal_dls(data, pool, bs=8), h, **kw).silence()


def state(net, *but):
    return {k: v.clone() for k, v in net.state_dict().items() if not k.startswith(but)}
def equal(a, b): return all(torch.equal(v, b[k]) for k, v in a.items())


def fused(n=10, n_L=4, nz=5):
    "What a fused pass returns, at random: rows of L, U and U's views"
    g = gen()
    def rand(*shape): return torch.randn(*shape, generator=g, dtype=torch.float64)
    m = 2*n - n_L
    shapes = dict(x=(n, 4), x_hat=(n, 4), mu=(m, nz), logvar=(m, nz), logits=(n, C),
                  logits_z=(m, C), u=(m, 6), d=(n,))
    return {k: rand(*v) for k, v in shapes.items()}, torch.arange(n_L) % C


def loss(**kw): return ASALLoss(Instance(), 1., **kw)


def test_D1_bounds_are_negated_once():
    t = [tensor(float(i), requires_grad=True) for i in range(4)]
    assert torch.autograd.grad(vae_loss(*t, 5, 6, 7, 8), t) == (-5, -6, -7, 8)
    assert torch.autograd.grad(warm_loss(*t[:2], 5, 6), t[:2]) == (-5, -6)


def test_D1_fitting_the_target_raises_a_bound():
    x, z = images(4), torch.zeros(4, 2)
    assert bound(log_p_x(x, x), z, z) > bound(log_p_x(x + .1, x), z, z)
    logits, y = torch.eye(C), torch.arange(C)
    assert log_p_y(2*logits, y).mean() > log_p_y(logits, y).mean()


def test_D2_descent_raises_d_on_both_pools():
    d_L, d_U = [torch.randn(5, requires_grad=True) for _ in 'LU']
    fool, tell = [torch.autograd.grad(f(d_L, d_U), (d_L, d_U)) for f in (vae_adv_loss, dsc_loss)]
    assert (fool[0] < 0).all() and (fool[1] < 0).all()
    assert (tell[0] < 0).all() and (tell[1] > 0).all()


def test_D3_beta_c_weighs_the_kl_of_eqs_2_and_3_alone():
    out, y = fused()
    a, b = [loss(beta_c=beta_c).of(out, y) for beta_c in (0., 2.)]
    cost = kl(out['mu'], out['logvar'])
    assert a['url'] == b['url'] and a['adv'] == b['adv']
    torch.testing.assert_close(a['cls_L'] - b['cls_L'], 2*cost[:4].mean())
    torch.testing.assert_close(a['cls_U'] - b['cls_U'], 2*cost[4:].mean())  # of U and its views
    assert inspect.signature(asal_learner).parameters['beta_c'].default == 1e-3


def test_D3_kl_of_L_weighs_lam1_beta_and_lam2_beta_c():
    out, y = fused()
    out['logvar'] = torch.zeros_like(out['logvar'])
    out['mu'][4:] = 0.
    def total(**kw):
        o = ASALLoss(Instance(), 3., lam2=5., **kw)
        return o.total(**o.of(out, y))
    cost = kl(out['mu'], out['logvar'])[:4].mean()
    gap = total(beta=2., beta_c=.5) - total(beta=0., beta_c=0.)
    torch.testing.assert_close(gap, (3*2 + 5*.5)*cost)


def test_D4_duplicated_pixels_leave_the_weighted_bound():
    x, x_hat = images(4), images(4, 1)
    twice = [torch.cat([o, o], 1) for o in (x_hat, x)]
    torch.testing.assert_close(2/64*log_p_x(x_hat, x), 2/128*log_p_x(*twice))
    learn = learner()
    assert learn.loss_func.lam1 == 2/64
    assert warm_learner(learn.model, learn.data).loss_func.lam1_w == 2/64


def test_D5_two_likelihoods_and_no_last_activation():
    x, a = images(4).round(), torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(log_p_x(a, x), -((a - x)**2).flatten(1).sum(1)/2)
    want = torch.distributions.Bernoulli(logits=a).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(log_p_x(a, x, 'bernoulli'), want)
    learn = learner(likelihood='bernoulli')
    used = [o.loss_func.likelihood for o in (learn, learner())]
    assert used == ['bernoulli', 'gaussian']
    with torch.no_grad(): assert learn.model.gen(5*torch.randn(64, 32)).min() < 0


def test_D6_theta_vae_is_E_G_and_C():
    net = asal_net((1, 8, 8), C)
    dsc, vae = [set(map(id, o)) for o in two_groups(net)]
    assert dsc == set(map(id, net.dsc.parameters()))
    assert vae == {id(p) for m in (net.enc, net.gen, net.clf) for p in m.parameters()}
    z = torch.randn(2, 32)
    t = net.clf.trunk(z)
    assert torch.equal(net.clf(z), net.clf.y_head(t))
    assert torch.equal(net.clf.h(z), net.clf.h_head(t))


@pytest.mark.parametrize(
    'term,key', dict(url='x_hat', cls_L='logits_z', cls_U='u', adv='d').items())
def test_D7_each_term_reads_what_its_equation_names(term, key):
    out, y = fused()
    was = loss().of(out, y)
    out[key] = out[key].flip(0)*2
    now = loss().of(out, y)
    assert [k for k in was if was[k] != now[k]] == [term]


def test_D8_the_warm_up_descends_and_leaves_D_alone():
    data, _ = toy()
    net = asal_net(data.x_shape, C)
    was, learn = state(net), warm_learner(net, data.blind(), bs=20).silence()
    learn.fit(3, 1e-3)
    moved = {k.split('.')[0] for k, v in net.state_dict().items() if not torch.equal(v, was[k])}
    assert moved == {'enc', 'gen', 'clf'}
    assert torch.equal(net.clf.y_head.weight, was['clf.y_head.weight'])
    lost = [v[0] for v in learn.recorder.values]
    assert lost[-1] < lost[0]


def test_D8_two_rates():
    learn = learner(alpha1=2e-3, alpha2=1e-3)
    learn.fit(1)
    assert [h['lr'] for h in learn.opt.hypers] == pytest.approx([1e-3, 2e-3])
    assert [h['wd'] for h in learn.opt.hypers] == [.01, .01]
    plain = learner(weight_decay=0.)
    plain.fit(1)
    assert not any(h['wd'] for h in plain.opt.hypers)  # AdamW without decay is Adam


def test_D9_an_epoch_is_a_pass_over_U_and_labels_repeat():
    data, pool = toy(n_L=3)
    dls = asal_dls(data, pool, bs=8)
    seen = [(y.i_L, y.i_U) for _, y in dls.train]
    assert torch.equal(torch.cat([u for _, u in seen]).sort()[0], pool.idx_U)
    assert all(len(o) == 8 and torch.isin(o, pool.idx_L).all() for o, _ in seen)


def test_D10_means_over_pools_one_mean_in_warm_up():
    out, y = fused()
    n = len(out['d'])
    logp = log_p_x(out['x_hat'], out['x'])
    row = logp - .01*kl(out['mu'], out['logvar'])[:n]
    torch.testing.assert_close(loss().of(out, y)['url'], row[:4].mean() + row[4:].mean())
    torch.testing.assert_close(WarmLoss(Plain(), 1.).of(out, None, None)['url'], row.mean())
    none = torch.zeros(0, 5, requires_grad=True)
    empty = bound(none.sum(1), none, none)
    empty.backward()
    z, no = torch.zeros(1), torch.zeros(0)
    assert empty == 0 and vae_adv_loss(z, no) == vae_adv_loss(no, z)


def test_D11_D_sees_the_mean_and_scores_have_no_noise():
    learn = learner(p_drop=.5)
    x_L, x_U = images(4), images(6, 1)
    learn.model.eval()
    a, b = [learn.model((x_L, x_U, None, torch.randn(10, 32))) for _ in range(2)]
    assert torch.equal(a['d'], b['d']) and torch.equal(a['logits'], b['logits'])
    assert not torch.equal(a['logits_z'], b['logits_z']) and not torch.equal(a['x_hat'], b['x_hat'])
    learn.model.train()
    i = torch.arange(N)
    mu, logits = codes(learn.model, learn.data, i)
    want = learn.dsc(dsc_input(mu, logits, 'mu+p'))
    torch.testing.assert_close(learn.scores(i), want)
    torch.testing.assert_close(learn.scores(i.flip(0)), want.flip(0))
    assert learn.model.training


def test_D12_each_step_moves_its_own_networks():
    learn = learner()
    b = learn.dls.train.one_batch()
    learn.create_opt()
    was, rest = state(learn.model), state(learn.model, 'dsc.')
    z, t_U = dsc_batch(learn.model, *b[0])
    assert not z.requires_grad and not t_U.requires_grad
    params, _, loss = next(iter(learn.moves(*learn.first_pass(b))))
    descend(loss, params, learn.opt)
    assert equal(rest, learn.model.state_dict()) and not equal(was, learn.model.state_dict())
    dsc, moves = state(learn.dsc), []
    learn.moves = lambda b, out: moves.append(0) or ()
    learn.fit(1)
    assert moves and equal(dsc, learn.dsc.state_dict())
    assert not equal(rest, learn.model.state_dict())


def test_D13_the_smallest_are_asked_by_logit():
    d = tensor([-200., 3., -300., -150.])
    assert len(d.sigmoid().unique()) < 4 and query(d, 3).tolist() == [2, 0, 3]
    learn = learner()
    rows = learn.pool.idx_U
    assert torch.equal(learn.ask(5, 'min'), rows[learn.scores(rows).argsort()[:5]])


def test_D14_the_pools_stay_a_partition_and_nothing_is_trained():
    learn = learner()
    was, pool = state(learn.model), learn.pool
    n = len(pool.idx_L)
    i = learn.ask(7)
    assert equal(was, learn.model.state_dict())
    ask_oracle(learn.data.oracle, pool, i)
    assert len(pool.idx_L) == n + 7 and torch.isin(i, pool.idx_L).all()
    assert torch.equal(torch.cat([pool.idx_L, pool.idx_U]).sort()[0], torch.arange(N))


def test_D15_a_round_starts_from_the_warm_up_with_fresh_D_and_y_head():
    data, pool = toy()
    warm = {k: torch.full_like(v, .5) for k, v in asal_net(data.x_shape, C).state_dict().items()}
    dls = asal_dls(data, pool)
    both = [asal_learner(dls, warm=o, seed=3).model for o in (None, warm)]
    fresh, warmed = [o.state_dict() for o in both]
    kept = {k for k, v in warmed.items() if torch.equal(v, fresh[k])}
    assert kept == {k for k in fresh if k.startswith(('dsc.', 'clf.y_head.'))}


def test_D15_rounds_do_not_inherit():
    data, _ = toy()
    short = ASAL(n_warm=1, n_steps=1)
    al = ActiveLearning(data, short, b=4, rounds=1, n_first=6, first='random').run()
    again = al.method.fit(al.blind, al.pool, al.warm, al.seed_for('fit', 1))  # the last round alone
    assert equal(state(al.learn.model), again.model.state_dict())


def test_D16_C_on_mu_is_judged():
    learn = learner()
    learn.model.eval()
    x = learn.data.x_test
    want = learn.model.clf(learn.model.enc(x)[0]).softmax(-1)
    torch.testing.assert_close(probabilities(learn, x), want.detach())
    torch.testing.assert_close(learn.get_preds()[0], want.detach())
    assert inspect.signature(ActiveLearning).parameters['evaluate'].default == 'model'


def test_D17_defaults_are_those_of_the_register():
    def defaults(f): return {k: p.default for k, p in inspect.signature(f).parameters.items()}
    game, warm, method = map(defaults, (asal_learner, warm_learner, ASAL))
    ours = dict(lam1=None, lam2=1, lam3=1, lam4=.1, beta=.01, alpha1=None, alpha2=5e-3)
    assert {k: game[k] for k in ours} == ours
    assert (warm['lam1_w'], warm['lam2_w'], warm['beta'], warm['alpha1_w']) == (None, 1, .01, None)
    assert rate_of(None, asal_net((1, 8, 8), C)) == 1e-2
    assert (method['lam4'], method['n_warm'], method['n_steps']) == (.1, 1200, None)
    assert (steps_of((1, 16, 16)), steps_of((1, 28, 28))) == (1200, 2400)
    assert (decay_of((1, 16, 16)), decay_of((1, 28, 28))) == (.01, .1)
    assert asal_net((1, 8, 8), C).nz == 32


def test_D18_doubt_reaches_D_without_gradient():
    p = tensor([[.9, .1], [.5, .5], [.7, .3]])
    assert soft_targets(p, 'margin').tolist() == [1, 0, .5] and not soft_targets(p).any()
    mu, logits = torch.randn(4, 5, requires_grad=True), torch.randn(4, C, requires_grad=True)
    seen = dsc_input(mu, logits, 'mu+p')
    p = logits.detach().softmax(-1)
    torch.testing.assert_close(seen[:, 5:], p.sort(-1, descending=True)[0])
    seen.sum().backward()
    assert mu.grad is not None and logits.grad is None
    assert not soft_targets(logits.softmax(-1), 'oui').requires_grad


def test_D18_the_default_and_the_paper():
    ours, paper = ASAL(), ASAL.paper()
    assert (ours.relabel, ours.condition) == ('margin', 'mu+p')
    assert (paper.relabel, paper.condition) == (None, 'mu')


@pytest.mark.parametrize('how', ['random', 'kmeans', 'kcenter', 'typiclust', 'probcover'])
def test_D19_first_rows_need_no_label(how):
    assert 'y' not in inspect.signature(first_rows).parameters
    i = first_rows(images().flatten(1), 9, how)
    assert len(i.unique()) == 9 and 0 <= i.min() <= i.max() < N
    assert inspect.signature(ActiveLearning).parameters['first'].default == 'typiclust'


def test_D20_the_state_of_the_game_is_measured():
    learn = learner()
    pools = learn.pool.idx_L, learn.pool.idx_U
    d_L, d_U = [learn.dsc(seen_by_dsc(learn, o)[2]).detach() for o in pools]
    h = dsc_health(learn)
    assert h['auc'] == auc(d_L, d_U) and h['spread'] == pytest.approx(d_U.std().item())
    with torch.no_grad(): learn.dsc.net[-1].weight.zero_()
    with pytest.warns() as seen: h = health(learn)
    assert NoAdversarialGradient in [o.category for o in seen]
    assert h['auc'] == .5 and h['spread'] == 0
    assert any(isinstance(o, NoAdversarialGradient) for o in alarms(h))


def test_D21_a_diverse_choice_spreads():
    z = .1*torch.randn(120, 2)
    z[20:] += 9
    d, rows = torch.cat([-torch.arange(20.)/100, torch.ones(100)]), torch.arange(120)
    assert (ask_rows(d, rows, 4) < 20).all()
    assert len((diverse(d, z, rows, 4) < 20).unique()) == 2
    assert (ASAL().ask, ASAL.paper().ask) == ('diverse', 'min')


@pytest.mark.parametrize('h', TARGETS)
def test_D22_before_labels_h_needs_none(h):
    data, _ = toy()
    net = asal_net(data.x_shape, C, n_h=TARGETS[h]().n_out)
    learn = warm_learner(net, data.blind(), h, bs=20).silence()
    learn.fit(1)
    assert torch.isfinite(learn.loss_func.terms['cls']) and learn.loss_func.terms['cls'] != 0


def test_D22_own_view_is_masked_and_unsure_rows_too():
    u = torch.eye(3).repeat(2, 1)  # a row's partner is its equal: without the mask it named itself
    assert (log_p_instance(u, temp=.05).exp() > .99).all()
    assert pseudo(tensor([[.97, .03], [.6, .4]])).tolist() == [[1, 0], [0, 0]]
    assert set(H) == {'pseudo', 'propagate', 'pseudo+propagate', *TARGETS}
    ours, paper = ASAL(), ASAL.paper()
    assert (ours.h_warm, ours.h) == ('instance', 'pseudo')
    assert (paper.h_warm, paper.h) == ('instance', 'instance')


def test_D23_a_label_moves_the_D_that_is_asked():
    data, pool = toy()
    m = ASAL(ask='cover', n_warm=5, n_steps=5)
    learn = m.fit(data, pool, m.warm_up(data, 0), 0)
    was = learn.ask(6, 'cover')
    with torch.no_grad():
        for p in learn.dsc.parameters(): p.normal_()   # the D that was trained has no say
    assert torch.equal(learn.ask(6, 'cover'), was)
    u = torch.rand(len(pool.idx_U))
    by_u = learn.ask(6, 'cover', doubt=u)
    twice = learn.ask(6, 'cover', rows_L=torch.cat([pool.idx_L, was[:1]]))
    assert was[0] not in twice                         # it is labelled now, and D is 1 there
    with torch.no_grad():
        for p in learn.model.enc.parameters(): p.normal_() # nor has E: codes are the warm-up's
    assert torch.equal(learn.ask(6, 'cover', doubt=u), by_u)
