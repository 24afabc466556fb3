"""Derivatives and integrals of a regressor's prediction, in units of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arguments import is_integer
from kurve.core.inside import network_of
from kurve.estimators import defaults
from kurve.estimators.fitted import Prediction, RegressionHead, average
from kurve.models.slopes import by_inputs, column_number
from kurve.models.slopes import integral as integral_of

if TYPE_CHECKING:
    from kurve.estimators.regressor import Regressor


def gradient(model: Regressor, X: Any, columns: Any = None) -> np.ndarray:
    """`Regressor.gradient`, always (n, outputs, columns).

    Args, Raises: see there.
    """
    matrix, missing = _matrix(model, "gradient", X)
    fitted = model.fitted_
    known = fitted.columns
    if columns is None:
        columns = range(known.width)
    elif isinstance(columns, str) or is_integer(columns):
        columns = [columns]
    chosen = [_numeric(model, "gradient", column) for column in columns]
    # Scaled in float64: float32 would move the point.
    z = fitted.inputs.standardized(matrix)
    each = np.stack([_of_member(fitted.head, m, z) for m in fitted.members])
    slopes = average(each, fitted.head.weights)
    scale = fitted.head.outputs.deviation[:, None]
    inner = fitted.inputs.slopes(matrix)[:, None, :]
    found: np.ndarray = (slopes * scale * inner)[:, :, chosen]
    blanks = np.broadcast_to(missing[:, None, chosen], found.shape)
    return np.where(blanks, np.nan, found)


def _of_member(head: RegressionHead, member: Any, z: np.ndarray) -> np.ndarray:
    """The derivatives (n, T, D) of the scaled means of one network."""
    ((dy,),) = by_inputs(network_of(member), [z])
    if head.likelihood != "quantile":
        return dy[:, : head.targets]
    # The median of the sorted values, since quantiles can cross.
    y = member.predict(z.astype(np.float32), verbose=0)
    values = y.reshape(len(z), head.targets, -1)
    place = np.argsort(values, axis=-1)[..., defaults.QUANTILES.index(0.5)]
    dy = dy.reshape(*values.shape, -1)
    return np.take_along_axis(dy, place[..., None, None], axis=2)[:, :, 0]


def integral(
    model: Regressor, X: Any, column: Any, low: Any, high: Any, pieces: int
) -> np.ndarray:
    """`Regressor.integral`, always (n, outputs).

    Args, Raises: see there.
    """
    matrix, _ = _matrix(model, "integral", X)
    position = _numeric(model, "integral", column)
    fitted = model.fitted_

    def predict(rows: np.ndarray) -> np.ndarray:
        return Prediction(fitted, fitted.inputs.forward(rows)).mean

    return integral_of("integral", predict, matrix, position, low, high, pieces)


def _matrix(model: Regressor, where: str, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """The encoded table, and which of its numbers are missing."""
    model._require_fitted(where)
    columns = model.fitted_.columns
    table = model._table(where, X, columns.width == 1)
    columns.check_names(where, table, type(model).__name__)
    matrix, _ = columns.encode(where, table)
    return matrix, np.isnan(table.numbers)


def _numeric(model: Regressor, where: str, column: Any) -> int:
    """The position of a numeric column in the encoded table."""
    columns = model.fitted_.columns
    names: Sequence[str] | None = columns.names
    number = column_number(where, column, names, columns.width)
    if number in columns.numeric:
        return columns.numeric.index(number)
    label = number if names is None else names[number]
    numeric = [c if names is None else names[c] for c in columns.numeric]
    raise ValueError(
        f"[{where}] a column must hold numbers. Received: {label!r}, which holds "
        f"strings or categories. Try columns={numeric[:12]!r}."
    )
