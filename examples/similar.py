"""Put similar digits near each other: siamese and triplet networks, and a map of both.

    python similar.py [FILE]     digits from `datasets.load_images`, or from FILE

A network that places each picture on a map learns from comparisons alone. The siamese
network sees two digits and whether they are the same (Hadsell, Chopra & LeCun 2006);
the triplet network sees a digit, another example of it and a different digit (Schroff
et al. 2015). Neither is told which digit it sees.

Prints how often the nearest neighbour of a new picture is the same digit, and writes
similar.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Input, Model, Sequential, datasets, layers, ops, utils

# %% The data: for each picture, another one of the same digit and one of another digit
utils.set_random_seed(1)
random = np.random.default_rng(1)
name, ((x, y), (x_test, y_test)) = datasets.load_images(*sys.argv[1:])
print(f"{name}: {len(x)} pictures to learn from, {len(x_test)} for the test")


def partners(of):
    """For each row, a random one whose digit is that in `of`."""
    rows = [np.flatnonzero(y == digit) for digit in range(10)]
    return np.array([random.choice(rows[digit]) for digit in of])


like, unlike = partners(y), partners((y + random.integers(1, 10, len(y))) % 10)


# %% The networks: an encoder, used two or three times
def encoder():
    return Sequential(
        [
            Input(x.shape[1:]),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(2),
        ]
    )


def distance(a, b):
    return ops.sqrt(ops.sum((a - b) ** 2, axis=1, keepdims=True) + 1e-6)


def contrastive(same, apart):
    """Equal digits should be near each other, different ones at least 1 apart."""
    return same * apart**2 + (1 - same) * ops.relu(1 - apart) ** 2


def triplet(_, nearer):
    """An equal digit should be nearer than a different one, by 1."""
    return ops.relu(1 + nearer)


a, b, c = (Input(x.shape[1:]) for _ in range(3))
encoders = {"siamese": encoder(), "triplet": encoder()}
siamese, triplets = encoders.values()
siamese = Model([a, b], distance(siamese(a), siamese(b)))
near, far = (distance(triplets(a), triplets(other)) for other in (b, c))
triplets = Model([a, b, c], near - far)

# %% Training
options = {"batch_size": 128, "epochs": 8, "verbose": 2}
same = random.random(len(x)) < 0.5
other = np.where(same, like, unlike)
siamese.compile("adam", contrastive)
triplets.compile("adam", triplet)
losses = {
    "siamese": siamese.fit([x, x[other]], same, **options).history["loss"],
    "triplet": triplets.fit(
        [x, x[like], x[unlike]], np.zeros(len(x)), **options
    ).history["loss"],
}

# %% A new picture is taken for the digit of its nearest neighbour
maps = {name: network.predict(x_test, verbose=0) for name, network in encoders.items()}
for name, network in encoders.items():
    known = network.predict(x[:2_000], verbose=0)
    apart = ((maps[name][:, None] - known) ** 2).sum(-1)
    right = y[:2_000][apart.argmin(1)] == y_test
    print(f"{name}: {right.mean():.2%} of new digits lie nearest to one of their kind")

# %% The picture
figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for name, loss in losses.items():
    axes[0].plot(np.arange(1, len(loss) + 1), loss, label=name)
axes[0].set(xlabel="epoch", ylabel="loss", ylim=(0, None))
axes[0].legend(frameon=False)
for ax, (name, places) in zip(axes[1:], maps.items(), strict=True):
    for digit in range(10):
        here = places[y_test == digit]
        ax.scatter(*here.T, s=2, alpha=0.4, color=f"C{digit}")
        ax.text(*np.median(here, axis=0), digit, fontsize=16, weight="bold")
    ax.set(xticks=[], yticks=[], title=f"new digits, {name}")
figure.savefig("similar.png")
print("Picture: similar.png")
