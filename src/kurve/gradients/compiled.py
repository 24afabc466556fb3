"""Models run by an engine, as segments of a computation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.engines import Batches, Engine, Program, State
from kurve.engines.reference import forward
from kurve.gradients.second import gradients_of_inputs
from kurve.gradients.segments import Segment
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape
from kurve.plan import Head, Op, Plan, Spec


class CompiledSegment(Segment):
    """A model that an engine has run. The engine also computes the gradients of the
    weights, and, with a plan for the chain rule, those of the inputs; if an operation
    has no such rule, the reference engine runs the model again.

    Args:
        engine: that has run it.
        compiled: the model's program, see `with_output_gradients`.
    """

    def __init__(
        self,
        engine: Engine,
        compiled: Program,
        plan: Plan,
        params: Sequence[Any],
        buffers: Sequence[Any],
        state: State,
        arrays: Sequence[np.ndarray],
        training: bool,
    ) -> None:
        self.plan, self.params, self.buffers = plan, params, buffers
        self.state, self.training, self.whole = state, training, False
        self.arrays, self.caches = list(arrays), []
        self.engine = engine
        self.program = self.compiled = compiled
        self.keys, self.outputs, self.singles, self.shapes = [], [], {}, {}
        x: Any = tuple(arrays) if len(arrays) > 1 else arrays[0]
        found: Any = compiled.predict(state, x)
        found = found if len(compiled.plan.heads) > 1 else (found,)
        # The compiled plan may omit operations, so its indices can differ.
        self.numbers = [head.value for head in plan.heads]
        self.numbers += [] if plan.penalty is None else [plan.penalty]
        self.values: Any = dict(zip(self.numbers, found, strict=True))

    def backward(
        self, gradients: dict[int, Any], wanted: Collection[Any] = ()
    ) -> tuple[list[tuple[int, np.ndarray]], list[tuple[Any, np.ndarray]]]:
        """As that of `Segment`."""
        if self.inside(wanted):
            return self._by_reference(gradients, wanted)
        arrays: list[tuple[int, np.ndarray]] = []
        if any(key is not None for key in self.keys):
            try:
                arrays = gradients_of_inputs(self, self.engine, gradients)
            except (KeyError, NotImplementedError):
                return self._by_reference(gradients)
        plan, seeds, rows = (
            self.program.plan,
            self.seeds(gradients),
            len(self.arrays[0]),
        )
        dys = []
        for number, shape in zip(self.numbers, plan.targets, strict=True):
            dy = seeds.get(number)
            dy = np.zeros((rows, *shape), np.float32) if dy is None else dy
            dys.append(np.ascontiguousarray(dy))
        x: Any = tuple(self.arrays) if len(self.arrays) > 1 else self.arrays[0]
        y: Any = tuple(dys) if len(dys) > 1 else dys[0]
        batches = Batches(x, y, None, None, np.array([0, rows]))
        _, gradient = self.program.gradient(self.state, batches, 0)
        found = [
            (variable, gradient[spec.offset : spec.end].reshape(spec.shape))
            for variable, spec in zip(self.params, plan.params, strict=True)
            if spec.trainable
        ]
        return arrays, found

    def _by_reference(
        self, gradients: dict[int, Any], wanted: Collection[Any] = ()
    ) -> Any:
        """The same by the reference engine, which runs the model again."""
        _, self.caches = forward(self.plan, self.state, self.arrays, self.training)
        return super().backward(gradients, wanted)


def with_output_gradients(plan: Plan) -> Plan:
    """The plan whose loss is the sum of output x target, over outputs and losses added
    by layers: with the gradients of these as targets, its gradient is the backward
    pass.

    Raises:
        ValueError: an output depends on other samples.
    """
    heads = [(head.value, head.shape) for head in plan.heads]
    if plan.penalty is not None:
        shape = plan.ops[plan.penalty - plan.given].out_shape
        heads.append((plan.penalty, shape))
    first, count = plan.given, len(heads)
    specs = {spec: replace(spec, l1=0.0, l2=0.0, penalty=None) for spec in plan.params}

    def moved(value: int) -> int:
        return value + count if value >= first else value

    ops = [
        replace(
            op.with_variables(specs.__getitem__),
            inputs=tuple(map(moved, plan.reads(i))),
        )
        for i, op in enumerate(plan.ops)
    ]
    made = []
    for k, (value, shape) in enumerate(heads):
        ops.append(
            Op(
                "map",
                "gradient",
                shape,
                shape,
                tape=PRODUCT,
                inputs=(moved(value), first + k),
                more_shapes=(shape,),
            )
        )
        rows = first + count + len(ops) - 1
        made.append(Head(moved(value), shape, Spec("rows"), rows=rows, reduction="sum"))
    changed = Plan(
        plan.inputs,
        tuple(ops),
        tuple(specs.values()),
        plan.buffers,
        tuple(made),
        targets=tuple(shape for _, shape in heads),
    )
    changed.predicting()  # refuses outputs that depend on other samples
    return changed


def _product() -> Tape:
    build = Builder(RULES, 2)
    return build.finish([build.op("mul", 0, 1)])


PRODUCT = _product()
