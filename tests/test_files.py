"Pictures as people have them: folders with litter, tables, odd files, a cache, other libraries."
import io
import os
import struct
import warnings
import zlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from asal_nb.data import files, images, sources
from asal_nb.data.files import list_files, list_folder, read_images
from asal_nb.data.images import ImageData, get_data, shrunk
from asal_nb.data.sources import check_x, check_y, read_image, read_labels

CPU = dict(device='cpu')


def refused(why): return pytest.raises(ValueError, match=why)
def said(why): return pytest.warns(UserWarning, match=why)


def save(path, fill=7, mode='L', size=(8, 8), **kw):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = fill if mode in ('L', 'P', 'I;16', 'F', '1') else (fill,)*len(mode)
    Image.new(mode, size, colour).save(path, **kw)


def fill(root, *names):
    "Pictures whose grey is their number"
    for i, o in enumerate(names): save(root/o, i)


def first(data): return data.x[:, 0, 0, 0].tolist()


@pytest.fixture(autouse=True)
def no_word_unasked():
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        yield


# -- folders

LITTER = ['.ipynb_checkpoints/a-checkpoint.png', '__MACOSX/cat/._a.png', '@eaDir/a.png/SYNO.jpg',
          '._a.png', '.hidden.png', 'thumbnails/a.png', '.thumbnails/a.png']


@pytest.fixture
def messy(tmp_path):
    "300 pictures of three classes, with litter, odd formats and damaged files"
    g = np.random.default_rng(0)
    for i in range(300):
        f = tmp_path/('ant', 'bee', 'cat')[i % 3]/f'{i:03}{".png" if i % 2 else ".JPG"}'
        size = tuple(g.integers(9, 30, 2).tolist())
        mode = 'RGBA' if i % 30 == 1 else 'I;16' if i % 100 == 3 else 'P' if i % 30 == 5 else 'L'
        save(f, 200, mode, size, format='PNG' if i % 2 else 'JPEG')
    for k in ('', 'ant', 'bee/deep'):
        for o in LITTER: save(tmp_path/k/o, 9)
        for o in ('Thumbs.db', 'desktop.ini', '.DS_Store', 'n.txt', 'x.heic'):
            (tmp_path/k/o).write_bytes(b'no picture')
    for o in ('ant/000.JPG', 'bee/001.png', 'cat/002.JPG'):
        (tmp_path/o).write_bytes((tmp_path/o).read_bytes()[:60])
    return tmp_path


def test_a_messy_folder(messy):
    with refused('3 of 300 pictures cannot be read.*000.JPG.*001.png.*002.JPG'):
        ImageData.from_folder(messy, 8, **CPU)
    with pytest.warns(UserWarning) as told:
        data = ImageData.from_folder(messy, 8, bad='skip', **CPU)
    text, = [str(o.message) for o in told]
    for o in ('3 × .heic', '3 × .txt', 'skipped: 3', '3 pictures of 16 bits'): assert o in text
    assert '\n' not in text and told[0].filename == __file__
    assert len(data) + len(data.x_test) == 297 and data.classes == ['ant', 'bee', 'cat']
    for o, y in zip(data.files, data.oracle(range(len(data)))):
        assert o.startswith(data.classes[y]) and '/.' not in o
    assert len(set(data.files)) == len(data)


SPLIT = ['{0}/cat/0.png', '{0}/dog/1.png', '{1}/cat/2.png', '{1}/dog/3.png']


@pytest.mark.parametrize('names, kw, classes, rows, test', [
    *[([o.format(a, b) for o in SPLIT], {}, 'cat dog', [0, 1], [2, 3]) for a, b in (
        ('train', 'test'), ('train', 'valid'), ('Train', 'VAL'), ('training', 'validation'),
        ('TRAINING', 'Testing'), ('trn', 'val'), ('seg_train', 'seg_test'), ('train2', 'test2'),
        ('train/train', 'test/test'))],
    ([o.format('train', 'valid') for o in SPLIT] + ['test/cat/4.png'], {}, 'cat dog',
     [0, 1, 2, 3], [4]),
    (['cat/0.png', 'cat/more/1.png', 'dog/2.png', 'dog/3.png'], dict(test_share=0), 'cat dog',
     [0, 1, 2, 3], []),
    (['0.png', '1.png', 'a/2.png'], dict(classes=['dog', 'cat']), 'dog cat', [0, 1, 2], []),
    (['2020/cat/0.png', '2021/1.png'], dict(classes=['cat', 'dog']), 'cat dog', [0, 1], []),
    (['bus/0.png', 'car/1.png', 'train/2.png'], dict(test_share=0), 'bus car train', [0, 1, 2], []),
    (['train/0.png', 'test/1.png'], dict(classes=['cat', 'dog']), 'cat dog', [0], [1]),
    ([*(o.format('train', 'test') for o in SPLIT), 'unlabeled/4.png'], dict(classes=['cat', 'dog']),
     'cat dog', [0, 1, 4], [2, 3]),
    ([f'{k}/{k}.png' for k in range(11)], dict(test_share=0), ' '.join(map(str, range(11))),
     [*range(11)], [])])
