"""Writes an import library of Python's DLL, without one at hand: of the functions and
variables that object files import.

    python import_library.py python3.lib OBJECT ...
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    library, *objects = map(Path, sys.argv[1:])
    names: set[str] = set()
    for path in objects:
        found = re.findall(rb"__imp_(_?Py\w+)", path.read_bytes())
        names.update(name.decode() for name in found)
    dll = library.with_suffix(".dll").name
    definition = library.with_suffix(".def")
    definition.write_text(f"LIBRARY {dll}\nEXPORTS\n" + "\n".join(sorted(names)) + "\n")
    command = [sys.executable, "-m", "ziglang", "dlltool", "-m", "i386:x86-64"]
    command += ["-d", str(definition), "-D", dll, "-l", str(library)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
