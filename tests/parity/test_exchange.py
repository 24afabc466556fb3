"""Files from Keras to Kurve and from Kurve to Keras: predictions are equal, and
training continues with equal losses, for every case of the suite."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tables import CASES, COMMON
from twins import BATCH, Case, data_of, keras, make, twin_models

import kurve

STEPS = 20
PREDICTIONS, LOSSES = 1e-6, 1e-5  # of the largest output; of a loss
EVERY = [(name, "m.keras") for name in CASES]
EVERY += [
    (name, "m.h5")
    for name in CASES
    # (Of an .h5 file Keras does not know its own Lamb by name, and it cannot write one
    # with its Adafactor.)
    if not name.endswith(tuple(filter(None, COMMON)))
    and not any(kind in name for kind in ("Lamb", "Adafactor"))
]


def only_in_kurve(case: Case) -> bool:
    return any(
        layer.arguments.get("activation") in ("sin", "snake") for layer in case.layers
    )


def after_some_steps(library: Any, case: Case) -> Any:
    """The case's model in one library, trained for a few steps, so that the optimizer
    has a state."""
    model = twin_models(case)[library is keras]
    metrics = [] if case.target == "classes" else ["mae"]
    model.compile(
        make(library, case.optimizer), make(library, case.loss), metrics=metrics
    )
    steps(model, case, 0, 5)
    return model


def steps(model: Any, case: Case, first: int, last: int) -> np.ndarray:
    """The losses of the updates first..last-1."""
    x, y, weights = data_of(case)
    losses = []
    for step in range(first, last):
        rows = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        w = weights[rows] if case.weights else None
        if isinstance(model, keras.Model):
            model.reset_metrics()
            if w is not None:
                w = w.reshape(-1, *[1] * (len(model.output_shape) - 2))
        given = {"sample_weight": w, "class_weight": case.class_weight}
        logs = model.train_on_batch(x[rows], y[rows], **given, return_dict=True)
        losses.append(float(logs["loss"]))
    return np.array(losses)


def keras_load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # an optimizer that was skipped
        return keras.models.load_model(path)


def keras_save(model: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)


def kurve_load(path: Path) -> Any:
    return kurve.models.load_model(path)


def kurve_save(model: Any, path: Path) -> None:
    model.save(path)


def assert_same_optimizer(model: Any, folder: Path) -> None:
    """Keras cannot train a model from its own .h5 files (3.15 builds the optimizer for
    no variables), so the optimizer's arrays are compared with those that Keras writes
    for the same model, which it gets through a .keras file."""
    model.save(folder / "way.keras")
    keras_save(keras_load(folder / "way.keras"), folder / "theirs.h5")
    arrays = []
    for name in ("m.h5", "theirs.h5"):
        with h5py.File(folder / name) as file:
            group = file["optimizer_weights"]
            names = group.attrs["weight_names"]
            named = [n.decode() if isinstance(n, bytes) else n for n in names]
            arrays.append([np.asarray(group[n]) for n in named])
    for mine, other in zip(*arrays, strict=True):
        assert mine.shape == other.shape
        assert np.array_equal(mine.astype(other.dtype), other)


def test_keras_edits_what_kurve_writes(tmp_path: Path) -> None:
    dense = kurve.layers.Dense(2, name="dense")
    model = kurve.Sequential([kurve.Input((3,)), dense])
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    editor = keras.saving.KerasFileEditor(str(tmp_path / "m.keras"))
    assert editor.metadata["keras_version"] and editor.metadata["date_saved"]
    weights = editor.weights_dict["layers"]["dense"]
    assert np.array_equal(weights["0"], model.get_weights()[0])


WAYS: dict[str, tuple[Any, Callable[..., None], Callable[..., Any]]] = {
    "in": (keras, keras_save, kurve_load),
    "out": (kurve, kurve_save, keras_load),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "file"), EVERY)
def test_goes_on_as_before(name: str, file: str, way: str, tmp_path: Path) -> None:
    case = CASES[name]
    if only_in_kurve(case):
        pytest.skip("Keras does not have this activation; the unit tests refuse it")
    if (name, way) == ("loss: huber delta", "in"):
        pytest.skip("Keras does not write delta, and does not read it back either")
    library, save, load = WAYS[way]
    before = after_some_steps(library, case)
    save(before, tmp_path / file)
    after = load(tmp_path / file)
    x = data_of(case)[0]
    expected, given = (np.asarray(m.predict(x, verbose=0)) for m in (before, after))
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(given - expected).max() <= PREDICTIONS * scale
    if (file, way) == ("m.h5", "out"):
        assert_same_optimizer(before, tmp_path)
        return
    expected, given = (steps(m, case, 5, 5 + STEPS) for m in (before, after))
    error = np.abs(given - expected) / np.abs(expected)
    assert error.max() <= LOSSES, f"loss of step {int(error.argmax())}"
    for mine, other in zip(before.get_weights(), after.get_weights(), strict=True):
        assert np.abs(mine - other).max() <= 1e-5 * max(1.0, np.abs(mine).max())