def test_layouts(tmp_path, names, kw, classes, rows, test):
    fill(tmp_path, *names)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        data = ImageData.from_folder(tmp_path, 8, **kw, **CPU)
    assert data.classes == classes.split() and sorted(first(data)) == rows
    assert data.files == [names[i] for i in first(data)]
    assert ([] if data.x_test is None else sorted(data.x_test[:, 0, 0, 0].tolist())) == test
    for i, y in zip(first(data), data.pool().y.tolist() if data.oracle.is_partial else []):
        assert y == next((k for k, o in enumerate(data.classes) if o in names[i]), -1)


@pytest.mark.parametrize('names, kw, why', [
    (['0.png', '1.png'], {}, r"2 pictures and no folders of classes: .*classes=\['cat', 'dog'\]"),
    (['a.txt'], {}, 'holds no pictures .left out: 1 × .txt'),
    (['all/cat/0.png', 'all/dog/1.png'], {}, 'in one folder, all, .*give its path'),
    (['train/cat/0.png', 'test/cat/1.png', 'other/2.png'], {}, 'test, train beside other'),
    (['test/cat/0.png', 'valid/dog/1.png'], {}, 'beside no folder train'),
    (['cat/train/0.png', 'cat/test/1.png', 'dog/2.png'], {}, 'train and test below the folders of'),
    (['Cat/0.png', '1.png'], dict(classes=['cat', 'dog']), "Cat is spelt unlike the class 'cat'"),
    (['cat/dog/0.png'], dict(classes=['cat', 'dog']), 'folders of two classes: cat and dog'),
    (['train/0.png', 'test/cat/1.png', 'test/2.png'], dict(classes=['cat', 'dog']),
     'test picture test/2.png has no label'),
    (['0.png'], dict(classes='cat'), 'list of different names'),
    (['0.png'], dict(classes={'a', 'b'}), 'list of different names'),
    (['0.png'], dict(classes=['a', 'a']), 'list of different names'),
    (['a/0.png', 'b/1.png'], dict(fit='stretch'), "fit='stretch' is unknown"),
    (['a/0.png', 'b/1.png'], dict(bad='ignore'), "bad='ignore' is unknown"),
    (['a/0.png', 'b/1.png'], dict(test_share=-1), 'test_share=-1'),
    (['a/0.png', 'b/1.png'], dict(device='nowhere'), "device='nowhere' cannot be used")])
def test_refused_folders(tmp_path, names, kw, why):
    for o in names: (save if o.endswith('png') else lambda f: f.write_text(''))(tmp_path/o)
    with refused(why) as e, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        ImageData.from_folder(tmp_path, 8, **kw)
    assert '\n' not in str(e.value)


def test_a_class_of_one_picture_stays_in_the_pool(tmp_path):
    fill(tmp_path, *[f'{k}/{i}.png' for k in ('cat', 'dog') for i in range(10)], 'eel/0.png')
    with said('class eel has a single picture'): data = ImageData.from_folder(tmp_path, 8, **CPU)
    assert 'eel/0.png' in data.files and data.y_test.bincount().tolist() == [2, 2]
    few = tmp_path/'few'
    fill(few, *[f'{k}/{i}.png' for k in 'abcd' for i in (0, 1)])
    assert ImageData.from_folder(few, 8, **CPU).y_test.tolist() == [0, 1, 2, 3]


