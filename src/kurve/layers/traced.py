"""Custom layers stored as the operations they compute, so that files can hold them
without their code. `kurve.layers.tracing` writes these formulas.

A formula is plain data:

    inputs     the shapes of one sample of each tensor that the layer was called with
    weights    [name, shape, role, rules] of each variable of the layer, in their order;
               the rules, which may be missing, are its "regularizer", its "constraint"
               and "frozen", where a part of the layer is
    constants  arrays in the formula
    operations each with its kind, the numbers of the values that it reads, the shape of
               its result, its variables and its attributes; a loop also with its body:
               inputs, operations and outputs of a step
    outputs    numbers of values, in the structure that `call` returned
    losses     numbers of values that are added to the loss

Values are indexed as in a plan: inputs, then the result of each operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from kurve import constraints, initializers, regularizers
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.layers.base import Layer, Variable
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Instruction, Tape
from kurve.plan import Body, Op, Shape, VariableSpec
from kurve.plan.kinds import OPERATIONS

MAX_CONSTANTS = 20_000
"""Maximum number of elements in the constants of one formula."""

MAX_OPERATIONS = 20_000

MAX_UNROLLED = 1 << 22
"""Operations of all steps of the loops of one formula."""

MAX_TRIED = 1 << 22
"""Maximum number of elements in values and weights of a formula tried on reading."""


class Traced(Layer):
    """Base class of layers from a file whose own classes are not available. It computes
    the same outputs, for samples of the same shapes.

    Raises:
        ValueError: called with tensors of other shapes.
    """

    formulas: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The formula of each layer of this class, by the layer's name."""

    given: ClassVar[Any] = None
    """The class of the model whose call() this is, if known."""

    def __init__(self, formula: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        super().__init__(name=given.get("name"))
        if given.get("trainable") is False:
            self.trainable = False
        self._config = dict(given)
        self._formula = _Formula(formula)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer with that name in the file."""
        name = str(config.get("name"))
        if name not in cls.formulas:
            raise ValueError(
                f"[from_config] the layer {name!r} is of the class {cls.__name__}, "
                "which must be passed in custom_objects. Received: no such class. "
                f"Try custom_objects={{{cls.__name__!r}: {cls.__name__}}}."
            )
        layer = cls(cls.formulas[name], config)
        if layer._formula.size <= MAX_TRIED:
            zeros = [np.zeros((1, *s), np.float32) for s in layer._formula.inputs]
            try:
                cls(cls.formulas[name], {"name": name})(*zeros)
            except Exception as error:
                raise ValueError(
                    "its operations do not fit together "
                    f"({type(error).__name__}: {error})"
                ) from error
        return layer

    def get_config(self) -> dict[str, Any]:
        return {**self._config, "name": self.name, "trainable": self.trainable}

    def build(self, input_shape: Any) -> None:
        """Create the variables listed in the file."""
        for name, shape, role, rules in self._formula.weights:
            variable = Variable(
                name,
                shape,
                initializers.Zeros(),
                role,
                regularizers.get(rules.get("regularizer")),
                constraints.get(rules.get("constraint")),
            )
            variable.frozen = rules.get("frozen", False)
            self._variables.append(variable)

    @property
    def own_variables(self) -> list[Variable]:
        """The variables in file order."""
        return list(self._variables)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the operations from the file to the tensors among the arguments."""
        graph = Graph.current
        tensors = [t for t in leaves((args, kwargs)) if isinstance(t, Tensor)]
        assert graph is not None
        return self._formula.run(graph, tensors, self._variables, self.name)


def class_of(name: str, formulas: Mapping[str, Any], given: Any = None) -> type[Traced]:
    """A substitute for a custom layer class in a file.

    Args:
        given: the class itself, for a model whose call() is the layer.
    """
    members = {"formulas": formulas, "given": given, "__module__": "file"}
    return type(name, (Traced,), members)


class _Operation(NamedTuple):
    """An operation of a file, without its place in a plan.

    params, buffers: numbers of its variables, by their roles
    inner:           of a loop, the operations of a step
    """

    op: Op
    params: dict[str, int]
    buffers: dict[str, int]
    inner: Sequence[_Operation] = ()

    @property
    def unrolled(self) -> int:
        """How many operations all steps of its loops have."""
        if not self.inner:
            return 0
        own = sum(one.unrolled or 1 for one in self.inner)
        return int(self.op.attrs["turns"]) * own

    @property
    def size(self) -> int:
        """The elements of its values, those of all steps."""
        inner = sum(one.size for one in self.inner)
        return (
            math.prod(self.op.out_shape)
            + int(self.op.attrs["turns"] if self.inner else 0) * inner
        )

    def placed(
        self,
        shapes: Sequence[Shape],
        spec: Callable[[int], VariableSpec],
        stream: Callable[[Any], int],
    ) -> Op:
        """The operation of a plan that reads values of these shapes.

        Args:
            spec: the place of a variable, by its number.
            stream: a random stream, by its number in the file.
        """
        attrs, body = dict(self.op.attrs), self.op.body
        if "stream" in attrs and "seed" not in attrs:
            attrs["stream"] = stream(attrs["stream"])
        if body is not None:
            values, made = list(body.inputs), []
            for one in self.inner:
                read = [values[v] for v in one.op.inputs]
                made.append(one.placed(read, spec, stream))
                values.append(one.op.out_shape)
            body = replace(body, ops=tuple(made))
        return replace(
            self.op,
            in_shape=shapes[0],
            more_shapes=tuple(shapes[1:]),
            params={role: spec(number) for role, number in self.params.items()},
            buffers={role: spec(number) for role, number in self.buffers.items()},
            attrs=attrs,
            body=body,
        )


class _Formula:
    """A formula read from a file and checked."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        _expect(
            given,
            {"inputs", "weights", "constants", "operations", "outputs", "losses"},
        )
        self.inputs = [_shape(s) for s in _list(given["inputs"])]
        self.weights: list[tuple[str, Shape, str, dict[str, Any]]] = []
        for name, shape, role, *more in map(_list, _list(given["weights"])):
            if not isinstance(name, str) or str(role) not in (
                "param",
                "statistic",
                "buffer",
                "constant",
            ):
                raise ValueError(f"invalid weight: {name!r}, {role!r}")
            self.weights.append((name, _shape(shape), role, _rules(more)))
        self.constants: list[np.ndarray] = []
        for shape, numbers in map(_list, _list(given["constants"])):
            size = math.prod(_shape(shape))
            if size > MAX_CONSTANTS or len(_list(numbers)) != size:
                raise ValueError("a constant has the wrong number of elements")
            array = np.array(numbers, np.float32).reshape(_shape(shape))
            self.constants.append(array)
        operations = _list(given["operations"])
        if len(operations) > MAX_OPERATIONS:
            raise ValueError(f"more than {MAX_OPERATIONS} operations")
        known = len(self.inputs)
        self.operations = [
            self._operation(entry, known + i) for i, entry in enumerate(operations)
        ]
        if sum(one.unrolled for one in self.operations) > MAX_UNROLLED:
            raise ValueError(
                f"more than {MAX_UNROLLED} operations in the steps of loops"
            )
        last = known + len(operations)
        self.outputs, self.losses = given["outputs"], _list(given["losses"])
        for number in (*leaves(self.outputs), *self.losses):
            if type(number) is not int or not 0 <= number < last:
                raise ValueError(f"there is no value {number!r}")

    @property
    def size(self) -> int:
        """Number of elements of all weights and of all values of one sample."""
        shapes = [*self.inputs, *(shape for _, shape, *_ in self.weights)]
        return sum(map(math.prod, shapes)) + sum(one.size for one in self.operations)

    def _operation(self, entry: Any, last: int) -> _Operation:
        keys = {"kind", "reads", "shape", "params", "buffers", "attrs", "tape"}
        loops = isinstance(entry, dict) and entry.get("kind") == "scan"
        _expect(entry, keys | {"body"} if loops else keys)
        kind, attrs = entry["kind"], entry["attrs"]
        if not isinstance(kind, str) or kind not in OPERATIONS:
            raise ValueError(f"there is no operation {kind!r}")
        reads = tuple(_list(entry["reads"]))
        if not reads or not all(type(r) is int and 0 <= r < last for r in reads):
            raise ValueError(f"{kind} reads a value that is not computed before it")
        if not isinstance(attrs, dict) or not all(map(_is_attr, attrs.values())):
            raise ValueError(f"{kind} has invalid attributes")
        attrs = {k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items()}
        for role, limit in (("params", 0), ("buffers", len(self.constants))):
            places = entry[role]
            if not isinstance(places, dict) or not all(
                type(n) is int and -limit <= n < len(self.weights)
                for n in places.values()
            ):
                raise ValueError(f"{kind} uses an unknown variable")
        tape = None if entry["tape"] is None else _tape(entry["tape"])
        op = Op(
            kind, "", (), _shape(entry["shape"]), attrs=attrs, tape=tape, inputs=reads
        )
        params, buffers = dict(entry["params"]), dict(entry["buffers"])
        if not loops:
            return _Operation(op, params, buffers)
        body = entry["body"]
        _expect(body, {"inputs", "operations", "outputs"})
        inputs = tuple(_shape(shape) for shape in _list(body["inputs"]))
        inner = [
            self._operation(one, len(inputs) + i)
            for i, one in enumerate(_list(body["operations"]))
        ]
        outputs = tuple(_list(body["outputs"]))
        if len(inner) > MAX_OPERATIONS or not all(
            type(n) is int and len(inputs) <= n < len(inputs) + len(inner)
            for n in outputs
        ):
            raise ValueError("a loop gives what its steps do not compute")
        if type(attrs.get("turns")) is not int or attrs["turns"] < 1:
            raise ValueError("a loop must have steps")
        op = replace(op, body=Body(inputs, (), outputs))
        return _Operation(op, params, buffers, inner)

    def run(
        self,
        graph: Graph,
        tensors: Sequence[Tensor],
        variables: Sequence[Variable],
        name: str,
    ) -> Any:
        """Compute the outputs for these tensors."""
        samples = [tensor.sample for tensor in tensors]
        if samples != self.inputs:
            raise ValueError(
                f"[{name}] its formula, from a file, is for samples of shape "
                f"{self.inputs}. Received: {samples}. Try custom_objects with its "
                "class."
            )

        def spec(number: int) -> VariableSpec:
            if number < 0:
                return graph.constant(self.constants[-1 - number])
            return graph.place(variables[number])

        values = list(tensors)
        streams: dict[Any, int] = {}

        def stream(old: Any) -> int:
            if old not in streams:
                streams[old] = graph.next_stream()
            return streams[old]

        for one in self.operations:
            read = [values[i] for i in one.op.inputs]
            op = one.placed([tensor.sample for tensor in read], spec, stream)
            numbers = tuple(tensor.index for tensor in read)
            values.append(graph.append_op(replace(op, layer=name, inputs=numbers)))
        graph.losses += [values[number] for number in self.losses]
        return replaced(self.outputs, lambda number: values[number])


def _expect(given: Any, keys: set[str]) -> None:
    if not isinstance(given, dict) or set(given) != keys:
        raise ValueError(f"it must have {', '.join(sorted(keys))}, and nothing else")


def _list(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"it must be a list. Received: {str(value)[:60]}")
    return value


def _rules(more: list[Any]) -> dict[str, Any]:
    """The optional rules of a weight."""
    rules = more[0] if len(more) == 1 else {} if not more else None
    known = {"regularizer", "constraint", "frozen"}
    if not isinstance(rules, dict) or not set(rules) <= known:
        raise ValueError(f"invalid rules of a weight: {str(more)[:60]}")
    if rules.get("frozen", True) is not True:
        raise ValueError("frozen must be true if present")
    for key, kind in (("regularizer", regularizers), ("constraint", constraints)):
        if key in rules:
            kind.deserialize(rules[key])
    return rules


def _shape(value: Any) -> Shape:
    sizes = tuple(_list(value))
    if len(sizes) > 16 or not all(type(n) is int and 0 < n < 2**48 for n in sizes):
        raise ValueError(f"it must be a shape. Received: {str(value)[:60]}")
    return sizes


def _is_attr(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(n) is int for n in value)
    return isinstance(value, (bool, int, float, str))


def _tape(given: Any) -> Tape:
    inputs, code, outputs = _list(given)
    steps = tuple(
        Instruction(str(name), tuple(_list(arguments)), float(value))
        for name, arguments, value in map(_list, _list(code))
    )
    numbers = (inputs, *_list(outputs), *(a for step in steps for a in step.arguments))
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tape must refer to registers by number")
    tape = Tape(inputs, steps, tuple(outputs))
    return tape.checked({name: rule.arity for name, rule in RULES.items()})
