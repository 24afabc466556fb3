"""Networks that run eagerly: formulas that move the batch axis, need values or assign
weights cannot be lowered to a plan of operations.

Such a network is a single operation, whose code runs layer by layer and function by
function, on the arrays of each batch; a tape computes the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from kurve.core.results import result
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.needs import NeedsArrays
from kurve.formulas.recording import active, recording
from kurve.formulas.trials import trial
from kurve.plan import Shape


class Piece(NamedTuple):
    """One result of the code: an output, the mask of an output, or a term of the loss.

    batched: whether it has a value for each sample
    """

    shape: Shape
    batched: bool = True

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Cache(NamedTuple):
    """The state that a forward pass saves for the backward pass."""

    tape: Any
    inputs: list[Any]
    values: list[Any]


class Code:
    """A network as the code of one operation, whose output is the concatenation of all
    pieces.

    run:       the outputs for arrays and whether it is training, and terms of the loss
    variables: by their roles in the operation
    dtypes:    of the inputs
    """

    def __init__(
        self,
        run: Callable[[list[Any]], tuple[list[Any], list[Any]]],
        variables: Mapping[str, Any],
        dtypes: Sequence[str],
    ) -> None:
        self.run, self.variables, self.dtypes = run, variables, dtypes
        self.pieces: list[Piece] = []

    def __repr__(self) -> str:
        return "Code()"

    def tried(
        self, samples: Sequence[Shape], only: int | None
    ) -> tuple[int, list[bool], bool]:
        """Find the pieces: the number of outputs, which of them have a mask, and
        whether there is a loss.

        Args:
            only: the required number of rows of a batch, if any.

        Raises:
            ValueError: an output has another number of rows than the input.
        """
        found = []
        sizes = (2, 3) if only is None else (only, only)
        for rows in sizes:
            zeros = [np.zeros((rows, *sample), np.float32) for sample in samples]
            with trial():
                outputs, losses = self.run(self._given(zeros))
            found.append([np.shape(y) for y in outputs])
        masks = [getattr(y, "_keras_mask", None) is not None for y in outputs]
        for two, three in zip(*found, strict=True):
            batched = (two[:1], three[:1]) == (sizes[:1], sizes[1:])
            batched = batched and two[1:] == three[1:]
            if not batched and two != three:
                raise ValueError(
                    "[Model] an output must have a row for each row of the inputs. "
                    f"Received: shapes {two} and {three} for 2 and 3 rows. Try "
                    "ops.reshape(y, (batch, ...)) at the end."
                )
            self.pieces.append(Piece(two[1:] if batched else two, batched))
        shapes = [piece.shape for piece in self.pieces]
        self.pieces += [
            Piece(shape[: np.ndim(y._keras_mask) - 1])
            for shape, y, there in zip(shapes, outputs, masks, strict=True)
            if there
        ]
        if losses:
            self.pieces.append(Piece((), False))
        return len(outputs), masks, bool(losses)

    def _given(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        """The inputs as values, of their types."""
        return [
            result(np.asarray(a, np.int32 if "int" in kind else np.float32))
            for a, kind in zip(arrays, self.dtypes, strict=True)
        ]

    # ---------------------------------------------------------------- the operation

    def forward(
        self, arrays: Sequence[np.ndarray], values: Mapping[str, Any], training: bool
    ) -> tuple[np.ndarray, Cache]:
        """The pieces of a batch, concatenated: (B, size)."""
        from kurve.gradients.tape import GradientTape

        given, rows = self._given(arrays), len(arrays[0])
        tape = GradientTape(persistent=True)
        for value in given:
            if value.dtype.kind == "f":
                tape.watch(value)
        before = active.training, Graph.current
        active.training, Graph.current = training, None
        try:
            with self._with(values), recording((tape,)):
                outputs, losses = self.run(given)
                total: list[Any] = []
                if losses:
                    total = [sum((ops.sum(term) for term in losses[1:]), losses[0])]
        finally:
            active.training, Graph.current = before
        masks = [
            m for y in outputs if (m := getattr(y, "_keras_mask", None)) is not None
        ]
        found = [*outputs, *masks, *total]
        if len(found) < len(self.pieces):  # a loss that only exists in training
            found += [np.zeros(())] * (len(self.pieces) - len(found))
        flat = []
        for piece, value in zip(self.pieces, found, strict=True):
            part = np.asarray(value, np.float32)
            if part.size != piece.size * (rows if piece.batched else 1):
                raise ValueError(
                    "[Model] an output must have the same shape in each batch. "
                    f"Received: {part.shape} for {rows} rows, and samples of shape "
                    f"{piece.shape} before. Try ops.reshape."
                )
            if not piece.batched:
                part = np.broadcast_to(part.ravel(), (rows, piece.size))
            flat.append(part.reshape(rows, piece.size))
        y = np.concatenate(flat, 1)
        return y, Cache(tape, given, [*outputs, *[None] * len(masks), *total])

    def backward(
        self, dy: np.ndarray, cache: Cache
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The gradients of the inputs, and of variables by their roles."""
        targets, slopes, first = [], [], 0
        for piece, value in zip(self.pieces, cache.values, strict=False):
            part = dy[:, first : first + piece.size]
            first += piece.size
            if getattr(value, "key", None) is None:
                continue  # it depends on nothing that has a gradient
            part = part if piece.batched else part.sum(axis=0)
            targets.append(value)
            slopes.append(part.reshape(value.shape))
        trained = {k: v for k, v in self.variables.items() if v.role == "param"}
        sources = [*cache.inputs, *trained.values()]
        with recording(()):
            found = cache.tape.gradient(targets, sources, slopes)
        dxs = [
            np.zeros(x.shape, dy.dtype) if dx is None else np.asarray(dx, dy.dtype)
            for x, dx in zip(cache.inputs, found, strict=False)
        ]
        dws = found[len(cache.inputs) :]
        pairs = zip(trained, dws, strict=True)
        return dxs, {k: np.asarray(dw, dy.dtype) for k, dw in pairs if dw is not None}

    @contextmanager
    def _with(self, values: Mapping[str, np.ndarray]) -> Iterator[None]:
        """A context in which the variables have other values, unless they are views of
        these already."""
        changed = []
        for role, value in values.items():
            variable = self.variables[role]
            own = variable.value
            if own is not value and not (
                np.may_share_memory(own, value) or np.array_equal(own, value)
            ):
                changed.append((variable, np.asarray(value, np.float32)))
        for variable, value in changed:
            variable.borrow(value)
        try:
            yield
        finally:
            for variable, _ in changed:
                variable.give_back()


