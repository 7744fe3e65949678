"fastai's own tools on our learners, and callbacks of the user's in every round."
import re
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fastai.data.core import DataLoaders
from fastai.interpret import ClassificationInterpretation
from asal_nb.core import rng
from asal_nb.data.images import ImageData, get_data
from asal_nb.data.loaders import asal_dls, supervised_dls
from asal_nb.data.pool import Pool
from asal_nb.game.learner import asal_learner, supervised_learner
from asal_nb.loop.asal import ASAL, Random, Supervised
from asal_nb.loop.loop import ActiveLearning

matplotlib.use('Agg')
NAMES = ['nought', *'abcdefgh', 'nine']


def digits(n=200, n_test=90):
    d = get_data('digits')
    y, y_test = d.oracle(torch.arange(n)), None if not n_test else d.y_test[:n_test]
    x_test = None if not n_test else d.x_test[:n_test]
    return ImageData.from_arrays(d.x[:n], y, x_test, y_test, NAMES)


def labelled(data, n=30):
    pool = Pool(len(data), data.n_classes)
    pool.label(torch.arange(n), data.oracle(torch.arange(n)))
    return pool


def run(how, data=None, **kw):
    data = data or digits()
    return ActiveLearning(data, how, 5, 1, 20, 'random', quiet=True, **kw).run()


@pytest.fixture(scope='module', params=['asal', 'supervised', 'no test labels'])
def al(request):
    short = dict(n_steps=4)
    how = ASAL(n_warm=2, **short) if request.param == 'asal' else Random(Supervised(**short))
    return run(how, digits(n_test=0 if request.param == 'no test labels' else 90))


def test_interpretation(al, capsys):
    "Its counts are those of the learner's own predictions on the rows of validation"
    p, y = al.learn.get_preds()
    interp = ClassificationInterpretation.from_learner(al.learn)
    cm = interp.confusion_matrix()
    want = torch.zeros(10, 10).long()
    for t, o in zip(y.tolist(), p.argmax(1).tolist()): want[t, o] += 1
    assert cm.tolist() == want.tolist() and cm.sum() == len(y) > 0
    true, said, n = interp.most_confused()[0]
    assert n == cm[NAMES.index(true), NAMES.index(said)] == (cm - np.diag(np.diag(cm))).max()
    interp.plot_confusion_matrix()
    interp.print_classification_report()
    assert 'nought' in capsys.readouterr().out


def test_the_worst_images(al):
    plt.close('all')
    p, y = al.learn.get_preds()
    loss = -p[range(len(y)), y].log()
    interp = ClassificationInterpretation.from_learner(al.learn)
    losses, rows = interp.top_losses(3)
    torch.testing.assert_close(losses, loss.topk(3)[0], atol=1e-4, rtol=1e-4)
    interp.plot_top_losses(3)
    titles = [ax.get_title() for ax in plt.gcf().axes if ax.get_title()]
    i = int(rows[0])
    assert titles[0].startswith(f'{NAMES[p[i].argmax()]}/{NAMES[y[i]]} / {loss[i]:.2f}')
    shown = plt.gcf().axes[0].images[0].get_array()
    want = al.learn.dls.valid_ds.x[i, 0].float()/255
    np.testing.assert_allclose(np.asarray(shown).reshape(8, 8), want.numpy(), atol=1e-6)
    interp.show_results([0, 1])
    al.learn.show_results(max_n=2)
    plt.close('all')


def test_test_time_augmentation(al):
    "Views of the same images, each other than the last; the plain images have their share"
    p, y = al.learn.get_preds()
    views = al.learn.tta(n=3, beta=None)
    again = al.learn.tta(n=3, beta=None)
    torch.testing.assert_close(views[0][1], p)
    assert torch.equal(views[0][0], again[0][0]) and not torch.allclose(views[0][0], p)
    one, two = [al.learn.tta(n=n, beta=0.)[0] for n in (1, 2)]
    assert not torch.allclose(one, two) and torch.equal(al.learn.get_preds()[0], p)


@pytest.mark.parametrize('h', ['cluster', 'propagate'])
def test_looking_changes_no_weights(h):
    data = digits()
    learn = asal_learner(asal_dls(data, labelled(data)), h).silence()
    learn.fit(1)
    was = {k: v.clone() for k, v in learn.model.state_dict().items()}
    learn.validate()
    learn.get_preds()
    learn.tta(n=1)
    assert all(torch.equal(v, was[k]) for k, v in learn.model.state_dict().items())


