"""Programs that run unchanged, with what Keras 3 printed: 3.0 on TensorFlow 2.16, or
3.15 on PyTorch or on TensorFlow 2.21. Keras 2.15 for those whose functions Keras 3 does
not have: `backend_loss`, `latent_digits`, `old_layers`, `word_pairs`; TensorFlow 1.15's
Keras for `old_book`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kurve.as_keras.running import run
from tests.programs.conftest import SOURCES

RESULTS = json.loads((Path(__file__).parent / "results.json").read_text())
TAPES = {"loop.py"}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.usefixtures("answered")
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of old spellings
@pytest.mark.filterwarnings("ignore:.* per sample, but the model's output")
def test_prints_what_keras_prints(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(SOURCES / name)) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    compare(printed, RESULTS[name], name)


def compare(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            compare(found[key], value, f"{where} {key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            compare(one, other, where)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=3e-4, abs=2e-4), where
    else:
        assert found == expected, where


def test_every_program_has_a_result() -> None:
    assert {p.name for p in SOURCES.glob("*.py")} == {*RESULTS, "article.py"}


@pytest.mark.usefixtures("answered")
def test_the_articles_program(capsys: pytest.CaptureFixture[str]) -> None:
    """Seven layers of 256 on the bare x: it learns as little as with Keras."""
    pytest.importorskip("matplotlib")
    assert run(str(SOURCES / "article.py")) == 0
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("Epoch")]
    assert len(lines) == 10 and "10/10" in lines[-1]
    assert float(lines[-1].rpartition("loss: ")[2]) < float(
        lines[0].rpartition("loss: ")[2]
    )
