"""Find what does not belong: an autoencoder that has seen zeros only.

    python anomalies.py [mnist.npz]

The network squeezes a picture into 16 numbers and draws it again from them. It learns
that for the digit 0 alone; what it draws badly is no 0. Prints how well the error of
the drawing tells zeros from other digits, and writes anomalies.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import datasets, layers, models

# %% The data: numbers from 0 to 1; the training set holds zeros only
name, ((x, y), (x_test, y_test)) = datasets.load_images(*sys.argv[1:])
x = x[y == 0, ..., None] / np.float32(255)
x_test = x_test[..., None] / np.float32(255)

# %% The network: smaller and smaller pictures, 16 numbers, larger and larger pictures
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
epochs = max(10, 60_000 // len(x))
model.fit(x, x, batch_size=64, epochs=min(epochs, 60), verbose=2)

# %% The error of each drawing
drawn = model.predict(x_test, verbose=0)
error = ((drawn - x_test) ** 2).mean(axis=(1, 2, 3))
normal = y_test == 0
threshold = np.quantile(error[normal], 0.95)

# How often another digit has a larger error than a zero: the area under the ROC curve
below = np.searchsorted(np.sort(error[normal]), error[~normal])
area = below.mean() / normal.sum()
caught = (error[~normal] > threshold).mean()
print(f"\n{name}: area under the ROC curve {area:.3f}")
print(f"a threshold that 95 % of the zeros pass stops {caught:.1%} of the others")

# %% A picture: digits above, what the network makes of them below
figure, axes = plt.subplots(2, 10, figsize=(10, 2.6), layout="constrained")
for digit, (above, beneath) in enumerate(axes.T):
    i = np.flatnonzero(y_test == digit)[0]
    above.imshow(x_test[i, ..., 0], cmap="gray_r")
    beneath.imshow(drawn[i, ..., 0], cmap="gray_r")
    mark = "passes" if error[i] <= threshold else "stopped"
    beneath.set_title(f"{error[i]:.3f}\n{mark}", fontsize=9)
    for ax in (above, beneath):
        ax.set(xticks=[], yticks=[])
figure.suptitle("pictures, and what an autoencoder of zeros draws; mean squared error")
figure.savefig("anomalies.png")
print("Picture: anomalies.png")