def test_copies_of_a_picture_are_told(tmp_path):
    "Equal pixels in pool and test set, or under two labels; copies of one label are no matter"
    def draw(name, value):
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (9, 9), value).save(tmp_path/name)
    names = ['train/cat/a.png', 'train/cat/b.png', 'train/dog/c.png', 'train/cat/d.png',
             'test/cat/e.png', 'test/dog/f.png']
    for i, name in enumerate(names): draw(name, 20*i)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ImageData.from_folder(tmp_path, 8)
    draw('train/cat/copy.png', 0)
    draw('train/dog/c2.png', 40)                   # a copy of its own label beside the pair
    draw('train/dog/b.png', 20)
    draw('test/dog/c.png', 40)
    with pytest.warns(UserWarning) as said: ImageData.from_folder(tmp_path, 8, name='pets')
    assert [str(o.message) for o in said] == [
        'pets: pictures in both pool and test set: 1 (train/dog/c.png = test/dog/c.png);'
        ' pictures under two labels: 1 (train/cat/b.png = train/dog/b.png)']


def test_links_and_what_is_no_file(tmp_path):
    fill(tmp_path/'in', 'a/0.png', 'b/1.png', '.store/2.png')
    save(tmp_path/'out.png')
    here = tmp_path/'in'
    os.mkfifo(here/'a/pipe.png')
    (here/'a/gone.png').symlink_to(here/'nothing.png')
    (here/'a/far.png').symlink_to('/nowhere/nothing.png')
    (here/'a/twice.png').symlink_to(here/'a/0.png')
    (here/'a/loop').symlink_to(here)
    (here/'b/kept.png').symlink_to(here/'.store/2.png')
    found = list_folder(here, test_share=0)
    assert found.names == ['a/0.png', 'b/1.png', 'b/kept.png']
    for o in ('1 × picture that is no plain file', '2 × broken link', '1 × link to a folder',
              '1 × link to a picture that is read anyway'): assert o in found.words[0]
    (here/'b/x.png').symlink_to(tmp_path/'out.png')
    with refused('links lead out of the folder.*from_files .b/x.png'): list_folder(here)
    (tmp_path/'way').symlink_to(here)
    (here/'b/x.png').unlink()
    assert list_folder(tmp_path/'way', test_share=0).names == found.names


def test_a_folder_that_is_not_there_and_one_that_may_be_litter(tmp_path):
    fill(tmp_path/'photos', '0.png', 'Thumbs/1.png')
    with refused("there is no folder .*/photo; did you mean 'photos'"):
        ImageData.from_folder(tmp_path/'photo', 8)
    with said('1 × folder Thumbs'):
        assert len(ImageData.from_folder(tmp_path/'photos', 8, classes=['a', 'b'], **CPU)) == 1


def test_odd_names(tmp_path):
    save(tmp_path/'a/\x1b[31m\n.png')
    save(tmp_path/'b/$x_{.png')
    (tmp_path/'b/bad\n.png').write_bytes(b'')
    with refused('bad') as e: ImageData.from_folder(tmp_path, 8, **CPU)
    assert '\n' not in str(e.value) and '\x1b' not in str(e.value)
    (tmp_path/'b/bad\n.png').unlink()
    with said('single'): data = ImageData.from_folder(tmp_path, 8, **CPU)
    data.show([0, 1])[0].figure.canvas.draw()
    raw = os.fsencode(tmp_path/'b') + b'/caf\xe9.png'
    os.rename(tmp_path/'b/$x_{.png', raw)
    with refused('file names are not UTF-8: rename them'): ImageData.from_folder(tmp_path, 8)


# -- one picture

def icon(mode):
    im = Image.new('RGBA', (9, 9), (0, 0, 0, 0))
    im.paste((0, 0, 0, 255), (3, 3, 6, 6))
    if mode == 'P': return im.quantize(4)
    if mode == 'tRNS':
        im = Image.new('L', (9, 9), 5)
        im.paste(0, (3, 3, 6, 6))
        im.info['transparency'] = 5
        return im
    return im.convert(mode)


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P', 'tRNS'])
@pytest.mark.parametrize('n_in', [1, 3])
def test_transparent_is_white(tmp_path, mode, n_in):
    im = icon(mode)
    im.save(tmp_path/'a.png', **({'transparency': 5} if mode == 'tRNS' else {}))
    x = read_image(tmp_path/'a.png', 9, n_in)
    assert x.shape == (n_in, 9, 9) and (x[:, 0] == 255).all() and (x[:, 4, 4] == 0).all()


@pytest.mark.parametrize('mode, value, byte', [
    ('I;16', 65535, 255), ('I;16', 257*100, 100), ('F', .5, 128), ('F', 1., 255)])
def test_more_bits_are_scaled_with_a_word(tmp_path, mode, value, byte):
    save(tmp_path/'a.tif', value, mode)
    with said('of 16 bits or floats.*brightest pixel is'): x = read_image(tmp_path/'a.tif', 4)
    assert x.unique().tolist() == [byte]
    save(tmp_path/'b.tif', 300., 'F')
    with refused('its pixels are 300..300, outside 0..1'): read_image(tmp_path/'b.tif', 4)


