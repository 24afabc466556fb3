"""What losses and metrics share, and the base class of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from kurve.core.arguments import check_dtype, check_name
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entry
from kurve.plan import Attr, Op, Plan, Shape, Spec

MEAN = "sum_over_batch_size"

REDUCTIONS = (MEAN, "mean", "sum", "mean_with_sample_weight", "none", None)
"""What becomes of the values of rows, each times its weight: their sum divided by the
number of rows (twice, by two names), their sum, their sum divided by that of the
weights, or nothing (twice)."""


class Rowwise:
    """Shared by losses and metrics: how targets fit outputs.

    sparse: whether targets are class numbers, one for all outputs of a row.
    outputs_per_target: number of outputs for each target.
    """

    name: str
    sparse = False
    outputs_per_target = 1

    def target_shape(self, output_shape: Shape) -> Shape:
        """Shape of a sample's target: that of the output, without the last axis for
        class numbers, or with the last axis divided by `outputs_per_target`.

        Raises:
            ValueError: the last axis is not a multiple of `outputs_per_target`.
        """
        if self.sparse:
            return output_shape[:-1]
        *leading, last = output_shape
        if last % self.outputs_per_target:
            raise ValueError(
                f"[{type(self).__name__}] the model needs {self.outputs_per_target} "
                f"outputs for each target. Received: output_shape={output_shape}. "
                f"Try a last layer of {self.outputs_per_target} units for one target."
            )
        return (*leading, last // self.outputs_per_target)

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions as float32, in matching shapes; a last axis of length
        1 is optional.

        Raises:
            ValueError: other shapes, which would have to be broadcast.
        """
        where = type(self).__name__
        y = as_numbers(where, "y_true", y_true, np.float32)
        p = as_numbers(where, "y_pred", y_pred, np.float32)
        if not self.sparse and y.shape == (*p.shape, 1):
            p = p[..., None]
        if not p.ndim:
            raise ValueError(
                f"[{where}] y_pred must have an axis for the outputs. Received: "
                "a single number. Try [[y_pred]]."
            )
        expected = self.target_shape(p.shape)
        if y.shape == (*expected, 1):
            y = y[..., 0]
        elif expected == (*y.shape, 1):
            y = y[..., None]
        if y.shape != expected:
            raise ValueError(
                f"[{where}] y_true must have shape {expected} to fit y_pred. Received: "
                f"y_true.shape={y.shape}, y_pred.shape={p.shape}. Try "
                f"y_true.reshape{expected}."
            )
        return y, p


