"Sources in their own formats, refusals, and loaders that are reproducible, complete and never empty."
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
from asal_nb.data import ASALDataLoaders, Rows, RowsDL, asal_dls, supervised_dls, warm_dls
from asal_nb.images import ImageData, check_fits, get_data
from asal_nb.pool import Pool
from asal_nb.sources import SETS, read_image, strata
from asal_nb.views import covered, shaded, strong, turned, weak


def tiny(n=40, c=3, shape=(1, 8, 8), n_test=12, seed=0, **kw):
    "n images whose first value is the row number"
    g = np.random.default_rng(seed)
    x, x_test = [g.integers(0, 256, (k, *shape)).astype('uint8') for k in (n, n_test)]
    x.reshape(n, -1)[:, 0] = np.arange(n)
    return ImageData.from_arrays(x, np.arange(n) % c, x_test, np.arange(n_test) % c, **kw)


def pool_of(data, k):
    pool = Pool(len(data), data.n_classes)
    if k: pool.label(range(k), data.oracle(range(k)))
    return pool


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close('all')


# -- sources ---------------------------------------------------------------------------------------------------------

def idx(o): return struct.pack(f'>{1+o.ndim}i', 0x800 + o.ndim, *o.shape) + o.tobytes()


def write_idx(root, cls, n=6):
    raw = root/cls/'raw'
    raw.mkdir(parents=True)
    for part, k in (('train', n), ('t10k', 4)):
        (raw / f'{part}-images-idx3-ubyte').write_bytes(
            idx((np.arange(k * 28 * 28) % 251).astype('uint8').reshape(k, 28, 28))
        )
        (raw/f'{part}-labels-idx1-ubyte').write_bytes(idx(np.arange(k, dtype='uint8')))


