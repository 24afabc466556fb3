"""Builds the wheels of Kurve for all systems on one machine, with Zig's Clang.

    python packaging/wheels.py [TARGET ...]          into dist/
    python packaging/wheels.py --check [TARGET ...]  audits what is there

One wheel for the stable ABI serves Python 3.12 and newer; 3.11, which nanobind cannot
serve by it, has one of its own. Equal commits give equal bytes. Both Pythons must be
installed, for their headers; PYTHON311 and PYTHON312 may name them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audit import audit
from materials import materials

ROOT = Path(__file__).resolve().parents[1]
BUILD, DIST = ROOT / "build/wheels", ROOT / "dist"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ABIS = {"311": "cp311-cp311", "312": "cp312-abi3"}


@dataclass(frozen=True)
class Target:
    """A system.

    zig:       its name there, with the oldest version of its C library
    platform:  its name in that of a wheel
    """

    zig: str
    platform: str

    @property
    def is_windows(self) -> bool:
        return "windows" in self.zig

    def file(self, abi: str) -> str:
        """The name of the module."""
        if self.is_windows:  # Python 3.11 to 3.13 do not look for .abi3.pyd there
            return "_core.pyd"
        return "_core.abi3.so" if abi == "312" else "_core.so"


TARGETS = {
    "manylinux-x86_64": Target(
        "x86_64-linux-gnu.2.17", "manylinux2014_x86_64.manylinux_2_17_x86_64"
    ),
    "manylinux-aarch64": Target(
        "aarch64-linux-gnu.2.17", "manylinux2014_aarch64.manylinux_2_17_aarch64"
    ),
    "musllinux-x86_64": Target("x86_64-linux-musl", "musllinux_1_2_x86_64"),
    "windows-x86_64": Target("x86_64-windows-gnu", "win_amd64"),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx_11_0_arm64"),
    "macos-x86_64": Target("x86_64-macos.11.0", "macosx_11_0_x86_64"),
}


def run(*command: object, **environment: str) -> str:
    """What a command prints; ends the program if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def headers(abi: str) -> Path:
    """The folder of Python.h. Linux's serve all systems with another pyconfig.h."""
    version = f"{abi[0]}.{abi[1:]}"
    pyenv = Path.home() / ".pyenv/versions"
    candidates = [
        os.environ.get(f"PYTHON{abi}"),
        *sorted(pyenv.glob(f"{version}.*/bin/python")),
        shutil.which(f"python{version}"),
    ]
    ask = "import sys, sysconfig; print(*sys.version_info[:2], sep='.')\n"
    ask += "print(sysconfig.get_path('include'))"
    for candidate in filter(None, candidates):
        done = subprocess.run(
            [candidate, "-c", ask], capture_output=True, text=True, check=False
        )
        found, _, folder = done.stdout.strip().partition("\n")
        if found == version and Path(folder, "Python.h").exists():
            return Path(folder)
    sys.exit(f"Python {version} and its headers are missing. Try PYTHON{abi}=...")


def headers_for(target: Target, abi: str) -> Path:
    """The headers with the settings of the target."""
    if not target.is_windows:
        return headers(abi)
    folder = BUILD / f"windows-headers-{abi}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(headers(abi), folder)
    shutil.copy(ROOT / "packaging/windows/pyconfig.h", folder)
    return folder


