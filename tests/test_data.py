"Sources in their own formats, refusals, and loaders that are reproducible and never empty."
import hashlib
import pickle
import random
import struct
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings, strategies as st
from PIL import Image
from asal_nb.core import rng, seeded
from asal_nb.data.pool import Pool
from asal_nb.data.views import covered, shaded, strong, turned, weak
from asal_nb.data.sources import SETS, read_image, strata
from asal_nb.data.images import ImageData, check_fits, get_data
from asal_nb.data.batches import Rows, RowsDL
from asal_nb.data.loaders import ASALDataLoaders, asal_dls, supervised_dls, warm_dls

equal = torch.equal


def tiny(n=40, c=3, shape=(1, 8, 8), n_test=12, seed=0, **kw):
    "n images whose first value is the row number"
    g = np.random.default_rng(seed)
    x, x_test = [g.integers(0, 256, (k, *shape)).astype('uint8') for k in (n, n_test)]
    x.reshape(n, -1)[:, 0] = np.arange(n)
    return ImageData.from_arrays(x, np.arange(n) % c, x_test, np.arange(n_test) % c, **kw)


def pool_with(data, y):
    "A pool whose first rows have the labels `y`"
    pool = Pool(len(data), data.n_classes)
    if len(y): pool.label(range(len(y)), y)
    return pool


def pair(k=7, **kw):
    "Some data and a pool in which k rows are labelled"
    data = tiny(**kw)
    return data, pool_with(data, data.oracle(range(k)))


def refused(why): return pytest.raises(ValueError, match=why)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close('all')


# -- sources

def numbers(*shape): return (np.arange(np.prod(shape)) % 251).astype('uint8').reshape(shape)
def idx(o): return struct.pack(f'>{1+o.ndim}i', 0x800 + o.ndim, *o.shape) + o.tobytes()


def write_idx(root, cls, n=6):
    raw = root/cls/'raw'
    raw.mkdir(parents=True)
    for part, k in (('train', n), ('t10k', 4)):
        (raw/f'{part}-images-idx3-ubyte').write_bytes(idx(numbers(k, 28, 28)))
        (raw/f'{part}-labels-idx1-ubyte').write_bytes(idx(np.arange(k, dtype='uint8')))