class Loss(Rowwise, Entrance):
    """Base class of the losses.

    A loss has a value for every row; the loss of a batch is the sum of value x sample
    weight divided by the number of rows (Keras's "sum_over_batch_size").

    Args:
        name: the kind of the loss if None.
        reduction: "sum_over_batch_size" or "mean"; and for calls by hand, not for
            `compile`, "sum", "mean_with_sample_weight" (divided by the sum of the
            weights), or "none" or None (the value of every row).
        dtype: None or "float32", in which engines compute. Another floating-point type
            changes nothing and gets a warning.

    Raises:
        ValueError: an unknown reduction or dtype; targets that do not fit the outputs.
    """

    kind = ""
    ignored = ("call", "__call__")
    instead = "a loss of kurve.losses, such as loss='mse'"

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = MEAN,
        dtype: Any = None,
    ) -> None:
        where = type(self).__name__
        named = reduction is None or isinstance(reduction, str)
        if not named or reduction not in REDUCTIONS:
            raise ValueError(
                f"[{where}] reduction must be one of "
                f"{', '.join(map(repr, REDUCTIONS))}. Received: "
                f"reduction={reduction!r}. Try {MEAN!r}."
            )
        check_dtype(where, dtype)
        self.reduction = reduction
        self.name = self.kind or where if name is None else check_name(where, name)

    def attrs(self) -> dict[str, Attr]:
        """The parameters of the formula, for the plan."""
        return {}

    @property
    def dtype(self) -> str:
        """What it is computed in."""
        return "float32"

    @property
    def spec(self) -> Spec:
        return Spec(self.kind, self.attrs())

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal loss."""
        config: dict[str, Any] = {"name": self.name, **self.attrs()}
        if not self.is_mean:
            config["reduction"] = self.reduction
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The loss of a `get_config`."""
        return cls(**config)

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Refuse targets whose values this loss cannot take."""

    def call(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The value of every row, by the reference engine.

        Args:
            y_true: (..., O), or class numbers (...) or (..., 1) for a sparse loss.
            y_pred: (..., O).

        Returns:
            (...), float32

        Raises:
            ValueError: shapes that do not match; a loss never broadcasts.
        """
        return self._rows(y_true, y_pred).astype(np.float32)

    def _rows(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The values of all rows, in float64."""
        from kurve.engines.reference.losses import LOSSES

        y, p = self.paired(y_true, y_pred)
        if self.sparse:
            self.check_targets(type(self).__name__, y, p.shape)
        rows = p.reshape(-1, p.shape[-1])
        with np.errstate(all="ignore"):
            values, _ = LOSSES[self.kind](y.reshape(len(rows), -1), rows, self.attrs())
        return values.reshape(p.shape[:-1])

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a batch is the mean over its rows, as engines compute."""
        return self.reduction in (MEAN, "mean")

    def reduced(self, values: np.ndarray, sample_weight: Any) -> Any:
        """The loss for the values of rows, as `reduction` says; 0 for no rows."""
        values = np.asarray(values, np.float64)
        where = type(self).__name__
        if not values.ndim and sample_weight is not None:  # one value for the batch
            values = np.broadcast_to(values, np.shape(sample_weight)[:1] or (1,))
        weights = weights_for(where, sample_weight, values.shape)
        weighted = weights * values
        if self.reduction in ("none", None):
            return weighted.astype(np.float32)
        if self.reduction == "sum":
            return float(np.sum(weighted))
        by = np.sum(weights) if self.reduction.endswith("weight") else values.size
        return float(np.sum(weighted) / by) if by else 0.0

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, by the engine in use: bit for bit that of `evaluate`.

        Args:
            y_true, y_pred: see `call`.
            sample_weight: a number, (B,), or a weight for every row, (B, ...).

        Returns:
            a number; the values of the rows, float32, if there is no reduction.
        """
        where = type(self).__name__
        custom = type(self).call is not Loss.call
        by_sample = np.ndim(sample_weight) < 2 and np.ndim(y_pred) > 1
        if by_sample and not custom and self.is_mean and np.size(y_pred):
            y, p = self.paired(y_true, y_pred)
            if self.sparse:
                self.check_targets(where, y, p.shape)
            weights = None
            if sample_weight is not None:
                weights = weights_for(where, sample_weight, p.shape[:1])
            return _of_batch(self.spec, y, p, weights)
        values = self.call(y_true, y_pred) if custom else self._rows(y_true, y_pred)
        return self.reduced(values, sample_weight)


def _of_batch(
    spec: Spec, y: np.ndarray, p: np.ndarray, weights: np.ndarray | None
) -> float:
    """The loss of a batch by the engine in use, as for a model that outputs p."""
    from kurve.engines import Batches, State, get_engine

    shape = p.shape[1:]
    identity = Op("reshape", "output", shape, shape)
    program = get_engine().compile(Plan.stack(shape, shape, (identity,), (), (), spec))
    empty, totals = np.zeros(0, np.float32), np.zeros(2)
    state = State(empty, empty, empty.reshape(0, 0), np.zeros(0), 0, 0)
    if weights is not None:
        weights = np.ascontiguousarray(weights, np.float32)
    bounds = np.array([0, len(p)])
    y, p = np.ascontiguousarray(y), np.ascontiguousarray(p)
    program.test(state, Batches(p, y, weights, None, bounds), totals)
    return float(totals[0] / totals[1])


def weights_for(where: str, sample_weight: Any, shape: Shape) -> np.ndarray:
    """The weight of every row, float64 of that shape, from a weight for all rows, for
    each sample, or for each row; axes of length 1 may follow.

    Raises:
        ValueError: another shape.
    """
    if sample_weight is None:
        return np.ones(shape)
    weights = as_numbers(where, "sample_weight", sample_weight, np.float32)
    weights = weights.astype(np.float64)
    received = weights.shape
    while weights.ndim > 1 and weights.shape != shape[: weights.ndim]:
        if weights.shape[-1] != 1:
            break
        weights = weights[..., 0]
    if weights.ndim > len(shape) or weights.shape != shape[: weights.ndim]:
        forms = f"{shape[:1]}, one weight for each sample"
        if len(shape) > 1:
            forms += f", or {shape}, one for each row"
        raise ValueError(
            f"[{where}] sample_weight must have shape {forms}. "
            f"Received: shape {received}. Try np.ones({shape})."
        )
    missing = len(shape) - weights.ndim
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * missing), shape)
