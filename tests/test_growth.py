"A run on many rows holds at most twice its data: data, labels, pools and a query together."
import json
import subprocess
import sys
from pathlib import Path
import pytest

BENCH = Path(__file__).parents[1]/'bench'
SIZES, CODE = [200_000, 800_000], '''
import json, sys, growth, _measure, asal_nb.all
_measure.use_threads(1)
print(json.dumps([growth.measure_run(k, json.loads(sys.argv[1])) for k in sys.argv[2:]]))
'''
RULES = ['Margin, diverse', 'CoreSet', 'BADGE', 'TypiClust', 'ASAL, diverse']


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='peaks are read in /proc')
def test_what_a_run_holds_grows_with_twice_its_data_at_most():
    "Between two sizes, so that a sample of the pool, which does not grow, is left out."
    run = subprocess.run([sys.executable, '-c', CODE, json.dumps(SIZES), *RULES], cwd=BENCH,
                         capture_output=True, text=True, check=True)
    for o in json.loads(run.stdout.splitlines()[-1]):
        assert 'error' not in o, o
        (small, large), (a, b) = o['above'], o['data']
        assert large - small <= 2*(b - a) + 4, o