def write_svhn(root, monkeypatch):
    "The last label is 10, which means the digit 0"
    from scipy.io import savemat
    sums = {}
    for part, k in (('train', 6), ('test', 4)):
        f = root/f'{part}_32x32.mat'
        y = np.arange(1, k + 1)[:, None] + 10 - k
        savemat(f, dict(X=numbers(k, 3, 32, 32).transpose(2, 3, 1, 0), y=y))
        sums[part] = ['', f.name, hashlib.md5(f.read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, 'split_list', sums)


def write_cifar(root, cls, monkeypatch):
    cls = getattr(torchvision.datasets, cls)
    base, is_fine = root/cls.base_folder, cls.__name__ == 'CIFAR100'
    base.mkdir()
    def dump(name, o):
        (base/name).write_bytes(pickle.dumps(o))
        return hashlib.md5((base/name).read_bytes()).hexdigest()
    x = numbers(3, 3, 32, 32)
    batch = {'data': x.reshape(3, -1), 'fine_labels' if is_fine else 'labels': [0, 1, 2]}
    for part in ('train_list', 'test_list'):
        files = [[name, dump(name, batch)] for name, _ in getattr(cls, part)]
        monkeypatch.setattr(cls, part, files)
    names = {cls.meta['key']: [f'class {i}' for i in range(100 if is_fine else 10)]}
    monkeypatch.setattr(cls, 'meta', cls.meta | dict(md5=dump(cls.meta['filename'], names)))
    return x


@pytest.mark.parametrize(
    'name, first', [('mnist', '0'), ('fashion_mnist', 'T-shirt/top'), ('kmnist', 'o')])
def test_idx_files_in_the_folder_that_the_environment_names(tmp_path, monkeypatch, name, first):
    write_idx(tmp_path, SETS[name][0])
    monkeypatch.setenv('ASAL_DATA', str(tmp_path))
    data = get_data(name)
    assert data.x.dtype == torch.uint8 and data.x_test.shape == (4, 1, 28, 28)
    assert equal(data.x, torch.tensor(numbers(6, 1, 28, 28)))
    assert data.oracle(range(6)).tolist() == [*range(6)] and data.y_test.tolist() == [0, 1, 2, 3]
    assert data.flip == (name == 'fashion_mnist')
    assert data.n_classes == 10 and data.classes[0] == first


def test_svhn(tmp_path, monkeypatch):
    write_svhn(tmp_path, monkeypatch)
    data = get_data('svhn', tmp_path)
    assert data.oracle(range(6)).tolist() == [5, 6, 7, 8, 9, 0] and data.n_classes == 10
    assert equal(data.x, torch.tensor(numbers(6, 3, 32, 32))) and data.x.is_contiguous()


@pytest.mark.parametrize('name, n_classes', [('cifar10', 10), ('cifar100', 100)])
def test_cifar(tmp_path, monkeypatch, name, n_classes):
    x = write_cifar(tmp_path, SETS[name][0], monkeypatch)
    data = get_data(name, tmp_path)
    assert equal(data.x[:3], torch.tensor(x)) and data.x.is_contiguous() and data.flip
    assert data.n_classes == n_classes and data.oracle([2]).tolist() == [2]
    assert len(data.x_test) == 3


@pytest.mark.parametrize('name', list(SETS))
def test_what_cannot_be_had_is_one_sentence(tmp_path, monkeypatch, name):
    def offline(self): raise OSError('no route to host')
    monkeypatch.setattr(getattr(torchvision.datasets, SETS[name][0]), 'download', offline)
    with refused('no route to host') as e: get_data(name, tmp_path)
    said = str(e.value)
    assert str(tmp_path) in said and 'ASAL_DATA' in said and '\n' not in said


def test_a_damaged_file_is_one_sentence(tmp_path):
    write_idx(tmp_path, 'MNIST')
    (tmp_path/'MNIST/raw/train-images-idx3-ubyte').write_bytes(b'short')
    with refused('mnist is not in .* or cannot be read'): get_data('mnist', tmp_path)


def test_digits():
    a, b = get_data('digits'), get_data('digits', split=1)
    assert a.y_test.bincount().min() >= 48
    def whole(d): return sorted(torch.cat([d.x, d.x_test]).flatten(1).tolist())
    assert whole(a) == whole(b)
    levels = (torch.arange(17.)*255/16).round().byte()  # 0..16, no other value
    assert equal(a.x.unique(), levels)
    for bad in (1.5, '0'):
        with refused('split='): get_data('digits', split=bad)


def save(path, size=(12, 10), mode='RGB', fill=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = fill if mode in ('L', 'P', 'I;16', '1') else (fill,)*len(mode)
    Image.new(mode, size, colour).save(path)


def test_folder_with_a_test_part(tmp_path):
    for c, cls in enumerate('bac'):
        for i in range(3): save(tmp_path/'train'/cls/f'{i}.png', fill=100*c+i)
        for i in range(2 if c < 2 else 0): save(tmp_path/'test'/cls/f'{i}.png')
    data = ImageData.from_folder(tmp_path, 8)
    assert data.classes == ['a', 'b', 'c'] and data.name == tmp_path.name
    assert data.x.shape == (9, 3, 8, 8) and data.x_test.shape == (4, 3, 8, 8)
    assert data.oracle(range(9)).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.y_test.tolist() == [0, 0, 1, 1]
    assert data.x[:, 0, 0, 0].tolist() == [100, 101, 102, 0, 1, 2, 200, 201, 202]
    save(tmp_path/'test/z/0.png')
    with refused('classes that train/ has not: z'): ImageData.from_folder(tmp_path, 8)


def test_folder_without_a_test_part(tmp_path):
    for i in range(30): save(tmp_path/'xyz'[i % 3]/f'{i:02}.png', fill=i)
    def get(**kw): return ImageData.from_folder(tmp_path, 8, 1, **kw)
    a = get()
    assert equal(a.x, get().x) and not equal(a.x, get(split=1).x)
    assert len(a) == 24 and a.y_test.bincount().tolist() == [2, 2, 2]
    assert sorted(torch.cat([a.x, a.x_test])[:, 0, 0, 0].tolist()) == list(range(30))
    assert equal(a.x[:, 0, 0, 0] % 3, a.oracle(range(24)))
    assert len(get(test_share=.5).x_test) == 15


@pytest.mark.parametrize('n_in', [1, 3])
@pytest.mark.parametrize('mode', ['RGB', 'L', 'RGBA', 'P', '1', 'CMYK'])
def test_every_kind_of_image(tmp_path, mode, n_in):
    f = tmp_path/('a.jpg' if mode in ('RGB', 'CMYK') else 'a.png')
    save(f, (20, 13), mode, 1)
    assert read_image(f, 8, n_in).shape == (n_in, 8, 8)


def test_images_lie_upright(tmp_path):
    im = Image.new('L', (16, 16))
    im.paste(255, (0, 0, 16, 8))  # bright above
    exif = Image.Exif()
    exif[0x112] = 3               # lies upside down
    im.save(tmp_path/'a.png', exif=exif)
    x = read_image(tmp_path/'a.png', 16, 1)
    assert (x[0, :8] == 0).all() and (x[0, 8:] == 255).all()


def test_bad_folders(tmp_path):
    def check(why, path=tmp_path, size=8, n_in=3, **kw):
        with refused(why): ImageData.from_folder(path, size, n_in, **kw)
    for i in range(4):
        for c in 'ab': save(tmp_path/c/f'{i}.png')
    check('n_in=2', n_in=2)
    check('size=0', size=0)
    check('test_share=1', test_share=1)
    check("size='8'", size='8')
    check('there is no folder', path=tmp_path/'none')


# -- arrays

OK = dict(x=np.zeros((6, 1, 4, 4), 'uint8'), y=[0, 1, 2, 0, 1, 2],
          x_test=np.zeros((3, 1, 4, 4), 'uint8'), y_test=[0, 1, 2])


def like(fill, dtype=float): return np.full((6, 1, 4, 4), fill, dtype)


IMAGES = [
    (np.full((6, 4), np.inf), 'infinity'), (like(np.nan), 'nan'), (like(0, bool), 'bytes'),
    (like(0, complex), 'bytes'), (like(2.), r'0,1'), (like(-.1), r'0,1'),
    ('cats', 'tensor or an array'), ([[1, 2], [3]], 'tensor or an array'),
    (like(0.), 'x_test has rows of')]
CHANGES = [(dict(x=x), why) for x, why in IMAGES] + [
    (dict(y=[[0]]*6), 'there are 6 rows'),
    (dict(y=[True]*6), 'whole numbers'),
    (dict(y_test=[0, 1]), 'there are 3 rows'),
    (dict(classes=['a', 'b', 'c'], y_test=[0, 1, 3]), '3 classes'),
    (dict(y=[1, 2, 3, 1, 2, 3], y_test=[1, 2, 3]), 'no row has label 0')]


@pytest.mark.parametrize('change, why', CHANGES)
def test_refused_arrays(change, why):
    with refused(why): ImageData.from_arrays(**OK | change)


@pytest.mark.parametrize('drop', [
    [], ['y'], ['y_test'], ['y', 'y_test'], ['x_test', 'y_test'], ['y', 'x_test', 'y_test']])
def test_what_may_be_missing(drop):
    data = ImageData.from_arrays(**OK | dict.fromkeys(drop), classes=['a', 'b', 'c'])
    assert data.n_classes == 3 and (data.x_test is None) == ('x_test' in drop)
    assert repr(data) and data.fingerprint()
    if 'y' not in drop: assert data.oracle([5]).tolist() == [2]
    else:
        with refused('a person must answer'): data.oracle([5])
        with refused('a person must answer'): data.tuning(2)
    assert len(asal_dls(data, pool_with(data, [0, 1])).valid_ds) == (2 if 'y_test' in drop else 3)


@pytest.mark.parametrize('x', [
    np.zeros((6, 2, 4, 4), 'float64'),
    torch.zeros(6, 5, dtype=torch.float16),
    np.zeros((6, 5), 'float32')[:, ::-1],
    torch.zeros(6, 3, 4, 4, requires_grad=True),
    np.broadcast_to(np.float32(0), (6, 1, 4, 4)),
])
def test_floats_stay_float32(x):
    data = ImageData.from_arrays(x, [0, 1]*3)
    assert data.x.dtype == data.images([0]).dtype == torch.float32 and not data.x.requires_grad
    assert data.x_shape == tuple(x.shape[1:])
    x = [[-3., 9.], [1., 2.]]  # vectors may leave the unit interval
    assert ImageData.from_arrays(np.array(x), [0, 1]).images().tolist() == x


# -- labels

def reach(o, seen):
    "All tensors that can be reached from `o` through attributes, lists and dicts"
    if id(o) in seen: return
    seen[id(o)] = o
    if isinstance(o, torch.Tensor): yield o
    elif isinstance(o, dict): yield from (t for v in o.values() for t in reach(v, seen))
    elif isinstance(o, (list, tuple)): yield from (t for v in o for t in reach(v, seen))
    elif hasattr(o, '__dict__'): yield from reach(vars(o), seen)


def test_a_blind_set_holds_no_label():
    data = tiny()
    dark = data.blind()
    assert {t.data_ptr() for t in reach(dark, {})} == {data.x.data_ptr(), data.x_test.data_ptr()}
    for d in (dark, dark.blind(), pickle.loads(pickle.dumps(dark))):
        with refused('blind'): d.oracle([0])
        with refused('blind'): d.tuning(5)


def public_tensors(o, leave=()):
    names = [k for k in dir(o) if not k.startswith('_') and k not in leave]
    return [v for k in names if isinstance(v := getattr(o, k), torch.Tensor)]


def test_only_the_oracle_holds_labels():
    data = tiny()
    shapes = [o.shape for o in public_tensors(data, ('oracle', 'y_test'))]
    assert (len(data),) not in shapes and not public_tensors(data.oracle)
    for bad in ([40], [-1], [0, 0], [.5]):
        with pytest.raises(ValueError): data.oracle(bad)


def test_loaders_of_blind_data_show_labels_of_the_pool_alone():
    data, pool = pair()
    dls = asal_dls(data.blind(), pool, 4)
    held = reach([dls.train_ds, dls.valid_ds, dls.data], {})
    assert data.oracle._y.data_ptr() not in {t.data_ptr() for t in held}
    valid = dls.valid_ds
    assert len(valid) == 7 and equal(valid.y, torch.arange(7) % 3) and equal(valid.x, data.x[:7])


@pytest.mark.parametrize('n', [6, 15, 30])
def test_tuning(n):
    data = tiny(60, n_test=20)
    t = data.tuning(n, seed=3)
    rows = torch.cat([t.x, t.x_test])[:, 0, 0, 0].sort().values
    assert equal(rows, data.x[:, 0, 0, 0]) and len(t.x_test) == n
    assert t.y_test.bincount().tolist() == [n // 3]*3
    assert equal(t.x[:, 0, 0, 0] % 3, t.oracle(range(len(t))))
    assert equal(t.x_test[:, 0, 0, 0] % 3, t.y_test)
    own = {data.x_test.data_ptr(), data.y_test.data_ptr()}
    assert not own & {o.data_ptr() for o in reach(t, {})}
    assert equal(t.x, data.tuning(n, seed=3).x) and not equal(t.x, data.tuning(n, seed=4).x)
    for bad in (0, 60, 2, 2.5, True):
        with pytest.raises(ValueError): data.tuning(bad)


def test_strata_of_rare_classes():
    with refused('smallest with 1 rows'): strata(torch.tensor([0, 0, 0, 1]), 2)
    a, b = strata(torch.tensor([5, 9]*10), 4)  # labels need not be 0..c-1
    assert len(b) == 4 and a.dtype == b.dtype == torch.int64


def test_what_just_fits_is_taken():
    check_fits(10, None, 'cpu')
    check_fits(10, 10, 'cuda')


def test_the_fingerprint_sees_every_byte_of_the_images():
    def big(): return tiny(9000, shape=(1, 2, 2))
    a = big()
    f = a.fingerprint()
    for part, row in (('x', 0), ('x', 8999), ('x_test', 11)):
        b = big()
        getattr(b, part)[row, 0, 1, 1] += 1
        assert b.fingerprint() != f
    assert a.blind().fingerprint() == f == big().fingerprint()


# -- loaders

@settings(deadline=None, max_examples=60)
@given(k=st.integers(1, 130), bs=st.integers(1, 64), bs_U=st.none() | st.integers(1, 64))
def test_every_unlabelled_row_once_and_never_an_empty_batch(k, bs, bs_U):
    data, pool = pair(k, n=131, shape=(3,))
    dls = asal_dls(data, pool, bs, bs_U=bs_U)
    for _ in range(2):
        rows, n = [], 0
        for (x_L, x_U), y_L in dls.train:
            i_L, i_U = y_L.i_L, y_L.i_U
            assert len(x_L) == len(y_L) == len(i_L) == bs and (i_L < k).all()
            assert len(x_U) == len(i_U) > 0
            assert equal(x_L, data.images(i_L)) and equal(x_U, data.images(i_U))
            assert equal(y_L, i_L % 3)
            rows += i_U.tolist()
            n += 1
        assert sorted(rows) == pool.idx_U.tolist()
        assert n == len(dls.train) == -(-(131 - k)//(bs_U or bs))
    one = supervised_dls(data, pool, bs)
    assert len(one.train) == -(-(131 - k)//bs) and {len(y) for x, y in one.train} == {bs}


@pytest.mark.parametrize('last, bs, n', [(5, 2, 3), (1, 64, 1), (64, 64, 1), (65, 64, 2)])
def test_nothing_left_to_label(last, bs, n):
    data, pool = pair(70 - last, n=70)
    pool.label(pool.idx_U, data.oracle(pool.idx_U))
    dls = asal_dls(data, pool, 8, bs_U=bs)
    batches = list(dls.train)
    assert len(batches) == len(dls.train) == n == len(supervised_dls(data, pool, bs).train)
    for (x_L, x_U), y in batches:
        assert x_L.shape == (8, 1, 8, 8) and x_U.shape == (0, 1, 8, 8)
        assert len(y) == 8 and y.i_U.shape == (0,)
    assert len(dls.show_batch(max_n=4)) == 4


def test_refused_loaders():
    data, pool = pair()
    for make in (asal_dls, supervised_dls):
        with refused('no row is labelled yet'): make(data, Pool(40, 3))
        with refused('pool has 39 rows'): make(data, Pool(39, 3))
        with refused('bs=0'): make(data, pool, 0)
    with refused('n_steps=0'): supervised_dls(data, pool, n_steps=0)
    with refused('bs_U=0'): asal_dls(data, pool, bs_U=0)


def flat(b): return [t for o in b for t in flat(o)] if isinstance(b, (tuple, list)) else [b]
def one_vector(b): return torch.cat([t.flatten().double() for t in flat(b)])
def noise(dls, n=2): return [one_vector(b) for _ in range(n) for b in dls.train]
def same(a, b): return len(a) == len(b) and all(map(equal, a, b))
def globals_():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize('dls_of', [asal_dls, supervised_dls, warm_dls])
def test_a_seed_fixes_the_noise_whatever_the_global_generators_do(dls_of):
    data, pool = pair(flip=True)
    args = (data,) if dls_of is warm_dls else (data, pool)
    def make(seed): return dls_of(*args, bs=8, seed=seed)
    a = noise(make(1))
    was = globals_()
    dls, b = make(1), []
    for k in range(2):
        b += noise(dls, 1)
        for _ in range(k+1): list(dls.valid)                    # validating more often
        dls.train.show_batch(max_n=2)
        dls.valid.show_batch(max_n=2)
    assert globals_() == was, 'a global generator was used'
    assert same(a, b)
    with seeded(99): assert same(a, noise(make(1)))
    assert not same(a, noise(make(2)))
    half = len(a)//2
    assert not same(a[:half], a[half:]), 'the second epoch repeats the first'


def test_all_noise_comes_from_one_generator():
    dls = asal_dls(*pair(), 8, seed=5)
    fresh = rng(5, 'train').get_state()
    assert equal(dls.rng.get_state(), fresh)
    list(dls.valid)
    assert equal(dls.rng.get_state(), fresh)
    list(dls.train)
    assert not equal(dls.rng.get_state(), fresh)


def test_augmentation_is_the_weak_view_of_both_pools():
    data, pool = pair()
    (p_L, p_U), y = asal_dls(data, pool, 8, augment=False).one_batch()
    assert equal(p_L, data.images(y.i_L)) and equal(p_U, data.images(y.i_U))
    (x_L, x_U), _ = asal_dls(data, pool, 8).one_batch()
    for x, p in ((x_L, p_L), (x_U, p_U)):
        assert x.shape == p.shape and x.min() >= 0 and x.max() <= 1
    for (x_L, x_U), y in asal_dls(data, pool, 8, seed=0).train:
        assert not equal(x_L, data.images(y.i_L)) and not equal(x_U, data.images(y.i_U))


def test_warm_batches_are_plain_and_complete():
    data = tiny(41)
    dls = warm_dls(data.blind(), 8)
    for _ in range(2):
        seen = []
        for x, i in dls.train:
            assert equal(x, data.images(i))
            seen += i.tolist()
        assert sorted(seen) == list(range(41)) and seen != list(range(41))
    assert dls.pool is None and len(dls.valid_ds) == 0 and list(dls.valid) == []
    assert len(warm_dls(data).valid_ds) == 12


def test_steps():
    dl = supervised_dls(*pair(), 8, n_steps=11).train
    assert len(list(dl)) == len(dl) == len(list(dl.new())) == 11


def test_loaders_remember_where_they_come_from():
    data, pool = pair()
    for dls in (asal_dls(data, pool), supervised_dls(data, pool)):
        assert dls.data is data and dls.pool is pool
    was = asal_dls(data, pool, 4)
    pool.label([30], [0])
    seen = torch.cat([y.i_U for _, y in was.train])
    assert 30 in seen, 'a loader keeps the pools it was made from'


def test_validation_is_the_test_set_in_order():
    data, pool = pair(n_test=600)
    dls = asal_dls(data, pool, 8)
    x, y = [torch.cat(o) for o in zip(*dls.valid)]
    assert equal(x, data.x_test.float()/255) and equal(y, data.y_test)
    shuffled = torch.cat([y for x, y in dls.valid.new(shuffle=True)])
    assert equal(shuffled.sort().values, data.y_test.sort().values)
    assert not equal(shuffled, data.y_test)


def test_an_export_holds_no_images():
    dls = asal_dls(*pair(n=400, n_test=300)).new_empty()
    assert isinstance(dls, ASALDataLoaders) and dls.data is dls.pool is dls.rng is None
    assert len(pickle.dumps(dls)) < 10_000
    assert pickle.loads(pickle.dumps(dls)).valid_ds.classes == ['0', '1', '2']


def test_new_images_in_any_form(tmp_path):
    data, pool = pair(n_test=5)
    b, dls = data.x_test, asal_dls(data, pool)
    pil = [Image.fromarray(o[0].numpy()) for o in b]
    files = [tmp_path/f'{i}.png' for i in range(5)]
    for o, f in zip(pil, files): o.save(f)
    for items in (b.float()/255, b.numpy()/255, b, [o.numpy() for o in b], pil, files):
        (x,), = list(dls.test_dl(items))
        assert torch.allclose(x, b.float()/255)


def test_new_images_of_another_shape_are_refused():
    dls, vectors = asal_dls(*pair()), asal_dls(*pair(shape=(4,)))
    why = r'items have shape \(1, 9, 9\), but the data has \(1, 8, 8\)'
    with refused(why): dls.test_dl(torch.zeros(2, 1, 9, 9))
    with refused('channel'): dls.test_dl([np.zeros((8, 8))])
    with refused('the data are vectors'): vectors.test_dl([Image.new('L', (8, 8))])


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('shape', [(1, 8, 8), (5,)])
def test_a_learner(tmp_path, shape):
    import fastai.callback.progress  # noqa: F401, for no_bar
    from fastai.learner import Learner, load_learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import accuracy
    from torch import nn
    data, pool = pair(20, shape=shape)
    with seeded(0): net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3))
    dls, x = supervised_dls(data, pool, 8), data.x_test
    learn = Learner(dls, net, CrossEntropyLossFlat(), metrics=accuracy, path=tmp_path)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        right = net(x.float()/255).argmax(1) == data.y_test
        assert learn.validate()[1] == pytest.approx(right.float().mean().item())
        p, y = learn.get_preds()
        assert equal(y, data.y_test)
        assert torch.allclose(learn.get_preds(dl=dls.test_dl(x))[0], p)
        said = learn.predict(x[2])
        assert said[0] == str(said[1].item()) and torch.allclose(said[2], p[2], atol=1e-6)
        learn.show_results(max_n=4)
        dls.show_batch(max_n=4)
        learn.export('a.pkl')
    again = load_learner(tmp_path/'a.pkl')
    with again.no_bar(): assert torch.allclose(again.predict(x[2])[2], p[2], atol=1e-6)


def test_rows_without_labels():
    dl = RowsDL(Rows(torch.zeros(5, 1, 4, 4)), bs=2)
    assert [len(b[0]) for b in dl] == [2, 2, 1] and all(len(b) == 1 for b in dl)
    assert len(dl.show_batch()) == 2
    assert [len(b[0]) for b in RowsDL(Rows(torch.zeros(5, 2)), bs=2, drop_last=True)] == [2, 2]


# -- views

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 32, 32), (2, 7, 7), (1, 1, 1), (6,)])
@pytest.mark.parametrize('view', [weak, strong])
@pytest.mark.parametrize('n', [0, 1, 9])
def test_views_keep_shape_type_and_range(view, shape, n):
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(n, *shape, dtype=dtype, generator=rng(0))
        a, b = view(x, rng(1), flip=True), view(x, rng(1), flip=True)
        assert a.shape == x.shape and a.dtype == dtype and equal(a, b) and a.isfinite().all()
        if len(shape) == 3 and n: assert a.min() >= 0 and a.max() <= 1


