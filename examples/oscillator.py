"""Find the constants of an equation from data: a damped oscillator.

    python oscillator.py

    u'' + 2 d u' + k u = 0

There are forty noisy measurements of u, in the first two thirds of the time span. The
constants d and k are weights of the model, so a network that has to match both the
measurements and the equation finds them. It also predicts the motion after the last
measurement.

Prints the constants, and writes oscillator.png.
"""

# %% Imports
import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Model, Sequential, layers, ops, solvers, utils
from kurve.initializers import RandomNormal

DAMPING, STIFFNESS = 0.4, 9.0


# %% The model: the residual of the equation, and the misfit
class Equation(layers.Layer):
    """Its weights are the constants."""

    def build(self, shape):
        self.damping = self.add_weight((1,), "zeros", name="damping")
        self.stiffness = self.add_weight((1,), "ones", name="stiffness")

    def call(self, u, u_t, u_tt):
        return u_tt + 2 * self.damping * u_t + self.stiffness * u


class Oscillator(Model):
    def __init__(self):
        super().__init__()
        waves = layers.Dense(16, "sin", kernel_initializer=RandomNormal(stddev=2.0))
        self.u = Sequential([waves, layers.Dense(16, "tanh"), layers.Dense(1)])
        self.equation = Equation()

    def call(self, rows):
        t, measured, is_measured = rows[:, :1], rows[:, 1:2], rows[:, 2:]
        u, u_t, u_tt = ops.derivatives(self.u, t, ["", "0", "00"])
        misfit = 10 * is_measured * (u - measured)
        return ops.concatenate([0.1 * self.equation(u, u_t, u_tt), misfit], axis=-1)


def truth(t):
    slow = np.sqrt(STIFFNESS - DAMPING**2)
    return np.exp(-DAMPING * t) * np.cos(slow * t)


# %% Rows (t, measured u, 1) of the measurements, (t, 0, 0) of other points
utils.set_random_seed(1)
rng = np.random.default_rng(1)
times = np.sort(rng.uniform(0, 4, 40))
measured = truth(times) + 0.03 * rng.normal(size=40)
others = np.linspace(0, 6, 160)
rows = np.zeros((200, 3), np.float32)
rows[:40] = np.stack([times, measured, np.ones(40)], axis=1)
rows[40:, 0] = others

# %% Training: the target of all residuals is 0
model = Oscillator()
model.build((None, 3))
solvers.levenberg_marquardt(model, rows, np.zeros((200, 2)), max_iterations=300)
damping, stiffness = (w.item() for w in model.equation.get_weights())
print(f"damping   {damping:.3f} (true: {DAMPING})")
print(f"stiffness {stiffness:.3f} (true: {STIFFNESS})")

# %% The picture
plt.figure(figsize=(8, 4))
plt.axvspan(4, 6, color="0.95")
plt.plot(others, truth(others), color="0.75", lw=5, label="exact")
plt.plot(times, measured, "k.", label="measured")
plt.plot(others, model.u.predict(others[:, None], verbose=0), label="network")
plt.xlabel("t")
plt.legend()
plt.tight_layout()
plt.savefig("oscillator.png")
print("wrote oscillator.png")
