"Everything static is in pyproject.toml; the requirement lists come from settings.ini."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

cfg = ConfigParser(delimiters=['='], interpolation=None)
cfg.read_string((Path(__file__).parent/'settings.ini').read_text(encoding='utf-8'))  # fails loudly when it is missing
cfg = cfg['DEFAULT']
setup(install_requires=cfg['requirements'].split(),
      extras_require={k: cfg[f'{k}_requirements'].split()
                      for k in ('dask', 'multi', 'app', 'peers', 'dev')})
