"""The kernels' product agrees with the naive one, however it is tiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from kurve import _core
from tests.native.proofs import check_program


@pytest.mark.parametrize("isa", _core.available_isas())
def test_equals_the_naive_product(isa: str, tmp_path: Path) -> None:
    check_program("product", isa, tmp_path)
