"""What a wheel must be before anyone gets it: small, complete, and loadable on every
system that its name promises."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MAX_BYTES = 3_000_000
WINDOWS_DLLS = re.compile(r"(?i)python3(11)?\.dll|kernel32\.dll|api-ms-win-crt-.*\.dll")


class Refused(SystemExit):
    """A wheel is not fit to be published."""


def audit(wheel: Path) -> None:
    """Check a wheel.

    Raises:
        Refused: says why.
    """
    size = wheel.stat().st_size
    if size > MAX_BYTES:
        raise Refused(f"{wheel.name} has {size:,} bytes, more than {MAX_BYTES:,}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (module,) = [n for n in names if re.search(r"/_core\.[^/]*(so|pyd)$", n)]
        content = archive.read(module)
    for part in ("licenses/LICENSE", "licenses/linked/", "sboms/", "kurve/py.typed"):
        if not any(part in name for name in names):
            raise Refused(f"{wheel.name} lacks {part}")
    for path in (rb"/root/", rb"/home/", rb"/tmp/", rb"site-packages"):
        if path in content:
            raise Refused(f"{module} of {wheel.name} holds a path of this machine")
    platform = wheel.stem.split("-")[-1].split(".")[-1]
    if "linux" in platform:
        _auditwheel(wheel, platform)
        _check_start(content, platform)
    elif platform.startswith("win"):
        _check_windows(wheel, content)
    else:
        _check_macos(wheel, content, platform)
    if "abi3" in wheel.name and "macos" not in platform:
        _run("abi3audit", "--strict", wheel)


def _run(tool: str, *arguments: object) -> str:
    command = [sys.executable, "-m", tool, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{tool}: {done.stdout}{done.stderr}")
    return done.stdout


def _auditwheel(wheel: Path, platform: str) -> None:
    shown = _run("auditwheel", "show", wheel)
    if f'"{platform}"' not in shown:
        raise Refused(
            f"auditwheel does not find {wheel.name} to be {platform}: {shown}"
        )


def _parsed(content: bytes):  # type: ignore[no-untyped-def]
    import lief

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "module")
        path.write_bytes(content)
        return lief.parse(str(path))


def _check_start(content: bytes, platform: str) -> None:
    binary = _parsed(content)  # owns what it returns
    exported = [s.name for s in binary.exported_symbols]
    if exported != ["PyInit__core"]:
        raise Refused(f"exported for {platform}: {exported}, wanted: PyInit__core")


def _check_windows(wheel: Path, content: bytes) -> None:
    binary = _parsed(content)
    dlls = [library.name for library in binary.imports]
    if others := [name for name in dlls if not WINDOWS_DLLS.fullmatch(name)]:
        raise Refused(f"{wheel.name} needs {', '.join(others)}")
    wanted = "python3.dll" if "abi3" in wheel.name else "python311.dll"
    if wanted not in dlls:
        raise Refused(f"{wheel.name} does not import {wanted}")
    # nanobind exports two classes there, which no other module can meet: each DLL has
    # names of its own.
    exported = [entry.name for entry in binary.get_export().entries]
    if "PyInit__core" not in exported:
        raise Refused(f"exported by {wheel.name}: {exported}, wanted: PyInit__core")


def _check_macos(wheel: Path, content: bytes, platform: str) -> None:
    binary = _parsed(content)  # owns what it returns
    libraries = [library.name for library in binary.libraries]
    others = [n for n in libraries if n not in (SYSTEM, "@rpath/_core.so")]
    if others or SYSTEM not in libraries:
        raise Refused(f"{wheel.name} needs {', '.join(others)}")
    if binary.build_version.minos[:2] != [11, 0]:
        raise Refused(f"{wheel.name} wants macOS {binary.build_version.minos}")
    names = [s.name for s in binary.exported_symbols]
    exported = [name for name in names if not ZIGS_OWN.fullmatch(name)]
    if exported != ["_PyInit__core"]:
        raise Refused(f"exported for {platform}: {exported}, wanted: _PyInit__core")
    if "arm64" in platform and not binary.has_code_signature:
        raise Refused(f"{wheel.name} is not signed, which arm64 requires")


# What Zig's linker cannot hide: its own names, the types of nanobind's exceptions, and
# operators new and delete, which are weak and call malloc and free like everybody's.
ZIGS_OWN = re.compile(
    r"__mh_dylib_header|___dso_handle|__ZT[ISV]N8nanobind\w+|__Z(n[aw]|d[al])\w+"
)
SYSTEM = "/usr/lib/libSystem.B.dylib"
