"""Classify each pixel of an image: an encoder and a decoder, as in SegNet.

    python segmentation.py [PICTURES]

It draws PICTURES (by default 2,000) noisy images of circles, squares and triangles; the
network learns which shape each pixel belongs to. Prints the pixel accuracy and, for
each shape, the intersection over union; writes segmentation.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from kurve import layers, models, optimizers, utils

COLOURS = {
    "nothing": "#e9ecef",
    "circle": "#3b8bd4",
    "square": "#e8743b",
    "triangle": "#3fa66b",
}
SIZE = 48
utils.set_random_seed(0)


# %% The data: up to four shapes per image, the last one on top, in different greys
def draw(random, count):
    """Pictures (count, SIZE, SIZE, 1), classes of their pixels (count, SIZE, SIZE)."""
    row, column = np.mgrid[:SIZE, :SIZE]
    pictures = random.normal(0.0, 0.15, (count, SIZE, SIZE)).astype(np.float32)
    classes = np.zeros((count, SIZE, SIZE), np.uint8)
    for picture, named in zip(pictures, classes, strict=True):
        clean = np.zeros((SIZE, SIZE), np.float32)
        greys = random.permutation([0.4, 0.6, 0.8, 1.0])
        for grey in greys[: random.integers(1, 5)]:
            kind, radius = random.integers(1, 4), random.uniform(6, 12)
            down = row - random.uniform(8, 40)
            right = column - random.uniform(8, 40)
            inside = {
                1: np.hypot(down, right) < radius,
                2: np.maximum(abs(down), abs(right)) < 0.9 * radius,
                3: (down < radius) & (down > 2 * abs(right) - radius),
            }[int(kind)]
            clean[inside], named[inside] = grey, kind
        picture += clean
    return pictures[..., None], classes


random = np.random.default_rng(0)
x, y = draw(random, int(sys.argv[1]) if sys.argv[1:] else 2000)
x_test, y_test = draw(random, 500)


# %% The network: feature maps become smaller and deeper, then larger again
def block(filters):
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.Activation("relu"),
    ]


model = models.Sequential(
    [
        layers.Input(shape=(SIZE, SIZE, 1)),
        *block(16),
        layers.MaxPooling2D(),
        *block(32),
        layers.MaxPooling2D(),
        *block(64),
        *block(64),
        *block(32),
        layers.UpSampling2D(),
        *block(16),
        layers.UpSampling2D(),
        *block(16),
        layers.Conv2D(len(COLOURS), 1, activation="softmax"),
    ]
)
epochs, batch_size = 10, 32
steps = epochs * -(-len(x) // batch_size)
rate = optimizers.schedules.CosineDecay(4e-3, decay_steps=steps)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=optimizers.Adam(rate),
    metrics=["accuracy"],
)
model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=2)

# %% Its accuracy
guess = model.predict(x_test, verbose=0).argmax(axis=-1)
print(f"\n{(guess == y_test).mean():.2%} of the pixels are right")
for number, name in enumerate(COLOURS):
    both = ((guess == number) & (y_test == number)).sum()
    either = ((guess == number) | (y_test == number)).sum()
    print(f"{name:10} intersection over union {both / either:.3f}")

# %% A plot: input, truth, prediction
figure, axes = plt.subplots(3, 6, figsize=(9, 5), layout="constrained")
colours = ListedColormap(list(COLOURS.values()))
for i, (picture, truth, prediction) in enumerate(axes.T):
    picture.imshow(x_test[i, ..., 0], cmap="gray_r")
    truth.imshow(y_test[i], vmin=0, vmax=3, cmap=colours)
    prediction.imshow(guess[i], vmin=0, vmax=3, cmap=colours)
for ax, label in zip(axes[:, 0], ("picture", "truth", "network"), strict=True):
    ax.set_ylabel(label)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
figure.legend(
    patches, list(COLOURS), loc="outside lower center", ncols=4, frameon=False
)
figure.savefig("segmentation.png")
print("Picture: segmentation.png")
