"""Generate points, or digits, that look real: two networks that compete.

    python gan.py points [STEPS]          in eight clusters on a circle
    python gan.py digits [STEPS [FILE]]   from `datasets.load_images`, or from FILE

A generator turns random numbers into examples, and a critic judges how real they look.
Each learns to outwit the other (Goodfellow et al. 2014).

Prints how many points lie in a cluster, and how many in each; for digits, how many the
critic takes for real. Writes gan_points.png or gan_digits.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Model, Sequential, datasets, layers, optimizers, utils

utils.set_random_seed(1)
random = np.random.default_rng(1)
kind, *options = sys.argv[1:] or ["points"]
relu, leaky = {"activation": "relu"}, {"activation": "leaky_relu"}

# %% Digits: pixels from -1 to 1, two convolutions each way
if kind == "digits":
    name, ((images, _), _) = datasets.load_images(*options[1:])
    print(f"{name}: {len(images)} pictures")
    real = (images[..., None] / 127.5 - 1).astype("float32")
    side = images.shape[1] // 4
    making = [
        layers.Dense(side * side * 32, **relu),
        layers.Reshape((side, side, 32)),
        layers.UpSampling2D(),
        layers.Conv2D(16, 3, padding="same", **relu),
        layers.UpSampling2D(),
        layers.Conv2D(1, 5, padding="same", activation="tanh"),
    ]
    judging = [
        layers.Conv2D(16, 5, 2, padding="same", **leaky),
        layers.Conv2D(32, 5, 2, padding="same", **leaky),
        layers.Flatten(),
    ]
    size, steps, batch_size = 32, 1_500, 32

# %% Points
else:
    angle = 2 * np.pi * random.integers(0, 8, 8_192) / 8
    spots = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    real = (spots + random.normal(0, 0.05, spots.shape)).astype("float32")
    making = [layers.Dense(64, **relu), layers.Dense(64, **relu), layers.Dense(2)]
    judging = [layers.Dense(64, **leaky), layers.Dense(64, **leaky)]
    size, steps, batch_size = 8, 6_000, 128

steps = int(options[0]) if options else steps

# %% The networks: in `pair` the critic is frozen
generator = Sequential([layers.Input((size,)), *making])
critic = Sequential(
    [layers.Input(real.shape[1:]), *judging, layers.Dense(1, activation="sigmoid")]
)
frozen = Model(critic.inputs, critic.outputs, trainable=False)
pair = Model(generator.inputs, frozen(generator.output))
for model in (critic, pair):
    model.compile(optimizers.Adam(1e-3, beta_1=0.5), "binary_crossentropy")


def noise(count):
    return random.normal(size=(count, size)).astype("float32")


# %% Training: the critic learns what is real, the generator what passes for it
labels = np.repeat([1.0, 0.0], batch_size)
losses = []
for step in range(steps):
    made = generator.predict(noise(batch_size), verbose=0)
    rows = random.integers(0, len(real), batch_size)
    critic_loss = critic.train_on_batch(np.concatenate([real[rows], made]), labels)
    pair_loss = pair.train_on_batch(noise(batch_size), labels[:batch_size])
    losses.append((critic_loss, pair_loss))
    if (step + 1) % (steps // 10) == 0:
        print(f"step {step + 1}: critic {critic_loss:.3f}, generator {pair_loss:.3f}")
made = generator.predict(noise(2_000), verbose=0)

# %% How good they are
if kind == "digits":
    share = (critic.predict(made, verbose=0) > 0.5).mean()
    print(f"\nThe critic takes {share:.0%} of the digits made for real")
else:
    gap = np.linalg.norm(made[:, None] - np.unique(spots.round(9), axis=0), axis=-1)
    near = gap.min(axis=1) < 0.2
    counts = np.bincount(gap.argmin(axis=1)[near], minlength=8)
    print(f"\n{near.mean():.1%} of the points lie in a spot; in each: {counts}")

# %% The picture
figure, (left, *rest) = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
smooth = np.array(losses).reshape(50, -1, 2).mean(axis=1)
left.plot(np.linspace(0, steps, 50), smooth, label=["critic", "generator"])
left.axhline(np.log(2), color="0.6", ls=":", label="both guess")
left.set(xlabel="step", ylabel="cross-entropy")
left.legend(frameon=False)
for ax, data, title in zip(rest, (real, made), ("real", "made"), strict=True):
    if kind == "digits":
        rows = data[:64].reshape(8, 8, *real.shape[1:3]).swapaxes(1, 2)
        ax.imshow(rows.reshape(8 * real.shape[1], -1), cmap="gray_r")
    else:
        ax.scatter(*data[:2_000].T, s=2, color="C1")
        ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    ax.set(xticks=[], yticks=[], title=title)
picture = f"gan_{kind}.png"
figure.savefig(picture)
print(f"Picture: {picture}")