def test_size_and_fit():
    im = Image.new('L', (40, 20))
    im.paste(255, (0, 0, 20, 20))
    for fit in sources.FITS: assert read_image(im, (6, 10), 1, fit).shape == (1, 6, 10)
    x = read_image(im, 20, 1, 'pad')[0]
    assert (x[:5] == 0).all() and (x[15:] == 0).all() and (x[5:15, :8] == 255).all()
    assert read_image(im, 20, 1, 'squash')[0, 0].tolist()[::19] == [255, 0]
    for size in ((1, 5000), (5000, 1), (1, 1)):
        x = [read_image(Image.new('L', size), 8, 1, fit) for fit in sources.FITS]
        assert [o.shape for o in x] == [(1, 8, 8)]*3
    for bad in (0, (3,), (3, 0), 2.5, '8'):
        with refused('size='): read_image(im, bad)


@pytest.mark.parametrize('bytes_, why', [
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n', 'none of JPEG, PNG'),
    (b'', 'none of'), (b'GIF89a', 'cannot be read'), (b'\x89PNG\r\n\x1a\n' + b'x'*99, 'cannot be')])
def test_hostile_files(tmp_path, bytes_, why):
    (tmp_path/'a.png').write_bytes(bytes_)
    with refused(why) as e: read_image(tmp_path/'a.png', 8)
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('side', [9000, 13300, 30000])
def test_a_bomb_is_not_decoded(tmp_path, side):
    save(tmp_path/'a.png')
    was = (tmp_path/'a.png').read_bytes()
    head = b'IHDR' + struct.pack('>II', side, side) + was[24:29]
    (tmp_path/'a.png').write_bytes(was[:12] + head + struct.pack('>I', zlib.crc32(head)) + was[33:])
    with refused('million pixels, but at most 67 million|exceeds limit'):
        read_image(tmp_path/'a.png', 8)


# -- the cache

def test_the_cache_reads_once(tmp_path, monkeypatch):
    fill(tmp_path, *[f'{k}/{i}.png' for k in 'ab' for i in range(5)])
    (tmp_path/'a/x.png').write_bytes(b'')
    def get(**kw): return ImageData.from_folder(tmp_path, 8, bad='skip', **CPU, **kw)
    cache = tmp_path/'.cache'
    with said('skipped: 1'): plain = get()
    with said('skipped: 1'): one = get(cache=cache)
    seen = []
    monkeypatch.setattr(files, 'decoded', lambda *o: seen.append(o) or sources.decoded(*o))
    with said('skipped: 1'): two = get(cache=cache)
    assert not seen and plain.fingerprint() == one.fingerprint() == two.fingerprint()
    assert plain.files == two.files
    with refused('1 of 11'): ImageData.from_folder(tmp_path, 8, cache=cache)
    assert not seen and len(list(cache.iterdir())) == 1
    with said('skipped'): get(cache=cache, fit='pad')
    save(tmp_path/'a/0.png', 99)
    with said('skipped'): assert 99 in torch.cat([(d := get(cache=cache)).x, d.x_test])
    assert len(seen) == 22
    for o in cache.rglob('pictures'): o.write_bytes(o.read_bytes()[:-1] + b'\1')
    with said('skipped'): get(cache=cache)
    assert len(seen) == 33, 'a damaged entry is read again'


def test_nothing_half_is_left_in_the_cache(tmp_path, monkeypatch):
    fill(tmp_path, '0.png', '1.png')
    found, cache = sorted(tmp_path.glob('*.png')), tmp_path/'.cache'
    def stop(*o): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(files, 'crc_of', stop)
        with pytest.raises(KeyboardInterrupt): read_images(found, 8, cache=cache)
    assert list(cache.iterdir()) == []
    def full(*o): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(files, 'fill', full)
        with refused('No space left on device.; give another folder'):
            read_images(found, 8, cache=cache)
    assert list(cache.iterdir()) == []


