"""The base class of all metrics."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arguments import check_name
from kurve.core.entries import Entrance, entry
from kurve.core.naming import auto_name
from kurve.core.overrides import custom_members
from kurve.formulas.needs import NeedsValues
from kurve.formulas.operators import Symbolic
from kurve.formulas.recording import active
from kurve.formulas.symbols import is_variable
from kurve.formulas.tensor import leaves
from kurve.plan import Shape

if TYPE_CHECKING:
    from kurve.metrics.variables import MetricVariable


def _in_steps(method: Any) -> Any:
    """Wrap a method to be recorded instead of called while a step is traced."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if active.step is not None:
            return active.step.metric_call(self, method, args, kwargs)
        if method.__name__ == "update_state":
            if any(isinstance(leaf, Symbolic) for leaf in leaves((args, kwargs))):
                raise NeedsValues(
                    f"[{type(self).__name__}.update_state] a metric needs values, and "
                    "a formula that is traced has none. Received: tensors. Try it "
                    "in train_step, or compile(metrics=[...])."
                )
            if active.undo is not None:  # a trial of the formula that has it
                return None
        return method(self, *args, **kwargs)

    return call


class Metric(Entrance):
    """Base class of metrics. Subclasses have their own `update_state` and `result`:

        class Positives(kurve.metrics.Metric):
            def __init__(self, name="positives", **common):
                super().__init__(name=name, **common)
                self.count = self.add_weight(name="count")

            def update_state(self, y_true, y_pred, sample_weight=None):
                self.count.assign_add(ops.sum(ops.cast(y_pred > 0, "float32")))

            def result(self):
                return float(self.count)

    An `update_state` that only adds numbers computed by `kurve.ops` to scalars, with
    `assign_add` and `assign_sub`, becomes a part of the model's steps. Any other is
    called with the arrays of each batch, which takes longer.

    Args:
        dtype: name of a dtype, which is only stored. Kurve accumulates in float64.
        name: name in logs; derived from the class by default: auc, auc_1, ...

    Raises:
        TypeError: a name that is not a string.
        ValueError: an unknown dtype.

    Example:
        >>> kurve.metrics.Mean(name="loss")([1.0, 3.0])
        2.0
    """

    _has_name = True

    kind = ""
    direction = "down"
    ignored: tuple[str, ...] = ()
    instead = "metrics=['mae']"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("update_state", "result", "reset_state"):
            if name in vars(cls):
                setattr(cls, name, _in_steps(vars(cls)[name]))

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        where = type(self).__name__
        self._dtype = _checked_dtype(where, dtype)
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self._variables: list[MetricVariable] = []

    @property
    def dtype(self) -> str:
        """The name of the requested dtype."""
        return self._dtype

    def add_variable(
        self,
        shape: Any,
        initializer: Any,
        dtype: Any = None,
        aggregation: str | None = None,
        name: str | None = None,
    ) -> MetricVariable:
        """Add an array that `reset_state` sets to zeros.

        Args:
            shape: its shape; an integer means the length of a vector.
            initializer: name or object of `kurve.initializers`; zeros if None.
            dtype: by default the metric's dtype.
            aggregation: accepted and ignored.
            name: name of the variable.

        Raises:
            RuntimeError: before `super().__init__()`.
        """
        from kurve import initializers
        from kurve.metrics.variables import MetricVariable

        where = type(self).__name__
        if "_variables" not in vars(self):
            raise RuntimeError(
                f"[{where}] variables must be added after super().__init__(), which "
                "gives the metric its name. Received: a call before it. Try "
                "super().__init__() in the first line of __init__."
            )
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        made = initializers.get(initializer) or initializers.Zeros()
        kind = _checked_dtype(where, dtype or self.dtype)
        value = initializers.draw(made, shape).astype(_numpy_dtype(kind))
        variable = MetricVariable(value, name or "variable")
        self._variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> MetricVariable:
        """`add_variable`, a scalar by default."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Any]:
        """The added variables and those that are attributes, then those of metrics that
        are attributes; also in lists and dictionaries."""
        given = {k: v for k, v in vars(self).items() if k != "_variables"}
        parts = [part for value in given.values() for part in leaves(value)]
        found = [*self._variables, *filter(is_variable, parts)]
        for part in parts:
            if isinstance(part, Metric):
                found += part.variables
        return list({id(variable): variable for variable in found}.values())

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[np.ndarray]:
        """What a batch makes of given values of the variables; the metric itself stays
        as it is.

        Args:
            metric_variables: a value for each of `variables`.
            args, kwargs: arguments of `update_state`.

        Returns:
            the new values

        Raises:
            ValueError: another number of values.
        """
        with self._holding(metric_variables):
            self.update_state(*args, **kwargs)
            return self._values()

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The result for given values of the variables.

        Args:
            metric_variables: a value for each of `variables`.

        Raises:
            ValueError: another number of values.
        """
        with self._holding(metric_variables):
            return self.result()

    def stateless_reset_state(self) -> list[np.ndarray]:
        """The values of the variables after `reset_state`."""
        with self._holding(self._values()):
            self.reset_state()
            return self._values()

    def _values(self) -> list[np.ndarray]:
        """Copies of the values of the variables."""
        return [np.array(variable) for variable in self.variables]

    def _set_values(self, values: Sequence[Any]) -> None:
        if len(values) != len(self.variables):
            raise ValueError(
                f"[{type(self).__name__}] metric_variables must have a value for each "
                f"of the {len(self.variables)} variables. Received: {len(values)} "
                "values. Try metric.stateless_reset_state() to start."
            )
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(np.asarray(value))

    @contextlib.contextmanager
    def _holding(self, values: Sequence[Any]) -> Iterator[None]:
        """Give the variables these values for a while."""
        before = self._values()
        self._set_values(values)
        try:
            yield
        finally:
            self._set_values(before)

    @property
    def counts_itself(self) -> bool:
        """Whether its `update_state` or `result` is the user's, so that engines do not
        know it."""
        own = ("update_state", "result", "reset_state")
        return any(name in place for place in custom_members(self) for name in own)

    def resolve(self, loss: Any, output_shape: Shape) -> Any:
        """The metric that a model with this loss and output computes."""
        return self

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Update the metric with a batch."""
        raise NotImplementedError(self._without("update_state"))

    def result(self) -> Any:
        """The metric over all batches since `reset_state`."""
        raise NotImplementedError(self._without("result"))

    def _without(self, method: str) -> str:
        where = type(self).__name__
        return (
            f"[{where}] a custom metric needs update_state and result. Received: "
            f"a {where} without {method}. Try def {method}(self, ...)."
        )

    def reset_state(self) -> None:
        """Reset the accumulators."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))

    @property
    def reset_states(self) -> Any:
        """Old name of `reset_state`."""
        from kurve.legacy.names import of_object

        return of_object(self, "reset_states")

    @entry
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this metric."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create the metric from `get_config`."""
        return cls(**config)


_DTYPES = {
    "bool",
    "int",
    "bfloat16",
    *(f"float{bits}" for bits in (16, 32, 64)),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


def _checked_dtype(where: str, dtype: Any) -> str:
    """The name of a dtype or Keras policy; "float32" for None.

    Raises:
        ValueError: unknown name.
    """
    name = "float32" if dtype is None else dtype
    for attribute in ("compute_dtype", "name", "__name__"):
        name = name if isinstance(name, str) else getattr(name, attribute, name)
    if not isinstance(name, str) or name not in _DTYPES:
        raise ValueError(
            f"[{where}] dtype must be the name of a numeric type. "
            f"Received: dtype={dtype!r}. Try dtype='float32'."
        )
    return name


def _numpy_dtype(name: str) -> np.dtype:
    return np.dtype({"bfloat16": "float32", "int": "int32"}.get(name, name))
