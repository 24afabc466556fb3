"""The base class of losses."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.core.arguments import check_name
from kurve.core.arrays import as_numbers
from kurve.core.dtypes import check_dtype, name_of_dtype
from kurve.core.entries import Entrance, entry
from kurve.core.naming import auto_name
from kurve.core.overrides import is_own
from kurve.core.results import result
from kurve.formulas.needs import NeedsValues
from kurve.formulas.operators import Symbolic, asks_for_values
from kurve.formulas.recording import is_followed
from kurve.losses.rows import SMALLEST, mask_of_rows
from kurve.losses.rows import Rowwise as Rowwise
from kurve.losses.rows import weights_for as weights_for
from kurve.plan import Attr, Op, Plan, Shape, Spec

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none")


class Loss(Rowwise, Entrance):
    """Base class of all losses.

    A loss has one value per row. A subclass with its own formula overrides `call`, with
    functions of `kurve.ops` or NumPy; engines run it, forward and backward.

    Args:
        name: derived from the kind or class by default.
        reduction: how row values are reduced to the loss. "sum_over_batch_size" and
            "mean": the sum of value x sample weight, divided by the number of rows;
            "sum": not divided; "mean_with_sample_weight": divided by the sum of the
            weights, if there are any; "none" or None: the values themselves, in direct
            calls only.
        dtype: name of a dtype; engines compute in float32.

    Raises:
        ValueError: unknown reduction or dtype; targets that do not match the outputs.

    Example:
        >>> class Fourth(kurve.losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return np.mean((y_true - y_pred) ** 4, axis=-1)
        >>> Fourth()(np.zeros((1, 1)), np.full((1, 1), 2.0))
        16.0
        >>> Fourth(reduction="sum")(np.zeros((2, 1)), np.full((2, 1), 2.0))
        32.0
    """

    _has_name = True

    kind = ""
    attr_names: tuple[str, ...] = ()
    """Its attributes that are parameters of the formula."""
    across_rows = False
    """Whether it compares rows of a batch: no plan can compute it, so steps run in
    Python."""
    ignored = ("__call__",)
    instead = "call(y_true, y_pred), or a loss of kurve.losses, such as loss='mse'"

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        where = type(self).__name__
        named = reduction is None or isinstance(reduction, str)
        if not named or (reduction is not None and reduction not in REDUCTIONS):
            raise ValueError(
                f"[{where}] reduction must be {', '.join(map(repr, REDUCTIONS))} or "
                f"None. Received: reduction={reduction!r}. Try reduction='sum'."
            )
        check_dtype(where, dtype)
        self.reduction = reduction
        self._dtype = name_of_dtype(dtype) or "float32"
        own = self.kind or auto_name(type(self))
        self.name = own if name is None else check_name(where, name)

    @property
    def dtype(self) -> str:
        """The name of the requested dtype."""
        return self._dtype

    @property
    def by_ops(self) -> bool:
        """Whether plan operations compute it: a formula written with functions of
        `kurve.ops`, rather than one of the engines' built-in losses."""
        return type(self).call is not Loss.call or bool(vars(self).get("_targets"))

    @property
    def any_targets(self) -> bool:
        """Whether its targets may have any shape, as in a custom formula."""
        return is_own(type(self))

    @property
    def targets(self) -> dict[Shape, Shape]:
        """The shape of a sample's target for outputs of a shape, where data have told
        it: of a loss of `any_targets`, or of one that broadcasts in a program for
        Keras. See `kurve.losses.target_shapes`."""
        found: dict[Shape, Shape] = vars(self).setdefault("_targets", {})
        return found

    def target_shape(self, output_shape: Shape) -> Shape:
        known: dict[Shape, Shape] = vars(self).get("_targets", {})
        if output_shape in known:
            return known[output_shape]
        return super().target_shape(output_shape)

    def attrs(self) -> dict[str, Attr]:
        """The parameters of the formula, for the plan."""
        return {name: getattr(self, name) for name in self.attr_names}

    @property
    def spec(self) -> Spec:
        return Spec("rows") if self.by_ops else Spec(self.kind, self.attrs())

    def reduction_of(self, rows: str) -> str:
        """`Head.reduction` of the loss.

        Args:
            rows: the reduction of rows computed by ops.
        """
        if self.reduction == "sum":
            return "sum" if rows == "mean" else rows
        weighted = self.reduction == "mean_with_sample_weight"
        return "mean_with_sample_weight" if weighted else "mean"

    def get_config(self) -> dict[str, Any]:
        """The arguments; reduction only if it is not the default."""
        default = self.reduction == "sum_over_batch_size"
        given = {} if default else {"reduction": self.reduction}
        return {"name": self.name, **self.attrs(), **given}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create the loss from `get_config`."""
        return cls(**config)

    def fitted(self, y: Any, output_shape: Shape) -> Any:
        """The targets in the shape of others before them, where they can be; of a loss
        of `any_targets`."""
        return y

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Refuse targets whose values are invalid for this loss."""

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula, written with functions of `kurve.ops`, for tensors or arrays."""
        raise NotImplementedError(
            f"[{type(self).__name__}] a loss needs a formula with functions of "
            "kurve.ops. Received: one without. Try def call(self, y_true, y_pred): ..."
        )

    def known(self, y_true: Any, y_pred: Any) -> Any:
        """For a loss `by_ops`: the valid rows as 1 and 0; None for all."""
        return None

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The row values as a tensor of a plan under construction."""
        own = type(self).call is not Loss.call
        result = self.call(y_true, y_pred) if own else self.rows(y_true, y_pred)
        if not hasattr(result, "batched"):  # that of tensors
            raise TypeError(
                f"[{self.name}] a loss must be computed from y_true and y_pred. "
                f"Received: {result!r}. Try functions of kurve.ops, such as "
                "ops.mean(ops.square(y_true - y_pred), axis=-1)."
            )
        return result

    def traced(self, y_true: Any, y_pred: Any) -> Any:
        """The row values, masked and rescaled so that the reduction applies to the
        valid rows."""
        from kurve.formulas import functions as ops

        result = self.values(y_true, y_pred)
        known = self.known(y_true, y_pred)
        if y_pred.mask is not None:
            mask = mask_of_rows(self.name, y_pred.mask, result)
            result = result * mask
            known = mask if known is None else known * mask
            if self.reduction == "mean_with_sample_weight":
                raise NotImplementedError(
                    f"[{self.name}] for masked outputs, a loss is a sum, or a mean "
                    "over the valid steps. Received: "
                    "reduction='mean_with_sample_weight'. Try 'sum_over_batch_size'."
                )
        if known is not None and self.reduction in ("sum_over_batch_size", "mean"):
            result = result / ops.maximum(ops.mean(known), SMALLEST)
        return result

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The value of every row, by the reference engine; while a formula is traced,
        as a tensor.

        Args:
            y_true: (..., O), or class numbers (...) or (..., 1) for a sparse loss.
            y_pred: (..., O).

        Returns:
            (...), float32

        Raises:
            ValueError: shapes that do not match; a loss never broadcasts.
        """
        if isinstance(y_pred, Symbolic):
            return self.rows(y_true, y_pred)
        if is_followed(y_true, y_pred):
            return self._on_tapes(self._rows_by_ops, y_true, y_pred)
        return np.asarray(self._built_in(y_true, y_pred)[0], np.float32)

    @property
    def _key(self) -> Any:
        """What the formula depends on; None for a loss of the user."""
        if is_own(type(self)):
            return None
        settings = tuple(vars(self).items())
        plain = (bool, int, float, str, type(None))
        known = all(isinstance(value, plain) for _, value in settings)
        return (type(self), settings) if known else None

    def _on_tapes(self, formula: Any, y_true: Any, y_pred: Any, key: Any = None) -> Any:
        """Evaluate a formula on arrays watched by a tape.

        Args:
            key: see `recorded_call`.
        """
        from kurve.gradients.recorded import recorded_call

        where = type(self).__name__
        pair = []
        for name, value in (("y_true", y_true), ("y_pred", y_pred)):
            if not is_followed(value):
                value = as_numbers(where, name, value, np.float32)
            pair.append(value)
        y, p = pair
        if not is_followed(y) and not is_own(type(self)):
            checked, _ = self.paired(y, np.asarray(p))
            self.check_targets(where, checked, p.shape)
        try:
            return recorded_call(formula, (y, p), {}, key)
        except (NeedsValues, AttributeError) as error:
            if not asks_for_values(error):
                raise
            return formula(y, p)  # its functions are recorded one by one

    def _rows_by_ops(self, y_true: Any, y_pred: Any) -> Any:
        """The row values, for tensors."""
        if is_own(type(self)):
            return self.call(y_true, y_pred)
        from kurve.formulas import functions as ops

        shape = tuple(y_true.shape)
        expected = self.target_shape(tuple(y_pred.shape))
        if expected == (*shape, 1) or shape == (*expected, 1):
            y_true = ops.reshape(y_true, expected)
        return self.rows(y_true, y_pred)

    def _loss_by_ops(self, sample_weight: Any, y_true: Any, y_pred: Any) -> Any:
        """The loss of a batch, for tensors: see `_reduced`."""
        from kurve.formulas import functions as ops

        values, total, weights = self._rows_by_ops(y_true, y_pred), None, None
        if hasattr(sample_weight, "sample"):  # a tensor of a traced step
            total, rank = ops.sum(sample_weight), len(values.shape) - 1
            own = sample_weight.sample
            if len(own) == rank + 1 and own[-1] == 1:
                own = own[:-1]
            own = (*own, *(1,) * (rank - len(own)))
            weights = ops.reshape(sample_weight, (-1, *own))
            values = values * weights
        elif sample_weight is not None:
            given = np.asarray(sample_weight, np.float32)
            shape = tuple(values.shape) or tuple(y_pred.shape)[: max(given.ndim, 1)]
            weights = weights_for(type(self).__name__, given, shape).astype(np.float32)
            values = values * weights
            total = float(np.sum(given, dtype=np.float64))
        known = None if is_own(type(self)) else self.known(y_true, y_pred)
        if known is not None:
            values = values * known
            total = ops.sum(known if weights is None else weights * known)
        if self.reduction in (None, "none") or not len(values.shape):
            return values
        summed = ops.sum(values)
        if self.reduction == "sum":
            return summed
        if self.reduction == "mean_with_sample_weight" and total is not None:
            if not isinstance(total, float):
                return summed / ops.maximum(total, SMALLEST)
            return summed / total if total else summed * 0.0
        if known is not None:
            return summed / ops.maximum(ops.sum(known), SMALLEST)
        if None in values.shape:
            return ops.mean(values)
        return summed / float(np.prod(values.shape))

    def _rows(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, Any]:
        """The row values in float64, and the mask of valid rows."""
        if type(self).call is Loss.call:
            return self._built_in(y_true, y_pred)
        y, p = np.asarray(y_true, np.float32), np.asarray(y_pred, np.float32)
        with np.errstate(all="ignore"):
            return np.asarray(self.call(y, p), np.float64), None

    def _built_in(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, Any]:
        """The same for a class that does not override `call`."""
        from kurve.engines.reference.losses import LOSSES

        y, p = self.paired(y_true, y_pred)
        self.check_targets(type(self).__name__, y, p.shape)
        if self.kind not in LOSSES or (self.by_ops and type(self).call is Loss.call):
            return self._by_formula(y, p), self.known(y, p)
        rows = p.reshape(-1, p.shape[-1])
        with np.errstate(all="ignore"):
            values, _ = LOSSES[self.kind](y.reshape(len(rows), -1), rows, self.attrs())
        return values.reshape(p.shape[:-1]), None

    def _by_formula(self, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        try:
            with np.errstate(all="ignore"):
                return np.asarray(self.rows(y, p), np.float64)
        except (ValueError, OverflowError) as error:
            if str(error).startswith("["):
                raise
            raise ValueError(
                f"[{type(self).__name__}] the formula must fit the shapes of y_true "
                f"and y_pred: {error}. Received: shapes {y.shape} and {p.shape}, "
                f"{self.attrs()}. Try axis=-1."
            ) from None

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch by the current engine: bit-identical to `evaluate`.
        With reduction "none", the weighted values, float32.

        Args:
            y_true, y_pred: see `call`.
            sample_weight: a number, (B,), or one weight per row, (B, ...).
        """
        if isinstance(y_true, Symbolic) or isinstance(y_pred, Symbolic):
            y_true, y_pred = map(_as_floats, (y_true, y_pred))
            return self._loss_by_ops(sample_weight, y_true, y_pred)
        if is_followed(y_true, y_pred):
            if not hasattr(sample_weight, "sample") and sample_weight is not None:
                sample_weight = np.asarray(sample_weight, np.float64)
            formula = functools.partial(self._loss_by_ops, sample_weight)
            key = None if sample_weight is not None else self._key
            return self._on_tapes(formula, y_true, y_pred, key)
        where = type(self).__name__
        as_in_models = np.ndim(sample_weight) == 1 or sample_weight is None
        if self.reduction != "mean_with_sample_weight":
            as_in_models = as_in_models or np.ndim(sample_weight) == 0
        as_in_models = as_in_models and np.ndim(y_pred) > 1 and np.size(y_pred) > 0
        if as_in_models and not self.by_ops and self.reduction not in (None, "none"):
            y, p = self.paired(y_true, y_pred)
            if self.sparse:
                self.check_targets(where, y, p.shape)
            weights = None
            if sample_weight is not None:
                weights = weights_for(where, sample_weight, p.shape[:1])
            return result(_of_batch(self, y, p, weights))
        values, known = self._rows(y_true, y_pred)
        return result(self._reduced(values, known, sample_weight, np.shape(y_pred)))

    def _reduced(
        self, values: np.ndarray, known: Any, sample_weight: Any, shape: Shape
    ) -> Any:
        """The reduced values, as in Keras's direct calls."""
        where, total = type(self).__name__, None
        if sample_weight is not None:
            given = as_numbers(where, "sample_weight", sample_weight, np.float32)
            if values.ndim:
                shape = values.shape
            else:  # one value for the batch
                shape = shape[: max(given.ndim, 1)]
            weights = weights_for(where, sample_weight, shape)
            values, total = values * weights, float(np.sum(given, dtype=np.float64))
        if known is not None:
            known = np.asarray(known, np.float64)
            values = values * known
            total = float(np.sum(known if total is None else weights * known))
            if self.reduction in ("sum_over_batch_size", "mean"):
                values = values / max(float(np.mean(known)), SMALLEST)
        if self.reduction in (None, "none"):
            return values.astype(np.float32)
        if not values.ndim or not values.size:
            return float(values) if values.size else 0.0
        if self.reduction == "sum":
            return float(np.sum(values))
        divisor = float(values.size)
        if self.reduction == "mean_with_sample_weight" and total is not None:
            divisor = total
        return float(np.sum(values) / divisor) if divisor else 0.0


class PlainLoss(Loss):
    """A loss without parameters."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)


def _as_floats(value: Any) -> Any:
    """An array of numbers as float32; tensors as they are."""
    return np.asarray(value, np.float32) if isinstance(value, np.ndarray) else value


def _of_batch(
    loss: Loss, y: np.ndarray, p: np.ndarray, weights: np.ndarray | None
) -> float:
    """The loss of a batch by the current engine, as for a model that outputs p."""
    from kurve.engines import Batches, State, get_engine

    shape = p.shape[1:]
    identity = Op("reshape", "output", shape, shape)
    plan = Plan.stack(shape, shape, (identity,), (), (), loss.spec)
    head = replace(plan.heads[0], reduction=loss.reduction_of("mean"))
    program = get_engine().compile(replace(plan, heads=(head,)))
    empty, totals = np.zeros(0, np.float32), np.zeros(2)
    state = State(empty, empty, empty.reshape(0, 0), np.zeros(0), 0, 0)
    if weights is not None:
        weights = np.ascontiguousarray(weights, np.float32)
    bounds = np.array([0, len(p)])
    y, p = np.ascontiguousarray(y), np.ascontiguousarray(p)
    program.test(state, Batches(p, y, weights, None, bounds), totals)
    return float(totals[0] / totals[1])