def test_large_sets_stay_on_disk(tmp_path, monkeypatch):
    fill(tmp_path, *[f'{k}/{i}.png' for k in 'ab' for i in range(5)])
    small = ImageData.from_folder(tmp_path, 8, **CPU)
    monkeypatch.setattr(files, 'SHARE', 0)
    with refused('more than 0% of the memory: say cache=True'): ImageData.from_folder(tmp_path, 8)
    large = ImageData.from_folder(tmp_path, 8, cache=tmp_path/'.cache', **CPU)
    assert large.fingerprint() == small.fingerprint()
    file, = (tmp_path/'.cache').rglob('pictures')
    assert str(file) in open('/proc/self/maps').read()
    was = file.read_bytes()
    large.x.zero_()
    assert file.read_bytes() == was


# -- files and tables

def test_files_in_the_order_given(tmp_path):
    fill(tmp_path, 'b.png', 'a.png', 'c.png')
    given = [str(tmp_path/o) for o in ('c.png', 'b.png', 'a.png')]
    data = ImageData.from_files(given, 8, ['x', None, 'y'], **CPU)
    assert first(data) == [2, 0, 1] and data.files == given and data.oracle.is_partial
    assert data.pool().y.tolist() == [0, -1, 1]
    with refused(r'row 1 \(.*b.png\) has no label: a person must answer'): data.oracle([0, 1])
    data = ImageData.from_files(given, 8, {given[0]: 'x'}, ['w', 'x'], test=[False, True, False])
    assert data.pool().y.tolist() == [1, -1] and data.y_test is None and len(data.x_test) == 1
    for bad, why in ((['a.png', 'a.png'], 'more than once'), ('a.png', 'list of paths'),
                     ([3], 'list of paths'), ([], 'no file'), (['z.png'], 'there is no such file')):
        with refused(why): ImageData.from_files(bad, 8, classes=['a', 'b'])
    with refused('names have a label, but are not among'): list_files(given, {'z': 1}, ['a'])
    with refused('labels has shape'): list_files(given, ['a'])


@pytest.mark.parametrize('text, y, classes', [
    ('file,label\na.png,x\nb.png,y\n', [0, 1], 'x y'),
    ('\ufeffFile Name;Class\na.png;x\nb.png;\n', [0, -1], 'x'),
    ('image\ttarget\na.png\t2\nb.png\t-1\n', [0, -1], '2'),
    ('path,category\n"a.png","None"\nb.png,NA\n', [1, 0], 'NA None'),
    ('img_path,y,width\na.png,10,3\nb.png,9,3\n', [1, 0], '9 10')])
def test_tables(tmp_path, text, y, classes):
    fill(tmp_path, 'a.png', 'b.png')
    (tmp_path/'t.csv').write_text(text, encoding='utf-8')
    data = ImageData.from_csv(tmp_path/'t.csv', 8, **CPU)
    assert data.oracle._y.tolist() == y and data.classes == classes.split() and data.name == 't'
    assert data.files == ['a.png', 'b.png'] and first(data) == [0, 1]


def test_refused_tables(tmp_path):
    fill(tmp_path, 'a.png', 'd/b.png')
    def get(df, **kw): return ImageData.from_frame(pd.DataFrame(df), 8, root=tmp_path, **kw, **CPU)
    ok = dict(file=['a.png', 'd\\b.png'], label=['x', 'y'])
    assert first(get(ok)) == [0, 1], 'paths as Windows writes them'
    with refused('several fit; the columns are file, label, path'): get(ok | dict(path=ok['file']))
    with refused("none fits; the columns are a, b"): get(dict(a=[1], b=[2]))
    with refused("there is no 'kind'; the columns are file, label"): get(ok, label='kind')
    with refused('label= must name a column, but none fits'): get(dict(file=ok['file']))
    with refused("column 'part' holds 'maybe'"): get(ok | dict(part=['maybe', 1]), test='part')
    with refused('names no file in line 2'): get(ok | dict(file=['a.png', None]))
    assert get(dict(file=ok['file']), classes=['x', 'y']).oracle.is_empty
    assert first(get(ok | dict(part=['valid', 'train']), test='part')) == [1]
    (tmp_path/'t.csv').write_bytes(b'file,label\n\xe9.png,x\n')
    with refused('df must be a pandas frame, not dict'): ImageData.from_frame(ok, 8)
    with refused('is not UTF-8'): ImageData.from_csv(tmp_path/'t.csv', 8)
    with refused('there is no file'): ImageData.from_csv(tmp_path/'no.csv', 8)
    with refused('is a folder'): ImageData.from_csv(tmp_path, 8)
    lost = dict(file=['x.png'], label=['y'])
    with refused('none of the 1 files is there.*x.png.*root= says'): get(lost)