def write_svhn(root, monkeypatch):
    from scipy.io import savemat
    sums = {}
    for part, k in (('train', 6), ('test', 4)):
        f = root/f'{part}_32x32.mat'
        x = (np.arange(k*3*32*32) % 251).astype('uint8').reshape(k, 3, 32, 32)
        savemat(
            f, dict(X=x.transpose(2, 3, 1, 0), y=np.arange(1, k + 1)[:, None] + 10 - k)
        )  # the last one is 10: the digit 0
        sums[part] = ['', f.name, hashlib.md5(f.read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, 'split_list', sums)


def write_cifar(root, cls, monkeypatch):
    cls = getattr(torchvision.datasets, cls)
    base, key = root/cls.base_folder, 'fine_labels' if cls.__name__ == 'CIFAR100' else 'labels'
    base.mkdir()
    def dump(name, o):
        (base/name).write_bytes(pickle.dumps(o))
        return hashlib.md5((base/name).read_bytes()).hexdigest()
    x = (np.arange(3*3*32*32) % 251).astype('uint8').reshape(3, -1)
    for part in ('train_list', 'test_list'):
        monkeypatch.setattr(cls, part, [[n, dump(n, {'data': x, key: [0, 1, 2]})] for n, _ in getattr(cls, part)])
    names = [f'class {i}' for i in range(100 if key == 'fine_labels' else 10)]
    monkeypatch.setattr(cls, 'meta', cls.meta | dict(md5=dump(cls.meta['filename'], {cls.meta['key']: names})))
    return x.reshape(3, 3, 32, 32)


@pytest.mark.parametrize('name', ['mnist', 'fashion_mnist', 'kmnist'])
def test_idx_files(tmp_path, name):
    write_idx(tmp_path, SETS[name][0])
    data = get_data(name, tmp_path)
    assert data.x.shape == (6, 1, 28, 28) and data.x_test.shape == (4, 1, 28, 28) and data.x.dtype == torch.uint8
    assert torch.equal(data.x.flatten(), (torch.arange(6 * 784) % 251).byte()) and data.oracle(range(6)).tolist() == [
        *range(6)
    ]
    assert data.n_classes == 10 and data.y_test.tolist() == [0, 1, 2, 3] and data.flip == (name == 'fashion_mnist')
    assert data.classes[0] == dict(mnist='0', fashion_mnist='T-shirt/top', kmnist='o')[name]


def test_svhn(tmp_path, monkeypatch):
    write_svhn(tmp_path, monkeypatch)
    data = get_data('svhn', tmp_path)
    assert (
        data.x.shape == (6, 3, 32, 32) and data.oracle(range(6)).tolist() == [5, 6, 7, 8, 9, 0] and data.n_classes == 10
    )
    assert torch.equal(data.x.flatten(), (torch.arange(6*3072) % 251).byte()) and data.x.is_contiguous()


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_cifar(tmp_path, monkeypatch, name):
    x = write_cifar(tmp_path, SETS[name][0], monkeypatch)
    data = get_data(name, tmp_path)
    assert torch.equal(data.x[:3], torch.tensor(x)) and data.x.is_contiguous() and data.flip
    assert (
        data.n_classes == (100 if name == 'cifar100' else 10)
        and data.oracle([2]).tolist() == [2]
        and len(data.x_test) == 3
    )


def test_root_from_the_environment(tmp_path, monkeypatch):
    write_idx(tmp_path, 'MNIST')
    monkeypatch.setenv('ASAL_DATA', str(tmp_path))
    assert len(get_data('mnist')) == 6


@pytest.mark.parametrize('name', list(SETS))
def test_what_cannot_be_had_is_one_sentence(tmp_path, monkeypatch, name):
    def offline(self): raise OSError('no route to host')
    monkeypatch.setattr(getattr(torchvision.datasets, SETS[name][0]), 'download', offline)
    with pytest.raises(ValueError, match='no route to host') as e: get_data(name, tmp_path)
    assert str(tmp_path) in str(e.value) and 'ASAL_DATA' in str(e.value) and '\n' not in str(e.value)


def test_a_damaged_file_is_one_sentence(tmp_path):
    write_idx(tmp_path, 'MNIST')
    (tmp_path/'MNIST/raw/train-images-idx3-ubyte').write_bytes(b'short')
    with pytest.raises(ValueError, match='mnist is not in .* or cannot be read'): get_data('mnist', tmp_path)


def test_digits():
    a, b = get_data('digits'), get_data('digits', split=1)
    assert len(a) == 1297 and len(a.x_test) == 500 and a.x.max() == 255 and a.x.min() == 0
    assert (
        a.y_test.bincount().min() >= 48
        and a.fingerprint() != b.fingerprint()
        and a.fingerprint() == get_data('digits').fingerprint()
    )
    whole = lambda d: torch.cat([d.x, d.x_test]).flatten(1).tolist()
    assert sorted(whole(a)) == sorted(whole(b))
    assert set(((a.x.float() * 16 / 255).round() * 255 / 16).round().unique().tolist()) == set(
        a.x.unique().tolist()
    )  # 0..16, no other value
    for bad in (-1, 1.5, '0'):
        with pytest.raises(ValueError, match='split='): get_data('digits', split=bad)


def save(path, size=(12, 10), mode='RGB', fill=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, fill if mode in ('L', 'P', 'I;16', '1') else (fill,)*len(mode)).save(path)


def test_folder_with_a_test_part(tmp_path):
    for part, k in (('train', 3), ('test', 2)):
        for c, cls in enumerate(['b', 'a', 'c'][:k+1-(part == 'test')]):
            for i in range(k): save(tmp_path/part/cls/f'{i}.png', fill=100*c+i)
    data = ImageData.from_folder(tmp_path, 8)
    assert data.classes == ['a', 'b', 'c'] and data.x.shape == (9, 3, 8, 8) and data.x_test.shape == (4, 3, 8, 8)
    assert data.oracle(range(9)).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] and data.y_test.tolist() == [0, 0, 1, 1]
    assert data.x[:, 0, 0, 0].tolist() == [100, 101, 102, 0, 1, 2, 200, 201, 202] and data.name == tmp_path.name
    save(tmp_path/'test/z/0.png')
    with pytest.raises(ValueError, match='classes that train/ has not: z'): ImageData.from_folder(tmp_path, 8)


