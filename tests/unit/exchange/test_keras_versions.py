"""Files as seven versions of Keras wrote them (see golden/make_versions.py): every
layer, every loss and every optimizer is read, predicts what that Keras predicted, and
trains on as it did."""

from __future__ import annotations

import functools
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import models

VERSIONS = Path(__file__).parents[2] / "golden" / "keras" / "versions"
SLOW = r".*Nadam of Keras before 2\.11"
NO_STATE = r".*state of the optimizer is left out.*the file has none"


@functools.cache
def unpacked() -> dict[str, Path]:
    """The files of each version."""
    folder = Path(tempfile.mkdtemp(prefix="kurve-versions-"))
    found = {}
    for path in sorted(VERSIONS.glob("*.tar.xz")):
        version = path.name.removesuffix(".tar.xz")
        with tarfile.open(path) as archive:
            archive.extractall(folder / version, filter="data")
        found[version] = folder / version
    return found


@functools.cache
def expected(version: str) -> dict[str, np.ndarray]:
    with np.load(unpacked()[version] / "expected.npz") as kept:
        return dict(kept)


def names(kind: str) -> list[str]:
    return [
        f"{version}/{path.name}"
        for version, folder in unpacked().items()
        for path in sorted(folder.glob(f"{kind}-*"))
        if not path.name.endswith("weights.h5")
    ]


def loaded(file: str, compile: bool = True) -> tuple[Any, dict[str, np.ndarray]]:
    """The model, and the results of its version of Keras."""
    version, name = file.split("/")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SLOW)
        warnings.filterwarnings("ignore", NO_STATE)
        model = models.load_model(unpacked()[version] / name, compile=compile)
    title = name.partition(".")[0] + "/"
    values = expected(version)
    mine = {k.removeprefix(title): v for k, v in values.items() if k.startswith(title)}
    return model, mine


def assert_near(given: Any, wanted: np.ndarray, tolerance: float) -> None:
    scale = max(1.0, float(np.abs(wanted).max()))
    assert np.abs(np.asarray(given) - wanted).max() <= tolerance * scale


def rows() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.RandomState(1).normal(size=(16, 3)).astype(np.float32)
    return x, (x[:, :1] * x[:, 1:2] + x[:, 2:]).astype(np.float32)


def test_there_are_seven_versions() -> None:
    assert len(unpacked()) == 7
    assert len(names("layers")) > 40 and len(names("optimizer")) > 100


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("file", names("layers"))
def test_layers(file: str, compile: bool) -> None:
    model, wanted = loaded(file, compile)
    assert model.compiled == compile
    assert_near(model.predict(wanted["x"], verbose=0), wanted["predicted"], 2e-6)


@pytest.mark.parametrize("file", names("layers"))
def test_weights_alone(file: str) -> None:
    version, name = file.split("/")
    model, wanted = loaded(file, False)
    model.set_weights([0.0 * w for w in model.get_weights()])
    title = name.partition(".")[0]
    for path in sorted(unpacked()[version].glob(f"{title}.*")):
        model.load_weights(path)
        assert_near(model.predict(wanted["x"], verbose=0), wanted["predicted"], 2e-6)


def is_without_state(file: str) -> bool:
    """Keras 2 writes no state of its legacy optimizers to .keras files."""
    return "legacy-" in file and file.endswith(".keras")


@pytest.mark.parametrize("file", [f for f in names("optimizer") if is_without_state(f)])
def test_a_state_that_is_not_there_is_named(file: str) -> None:
    version, name = file.split("/")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SLOW)
        with pytest.warns(UserWarning, match=NO_STATE):
            model = models.load_model(unpacked()[version] / name)
    assert model.compiled and model.iterations == 0
    x, y = rows()
    model.train_on_batch(x, y)


@pytest.mark.parametrize(
    "file", [f for f in names("optimizer") if not is_without_state(f)]
)
def test_optimizers_go_on(file: str) -> None:
    """Two more steps end where that Keras ended without stopping in between."""
    model, wanted = loaded(file)
    x, y = rows()
    assert_near(model.predict(x, verbose=0), wanted["predicted"], 2e-6)
    assert model.iterations == 3
    if file.startswith("keras-2.3.1"):
        model._network.state.step += (
            1  # its formulas count the step that they are in twice
        )
    for _ in range(2):
        model.train_on_batch(x, y)
    moved = np.abs(wanted["after"] - wanted["predicted"]).max()
    assert moved > 1e-3
    after = model.predict(x, verbose=0)
    if is_slow_nadam(file):  # another formula: it trains
        assert np.abs(after - wanted["predicted"]).max() > 1e-3
    else:
        assert np.abs(after - wanted["after"]).max() <= part(file) * moved


def part(file: str) -> float:
    """How far two steps may be from that Keras's, of their length."""
    # 2.12 and 2.15 multiply Nadam's product once for each variable.
    return 0.05 if "nadam" in file and file.startswith("tf-2.1") else 1e-3


def is_slow_nadam(file: str) -> bool:
    """Whether its Nadam has the schedule of Keras before 2.11."""
    legacy = "legacy-" in file or file.split("/")[0] in (
        "keras-2.3.1",
        "tf-1.15",
        "tf-2.8",
    )
    return legacy and "nadam" in file


@pytest.mark.parametrize(
    "file",
    [f for f in names("optimizer") if is_slow_nadam(f) and not is_without_state(f)],
)
def test_a_slow_nadam_is_named(file: str) -> None:
    version, name = file.split("/")
    with pytest.warns(UserWarning, match=SLOW):
        models.load_model(unpacked()[version] / name)


@pytest.mark.parametrize("file", names("loss"))
def test_losses_and_metrics(file: str) -> None:
    model, wanted = loaded(file)
    x, _ = rows()
    values = model.evaluate(x, wanted["targets"], verbose=0)
    if not ("Huber" in file and file.startswith("keras-3")):  # it writes no delta
        assert_near(values, wanted["values"], 1e-5)
    model.train_on_batch(x, wanted["targets"])
