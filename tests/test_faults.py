"Kills, Ctrl-C, full disks, changed bytes: the counts of bench/faults.py, in short, are all 0."
import sys
from pathlib import Path
import pytest
import torch

if sys.platform == 'win32': pytest.skip('it forks', allow_module_level=True)
sys.path.insert(0, str(Path(__file__).parents[1]/'bench'))
import faults


@pytest.fixture(scope='module')
def whole():
    "What a run that is not stopped says, and its seconds"
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield faults.first_run()
    torch.set_num_threads(n)


def good(found, n):
    "Were n faults tried, and none was bad?"
    assert found['tried'] == n and not faults.is_bad(found), dict(found)


def test_kills_and_interrupts_lose_nothing(whole):
    good(faults.killed_runs(8, *whole)[0], 8)
    good(faults.interrupted_runs(4, *whole)[0], 4)


def test_disks_that_fail_lose_nothing(whole):
    "And whoever makes room goes on in the same process"
    for found in faults.full_disks(whole[0], 3).values(): good(found, 3)
    good(faults.read_only(whole[0], 2), 2)


def test_changed_bytes_are_never_read(whole):
    for found in faults.flipped_files(*whole, 4).values(): good(found, found['tried'])


def test_two_writers(): good(faults.two_writers(60), 60)


def test_a_study_that_was_stopped_goes_on_within_its_jobs(tmp_path, monkeypatch):
    "Rounds that were over are not trained again, and the end is the same"
    from asal_nb.all import Supervised, compare
    from asal_nb.loop.asal import Trained

    class Stops(Trained):
        "Asks for the first rows; the second query is interrupted while `stops` is set"
        stops, asked = False, 0
        def query(self, learn, data, pool, b, seed):
            Stops.asked += 1
            if Stops.stops and Stops.asked == 2: raise KeyboardInterrupt
            return pool.idx_U[:b]

    def study(path):
        Stops.asked = 0
        plan = dict(b=5, rounds=3, n_first=5, first='random', quiet=True, ledger=path)
        arms = dict(stops=Stops(Supervised(n_steps=5)))
        with pytest.warns(UserWarning, match='2 seeds'):
            compare(arms, faults.DATA, range(2), 'sequential', **plan)
        return faults.contents(path)
    right = study(tmp_path/'right.db')
    assert Stops.asked == 6
    Stops.stops = True
    with pytest.raises(KeyboardInterrupt): study(tmp_path/'a.db')
    Stops.stops = False
    assert study(tmp_path/'a.db') == right
    assert Stops.asked == 5                                 # one query had been kept
    assert sorted(o.name for o in tmp_path.iterdir()) == ['a.db', 'right.db']
