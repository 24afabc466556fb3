"""Plans as JSON, which the engine reads where there is no Python (cpp/plan_json.cpp):
in a browser, and in the C library (`kurve.exchange.plan_files`)."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

from kurve.engines import lowering
from kurve.plan import Plan


def plan_json(plan: Plan) -> str:
    """The plan, lowered as for the native engine.

    The members are the arguments of the constructors and methods of `kurve._core`.
    """
    program = lowering.program(plan.with_penalty_as_head(), sys.modules[__name__])
    return json.dumps(in_json(program), separators=(",", ":"), allow_nan=False)


def in_json(value: Any) -> Any:
    """A value of dicts, lists and tuples, with {"number": "inf"}, "-inf" and "nan" in
    place of the numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: in_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [in_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(float(value))}
    return value


def _recorder(*names: str) -> Callable[..., dict[str, Any]]:
    def record(*arguments: Any, **named: Any) -> dict[str, Any]:
        first = names[: len(names) - len(named)]
        return dict(zip(first, arguments, strict=True)) | named

    return record


Spec = _recorder("kind", "attrs")
Tape = _recorder("inputs", "code", "outputs")
Update = _recorder("decays", "rule", "after")
Rule = _recorder("formula", "slots")
Metric = _recorder("kind", "attrs", "size", "weighted", "rows", "of_batch")
Head = _recorder(
    "value", "shape", "loss", "metrics", "weight", "rows", "reduction", "name"
)
Program = _recorder(
    "inputs",
    "ops",
    "params",
    "buffers",
    "heads",
    "optimizer",
    "targets",
    "updates",
    "slots",
    "every",
    "separable",
)


class VariableSpec(dict[str, Any]):
    def __init__(self, *arguments: Any) -> None:
        names = ("name", "shape", "offset", "trainable", "l1", "l2")
        super().__init__(zip(names, arguments, strict=True))

    def set_penalty(self, formula: Any) -> None:
        self["penalty"] = formula


class Op(dict[str, Any]):
    def __init__(self, *arguments: Any) -> None:
        names = ("kind", "layer", "in_shape", "out_shape", "params", "buffers", "attrs")
        super().__init__(zip(names, arguments, strict=True))

    def set_inputs(self, inputs: list[int], more_shapes: list[list[int]]) -> None:
        self.update(inputs=inputs, more_shapes=more_shapes)

    def set_tape(
        self,
        tape: Any,
        gradient: Any,
        operands: list[int],
        constants: list[int],
        wanted: list[int],
    ) -> None:
        self.update(tape=tape, gradient=gradient, operands=operands)
        self.update(constants=constants, wanted=wanted)

    def set_body(
        self, inputs: list[list[int]], ops: list[Any], outputs: list[int]
    ) -> None:
        self["body"] = {"inputs": inputs, "ops": ops, "outputs": outputs}


class Formula(dict[str, Any]):
    def __init__(self, inputs: list[list[int]]) -> None:
        super().__init__(inputs=inputs, steps=[])

    def _step(self, kind: str, arguments: list[int], **more: Any) -> None:
        self["steps"].append({"kind": kind, "arguments": arguments, **more})

    def number(self, name: str, arguments: list[int], value: float) -> None:
        self._step("number", arguments, name=name, value=value)

    def tape(self, arguments: list[int], code: Any, shape: list[int]) -> None:
        self._step("tape", arguments, code=code, shape=shape)

    def sum(self, of: int, axes: list[int], shape: list[int]) -> None:
        self._step("sum", [of], options=axes, shape=shape)

    def matmul(self, of: list[int], transposed: list[int], shape: list[int]) -> None:
        self._step("matmul", of, options=transposed, shape=shape)

    def reshape(self, of: int, shape: list[int]) -> None:
        self._step("reshape", [of], shape=shape)

    def finish(self, outputs: list[int]) -> None:
        self["outputs"] = outputs
