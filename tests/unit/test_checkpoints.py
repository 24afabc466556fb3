"""ModelCheckpoint: when it saves, under which name, and that training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, models, utils
from kurve.callbacks import ModelCheckpoint
from kurve.layers import Dense, Dropout, Normalization
from tests.unit.test_callbacks import Scripted, model_of, run

X = np.random.default_rng(1).normal(3.0, 2.0, size=(40, 2))
Y = np.sin(X[:, 0]) * X[:, 1]


def watched(path: Path, values: list[float], **arguments: Any) -> list[str]:
    """The files that are there after epochs with these values."""
    save = ModelCheckpoint(path / "{epoch}.kurve", "watched", mode="min", **arguments)
    run(model_of(), Scripted(watched=values), save, epochs=len(values))
    return sorted(file.name for file in path.iterdir())


def test_every_epoch(tmp_path: Path) -> None:
    assert watched(tmp_path, [1.0, 2.0, 3.0]) == ["1.kurve", "2.kurve", "3.kurve"]


def test_best_only(tmp_path: Path) -> None:
    """NaN is never the best, and a threshold must be beaten first."""
    values = [3.0, np.nan, 4.0, 2.0, 2.0, 1.0]
    saved = watched(tmp_path, values, save_best_only=True)
    assert saved == ["1.kurve", "4.kurve", "6.kurve"]
    other = tmp_path / "other"
    other.mkdir()
    saved = watched(other, values, save_best_only=True, initial_value_threshold=2.0)
    assert saved == ["6.kurve"]


def test_names_from_the_logs(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "new" / "{epoch:02d}-{watched:.2f}.kurve")
    run(model_of(), Scripted(watched=[1.5, 2.25]), save, epochs=2)
    names = sorted(file.name for file in (tmp_path / "new").iterdir())
    assert names == ["01-1.50.kurve", "02-2.25.kurve"]
    wrong = ModelCheckpoint(tmp_path / "{val_loss}.kurve")
    with pytest.raises(KeyError, match=r"val_loss.*not in the logs. Available: epoch"):
        run(model_of(), wrong, epochs=1)


def test_every_so_many_batches(tmp_path: Path) -> None:
    """Counted over epochs, as in Keras: 9 batches, one file for every 2."""
    save = ModelCheckpoint(tmp_path / "{epoch}-{batch}.kurve", save_freq=2)
    run(model_of(), save, epochs=3)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["1-2.kurve", "2-1.kurve", "2-3.kurve", "3-2.kurve"]


def test_weights_only(tmp_path: Path) -> None:
    path = tmp_path / "best.weights.kurve"
    model = model_of()
    run(model, ModelCheckpoint(path, save_weights_only=True), epochs=1)
    other = model_of()
    other.load_weights(path)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "rmsprop"])
def test_a_loaded_checkpoint_goes_on_with_the_same_bits(
    engine: str, tmp_path: Path, optimizer: str
) -> None:
    """Order of the rows, dropout, optimizer: nothing knows of the interruption."""

    def fresh() -> Sequential:
        utils.set_random_seed(8)
        first = Normalization()
        first.adapt(X)
        layers = [Input((2,)), first, Dense(16, "relu"), Dropout(0.3), Dense(1)]
        model = Sequential(layers)
        model.compile(optimizer, "mse", metrics=["mae"])
        return model

    def fit(model: Sequential, **options: Any) -> dict[str, list[float]]:
        return model.fit(X, Y, batch_size=7, epochs=5, verbose=0, **options).history

    path = tmp_path / "{epoch}.kurve"
    whole = fresh()
    history = fit(whole, callbacks=[ModelCheckpoint(path)])
    for epoch in (1, 3):
        loaded = models.load_model(tmp_path / f"{epoch}.kurve")
        assert loaded.iterations == 6 * epoch
        later = fit(loaded, initial_epoch=epoch)
        assert later == {name: values[epoch:] for name, values in history.items()}
        for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_verbose_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.kurve"
    run(model_of(), ModelCheckpoint(path, verbose=1), epochs=1)
    assert str(path) in capsys.readouterr().out