def test_one_round_by_fastais_callbacks_and_lr_find(tmp_path):
    data = digits()
    learn = supervised_learner(supervised_dls(data, labelled(data), n_steps=2)).silence()
    learn.path = tmp_path
    was = {k: v.clone() for k, v in learn.model.state_dict().items()}
    assert learn.lr_find(num_it=12, show_plot=False).valley > 0
    assert all(torch.equal(v, was[k]) for k, v in learn.model.state_dict().items())
    stop = EarlyStoppingCallback('accuracy', min_delta=1, patience=2)
    learn.fit(9, 1e-3, cbs=[SaveModelCallback('accuracy'), stop])
    assert learn.epoch < 8 and (tmp_path/'models/model.pth').exists()
    game = asal_learner(asal_dls(data, labelled(data))).silence()
    game.path = tmp_path
    assert game.lr_find(num_it=6, show_plot=False).valley > 0


class Steps(Callback):
    "Counts steps; `seen` has the count of each fit"
    seen = []

    def __init__(self, weight=1, f=len): self.n, self.weight, self.f = 0, weight, f

    def after_step(self): self.n += 1

    def after_fit(self): self.seen.append(self.n)


@pytest.mark.parametrize('cbs', [
    Steps(), [Steps()], Steps, [Steps], Steps, lambda: Steps(), lambda: [Steps()]])
@pytest.mark.parametrize('kind', [ASAL, Supervised])
def test_callbacks_are_new_in_each_round(cbs, kind):
    how = kind(cbs=cbs, n_steps=3, **dict(n_warm=0) if kind is ASAL else {})
    Steps.seen.clear()
    run(how if kind is ASAL else Random(how))
    assert Steps.seen == [3, 3]
    assert 'cbs' not in kind().settings and how.settings['cbs'] == kind(cbs=Steps()).settings['cbs']


def test_callbacks_are_settings(tmp_path):
    "By class and arguments, without addresses: a run with others is refused"
    def of(cbs): return Random(Supervised(n_steps=1, cbs=cbs))
    how = of([MixUp(.4), Steps(2, lambda x: x)])
    text = str(how.settings)
    assert 'MixUp' in text and 'weight=2' in text
    assert not re.search('0x[0-9a-f]{6}', text + repr(how))
    run(how, ledger=tmp_path/'a.db')
    run(of([MixUp(.4), Steps(2, lambda x: x)]), ledger=tmp_path/'a.db')
    for other in ([MixUp(.8), Steps(2, lambda x: x)], [MixUp(.4), Steps(3, lambda x: x)], None):
        with pytest.raises(ValueError, match='other settings'):
            run(of(other), ledger=tmp_path/'a.db')


def test_mixup_trains_plain_supervision():
    "The labels are mixed like the images: the loss cannot fall to 0"
    data = digits()
    alone, mixed = [
        supervised_learner(supervised_dls(data, labelled(data), n_steps=80), cbs=o).silence()
        for o in (None, MixUp(1.))]
    for learn in (alone, mixed): learn.fit(1, 1e-2)
    assert mixed.recorder.values[0][0] > 2*alone.recorder.values[0][0]
    assert mixed.validate()[1] > .5


@pytest.mark.parametrize('cbs', [MixUp(), MixUp, [CutMix()], lambda: [MixUp()]])
def test_mixing_is_refused_in_the_game(cbs):
    with pytest.raises(ValueError, match=r'mixes images with their labels.*Supervised\(cbs='):
        ASAL(cbs=cbs)


def test_mixing_is_refused_in_a_fit_of_the_game():
    data = digits()
    learn = asal_learner(asal_dls(data, labelled(data))).silence()
    with pytest.raises(ValueError, match='MixUp mixes images'): learn.fit(1, cbs=MixUp())
    with pytest.raises(ValueError, match='MixUp mixes images'):
        asal_learner(asal_dls(data, labelled(data)), cbs=[MixUp()])


@pytest.mark.parametrize('cbs', [3, 'MixUp', [None], torch.nn.Flatten(), lambda: 3, len])
def test_what_is_no_callback_is_refused(cbs):
    for kind in (ASAL, Supervised):
        with pytest.raises(ValueError, match='must be a fastai callback'): kind(cbs=cbs)


def test_a_round_without_validation_refuses_what_waits_for_it():
    for o in (SaveModelCallback(), EarlyStoppingCallback('accuracy')):
        with pytest.raises(ValueError, match='no validation'): Supervised(cbs=o)
    run(Random(Supervised(n_steps=1, cbs=EarlyStoppingCallback('train_loss'))))


def test_fastais_own_loaders_are_refused_with_the_way_in():
    g = rng(0, 'x')
    rows = [(torch.rand(3, 8, 8, generator=g), i % 2) for i in range(8)]
    dls = DataLoaders.from_dsets(rows, rows, bs=2)
    for make in (asal_learner, supervised_learner):
        with pytest.raises(ValueError, match=r'ImageData\.from_dls\(dls\)'): make(dls)