def test_folder_without_a_test_part(tmp_path):
    for i in range(30): save(tmp_path/'xyz'[i % 3]/f'{i:02}.png', fill=i)
    a, b, c = [ImageData.from_folder(tmp_path, 8, 1, split=s) for s in (0, 0, 1)]
    assert (
        torch.equal(a.x, b.x)
        and not torch.equal(a.x, c.x)
        and len(a) == 24
        and a.y_test.bincount().tolist() == [2, 2, 2]
    )
    assert sorted(torch.cat([a.x, a.x_test])[:, 0, 0, 0].tolist()) == list(range(30))
    assert torch.equal(a.x[:, 0, 0, 0] % 3, a.oracle(range(24)))
    assert len(ImageData.from_folder(tmp_path, 8, test_share=.5).x_test) == 15


@pytest.mark.parametrize(
    'mode, name',
    [('RGB', 'a.jpg'), ('L', 'a.png'), ('RGBA', 'a.png'), ('P', 'a.png'), ('1', 'a.png'), ('CMYK', 'a.jpg')],
)
@pytest.mark.parametrize('n_in', [1, 3])
def test_every_kind_of_image(tmp_path, mode, name, n_in):
    save(tmp_path/name, (20, 13), mode, 1)
    assert read_image(tmp_path/name, 8, n_in).shape == (n_in, 8, 8)


def test_images_lie_upright(tmp_path):
    im = Image.new('L', (16, 16))
    im.paste(255, (0, 0, 16, 8))  # bright above
    exif = Image.Exif()
    exif[0x112] = 3               # lies upside down
    im.save(tmp_path/'a.png', exif=exif)
    x = read_image(tmp_path/'a.png', 16, 1)
    assert (x[0, :8] == 0).all() and (x[0, 8:] == 255).all()


def test_bad_folders(tmp_path):
    with pytest.raises(ValueError, match='is not a folder'): ImageData.from_folder(tmp_path/'none', 8)
    with pytest.raises(ValueError, match='holds no folders of images'): ImageData.from_folder(tmp_path, 8)
    for i in range(4): save(tmp_path/'a'/f'{i}.png'); save(tmp_path/'b'/f'{i}.png')
    with pytest.raises(ValueError, match='n_in=2'): ImageData.from_folder(tmp_path, 8, 2)
    with pytest.raises(ValueError, match='size=0'): ImageData.from_folder(tmp_path, 0)
    with pytest.raises(ValueError, match='test_share=1'): ImageData.from_folder(tmp_path, 8, test_share=1)
    (tmp_path/'b/3.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match='3.png cannot be read as an image'): ImageData.from_folder(tmp_path, 8)
    (tmp_path/'b/3.png').unlink()
    save(tmp_path/'b/4.png', mode='I;16')
    with pytest.raises(ValueError, match='4.png cannot be read as an image .its pixels are I;16'):
        ImageData.from_folder(tmp_path, 8)
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='empty holds no images'): ImageData.from_folder(tmp_path, 8)


# -- arrays ----------------------------------------------------------------------------------------------------------

OK = dict(
    x=np.zeros((6, 1, 4, 4), 'uint8'), y=[0, 1, 2, 0, 1, 2], x_test=np.zeros((3, 1, 4, 4), 'uint8'), y_test=[0, 1, 2]
)


