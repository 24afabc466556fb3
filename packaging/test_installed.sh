#!/usr/bin/env bash
# Installs the wheel for this machine from dist/ into a clean environment of each Python
# there is, without an index, and takes the quick look; then installs what the tests need
# and runs the given ones. NUMPY: a requirement to install first, as of the oldest NumPy.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
for version in ${PYTHONS:-3.11 3.12 3.13}; do
  python=$(ls -d ~/.pyenv/versions/"$version".*/bin/python 2>/dev/null | tail -1 || true)
  python=${python:-$(command -v "python$version" || true)}
  [ -n "$python" ] || { echo "Python $version: missing, skipped"; continue; }
  folder=$root/build/wheels/installed-$version
  "$python" -m venv --clear "$folder"
  pip=("$folder/bin/python" -m pip install -q)
  "${pip[@]}" "${NUMPY:-numpy}"
  "${pip[@]}" --no-index --find-links dist kurve
  "$folder/bin/python" packaging/smoke.py
  [ $# = 0 ] && continue
  "${pip[@]}" --find-links dist "kurve[test]" "${NUMPY:-numpy}"
  # The tests lie beside no package here, so they cannot see the one in src/.
  rm -rf "$folder/clone"
  mkdir "$folder/clone"
  git ls-files -z | grep -zv '^src/' | xargs -0 cp --parents -t "$folder/clone"
  (cd "$folder/clone" && ../bin/python -m pytest -q -n auto -m 'not alone' "$@")
done
