"check_ex: right answers pass, and each wrong one meets a hint that names its mistake."
import inspect
import course
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from asal_nb import all as library
from asal_nb.check.exercises import EXERCISES, check_ex
from fractions import Fraction
from scipy import stats
from sklearn.cluster import KMeans
from torch.nn.functional import softplus

WRONG = []


def wrong(name, word, f):
    "Note a wrong answer to an exercise, and a word of the hint that must answer it"
    WRONG.append(pytest.param(name, word, f, id=f'{name}-{word.replace(" ", "-")}'))


def slip(name, word): return lambda f: wrong(name, word, f)


# --- lesson 1

def areas(n, acc): return (n[1:] - n[:-1])*(acc[1:] + acc[:-1])/2


wrong('1.1', 'mean of the points', lambda n, acc: acc.mean())
wrong('1.1', 'not divided', lambda n, acc: areas(n, acc).sum())
wrong('1.1', 'its two ends', lambda n, acc: ((n[1:] - n[:-1])*acc[:-1]).sum()/(n[-1] - n[0]))
wrong('1.1', 'its own height', lambda n, acc: areas(n, acc).sum()/n[-1])
wrong('1.1', 'no tensor, array or number', lambda n, acc: 'a half')
wrong('1.2', 'replacement', lambda idx, b, g: idx[torch.randint(len(idx), (b,), generator=g)])
wrong('1.2', 'positions', lambda idx, b, g: torch.randperm(len(idx), generator=g)[:b])
wrong('1.2', 'same seed gives other', lambda idx, b, g: idx[torch.randperm(len(idx))[:b]])
wrong('1.2', 'Another seed gives the same', lambda idx, b, g: idx[:b])
wrong('1.2', 'returns b', lambda idx, b, g: idx[torch.randperm(len(idx), generator=g)])


# --- lesson 2

def each(mu, logvar): return .5*(mu**2 + logvar.exp() - logvar - 1)
def of_sd(mu, sd): return .5*(mu**2 + sd**2 - 2*sd.abs().clamp_min(1e-9).log() - 1)


wrong('2.1', 'sign is the other way', lambda mu, logvar: -each(mu, logvar).sum(1))
wrong('2.1', 'this is a mean', lambda mu, logvar: each(mu, logvar).mean(1))
wrong('2.1', 'taken for a standard deviation', lambda mu, logvar: of_sd(mu, logvar).sum(1))
wrong('2.1', 'one number for each row', lambda mu, logvar: each(mu, logvar).sum())
wrong('2.1', 'one number for each row', each)
wrong('2.1', 'one half is missing', lambda mu, logvar: 2*each(mu, logvar).sum(1))
wrong('2.1', 'Some widths', lambda mu, logvar: of_sd(mu, logvar.exp()).sum(1))
wrong('2.1', 'for some rows', lambda mu, logvar: (mu**2 - each(0*mu, logvar)).sum(1))
wrong('2.2', 'spread is the variance', lambda mu, logvar, eps: mu + logvar.exp()*eps)
wrong('2.2', 'noise of its own',
      lambda mu, logvar, eps: mu + (logvar/2).exp()*torch.randn_like(mu))
wrong('2.2', 'gradient is cut',
      lambda mu, logvar, eps: (mu + (logvar/2).exp()*eps).detach().requires_grad_())
wrong('2.2', 'No gradient passes', lambda mu, logvar, eps: (mu + (logvar/2).exp()*eps).detach())
wrong('2.2', 'no root', lambda mu, logvar, eps: mu + logvar.sqrt()*eps)
wrong('2.2', 'its mean mu', lambda mu, logvar, eps: mu*eps + (logvar/2).exp())
wrong('2.2', 'is a logarithm', lambda mu, logvar, eps: mu + logvar*eps)
wrong('2.2', 'not the standard deviation', lambda mu, logvar, eps: mu + 2*(logvar/2).exp()*eps)


