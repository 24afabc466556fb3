"""Turn noise into points: a diffusion model of a spiral.

    python diffusion.py [EPOCHS]     a hundred steps each; by default 60

Noise is mixed into points, from none (time 0) to nothing but noise (time 1). A network
learns to predict the noise in a point; removing it little by little leads from pure
noise to points on the spiral (Ho et al. 2020; the steps are those of Song et al. 2020).

Prints how many generated points lie near the spiral, and writes diffusion.png.
"""

# %% Imports
import sys
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Input, Model, layers, ops, optimizers, utils

utils.set_random_seed(1)
random = np.random.default_rng(1)


# %% The data, and the amounts of signal and noise at each time
def spiral(turn):
    return np.stack([turn * np.cos(9 * turn), turn * np.sin(9 * turn)], axis=-1) * 2


def parts(time):
    return np.cos(np.pi / 2 * time), np.sin(np.pi / 2 * time)


def batches(size=512):
    """Noisy points with their times, and the noise."""
    while True:
        points = spiral(random.uniform(0.1, 1, size))
        time, noise = random.uniform(0, 1, (size, 1)), random.normal(size=(size, 2))
        point_part, noise_part = parts(time)
        yield (point_part * points + noise_part * noise, time), noise


# %% The network
point, time = Input((2,)), Input((1,))
waves = [wave(np.pi * n * time) for n in (1, 2, 4) for wave in (ops.sin, ops.cos)]
h = layers.Concatenate()([point, time, *waves])
for _ in range(3):
    h = layers.Dense(128, activation="silu")(h)
model = Model([point, time], layers.Dense(2)(h))

# %% Training
epochs, steps = int(sys.argv[1]) if sys.argv[1:] else 60, 100
rate = optimizers.schedules.CosineDecay(1e-2, epochs * steps)
model.compile(optimizers.Adam(rate), "mse")
history = model.fit(batches(), steps_per_epoch=steps, epochs=epochs, verbose=2)
loss = history.history["loss"]

# %% From noise to points
now, states = random.normal(size=(2_000, 2)), {}
times = np.linspace(0.99, 0, 100)
for before, after in pairwise(times):
    noise = model.predict((now, np.full((len(now), 1), before)), verbose=0)
    point_part, noise_part = parts(before)
    states[round(before, 2)] = now
    clean = (now - noise_part * noise) / point_part
    point_part, noise_part = parts(after)
    now = point_part * clean + noise_part * noise
states[0.0] = now

# %% How good they are
line = spiral(np.linspace(0.1, 1, 2_000))


def near(points):
    return (((points[:, None] - line) ** 2).sum(-1).min(1) < 0.1**2).mean()


print(f"\n{near(states[0.99]):.1%} of the points of noise are near the spiral")
print(f"{near(now):.1%} of the points made of them")

# %% The picture
figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
axes[0].plot(np.arange(1, epochs + 1), loss)
axes[0].set(xlabel="epoch", ylabel="mean squared error")
for ax, time in zip(axes[1:], (0.99, 0.5, 0.2, 0.0), strict=True):
    ax.scatter(*states[time].T, s=1, color="C1")
    ax.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], title=f"time {time:g}")
figure.savefig("diffusion.png")
print("Picture: diffusion.png")
