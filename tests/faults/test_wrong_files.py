"""Wrong calls of what writes, reads and draws: refused before a file or a figure is
touched, with the same form of error as all others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot

import kurve
from kurve import Input, Sequential, callbacks, estimators, models, plots
from kurve.layers import Conv2D, Dense
from tests.faults.wrong import NAN, Wrong, X, Y, check, snapshot, with_value, wrong

PATHS: list[tuple[str, Any]] = [
    ("save", lambda m, path: m.save(path)),
    ("save_weights", lambda m, path: m.save_weights(path)),
    ("load_weights", lambda m, path: m.load_weights(path)),
    ("load_model", lambda m, path: models.load_model(path)),
    ("load", lambda m, path: estimators.load(path)),
    ("export", lambda m, path: m.export(path)),
    ("ModelCheckpoint", lambda m, path: callbacks.ModelCheckpoint(path)),
    ("CSVLogger", lambda m, path: callbacks.CSVLogger(path)),
    ("BackupAndRestore", lambda m, path: callbacks.BackupAndRestore(path)),
    ("fit", lambda m, path: m.fit(X, Y, verbose=0, checkpoint=path)),
]
"""What takes the name of a file or folder."""

# Called with a model that is built, compiled and trained.
FILES: dict[str, Wrong] = {
    **{
        f"{where}: the path {path!r}": wrong(
            lambda m, call=call, path=path: call(m, path),
            kind,
            where,
            "must name a f",
            f"Received: {path!r}",
        )
        for where, call in PATHS
        for path, kind in ((3, TypeError), (b"m.kurve", TypeError), ("", ValueError))
    },
    "save: no ending": wrong(
        lambda m: m.save("m.pt"), ValueError, "save", "'.kurve'", "Try 'm.kurve'"
    ),
    "save_weights: a model's ending": wrong(
        lambda m: m.save_weights("m.kurve"),
        ValueError,
        "save_weights",
        "'.weights.kurve'",
        "Try 'm.weights.kurve'",
    ),
    "save_weights: Keras's ending": wrong(
        lambda m: m.save_weights("m.keras"),
        ValueError,
        "save_weights",
        "'.weights.h5'",
        "Try 'm.weights.h5'",
    ),
    "export: ending": wrong(
        lambda m: m.export("m.pt"),
        ValueError,
        "export",
        "'.onnx', '.c' or '.plan.kurve'",
        "'m.pt'",
    ),
    "export: format": wrong(
        lambda m: m.export("m.c", format="torch"), ValueError, "export", "'torch'"
    ),
    "load_model: classes without names": wrong(
        lambda m: models.load_model("m.kurve", custom_objects=[Dense]),
        TypeError,
        "custom_objects",
        "by name",
        "{'MyLayer': MyLayer}",
    ),
    **{
        f"checkpoint_freq={freq!r}": wrong(
            lambda m, freq=freq, folder=folder: m.fit(
                X, Y, verbose=0, checkpoint=folder, checkpoint_freq=freq
            ),
            ValueError,
            "fit",
            "checkpoint_freq must be",
            f"Received: {freq!r}",
        )
        for freq, folder in (
            (0, "c"),
            ("often", "c"),
            (1.5, "c"),
            (True, "c"),
            (0, None),
        )
    },
    "two folders of checkpoints": wrong(
        lambda m: m.fit(
            X, Y, verbose=0, checkpoint="c", callbacks=callbacks.BackupAndRestore("e")
        ),
        ValueError,
        "fit",
        "one checkpoint folder",
        "'e', 'c'",
    ),
    "BackupAndRestore: save_freq": wrong(
        lambda m: callbacks.BackupAndRestore("c", save_freq="batch"),
        ValueError,
        "BackupAndRestore",
        "save_freq",
        "'batch'",
    ),
    "ModelCheckpoint: ending": wrong(
        lambda m: callbacks.ModelCheckpoint("m.pb"),
        ValueError,
        "ModelCheckpoint",
        "'.kurve'",
        "'m.pb'",
        "Try 'm.kurve'",
    ),
    "ModelCheckpoint: weights": wrong(
        lambda m: callbacks.ModelCheckpoint("m.kurve", save_weights_only=True),
        ValueError,
        "ModelCheckpoint",
        "'.weights.kurve'",
        "Try 'm.weights.kurve'",
    ),
    **{
        f"ModelCheckpoint: save_freq={freq!r}": wrong(
            lambda m, freq=freq: callbacks.ModelCheckpoint("m.kurve", save_freq=freq),
            ValueError,
            "ModelCheckpoint",
            "save_freq must be",
            f"Received: {freq!r}",
        )
        for freq in (0, True, "batch")
    },
    "CSVLogger: separator": wrong(
        lambda m: callbacks.CSVLogger("log.csv", separator=""),
        ValueError,
        "CSVLogger",
        "separator must be one character",
        "''",
    ),
}

PICTURES = np.zeros((4, 6, 6))
CLASSES = [0, 1, 2, 3]


def convolution() -> Sequential:
    return Sequential([Input((6, 6, 1)), Conv2D(2, 3, name="first")])


PLOTS: dict[str, Wrong] = {
    # --- a training
    "no history": wrong(
        lambda m: plots.plot_history(3), TypeError, "plot_history", "type int"
    ),
    "no epoch": wrong(
        lambda m: plots.plot_history({}), ValueError, "plot_history", "one epoch"
    ),
    "a history of text": wrong(
        lambda m: plots.plot_history({"loss": ["a"]}),
        TypeError,
        "plot_history",
        "a list of numbers",
        "'loss': ['a']",
    ),
    "a history of one number": wrong(
        lambda m: plots.plot_history({"loss": 3}),
        TypeError,
        "plot_history",
        "a list of numbers",
        "'loss': 3",
    ),
    "no Axes": wrong(
        lambda m: plots.plot_history(m.history, ax=3),
        TypeError,
        "plot_history",
        "ax must be a matplotlib Axes",
        "type int",
    ),
    "no sweep": wrong(
        lambda m: plots.plot_sweep(m.history), TypeError, "plot_sweep", "lr_find"
    ),
    "too few steps of a sweep": wrong(
        lambda m: kurve.lr_find(m, X, Y, steps=5),
        ValueError,
        "lr_find",
        "steps=5",
        "Try steps=50",
    ),
    # --- a fit
    "plot_fit: no model": wrong(
        lambda m: plots.plot_fit(3, X, Y), TypeError, "plot_fit", "predict", "type int"
    ),
    "plot_fit: no rows": wrong(
        lambda m: plots.plot_fit(m, [], []), ValueError, "plot_fit", "x.shape=(0,)"
    ),
    "plot_fit: text": wrong(
        lambda m: plots.plot_fit(m, X, ["a"] * 6),
        TypeError,
        "plot_fit",
        "y must",
        "'a'",
    ),
    "plot_fit: NaN": wrong(
        lambda m: plots.plot_fit(m, with_value(X, (1, 0), NAN), Y),
        ValueError,
        "plot_fit",
        "x must be finite",
        "nan at x[1, 0]",
    ),
    "plot_fit: other rows": wrong(
        lambda m: plots.plot_fit(m, X, Y[:3]), ValueError, "plot_fit", "6 and 3 rows"
    ),
    "plot_fit: truth of nothing": wrong(
        lambda m: plots.plot_fit(m, X, Y, test_y=Y),
        ValueError,
        "plot_fit",
        "test_y needs test_x",
    ),
    "plot_fit: points without truth": wrong(
        lambda m: plots.plot_fit(m, X, Y, test_x=X),
        ValueError,
        "plot_fit",
        "test_x needs test_y",
        "x.shape=(6, 2)",
    ),
    "plot_fit: other features": wrong(
        lambda m: plots.plot_fit(m, X, Y, test_x=X[:, :1], test_y=Y),
        ValueError,
        "plot_fit",
        "test_x.shape=(6, 1), x.shape=(6, 2)",
    ),
    "plot_fit: no Axes": wrong(
        lambda m: plots.plot_fit(m, X, Y, ax="left"), TypeError, "plot_fit", "type str"
    ),
    "plot_residuals: no model": wrong(
        lambda m: plots.plot_residuals("m", X, Y),
        TypeError,
        "plot_residuals",
        "predict",
        "type str",
    ),
    "plot_residuals: names": wrong(
        lambda m: plots.plot_residuals(m, X, Y, columns=["a"]),
        ValueError,
        "plot_residuals",
        "1 names for 2 inputs",
    ),
    "plot_residuals: one text for names": wrong(
        lambda m: plots.plot_residuals(m, X, Y, columns="ab"),
        TypeError,
        "plot_residuals",
        "a list of names",
        "'ab'",
    ),
    "plot_residuals: a number for names": wrong(
        lambda m: plots.plot_residuals(m, X, Y, columns=3),
        TypeError,
        "plot_residuals",
        "a list of names",
        "3",
    ),
    # --- pictures
    "plot_images: a number": wrong(
        lambda m: plots.plot_images(3), ValueError, "plot_images", "shape ()"
    ),
    "plot_images: other classes": wrong(
        lambda m: plots.plot_images(PICTURES, [1]),
        ValueError,
        "plot_images",
        "y_true",
        "4 images",
        "shape (1,)",
    ),
    "plot_images: a class without a name": wrong(
        lambda m: plots.plot_images(PICTURES, CLASSES, class_names=["a", "b"]),
        ValueError,
        "plot_images",
        "2 names and class 2",
    ),
    "plot_images: a number for names": wrong(
        lambda m: plots.plot_images(PICTURES, CLASSES, class_names=3),
        TypeError,
        "plot_images",
        "class_names must be a list of names",
        "3",
    ),
    "plot_images: count": wrong(
        lambda m: plots.plot_images(PICTURES, count="all"),
        TypeError,
        "plot_images",
        "count='all'",
    ),
    "plot_images: none of them": wrong(
        lambda m: plots.plot_images(PICTURES, count=0),
        ValueError,
        "plot_images",
        "count=0",
    ),
    "plot_confusion_matrix: not square": wrong(
        lambda m: plots.plot_confusion_matrix([[1, 2]]),
        ValueError,
        "plot_confusion_matrix",
        "square",
        "[[1, 2]]",
    ),
    "plot_confusion_matrix: rows of different length": wrong(
        lambda m: plots.plot_confusion_matrix([[1, 2], [0]]),
        ValueError,
        "plot_confusion_matrix",
        "square",
        "[[1, 2], [0]]",
    ),
    "plot_confusion_matrix: less than nothing": wrong(
        lambda m: plots.plot_confusion_matrix([[1, -2], [0, 1]]),
        ValueError,
        "plot_confusion_matrix",
        "at least 0",
        "[[1, -2], [0, 1]]",
    ),
    "plot_confusion_matrix: names": wrong(
        lambda m: plots.plot_confusion_matrix([[1, 2], [0, 1]], ["a"]),
        ValueError,
        "plot_confusion_matrix",
        "2 classes",
        "1 names",
    ),
    "plot_confusion_matrix: a number for names": wrong(
        lambda m: plots.plot_confusion_matrix([[1, 2], [0, 1]], 3),
        TypeError,
        "plot_confusion_matrix",
        "a list of names",
        "3",
    ),
    "plot_filters: no convolution": wrong(
        lambda m: plots.plot_filters(m), ValueError, "plot_filters", "layers dense"
    ),
    "plot_filters: no model": wrong(
        lambda m: plots.plot_filters(3), TypeError, "plot_filters", "type int"
    ),
    "plot_filters: another layer": wrong(
        lambda m: plots.plot_filters(convolution(), "frst"),
        ValueError,
        "get_layer",
        "'frst'",
        "Did you mean 'first'?",
    ),
    "plot_feature_maps: no model": wrong(
        lambda m: plots.plot_feature_maps(3, PICTURES[0]),
        TypeError,
        "plot_feature_maps",
        "type int",
    ),
    "plot_feature_maps: another shape": wrong(
        lambda m: plots.plot_feature_maps(convolution(), np.zeros((5, 5))),
        ValueError,
        "layer_outputs",
        "(n, 6, 6, 1)",
        "(1, 5, 5)",
    ),
    "plot_feature_maps: no maps": wrong(
        lambda m: plots.plot_feature_maps(m, X[0], m.layers[0].name),
        ValueError,
        "plot_feature_maps",
        "shape (3,)",
    ),
}


def trained() -> Sequential:
    model = Sequential([Input((2,)), Dense(3, "relu"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    return model


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = trained()
    before = snapshot(model)
    check(FILES[name], model)
    assert snapshot(model) == before
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", PLOTS)
def test_plots(name: str) -> None:
    model = trained()
    before, figures = snapshot(model), pyplot.get_fignums()
    with mpl.rc_context({"backend": "Agg"}):
        check(PLOTS[name], model)
    assert snapshot(model) == before
    assert pyplot.get_fignums() == figures