@pytest.mark.parametrize(
    'change, why',
    [
        (dict(x=np.zeros((6, 4, 4), 'uint8')), r'x\[:,None\]'),
        (dict(x=np.zeros((6, 4, 4, 3), 'uint8')), 'looks like'),
        (dict(x=np.zeros((6, 1, 4, 5), 'uint8')), 'square'),
        (dict(x=np.zeros((0, 1, 4, 4), 'uint8')), 'nothing in it'),
        (dict(x=np.zeros(6)), 'N,D'),
        (dict(x=np.zeros((6, 1, 4, 4), int)), 'bytes'),
        (dict(x=np.full((6, 1, 4, 4), 2.0)), r'0,1'),
        (dict(x=np.full((6, 1, 4, 4), -0.1)), r'0,1'),
        (dict(x=np.full((6, 1, 4, 4), np.nan)), 'nan'),
        (dict(x=np.full((6, 4), np.inf), x_test=None, y_test=None), 'infinity'),
        (dict(x=np.zeros((6, 1, 4, 4), bool)), 'bytes'),
        (dict(x=np.zeros((6, 1, 4, 4), complex)), 'bytes'),
        (dict(x='cats'), 'tensor or an array'),
        (dict(x=[[1, 2], [3]]), 'tensor or an array'),
        (dict(x=np.zeros((6, 1, 4, 4))), 'x_test has rows of'),
        (dict(x_test=np.zeros((3, 1, 5, 5), 'uint8')), 'x_test has rows of'),
        (dict(y=[0, 1]), 'there are 6 rows'),
        (dict(y=[[0]] * 6), 'there are 6 rows'),
        (dict(y=[0, 1, 2, 0, 1, -1]), 'start at 0'),
        (dict(y=[0.0, 1, 2, 0, 1, 2]), 'whole numbers'),
        (dict(y=['a'] * 6), 'whole numbers'),
        (dict(y=[True] * 6), 'whole numbers'),
        (dict(y_test=[0, 1]), 'there are 3 rows'),
        (dict(classes=['a', 'b']), '2 classes'),
        (dict(classes=['a', 'b', 'c'], y_test=[0, 1, 3]), '3 classes'),
        (dict(x_test=None), 'without x_test'),
        (dict(y=None, y_test=None), 'classes must be named'),
    ],
)
def test_refused_arrays(change, why):
    with pytest.raises(ValueError, match=why): ImageData.from_arrays(**OK | change)


@pytest.mark.parametrize(
    'drop', [[], ['y'], ['y_test'], ['y', 'y_test'], ['x_test', 'y_test'], ['y', 'x_test', 'y_test']]
)
def test_what_may_be_missing(drop):
    data = ImageData.from_arrays(**OK | dict.fromkeys(drop), classes=['a', 'b', 'c'])
    assert data.n_classes == 3 and (data.x_test is None) == ('x_test' in drop) and repr(data) and data.fingerprint()
    if 'y' not in drop: assert data.oracle([5]).tolist() == [2]
    else:
        with pytest.raises(ValueError, match='a person must answer'): data.oracle([5])
        with pytest.raises(ValueError, match='a person must answer'): data.tuning(2)
    assert len(asal_dls(data, pool_with(data, [0, 1])).valid_ds) == (2 if 'y_test' in drop else 3)


def pool_with(data, y):
    pool = Pool(len(data), data.n_classes)
    pool.label(range(len(y)), y)
    return pool


@pytest.mark.parametrize(
    'x',
    [
        np.zeros((6, 2, 4, 4), 'float64'),
        torch.zeros(6, 5, dtype=torch.float16),
        np.zeros((6, 5), 'float32')[:, ::-1],
        torch.zeros(6, 3, 4, 4, requires_grad=True),
        np.broadcast_to(np.float32(0), (6, 1, 4, 4)),
    ],
)
def test_floats_stay_float32(x):
    data = ImageData.from_arrays(x, [0, 1]*3)
    assert (
        data.x.dtype == data.images([0]).dtype == torch.float32
        and not data.x.requires_grad
        and data.x_shape == tuple(x.shape[1:])
    )


def test_vectors_may_leave_the_unit_interval():
    assert ImageData.from_arrays(np.array([[-3., 9.], [1., 2.]]), [0, 1]).images().tolist() == [[-3, 9], [1, 2]]


# -- labels ----------------------------------------------------------------------------------------------------------

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
    with pytest.raises(ValueError, match='blind'): dark.oracle([0])
    with pytest.raises(ValueError, match='blind'): dark.tuning(5)
    for d in (dark.blind(), pickle.loads(pickle.dumps(dark))):
        with pytest.raises(ValueError, match='blind'): d.oracle([0])


def test_only_the_oracle_holds_labels():
    data = tiny()
    public = [getattr(data, k) for k in dir(data) if not k.startswith('_') and k not in ('oracle', 'y_test')]
    assert not any(isinstance(o, torch.Tensor) and o.shape == (len(data),) for o in public)
    assert not [
        k for k in dir(data.oracle) if isinstance(getattr(data.oracle, k), torch.Tensor) and not k.startswith('_')
    ]
    for bad in ([40], [-1], [0, 0], [.5]):
        with pytest.raises(ValueError): data.oracle(bad)


