"""JAX: all steps in one jitted loop, so that there is one call from Python. Adam is an
optax transformation in Keras's form, which costs XLA what optax.adam costs."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench import cases
from bench.ceilings import best
from bench.recurrence import Sequences


class AdamState(NamedTuple):
    step: Any
    m: Any
    v: Any


def adam() -> optax.GradientTransformation:
    b1, b2 = cases.BETA_1, cases.BETA_2

    def init(params: Any) -> AdamState:
        zeros = partial(jax.tree.map, jnp.zeros_like)
        return AdamState(jnp.zeros((), jnp.int32), zeros(params), zeros(params))

    def update(grads: Any, state: AdamState, params: Any = None) -> Any:
        step = state.step + 1
        m = jax.tree.map(lambda m, g: m + (1 - b1) * (g - m), state.m, grads)
        v = jax.tree.map(lambda v, g: v + (1 - b2) * (g * g - v), state.v, grads)
        # expm1, because 1 - b^t cancels in float32
        c1, c2 = (-jnp.expm1(step * math.log(b)) for b in (b1, b2))
        rate = cases.LEARNING_RATE * jnp.sqrt(c2) / c1
        updates = jax.tree.map(
            lambda m, v: -rate * m / (jnp.sqrt(v) + cases.EPSILON), m, v
        )
        return updates, AdamState(step, m, v)

    return optax.GradientTransformation(init, update)


def forward(params: Any, x: Any) -> Any:
    for kernel, bias in params[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    kernel, bias = params[-1]
    return x @ kernel + bias


def recurrent(kind: str, params: Any, x: Any) -> Any:
    """The last output of a scan over the steps, and a dense layer."""
    W, U, b, kernel, bias = params
    zeros = jnp.zeros((len(x), len(U)))
    along = jnp.swapaxes(x, 0, 1)

    def lstm(carry: Any, z: Any) -> Any:
        h, c = carry
        i, f, n, o = jnp.split(z + h @ U, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(n)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def gru(h: Any, z: Any) -> Any:
        own, other = (jnp.split(part, 3, axis=-1) for part in (z, h @ U + b[1]))
        u, r = (jax.nn.sigmoid(own[k] + other[k]) for k in (0, 1))
        n = jnp.tanh(own[2] + r * other[2])
        return u * h + (1 - u) * n, None

    if kind == "LSTM":
        (h, _), _ = jax.lax.scan(lstm, (zeros, zeros), along @ W + b)
    else:
        h, _ = jax.lax.scan(gru, zeros, along @ W + b[0])
    return h @ kernel + bias


class Contender:
    def __init__(self) -> None:
        self.versions = {"JAX": jax.__version__, "optax": optax.__version__}

    def prepare(self, case: cases.Case) -> None:
        jax.clear_caches()
        self.case, self.optimizer = case, adam()
        self.x, self.y = (jnp.asarray(part) for part in case.data())
        self.forward, arranged = forward, pairs
        if isinstance(case, Sequences):
            self.forward, arranged = partial(recurrent, case.kind), list
        every = [arranged(case.weights(k)) for k in range(max(1, case.members))]
        if case.members:
            self.params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *every)
        else:
            self.params = jax.tree.map(jnp.asarray, every[0])
        self.state = self.optimizer.init(self.params)
        self.key = jax.random.key(0)
        self.loop = jax.jit(self._epochs if case.shuffle else self._steps)
        self.apply = jax.jit(self._apply)

    def _loss(self, params: Any, x: Any, y: Any) -> Any:
        return jnp.mean((self.forward(params, x) - y) ** 2)

    def _update(self, carry: Any, x: Any, y: Any) -> Any:
        params, state = carry
        grad = jax.grad(self._loss)
        if self.case.members:
            grad = jax.vmap(grad, (0, None, None))
        updates, state = self.optimizer.update(grad(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    def _steps(self, params: Any, state: Any, x: Any, y: Any, steps: Any) -> Any:
        """A scan over the batches, for any number of steps without recompilation."""
        batch = self.case.batch

        def body(step: Any, carry: Any) -> Any:
            first = step % self.case.steps * batch
            rows = [jax.lax.dynamic_slice_in_dim(p, first, batch) for p in (x, y)]
            return self._update(carry, *rows)

        return jax.lax.fori_loop(0, steps, body, (params, state))

    def _epochs(self, params: Any, state: Any, x: Any, y: Any, epochs: Any) -> Any:
        def epoch(number: Any, carry: Any) -> Any:
            key = jax.random.fold_in(self.key, number)
            order = jax.random.permutation(key, self.case.rows)
            order = order.reshape(self.case.steps, self.case.batch)
            step = lambda carry, rows: (self._update(carry, x[rows], y[rows]), None)  # noqa: E731
            return jax.lax.scan(step, carry, order)[0]

        return jax.lax.fori_loop(0, epochs, epoch, (params, state))

    def _apply(self, params: Any, x: Any) -> Any:
        if self.case.members:
            return jax.vmap(self.forward, (0, None))(params, x).mean(0)
        return self.forward(params, x)

    def train(self, steps: int) -> None:
        number = steps // self.case.steps if self.case.shuffle else steps
        self.params, self.state = jax.block_until_ready(
            self.loop(self.params, self.state, self.x, self.y, number)
        )

    def gemm(self, a: np.ndarray, b: np.ndarray) -> float:
        """Seconds of the product of two matrices, for the ceilings."""
        product = jax.jit(jnp.matmul)
        left, right = jnp.asarray(a), jnp.asarray(b)
        return best(lambda: product(left, right).block_until_ready())

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.apply(self.params, x))


def pairs(values: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(values[0::2], values[1::2], strict=True))
