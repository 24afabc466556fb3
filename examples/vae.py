"""Draw new digits: a variational autoencoder with a two-dimensional code.

    python vae.py [FILE]     digits from `datasets.load_images`, or from FILE

An encoder maps a digit to a mean and a spread; a decoder draws the digit of a code. The
cost of a digit is its reconstruction error plus the divergence of its mean and spread
from the standard normal distribution (Kingma & Welling 2013), which keeps the map free
of holes. After Keras's example "Variational AutoEncoder".

Prints both parts of the cost on digits not seen in training, and writes vae.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

import kurve
from kurve import Input, Model, datasets, layers, ops, optimizers, utils

# %% The data: pixels from 0 to 1
utils.set_random_seed(1)
name, ((x, _), (x_test, y_test)) = datasets.load_images(*sys.argv[1:])
x, x_test = (a.astype("float32") / 255 for a in (x, x_test))
size = x.shape[1:]
print(f"{name}: {len(x)} pictures to learn from, {len(x_test)} for the test")


# %% The network
class Sampling(layers.Layer):
    """A random code near the mean; adds the divergence from N(0, 1) to the loss."""

    def call(self, mean, log_variance, training=False):
        spread = ops.exp(log_variance)
        self.add_loss(
            ops.mean(ops.sum(mean**2 + spread - 1 - log_variance, axis=1)) / 2
        )
        if not training:
            return mean
        return mean + ops.sqrt(spread) * kurve.random.normal(ops.shape(mean))


def drawing_error(x, drawn):
    """Cross-entropy of the pixels, summed over the picture."""
    return ops.sum(ops.binary_crossentropy(x, drawn), axis=(1, 2))


picture, place = Input(size), Input((2,))
h = layers.Flatten()(picture)
for units in (256, 128):
    h = layers.Dense(units, activation="relu")(h)
mean, log_variance = layers.Dense(2)(h), layers.Dense(2)(h)
encoder = Model(picture, mean)

h = place
for units in (128, 256):
    h = layers.Dense(units, activation="relu")(h)
h = layers.Dense(size[0] * size[1], activation="sigmoid")(h)
decoder = Model(place, layers.Reshape(size)(h))

vae = Model(picture, decoder(Sampling()(mean, log_variance)))

# %% Training
epochs, batch_size = 20, 128
rate = optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(x) // batch_size))
vae.compile(optimizers.Adam(rate), drawing_error, metrics=[drawing_error])
history = vae.fit(x, x, batch_size=batch_size, epochs=epochs, verbose=2).history
found = vae.evaluate(x_test, x_test, verbose=0, return_dict=True)
error = found["drawing_error"]
print(
    f"\nNew digits: {found['loss']:.1f} in all, of which {error:.1f} for the drawing "
    f"and {found['loss'] - error:.1f} for the place"
)

# %% The map: the codes of new digits, and what the decoder draws at each point
places = encoder.predict(x_test, verbose=0)
steps = np.linspace(-2.2, 2.2, 18)
grid = np.stack(np.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
rows = decoder.predict(grid, verbose=0).reshape(18, 18, *size)
atlas = rows.swapaxes(1, 2).reshape(18 * size[0], 18 * size[1])

# %% The picture
figure = plt.figure(figsize=(11, 5.2), layout="constrained")
axes = figure.subplot_mosaic("MMDD;MMDD;LLDD")
for digit in range(10):
    here = places[y_test == digit]
    axes["M"].scatter(*here.T, s=2, alpha=0.5, color=f"C{digit}", label=digit)
axes["M"].set(xlim=(-4, 4), ylim=(-4, 4), title="places of new digits")
axes["M"].legend(markerscale=6, frameon=False, ncols=2, loc="upper left")
axes["D"].imshow(atlas, cmap="gray_r", extent=(-2.3, 2.3, -2.3, 2.3))
axes["D"].set(title="what the decoder draws there")
axes["L"].plot(np.arange(1, epochs + 1), history["loss"], label="in all")
axes["L"].plot(np.arange(1, epochs + 1), history["drawing_error"], label="drawing")
axes["L"].set(xlabel="epoch", ylabel="cost")
axes["L"].legend(frameon=False)
figure.savefig("vae.png")
print("Picture: vae.png")
