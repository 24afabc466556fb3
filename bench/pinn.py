"""Burgers' equation as a network learns it: Kurve, JAX and PyTorch, in turn.

python -m bench.pinn            prints Markdown
python -m bench.pinn --write    writes docs/benchmarks/pinn.md

The published setting (DeepXDE's demonstration): u_t + u u_x = 0.01 / pi u_xx on [-1, 1]
x [0, 0.99], u(x, 0) = -sin(pi x), u(-1, t) = u(1, t) = 0; three layers of 20 tanh; the
residual at 2,540 points inside (Hammersley's), 80 on the sides and 160 at the start;
the sum of three mean squared errors; Adam, 15,000 steps of 0.001.
"""

from __future__ import annotations

import datetime
import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
)

import numpy as np

import kurve
from bench import machine, tables
from kurve import layers, ops, solvers

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "pinn.md"
INSIDE, SIDES, START = 2540, 80, 160
VISCOSITY = 0.01 / np.pi
SIZES = (2, 20, 20, 20, 1)
RATE = 0.001
ROUNDS, STEPS = 7, 40


# ---------------------------------------------------------------- the problem


def points(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows (x, t), float32, those inside first; and u where it is known, else 0."""
    rng = np.random.default_rng(seed)
    inside = hammersley(INSIDE) * (2.0, 0.99) - (1.0, 0.0)
    sides = np.stack(
        [np.repeat([-1.0, 1.0], SIDES // 2), rng.uniform(0.0, 0.99, SIDES)], 1
    )
    start = np.stack([rng.uniform(-1.0, 1.0, START), np.zeros(START)], 1)
    rows = np.concatenate([inside, sides, start]).astype(np.float32)
    known = np.zeros((len(rows), 1), np.float32)
    known[-START:] = -np.sin(np.pi * rows[-START:, :1])
    return rows, known


def hammersley(n: int) -> np.ndarray:
    """Points that fill the unit square evenly: i / n, and the binary digits of i in
    reverse order behind the point. Source: Hammersley 1960."""
    numbers, turned, unit = np.arange(n), np.zeros(n), 0.5
    for _ in range(n.bit_length()):
        turned += unit * (numbers % 2)
        numbers, unit = numbers // 2, unit / 2
    return np.stack([(np.arange(n) + 0.5) / n, turned], 1)


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The solution, by Gauss-Hermite quadrature of its integral.

    Source: Cole 1951, Hopf 1950: u is an average of -sin(pi (x - y)) over y with the
    weights exp(-cos(pi (x - y)) / (2 pi nu) - y^2 / (4 nu t)).
    """
    nodes, weights = np.polynomial.hermite.hermgauss(120)
    y = x[:, None] - np.sqrt(4.0 * VISCOSITY * np.maximum(t, 1e-12))[:, None] * nodes
    power = -np.cos(np.pi * y) / (2.0 * np.pi * VISCOSITY)
    share = weights * np.exp(power - power.max(axis=1, keepdims=True))
    u: np.ndarray = -(share * np.sin(np.pi * y)).sum(axis=1) / share.sum(axis=1)
    return u


def weights(seed: int = 0) -> list[np.ndarray]:
    """Glorot kernels, and biases of 0."""
    rng, found = np.random.default_rng(seed), []
    for fan_in, fan_out in itertools.pairwise(SIZES):
        deviation = np.sqrt(2.0 / (fan_in + fan_out))
        found.append(rng.normal(0, deviation, (fan_in, fan_out)).astype(np.float32))
        found.append(np.zeros(fan_out, np.float32))
    return found


# ---------------------------------------------------------------- Kurve


class Burgers(kurve.Model):
    """The residual of the equation, and u itself, each with its targets."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [layers.Dense(units, "tanh") for units in SIZES[1:-1]]
        self.u = kurve.Sequential([*hidden, layers.Dense(1)])

    def call(self, x: Any) -> Any:
        u, u_x, u_t, u_xx = ops.derivatives(self.u, x, ["", "0", "1", "00"])
        residual = u_t + u * u_x - VISCOSITY * u_xx
        return ops.concatenate([residual, u], axis=-1)


def shares() -> np.ndarray:
    """How much each row of (residual, u) counts in the three means, times the number
    of all elements."""
    n = INSIDE + SIDES + START
    share = np.zeros((n, 2), np.float32)
    share[:, 0] = 2.0
    share[INSIDE : INSIDE + SIDES, 1] = 2.0 * n / SIDES
    share[INSIDE + SIDES :, 1] = 2.0 * n / START
    return share


class Weighted(Burgers):
    """The residuals times the square roots of their shares: with the target 0, their
    mean square is the loss. x has u where it is known, and the two shares."""

    def call(self, x: Any) -> Any:
        both = super().call(x[:, :2])
        known = ops.concatenate([ops.zeros_like(x[:, 2:3]), x[:, 2:3]], axis=-1)
        return ops.sqrt(x[:, 3:]) * (both - known)


def prepared() -> tuple[kurve.Model, np.ndarray, np.ndarray]:
    """A model of residuals, its rows and its targets, which are 0."""
    rows, known = points()
    x = np.concatenate([rows, known, shares()], axis=1)
    model = Weighted()
    model.build((None, 5))
    model.set_weights(weights())
    model.compile(kurve.optimizers.Adam(RATE), "mse")
    return model, x, np.zeros((len(x), 2), np.float32)


def with_kurve() -> tuple[Callable[[int], None], Callable[[], list[np.ndarray]]]:
    model, x, y = prepared()

    def train(steps: int) -> None:
        model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)

    return train, model.get_weights


# ---------------------------------------------------------------- rivals


def with_torch() -> tuple[Callable[[int], None], Callable[[], list[np.ndarray]]]:
    """Reverse mode over reverse mode, as everyone writes it."""
    import torch

    torch.set_num_threads(1)
    params = [torch.tensor(w, requires_grad=True) for w in weights()]
    rows, known = (torch.tensor(a) for a in points())
    sides = slice(INSIDE, INSIDE + SIDES)
    optimizer = torch.optim.Adam(params, RATE, eps=1e-7)

    def u_of(x: Any) -> Any:
        for k in range(0, 6, 2):
            x = torch.tanh(x @ params[k] + params[k + 1])
        return x @ params[6] + params[7]

    def loss() -> Any:
        x = rows.clone().requires_grad_(True)
        u = u_of(x)
        (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        u_x, u_t = first[:, :1], first[:, 1:]
        (second,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
        residual = u_t + u * u_x - VISCOSITY * second[:, :1]
        error = u - known
        return (
            (residual**2).mean()
            + (error[sides] ** 2).mean()
            + (error[INSIDE + SIDES :] ** 2).mean()
        )

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    return train, lambda: [p.detach().numpy() for p in params]


def with_jax(
    stacked: bool,
) -> tuple[Callable[[int], None], Callable[[], list[np.ndarray]]]:
    """All steps in one compiled loop.

    Args:
        stacked: whether value and derivatives go through each layer in one product, by
            hand; else jvp of jvp.
    """
    import jax
    import jax.numpy as jnp

    rows, known = (jnp.asarray(a) for a in points())
    sides = slice(INSIDE, INSIDE + SIDES)
    n = len(rows)

    def u_of(params: Any, x: Any) -> Any:
        for k in range(0, 6, 2):
            x = jnp.tanh(x @ params[k] + params[k + 1])
        return x @ params[6] + params[7]

    def by_jvp(params: Any, x: Any) -> Any:
        one, two = (jnp.zeros_like(x).at[:, k].set(1.0) for k in (0, 1))
        along = lambda x: jax.jvp(lambda z: u_of(params, z), (x,), (one,))  # noqa: E731
        (u, u_x), (_, u_xx) = jax.jvp(along, (x,), (one,))
        _, u_t = jax.jvp(lambda z: u_of(params, z), (x,), (two,))
        return u, u_x, u_t, u_xx

    def by_hand(params: Any, x: Any) -> Any:
        kernel, zeros = params[0], jnp.zeros((n, SIZES[1]))
        z = x @ kernel + params[1]
        z_x, z_t, z_xx = zeros + kernel[0], zeros + kernel[1], zeros
        for k in range(2, 8, 2):
            h = jnp.tanh(z)
            slope = 1.0 - h * h
            h_x, h_t = slope * z_x, slope * z_t
            h_xx = slope * z_xx - 2.0 * h * h_x * z_x
            z, z_x, z_t, z_xx = jnp.split(
                jnp.concatenate([h, h_x, h_t, h_xx]) @ params[k], 4
            )
            z = z + params[k + 1]
        return z, z_x, z_t, z_xx

    def loss(params: Any) -> Any:
        u, u_x, u_t, u_xx = (by_hand if stacked else by_jvp)(params, rows)
        residual = u_t + u * u_x - VISCOSITY * u_xx
        error = u - known
        return (
            (residual**2).mean()
            + (error[sides] ** 2).mean()
            + (error[INSIDE + SIDES :] ** 2).mean()
        )

    def step(_: Any, carry: Any) -> Any:
        params, m, v, count = carry
        grads, count = jax.grad(loss)(params), count + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, grads, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads, strict=True)]
        rate = RATE * jnp.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        moved = zip(params, m, v, strict=True)
        return [p - rate * a / (jnp.sqrt(b) + 1e-7) for p, a, b in moved], m, v, count

    loop = jax.jit(lambda carry, steps: jax.lax.fori_loop(0, steps, step, carry))
    params = [jnp.asarray(w) for w in weights()]
    zeros = [jnp.zeros_like(p) for p in params]
    held = [(params, zeros, zeros, jnp.zeros(()))]

    def train(steps: int) -> None:
        held[0] = jax.block_until_ready(loop(held[0], steps))

    return train, lambda: [np.asarray(p) for p in held[0][0]]


CONTENDERS = {
    "Kurve": with_kurve,
    "JAX, stacked by hand": lambda: with_jax(True),
    "JAX, jvp of jvp": lambda: with_jax(False),
    "PyTorch": with_torch,
}


def raced() -> dict[str, list[float]]:
    """Processor seconds of a step, in turn; the weights after ten steps must agree."""
    made = {name: make() for name, make in CONTENDERS.items()}
    for train, _ in made.values():
        train(10)
    machine.check_equal({name: answer() for name, (_, answer) in made.items()})
    turns = {name: partial(train, STEPS) for name, (train, _) in made.items()}
    return machine.in_turn(turns, STEPS, ROUNDS)


# ---------------------------------------------------------------- errors


def error_of(model: Any) -> float:
    """Relative L2 error on the grid of 256 x 100 points of the published solution."""
    x, t = (
        a.ravel()
        for a in np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0, 0.99, 100))
    )
    grid = np.stack([x, t], 1).astype(np.float32)
    u = model.u.predict(grid, batch_size=len(grid), verbose=0)[:, 0]
    truth = exact(x, t)
    return float(np.linalg.norm(u - truth) / np.linalg.norm(truth))


def trained() -> list[list[Any]]:
    """Rows of the table of errors: method, steps, processor seconds, error."""
    body = []
    model, x, y = prepared()
    start = time.process_time()
    model.fit(x, y, batch_size=len(x), epochs=15_000, shuffle=False, verbose=0)
    spent = time.process_time() - start
    body.append(["Adam", 15_000, spent, error_of(model)])
    start = time.process_time()
    done = solvers.lbfgs(model, x, y, max_iterations=15_000)
    spent += time.process_time() - start
    name = "Adam, then L-BFGS"
    body.append([name, 15_000 + done.iterations, spent, error_of(model)])
    for solve, name, most in (
        (solvers.lbfgs, "L-BFGS", 5000),
        (solvers.levenberg_marquardt, "Levenberg-Marquardt", 100),
        (solvers.levenberg_marquardt, "Levenberg-Marquardt", 200),
    ):
        if most != 200:  # the last one goes on
            model, x, y = prepared()
            spent, steps = 0.0, 0
        start = time.process_time()
        done = solve(model, x, y, max_iterations=most - steps)
        spent, steps = spent + time.process_time() - start, steps + done.iterations
        body.append([name, steps, spent, error_of(model)])
    return body


def page() -> str:
    kurve.set_threads(1)
    watch = machine.Watch()
    times = raced()
    found = {"times": {name: {"seconds": seconds} for name, seconds in times.items()}}
    body = [
        [name, *tables.figures(found["times"][name], 1e3), tables.versus(found, name)]
        for name in times
    ]
    steps = tables.rows(["", "ms a step", "best round", "ratio"], body)
    errors = tables.rows(
        ["method", "steps", "seconds", "relative error of u"],
        [[m, f"{n:,}", f"{s:.0f}", f"{e:.2g}"] for m, n, s, e in trained()],
    )
    import jax
    import torch

    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    shown = f"JAX {jax.__version__}, torch {torch.__version__}"
    what = (__doc__ or "").split("\n\n")[-1].strip()
    return f"""# Burgers' equation

Written by `python -m bench.pinn --write` on {today}.

- processor: {about["processor"]}, one thread
- versions: {shown}
- meanwhile other programs used {100 * busy:.0f} % of the cores' time

{what}

## A step of Adam

In processor time, in turn. All start from the same weights, and after ten steps they
must agree to 1e-5 on average. A ratio above 1 means that Kurve is faster. "Stacked by
hand" is JAX's fastest form: values and derivatives go through each layer in one
product.

{steps}

## The error

Relative L2 error of u on 256 x 100 points; the truth is the integral of Cole and Hopf.
The residuals are outputs of the model, and their targets are 0, so that each method
trains them.

{errors}
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__ or "")
