#!/usr/bin/env bash
# Installs the wheel for this machine from dist/ into a clean environment of each Python
# there is, without an index, and runs the quick look and the given tests on it.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
for version in ${PYTHONS:-3.11 3.12 3.13}; do
  python=$(ls -d ~/.pyenv/versions/"$version".*/bin/python 2>/dev/null | tail -1 || true)
  python=${python:-$(command -v "python$version" || true)}
  [ -n "$python" ] || { echo "Python $version: missing, skipped"; continue; }
  folder=$root/build/wheels/installed-$version
  "$python" -m venv --clear "$folder"
  "$folder/bin/python" -m pip install -q numpy pytest pytest-xdist hypothesis
  "$folder/bin/python" -m pip install -q --no-index --find-links dist kurve
  "$folder/bin/python" packaging/smoke.py
  # The tests lie beside no package here, so they cannot see the one in src/.
  rm -rf "$folder/tests" "$folder/cpp"
  cp -r tests cpp pyproject.toml "$folder/"
  [ $# = 0 ] || (cd "$folder" && bin/python -m pytest -q -m 'not alone' "$@")
done
