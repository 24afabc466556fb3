"""What is linked into the modules of the wheels: licences, and a bill of materials."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

LLVM = "Apache-2.0 WITH LLVM-exception"


@dataclass(frozen=True)
class Part:
    """A library that is linked.

    text: its licence
    url:  its package, as of purl
    """

    name: str
    version: str
    licence: str
    text: str
    purl: str


def parts(windows: bool) -> list[Part]:
    import nanobind
    import ziglang

    nb, zig = Path(nanobind.__file__).parent, Path(ziglang.__file__).parent
    (licence,) = nb.parent.glob("nanobind-*.dist-info/licenses/LICENSE")
    robin = nb / "ext/robin_map/include/tsl/robin_growth_policy.h"
    source = robin.read_text()
    notice = re.search(r"(?s)/\*\*?(.*?)\*/", source)
    number = re.findall(r"TSL_RH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", source)
    assert notice is not None and len(number) == 3
    of_zig = version("ziglang")
    found = [
        Part(
            "nanobind",
            nanobind.__version__,
            "BSD-3-Clause",
            licence.read_text(),
            f"pkg:pypi/nanobind@{nanobind.__version__}",
        ),
        Part(
            "robin-map",
            ".".join(number),
            "MIT",
            re.sub(r"(?m)^ \*? ?", "", notice[1]).strip() + "\n",
            f"pkg:github/Tessil/robin-map@v{'.'.join(number)}",
        ),
    ]

    def from_zig(name: str, licence: str, text: str) -> Part:
        return Part(
            name,
            of_zig,
            licence,
            (zig / text).read_text(),
            f"pkg:pypi/ziglang@{of_zig}#{name}",
        )

    for name in ("libcxx", "libcxxabi", "libunwind"):
        found.append(from_zig(name, LLVM, f"lib/{name}/LICENSE.TXT"))
    found.append(from_zig("compiler-rt", "MIT", "LICENSE"))
    if windows:
        found.append(from_zig("mingw-w64", "ZPL-2.1", "lib/libc/mingw/COPYING"))
    return found


def materials(of_kurve: str, windows: bool) -> dict[str, bytes]:
    """Files of a wheel's dist-info."""
    linked = parts(windows)
    texts = {f"licenses/linked/{part.name}.txt": part.text for part in linked}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": "kurve",
                "name": "kurve",
                "version": of_kurve,
                "licenses": [{"license": {"id": "BSD-3-Clause"}}],
                "purl": f"pkg:pypi/kurve@{of_kurve}",
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": part.name,
                "name": part.name,
                "version": part.version,
                "licenses": [
                    {"expression": part.licence}
                    if " " in part.licence
                    else {"license": {"id": part.licence}}
                ],
                "purl": part.purl,
            }
            for part in linked
        ],
        "dependencies": [{"ref": "kurve", "dependsOn": [part.name for part in linked]}],
    }
    texts["sboms/kurve.cdx.json"] = json.dumps(bill, indent=1) + "\n"
    return {name: text.encode() for name, text in texts.items()}
