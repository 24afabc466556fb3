"""Say of each pixel what it belongs to: an encoder and a decoder, as in SegNet.

Noisy pictures of circles, squares and triangles are drawn; the network learns to name
the shape that each pixel lies in. Prints the share of right pixels and, for each shape,
intersection over union; writes segmentation.png.
"""

# %% Imports
import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import layers, models, optimizers, utils

NAMES = ["nothing", "circle", "square", "triangle"]
SIZE = 48
utils.set_random_seed(0)


# %% The data: up to four shapes a picture, the last one on top
def draw(random, count):
    """Pictures (count, SIZE, SIZE, 1), classes of their pixels (count, SIZE, SIZE)."""
    row, column = np.mgrid[:SIZE, :SIZE]
    pictures = np.zeros((count, SIZE, SIZE), np.float32)
    classes = np.zeros((count, SIZE, SIZE), np.uint8)
    for picture, named in zip(pictures, classes, strict=True):
        for _ in range(random.integers(1, 5)):
            kind, radius = random.integers(1, 4), random.uniform(5, 12)
            down = row - random.uniform(8, 40)
            right = column - random.uniform(8, 40)
            inside = {
                1: np.hypot(down, right) < radius,
                2: np.maximum(abs(down), abs(right)) < 0.9 * radius,
                3: (down < radius) & (down > 2 * abs(right) - radius),
            }[int(kind)]
            picture[inside], named[inside] = random.uniform(0.3, 1.0), kind
        picture += random.normal(0.0, 0.15, picture.shape)
    return pictures[..., None], classes


random = np.random.default_rng(0)
x, y = draw(random, 3000)
x_test, y_test = draw(random, 500)


# %% The network: pictures become smaller and deeper, then larger again
def block(filters):
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
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
        layers.MaxPooling2D(),
        *block(64),
        layers.UpSampling2D(),
        *block(64),
        layers.UpSampling2D(),
        *block(32),
        layers.UpSampling2D(),
        *block(16),
        layers.Conv2D(len(NAMES), 1, activation="softmax"),
    ]
)
epochs, batch_size = 15, 32
steps = epochs * -(-len(x) // batch_size)
rate = optimizers.schedules.CosineDecay(4e-3, decay_steps=steps)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=optimizers.Adam(rate),
    metrics=["accuracy"],
)
model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=2)

# %% How good it is
guess = model.predict(x_test, verbose=0).argmax(axis=-1)
print(f"\n{(guess == y_test).mean():.2%} of the pixels are right")
for number, name in enumerate(NAMES):
    both = ((guess == number) & (y_test == number)).sum()
    either = ((guess == number) | (y_test == number)).sum()
    print(f"{name:10} intersection over union {both / either:.3f}")

# %% A picture: what it sees, what is right, what it says
figure, axes = plt.subplots(3, 6, figsize=(9, 4.8), layout="constrained")
for i, (picture, right, said) in enumerate(axes.T):
    picture.imshow(x_test[i, ..., 0], cmap="gray_r")
    right.imshow(y_test[i], vmin=0, vmax=3, cmap="viridis")
    said.imshow(guess[i], vmin=0, vmax=3, cmap="viridis")
for ax, label in zip(axes[:, 0], ("picture", "truth", "network"), strict=True):
    ax.set_ylabel(label)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
figure.savefig("segmentation.png")
print("Picture: segmentation.png")