# --- lesson 3

def both(a, b, c, d): return (a - b).mean() + (c - d).mean()


wrong('3.1', 'sign is the other way', lambda *a: -both(*a))
wrong('3.1', 'a sum over rows', lambda a, b, c, d: (a - b).sum() + (c - d).sum())
wrong('3.1', 'one joint mean', lambda a, b, c, d: torch.cat([a - b, c - d]).mean())
wrong('3.1', 'KL is a cost', lambda a, b, c, d: both(a, -b, c, -d))
wrong('3.1', 'are averaged', lambda *a: both(*a)/2)
wrong('3.1', 'A pool is missing', lambda a, b, c, d: (a - b).mean())
wrong('3.2', 'does not depend', lambda n_x: 1.)
wrong('3.2', 'factor one half', lambda n_x: 1/n_x)
wrong('3.2', 'not by its root', lambda n_x: 2/n_x**.5)
wrong('3.2', 'grows with', lambda n_x: n_x/2)
wrong('3.2', 'two pixels', lambda n_x: 4/n_x)

# --- lesson 4

wrong('4.1', 'swapped', lambda d_L, d_U: softplus(d_L).mean() + softplus(-d_U).mean())
wrong('4.1', 'same target', lambda d_L, d_U: softplus(-d_L).mean() + softplus(-d_U).mean())
wrong('4.1', 'infinite',
      lambda d_L, d_U: -d_L.sigmoid().log().mean() - (1 - d_U.sigmoid()).log().mean())
wrong('4.1', 'It is negative', lambda d_L, d_U: -softplus(-d_L).mean() - softplus(d_U).mean())
wrong('4.1', 'rounded or cut off', lambda d_L, d_U: (
    F.binary_cross_entropy(d_L.sigmoid(), torch.ones_like(d_L))
    + F.binary_cross_entropy(d_U.sigmoid(), torch.zeros_like(d_U))))
wrong('4.1', 'larger pool', lambda d_L, d_U: 2*torch.cat([softplus(-d_L), softplus(d_U)]).mean())
wrong('4.1', 'halved or doubled',
      lambda d_L, d_U: (softplus(-d_L).mean() + softplus(d_U).mean())/2)
wrong('4.1', 'does not count', lambda d_L, d_U: softplus(-d_L).mean() + 0*d_U.sum())
wrong('4.1', 'No gradient', lambda d_L, d_U: library.dsc_loss(d_L, d_U).detach())
wrong('4.1', 'say 1 for labelled', lambda d_L, d_U: softplus(d_L).mean() + softplus(d_U).mean())
wrong('4.2', 'probability', lambda p_L, p_U: p_L/(p_L + p_U))
wrong('4.2', 'inverted', lambda p_L, p_U: (p_U/p_L).log())
wrong('4.2', 'compare the two', lambda p_L, p_U: p_L.log())
wrong('4.2', 'logarithm is missing', lambda p_L, p_U: p_L/p_U)
wrong('4.2', 'are subtracted', lambda p_L, p_U: p_L - p_U)
wrong('4.2', 'small change', lambda p_L, p_U: (p_L/p_U)**.5 - 1)

# --- lesson 5

wrong('5.1', 'almost flat', lambda d_L, d_U: -softplus(-d_L).mean() - softplus(d_U).mean())
wrong('5.1', 'first term is missing', lambda d_L, d_U: softplus(-d_U).mean() + 0*d_L.mean())
wrong('5.1', 'first term is flipped', lambda d_L, d_U: softplus(d_L).mean() + softplus(-d_U).mean())
wrong('5.1', 'almost flat', library.dsc_loss)
wrong('5.1', 'larger pool', lambda d_L, d_U: 2*softplus(-torch.cat([d_L, d_U])).mean())
wrong('5.1', 'They are to look labelled', lambda d_L, d_U: softplus(-d_L).mean() + d_U.mean())


