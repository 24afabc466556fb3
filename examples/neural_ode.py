"""Learn a law of motion from measured paths: a neural differential equation.

    python neural_ode.py [EPOCHS]     passes over the paths; by default 200

The numbers of hares and lynxes rise and fall in turn (Lotka 1925, Volterra 1926). The
model sees noisy paths and learns dy/dt = f(y), where f is a small network that a
Runge-Kutta method integrates (Chen et al. 2018). Then it predicts paths much longer
than those it learned from.

Prints its error on paths from new starts, and writes neural_ode.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Model, Sequential, layers, ops, optimizers, utils

utils.set_random_seed(1)
random = np.random.default_rng(1)
STEP = 0.2


# %% A step in time, by the Runge-Kutta method
def after(change, y):
    a = change(y)
    b = change(y + STEP / 2 * a)
    c = change(y + STEP / 2 * b)
    d = change(y + STEP * c)
    return y + STEP / 6 * (a + 2 * b + 2 * c + d)


# %% The data: logarithms of the numbers, 200 paths of 20 steps, with noise
def law(y):
    hares, lynxes = np.exp(y[:, :1]), np.exp(y[:, 1:])
    return np.concatenate([1 - lynxes, hares - 1], axis=1)


def paths(starts, change, steps):
    """From each start (n, 2): (n, steps, 2)."""
    states = [starts]
    for _ in range(steps):
        states.append(after(change, states[-1]))
    return np.stack(states[1:], axis=1)


starts = random.uniform(-1, 1, (200, 2))
measured = paths(starts, law, 20) + random.normal(0, 0.05, (200, 20, 2))


# %% The network: the same steps as a model
class Motion(Model):
    """The path from a start, 20 steps long."""

    def __init__(self):
        super().__init__()
        self.change = Sequential(
            [layers.Dense(32, "tanh"), layers.Dense(32, "tanh"), layers.Dense(2)]
        )

    def call(self, y):
        def step(y, _):
            y = after(self.change, y)
            return y, y

        _, path = ops.scan(step, y, length=20)
        return ops.transpose(path, (1, 0, 2))


# %% Training
epochs = int(sys.argv[1]) if sys.argv[1:] else 200
model = Motion()
rate = optimizers.schedules.CosineDecay(1e-2, epochs * 4)
model.compile(optimizers.Adam(rate), "mse")
history = model.fit(starts, measured, batch_size=50, epochs=epochs, verbose=0)
loss = history.history["loss"]

# %% Five times longer than it has seen, from new starts
new = random.uniform(-1, 1, (100, 2)).astype("float32")
truth = paths(new, law, 100)


def learned(y):
    return model.change.predict(y, verbose=0)


found = paths(new, learned, 100)
error = np.sqrt(((found - truth) ** 2).mean(axis=(0, 2)))
print(f"Loss {loss[-1]:.4f}; noise alone gives {0.05**2:.4f}")
for steps in (20, 100):
    print(f"Off by {error[steps - 1]:.3f} after {steps} steps")

# %% The picture
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(11, 3.8), layout="constrained"
)
left.semilogy(np.arange(1, epochs + 1), loss)
left.axhline(0.05**2, color="0.6", ls=":", label="noise")
left.set(xlabel="epoch", ylabel="mean squared error")
left.legend(frameon=False)
middle.scatter(*measured[:3].reshape(-1, 2).T, s=8, color="0.5")
for path in paths(starts[:3], learned, 40):
    middle.plot(*path.T)
middle.set(xlabel="logarithm of hares", ylabel="of lynxes")
middle.set_title("measured (points), learned (lines)")
time = STEP * np.arange(1, 101)
right.plot(time, np.exp(truth[0]), color="0.7", lw=4)
right.plot(time, np.exp(found[0]), label=["hares", "lynxes"])
right.axvspan(0, 20 * STEP, color="0.93")
right.set(xlabel="time", ylabel="number, from a new start", ylim=(0, 3))
right.legend(frameon=False, loc="upper center", ncols=2)
figure.savefig("neural_ode.png")
print("Picture: neural_ode.png")
