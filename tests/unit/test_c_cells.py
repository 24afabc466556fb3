"""C code for tables reads the numbers in cells as Python does."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest

from kurve.exchange import c_cells
from kurve.exchange.c_text import literal
from kurve.tables.numerals import Numerals

CELLS = (
    *("1,234", "0,125", "0.125", "0,000", "-0.500", "10,250", "1.234,50", "1,234.50"),
    *("1'234", "0'123", "1,234,567", "0,234,567", "12 %", "$5", "(5)", "1.0D+2"),
    *("1234", "0", "00", "1,5", "1.5", "abc", "--5", "1,2,3"),
)
MAIN = """
int main(void)
{
    int i;
    for (i = 0; i < COUNT; i++)
        printf("%.17g %.17g\\n", t_local(cells[i], '.'), t_local(cells[i], ','));
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_c_reads_numbers_as_python_does(tmp_path: Path) -> None:
    headers = ("locale.h", "math.h", "stdio.h", "stdlib.h", "string.h")
    lines = [
        *(f"#include <{name}>" for name in headers),
        *c_cells.gap("t"),
        *c_cells.helpers("t", c_cells.DIGIT),
        *c_cells.number("t", ()),
        f"static const char *const cells[] = {{{', '.join(map(literal, CELLS))}}};",
        MAIN.replace("COUNT", str(len(CELLS))),
    ]
    source, program = tmp_path / "cells.c", tmp_path / "cells"
    source.write_text("\n".join(lines), encoding="utf-8")
    command = ["cc", "-std=c99", "-o", str(program), str(source), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    found = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    for cell, line in zip(CELLS, found.splitlines(), strict=True):
        for text, mark in zip(line.split(), ".,", strict=True):
            expected = Numerals(mark).number(cell)
            value = float(text)
            same = math.isnan(value) if expected is None else value == expected
            assert same, (cell, mark, value, expected)
