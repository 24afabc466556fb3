"""`model.export("m.plan.kurve")`: a model for the C library of `include/kurve.h`.

A file of `kurve.core.container` with the plan itself, ready for the native engine,
instead of layers: the work that Python does when it loads the layers of a model is
already done.

kind      "plan"
version   of this format, 1
inputs    [{name, shape}]
outputs   [{name, shape, value}], see `kurve.plan.Head`
ops       see `kurve.engines.plan_json`
params    [{name, shape, trainable, array}], in the order of their index
buffers   the same
seed      of random numbers, as text, because it may need 64 bits; and
step      the count of steps

params/I, buffers/I   float32, the arrays of all params, then of all buffers
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kurve.core.container.writing import write
from kurve.core.inside import network_of
from kurve.engines import lowering, plan_json
from kurve.engines.reference.common import view
from kurve.models import Model
from kurve.plan import Op, VariableSpec

VERSION = 1


def write_plan(model: Any, path: str | os.PathLike[str]) -> None:
    """Write the plan of a built model.

    Raises:
        RuntimeError: the model is not built.
        TypeError: not a model; an estimator or an ensemble.
        ValueError: layers that read strings, keep states between calls or run Python,
            or weights that are not finite.
    """
    if not isinstance(model, Model):
        raise TypeError(
            "[export] only a model can be written as a plan, because the work of an "
            "estimator or an ensemble around its networks is Python's. "
            f"Received: {model!r} of type {type(model).__name__}. "
            "Try export('model.c') or export('model.onnx'), which include it."
        )
    network = network_of(model)
    plan, state = network.require_built("export")
    if network.encodes:
        raise ValueError(
            "[export] layers that read strings cannot be written as a plan. Received: "
            f"{model!r}. Try exporting the model after them, on the numbers that these "
            "layers return."
        )
    for op in (plan := plan.predicting()).ops:
        _check(op)
    arrays: dict[str, np.ndarray] = {}
    variables = {
        part: [
            _variable(spec, f"{part}/{i}", view(vector, spec), arrays)
            for i, spec in enumerate(specs)
        ]
        for part, specs, vector in (
            ("params", plan.params, state.params),
            ("buffers", plan.buffers, state.buffers),
        )
    }
    inputs = zip(model.input_names, plan.inputs, strict=True)
    outputs = zip(model.output_names, plan.heads, strict=True)
    info = {
        "kind": "plan",
        "version": VERSION,
        "inputs": [
            {"name": name or "input", "shape": list(shape)} for name, shape in inputs
        ],
        "outputs": [
            {"name": name, "shape": list(head.shape), "value": head.value}
            for name, head in outputs
        ],
        "ops": plan_json.in_json(lowering.program(plan, plan_json)["ops"]),
        **variables,
        "seed": str(network.seed),
        "step": state.step,
    }
    write(path, info, arrays)


def _variable(
    spec: VariableSpec, array: str, value: np.ndarray, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    if not np.isfinite(value).all():
        raise ValueError(
            "[export] all weights must be finite. Received: NaN or infinity in "
            f"{spec.name!r}. Try training again with a smaller learning rate."
        )
    arrays[array] = np.array(value, np.float32)
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "trainable": spec.trainable,
        "array": array,
    }


def _check(op: Op) -> None:
    what = {"python": "run Python", "keep_states": "keep states between calls"}
    if op.kind in what:
        raise ValueError(
            f"[export] layers that {what[op.kind]} cannot be written as a plan. "
            f"Received: {op.layer!r}. Try a model without it."
        )
    for own in op.body.ops if op.body else ():
        _check(own)