def compiled(name: str) -> dict[str, bytes]:
    """The modules of a target, by ABI."""
    import nanobind

    target, folder = TARGETS[name], BUILD / name
    settings = {
        "CMAKE_TOOLCHAIN_FILE": ROOT / "packaging/toolchain.cmake",
        "KURVE_ZIG": sys.executable,
        "KURVE_TARGET": target.zig,
        "KURVE_NANOBIND": Path(nanobind.__file__).parent,
        "KURVE_ABIS": ";".join(ABIS),
        **{f"KURVE_PYTHON_{abi}": headers_for(target, abi) for abi in ABIS},
    }
    cache = BUILD / "zig"
    zig = {
        "ZIG_GLOBAL_CACHE_DIR": os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(cache)),
        "ZIG_LOCAL_CACHE_DIR": os.environ.get("ZIG_LOCAL_CACHE_DIR", str(cache)),
    }
    tools = Path(sys.executable).parent
    zig["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    cmake = [sys.executable, "-m", "cmake"]
    options = [f"-D{key}={value}" for key, value in settings.items()]
    run(*cmake, "-G", "Ninja", "-S", ROOT, "-B", folder, *options, **zig)
    run(*cmake, "--build", folder, **zig)
    modules = {}
    for abi in ABIS:
        module = folder / f"module_{abi}"
        if "musl" in target.zig:  # the name under which Python has loaded it
            named = module.with_suffix(".named")
            shutil.copy(module, named)
            libc = "libc.musl-x86_64.so.1"
            run(tools / "patchelf", "--replace-needed", "libc.so", libc, named)
            module = named
        modules[abi] = module.read_bytes()
    return modules


# --------------------------------------------------------------------------- packing


def epoch() -> int:
    """The time of all files in a wheel: that of the commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct"))


def pure() -> dict[str, bytes]:
    """The files of the package without a module."""
    folder = BUILD / "pure"
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--no-deps", "--no-build-isolation", "-q", "-w", folder]
    settings = "--config-settings=wheel.cmake=false"
    run(sys.executable, "-m", "pip", "wheel", ROOT, *options, settings)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if not name.endswith((".dist-info/RECORD", ".so", ".pyd", "/"))
        }


def pack(package: dict[str, bytes], target: Target, abi: str, module: bytes) -> Path:
    """Write the wheel of a module."""
    files = dict(package)
    info = next(name for name in files if name.endswith(".dist-info/WHEEL"))
    folder = info.removesuffix("/WHEEL")
    tags = [f"{ABIS[abi]}-{platform}" for platform in target.platform.split(".")]
    text = re.sub(r"(?m)^(Tag|Root-Is-Purelib):.*\n", "", files[info].decode()).rstrip()
    text += "\nRoot-Is-Purelib: false\n" + "".join(f"Tag: {tag}\n" for tag in tags)
    files[info] = text.encode()
    files[f"kurve/{target.file(abi)}"] = module
    for name, content in materials(VERSION, target.is_windows).items():
        files[f"{folder}/{name}"] = content
    rows = [f"{name},sha256={digest(files[name])},{len(files[name])}" for name in files]
    record = f"{folder}/RECORD"
    files[record] = "\n".join([*sorted(rows), f"{record},,\n"]).encode()
    wheel = DIST / f"kurve-{VERSION}-{ABIS[abi]}-{target.platform}.whl"
    wheel.write_bytes(zipped(files))
    return wheel


def zipped(files: dict[str, bytes]) -> bytes:
    moment = time.gmtime(max(epoch(), 315532800))[:6]  # zip files begin in 1980
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, moment)
            entry.create_system = 3
            entry.external_attr = (0o100755 if ".so" in name else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return whole.getvalue()


def digest(content: bytes) -> str:
    raw = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def wheels_of(target: Target) -> Iterator[Path]:
    for tag in ABIS.values():
        wheel = DIST / f"kurve-{VERSION}-{tag}-{target.platform}.whl"
        if not wheel.exists():
            sys.exit(f"{wheel} is missing. Try building it first")
        yield wheel


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--check", action="store_true", help="only audit what is there")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        sys.exit(f"unknown: {', '.join(unknown)}. Targets: {', '.join(TARGETS)}")
    DIST.mkdir(exist_ok=True)
    package = {} if given.check else pure()
    for name in given.targets or TARGETS:
        target = TARGETS[name]
        if not given.check:
            for abi, module in compiled(name).items():
                pack(package, target, abi, module)
        for wheel in wheels_of(target):
            audit(wheel)
            checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
            print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {checksum}")


if __name__ == "__main__":
    main()