def test_weak_views_are_the_shifts_of_a_padded_image():
    x = torch.rand(600, 2, 8, 8, generator=rng(0))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode='replicate')
    shifts = [padded[:, :, i:i+8, j:j+8] for i in range(3) for j in range(3)]
    allowed = torch.stack(shifts + [o.flip(-1) for o in shifts])
    for flip in (False, True):
        hit = (weak(x, rng(1), flip=flip)[None] == allowed).flatten(2).all(2)
        assert hit.any(0).all() and hit[9:].any() == flip
        assert hit[:9].any(1).all(), 'some shift never occurs'


def test_parts_of_the_strong_view():
    x = torch.rand(5, 3, 9, 9, dtype=torch.float64, generator=rng(0))
    one = torch.ones(5, dtype=x.dtype)
    assert torch.allclose(turned(x, torch.pi/2*one, one), x.rot90(1, (2, 3)))
    assert torch.allclose(turned(x, 0*one, 2*one)[:, :, ::2, ::2], x[:, :, 2:7, 2:7])
    assert torch.allclose(shaded(x, 2*one, one), x**2)
    mean = x.mean((1, 2, 3), keepdim=True).expand_as(x)
    assert torch.allclose(shaded(x, one, 0*one), mean)
    changed = covered(x, torch.full((2, 5), 4), 3) != x
    assert changed.sum((1, 2, 3)).tolist() == [27]*5 and changed[:, :, 3:6, 3:6].all()
    assert (covered(x, torch.zeros(2, 5).long(), 3) != x).sum((1, 2, 3)).tolist() == [12]*5
