"""Solve a differential equation with a network: Burgers' equation.

    python burgers.py [STEPS]     Levenberg-Marquardt steps; by default 150

    u_t + u u_x = 0.01 / pi u_xx,   u(x, 0) = -sin(pi x),   u(-1, t) = u(1, t) = 0

A wave steepens until viscosity stops it: at t = 0.3 a front forms at x = 0. No data are
needed. The model's output is the residual of the equation, and its target is 0. The
factor t (1 - x^2) builds the initial and boundary conditions in, so the network only
learns the rest.

Prints the error against the exact solution, and writes burgers.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Model, Sequential, layers, ops, solvers, utils

VISCOSITY = 0.01 / np.pi


# %% The model: its output is the residual
class Burgers(Model):
    def __init__(self):
        super().__init__()
        self.rest = Sequential([layers.Dense(20, "tanh") for _ in range(3)])
        self.last = layers.Dense(1)

    def u(self, p):
        x, t = p[:, :1], p[:, 1:]
        return t * (1 - x**2) * self.last(self.rest(p)) - ops.sin(np.pi * x)

    def call(self, p):
        u, u_x, u_t, u_xx = ops.derivatives(self.u, p, ["", "0", "1", "00"])
        return u_t + u * u_x - VISCOSITY * u_xx


# %% Points: half of them spread over the whole domain, half near the front
utils.set_random_seed(1)
rng = np.random.default_rng(1)
points = rng.uniform((-1, 0), (1, 1), (3000, 2))
points[1500:, 0] *= np.abs(points[1500:, 0]) ** 2
points = points.astype(np.float32)

# %% Training: a few steps of Adam first, then least squares
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 150
model = Burgers()
model.compile("adam", "mse")
model.fit(points, np.zeros(3000), batch_size=500, epochs=30, verbose=0)
missed = model.evaluate(points, np.zeros(3000), verbose=0)
print(f"mean squared residual after Adam {missed:.1e}")
found = solvers.levenberg_marquardt(model, points, np.zeros(3000), max_iterations=steps)
print(f"after {found.iterations} steps of least squares {found.loss:.1e}")


# %% The exact solution: an average over the initial wave (Cole, Hopf)
def exact(x, t):
    nodes, weights = np.polynomial.hermite.hermgauss(100)
    y = x[..., None] - np.sqrt(4 * VISCOSITY * t)[..., None] * nodes
    power = -np.cos(np.pi * y) / (2 * np.pi * VISCOSITY)
    share = weights * np.exp(power - power.max(-1, keepdims=True))
    return -(share * np.sin(np.pi * y)).sum(-1) / share.sum(-1)


x, t = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0, 0.99, 100))
grid = np.stack([x.ravel(), t.ravel()], axis=1).astype(np.float32)
u, truth = model.u(grid).reshape(x.shape), exact(x, t)
error = np.linalg.norm(u - truth) / np.linalg.norm(truth)
print(f"relative error {100 * error:.2f}%")

# %% The picture
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2))
shown = left.pcolormesh(t, x, u, cmap="RdBu_r", shading="auto")
fig.colorbar(shown, ax=left, label="u")
left.set(xlabel="t", ylabel="x")
for row, color in zip((0, 25, 50, 99), ("0.7", "C0", "C1", "C3"), strict=True):
    right.plot(x[row], truth[row], color=color, lw=4, alpha=0.35)
    right.plot(x[row], u[row], color=color, lw=1.2, label=f"t = {t[row, 0]:.2f}")
right.set(xlabel="x", title="the network; broad: exact")
right.legend()
fig.tight_layout()
fig.savefig("burgers.png")
print("wrote burgers.png")
