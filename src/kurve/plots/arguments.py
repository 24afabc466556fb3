"""Argument checks for model plots."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers, is_frame, refuse_equal_names
from kurve.core.inside import inner_network


def check_model(where: str, model: Any) -> None:
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            f"[{where}] model must have a predict method. Received: an object of type "
            f"{type(model).__name__}. Try {where}(model, x, y)."
        )
    network = inner_network(model)
    if network is not None:
        network.require_one_output(where)


def check_array(name: str, values: Any, where: str = "plot_fit") -> np.ndarray:
    """Finite float64 numbers with at least one row; a vector becomes one column."""
    array = as_numbers(where, name, values, np.float64)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"[{where}] {name} must have at least one row. "
            f"Received: {name}.shape={array.shape}. Try a shape of (n,) or (n, k)."
        )
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"[{where}] {name} must be finite. Received: {array[index]} at "
            f"{name}{list(index)}. Try removing such rows."
        )
    return array.reshape(-1, 1) if array.ndim == 1 else array


def check_data(
    x_name: str, x: Any, y_name: str, y: Any, where: str = "plot_fit"
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, ...) and targets (n, outputs)."""
    inputs, targets = check_array(x_name, x, where), check_array(y_name, y, where)
    if targets.ndim != 2:
        raise ValueError(
            f"[{where}] {y_name} must be (n,) or (n, outputs). "
            f"Received: {y_name}.shape={targets.shape}. Try one column per output."
        )
    if len(inputs) != len(targets):
        raise ValueError(
            f"[{where}] {x_name} and {y_name} must have the same number of rows. "
            f"Received: {len(inputs)} and {len(targets)} rows. "
            f"Try {y_name}[:{min(len(inputs), len(targets))}]."
        )
    return inputs, targets


def call(method: Any, points: np.ndarray, **options: Any) -> Any:
    """Call a method of a model with points without column names, and suppress its
    warning about them, because the user's data frame had names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return method(points, **options)


def check_columns(where: str, model: Any, name: str, x: Any) -> None:
    """Reject a data frame whose columns differ from those the model was trained
    with."""
    known = getattr(model, "feature_names_in_", None)
    if known is None or not is_frame(x):
        return
    columns = refuse_equal_names(where, name, x)
    if columns != list(known):
        raise ValueError(
            f"[{where}] {name} must have the columns of the training data in their "
            f"order. Received: {columns}. Try {name}[{list(known)}]."
        )


def predict(
    model: Any, points: np.ndarray, targets: np.ndarray, where: str = "plot_fit"
) -> np.ndarray:
    """Predictions (n, outputs)."""
    verbose = "verbose" in inspect.signature(model.predict).parameters
    output = call(model.predict, points, **({"verbose": 0} if verbose else {}))
    predicted = np.asarray(output, dtype=np.float64)
    if predicted.ndim == 1:
        predicted = predicted.reshape(-1, 1)
    if predicted.shape != (len(points), targets.shape[1]):
        raise ValueError(
            f"[{where}] y must have one column for each output of the model. "
            f"Received: y.shape={targets.shape}, predictions of shape "
            f"{predicted.shape}. Try plot_history for a classifier."
        )
    return predicted