def test_loaders_of_blind_data_show_labels_of_the_pool_alone():
    data = tiny()
    y = torch.arange(40) % 3
    ptr = data.oracle._y.data_ptr()
    pool = pool_of(data, 7)
    dls = asal_dls(data.blind(), pool, 4)
    assert all(t.data_ptr() != ptr for t in reach([dls.train_ds, dls.valid_ds, dls.data], {}))
    assert len(dls.valid_ds) == 7 and torch.equal(dls.valid_ds.y, y[:7]) and torch.equal(dls.valid_ds.x, data.x[:7])


@pytest.mark.parametrize('n', [6, 15, 30])
def test_tuning(n):
    data = tiny(60, n_test=20)
    t = data.tuning(n, seed=3)
    rows = torch.cat([t.x, t.x_test])[:, 0, 0, 0].sort().values
    assert torch.equal(rows, data.x[:, 0, 0, 0]) and len(t.x_test) == n and t.y_test.bincount().tolist() == [n//3]*3
    assert torch.equal(t.x[:, 0, 0, 0] % 3, t.oracle(range(len(t)))) and torch.equal(t.x_test[:, 0, 0, 0] % 3, t.y_test)
    own = {data.x_test.data_ptr(), data.y_test.data_ptr()}
    assert not own & {o.data_ptr() for o in reach(t, {})}
    assert torch.equal(t.x, data.tuning(n, seed=3).x) and not torch.equal(t.x, data.tuning(n, seed=4).x)
    for bad in (0, 60, 2, 2.5, True):
        with pytest.raises(ValueError): data.tuning(bad)


def test_strata_of_rare_classes():
    with pytest.raises(ValueError, match='smallest with 1 rows'): strata(torch.tensor([0, 0, 0, 1]), 2)
    a, b = strata(torch.tensor([5, 9]*10), 4)  # labels need not be 0..c-1
    assert len(b) == 4 and a.dtype == b.dtype == torch.int64


def test_what_does_not_fit_is_refused():
    check_fits(10, None, 'cpu'); check_fits(10, 10, 'cuda')
    with pytest.raises(
        ValueError, match="takes 4.00 GiB, but cuda:1 has 0.50 GiB free; keep it in main memory with device='cpu'"
    ):
        check_fits(4*2**30, 2**29, 'cuda:1')


def test_the_fingerprint_sees_every_byte_of_the_images():
    a = tiny(9000, shape=(1, 2, 2))
    f = a.fingerprint()
    for part, row in (('x', 0), ('x', 8999), ('x_test', 11)):
        b = tiny(9000, shape=(1, 2, 2))
        getattr(b, part)[row, 0, 1, 1] += 1
        assert b.fingerprint() != f
    assert a.blind().fingerprint() == f == tiny(9000, shape=(1, 2, 2)).fingerprint()


# -- loaders ---------------------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=60)
@given(k=st.integers(1, 130), bs=st.integers(1, 64), bs_U=st.none() | st.integers(1, 64))
def test_every_unlabelled_row_once_and_never_an_empty_batch(k, bs, bs_U):
    data = tiny(131, shape=(3,))
    pool = pool_of(data, k)
    dls = asal_dls(data, pool, bs, bs_U=bs_U)
    for _ in range(2):
        rows, n = [], 0
        for (x_L, x_U), y_L in dls.train:
            i_L, i_U = dls.train.i_L, dls.train.i_U
            assert len(x_L) == len(y_L) == len(i_L) == bs and len(x_U) == len(i_U) > 0 and (i_L < k).all()
            assert (
                torch.equal(x_L, data.images(i_L)) and torch.equal(x_U, data.images(i_U)) and torch.equal(y_L, i_L % 3)
            )
            rows += i_U.tolist(); n += 1
        assert sorted(rows) == pool.idx_U.tolist() and n == len(dls.train) == -(-(131-k)//(bs_U or bs))
    one = supervised_dls(data, pool, bs)
    assert len(one.train) == -(-(131-k)//bs) and {len(y) for x, y in one.train} == {bs}


@pytest.mark.parametrize('last, bs, n', [(5, 2, 3), (1, 64, 1), (64, 64, 1), (65, 64, 2)])
def test_nothing_left_to_label(last, bs, n):
    data = tiny(70)
    pool = pool_of(data, 70-last)
    pool.label(pool.idx_U, data.oracle(pool.idx_U))
    dls = asal_dls(data, pool, 8, bs_U=bs)
    batches = list(dls.train)
    assert len(batches) == len(dls.train) == n
    for (x_L, x_U), y in batches: assert x_L.shape == (8, 1, 8, 8) and x_U.shape == (0, 1, 8, 8) and len(y) == 8
    assert dls.train.i_U.shape == (0,) and len(supervised_dls(data, pool, bs).train) == n
    assert len(dls.show_batch(max_n=4)) == 4


@pytest.mark.parametrize('make', [asal_dls, supervised_dls])
def test_no_labels_no_loader(make):
    data = tiny()
    with pytest.raises(ValueError, match='no row is labelled yet'): make(data, Pool(40, 3))
    with pytest.raises(ValueError, match='pool has 39 rows'): make(data, Pool(39, 3))
    with pytest.raises(ValueError, match='bs=0'): make(data, pool_of(data, 3), 0)


def noise(dls, n=2): return [torch.cat([t.flatten().double() for t in flat(b)]) for _ in range(n) for b in dls.train]
def flat(b): return [t for o in b for t in flat(o)] if isinstance(b, (tuple, list)) else [b]
def globals_(): return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


LOADERS = {
    'asal': lambda d, p, s: asal_dls(d, p, 8, seed=s),
    'supervised': lambda d, p, s: supervised_dls(d, p, 8, seed=s),
    'warm': lambda d, p, s: warm_dls(d, 8, seed=s),
}


@pytest.mark.parametrize('make', LOADERS.values(), ids=LOADERS)
def test_a_seed_fixes_the_noise_whatever_the_global_generators_do(make):
    data = tiny(flip=True)
    pool = pool_of(data, 7)
    a = noise(make(data, pool, 1))
    was = globals_()
    dls = make(data, pool, 1)
    b = []
    for k in range(2):
        for o in dls.train:
            b.append(torch.cat([t.flatten().double() for t in flat(o)]))
        for _ in range(k+1): list(dls.valid)                    # validating more often
        dls.train.show_batch(max_n=2); dls.valid.show_batch(max_n=2)
    assert globals_() == was, 'a global generator was used'
    assert len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))
    with seeded(99): c = noise(make(data, pool, 1))
    assert all(torch.equal(x, y) for x, y in zip(a, c))
    other = noise(make(data, pool, 2))
    assert not all(torch.equal(x, y) for x, y in zip(a, other))
    half = len(a)//2
    assert not all(torch.equal(x, y) for x, y in zip(a[:half], a[half:])), 'the second epoch repeats the first'


def test_all_noise_comes_from_one_generator():
    data = tiny()
    dls = asal_dls(data, pool_of(data, 7), 8, seed=5)
    assert torch.equal(dls.rng.get_state(), rng(5, 'train').get_state())
    list(dls.valid)
    assert torch.equal(dls.rng.get_state(), rng(5, 'train').get_state())
    list(dls.train)
    assert not torch.equal(dls.rng.get_state(), rng(5, 'train').get_state())


def test_augmentation_is_the_weak_view_of_both_pools():
    data = tiny()
    pool = pool_of(data, 7)
    (x_L, x_U), y = asal_dls(data, pool, 8).one_batch()
    plain = asal_dls(data, pool, 8, augment=False)
    (p_L, p_U), y = plain.one_batch()
    assert torch.equal(p_L, data.images(plain.train.i_L)) and torch.equal(p_U, data.images(plain.train.i_U))
    for x, p in ((x_L, p_L), (x_U, p_U)): assert x.shape == p.shape and x.min() >= 0 and x.max() <= 1
    dls = asal_dls(data, pool, 8, seed=0)
    moved = [
        not torch.equal(x, data.images(i))
        for (x_L, x_U), _ in dls.train
        for x, i in ((x_L, dls.train.i_L), (x_U, dls.train.i_U))
    ]
    assert all(moved)


def test_warm_batches_are_plain_and_complete():
    data = tiny(41)
    dls = warm_dls(data.blind(), 8)
    for _ in range(2):
        seen = []
        for x, i in dls.train:
            assert torch.equal(x, data.images(i)) and torch.equal(dls.train.i_U, i)
            seen += i.tolist()
        assert sorted(seen) == list(range(41)) and seen != list(range(41))
    assert dls.pool is None and len(dls.valid_ds) == 0 and list(dls.valid) == []
    assert len(warm_dls(data).valid_ds) == 12


def test_steps():
    data = tiny()
    pool = pool_of(data, 7)
    dl = supervised_dls(data, pool, 8, n_steps=11).train
    assert len(list(dl)) == len(dl) == len(list(dl.new())) == 11
    with pytest.raises(ValueError, match='n_steps=0'): supervised_dls(data, pool, n_steps=0)
    with pytest.raises(ValueError, match='bs_U=0'): asal_dls(data, pool, bs_U=0)


def test_loaders_remember_where_they_come_from():
    data = tiny()
    pool = pool_of(data, 7)
    for dls in (asal_dls(data, pool), supervised_dls(data, pool)): assert dls.data is data and dls.pool is pool
    was = asal_dls(data, pool, 4)
    pool.label([30], [0])
    assert 30 in torch.cat([was.train.i_U for _ in was.train]), 'a loader keeps the pools it was made from'


def test_validation_is_the_test_set_in_order():
    data = tiny(n_test=600)
    dls = asal_dls(data, pool_of(data, 7), 8)
    x, y = [torch.cat(o) for o in zip(*dls.valid)]
    assert torch.equal(x, data.x_test.float()/255) and torch.equal(y, data.y_test)
    shuffled = dls.valid.new(shuffle=True)
    assert torch.equal(torch.cat([y for x, y in shuffled]).sort().values, data.y_test.sort().values)
    assert not torch.equal(torch.cat([y for x, y in shuffled]), data.y_test)


def test_an_export_holds_no_images():
    data = tiny(400, n_test=300)
    dls = asal_dls(data, pool_of(data, 7)).new_empty()
    assert isinstance(dls, ASALDataLoaders) and dls.data is dls.pool is dls.rng is None
    assert len(pickle.dumps(dls)) < 10_000
    assert pickle.loads(pickle.dumps(dls)).valid_ds.classes == ['0', '1', '2']


@pytest.mark.parametrize('flavour', ['tensor', 'array', 'bytes', 'list', 'pil', 'file'])
def test_new_images_in_any_form(tmp_path, flavour):
    data = tiny(n_test=5)
    dls = asal_dls(data, pool_of(data, 7))
    b = data.x_test
    pil = [Image.fromarray(o[0].numpy()) for o in b]
    for i, o in enumerate(pil): o.save(tmp_path/f'{i}.png')
    items = dict(
        tensor=b.float() / 255,
        array=b.numpy() / 255,
        bytes=b,
        list=[o.numpy() for o in b],
        pil=pil,
        file=[tmp_path / f'{i}.png' for i in range(5)],
    )
    (x,), = list(dls.test_dl(items[flavour]))
    assert torch.allclose(x, data.x_test.float()/255)


def test_new_images_of_another_shape_are_refused():
    data = tiny()
    dls = asal_dls(data, pool_of(data, 7))
    with pytest.raises(ValueError, match=r'items have shape \(1, 9, 9\), but the data has \(1, 8, 8\)'):
        dls.test_dl(torch.zeros(2, 1, 9, 9))
    with pytest.raises(ValueError, match='channel'): dls.test_dl([np.zeros((8, 8))])
    vec = tiny(shape=(4,))
    with pytest.raises(ValueError, match='the data are vectors'):
        asal_dls(vec, pool_of(vec, 7)).test_dl([Image.new('L', (8, 8))])


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('shape', [(1, 8, 8), (5,)])
def test_a_learner(tmp_path, shape):
    import fastai.callback.progress  # noqa: F401, for no_bar
    from fastai.learner import Learner, load_learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import accuracy
    from torch import nn
    data = tiny(shape=shape)
    with seeded(0): net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3))
    dls = supervised_dls(data, pool_of(data, 20), 8)
    learn = Learner(dls, net, CrossEntropyLossFlat(), metrics=accuracy, path=tmp_path)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        assert learn.validate()[1] == pytest.approx(
            (net(data.x_test.float() / 255).argmax(1) == data.y_test).float().mean().item()
        )
        p, y = learn.get_preds()
        assert torch.equal(y, data.y_test) and torch.allclose(learn.get_preds(dl=dls.test_dl(data.x_test))[0], p)
        name, i, q = learn.predict(data.x_test[2])
        assert name == str(i.item()) and torch.allclose(q, p[2], atol=1e-6)
        learn.show_results(max_n=4); dls.show_batch(max_n=4)
        learn.export('a.pkl')
    again = load_learner(tmp_path/'a.pkl')
    with again.no_bar(): assert torch.allclose(again.predict(data.x_test[2])[2], p[2], atol=1e-6)


