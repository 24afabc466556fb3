"""Plans with a recurrent op, and data for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from kurve.engines import Batches, State
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder
from kurve.plan import Head, Op, Plan, Shape, Spec, VariableSpec, aligned

MSE = Spec("mean_squared_error")
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}
FLAGS = ("masked", "initial", "recurrent_dropout", "reverse", "sequences", "bias")
MASKS = ("none", "right", "left", "holes", "rows")


def combinations() -> Iterator[tuple[str, dict[str, bool]]]:
    """Every kind with every combination of what it may have."""
    for kind in GATES:
        own = {"lstm": ["states"], "gru": ["reset_after"]}.get(kind, [])
        names = [*FLAGS, *own]
        for flags in product((False, True), repeat=len(names)):
            chosen = dict(zip(names, flags, strict=True))
            if chosen["recurrent_dropout"] and kind != "simple_rnn":
                # Either kind of factors, in turn.
                chosen["by_gates"] = sum(flags) % 2 == 0
            yield kind, chosen


def name_of(case: tuple[str, dict[str, bool]]) -> str:
    kind, flags = case
    return "-".join([kind, *(name for name, on in flags.items() if on)])


class Recurrent:
    """A plan with a recurrent op whose x and first states depend on variables: the
    gradients of these check those of the op's inputs.

    Args:
        sizes: T, F and H.
        flags: as `combinations` gives them, and other attrs of the op; by_gates: with
            recurrent_dropout, whether each gate has factors of its own.
        frozen: roles of variables that are not trained.
        plain: leave the variables of inputs out.
    """

    def __init__(
        self,
        kind: str,
        sizes: tuple[int, int, int] = (3, 2, 2),
        frozen: tuple[str, ...] = (),
        plain: bool = False,
        uses: int = 1,
        **flags: Any,
    ) -> None:
        T, F, H = sizes
        self.kind, self.sizes, self.uses, self.flags = kind, sizes, uses, flags
        self.params: list[VariableSpec] = []
        bias, by_gates = flags.pop("bias", True), flags.pop("by_gates", False)
        self.by_gates = by_gates
        self.attrs = {"activation": "tanh", **flags}
        if kind != "simple_rnn":
            self.attrs.setdefault("recurrent_activation", "sigmoid")
        if kind == "gru":
            self.attrs.setdefault("reset_after", True)
        states = 2 if kind == "lstm" else 1
        self.inputs: list[Shape] = [(T, F)]
        self.inputs += [(T,)] * bool(flags.get("masked"))
        self.inputs += [(H,)] * states * bool(flags.get("initial"))
        if flags.get("recurrent_dropout"):
            self.inputs.append((GATES[kind], H) if by_gates else (H,))
        width = GATES[kind] * H
        shapes: dict[str, Shape] = {
            "kernel": (F, width),
            "recurrent_kernel": (H, width),
        }
        if bias:
            rows = (2,) if kind == "gru" and self.attrs["reset_after"] else ()
            shapes["bias"] = (*rows, width)
        roles = {
            role: self.variable(role, shape, role not in frozen)
            for role, shape in shapes.items()
        }
        out: Shape = (2 * H if flags.get("states") else H,)
        out = (T, *out) if flags.get("sequences") else out
        ops, reads = [], list(range(len(self.inputs)))
        fixed = {len(self.inputs) - 1} if flags.get("recurrent_dropout") else set()
        fixed |= {1} if flags.get("masked") else set()
        for k, shape in enumerate(self.inputs):
            if k in fixed or plain:
                continue
            slope = self.variable(f"slope_{k}", shape, True)
            build = Builder(RULES, 2)
            tape = build.finish([build.op("tanh", build.op("mul", 0, 1))])
            reads[k] = len(self.inputs) + len(ops)
            own = {"inputs": (k,), "params": {"slope": slope}}
            ops.append(Op("map", f"input_{k}", shape, shape, tape=tape, **own))
        heads = []
        for _ in range(uses):
            first, *more = self.inputs
            own = {"inputs": tuple(reads), "more_shapes": tuple(more)}
            ops.append(Op(kind, "rnn", first, out, roles, attrs=self.attrs, **own))
            heads.append(Head(len(self.inputs) + len(ops) - 1, out, MSE))
            if uses > 1:  # another sequence for the next use
                build = Builder(RULES, 1)
                tape = build.finish([build.op("sin", build.op("mul", 0, 2.0))])
                before, reads[0] = reads[0], len(self.inputs) + len(ops)
                own = {"inputs": (before,)}
                ops.append(Op("map", "again", first, first, tape=tape, **own))
        self.plan = Plan(
            tuple(self.inputs), tuple(ops), tuple(self.params), (), tuple(heads)
        )

    def variable(self, name: str, shape: Shape, trainable: bool) -> VariableSpec:
        start = aligned(self.params[-1].end) if self.params else 0
        self.params.append(VariableSpec(name, shape, start, trainable))
        return self.params[-1]

    def state(self, dtype: Any = np.float32, seed: int = 1) -> State:
        random = np.random.default_rng(seed)
        params = np.zeros(self.plan.params_size, dtype)
        for v in self.params:
            scale = 0.6 if v.name.startswith("slope") else 1 / np.sqrt(v.shape[0] + 1)
            values = random.normal(0, scale, v.size).astype(np.float32)
            params[v.offset : v.end] = values
        slots = np.zeros((0, self.plan.params_size), dtype)
        return State(params, np.zeros(0, dtype), slots, np.zeros(0), 0, 7)

    def xs(self, rows: int, mask: str = "holes", seed: int = 2) -> tuple[Any, ...]:
        """The plan's inputs."""
        random = np.random.default_rng(seed)
        xs = [random.normal(size=(rows, *s)).astype(np.float32) for s in self.inputs]
        if self.attrs.get("masked"):
            xs[1] = mask_of(mask, rows, self.sizes[0], random)
        if self.attrs.get("recurrent_dropout"):
            kept = random.random(xs[-1].shape) < 0.7
            xs[-1] = np.where(kept, np.float32(1 / 0.7), np.float32(0))
        return tuple(xs)

    def batches(self, rows: int, mask: str = "holes", seed: int = 2) -> Batches:
        """All rows as one step."""
        xs = self.xs(rows, mask, seed)
        random = np.random.default_rng(seed + 1)
        ys = tuple(
            random.normal(size=(rows, *head.shape)).astype(np.float32)
            for head in self.plan.heads
        )
        bounds = np.array([0, rows], np.int64)
        rate = np.full(1, 1e-2, np.float32)
        return Batches(xs, ys, (None,) * len(ys), None, bounds, rate)


def mask_of(kind: str, rows: int, steps: int, random: np.random.Generator) -> Any:
    """(rows, steps): 1 at the steps that count; "rows" has some without any."""
    lengths = random.integers(1, steps + 1, (rows, 1))
    place = np.arange(steps)
    masks = {
        "none": np.ones((rows, steps)),
        "right": place < lengths,
        "left": place >= steps - lengths,
        "holes": random.random((rows, steps)) < 0.6,
        "rows": (place < lengths) & (np.arange(rows)[:, None] % 2 == 1),
    }
    return masks[kind].astype(np.float32)