def test_a_table_is_not_read_in_part(tmp_path):
    "A comma in a name moves no cell; numbers with a gap, as pandas writes them, stay whole."
    fill(tmp_path, '0.png', '1.png', '2.png')
    table = tmp_path/'t.csv'
    table.write_text('file,label\na,0.png,x\n1.png,y\n')
    with refused('more cells than its header'): ImageData.from_csv(table, 8)
    df = pd.DataFrame(dict(file=['0.png', '1.png', '2.png'], label=[1, None, 0]))
    df.to_csv(table, index=False)
    for classes in (None, ['cat', 'dog']):
        data = ImageData.from_csv(table, 8, classes=classes, **CPU)
        assert data.pool().y.tolist() == [1, -1, 0] and data.classes == (classes or ['0', '1'])


@pytest.mark.parametrize('labels, classes, y', [
    (['b', 'a', None, float('nan'), '', ' '], None, [1, 0, -1, -1, -1, -1]),
    (pd.Series(['b', 'a', pd.NA], index=[7, 8, 9], dtype='string'), None, [1, 0, -1]),
    (pd.Categorical(['b', 'a', None]), None, [1, 0, -1]),
    (pd.Series([1, 0, None], dtype='Int64'), ['a', 'b'], [1, 0, -1]),
    (np.array([1, 0, -1], '>i2'), ['a', 'b'], [1, 0, -1]),
    (np.array([1., 0., np.nan]), ['a', 'b'], [1, 0, -1]),
    (np.array([b'b', b'a']), {0: 'a', 1: 'b'}, [1, 0]), (['1', '0'], ['a', 'b'], [1, 0]),
    ([True, False], None, [1, 0]), (torch.tensor([2, 0]), None, [1, 0]),
    (pd.DataFrame(dict(y=['b', 'a'])), {'a': 0, 'b': 1}, [1, 0])])
def test_labels_of_every_origin(labels, classes, y):
    assert read_labels(labels, len(y), classes)[0].tolist() == y


# -- arrays

def test_arrays_are_copied_and_of_any_order_of_bytes():
    for x in (np.zeros((3, 4)), np.zeros((3, 4), 'float32'), torch.zeros(3, 4)):
        y = torch.tensor([0, 1, 0])
        data = ImageData.from_arrays(x, y, x, y, **CPU)
        x += 1
        y += 1
        assert (data.x == 0).all() and (data.x_test == 0).all()
        assert data.y_test.tolist() == [0, 1, 0]
        assert data.oracle([0]).tolist() == [0]
    x = np.zeros((3, 4), 'float32')
    assert ImageData.from_arrays(x, [0, 1, 0], copy=False, **CPU).x.data_ptr() == x.ctypes.data
    for kind in ('>f4', '>f8', 'float16', 'longdouble'):
        assert check_x('x', np.full((2, 3), .5, kind)).tolist() == [[.5]*3]*2
    frame = pd.DataFrame(dict(a=[1., 2], b=[3, 4]), index=[5, 6])
    assert check_x('x', frame).tolist() == [[1, 3], [2, 4]]
    for o in (pd.Series([2, 0, 1], index=[9, 8, 7]), np.array([2, 0, 1], 'uint64')):
        assert check_y('y', o, 3).tolist() == [2, 0, 1]
    with refused('masked|not MaskedArray'): check_x('x', np.ma.array([[1., 2]], mask=[[0, 1]]))


@pytest.mark.parametrize('y, n', [([0, -1, 1], 2), ([0, None, 1], 2), (['a', None, 'b'], 2),
                                  ([np.nan, 0, 1], 2), ([-1]*3, 0), ([None]*3, 0), ([0, 1, 0], 0)])
def test_partly_missing_labels(y, n):
    data = ImageData.from_arrays(torch.rand(3, 4), y, classes=['a', 'b'], **CPU)
    assert data.oracle.is_partial == bool(n) and len(data.pool().idx_L) == n
    assert data.oracle.is_empty == (not n and y != [0, 1, 0]) and repr(data)
    if n:
        with refused('has no label: a person must answer'): data.oracle(range(3))


def test_files_go_along(tmp_path):
    fill(tmp_path, *[f'{k}/{i}.png' for k in 'ab' for i in range(10)])
    data = ImageData.from_folder(tmp_path, 80, test_share=0, **CPU)
    assert data.names([3]) == ['a/3.png'] and get_data('digits', **CPU).names([17]) == ['row 17']
    for o in (data.blind(), data.to('cpu'), shrunk(data)): assert o.files == data.files
    tune = data.tuning(4)
    assert first(tune) == [10*(o[0] == 'b') + int(o[2]) for o in tune.files]
    bare = ImageData.from_arrays(data.x, data.oracle(range(20)), **CPU)
    assert bare.fingerprint() == data.fingerprint() and bare.files is None
    with refused('files has 1 names'): ImageData.from_arrays(data.x, [0, 1]*10, files=['a'])
    assert data.show([3])[0].get_title() == 'a\n3.png'


