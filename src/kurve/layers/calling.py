"""Calls of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kurve import activations
from kurve.core import rng
from kurve.core.arguments import check_flag
from kurve.core.arrays import as_numbers
from kurve.core.entries import entries, entry
from kurve.core.overrides import refuse_overrides
from kurve.core.results import result
from kurve.errors import unknown_argument
from kurve.formulas.calls import graph_of, mask_of, watched
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.moved import refuse_moved
from kurve.formulas.needs import NeedsArrays
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import KerasTensor, Node, leaves, replaced
from kurve.layers.arguments import UNSAID, check_shape, takes
from kurve.layers.building import LayerBuilding, check_said_shape
from kurve.layers.masks import attach, check_rows, is_for_all, pass_masks
from kurve.layers.modes import in_both_modes
from kurve.layers.placing import place_all
from kurve.layers.weights import LayerWeights, running


@entries
class LayerCalls(LayerBuilding):
    """Calls: on arrays, on symbolic tensors, and while a plan is built."""

    drawn = 0
    """How many times direct calls have drawn random numbers, used as the step of the
    next ones."""

    @entry
    def __call__(
        self,
        x: Any = UNSAID,
        *others: Any,
        training: bool | None = UNSAID,
        mask: Any = None,
        **named: Any,
    ) -> Any:
        """The layer's output for a batch x (B, ...), computed by the reference engine;
        for a symbolic tensor, the symbolic output.

        Args:
            x: (B, ...), or a `KerasTensor`, as returned by `Input`; a list of them for
                layers with several inputs.
            others, named: further inputs and arguments, for layers that take them.
            mask: mask of the valid steps of x, usually (B, T), for layers whose `call`
                has this argument; by default the mask set by earlier layers.
            training: whether to run in training mode; None means False. The default
                is True for image augmentation layers, and False for others.

        Raises:
            TypeError: unknown arguments.
        """
        where = type(self).__name__
        refuse_overrides(where, self)
        if x is UNSAID and "inputs" in named and not self.has_formula:
            x = named.pop("inputs")
        for name in named:
            if not takes(self.call, name) or not self.has_formula:
                raise unknown_argument(type(self).call, name, where)
        if len(others) == 1 and self.takes_mask_second and mask is None:
            (mask,), others = others, ()
        if others and not self.has_formula:
            raise TypeError(
                f"[{where}] layers are called with x and, by keyword, training. "
                f"Received: {1 + len(others)} arguments. Try layer(x, training=True)."
            )
        if mask is not None:
            if not self.takes_mask:
                raise TypeError(
                    f"[{where}] the layer treats all steps of its input alike "
                    "and has no argument for a mask. Received: a mask. Try it in a "
                    "layer that reduces the steps."
                )
            named["mask"] = mask
        args = others if x is UNSAID else (x, *others)
        if not args and not named:
            raise TypeError(
                f"[{where}] layers are called with x. Received: no arguments. "
                f"Try {where}(...)(x)."
            )
        for leaf in leaves((args, named)):
            if isinstance(leaf, KerasTensor):
                return self._recorded_call(args, named, training)
            if isinstance(leaf, Tensor):
                self._build_for_call(args, named)
                if training is not UNSAID:
                    named["training"] = training
                return self.run(*args, **named)
        refuse_layers(where, x)
        # Arrays become constants in the formula of another layer.
        if Graph.current is not None:
            args, named = _as_constants(args), _as_constants(named)
            if any(isinstance(leaf, Tensor) for leaf in leaves((args, named))):
                return self(*args, training=training, **named)
        if training is UNSAID:
            training = active.training or self.training_by_default
        training = training is not None and check_flag(where, "training", training)
        args, named = replaced(args, _value_of), replaced(named, _value_of)
        if active.tapes:
            args, named = watched(args), watched(named)
        if self.takes_vectors and len(args) == 1 and np.ndim(args[0]) == 1:
            row = args[0][None] if hasattr(args[0], "ndim") else [args[0]]
            return self._eager_call((row,), named, training)[0]
        return self._eager_call(args, named, training)

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call the layer with other values of its weights, which stay unchanged.

        Args:
            trainable_variables, non_trainable_variables: the values, in the order of
                the properties with these names.
            args, kwargs: arguments of the call.
            return_losses: whether to also return the losses added by the call.

        Returns:
            The outputs, and the values of the non-trainable variables after the call;
            with return_losses also `losses`.

        Raises:
            ValueError: wrong number or shapes of values.
        """
        groups = list(self.trainable_variables), list(self.non_trainable_variables)
        variables = [*groups[0], *groups[1]]
        before = [variable.numpy() for variable in variables]
        values = [
            np.asarray(getattr(value, "value", value), np.float32)
            for value in (*trainable_variables, *non_trainable_variables)
        ]
        fits = len(trainable_variables) == len(groups[0])
        if not fits or [v.shape for v in values] != [v.shape for v in before]:
            raise ValueError(
                f"[{type(self).__name__}] stateless_call needs one value per "
                f"variable, {len(groups[0])} trainable and {len(groups[1])} others. "
                f"Received: values of shapes {[v.shape for v in values]} for "
                f"{[v.shape for v in before]}. Try layer.trainable_variables."
            )
        try:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            out = self(*args, **kwargs)
            after = [result(variable.numpy()) for variable in groups[1]]
            losses = list(self.losses)
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
        return (out, after, losses) if return_losses else (out, after)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Append the layer's operations to a plan under construction and return its
        output tensors."""
        graph = graph_of(args, kwargs)
        assert graph is not None
        mask = pass_masks(self, args, kwargs)
        y = self._called(graph, args, dict(kwargs))
        self.penalize(graph, y)
        return attach(self, graph, args, kwargs, y, mask)

    def _called(self, graph: Graph, args: Any, kwargs: dict[str, Any]) -> Any:
        """The output of `call`."""
        if not self.has_formula:
            if self._variables:
                self.check_input(args[0].sample)
            mode, first = kwargs.get("training"), graph.mark()
            y = self.call(*args, **kwargs)
            if mode is not None:
                from kurve.layers.modes import set_mode

                y = set_mode(graph, first, bool(mode), self, args[0], y)
            activation = getattr(self, "activation", None)
            if isinstance(activation, activations.FunctionActivation):
                with graph.within(self):
                    y = activation(y)
            return y
        by_mode = takes(self.call, "training")
        if not by_mode or kwargs.get("training", UNSAID) is None:
            kwargs.pop("training", None)
        running.append(self)
        try:
            with graph.within(self):
                if by_mode and "training" not in kwargs and not self.one_formula:
                    y = in_both_modes(graph, self.call, args, kwargs)
                else:
                    y = self.call(*args, **kwargs)
            return refuse_moved(y)
        finally:
            running.pop()

    def _recorded_call(self, args: Any, named: dict[str, Any], training: Any) -> Any:
        """The symbolic output; adds a node to the user's graph."""
        if not self.takes_several and not self._takes_any:
            where, x = type(self).__name__, args[0] if args else None
            if args and not isinstance(x, KerasTensor):
                raise TypeError(
                    f"[{where}] the layer takes one tensor. Received: {x!r}. "
                    "Try Concatenate()([a, b]) first."
                )
        self._build_for_call(args, named)
        kwargs = named if training is UNSAID else {**named, "training": training}
        out = self._symbolic_output(args, kwargs)
        check_said_shape(self, args, out)
        Node(self, args, kwargs, out)
        return out

    _as_written = False
    """Whether a call on arrays has shown that the formula needs arrays."""

    def _eager_call(
        self, args: tuple[Any, ...], named: dict[str, Any], training: bool
    ) -> Any:
        """The output for arrays."""
        if not self._as_written:
            try:
                return self._traced_call(args, dict(named), training)
            except NeedsArrays as error:
                try:
                    found = self.run_as_written(*args, **named, training=training)
                except Exception as cause:
                    raise error from cause
                self._as_written = True
                return found
        return self.run_as_written(*args, **named, training=training)

    def run_as_written(self, *args: Any, training: Any = None, **kwargs: Any) -> Any:
        """The output of `call` for arrays, computed one function and layer at a
        time."""
        rule = self.activity_regularizer
        if active.step is not None or (not self.has_formula and rule is None):
            raise NeedsArrays(f"[{type(self).__name__}] its operations move no batch.")
        if not self.has_formula:  # the penalty of its output does
            from kurve.layers.written import penalty

            self.activity_regularizer = None
            try:
                y = self._traced_call(args, kwargs, bool(training or active.training))
            finally:
                self.activity_regularizer = rule
            self._losses = [penalty(rule, y)]
            return y
        from kurve.layers.written import called

        return called(self, args, kwargs, training)

    def _traced_call(
        self, args: tuple[Any, ...], named: dict[str, Any], training: bool
    ) -> Any:
        """The output for arrays, computed by a traced formula."""
        from kurve.formulas import functions as ops
        from kurve.gradients.recorded import followed, remember
        from kurve.gradients.segments import Segment, state_of, statistics_of
        from kurve.ops.tape import constants_of, precision

        where, dtype = type(self).__name__, precision.dtype
        arrays: list[np.ndarray] = []
        keys: list[int | None] = []

        masks: dict[int, int] = {}  # index of an array -> index of its mask
        bools: set[int] = set()

        # The formula of a class outside this package may take numbers.
        own = self.has_formula and not type(self).__module__.startswith("kurve.")

        def held(value: Any) -> Any:
            """The argument with each array replaced by its index."""
            several = isinstance(value, (list, tuple, Mapping)) and (
                self.takes_several or _holds_arrays(value, self)
            )
            if several:
                return replaced(value, held)
            if self.has_formula and (value is None or isinstance(value, (bool, str))):
                return value
            if own and arrays and isinstance(value, (int, float)):
                return value
            number = len(arrays)
            arrays.append(as_numbers(where, "x", value, dtype))
            if getattr(value, "dtype", None) is np.dtype(bool):
                bools.add(number)
            mask = getattr(value, "_keras_mask", None)
            if mask is not None:
                masks[number] = held(np.asarray(mask)).number
            keys.append(getattr(value, "key", None))
            return _Place(number)

        args = tuple(map(held, args))
        shared = self.mask_broadcasts
        fixed = {k: v for k, v in named.items() if is_for_all(k, v, arrays, shared)}
        named = {k: held(v) for k, v in named.items() if k not in fixed}
        check_rows(where, named, arrays)
        named |= {k: np.asarray(v, np.float32) for k, v in fixed.items()}
        for array in arrays:
            least = 1 if self.has_formula or self.takes_scalars else 2
            if array.ndim < least and not self.has_formula:
                raise ValueError(
                    f"[{where}] x must have a batch axis and at least one "
                    f"more. Received: x.shape={array.shape}. Try x.reshape(-1, 1)."
                )
            if not array.ndim:
                raise ValueError(
                    f"[{where}] x must have a batch axis. Received: a number. "
                    "Try an array."
                )
        samples = [a.shape[1:] for a in arrays]
        if not self.has_formula:
            samples = [check_shape(type(self), s) for s in samples]
        graph = Graph(samples)
        tensors = graph.inputs
        for number in bools:
            tensors[number].dtype = "bool"
        for number, mask in masks.items():
            tensors[number].mask = tensors[mask]

        def tensor(leaf: Any) -> Any:
            return tensors[leaf.number] if isinstance(leaf, _Place) else leaf

        args, named = replaced(args, tensor), replaced(named, tensor)
        with recording(()), constants_of(np.float32):
            self._build_for_call(args, named)
            place_all(graph, [self], True)
            graph.training = training
            out = self.run(*args, **named, training=training)
            flat = list(leaves(out))
            masked = [i for i, leaf in enumerate(flat) if mask_of(leaf) is not None]
            flat += [flat[i].mask for i in masked]
            plan = graph.finish(flat, penalized=True)
            state = state_of(
                plan,
                graph.params,
                graph.buffers,
                dtype,
                self.drawn,
                rng.next_seed(),
            )
            self.drawn += training
            segment = Segment(
                plan, graph.params, graph.buffers, state, arrays, training
            )
            for variable, value in statistics_of(segment, training):
                variable.assign(value)
        numbers = [head.value for head in plan.heads]
        for part in self.parts:
            part._losses = []
        if active.tapes:
            found: list[Any] = [followed(segment, number) for number in numbers]
            penalty = plan.penalty
            terms = [] if penalty is None else [followed(segment, penalty)]
            remember(segment, keys)
            self._losses = [ops.mean(rows) for rows in terms]
        else:
            found = [result(segment.value(number)) for number in numbers]
            rows = None if plan.penalty is None else segment.value(plan.penalty)
            self._losses = [] if rows is None else [float(np.mean(rows))]
        for i, mask in zip(masked, found[len(found) - len(masked) :], strict=True):
            found[i]._keras_mask = np.asarray(mask).astype(bool)
        results = iter(found)
        return replaced(out, lambda _: next(results))


