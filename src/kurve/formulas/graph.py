"""A plan under construction: layers and functions append operations to it.

Tensors of a graph only have values in the engine; Python knows just their shapes.
Elementwise functions become tapes, and `finish` joins adjacent ones, so that a formula
runs as one pass over its elements.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.core.entries import user_line
from kurve.formulas.finishing import finished
from kurve.formulas.limits import TooLarge, spend
from kurve.formulas.mapping import mapped
from kurve.formulas.needs import NeedsBatch
from kurve.formulas.symbols import Tensor as Tensor
from kurve.formulas.symbols import is_variable as is_variable
from kurve.formulas.tensor import leaves, replaced
from kurve.ops.tape import Builder, Tape, precision
from kurve.plan import Op, Plan, Shape, VariableSpec, aligned

STREAM_OF_CALL = 1 << 16
"""Random streams of a layer's second call start here, of its third at twice this."""

NO_LAYER = STREAM_OF_CALL - 1
"""The random stream outside layers, for example in a loss."""

STREAM_OF_DRAW = 1 << 24
"""The distance between the random streams of functions within one call."""

MAX_DRAWS = 254

MAX_ELEMENTS = 2**28
"""Maximum number of elements per sample of a value: 1 GiB."""

MAX_WEIGHTS = 2**48
"""Maximum number of elements of weights, and of arrays of an eager step, whose memory
already exists."""

MAX_AXES = 16
"""Maximum number of axes per sample."""


class _Current(threading.local):
    """graph: the one that this thread traces"""

    graph: Graph | None = None


_current = _Current()


class _OfThread(type):
    """Provides `Graph.current`, which is local to each thread."""

    @property
    def current(cls) -> Graph | None:
        """The graph being traced; variables in formulas become its values."""
        return _current.graph

    @current.setter
    def current(cls, graph: Graph | None) -> None:
        _current.graph = graph


