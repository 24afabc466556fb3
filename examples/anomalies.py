"""Find anomalies: an autoencoder that has only seen zeros.

    python anomalies.py [FILE]     like Keras's mnist.npz; by default as in mnist.py

The network compresses an image into 16 numbers and reconstructs it from them. It learns
this from class 0 only, so images that it reconstructs badly belong to other classes.
Prints how well the reconstruction error separates them, and writes anomalies.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import datasets, layers, models

# %% The data: numbers from 0 to 1; only class 0 of the training set
name, ((x, y), (x_test, y_test)) = datasets.load_images(*sys.argv[1:])
x = x[y == 0, ..., None] / np.float32(255)
x_test = x_test[..., None] / np.float32(255)
kept = len(x) // 10
x, x_kept = x[kept:], x[:kept]

# %% The network: smaller and smaller feature maps, 16 numbers, and back again
model = models.Sequential(
    [
        layers.Input(shape=(28, 28, 1)),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(16),
        layers.Dense(7 * 7 * 32, activation="relu"),
        layers.Reshape((7, 7, 32)),
        layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid"),
    ]
)
model.compile(loss="binary_crossentropy", optimizer="adam")
epochs = np.clip(60_000 // len(x), 10, 60)
model.fit(x, x, batch_size=64, epochs=int(epochs), verbose=2)


# %% The error of each reconstruction; a threshold from held-out zeros
def error(pictures):
    """Mean squared error of the reconstructions, (n,)."""
    drawn = model.predict(pictures, verbose=0)
    return ((drawn - pictures) ** 2).mean(axis=(1, 2, 3))


threshold = np.quantile(error(x_kept), 0.95)
zeros, others = error(x_test[y_test == 0]), error(x_test[y_test != 0])

# The area under the ROC curve: how often another class has a larger error than a zero
area = np.searchsorted(np.sort(zeros), others).mean() / len(zeros)
print(f"\n{name}: area under the ROC curve {area:.3f}")
print(f"a threshold that 95 % of the kept zeros pass: {threshold:.4f}")
print(f"passed by {(zeros <= threshold).mean():.1%} of the zeros of the test set")
print(f"stops {(others > threshold).mean():.1%} of the others")

# %% A plot: each class and its reconstruction, and below them all errors
figure = plt.figure(figsize=(10, 5), layout="constrained")
top, bottom = figure.subfigures(2, 1)
axes = top.subplots(2, 10)
for number, (above, beneath) in enumerate(axes.T):
    picture = x_test[y_test == number][:1]
    above.imshow(picture[0, ..., 0], cmap="gray_r", vmin=0, vmax=1)
    drawn = model.predict(picture, verbose=0)
    beneath.imshow(drawn[0, ..., 0], cmap="gray_r", vmin=0, vmax=1)
    passes = error(picture)[0] <= threshold
    beneath.set_xlabel(
        "passes" if passes else "stopped", color="#3b8bd4" if passes else "#e8743b"
    )
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("picture")
axes[1, 0].set_ylabel("drawing")

ax = bottom.subplots()
bins = np.linspace(0, np.quantile(others, 0.995), 80)
ax.hist(zeros, bins, density=True, color="#3b8bd4", alpha=0.7, label="zeros")
ax.hist(others, bins, density=True, color="#e8743b", alpha=0.7, label="all others")
ax.axvline(threshold, color="black", linestyle="--", label="threshold")
ax.set(xlabel="mean squared error of the drawing", yticks=[])
ax.spines[["top", "right", "left"]].set_visible(False)
ax.legend(frameon=False)
figure.savefig("anomalies.png")
print("Picture: anomalies.png")
