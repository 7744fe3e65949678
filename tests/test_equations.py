"""The equations against float64 references in numpy and scipy, written from the paper; gradients,
extremes, empty pools, batch sizes, and refusals that the chapters do not show."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import special, stats
from torch import tensor
from torch.autograd import gradcheck
from asal_nb.paper.gauss import kl, reparam
from asal_nb.paper.url import bound, log_p_x, pool_mean
from asal_nb.paper.classifier import log_p_instance, log_p_y, rotate
from asal_nb.paper.adversarial import (
    auc, best_d, dsc_loss, entropy, margin, oui, soft_targets, vae_adv_loss)
from asal_nb.paper.objective import vae_loss, warm_loss
from asal_nb.ask.clusters import knn
from asal_nb.game.pseudo import align, combine, propagate, pseudo

F64, sizes = torch.float64, st.integers(1, 130)
quick = settings(max_examples=25, deadline=None)


def gen(seed): return torch.Generator().manual_seed(seed)
def rand(seed, *shape, scale=2.): return scale*torch.randn(*shape, generator=gen(seed), dtype=F64)
def probs(seed, n, c): return rand(seed, n, c).softmax(-1)


def same(got, want, tol=1e-9):
    got, want = got.detach().numpy(), np.asarray(want)
    assert got.dtype == np.float64 and got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


# --- one row per equation: the package, and the same from scipy ---

def ref_kl(mu, logvar): return (0.5*(mu**2 + np.exp(logvar) - 1 - logvar)).sum(1)
def ref_adv(d_L, d_U): return np.logaddexp(0, -d_L).mean() + np.logaddexp(0, -d_U).mean()


def ref_dsc(d_L, d_U, t):
    D = special.expit(d_U)
    return -np.log(special.expit(d_L)).mean() - (t*np.log(D) + (1 - t)*np.log1p(-D)).mean()


@quick
@given(sizes, st.integers(1, 9), st.integers(0, 99))
def test_gauss(n, nz, seed):
    mu, logvar, eps = [rand(seed + i, n, nz) for i in range(3)]
    same(kl(mu, logvar), ref_kl(mu.numpy(), logvar.numpy()))
    same(reparam(mu, logvar, eps), mu.numpy() + np.sqrt(np.exp(logvar.numpy()))*eps.numpy())


@quick
@given(sizes, st.floats(0, 5), st.integers(0, 99))
def test_url(n, beta, seed):
    x, x_hat = rand(seed, n, 2, 3, 3), rand(seed + 1, n, 2, 3, 3)
    mu, logvar = rand(seed + 2, n, 4), rand(seed + 3, n, 4)
    logp = stats.norm(x_hat.numpy()).logpdf(x.numpy()).reshape(n, -1).sum(1) + 9*np.log(2*np.pi)
    same(log_p_x(x_hat, x), logp)
    cost = ref_kl(mu.numpy(), logvar.numpy())
    same(bound(log_p_x(x_hat, x), mu, logvar, beta), (logp - beta*cost).mean())
    x, p = special.expit(x.numpy()), special.expit(x_hat.numpy())
    logp = (x*np.log(p) + (1 - x)*np.log1p(-p)).reshape(n, -1).sum(1)
    same(log_p_x(x_hat, torch.from_numpy(x), 'bernoulli'), logp)


@quick
@given(sizes, st.integers(1, 12), st.integers(0, 99))
def test_label_likelihood(n, c, seed):
    logits, q = rand(seed, n, c), probs(seed + 1, n, c)
    y = np.random.RandomState(seed).randint(c, size=n)
    logp = special.log_softmax(logits.numpy(), axis=1)
    same(log_p_y(logits, torch.from_numpy(y)), logp[np.arange(n), y])
    same(log_p_y(logits, q), (q.numpy()*logp).sum(1))
    q[::2] = 0
    assert (log_p_y(logits, q)[::2] == 0).all()


@quick
@given(sizes, sizes, st.integers(0, 99))
def test_game(n, m, seed):
    d_L, d_U = rand(seed, n, scale=4), rand(seed + 1, m, scale=4)
    t = rand(seed + 2, m).sigmoid()
    a = [o.numpy() for o in (d_L, d_U, t)]
    same(vae_adv_loss(d_L, d_U), ref_adv(*a[:2]))
    same(dsc_loss(d_L, d_U), ref_dsc(*a[:2], 0))
    same(dsc_loss(d_L, d_U, t), ref_dsc(*a))
    same(vae_adv_loss(d_L, d_U) - dsc_loss(d_L, d_U), -a[1].mean())
    same(dsc_loss(d_L, d_U, torch.ones_like(t)), ref_adv(*a[:2]))


@quick
@given(st.integers(1, 30), st.integers(0, 99))
def test_the_best_D_is_the_minimum_at_each_place(n, seed):
    "Slope 0 and convex; and 1 - D = (1-t)(1-pi), with pi the best D without soft targets."
    p_L, p_U, t = [rand(seed + i, n).sigmoid() for i in range(3)]
    d = best_d(p_L, p_U, t)
    a, D = [o.numpy() for o in (p_L, p_U, t)], special.expit(d.numpy())
    np.testing.assert_allclose((a[0] + a[1])*D, a[0] + a[2]*a[1], rtol=1e-12)
    same(1 - d.sigmoid(), (1 - a[2])*a[1]/(a[0] + a[1]))
    same(best_d(p_L, p_U), np.log(a[0]/a[1]))
    def cost(d): return -(p_L + t*p_U)*d.sigmoid().log() - (1 - t)*p_U*(-d).sigmoid().log()
    for step in (-1e-3, 1e-3): assert (cost(d + step) > cost(d)).all()
    assert (best_d(p_L, p_L) == 0).all() and (best_d(p_L, p_U, 1.) == torch.inf).all()


def test_large_logits_keep_their_digits():
    "Near 20 a thresholded softplus drops 2e-9; the exact value is exp(-d)."
    d = tensor([20.5, 25., 30.], dtype=F64)
    no, small = d[:0], d.neg().exp().log1p()
    for got in (vae_adv_loss(d, no), dsc_loss(no, -d), dsc_loss(d, no)):
        torch.testing.assert_close(got, small.mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(vae_adv_loss(-d, no), (d + small).mean(), rtol=1e-14, atol=0)


def test_objective():
    v, lam = rand(3, 4), [.3, 1.2, .5, .1]
    a = lam*v.numpy()
    same(vae_loss(*v, *lam), -a[0] - a[1] - a[2] + a[3])
    same(warm_loss(*v[:2], *lam[:2]), -a[0] - a[1])


# --- uncertainty and soft targets ---

@quick
@given(sizes, st.integers(2, 12), st.integers(0, 99))
def test_uncertainty(n, c, seed):
    p = probs(seed, n, c)
    a = p.numpy()
    m = a.max(1)
    same(entropy(p), stats.entropy(a, axis=1))
    same(margin(p), np.sort(a)[:, -1] - np.sort(a)[:, -2])
    flattest = np.repeat(((1 - m)/(c - 1))[:, None], c, 1)
    flattest[:, 0] = m
    same(oui(p), 1 - m*flattest.var(1)/a.var(1))
    unsure = dict(entropy=stats.entropy(a, axis=1), margin=np.sort(a)[:, -2] - np.sort(a)[:, -1])
    for how, u in unsure.items():
        same(soft_targets(p, how), 1 - (stats.rankdata(u) - 1)/max(n - 1, 1))
    same(soft_targets(p, 'oui'), m*flattest.var(1)/a.var(1))
    assert not soft_targets(p.requires_grad_(), 'oui').requires_grad


@quick
@given(*[st.lists(st.integers(-3, 3), min_size=1, max_size=40)]*2)
def test_auc_is_the_pairwise_count(a, b):
    wins = np.mean([(x > y) + .5*(x == y) for x in a for y in b])
    assert abs(auc(tensor(a).double(), tensor(b).double()) - wins) < 1e-12


# --- targets h ---

def test_instance_target():
    u = rand(5, 14, 3)
    a = u.numpy()/np.linalg.norm(u.numpy(), axis=1, keepdims=True)
    s = np.exp(a @ a.T/.2)
    np.fill_diagonal(s, 0)
    same(log_p_instance(u), [np.log(s[i, (i + 7) % 14]/s[i].sum()) for i in range(14)])
    same(log_p_instance(u*torch.arange(1, 15, dtype=F64)[:, None]), log_p_instance(u))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_rotate_is_numpys(dtype):
    x, r = torch.randint(0, 255, (9, 3, 6, 6)).to(dtype), torch.arange(9) % 4
    got = rotate(x, r)
    assert got.dtype == dtype and got.is_contiguous()
    want = [np.rot90(o, k, (1, 2)) for o, k in zip(x.numpy(), r.tolist(), strict=True)]
    np.testing.assert_array_equal(got, np.stack(want))


def test_align_pseudo_combine():
    p, q = probs(1, 30, 5), probs(2, 30, 5)
    m, prior = probs(3, 1, 5)[0], probs(4, 1, 5)[0]
    a, b = p.numpy(), q.numpy()
    w = a*prior.numpy()/m.numpy()
    same(align(p, m, prior), w/w.sum(1, keepdims=True))
    w = np.sqrt(a*b)
    same(combine(p, q), w/w.sum(1, keepdims=True))
    same(pseudo(p, .6), np.where(a.max(1, keepdims=True) >= .6, np.eye(5)[a.argmax(1)], 0))
    never = tensor([.5, .5, 0., 0., 0.], dtype=F64)
    assert align(never.repeat(3, 1), never, prior).isfinite().all()
    assert (combine(torch.eye(2), torch.eye(2).flip(0)) == 0).all()
    assert combine(torch.full((1, 2), 1e-30), torch.full((1, 2), 1e-30)).tolist() == [[.5, .5]]


@quick
@given(st.integers(2, 130), st.integers(1, 8), st.integers(0, 99))
def test_knn_is_exact(n, k, seed):
    k, z = min(k, n - 1), rand(seed, n, 3)
    d = np.linalg.norm(z.numpy()[:, None] - z.numpy()[None], axis=-1)
    np.fill_diagonal(d, np.inf)
    dist, idx = knn(z + 1e3, k, block=17)
    np.testing.assert_allclose(dist, np.sort(d)[:, :k], atol=1e-9)
    assert (idx != torch.arange(n)[:, None]).all() and all(len(set(o)) == k for o in idx.tolist())
    np.testing.assert_allclose(np.take_along_axis(d, idx.numpy(), 1), np.sort(d)[:, :k], atol=1e-9)


def test_propagate_is_the_dense_walk():
    n, k = 60, 4
    z = rand(7, n, 2)
    rows, y = tensor([3, 17, 40, 58]), tensor([0, 2, 1, 2])
    d = np.linalg.norm(z.numpy()[:, None] - z.numpy()[None], axis=-1)
    np.fill_diagonal(d, np.inf)
    near, sig = d.argsort(1)[:, :k], np.sort(d)[:, k - 1]
    w = np.zeros((n, n))
    for i in range(n):
        for j in near[i]: w[i, j] = np.exp(-d[i, j]**2/(sig[i]*sig[j]))
    w = w + w.T
    s = w/np.sqrt(np.outer(w.sum(1), w.sum(1)))
    start = np.zeros((n, 3))
    start[rows] = np.eye(3)[y]
    f = start
    for _ in range(30): f = .9*s @ f + .1*start
    tot = f.sum(1, keepdims=True)
    f = np.where(tot > 0, f/np.where(tot > 0, tot, 1), 1/3)
    f[rows] = np.eye(3)[y]
    same(propagate(z, rows, y, 3, k=k, alpha=.9, n_iter=30), f)
    p = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    inv = p.argsort()
    same(propagate(z[p], inv[rows], y, 3, k=k, alpha=.9, n_iter=30), f[p])


# --- promises that hold for all ---

def terms(n, dtype, scale=2.):
    "name -> a loss of n rows as a function of one leaf that wants a gradient"
    def leaf(*s): return rand(n, n, *s, scale=scale).to(dtype).requires_grad_()
    y, one = torch.arange(n) % 3, torch.zeros(1, dtype=dtype)
    t, q = y.to(dtype)/2, (.7*torch.eye(3, dtype=dtype) + .1)[y]
    img = torch.linspace(0, 1, 12).to(dtype).expand(n, 12)
    return dict(
        adv=(lambda d: vae_adv_loss(d, d), leaf()),
        adv_U=(lambda d: vae_adv_loss(one, d), leaf()),
        dsc=(lambda d: dsc_loss(d, d), leaf()), dsc_t=(lambda d: dsc_loss(one, d, t), leaf()),
        label=(lambda o: pool_mean(log_p_y(o, y)), leaf(3)),
        soft=(lambda o: pool_mean(log_p_y(o, q)), leaf(3)),
        bernoulli=(lambda o: pool_mean(log_p_x(o, img, 'bernoulli')), leaf(12)),
        gaussian=(lambda o: pool_mean(log_p_x(o, img)), leaf(12)),
        entropy=(lambda o: pool_mean(entropy(o.softmax(-1))), leaf(3)),
        margin=(lambda o: pool_mean(margin(o.softmax(-1))), leaf(3)),
        oui=(lambda o: pool_mean(oui(o.softmax(-1))), leaf(3)))


NAMES = list(terms(1, F64))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [torch.float32, F64])
@pytest.mark.parametrize('scale', [0., 1., 120., 3e4])
def test_finite_with_its_gradient(name, dtype, scale):
    f, _ = terms(5, dtype)[name]
    v = scale*tensor([1., -1., 1., -1., -1., 1., 0., 1., -1., 1., -1., -1.], dtype=dtype)
    v = (v if name in ('bernoulli', 'gaussian') else v[:3]).expand(5, -1)
    if name.startswith(('adv', 'dsc')): v = scale*tensor([1., -1., 1., -1., 0.], dtype=dtype)
    v = v.clone().requires_grad_()
    loss = f(v)
    loss.backward()
    assert loss.dtype == dtype and loss.shape == () and loss.isfinite() and v.grad.isfinite().all()


@pytest.mark.parametrize('name', NAMES)
def test_gradcheck(name):
    f, v = terms(5, F64)[name]
    assert gradcheck(f, v)


def test_gradcheck_of_gauss_bound_and_sums():
    mu, logvar, eps = [rand(i, 4, 3).requires_grad_() for i in range(3)]
    assert gradcheck(kl, (mu, logvar)) and gradcheck(reparam, (mu, logvar, eps))
    four = [rand(i, 1)[0].requires_grad_() for i in range(4)]
    assert gradcheck(lambda *v: bound(*v, .3), (rand(9, 4).requires_grad_(), mu, logvar))
    assert gradcheck(log_p_instance, rand(8, 6, 3).requires_grad_())
    assert gradcheck(lambda *v: vae_loss(*v, 1, .5, .2, .1), four)
    assert gradcheck(lambda *v: warm_loss(*v, 1, .5), four[:2])


@quick
@given(sizes, st.integers(2, 4), st.sampled_from(NAMES))
def test_duplicating_the_batch_changes_nothing(n, times, name):
    (f, v), (more, _) = terms(3*n, F64)[name], terms(3*n*times, F64)[name]
    same(more(v.repeat(times, *[1]*(v.dim() - 1))), f(v).item(), 1e-12)
    mu, logvar = rand(n, n, 2), rand(n + 1, n, 2)
    many = bound(mu[:, 0].repeat(times), mu.repeat(times, 1), logvar.repeat(times, 1))
    same(many, bound(mu[:, 0], mu, logvar).item(), 1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, F64])
def test_empty_pools_count_zero(dtype):
    d, no, mu = [torch.ones(*s, dtype=dtype) for s in ((3,), (0,), (0, 2))]
    mu.requires_grad_()
    b = bound(no, mu, mu)
    assert b.dtype == dtype and b.shape == () and b == 0
    b.backward()
    assert mu.grad.shape == (0, 2)
    for got in (vae_adv_loss(no, no), dsc_loss(no, no), dsc_loss(no, no, no)):
        assert got == 0 and got.dtype == dtype
    assert vae_adv_loss(d, no) == vae_adv_loss(no, d) > 0
    assert dsc_loss(no, d, d) == vae_adv_loss(no, d)
    assert log_p_y(torch.zeros(0, 3), torch.zeros(0).long()).shape == (0,)
    p = torch.zeros(0, 3, dtype=dtype)
    for how in (None, 'oui', 'entropy', 'margin'): assert soft_targets(p, how).shape == (0,)
    assert np.isnan(auc(d, no))


Z, NAN = torch.zeros, float('nan')
@pytest.mark.parametrize('f,says', [
    (lambda: kl([0.], Z(1, 1)), 'mu must be a tensor'),
    (lambda: log_p_x(Z(3), Z(3)), r'x_hat has shape \(3,\)'),
    (lambda: log_p_x(Z(3, 4), Z(3, 1)), r"must be x's \(3, 1\)"),
    (lambda: log_p_x(Z(1, 1), Z(1, 1) + NAN, 'bernoulli'), 'x holds values from nan'),
    (lambda: bound(Z(1), Z(1, 1), Z(1, 1), -2), 'beta=-2'),
    (lambda: log_p_y(Z(2, 3), tensor([0, -1])), 'y holds -1'),
    (lambda: log_p_y(Z(2, 3), Z(2, 4)), r'y has shape \(2, 4\)'),
    (lambda: log_p_y(Z(2, 3), tensor([True, False])), 'y is torch.bool'),
    (lambda: log_p_y(Z(2, 3), torch.ones(2, 3)*2), 'y holds values from 2 to 2'),
    (lambda: log_p_y(Z(2, 3), [0, 1]), 'y must be a tensor'),
    (lambda: log_p_instance(Z(2, 3), 0), 'temp=0 must be above 0'),
    (lambda: rotate(Z(2, 1, 4, 4), tensor([0, 4])), 'r holds 4'),
    (lambda: pseudo(Z(2, 3), 1.5), 'tau=1.5'),
    (lambda: align(Z(2, 3), Z(2), Z(3)), r'p_mean has shape \(2,\)'),
    (lambda: combine(Z(2, 3), Z(3, 3)), r'q has shape \(3, 3\)'),
    (lambda: knn(Z(4, 2), -1), 'k=-1'),
    (lambda: propagate(Z(9, 2), tensor([1, 1]), tensor([0, 0]), 2, k=2), '2 different rows'),
    (lambda: propagate(Z(9, 2), tensor([9]), tensor([0]), 2, k=2), r'in 0\.\.8'),
    (lambda: propagate(Z(9, 2), tensor([1]), tensor([2]), 2, k=2), 'y holds 2'),
    (lambda: propagate(Z(9, 2), tensor([1]), tensor([0]), 2, k=2, alpha=1), 'alpha=1'),
    (lambda: vae_adv_loss(Z(3, 1), Z(3)), r'd_L has shape \(3, 1\)'),
    (lambda: dsc_loss(Z(3), Z(3).long()), 'd_U is torch.int64'),
    (lambda: dsc_loss(Z(3), Z(2), Z(2) + NAN), 't_U holds values from nan'),
    (lambda: best_d(Z(3), Z(2)), r'p_U has shape \(2,\)'),
    (lambda: oui(torch.ones(2, 1)), 'p has 1 classes'),
    (lambda: margin(torch.ones(2, 1)), 'at least 2'),
    (lambda: vae_loss(*[Z(())]*4, 1, 1, NAN, 1), 'lam3=nan'),
    (lambda: warm_loss(Z(()), Z(()), '1', 1), "lam1_w='1'")])
def test_refusals_are_sentences(f, says):
    with pytest.raises(ValueError, match=says) as e: f()
    assert '\n' not in str(e.value)
