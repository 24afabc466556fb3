"""`kurve inspect` of files that are whole but say other things: shown, or refused with
the one error of files; and nothing in them reaches the terminal as an order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")

import kurve
from kurve.cli.inspecting import describe, facts
from kurve.saving import ModelFileError
from tests.faults.mutants import File, retold, sealed

GOLDEN = Path(__file__).parents[1] / "golden"
MUTANTS = 150


def raws(folder: Path) -> dict[str, bytes]:
    """Files of every kind."""
    found = {path.stem: path.read_bytes() for path in GOLDEN.glob("*-2*.kurve")}
    words = np.array(["a", "b"], object)[np.arange(40) % 2]
    table = np.stack([np.arange(40.0).astype(object), words], axis=1)
    model = kurve.Regressor((4,), max_epochs=1, random_state=0, members=2)
    model.fit(table, np.arange(40.0)).save(folder / "r.kurve")
    network = kurve.Sequential([kurve.layers.Dense(1, input_shape=(2,))])
    network.compile("adam", "mse")
    x = np.zeros((8, 2))
    network.fit(x, x[:, 0], epochs=1, verbose=0, checkpoint=folder / "points")
    point = next((folder / "points").glob("*.kurve"))
    return found | {
        "regressor": (folder / "r.kurve").read_bytes(),
        "point": point.read_bytes(),
    }


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    known = raws(tmp_path)
    assert len(known) > 4
    path = tmp_path / "mutant.kurve"
    refused = 0
    for name, raw in known.items():
        path.write_bytes(raw)
        describe(facts(str(path)))
        rng = random.Random(name)
        for _ in range(MUTANTS):
            path.write_bytes(retold(raw, list(known.values()), rng))
            try:
                text = describe(facts(str(path)))
            except ModelFileError:
                refused += 1
            else:
                assert all(c.isprintable() for c in text.replace("\n", ""))
    assert refused > 2 * MUTANTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda e: e.update(target_names="y"),
            "estimator.target_names: it must be a list",
        ),
        (lambda e: e.update(target_names=[1]), "estimator.target_names[0]: it must be"),
        (lambda e: e.update(iterations="many"), "estimator.iterations: it must be an"),
        (lambda e: e.update(members=None), "estimator.members: it must be an integer"),
        (lambda e: e.update(class_name="Oracle"), "estimator.class_name: it is nei"),
        (lambda e: e.update(likelihood=3), "estimator.likelihood: it must be a string"),
        (
            lambda e: e["columns"].update(width=10**9),
            "estimator.columns: its columns are not each a number or a category",
        ),
        (lambda e: e["columns"].update(gaps=[["a"]]), "estimator.columns.gaps[0]: it"),
        (
            lambda e: e["columns"].update(levels=[[1, [{}]]]),
            "estimator.columns.levels[0][1][0]: it is neither a string nor a number",
        ),
        (
            lambda e: e["parameters"].update(alpha2=1),
            "estimator.parameters.alpha2: it is unknown",
        ),
        (lambda e: e["model"].update(layers=[1]), "estimator.model.layers[0]: it must"),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path: Path, change, message: str) -> None:
    file = File.parsed(raws(tmp_path)["regressor"])
    change(file.described["estimator"])
    path = tmp_path / "m.kurve"
    path.write_bytes(sealed(file.header(), file.data))
    with pytest.raises(ModelFileError) as caught:
        facts(str(path))
    assert message in str(caught.value)


def test_orders_to_a_terminal_are_shown(tmp_path: Path) -> None:
    file = File.parsed(raws(tmp_path)["regressor"])
    file.described["estimator"]["target_names"] = ["\x1b[2Jy\r\nz\u202e"]
    path = tmp_path / "m.kurve"
    path.write_bytes(sealed(file.header(), file.data))
    assert "target     \\x1b[2Jy\\r\\nz\\u202e\n" in describe(facts(str(path)))