def test_rows_without_labels():
    dl = RowsDL(Rows(torch.zeros(5, 1, 4, 4)), bs=2)
    assert [len(b[0]) for b in dl] == [2, 2, 1] and all(len(b) == 1 for b in dl)
    assert len(dl.show_batch()) == 2
    assert [len(b[0]) for b in RowsDL(Rows(torch.zeros(5, 2)), bs=2, drop_last=True)] == [2, 2]


# -- views -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 32, 32), (2, 7, 7), (1, 1, 1), (6,)])
@pytest.mark.parametrize('view', [weak, strong])
@pytest.mark.parametrize('n', [0, 1, 9])
def test_views_keep_shape_type_and_range(view, shape, n):
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(n, *shape, dtype=dtype, generator=rng(0))
        a, b = view(x, rng(1), flip=True), view(x, rng(1), flip=True)
        assert a.shape == x.shape and a.dtype == dtype and torch.equal(a, b) and a.isfinite().all()
        if len(shape) == 3 and n: assert a.min() >= 0 and a.max() <= 1


def test_weak_views_are_the_shifts_of_a_padded_image():
    x = torch.rand(600, 2, 8, 8, generator=rng(0))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode='replicate')
    allowed = torch.stack(
        [o for i in range(3) for j in range(3) for w in [padded[:, :, i : i + 8, j : j + 8]] for o in (w, w.flip(-1))]
    )
    for flip in (False, True):
        hit = (weak(x, rng(1), flip=flip)[None] == allowed).flatten(2).all(2)
        assert hit.any(0).all() and hit[1::2].any() == flip
        assert hit[::2].any(1).all(), 'some shift never occurs'