def appended(network: Any, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of a network that runs eagerly, for tensors of a plan under
    construction."""
    graph = tensors[0].graph
    if active.step is not None:
        raise NeedsArrays("[function] the model needs arrays.")
    variables = list({id(v): v for v in network.variables}.values())
    params = {f"param_{i}": v for i, v in enumerate(variables) if v.role == "param"}
    buffers = {f"buffer_{i}": v for i, v in enumerate(variables) if v.role != "param"}
    code = Code(network.on_arrays, {**params, **buffers}, network.dtypes)
    count, masked, penalized = code.tried(
        [tensor.sample for tensor in tensors], network.written_rows
    )
    y = graph.op(
        "python",
        tensors,
        (sum(piece.size for piece in code.pieces),),
        {role: graph.place(v) for role, v in params.items()},
        {role: graph.place(v) for role, v in buffers.items()},
        {"code": code},
        batched=True,
    )
    found, first = [], 0
    for piece in code.pieces:
        part = y
        if len(code.pieces) > 1:
            attrs = {"starts": (first,), "sizes": (piece.size,), "steps": (1,)}
            part = graph.op("slice", [y], (piece.size,), attrs=attrs)
        part = graph.op("reshape", [part], piece.shape, batched=piece.batched)
        found.append(part)
        first += piece.size
    if penalized:
        term = found.pop()
        term.batched = True
        graph.losses.append(term)
    outputs, masks = found[:count], iter(found[count:])
    for output, there in zip(outputs, masked, strict=True):
        if there:
            output.mask = ops.cast(next(masks), "bool")
    return outputs
