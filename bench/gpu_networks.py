"""Networks with other layers, and JAX, for `bench.gpu`: each function returns one that
does the steps of a call and returns their mean loss."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-7
UNITS = 64
Program = Callable[[], float]


@dataclass(frozen=True)
class Network:
    """kind: "convolutions", of 28 x 28 pixels, or "lstm", of 50 steps"""

    kind: str
    batch: int
    steps: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        random, rows = np.random.default_rng(1), self.batch * self.steps
        if self.kind == "lstm":
            x = random.normal(size=(rows, 50, 8)).astype(np.float32)
            return x, np.tanh(x.mean((1, 2), keepdims=True)[:, 0])
        x = random.normal(size=(rows, 28, 28, 1)).astype(np.float32)
        return x, (np.arange(rows) % 10).astype(np.float32)[:, None]


NETWORKS = {
    "convolutions, batch 128": Network("convolutions", 128, 20),
    "LSTM of 64, 50 steps, batch 64": Network("lstm", 64, 20),
}


def by_kurve(engine: str, network: Network) -> Program:
    import kurve
    from kurve.engines import Batches, Job, get_engine, run_job

    kurve.utils.set_random_seed(1)
    layers = kurve.layers
    loss: kurve.losses.Loss = kurve.losses.MeanSquaredError()
    x, y = network.data()
    if network.kind == "lstm":
        stack = [layers.LSTM(UNITS), layers.Dense(1)]
    else:
        stack = [
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(UNITS, "relu"),
            layers.Dense(10),
        ]
        loss = kurve.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = kurve.Sequential([kurve.Input(x.shape[1:]), *stack])
    model.compile("adam", loss, engine=engine)
    program, state = model._network.program(), model._network.training_state()
    bounds = np.arange(network.steps + 1, dtype=np.int64) * network.batch
    rates = np.full(network.steps, RATE, np.float32)
    batches = Batches(x, y, None, None, bounds, rates)

    def run() -> float:
        totals = np.zeros(program.plan.totals_size)
        job = Job(program, state, batches, 0, network.steps, totals)
        run_job(get_engine(engine), job)
        return float(totals[0] / totals[1])

    return run


def by_torch(device: str, compiled: bool, network: Network) -> Program:
    import torch
    from torch import nn

    class Last(nn.Module):  # type: ignore[misc]
        """An LSTM's last output."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.LSTM(8, UNITS, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.inner(x)[0][:, -1]

    x, y = (torch.from_numpy(a).to(device) for a in network.data())
    if network.kind == "lstm":
        module, loss = nn.Sequential(Last(), nn.Linear(UNITS, 1)), nn.MSELoss()
    else:
        x, y = x.movedim(-1, 1).contiguous(), y[:, 0].long()
        convolution = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)]
        convolution += [nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
        dense = [nn.Flatten(), nn.Linear(800, UNITS), nn.ReLU(), nn.Linear(UNITS, 10)]
        module, loss = nn.Sequential(*convolution, *dense), nn.CrossEntropyLoss()
    module = module.to(device)
    adam = torch.optim.Adam(module.parameters(), RATE, eps=EPSILON, fused=True)

    def loss_of(rows: Any, wanted: Any) -> Any:
        return loss(module(rows), wanted)

    forward = torch.compile(loss_of) if compiled else loss_of

    def run() -> float:
        total = torch.zeros((), device=device)
        for step in range(network.steps):
            part = slice(step * network.batch, (step + 1) * network.batch)
            found = forward(x[part], y[part])
            adam.zero_grad()
            found.backward()
            adam.step()
            total += found.detach()
        return float(total) / network.steps

    return run


def has_jax(device: str) -> bool:
    """Whether JAX is there, and uses that device."""
    if importlib.util.find_spec("jax") is None:
        return False
    import jax

    return bool(jax.default_backend() == ("cpu" if device == "cpu" else "gpu"))


def dense_by_jax(
    inputs: int,
    widths: tuple[int, ...],
    batch: int,
    steps: int,
    given: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Program:
    """A dense network, in one jitted loop."""
    import jax
    import jax.numpy as jnp

    x, y, order = map(jnp.asarray, given)
    sizes = [inputs, *widths, 1]
    weights = [(_weights((a, b)), jnp.zeros(b)) for a, b in pairwise(sizes)]

    def loss_of(weights: Any, rows: Any) -> Any:
        h = x[rows]
        for kernel, bias in weights[:-1]:
            h = jax.nn.relu(h @ kernel + bias)
        kernel, bias = weights[-1]
        return jnp.mean((h @ kernel + bias - y[rows]) ** 2)

    return _loop(loss_of, weights, order.reshape(steps, batch))


def by_jax(network: Network) -> Program:
    """A network, in one jitted loop."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    x, y = map(jnp.asarray, network.data())
    rows = jnp.arange(len(x)).reshape(network.steps, network.batch)

    def lstm(weights: Any, h: Any) -> Any:
        W, U, b, kernel = weights
        zeros = jnp.zeros((len(h), UNITS))

        def turn(carry: Any, z: Any) -> Any:
            y, c = carry
            i, f, n, o = jnp.split(z + y @ U, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(n)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        (last, _), _ = lax.scan(turn, (zeros, zeros), jnp.swapaxes(h, 0, 1) @ W + b)
        return last @ kernel

    def convolutions(weights: Any, h: Any) -> Any:
        for kernel in weights[:2]:
            names = ("NHWC", "HWIO", "NHWC")
            h = lax.conv_general_dilated(
                h, kernel, (1, 1), "VALID", dimension_numbers=names
            )
            window = (1, 2, 2, 1)
            h = lax.reduce_window(
                jax.nn.relu(h), -jnp.inf, lax.max, window, window, "VALID"
            )
        h = jax.nn.relu(h.reshape(len(h), -1) @ weights[2])
        return h @ weights[3]

    if network.kind == "lstm":
        shapes = [(8, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,), (UNITS, 1)]

        def loss_of(weights: Any, of: Any) -> Any:
            return jnp.mean((lstm(weights, x[of]) - y[of]) ** 2)

    else:
        shapes = [(3, 3, 1, 16), (3, 3, 16, 32), (800, UNITS), (UNITS, 10)]
        classes = y[:, 0].astype(int)

        def loss_of(weights: Any, of: Any) -> Any:
            log_p = jax.nn.log_softmax(convolutions(weights, x[of]))
            return -jnp.mean(jnp.take_along_axis(log_p, classes[of][:, None], 1))

    return _loop(loss_of, [_weights(shape) for shape in shapes], rows)


def _weights(shape: tuple[int, ...]) -> Any:
    import jax.numpy as jnp

    scale = math.sqrt(1.0 / max(1, math.prod(shape[:-1])))
    drawn = np.random.default_rng(1).normal(size=shape) * scale
    return jnp.asarray(drawn, jnp.float32)


def _loop(loss_of: Callable[..., Any], weights: Any, rows: Any) -> Program:
    """Steps of Adam, in one call."""
    import jax
    import jax.numpy as jnp

    def step(carry: Any, of: Any) -> Any:
        weights, m, v, t = carry
        loss, slopes = jax.value_and_grad(loss_of)(weights, of)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, slopes)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, slopes)
        rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        weights = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), weights, m, v
        )
        return (weights, m, v, t), loss

    loop = jax.jit(lambda carry: jax.lax.scan(step, carry, rows))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [(weights, zeros, zeros, jnp.zeros(()))]

    def run() -> float:
        state[0], losses = loop(state[0])
        return float(losses.mean())

    return run


def article(engine: str) -> float:
    """Seconds of the article's run: 30 epochs of 30 steps, from `compile` to the
    prediction."""
    import kurve

    kurve.utils.set_random_seed(1)
    x = np.arange(0.0, 20.0, 0.1)
    normalization = kurve.layers.Normalization()
    normalization.adapt(x[:, None])
    hidden = [kurve.layers.Dense(256, "relu") for _ in range(7)]
    model = kurve.Sequential([normalization, *hidden, kurve.layers.Dense(1)])
    start = time.perf_counter()
    model.compile("adam", "mse", engine=engine)
    model.fit(x, np.sin(x), epochs=30, steps_per_epoch=30, verbose=0)
    model.predict(x, verbose=0)
    return time.perf_counter() - start