def test_parts_of_the_strong_view():
    x = torch.rand(5, 3, 9, 9, dtype=torch.float64, generator=rng(0))
    one, quarter = torch.ones(5, dtype=x.dtype), torch.full((5,), torch.pi/2, dtype=x.dtype)
    assert torch.allclose(turned(x, 0*one, one), x) and torch.allclose(turned(x, quarter, one), x.rot90(1, (2, 3)))
    assert torch.allclose(turned(x, 0*one, 2*one)[:, :, ::2, ::2], x[:, :, 2:7, 2:7])
    assert torch.allclose(shaded(x, 2*one, one), x**2)
    flat = shaded(x, one, 0*one)
    assert torch.allclose(flat, x.mean((1, 2, 3), keepdim=True).expand_as(x))
    y = covered(x, torch.full((2, 5), 4), 3)
    assert (y != x).sum((1, 2, 3)).tolist() == [27]*5 and (y[:, :, 3:6, 3:6] != x[:, :, 3:6, 3:6]).all()
    assert (covered(x, torch.zeros(2, 5).long(), 3) != x).sum((1, 2, 3)).tolist() == [12]*5


def test_strong_is_stronger_than_weak():
    x = get_data('digits').images(range(200))
    v = torch.rand(300, 64, generator=rng(0))+1
    assert (strong(x, rng(1))-x).abs().mean() > (weak(x, rng(1))-x).abs().mean()
    dropped = (strong(v, rng(1)) == 0).double().mean()
    assert abs(dropped-.15) < 4*(.15*.85/v.numel())**.5