class Graph(metaclass=_OfThread):
    """Operations in call order, and the variables they use.

    inputs, targets: shapes of one sample of the inputs and targets
    training:        whether the traced code is for training only; None for both modes
    """

    rows: int | None = None
    """The size of the batch, if it is known."""

    runs_once = False
    """Whether its operations run immediately and only once: random numbers are then
    constants."""

    def __init__(
        self,
        inputs: Sequence[Shape],
        targets: Sequence[Shape] = (),
        streams: Mapping[int, int] | None = None,
    ) -> None:
        self.input_shapes, self.target_shapes = tuple(inputs), tuple(targets)
        self.ops: list[Op] = []
        self.shapes: list[Shape] = [*self.input_shapes, *self.target_shapes]
        self._specs: dict[int, VariableSpec] = {}
        self._variables: dict[bool, list[Any]] = {True: [], False: []}
        self.vectors: dict[bool, list[VariableSpec]] = {True: [], False: []}
        self._layers: list[Any] = []
        self._streams = dict(streams or {})  # id of a layer -> its stream index
        self._calls: dict[int, int] = {}
        self.constants: list[tuple[VariableSpec, np.ndarray]] = []
        self.losses: list[Tensor] = []
        self.training: bool | None = None
        self.stream = NO_LAYER  # random stream of the layer being called
        self._draws: dict[int, int] = {}
        self._kept: dict[int, Any] = {}  # id of a layer -> its newest states
        self.made: list[Tensor] | None = None  # in a step of a loop: its tensors

    # ---------------------------------------------------------------- values

    @property
    def inputs(self) -> list[Tensor]:
        return [Tensor(self, i, s) for i, s in enumerate(self.input_shapes)]

    @property
    def targets(self) -> list[Tensor]:
        first = len(self.input_shapes)
        return [Tensor(self, first + i, s) for i, s in enumerate(self.target_shapes)]

    def op(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        out_shape: Shape,
        params: Mapping[str, VariableSpec] | None = None,
        buffers: Mapping[str, VariableSpec] | None = None,
        attrs: Mapping[str, Any] | None = None,
        tape: Tape | None = None,
        batched: bool | None = None,
        dtype: str = "float32",
    ) -> Tensor:
        """Append an operation and return its value."""
        first, *others = inputs
        op = Op(
            kind,
            self._layers[-1].name if self._layers else kind,
            first.sample,
            out_shape,
            params or {},
            buffers or {},
            attrs or {},
            tape,
            tuple(tensor.index for tensor in inputs),
            tuple(tensor.sample for tensor in others),
        )
        if batched is None:
            batched = any(tensor.batched for tensor in inputs)
        return self.append_op(op, batched, dtype)

    def append_op(self, op: Op, batched: bool = True, dtype: str = "float32") -> Tensor:
        """Append an operation that names the values that it reads; return its value."""
        spend(1)
        shape = op.out_shape
        has_memory = self.runs_once or op.kind == "variable"
        most = MAX_WEIGHTS if has_memory else MAX_ELEMENTS
        if (
            len(shape) > MAX_AXES
            or math.prod(shape) > most
            or not all(isinstance(size, int) and size > 0 for size in shape)
        ):
            raise TooLarge(
                f"[{op.layer}] a sample must have at most {MAX_AXES} axes, with "
                f"positive sizes, and {most} elements. Received: shape "
                f"{shape[:20]} in {user_line()}. Try smaller sizes."
            )
        self.ops.append(op)
        self.shapes.append(op.out_shape)
        tensor = Tensor(self, len(self.shapes) - 1, op.out_shape, batched, dtype)
        if self.made is not None:
            self.made.append(tensor)
        return tensor

    def elementwise(self, name: str, *operands: Any, dtype: str = "float32") -> Tensor:
        """An elementwise operation on tensors, variables, arrays and numbers."""
        return self.map(
            operands, lambda build, registers: build.op(name, *registers), dtype
        )

    def map(
        self,
        operands: Sequence[Any],
        write: Callable[[Builder, list[Any]], int],
        dtype: str = "float32",
        shape: Shape | None = None,
    ) -> Tensor:
        """Append the tape that `write` builds from one register per operand (numbers
        stay numbers), as one operation whose operands broadcast like NumPy's.

        Args:
            shape: shape of one sample of the result, if larger than that of the
                operands.
        """
        return mapped(self, operands, write, dtype, shape)

    def as_tensor(self, operand: Any) -> Tensor:
        """A tensor for a variable, an array or a number."""
        if isinstance(operand, Tensor):
            self.check_own(operand)
            return operand
        if is_variable(operand):
            spec, role = self.place(operand), operand.role
        else:
            array = np.asarray(operand, precision.dtype)
            spec, role = self.constant(array), "buffer"
        named = {"value": spec}
        params, buffers = (named, {}) if role == "param" else ({}, named)
        return self.op(
            "variable", [self.source()], spec.shape, params, buffers, batched=False
        )

    def source(self) -> Tensor:
        """A value from which to take the batch size."""
        return Tensor(self, 0, self.shapes[0])

    def filled(self, sample: Shape, value: float) -> Tensor:
        """A constant tensor, per sample."""
        one = source = self.source()
        if source.sample:
            attrs = {"mode": "sum", "axis": 0, "count": len(source.sample)}
            one = self.op("reduce", [source], (), attrs=attrs)
        return self.map([one], lambda build, _: build.constant(value), shape=sample)

    def check_own(self, tensor: Tensor) -> None:
        if tensor.graph is not self:
            raise ValueError(
                "[tensor] a tensor can only be used in the call that created it. "
                f"Received: {tensor!r} of another call. Try returning it from call(), "
                "instead of keeping it in an attribute."
            )

    # ---------------------------------------------------------------- variables

    def place(self, variable: Any, trainable: bool = True) -> VariableSpec:
        """The position of a variable in the flat vectors, assigned on first use."""
        spec = self._specs.get(id(variable))
        if spec is None:
            is_param = variable.role == "param"
            vector = self.vectors[is_param]
            penalty, rule = variable.regularizer, variable.constraint
            shape = variable.shape
            l1, l2, other = (
                (0, 0, None) if penalty is None else penalty.terms_for(shape)
            )
            spec = VariableSpec(
                variable.name,
                shape,
                aligned(vector[-1].end) if vector else 0,
                trainable,
                l1,
                l2,
                None if rule is None else rule.formula_for(shape),
                other,
            )
            vector.append(spec)
            self._variables[is_param].append(variable)
            self._specs[id(variable)] = spec
        return spec

    def constant(self, array: np.ndarray) -> VariableSpec:
        """A buffer that holds a constant array of a formula."""
        spend(elements=np.size(array))
        array = np.asarray(array, precision.dtype)
        for spec, known in self.constants:
            if known.shape == array.shape and known.tobytes() == array.tobytes():
                return spec
        held = Constant(f"constant_{len(self.constants)}", array)
        spec = self.place(held, False)
        self.constants.append((spec, array))
        return spec

    @property
    def params(self) -> list[Any]:
        """The variables in the parameter vector, in order."""
        return self._variables[True]

    @property
    def buffers(self) -> list[Any]:
        return self._variables[False]

    # ---------------------------------------------------------------- states

    def kept(self, layer: Any, states: Any) -> Any:
        """The states of a layer left by the previous batch, or by the previous call of
        the layer.

        Args:
            states: variables with one row per sample of a batch, in any structure.
        """

        def read(variable: Any) -> Tensor:
            shape = variable.shape[1:]
            buffers = {"state": self.place(variable)}
            return self.op("states", [self.source()], shape, buffers=buffers)

        return self._kept.get(id(layer)) or replaced(states, read)

    def keep(
        self, layer: Any, variables: Any, states: Any
    ) -> Callable[[Tensor], Tensor]:
        """Keep states of a layer for the next batch. The returned function must be
        applied to each result of the layer."""
        self._kept[id(layer)] = states
        news = list(leaves(states))
        buffers = {f"state_{k}": self.place(v) for k, v in enumerate(leaves(variables))}
        return lambda y: self.op("keep_states", [y, *news], y.sample, buffers=buffers)

    # ---------------------------------------------------------------- layers

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """A context in which variables and random numbers become values of this
        graph."""
        before, Graph.current = Graph.current, self
        try:
            yield
        finally:
            Graph.current = before

    @contextmanager
    def within(self, layer: Any) -> Iterator[int]:
        """A context for a layer's call; yields its random stream."""
        number = self._streams.setdefault(id(layer), len(self._streams))
        call = self._calls.get(id(layer), 0)
        self._calls[id(layer)] = call + 1
        self._layers.append(layer)
        before_it, self.stream = self.stream, number + call * STREAM_OF_CALL
        try:
            with self.tracing():
                yield self.stream
        finally:
            self._layers.pop()
            self.stream = before_it

    def random(self, distribution: str, shape: Sequence[int | None], seed: Any) -> Any:
        """Random numbers, per sample if the first axis is None.

        Args:
            distribution: "uniform" in (0, 1), or "normal".
            seed: an integer, or None for the model's seed.
        """
        stream = self.next_stream()
        attrs = {"distribution": distribution, "stream": stream}
        if seed is not None:
            attrs |= {"stream": stream // STREAM_OF_DRAW, "seed": seed}
        batched = bool(shape) and shape[0] is None
        sample = tuple(size for size in tuple(shape)[batched:] if size is not None)
        if not batched:
            attrs["shared"] = True
        source = [self.source()]
        return self.op("random", source, sample, attrs=attrs, batched=batched)

    @contextmanager
    def named(self, layer: Any) -> Iterator[None]:
        """A context whose operations are named after the layer, without a call."""
        before, Graph.current = Graph.current, self
        self._layers.append(layer)
        try:
            yield
        finally:
            self._layers.pop()
            Graph.current = before

    def next_stream(self) -> int:
        """A new random stream for the layer being called."""
        draw = self._draws[self.stream] = self._draws.get(self.stream, 0) + 1
        if draw > MAX_DRAWS:
            raise ValueError(
                f"[{self._layers[-1].name if self._layers else 'random'}] at most "
                f"{MAX_DRAWS} kurve.random functions can be used in one call. "
                "Try one with a larger shape."
            )
        return self.stream + draw * STREAM_OF_DRAW

    def called(self, model: Any, training: Any, run: Callable[[], Any]) -> Any:
        """The outputs of a model; the outer model decides about `training`."""
        return run()

    def lowered(self, layer: Any, x: Tensor) -> Tensor:
        """Append the operations of a layer that has `lower`."""
        with self.within(layer) as stream:
            slots = {
                variable.name.rpartition("/")[2]: self.place(variable)
                for variable in layer.variables
            }
            return self.chain(layer.lower(x.sample, slots, stream), x)

    def chain(self, ops: Sequence[Op], x: Tensor) -> Tensor:
        """Append a chain of operations."""
        for op in ops:
            x = self.append_op(replace(op, inputs=(x.index,)), x.batched)
        return x

    def mark(self) -> Any:
        """The current state of the graph, for `back_to`."""
        return len(self.ops), dict(self._calls), len(self.losses), dict(self._kept)

    def back_to(self, mark: Any) -> None:
        """Remove the operations appended since a mark."""
        count, self._calls, losses, self._kept = mark
        del self.ops[count:], self.losses[losses:]
        del self.shapes[self.given + count :]

    @property
    def given(self) -> int:
        """The number of inputs and targets."""
        return len(self.input_shapes) + len(self.target_shapes)

    # ---------------------------------------------------------------- the plan

    def finish(
        self,
        outputs: Sequence[Tensor],
        rows: Sequence[Tensor | None] = (),
        penalized: bool = False,
        metrics: Sequence[Sequence[Tensor]] = (),
    ) -> Plan:
        """The plan that computes these values.

        Args:
            rows: for each output, the values of its loss, if operations compute it.
            metrics: for each output, its metrics that operations compute.
            penalized: whether the plan computes the losses added by layers.
        """
        return finished(self, outputs, rows, penalized, metrics)

    def refuse_batches(self, outputs: Sequence[Tensor]) -> None:
        """Refuse predictions of a sample that depend on the other samples."""
        outside = len(self.input_shapes) + len(self.target_shapes)
        needed = {tensor.index for tensor in outputs}
        for i in reversed(range(len(self.ops))):
            if outside + i in needed:
                op = self.ops[i]
                needed.update(op.inputs)
                if op.kind == "batch_reduce":
                    raise NeedsBatch(
                        f"[{op.layer}] a prediction must not depend on the other "
                        "samples of its batch. Received: a reduction over the batch "
                        "axis. Try axis=-1, or a reduction in a loss."
                    )


class Constant:
    """A constant array of a formula, stored in the buffer vector."""

    role = "constant"
    regularizer = constraint = None

    def __init__(self, name: str, value: np.ndarray) -> None:
        self.name, self.value, self.shape = name, value, value.shape