def _value_of(leaf: Any) -> Any:
    """The values of the states that a layer keeps, in the structure of its
    variables."""
    return leaf.value if getattr(leaf, "role", None) == "state" else leaf


class _Place:
    """Placeholder for the array with that index."""

    def __init__(self, number: int) -> None:
        self.number = number


def _holds_arrays(value: Any, layer: LayerWeights) -> bool:
    """Whether a structure passed to a custom layer holds arrays, and nothing else but
    None."""
    parts = [part for part in leaves(value) if part is not None]
    return (
        (layer._takes_any or isinstance(value, Mapping))
        and bool(parts)
        and all(isinstance(part, np.ndarray) and part.ndim for part in parts)
    )


def _as_constants(value: Any) -> Any:
    """Replace arrays by tensors of the formula being traced."""
    graph = Graph.current
    assert graph is not None

    def tensor(leaf: Any) -> Any:
        fits = isinstance(leaf, np.ndarray) and leaf.ndim
        return graph.as_tensor(leaf) if fits else leaf

    return replaced(value, tensor)


def refuse_layers(where: str, x: Any) -> None:
    """Refuse layers passed as data or tensors."""
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(isinstance(part, LayerWeights) for part in parts):
        raise TypeError(
            f"[{where}] layers are called with an array or a symbolic tensor. "
            f"Received: {x!r}, a layer. Try {where}(...)(Input(shape=(1,)))."
        )
