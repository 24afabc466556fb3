#!/usr/bin/env bash
# Tries the wheels of dist/ in bare Debian roots, which hold Python 3.11 but no compiler
# and nothing else of this machine: installs from a folder of wheels without an index, and
# runs the quick look, the command's demonstration, the README's program, and TESTS if given.
#
#     packaging/test_roots.sh [amd64] [arm64]
#
# Needs to be root, debootstrap, and for arm64 qemu-user-static and binfmt-support.
set -euo pipefail
cd "$(dirname "$0")/.."
mirror=${DEBIAN:-http://deb.debian.org/debian}
python=$PWD/.venv-wheels/bin/python

for processor in "${@:-amd64}"; do
  case $processor in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) echo "unknown: $processor. Try amd64 or arm64" >&2; exit 2 ;;
  esac
  root=$PWD/build/roots/$processor
  if [ ! -e "$root/complete" ]; then
    mkdir -p "$root"
    debootstrap --arch="$processor" --variant=minbase --include=python3-venv \
      bookworm "$root" "$mirror"
    touch "$root/complete"
  fi
  rm -rf "$root/wheels" "$root/clone"
  mkdir -p "$root/clone"
  "$python" -m pip download -q -d "$root/wheels" --only-binary :all: --python-version 3.11 \
    --platform "manylinux_2_28_$machine" --platform "manylinux_2_27_$machine" \
    --platform "manylinux2014_$machine" \
    numpy matplotlib jinja2 click narwhals pyarrow pytest hypothesis
  cp dist/*"manylinux_2_17_$machine.whl" "$root/wheels/"
  git ls-files -z | grep -zv '^src/' | xargs -0 cp --parents -t "$root/clone"
  # Python starts itself by name in the tests, and reads how many processors there are.
  trap 'umount "$root/proc"' EXIT
  mount -t proc proc "$root/proc"
  chroot "$root" env -i PATH=/usr/bin:/bin HOME=/root MPLBACKEND=Agg TESTS="${TESTS:-}" \
    bash -euc '
      cd /clone
      ! command -v cc || ! command -v c++
      python3 -m venv --clear env
      install="env/bin/python -m pip install -q --no-index --find-links /wheels"
      $install kurve
      env/bin/python packaging/smoke.py
      $install "kurve[cli,report]" pytest hypothesis
      env/bin/kurve demo sine
      sed -n "/^\`\`\`python/,/^\`\`\`/p" README.md | grep -v "^\`\`\`" >program.py
      env/bin/python program.py
      ls -l ./*.png sine-demo
      [ -z "$TESTS" ] || env/bin/python -m pytest -q -m "not alone" $TESTS'
  umount "$root/proc"
  trap - EXIT
done
