"""The pages of the documentation as programs: their Python code, what it prints, and
the pictures that it draws.

A block ```python may be followed by a block ```output, which shows what it prints; a
line "..." stands for lines that are not shown. Blocks ```py are excerpts of the
examples and do not run here. Pictures that the code saves as
tutorial-x.png and the page embeds lie in docs/images.

    python tests/e2e/pages.py docs/tutorial.md             write both anew
    python tests/e2e/pages.py --check docs/tutorial.md     say where outputs differ
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```(python|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
PICTURE = re.compile(r"!\[[^\]]*\]\(images/([\w.-]+)\)")


def python_code(page: Path) -> str:
    """The page's Python code, each line at the number that it has in the page."""
    text = page.read_text()
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        if block[1] == "python":
            first = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def outputs(page: Path) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """What the page shows as printed, what was printed, and where the former stands.

    The page's code runs in the current folder, block after block.
    """
    text = page.read_text()
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in BLOCK.finditer(text):
        if block[1] == "output":
            yield block[2], printed, block.span(2)
            continue
        line = text.count("\n", 0, block.start(2))
        code = compile("\n" * line + block[2], str(page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            exec(code, names)
        printed = stream.getvalue()


def differences(shown: str, printed: str) -> list[str]:
    """Lines that the page shows and the program does not print.

    Words and whole numbers must be equal. Other numbers may differ by a factor of 5,
    because they depend on the instruction set through the rounding of many steps.
    """
    wanted, found = shown.splitlines(), printed.splitlines()
    if "..." in wanted:
        cut = wanted.index("...")
        rest = len(wanted) - cut - 1
        found = [*found[:cut], "...", *found[len(found) - rest :]]
    wrong = [
        f"{a!r} is shown, {b!r} printed"
        for a, b in zip(wanted, found, strict=False)
        if not _alike(a, b)
    ]
    if len(wanted) != len(found):
        wrong.append(f"{len(wanted)} lines are shown, {len(found)} printed")
    return wrong


def _alike(shown: str, printed: str) -> bool:
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        if a == b:
            continue
        if not any(mark in a + b for mark in ".e"):
            return False
        ratio = float(a) / float(b) if float(b) else 0.0
        if not 0.2 < ratio < 5:
            return False
    return True


def rewrite(page: Path) -> None:
    """Write the page's outputs anew, and its pictures into images/ beside it."""
    images = page.resolve().parent / "images"
    text = page.read_text()
    pieces, end = [], 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for shown, printed, (start, stop) in outputs(page):
            if "...\n" not in shown or differences(shown, printed):
                shown = printed
            pieces += [text[end:start], shown]
            end = stop
        for name in PICTURE.findall(text):
            if Path(name).exists():
                shutil.copy(name, images / name)
    page.write_text("".join(pieces) + text[end:])


def check(page: Path) -> None:
    """Run the page in the current folder; print what its outputs do not show."""
    for shown, printed, _ in outputs(page):
        for line in differences(shown, printed):
            print(f"{page.name}: {line}")


if __name__ == "__main__":
    work = check if "--check" in sys.argv else rewrite
    for argument in sys.argv[1:]:
        if argument != "--check":
            work(Path(argument).resolve())