def test_data_go_to_the_default_device(monkeypatch):
    monkeypatch.setattr(images, 'default_device', lambda: 'meta')
    x = torch.rand(3, 4)
    for make in (lambda **kw: get_data('digits', **kw),
                 lambda **kw: ImageData.from_arrays(x, [0, 1, 0], **kw)):
        with refused("device='meta' cannot be used here"): make()
        assert make(device='cpu').device.type == 'cpu'


# -- other libraries

def dls_of(root, how):
    from fastai.vision.data import ImageDataLoaders
    from fastai.vision.augment import Resize
    kw = dict(item_tfms=Resize(8), bs=2, seed=0)
    if how == 'folder': return ImageDataLoaders.from_folder(root, valid_pct=.3, **kw)
    found = sorted(root.rglob('*.png'))
    if how == 'func':
        return ImageDataLoaders.from_path_func(root, found, lambda o: o.parent.name, **kw)
    df = pd.DataFrame(dict(f=[o.relative_to(root).as_posix() for o in found],
                           y=[o.parent.name for o in found]))
    return ImageDataLoaders.from_df(df, root, **kw)


@pytest.mark.parametrize('how', ['folder', 'func', 'df'])
def test_loaders_of_fastai(tmp_path, how):
    fill(tmp_path, *[f'{k}/{i}.png' for k in ('cat', 'dog') for i in range(5)])
    dls = dls_of(tmp_path, how)
    data = ImageData.from_dls(dls, **CPU)
    assert data.classes == list(dls.vocab) and data.x_shape == (3, 8, 8)
    assert len(data) == len(dls.train_ds) and len(data.x_test) == len(dls.valid_ds)
    assert [5*(o[0] == 'd') + int(o[4]) for o in data.files] == first(data)
    assert data.oracle(range(len(data))).tolist() == [int(y) for _, y in dls.train_ds]
    assert data.y_test.tolist() == [int(y) for _, y in dls.valid_ds]


class Endless(torch.utils.data.Dataset):
    "Never raises an IndexError"
    def __init__(self, item, n=6): self.item, self.n = item, n
    def __len__(self): return self.n
    def __getitem__(self, i): return self.item(i)


@pytest.mark.parametrize('item, size', [
    (lambda i: (Image.new('RGB', (9, 8), (i, i, i)), i % 2), 4),
    (lambda i: (torch.full((3, 4, 4), i, dtype=torch.uint8), torch.tensor(i % 2)), None),
    (lambda i: (torch.full((3, 4, 4), i, dtype=torch.uint8), 'ab'[i % 2]), 4),
    (lambda i: dict(image=np.full((3, 4, 4), i, 'uint8'), label=np.int64(i % 2)), None)])
def test_torch_datasets(item, size):
    data = ImageData.from_dataset(Endless(item), size, **CPU)
    assert first(data) == [0, 1, 2, 3, 4, 5] and data.x_shape == (3, 4, 4)
    assert data.oracle(range(6)).tolist() == [0, 1]*3 and data.files is None
    part = torch.utils.data.Subset(Endless(item), [4, 1])
    assert first(ImageData.from_dataset(part, size, test=part, **CPU)) == [4, 1]


def test_refused_datasets():
    def item(i): return Image.new('L', (9, 8+i)), i % 2
    with refused('size must be given'): ImageData.from_dataset(Endless(item))
    with refused('numbered items, but str has not'): ImageData.from_dataset('mnist', 8)
    loader = torch.utils.data.DataLoader(Endless(item))
    with refused('of a DataLoader give its dataset'): ImageData.from_dataset(loader, 8)
    with refused('not Endless; for files and datasets'): ImageData.from_arrays(Endless(item))
    with refused('classes must be named'): ImageData.from_dataset(Endless(lambda i: item(i)[0]), 8)
    with refused('6 of 6 .* item 0 cannot be read .division by zero'):
        ImageData.from_dataset(Endless(lambda i: 1/0), 8)
    with refused('give size=, or resize'):
        ImageData.from_dataset(Endless(lambda i: (torch.zeros(1, 4, 4+i), 0)))


