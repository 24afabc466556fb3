"""A step of a user's loop as a graph: what it computes and what it changes.

The step runs once on tensors without values. Functions, layers, models and losses
append operations; `tape.gradient` returns tensors that stand for gradients;
`optimizer.apply` and metrics are recorded with their arguments. `stages` turns all of
this into programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor, is_variable
from kurve.formulas.recording import active
from kurve.formulas.tensor import leaves
from kurve.gradients.formulas import RULES_OF_OPS
from kurve.metrics import Mean
from kurve.plan import Op, Shape
from kurve.plan.kinds import OPERATIONS
from kurve.training.tracing.order import CAPTURED
from kurve.training.tracing.outside import Outside

MEAN = vars(Mean)["update_state"].__wrapped__
"""`Mean.update_state`, as metrics that are subclasses call it."""


class Untraceable(Exception):
    """A step that engines cannot run as a whole, so it runs uncompiled."""


class Rows(int):
    """The number of rows of a batch: an integer in arithmetic, and None, the unchanged
    batch axis, for functions that receive it in a shape."""

    def __eq__(self, other: object) -> bool:
        return other is None or int(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


class Gradient(Tensor):
    """The gradient of a target with respect to a variable. Unless something computes
    with it, it needs no operation: the engine's backward pass provides it.

    targets: what is differentiated (the sum of all elements)
    spans:   ranges of operations that the tape watched, as first and last index
    """

    def __init__(
        self,
        graph: StepGraph,
        targets: tuple[Tensor, ...],
        variable: Any,
        spans: tuple[tuple[int, int], ...],
    ) -> None:
        self.graph, self.targets, self.variable = graph, targets, variable
        self.sample, self.batched, self.dtype = variable.shape, False, "float32"
        self.spans, self._index = spans, -1

    @property
    def index(self) -> int:  # type: ignore[override]
        if self._index < 0:
            graph: Any = self.graph
            (found,) = graph.chain_rule(self.targets, [self.variable], self.spans)
            self._index = found.index
        return self._index


@dataclass
class Update:
    """A call of `optimizer.apply`.

    loss: the differentiated loss
    spans: those of the tape, or None if the loss was made for this update
    before: number of earlier operations
    """

    optimizer: Any
    variables: list[Any]
    loss: tuple[Tensor, ...]
    spans: tuple[tuple[int, int], ...] | None
    before: int


@dataclass
class MetricCall:
    """A call of a method of a metric or of one of its variables.

    function: the function itself, if it is not the method of that name, but one that
              the metric's own `update_state` calls by `super()`
    """

    metric: Any
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    function: Callable[..., Any] | None = None

    def run(self, args: Any, kwargs: Any) -> Any:
        """Call it with values."""
        if self.function is not None:
            return self.function(self.metric, *args, **kwargs)
        return getattr(self.metric, self.method)(*args, **kwargs)


class Result:
    """Placeholder for the result of a metric method once the step has run."""

    def __init__(self, call: MetricCall) -> None:
        self.call = call

    def numpy(self) -> Any:
        raise Untraceable("the step reads a metric's value")

    __float__ = __bool__ = __array__ = __int__ = numpy


class StepGraph(Graph):
    """The graph of a step.

    rows, count: of the batch
    arrays:  functions that produce captured arrays, in order of their values
    updates: in order
    calls:   metric calls, in order
    tensors: results of operations, by index
    models:  models that were called
    outsides: the values that metrics in the step read besides their arguments
    """

    def __init__(self, rows: int, inputs: Sequence[Shape]) -> None:
        super().__init__(inputs)
        self.rows, self.count = Rows(rows), rows
        self.arrays: dict[int, Callable[[], Any]] = {}
        self.updates: list[Update] = []
        self.calls: list[MetricCall] = []
        self.tensors: dict[int, Tensor] = {}
        self.models: list[Any] = []
        self.outsides: list[tuple[Outside, Any]] = []
        self._kept: dict[int, tuple[Any, Tensor]] = {}
        self._counting: list[Any] = []
        self._times: list[int] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        """A context in which the step runs."""
        active.step = self
        try:
            with self.tracing():
                yield
        finally:
            active.step = None

    def content(self, out: Any) -> tuple[Any, ...]:
        """Everything that a program of the step depends on, for comparison with another
        trace: operations, numbers, updates, metrics and results."""

        def known(structure: Any) -> list[Any]:
            return [self._told(leaf) for leaf in leaves(structure)]

        return (
            [repr(op) for op in self.ops],
            [self._told(array) for _, array in self.constants],
            [self._told(array) for array, _ in self._kept.values()],
            [
                (id(u.optimizer), [*map(id, u.variables)], known(u.loss), u.before)
                for u in self.updates
            ],
            [(id(c.metric), c.method, known((c.args, c.kwargs))) for c in self.calls],
            known(out),
        )

    def _told(self, leaf: Any) -> Any:
        """A value of the step in comparable form."""
        if isinstance(leaf, Tensor):
            return "value", leaf.index
        if isinstance(leaf, Gradient):
            return "gradient", id(leaf.variable), [t.index for t in leaf.targets]
        if isinstance(leaf, Result):
            return "metric", id(leaf.call.metric)
        if isinstance(leaf, np.ndarray):
            data = np.ascontiguousarray(leaf)
            return data.shape, hashlib.blake2b(data.tobytes()).digest()
        return repr(leaf)

    # ---------------------------------------------------------------- values

    def append_op(self, op: Op, batched: bool = True, dtype: str = "float32") -> Tensor:
        own_way = op.kind != CAPTURED and (op.acts_in_training or op.kind == "random")
        if own_way and self.training is None:
            raise Untraceable(
                f"the layer {op.layer!r} is called outside of a model, and behaves "
                "differently in training"
            )
        tensor = super().append_op(op, batched, dtype)
        self.tensors[tensor.index] = tensor
        return tensor

    def captured(
        self, make: Callable[[], Any], shape: Shape, dtype: str = "float32"
    ) -> Tensor:
        """An array that is created or looked up each time the step runs."""
        batched = bool(shape) and self.rows == shape[0]
        sample = tuple(shape[1:]) if batched else tuple(shape)
        x = self.source()
        op = Op(CAPTURED, CAPTURED, x.sample, sample, inputs=(x.index,))
        tensor = self.append_op(op, batched, dtype)
        self.arrays[tensor.index] = make
        return tensor

    def _array(self, operand: Any) -> Any:
        """An operand; an array with one row per sample becomes a placeholder."""
        if not isinstance(operand, np.ndarray) or not operand.ndim:
            return operand
        if self.rows == 1 or len(operand) != self.count:
            return operand
        if id(operand) not in self._kept:
            kind = "bool" if operand.dtype.kind == "b" else "float32"
            tensor = self.captured(lambda: operand, operand.shape, kind)
            self._kept[id(operand)] = operand, tensor
        return self._kept[id(operand)][1]

    def as_tensor(self, operand: Any) -> Tensor:
        return super().as_tensor(self._array(operand))

    def map(self, operands: Sequence[Any], *args: Any, **kwargs: Any) -> Tensor:
        return super().map([self._array(o) for o in operands], *args, **kwargs)

    def called(self, model: Any, training: Any, run: Callable[[], Any]) -> Any:
        """The outputs of a model whose layers run in training or inference mode in this
        call."""
        if model._network.plan is None:
            raise Untraceable("the model is not built")
        self.models.append(model)
        before, self.training = self.training, True
        first = len(self.ops)
        losses = len(self.losses)
        try:
            out = run()
        finally:
            self.training = before
        for i in range(first, len(self.ops)):
            op = self.ops[i]
            if not training and op.kind in OPERATIONS:
                self.ops[i] = op.predicting()
        model._losses = [ops.mean(term) for term in self.losses[losses:]]
        for part in model.parts:
            part._losses = []
        return out

    # ---------------------------------------------------------------- effects

    def update(
        self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]
    ) -> None:
        """Record a call of `optimizer.apply`."""
        pairs = [
            (g, v) for g, v in zip(gradients, variables, strict=True) if g is not None
        ]
        if not pairs:
            raise Untraceable("no variable has a gradient")
        chosen = [v for _, v in pairs]
        first = pairs[0][0]
        same = all(
            isinstance(g, Gradient)
            and g.variable is v
            and g.targets == first.targets
            and g.spans == first.spans
            for g, v in pairs
        )
        if same:
            loss, spans = first.targets, first.spans
        else:
            terms = [ops.sum(ops.stop_gradient(g) * v) for g, v in pairs]
            loss, spans = tuple(terms), None
        update = Update(optimizer, chosen, loss, spans, len(self.ops))
        self.updates.append(update)

    def metric_call(
        self, metric: Any, method: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Record a call of a metric's method."""
        name = method.__name__
        if name == "reset_state":
            raise Untraceable("a metric is reset in the step")
        inner = metric in self._counting
        is_own = name == "update_state" and metric.counts_itself and not inner
        if is_own and self._counted(metric, args, kwargs):
            return None
        if not kwargs and len(args) == 1:
            args, kwargs = self._as_mean(method, args[0])
        call = MetricCall(metric, name, args, kwargs, method if inner else None)
        self.calls.append(call)
        return Result(call) if name == "result" else None

    def _counted(self, metric: Any, args: Any, kwargs: Any) -> bool:
        """Record what a metric's own `update_state` does, if it only adds numbers that
        the step computes to variables, or calls other metrics."""
        outside, kept = Outside(metric.update_state), self._copied()
        before = outside.state()
        self._counting.append(metric)
        try:
            metric.update_state.__func__.__wrapped__(metric, *args, **kwargs)
            fits = not outside.prints and not outside.state().differs(before)
        except Exception:  # it needs values, which it gets in each step
            fits = False
        finally:
            self._counting.remove(metric)
        if fits:
            self.outsides.append((outside, outside.now()))
        else:
            outside.restore(before)
            vars(self).update(kept)
        return fits

    def _copied(self) -> dict[str, Any]:
        """The contents of the graph, to go back to."""
        found: dict[str, Any] = {
            name: value.copy()
            for name, value in vars(self).items()
            if isinstance(value, (list, dict)) and name != "_counting"
        }
        for name in ("vectors", "_variables"):
            found[name] = {key: list(part) for key, part in found[name].items()}
        return found

    def metric_added(self, variable: Any, value: Any) -> None:
        """Record an addition to a variable of a metric."""
        if isinstance(value, Tensor):
            if value.batched or variable.shape != () or value.sample != ():
                raise Untraceable("a metric adds more than one number")
        elif np.shape(value) not in ((), variable.shape):
            raise Untraceable("a metric adds another shape than its variable has")
        self.calls.append(MetricCall(variable, "assign_add", (value,), {}))

    def _as_mean(self, method: Any, values: Any) -> tuple[Any, Any]:
        """The arguments of `Mean.update_state`: values of rows as one mean."""
        if method is not MEAN or not isinstance(values, Tensor) or not values.batched:
            return (values,), {}
        return (ops.mean(values),), {"sample_weight": float(self.count)}

    # ---------------------------------------------------------------- gradients

    def gradients(self, targets: Any, sources: Any, spans: Any) -> list[Any]:
        """Placeholders for the gradient of the targets with respect to each source;
        None if they do not depend on it."""
        tensors = tuple(t for t in leaves(targets) if isinstance(t, Tensor))
        if not tensors:
            return [None] * len(sources)
        reached = self._ancestors(tensors, spans)
        specs = {
            spec
            for i in reached
            if i >= self.given
            for spec in self.ops[i - self.given].params.values()
        }
        by_spec = dict(zip(self.vectors[True], self._variables[True], strict=True))
        used = {id(by_spec[spec]) for spec in specs}
        found: list[Any] = []
        wanted = []
        for source in sources:
            if is_variable(source):
                there = id(source) in used
                found.append(Gradient(self, tensors, source, spans) if there else None)
                continue
            there = source.index in reached or any(
                source.index == t.index for t in tensors
            )
            found.append(source if there else None)
            wanted += [source] if there else []
        gradients = iter(self.chain_rule(tensors, wanted, spans) if wanted else ())
        return [
            next(gradients) if f is not None and not isinstance(f, Gradient) else f
            for f in found
        ]

    def _ancestors(
        self, tensors: Sequence[Tensor], spans: Sequence[tuple[int, int]]
    ) -> set[int]:
        """The values that a tape watches, going back from the targets."""
        reached = set()
        wanted = {t.index for t in tensors}
        for i in reversed(range(len(self.ops))):
            value = self.given + i
            if value in wanted and any(a <= i < b for a, b in spans):
                reached.add(value)
                wanted.update(self.ops[i].inputs)
        return reached | wanted

    def chain_rule(
        self,
        targets: Sequence[Tensor],
        sources: Sequence[Any],
        spans: Sequence[tuple[int, int]],
    ) -> list[Tensor]:
        """The gradients as values of this graph, by the chain rule of each operation.

        A value without a batch axis is the same in each row: its gradient, too, is the
        sum over rows.
        """
        count = len(self.ops)
        gradients: dict[int, Tensor] = {}
        for target in targets:
            one = ops.ones_like(target)
            one.batched = True
            if not target.batched:
                one = one / float(self.count)
            gradients[target.index] = _added(gradients.get(target.index), one)
        place = {id(v): self.place(v) for v in sources if is_variable(v)}
        names = {place[id(v)]: v for v in sources if is_variable(v)}
        of_variables: dict[int, Tensor] = {}
        stops = {s.index for s in sources if isinstance(s, Tensor)}
        known: dict[int, Tensor] = {}
        reached = self._descendants(count, stops, set(names))
        for i in reversed(range(count)):
            here, op = self.given + i, self.ops[i]
            if here not in gradients or here not in reached:
                continue
            if here in stops:
                known[here] = gradients[here]
            dy = gradients.pop(here)
            if not any(a <= i < b for a, b in spans):
                continue
            xs = [Tensor(self, v, self.shapes[v]) for v in op.inputs]
            y = Tensor(self, here, op.out_shape)
            if op.kind not in RULES_OF_OPS:
                raise Untraceable(f"{op.kind!r} has no gradient formula")
            dxs, parts = RULES_OF_OPS[op.kind](op, xs, y, dy)
            for v, dx in zip(op.inputs, dxs, strict=True):
                if dx is not None and (v in reached or v in stops):
                    gradients[v] = _added(gradients.get(v), dx)
            for role, part in parts.items():
                if op.params[role] in names:
                    if part is None:
                        raise Untraceable(f"{op.kind!r} has no second derivative")
                    variable = id(names[op.params[role]])
                    of_variables[variable] = _added(of_variables.get(variable), part())
        known.update({v: dy for v, dy in gradients.items() if v in stops})
        found = []
        for source in sources:
            if is_variable(source):
                gradient = of_variables[id(source)]
                batched = False
            else:
                gradient, batched = known[source.index], source.batched
                if not batched:
                    gradient = self.op(
                        "batch_reduce",
                        [gradient],
                        gradient.sample,
                        attrs={"mode": "sum"},
                    )
            found.append(Tensor(self, gradient.index, gradient.sample, batched))
        return found

    def _descendants(self, count: int, stops: set[int], specs: set[Any]) -> set[int]:
        """The values that depend on the sources."""
        reached = set(stops)
        for i in range(count):
            op = self.ops[i]
            if reached.intersection(op.inputs) or specs.intersection(
                op.params.values()
            ):
                reached.add(self.given + i)
        return reached


def _added(old: Tensor | None, new: Tensor) -> Tensor:
    return new if old is None else old + new
