"""`python -m kurve.as_keras program.py` is `kurve run program.py`."""

import sys

from kurve.as_keras.running import run

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("[as_keras] a program is needed. Try python -m kurve.as_keras a.py.")
    sys.exit(run(sys.argv[1], sys.argv[2:]))
