"""Plans built by hand, and states and data to run them on.

tests/native/cpp/models.h has a builder of its own: the programs built from it run
without Python and without files, under sanitizers and emulators.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from kurve.engines.base import Batches, Engine, Job, State, run_job
from kurve.plan import MetricSpec, Op, Plan, Spec, VariableSpec, aligned

CLIP = {"clipnorm": 0.0, "clipvalue": 0.0, "global_clipnorm": 0.0, "weight_decay": 0.0}
OPTIMIZERS = {
    "sgd": {"momentum": 0.0, "nesterov": False},
    "rmsprop": {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    "adagrad": {"epsilon": 1e-7},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    "nadam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adamax": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
}
ALPHAS = {"leaky_relu": 0.2, "elu": 1.0, "snake": 1.0}


def optimizer(kind: str = "adam", **changes: float | bool) -> Spec:
    return Spec(kind, {**OPTIMIZERS[kind], **CLIP, **changes})


class Builder:
    """Adds ops one by one, each on the output shape of the last."""

    def __init__(self, *shape: int) -> None:
        self.input_shape = self.shape = shape
        self.ops: list[Op] = []
        self.params: list[VariableSpec] = []
        self.buffers: list[VariableSpec] = []

    def _slot(
        self, slots: list[VariableSpec], name: str, shape: tuple[int, ...], **k
    ) -> VariableSpec:
        offset = aligned(slots[-1].end) if slots else 0
        slot = VariableSpec(f"op_{len(self.ops)}/{name}", shape, offset, **k)
        slots.append(slot)
        return slot

    def _op(self, kind: str, out: tuple[int, ...], **k) -> Builder:
        self.ops.append(Op(kind, f"op_{len(self.ops)}", self.shape, out, **k))
        self.shape = out
        return self

    def dense(
        self,
        units: int,
        activation: str = "linear",
        bias: bool = True,
        frozen: tuple[str, ...] = (),
        **k,
    ) -> Builder:
        shapes = {"kernel": (self.shape[-1], units)} | (
            {"bias": (units,)} if bias else {}
        )
        params = {
            role: self._slot(
                self.params, role, shape, trainable=role not in frozen, **k
            )
            for role, shape in shapes.items()
        }
        attrs = {"activation": activation, "alpha": ALPHAS.get(activation, 0.0)}
        return self._op("dense", (*self.shape[:-1], units), params=params, attrs=attrs)

    def activation(self, name: str) -> Builder:
        attrs = {"activation": name, "alpha": ALPHAS.get(name, 0.0)}
        return self._op("activation", self.shape, attrs=attrs)

    def softmax(self) -> Builder:
        return self._op("softmax", self.shape)

    def dropout(self, rate: float) -> Builder:
        attrs = {"rate": rate, "stream": len(self.ops)}
        return self._op("dropout", self.shape, attrs=attrs)

    def normalization(self, invert: bool = False) -> Builder:
        shape = self.shape[-1:]
        buffers = {
            role: self._slot(self.buffers, role, shape) for role in ("mean", "variance")
        }
        attrs = {"invert": invert, "epsilon": 1e-7}
        return self._op("normalization", self.shape, buffers=buffers, attrs=attrs)

    def plan(
        self,
        loss: Spec | None = None,
        optimizer: Spec | None = None,
        metrics: tuple[MetricSpec, ...] = (),
    ) -> Plan:
        return Plan.stack(
            self.input_shape,
            self.shape,
            tuple(self.ops),
            tuple(self.params),
            tuple(self.buffers),
            loss,
            metrics,
            optimizer,
        )


def mse() -> Spec:
    return Spec("mean_squared_error")


def article() -> Plan:
    """1 -> 7 x 256 relu -> 1, Adam."""
    builder = Builder(1)
    for _ in range(7):
        builder.dense(256, "relu")
    return builder.dense(1).plan(mse(), optimizer())


def slots_of(spec: Spec | None) -> int:
    a = spec.attrs if spec else {}
    match spec.kind if spec else "none":
        case "sgd":
            return int(a["momentum"] != 0)
        case "rmsprop":
            return 1 + int(a["momentum"] > 0) + int(a["centered"])
        case "adagrad":
            return 1
        case "adam":
            return 2 + int(a["amsgrad"])
        case "nadam" | "adamax":
            return 2
    return 0


def empty(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Zeros, aligned to 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def state_of(plan: Plan, seed: int = 1) -> State:
    rng = np.random.default_rng(seed)
    params, buffers = empty(plan.params_size), empty(plan.buffers_size)
    for slot in plan.params:
        scale = 1 / math.sqrt(slot.shape[0]) if len(slot.shape) > 1 else 0.1
        params[slot.offset : slot.end] = rng.normal(0, scale, slot.size)
    for slot in plan.buffers:
        buffers[slot.offset : slot.end] = rng.uniform(0.5, 2, slot.size)
    slots = empty(slots_of(plan.optimizer), plan.params_size)
    if plan.optimizer and plan.optimizer.kind == "adagrad":
        slots[:] = 0.1
    nadam = plan.optimizer is not None and plan.optimizer.kind == "nadam"
    return State(params, buffers, slots, np.ones(int(nadam)), 0, seed)


def copy_of(state: State) -> State:
    copies = {}
    for name in ("params", "buffers", "slots"):
        old = getattr(state, name)
        copies[name] = empty(*old.shape)
        copies[name][:] = old
    return replace(state, scalars=state.scalars.copy(), **copies)


def batches_of(
    plan: Plan,
    n: int,
    batch: int,
    seed: int = 1,
    weights: bool = False,
    shuffle: bool = True,
    rate: float = 1e-3,
) -> Batches:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *plan.input_shape)).astype(np.float32)
    bounds = np.unique(np.append(np.arange(0, n, batch), n)).astype(np.int64)
    return Batches(
        x,
        targets(plan, n, rng),
        rng.uniform(0.5, 2, n).astype(np.float32) if weights else None,
        rng.permutation(n).astype(np.int64) if shuffle else None,
        bounds,
        np.full(len(bounds) - 1, rate, np.float32),
    )


def train(
    engine: Engine,
    plan: Plan,
    state: State,
    batches: Batches,
    steps: int | None = None,
    totals: np.ndarray | None = None,
) -> None:
    """The first steps, or all."""
    if totals is None:
        totals = np.zeros(plan.totals_size)
    steps = batches.steps if steps is None else steps
    run_job(engine, Job(engine.compile(plan), state, batches, 0, steps, totals))


def targets(plan: Plan, n: int, rng: np.random.Generator) -> np.ndarray:
    shape, classes = plan.output_shape, plan.output_shape[-1]
    kinds = {spec.kind for spec in (plan.loss, *plan.metrics) if spec}
    if any(kind.startswith("sparse") for kind in kinds):
        return rng.integers(0, classes, (n, *shape[:-1])).astype(np.float32)
    if any("binary" in kind for kind in kinds):
        return rng.integers(0, 2, (n, *shape)).astype(np.float32)
    if any("categorical" in kind for kind in kinds):
        labels = rng.integers(0, classes, (n, *shape[:-1]))
        return np.eye(classes, dtype=np.float32)[labels]
    return rng.normal(size=(n, *shape)).astype(np.float32)