def losses(enc, dsc, x_L, x_U):
    return softplus(-dsc(enc(x_L))).mean() + softplus(dsc(enc(x_U))).mean()


def apart(enc, dsc, x_L, x_U): return losses(lambda x: enc(x).detach(), dsc, x_L, x_U)


@slip('5.2', 'got a gradient')
def undetached(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    opt_dsc.zero_grad()
    losses(enc, dsc, x_L, x_U).backward()
    opt_dsc.step()


@slip('5.2', 'stale')
def not_cleared(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    apart(enc, dsc, x_L, x_U).backward()
    opt_dsc.step()


@slip('5.2', 'zero_grad, backward and step')
def cleared_too_late(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    apart(enc, dsc, x_L, x_U).backward()
    opt_dsc.zero_grad()
    opt_dsc.step()


@slip('5.2', 'encoder moved')
def both_step(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    opt_dsc.zero_grad()
    opt_enc.zero_grad()
    losses(enc, dsc, x_L, x_U).backward()
    opt_dsc.step()
    opt_enc.step()


@slip('5.2', 'did not move')
def no_step(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    opt_dsc.zero_grad()
    apart(enc, dsc, x_L, x_U).backward()


@slip('5.2', 'climbs')
def upwards(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    opt_dsc.zero_grad()
    (-apart(enc, dsc, x_L, x_U)).backward()
    opt_dsc.step()


@slip('5.2', "pool's target is 1")
def swapped(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    opt_dsc.zero_grad()
    apart(enc, dsc, x_U, x_L).backward()
    opt_dsc.step()


# --- lesson 6

wrong('6.1', 'not negated', lambda u, a, b, v, l1, l2, l3, l4: l1*u + l2*a + l3*b + l4*v)
wrong('6.1', 'a loss already', lambda u, a, b, v, l1, l2, l3, l4: -(l1*u + l2*a + l3*b + l4*v))
wrong('6.1', 'weight of cls_L', lambda u, a, b, v, l1, l2, l3, l4: -l1*u - l2*a - l2*b + l4*v)
wrong('6.1', 'own weight is lam1', lambda u, a, b, v, l1, l2, l3, l4: -l2*u - l1*a - l3*b + l4*v)
wrong('6.1', 'is missing', lambda u, a, b, v, l1, l2, l3, l4: -l1*u - l2*a - l3*b + 0*v)
wrong('6.1', 'A constant', lambda *a: 1 + library.vae_loss(*a))


def sure(weak, strong, threshold=.95):
    "The terms of sure rows, and how many there are"
    p, y = weak.softmax(1).max(1)
    is_sure = p >= threshold
    return (F.one_hot(y, 2)*strong.log_softmax(1)).sum(1)*is_sure, is_sure.sum()


@slip('6.2', 'sure rows alone')
def masked_mean(weak, strong):
    logp, n = sure(weak, strong)
    return logp.sum()/n


@slip('6.2', 'runs into the target')
def straight_through(weak, strong):
    p, y = weak.softmax(1).max(1)
    mask = p + ((p >= .95).float() - p).detach()
    return (strong.log_softmax(1).gather(1, y[:, None])[:, 0]*mask).mean()


@slip('6.2', 'weak view as a whole')
def soft_target(weak, strong): return (weak.softmax(1)*strong.log_softmax(1)).sum(1).mean()


wrong('6.2', 'An unsure row counts', lambda weak, strong: sure(weak, strong, 0.)[0].mean())
wrong('6.2', 'this is a loss', lambda weak, strong: -sure(weak, strong)[0].mean())
wrong('6.2', 'This is a sum', lambda weak, strong: sure(weak, strong)[0].sum())
wrong('6.2', "view's likeliest", lambda weak, strong: sure(-weak, strong)[0].mean())


@slip('6.2', "view's likeliest")
def from_strong(weak, strong):
    y = strong.argmax(1)
    return (-F.cross_entropy(strong, y, reduction='none')*(weak.softmax(1).amax(1) >= .95)).mean()


@slip('6.2', 'take the softmax')
def of_logits(weak, strong):
    p, y = weak.detach().max(1)
    return (-F.cross_entropy(strong, y, reduction='none')*(p >= .95)).mean()


# --- lesson 7

wrong('7.1', 'largest', lambda d, rows, b: rows[d.argsort(descending=True)[:b]])
wrong('7.1', 'positions', lambda d, rows, b: d.argsort()[:b])
wrong('7.1', 'Rank the logits', lambda d, rows, b: rows[d.sigmoid().argsort(stable=True)[:b]])
wrong('7.1', 'do not have the smallest', lambda d, rows, b: rows[:1].repeat(b))
wrong('7.1', 'returns b', lambda d, rows, b: rows[d.argsort()])


def central(z, b):
    "Of each of b clusters the position nearest to the centre"
    centres = KMeans(b, n_init=3, random_state=0).fit(z.numpy()).cluster_centers_
    return torch.cdist(torch.tensor(centres, dtype=z.dtype), z).argmin(1)


wrong('7.2', 'not on the shortlist', lambda d, z, rows, b: rows[central(z, b)])
wrong('7.2', 'near copies', lambda d, z, rows, b: rows[d.argsort()[:b]])
wrong('7.2', 'positions', lambda d, z, rows, b: central(z[d.argsort()[:10*b]], b))
wrong('7.2', 'positions', lambda d, z, rows, b: d.argsort()[central(z[d.argsort()[:10*b]], b)])


@slip('7.2', 'not on the shortlist')
def near_all(d, z, rows, b):
    short = z[d.argsort()[:10*b]]
    centres = KMeans(b, n_init=3, random_state=0).fit(short.numpy()).cluster_centers_
    return rows[torch.cdist(torch.tensor(centres, dtype=z.dtype), z).argmin(1)]


@slip('7.2', 'nearest to the centre')
def lowest_of_each(d, z, rows, b):
    short = d.argsort()[:10*b]
    of = torch.tensor(KMeans(b, n_init=3, random_state=0).fit(z[short].numpy()).labels_)
    return rows[short[[(of == k).nonzero()[0].item() for k in range(b)]]]


wrong('7.2', 'twice', lambda d, z, rows, b: rows[d.argmin()].repeat(b))


# --- lesson 8

def about(middle, half): return middle - half, middle + half


wrong('8.1', 'unpaired',
      lambda a, b: about((a - b).mean(), 2.1*((a.var(ddof=1) + b.var(ddof=1))/10)**.5))
wrong('8.1', 'standard error', lambda a, b: about((a - b).mean(), 2.262*(a - b).std(ddof=1)))
wrong('8.1', 'too narrow', lambda a, b: about((a - b).mean(), 1.96*(a - b).std()/10**.5))
wrong('8.1', '90 % interval', lambda a, b: stats.ttest_rel(a, b).confidence_interval(.9))
wrong('8.1', 'a minus b', lambda a, b: stats.ttest_rel(b, a).confidence_interval())
wrong('8.1', 'The middle', lambda a, b: stats.ttest_rel(2*a, 2*b).confidence_interval())
wrong('8.1', 'wrong order', lambda a, b: stats.ttest_rel(a, b).confidence_interval()[::-1])
wrong('8.1', 'too wide', lambda a, b: stats.ttest_rel(a, b).confidence_interval(.99))


def raised(p): return p*np.arange(len(p), 0, -1)


def put_back(p, q):
    out = np.empty(len(p))
    out[p.argsort()] = q
    return out


wrong('8.2', 'Bonferroni', lambda p: np.minimum(1, len(p)*p))
wrong('8.2', 'running maximum', lambda p: put_back(p, np.minimum(1, raised(np.sort(p)))))
wrong('8.2', 'Sort the p-values', lambda p: np.minimum(1, np.maximum.accumulate(raised(p))))
wrong('8.2', 'come back sorted', lambda p: np.maximum.accumulate(raised(np.sort(p))))
wrong('8.2', 'above 1', lambda p: put_back(p, np.maximum.accumulate(raised(np.sort(p)))))
wrong('8.2', 'the next by one less', lambda p: np.minimum(1, 2*p))


# --- lesson 9

@slip('9.1', 'only of labelled rows')
def changes_all(method, x, y, labelled):
    return not np.array_equal(method(x, y, labelled, 8), method(x, np.roll(y, 1), labelled, 8))


@slip('9.1', 'only of labelled rows')
def flips_all(method, x, y, labelled):
    return not np.array_equal(method(x, y, labelled, 8), method(x, 1 - y, labelled, 8))


@slip('9.1', 'work on a copy')
def spoils_y(method, x, y, labelled):
    was = method(x, y, labelled, 8)
    hidden = np.setdiff1d(np.arange(len(y)), labelled)
    y[hidden] = 1 - y[hidden]
    return not np.array_equal(was, method(x, y, labelled, 8))


wrong('9.1', 'source proves nothing',
      lambda method, x, y, labelled: 'y' in method.__code__.co_names)
wrong('9.1', 'reads no label at all',
      lambda method, x, y, labelled: 'default_rng' in method.__code__.co_names)
wrong('9.1', 'under another name',
      lambda method, x, y, labelled: '1. - y' in inspect.getsource(method))
wrong('9.1', 'change the hidden labels alone',
      lambda method, x, y, labelled: len(set(y[method(x, y, labelled, 8)])) == 1)


@slip('9.1', 'compare the rows in their order')
def compares_sets(method, x, y, labelled):
    other = 1 - y
    other[labelled] = y[labelled]
    return {*method(x, y, labelled, 8)} != {*method(x, other, labelled, 8)}


wrong('9.2', 'fresh numbers', lambda d, g: torch.randn(len(d), generator=g, dtype=d.dtype))
wrong('9.2', 'same seed gives another', lambda d, g: d[torch.randperm(len(d))])
wrong('9.2', 'Nothing is shuffled', lambda d, g: d.flip(0).flip(0))
wrong('9.2', 'Another seed', lambda d, g: d.flip(0))


# --- answers that once passed, or met a hint that named another mistake

def rows_of(idx, order, b): return idx[order[:b]]


wrong('1.1', 'Most points do not count', lambda n, acc: (acc[0] + acc[-1])/2)
wrong('1.1', 'Most points do not count', lambda n, acc: (acc.max() + acc.min())/2)
wrong('1.1', 'rounded', lambda n, acc: round(float(areas(n, acc).sum()/(n[-1] - n[0])), 2))
wrong('1.1', 'number of points', lambda n, acc: areas(n, acc).sum()/len(n))
wrong('1.1', 'sum of its two ends', lambda n, acc: 2*areas(n, acc).sum()/(n[-1] - n[0]))
wrong('1.2', 'never asked for',
      lambda idx, b, g: rows_of(idx, torch.randperm(b, generator=g), b))
wrong('1.2', 'second draw', lambda idx, b, g: rows_of(
    idx, torch.randperm(len(idx), generator=torch.Generator().manual_seed(g.initial_seed())), b))
wrong('1.2', 'whole numbers',
      lambda idx, b, g: rows_of(idx, torch.randperm(len(idx), generator=g), b).float())


@slip('1.2', 'lie alike')
def neighbours(idx, b, g):
    start = torch.randint(len(idx) - b + 1, (1,), generator=g).item()
    return idx[start:start + b]


@slip('1.1', 'changes what it is given')
def from_zero(n, acc):
    n -= n[0]
    return areas(n, acc).sum()/n[-1]


wrong('2.1', 'wrong for seven',
      lambda mu, logvar: .5*(mu**2 + logvar.exp() - logvar).sum(1) - 1.5)
wrong('2.1', 'its own -1', lambda mu, logvar: .5*(mu**2 + logvar.exp() - logvar).sum(1))
wrong('2.1', 'other way round, from', lambda mu, logvar: .5*(
    (1 + mu**2)/logvar.exp() - 1 + logvar).sum(1))
wrong('2.2', 'share their noise', lambda mu, logvar, eps: mu + (logvar/2).exp()*eps[0])
wrong('2.2', 'noise is subtracted', lambda mu, logvar, eps: mu - (logvar/2).exp()*eps)
wrong('3.1', 'is subtracted', lambda a, b, c, d: (a - b).mean() - (c - d).mean())
wrong('3.1', 'KL is missing', lambda a, b, c, d: a.mean() + c.mean())
wrong('3.1', 'KL has a factor', lambda a, b, c, d: both(a, b/2, c, d/2))
wrong('3.2', 'divides whole numbers', lambda n_x: 2//n_x)
wrong('3.2', 'too fast', lambda n_x: 2/n_x**2)
wrong('4.1', 'taken twice',
      lambda d_L, d_U: softplus(-d_L.sigmoid()).mean() + softplus(d_U.sigmoid()).mean())
wrong('4.1', 'squared error',
      lambda d_L, d_U: ((1 - d_L.sigmoid())**2).mean() + (d_U.sigmoid()**2).mean())
wrong('4.2', 'cut off or shifted', lambda p_L, p_U: ((p_L + 1e-8)/(p_U + 1e-8)).log())
wrong('4.2', 'cut off or shifted', lambda p_L, p_U: (p_L/p_U).log().clamp(-9, 9))
wrong('5.1', 'second term is missing', lambda d_L, d_U: softplus(-d_L).mean())
wrong('5.1', 'averaged', lambda d_L, d_U: -d_L.mean() - d_U.mean())


@slip('5.2', 'frozen')
def frozen_encoder(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    for p in enc.parameters(): p.requires_grad_(False)
    opt_dsc.zero_grad()
    losses(enc, dsc, x_L, x_U).backward()
    opt_dsc.step()


@slip('5.2', 'Rows are left out')
def as_many(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    n = min(len(x_L), len(x_U))
    opt_dsc.zero_grad()
    apart(enc, dsc, x_L[:n], x_U[:n]).backward()
    opt_dsc.step()


@slip('5.2', 'rate of its own')
def own_rate(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    opt_dsc.zero_grad()
    apart(enc, dsc, x_L, x_U).backward()
    torch.optim.SGD(dsc.parameters(), .1).step()


@slip('5.2', 'another mode')
def in_eval(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    enc.eval()
    opt_dsc.zero_grad()
    apart(enc, dsc, x_L, x_U).backward()
    opt_dsc.step()


wrong('6.1', 'of one sign', lambda u, a, b, v, l1, l2, l3, l4: (
    l1*abs(u) + l2*abs(a) + l3*abs(b) + l4*v))
wrong('6.2', 'sure row is left out', lambda weak, strong: sure(weak, strong, .96)[0].mean())
wrong('6.2', 'An unsure row counts', lambda weak, strong: sure(weak, strong, .94)[0].mean())
wrong('6.2', 'logarithm of a softmax', lambda weak, strong: (
    F.one_hot(weak.argmax(1), 2)*(strong.softmax(1) + 1e-8).log()
    * (weak.softmax(1).amax(1) >= .95)[:, None]).sum(1).mean())
wrong('7.1', 'far from 0', lambda d, rows, b: rows[d.abs().argsort(descending=True)[:b]])
wrong('7.1', 'by rounding', lambda d, rows, b: rows[d.round().argsort(stable=True)[:b]])
wrong('7.1', 'These are scores', lambda d, rows, b: d.sort().values[:b])
wrong('7.2', 'nearest to the centre',
      lambda d, z, rows, b: rows[(i := d.argsort()[:9*b])[central(z[i], b)]])
wrong('7.2', 'not on the shortlist',
      lambda d, z, rows, b: rows[(i := d.argsort()[:10*b + 1])[central(z[i], b)]])
wrong('7.2', 'fewer than 10 b', lambda d, z, rows, b: rows[
    (i := d.topk(10*b, largest=False).indices)[central(z[i], b)]])
wrong('8.1', 'wrong for six', lambda a, b: about(
    (a - b).mean(), 2.2621571628*(a - b).std(ddof=1)/10**.5))
wrong('8.1', 'degrees of freedom', lambda a, b: about(
    (a - b).mean(), stats.t.ppf(.975, len(a))*(a - b).std(ddof=1)/len(a)**.5))
wrong('8.2', 'Two p-values are equal', lambda p: [
    min(1, max(p[j]*(len(p) - stats.rankdata(p)[j] + 1) for j in range(len(p)) if p[j] <= o))
    for o in p])


@slip('9.1', 'for a part of its rows')
def flips_one(method, x, y, labelled):
    other = y.copy()
    i = np.setdiff1d(np.arange(len(y)), labelled)[0]
    other[i] = 1 - y[i]
    return not np.array_equal(method(x, y, labelled, 5), method(x, other, labelled, 5))


@slip('9.1', 'the other way round')
def inverted(method, x, y, labelled): return not shuffles_hidden(method, x, y, labelled)


wrong('9.2', 'Only a few orders',
      lambda d, g: d.roll(torch.randint(len(d), (1,), generator=g).item()))
wrong('9.2', 'never reach', lambda d, g: torch.cat(
    [d[:1], d[1:][torch.randperm(len(d) - 1, generator=g)]]))
wrong('9.2', 'with replacement', lambda d, g: d[torch.randint(len(d), (len(d),), generator=g)])
wrong('9.2', 'changes what it is given',
      lambda d, g: d.copy_(d[torch.randperm(len(d), generator=g)]))


# --- right answers that are written in another way

def by_bce(d_L, d_U):
    bce = F.binary_cross_entropy_with_logits
    return bce(d_L, torch.ones_like(d_L)) + bce(d_U, torch.zeros_like(d_U))


def detached_step(enc, dsc, opt_enc, opt_dsc, x_L, x_U):
    dsc.zero_grad()
    by_bce(dsc(enc(x_L).detach()), dsc(enc(x_U).detach())).backward()
    opt_dsc.step()


def by_cross_entropy(weak, strong):
    p, y = weak.softmax(1).detach().max(1)
    return -(F.cross_entropy(strong, y, reduction='none')*(p > .95)).sum()/len(p)


def holm_by_loop(p):
    out, top = [0.]*len(p), 0.
    for k, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        top = max(top, min(1., (len(p) - k)*p[i]))
        out[i] = top
    return out


def shuffles_hidden(method, x, y, labelled):
    hidden = np.setdiff1d(np.arange(len(y)), labelled)
    other = y.copy()
    other[hidden] = np.random.default_rng(5).permutation(y[hidden])
    return set(method(x, y, labelled, 6)) != set(method(x, other, labelled, 6))


OTHERS = {
    '1.1': lambda n, acc: np.interp(np.linspace(n[0], n[-1], 90001), n, acc).mean(),
    '2.1': lambda mu, logvar: library.kl(mu, logvar), '2.2': library.reparam, '4.1': by_bce,
    '4.2': lambda p_L, p_U: torch.logit(p_L/(p_L + p_U)), '5.1': library.vae_adv_loss,
    '5.2': detached_step, '6.1': library.vae_loss, '6.2': by_cross_entropy,
    '7.1': lambda d, rows, b: rows[d.topk(b, largest=False).indices], '7.2': library.diverse,
    '8.1': lambda a, b: tuple(stats.ttest_rel(a, b).confidence_interval()), '8.2': holm_by_loop,
    '9.1': shuffles_hidden}



def filled(weak, strong):
    p, y = weak.detach().softmax(1).max(1)
    out, is_sure = torch.zeros(len(weak)), p >= .95
    out[is_sure] = strong.log_softmax(1)[is_sure, y[is_sure]]
    return out.mean()


def by_hand(d, g): return [float(d[i]) for i in torch.randperm(len(d), generator=g)]
def ones(o): return torch.ones(len(o))/len(o)


IN_FLOATS = [
    ('2.1', lambda mu, logvar: each(mu, logvar) @ torch.ones(mu.shape[1])),
    ('3.1', lambda a, b, c, d: ones(a) @ (a - b) + ones(c) @ (c - d)),
    ('3.2', lambda n_x: Fraction(2, n_x)), ('6.2', filled), ('9.2', by_hand),
    ('4.1', lambda d_L, d_U: ones(d_L) @ softplus(-d_L) + ones(d_U) @ softplus(d_U)),
    ('5.1', lambda d_L, d_U: ones(d_L) @ softplus(-d_L) + ones(d_U) @ softplus(-d_U))]


@pytest.mark.parametrize('name, f', IN_FLOATS)
def test_single_precision_is_enough(name, f): check_ex(name, f)


@pytest.mark.parametrize('name', OTHERS)
def test_another_right_answer_is_right(name): check_ex(name, OTHERS[name])


@pytest.fixture(scope='module')
def right():
    "Name of an exercise -> the function of the solutions' page"
    scope = dict(vars(library))
    for source in course.solutions().values(): exec(source, scope)
    found = {}
    for name, source in course.solutions().items():
        found[name] = scope[source.removeprefix('def ').partition('(')[0]]
    return found


@pytest.mark.parametrize('name', EXERCISES)
def test_a_solution_is_right(name, right, capsys):
    assert check_ex(name, right[name]) is None
    assert capsys.readouterr().out.startswith(f'Exercise {name} is right: ')


@pytest.mark.parametrize('name, word, f', WRONG)
def test_a_hint_names_the_mistake(name, word, f, capsys):
    with pytest.raises(AssertionError) as e: check_ex(name, f)
    assert str(e.value).startswith(f'Exercise {name}: ') and word in str(e.value)
    assert not capsys.readouterr().out, 'the answer was taken for one that crashes'


def test_each_exercise_has_three_wrong_answers():
    planted = [o.values[0] for o in WRONG]
    assert len(EXERCISES) == 18 and all(planted.count(name) >= 3 for name in EXERCISES)


def unfinished(*args): raise NotImplementedError
def silent(*args): pass


@pytest.mark.parametrize('f', [..., unfinished, silent, lambda *args: ...])
@pytest.mark.parametrize('name', EXERCISES)
def test_a_stub_is_not_written_yet(name, f):
    what = '(: it (returns|does) nothing)?'
    with pytest.raises(AssertionError, match=f'^Exercise {name} is not written yet{what}$'):
        check_ex(name, f)


def test_the_learners_own_error_is_shown(capsys):
    def mine(mu, logvar):
        assert mu.dim() == 1, 'my own'
    with pytest.raises(AssertionError, match='my own'): check_ex('2.1', mine)
    assert capsys.readouterr().out.count('\n') == 1
    with pytest.raises(TypeError): check_ex('2.1', lambda mu: mu)


def test_a_wrong_call_is_refused():
    with pytest.raises(ValueError, match="did you mean '2.1'"): check_ex('2.11', abs)
    with pytest.raises(ValueError, match='no function'): check_ex('2.1', torch.zeros(2))


@pytest.mark.parametrize('name', EXERCISES)
def test_random_numbers_are_left_alone(name, right):
    was = torch.get_rng_state(), np.random.get_state()[1].copy()
    check_ex(name, right[name])
    assert torch.equal(torch.get_rng_state(), was[0])
    assert np.array_equal(np.random.get_state()[1], was[1])
