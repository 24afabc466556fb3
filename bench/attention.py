"""Multi-head attention as a network learns it: Kurve, PyTorch, JAX and Keras, in turn.

python -m bench.attention            prints Markdown
python -m bench.attention --write    writes docs/benchmarks/attention.md

Batches of 32 sequences of 128 x 64 numbers, attention to themselves by 4 heads of 16,
then the mean over the steps and Dense(1); mean squared error; Adam.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
)

import numpy as np

from bench import machine, tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "attention.md"
BATCH, LENGTH, WIDE, HEADS = 32, 128, 64, 4
SIZE = WIDE // HEADS
RATE, EPSILON = 0.001, 1e-10
"""Of Adam. Libraries add epsilon in different places: so small it makes no difference.
"""
ROUNDS, STEPS = 7, 10

Contender = tuple[Callable[[], None], Callable[[], list[np.ndarray]]]
"""Does the steps of one turn; and the weights, in Keras's order and shapes."""


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (STEPS * BATCH, LENGTH, WIDE)).astype(np.float32)
    return x, np.sin(x.sum((1, 2)))[:, None].astype(np.float32)


def weights() -> list[np.ndarray]:
    """Kernels and biases of query, key, value, output and of Dense."""
    rng, found = np.random.default_rng(1), []
    kernels = [(WIDE, HEADS, SIZE)] * 3 + [(HEADS, SIZE, WIDE), (WIDE, 1)]
    biases = [(HEADS, SIZE)] * 3 + [(WIDE,), (1,)]
    for kernel, bias in zip(kernels, biases, strict=True):
        found.append(rng.uniform(-0.2, 0.2, kernel).astype(np.float32))
        found.append(np.zeros(bias, np.float32))
    return found


def with_layers(of: Any, **compiled: Any) -> Contender:
    """By a package like keras."""
    inputs = of.Input((LENGTH, WIDE))
    h = of.layers.MultiHeadAttention(HEADS, SIZE)(inputs, inputs)
    h = of.layers.GlobalAveragePooling1D()(h)
    model = of.Model(inputs, of.layers.Dense(1)(h))
    model.set_weights(weights())
    model.compile(of.optimizers.Adam(RATE, epsilon=EPSILON), "mse", **compiled)
    x, y = data()

    def train() -> None:
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)

    return train, model.get_weights


def with_kurve() -> Contender:
    import kurve

    kurve.set_threads(1)
    return with_layers(kurve)


def with_keras() -> Contender:
    import keras

    return with_layers(keras)


def with_torch() -> Contender:
    """The products of query, key and value in one, and PyTorch's fused attention."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    q, _, k, _, v, _, o, bo, w, b = weights()
    first = np.concatenate([a.reshape(WIDE, WIDE) for a in (q, k, v)], 1)
    made = [first, np.zeros(3 * WIDE, np.float32), o.reshape(WIDE, WIDE), bo, w, b]
    params = [torch.tensor(a, requires_grad=True) for a in made]
    adam = torch.optim.Adam(params, RATE, eps=EPSILON, fused=True)
    x, y = (torch.from_numpy(a) for a in data())

    def train() -> None:
        for i in range(0, len(x), BATCH):
            h = torch.addmm(params[1], x[i : i + BATCH].view(-1, WIDE), params[0])
            parts = h.view(BATCH, LENGTH, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4)
            h = F.scaled_dot_product_attention(*parts).transpose(1, 2)
            h = torch.addmm(params[3], h.reshape(-1, WIDE), params[2])
            means = h.view(BATCH, LENGTH, WIDE).mean(1)
            loss = F.mse_loss(
                torch.addmm(params[5], means, params[4]), y[i : i + BATCH]
            )
            adam.zero_grad()
            loss.backward()
            adam.step()

    def answer() -> list[np.ndarray]:
        first, bias, *rest = (p.detach().numpy() for p in params)
        each = zip(np.split(first, 3, 1), np.split(bias, 3), strict=True)
        return [part for pair in each for part in pair] + rest

    return train, answer


def with_jax() -> Contender:
    """All steps of a turn in one compiled loop."""
    import jax
    import jax.numpy as jnp

    x, y = (jnp.asarray(a).reshape(STEPS, BATCH, *a.shape[1:]) for a in data())

    def loss(params: Any, x: Any, y: Any) -> Any:
        q, bq, k, bk, v, bv, o, bo, w, b = params
        project = lambda w, b: jnp.einsum("btf,fhs->bhts", x, w) + b[:, None]  # noqa: E731
        scores = jnp.einsum("bhts,bhus->bhtu", project(q, bq), project(k, bk))
        shares = jax.nn.softmax(scores / np.sqrt(SIZE))
        h = jnp.einsum("bhtu,bhus->bths", shares, project(v, bv))
        h = jnp.einsum("bths,hsf->btf", h, o) + bo
        return ((h.mean(1) @ w + b - y) ** 2).mean()

    def step(carry: Any, batch: Any) -> Any:
        params, m, v, count = carry
        grads, count = jax.grad(loss)(params, *batch), count + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, grads, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads, strict=True)]
        rate = RATE * jnp.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        moved = zip(params, m, v, strict=True)
        params = [p - rate * a / (jnp.sqrt(b) + EPSILON) for p, a, b in moved]
        return (params, m, v, count), None

    loop = jax.jit(lambda carry: jax.lax.scan(step, carry, (x, y))[0])
    params = [jnp.asarray(w) for w in weights()]
    zeros = [jnp.zeros_like(p) for p in params]
    held = [(params, zeros, zeros, jnp.zeros(()))]

    def train() -> None:
        held[0] = jax.block_until_ready(loop(held[0]))

    return train, lambda: [np.asarray(p) for p in held[0][0]]


CONTENDERS = {
    "Kurve": with_kurve,
    "PyTorch": with_torch,
    "JAX": with_jax,
    "Keras on JAX": with_keras,
}


def raced() -> dict[str, list[float]]:
    """Processor seconds of a step, in turn; the weights after a turn must agree, but
    for the bias of the keys, whose gradient is 0 up to rounding."""
    made = {name: make() for name, make in CONTENDERS.items()}
    for train, _ in made.values():
        train()
    answers = {name: answer() for name, (_, answer) in made.items()}
    machine.check_equal({k: [*ws[:3], *ws[4:]] for k, ws in answers.items()})
    turns = {name: train for name, (train, _) in made.items()}
    return machine.in_turn(turns, STEPS, ROUNDS)


def page() -> str:
    watch = machine.Watch()
    times = raced()
    found = {"times": {name: {"seconds": seconds} for name, seconds in times.items()}}
    body = [
        [name, *tables.figures(found["times"][name], 1e3), tables.versus(found, name)]
        for name in times
    ]
    import jax
    import keras
    import torch

    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    what = (__doc__ or "").split("\n\n")[-1].strip()
    return f"""# Multi-head attention

Written by `python -m bench.attention --write` on {today}.

- processor: {about["processor"]}, one thread
- versions: JAX {jax.__version__}, Keras {keras.__version__}, torch {torch.__version__}
- meanwhile other programs used {100 * busy:.0f} % of the cores' time

{what}

In processor time, in turn. All start from the same weights, and after ten steps they
must agree to 1e-5 on average. A ratio above 1 means that Kurve is faster. PyTorch uses
its fused attention, and one product for query, key and value; JAX does all steps in one
compiled loop.

{tables.rows(["", "ms a step", "best round", "ratio"], body)}
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__ or "")