def test_files_of_torchvision(tmp_path):
    from torchvision.datasets import ImageFolder
    fill(tmp_path, 'a/0.png', 'b/1.png')
    data = ImageData.from_dataset(ImageFolder(tmp_path), 8, **CPU)
    assert data.files == ['a/0.png', 'b/1.png'] and data.classes == ['a', 'b']


def test_datasets_of_hugging_face(tmp_path):
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image as Picture
    fill(tmp_path, *[f'{i}.png' for i in range(4)])
    kind = Features(dict(picture=Picture(), what=ClassLabel(names=['cat', 'dog'])))
    paths = [str(tmp_path/f'{i}.png') for i in range(4)]
    ds = Dataset.from_dict(dict(picture=paths, what=[1, 0, -1, 1]), features=kind)
    data = ImageData.from_dataset(ds, 8, n_in=1, **CPU)
    assert first(data) == [0, 1, 2, 3] and data.classes == ['cat', 'dog']
    assert data.pool().y.tolist() == [1, 0, -1, 1] and data.files == paths
    both = DatasetDict(train=ds.select([0, 1, 2]), validation=ds.select([3]))
    data = ImageData.from_dataset(both, 8, **CPU)
    assert len(data) == 3 and data.y_test.tolist() == [1]
    b = io.BytesIO()
    Image.new('L', (8, 8), 9).save(b, 'PNG')
    kind = Features(dict(image=Picture(), label=ClassLabel(names=['x', 'y'])))
    item = dict(bytes=b.getvalue(), path=None)
    ds = Dataset.from_dict(dict(image=[item, item], label=['x', 'y']), features=kind)
    data = ImageData.from_dataset(ds, 8, n_in=1, **CPU)
    assert first(data) == [9, 9] and data.files is None
    with refused("there is no 'kind'; the columns are image, label"):
        ImageData.from_dataset(ds, 8, label='kind')
    with refused('of a stream its first rows'): ImageData.from_dataset(ds.to_iterable_dataset(), 8)


@pytest.mark.parametrize('train, other', [
    ('Train', 'Validation'), ('train_set', 'test_set'), ('train', 'dev'),
    ('Training ', 'hold-out')])
def test_parts_by_other_names(tmp_path, train, other):
    fill(tmp_path, *(f'{a}/{b}/{i}.png' for a in (train, other) for b in 'cd' for i in (1, 2)))
    data = ImageData.from_folder(tmp_path, 8)
    assert data.classes == ['c', 'd'] and len(data) == len(data.y_test) == 4


def test_a_folder_of_unlabelled_pictures_is_no_class(tmp_path):
    fill(tmp_path, 'c/1.png', 'd/1.png', 'unlabeled/1.png')
    with refused('holds the folder unlabeled'): ImageData.from_folder(tmp_path, 8)
    data = ImageData.from_folder(tmp_path, 8, classes=['c', 'd'])
    assert data.oracle([0, 1]).tolist() == [0, 1]


def test_paths_of_windows_get_slashes(tmp_path):
    fill(tmp_path, 'c/1.png', 'c/2.png')
    names = [rf'c\{i}.png' for i in (1, 2)]
    data = ImageData.from_files(names, 8, dict(zip(names, 'cd')), root=tmp_path)
    assert data.files == ['c/1.png', 'c/2.png'] and data.oracle([0, 1]).tolist() == [0, 1]


def test_a_misspelt_keyword_of_a_plain_signature_is_named():
    from asal_nb.all import CoreSet, Margin, compare
    for call, right in ((lambda: get_data('digits', spilt=1), 'split'),
                        (lambda: ImageData.from_folder('.', 8, clases=['a']), 'classes'),
                        (lambda: ImageData.from_csv('a.csv', 8, lable='y'), 'label'),
                        (lambda: Margin(trian='asal'), 'train'),
                        (lambda: CoreSet(spaec='code'), 'space'),
                        (lambda: compare({}, None, sedes=3), 'seeds')):
        with refused(f'did you mean .{right}'): call()


@pytest.mark.parametrize('shape, small', [
    ((3, 30, 40), (3, 40, 40)), ((3, 128, 64), (3, 64, 64)), ((1, 4, 4), (1, 8, 8))])
def test_shrunk_images_are_squares_that_our_networks_take(shape, small):
    x = torch.zeros(2, *shape, dtype=torch.uint8)
    assert shrunk(ImageData.from_arrays(x, classes=['a', 'b'])).x_shape == small
