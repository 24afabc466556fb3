"""`GradientTape`, which records computations in its context for differentiation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np

from kurve.core.arguments import check_flag
from kurve.core.entries import entries
from kurve.core.results import Values, result
from kurve.formulas.graph import Tensor, is_variable
from kurve.formulas.operators import FUNCTIONS
from kurve.formulas.recording import UNRECORDED, active, recording
from kurve.formulas.tensor import leaves, replaced
from kurve.gradients.recorded import recorded_call
from kurve.gradients.values import TracedValues, is_float, trace


@entries
class GradientTape:
    """A context manager that records computations on trainable weights and watched
    values, so that `gradient` can differentiate them.

    It records functions and operators of `kurve.ops` and NumPy, layers, models and
    losses. `x.numpy()` returns an array that is not recorded. A tape inside another
    tape gives gradients that the outer one can differentiate again.

    Args:
        persistent: whether `gradient` can be called more than once.
        watch_accessed_variables: whether to watch trainable weights automatically.

    Raises:
        TypeError: a flag that is not a bool.

    Example:
        >>> x = kurve.ops.convert_to_tensor([1.0, 2.0])
        >>> with kurve.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = kurve.ops.sum(x**3)
        >>> tape.gradient(y, x)
        array([ 3., 12.])
    """

    def __init__(
        self, persistent: bool = False, watch_accessed_variables: bool = True
    ) -> None:
        where = type(self).__name__
        self._persistent = check_flag(where, "persistent", persistent)
        self._watches_all = check_flag(
            where, "watch_accessed_variables", watch_accessed_variables
        )
        self._used = False
        self.reset()

    def reset(self) -> None:
        """Discard the recording."""
        self._segments: list[Any] = []
        self._tracked: set[int] = set()
        self._watched: dict[int, Any] = {}
        # In a traced step: the operations that this tape watched.
        self._spans: tuple[tuple[int, int], ...] = ()
        self._opened = 0

    def __enter__(self) -> Self:
        if active.step is not None:
            self._opened = len(active.step.ops)
        active.tapes = (*active.tapes, self)
        return self

    def __exit__(self, *error: Any) -> None:
        if active.step is not None:
            self._spans += ((self._opened, len(active.step.ops)),)
        active.tapes = tuple(tape for tape in active.tapes if tape is not self)

    def stop_recording(self) -> AbstractContextManager[None]:
        """A context in which this tape does not record."""
        if active.step is not None:
            raise NotImplementedError("[GradientTape.stop_recording] in a traced step")
        return recording([tape for tape in active.tapes if tape is not self])

    def watch(self, tensor: Any) -> None:
        """Watch values, or weights that are not trainable.

        Args:
            tensor: a result of functions, layers or `ops.convert_to_tensor`, or a
                variable; or a list of them.

        Raises:
            TypeError: a plain NumPy array, whose operators cannot be recorded.
        """
        for leaf in leaves(tensor):
            if is_variable(leaf):
                self._watched[id(leaf)] = leaf
            elif isinstance(leaf, Tensor):
                pass  # in a traced step, the graph has all of them
            elif isinstance(leaf, Values):
                if not is_float(leaf.dtype):
                    raise TypeError(
                        "[GradientTape.watch] a value must be of floating-point type. "
                        f"Received: {leaf.dtype}. Try ops.cast(x, 'float32')."
                    )
                self._tracked.add(trace(leaf))
            else:
                raise TypeError(
                    "[GradientTape.watch] a value must be a tensor or a variable. "
                    f"Received: an object of type {type(leaf).__name__}. "
                    "Try x = ops.convert_to_tensor(x)."
                )

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables that were used, in the order of their first use."""
        found = dict(self._watched)
        for segment in self._segments:
            if not segment.params:
                continue
            for variable, spec in zip(segment.params, segment.plan.params, strict=True):
                if spec.trainable and self.follows(variable):
                    found.setdefault(id(variable), variable)
        return tuple(found.values())

    # ---------------------------------------------------------------- recording

    def follows(self, leaf: Any) -> bool:
        """Whether results computed from this depend on watched values."""
        if isinstance(leaf, TracedValues):
            return leaf.key in self._tracked
        return is_variable(leaf) and (
            id(leaf) in self._watched or (self._watches_all and leaf.role == "param")
        )

    def recorded(
        self, call: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        """The result of a function of `kurve.ops`; `UNRECORDED` if no tape needs it."""
        found = list(leaves((args, kwargs)))
        if any(isinstance(leaf, Tensor) for leaf in found) or not any(
            tape.follows(leaf) for tape in active.tapes for leaf in found
        ):
            return UNRECORDED
        own = FUNCTIONS.get(getattr(call, "__name__", ""))
        is_pure = own is not None and getattr(own, "__wrapped__", None) is call
        return recorded_call(call, args, kwargs, call if is_pure else None)

    def add(self, segment: Any) -> None:
        """Record a segment if it depends on watched values."""
        if any(key in self._tracked for key in segment.keys) or any(
            self.follows(variable) for variable in segment.params
        ):
            self._segments.append(segment)
            self._tracked.update(key for _, key, _ in segment.outputs)

    # ---------------------------------------------------------------- gradients

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = "none",
    ) -> Any:
        """The gradient of the sum of all elements of the target.

        Args:
            target: a value computed in the tape's context, or several.
            sources: variables, watched values or intermediate values: one, or a
                list, tuple or dictionary of them.
            output_gradients: weight of each element of the target in the sum; 1 by
                default.
            unconnected_gradients: "none" or "zero": the result for a source on which
                the target does not depend.

        Returns:
            An array for each source, in the same structure; None for a source on which
            the target does not depend.

        Raises:
            RuntimeError: a second call, unless the tape is persistent.
            NotImplementedError: a second derivative that is not supported for an
                operation.
        """
        given = unconnected_gradients
        unconnected = str(getattr(given, "value", given))
        if unconnected not in ("none", "zero"):
            raise ValueError(
                "[GradientTape.gradient] unconnected_gradients must be 'none' or "
                f"'zero'. Received: {unconnected_gradients!r}. Try 'zero'."
            )
        if self._used:
            raise RuntimeError(
                "[GradientTape.gradient] a tape can compute gradients only once. "
                "Received: a second call. Try GradientTape(persistent=True)."
            )
        flat = list(leaves(sources))
        of_weights = [is_variable(source) for source in flat]
        for source, is_weight in zip(flat, of_weights, strict=True):
            if not is_weight and not isinstance(source, (Tensor, Values)):
                raise TypeError(
                    "[GradientTape.gradient] sources must be variables or tensors. "
                    f"Received: an object of type {type(source).__name__}. Try "
                    "model.trainable_weights, or x = ops.convert_to_tensor(x)."
                )
        if active.step is not None:
            return self._in_step(target, sources, output_gradients, unconnected)
        others = [tape for tape in active.tapes if tape is not self]
        if self._persistent and self in active.tapes:
            others = list(active.tapes)
        keys_of = list(map(_key, flat))
        wanted = set(keys_of) - {None}
        with recording(others):
            gradients = self._seeds(target, output_gradients)
            for segment in reversed(list(self._segments)):
                if any(key in gradients for _, key, _ in segment.outputs):
                    self._through(segment, gradients, any(of_weights), wanted)
        if not self._persistent:
            self._used = True
            self._segments = []

        places = iter(keys_of)

        def found(source: Any) -> Any:
            gradient = gradients.get(next(places))
            if gradient is None:
                zeros = unconnected == "zero"
                return result(np.zeros(source.shape, np.float32)) if zeros else None
            return gradient if isinstance(gradient, TracedValues) else result(gradient)

        return replaced(sources, found)

    def _in_step(
        self, target: Any, sources: Any, output_gradients: Any, unconnected: str
    ) -> Any:
        """The gradients in a traced step."""
        graph, spans = active.step, self._spans
        if output_gradients is not None or not self._watches_all:
            raise NotImplementedError("[GradientTape] in a traced step")
        if self in active.tapes:
            spans += ((self._opened, len(graph.ops)),)
        self._used = not self._persistent
        flat = list(leaves(sources))
        found = graph.gradients(target, flat, spans)
        if unconnected == "zero":
            found = [
                np.zeros(s.shape, np.float32) if f is None else f
                for f, s in zip(found, flat, strict=True)
            ]
        results = iter(found)
        return replaced(sources, lambda _: next(results))

    def _seeds(self, target: Any, output_gradients: Any) -> dict[Any, Any]:
        gradients: dict[Any, Any] = {}
        targets = list(leaves(target))
        given = [None] * len(targets)
        if output_gradients is not None:
            given = list(leaves(output_gradients))
        if len(given) != len(targets):
            raise ValueError(
                "[GradientTape.gradient] output_gradients must have one entry for "
                f"each target. Received: {len(given)} for {len(targets)}. Try a list."
            )
        for value, dy in zip(targets, given, strict=True):
            if not is_variable(value) and not isinstance(value, TracedValues):
                continue  # it does not depend on watched values
            if dy is None:
                dy = np.ones(value.shape, value.dtype)
            elif not isinstance(dy, TracedValues):
                dy = np.broadcast_to(np.asarray(dy, value.dtype), value.shape)
            _accumulate(gradients, _key(value), dy)
        return gradients

    def _through(
        self,
        segment: Any,
        gradients: dict[Any, Any],
        by_weights: bool,
        wanted: Collection[Any],
    ) -> None:
        """Run the backward pass through a segment, recorded on active tapes.

        Args:
            by_weights: whether gradients of variables are wanted.
            wanted: keys of the sources.
        """
        if active.tapes:
            from kurve.gradients.second import recorded_backward

            arrays, variables = recorded_backward(
                segment, gradients, by_weights, wanted
            )
        else:
            arrays, variables = segment.backward(gradients, wanted)
        for key, dx in arrays:
            _accumulate(gradients, key, dx)
        for variable, dw in variables:
            _accumulate(gradients, ("variable", id(variable)), dw)

    def jacobian(self, target: Any, sources: Any) -> Any:
        """The gradient of each element of the target.

        Args:
            target: a value computed in the tape's context.
            sources: as in `gradient`.

        Returns:
            An array (*target.shape, *source.shape) per source; None for a source on
            which the target does not depend.
        """
        persistent, self._persistent = self._persistent, True
        try:
            rows = []
            for unit in np.eye(target.size, dtype=np.float32):
                dy = unit.reshape(target.shape)
                rows.append(self.gradient(target, sources, dy))
        finally:
            self._persistent = persistent
        self._used = not persistent
        flat = [list(leaves(row)) for row in rows]
        columns = iter(zip(*flat, strict=True))

        def stacked(source: Any) -> Any:
            parts = next(columns)
            if any(part is None for part in parts):
                return None
            shape = (*target.shape, *source.shape)
            return result(np.stack([np.asarray(p) for p in parts]).reshape(shape))

        return replaced(sources, stacked)

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: Any = "none",
        **unused: Any,
    ) -> Any:
        """The gradient of each element of a sample by the elements of the same sample.

        Args:
            target: (B, ...), computed in the tape's context; a sample of it must not
                depend on other samples.
            source: (B, ...), watched.
            unconnected_gradients: as in `gradient`.
            unused: TensorFlow's other arguments, ignored.

        Returns:
            An array (B, *target.shape[1:], *source.shape[1:]); None if the target does
            not depend on the source.

        Raises:
            ValueError: different numbers of samples.
        """
        if target.ndim == 0 or target.shape[:1] != source.shape[:1]:
            raise ValueError(
                "[GradientTape.batch_jacobian] target and source must have the same "
                f"number of samples. Received: shapes {tuple(target.shape)} and "
                f"{tuple(source.shape)}. Try jacobian."
            )
        persistent, self._persistent = self._persistent, True
        columns = []
        try:
            for unit in np.eye(target[0].size, dtype=np.float32):
                dy = np.broadcast_to(unit.reshape(target.shape[1:]), target.shape)
                columns.append(self.gradient(target, source, dy, unconnected_gradients))
        finally:
            self._persistent = persistent
        self._used = not persistent
        if any(column is None for column in columns):
            return None
        shape = (*target.shape, *source.shape[1:])
        return result(np.stack([np.asarray(c) for c in columns], 1).reshape(shape))


def _key(source: Any) -> Any:
    """The key of a source among the gradients."""
    if is_variable(source):
        return "variable", id(source)
    return getattr(source, "key", None)


def _accumulate(gradients: dict[Any, Any], key: Any, gradient: Any) -> None:
    gradients[key] = gradients[key] + gradient if key in gradients else gradient
