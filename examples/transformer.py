"""Two small transformers: the next values of a series, and the next letters of a text.

    python transformer.py [EPOCHS]     passes over the data; by default 20

Both use the same block: causal attention and a network applied to each step, each with
a residual connection. The first one reads a noisy sum of two waves and predicts what
follows; the second one learns sentences in which a verb agrees with a noun some words
earlier, so it must look back.

Prints errors next to those of simple rules, and writes transformer.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import layers, models, optimizers, utils

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
rng = np.random.default_rng(1)
utils.set_random_seed(1)
WIDTH, HEADS = 32, 4


# %% The block
class Positions(layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x):
        return x + self.table


def block(x):
    """Attention to earlier steps, then two dense layers for each step."""
    y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
    x = layers.Add()([x, y])
    y = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(WIDTH)(y)])


# %% A series: in each window, every step predicts the next value
STEPS = 32
time = np.arange(2400)
series = np.sin(time / 5) + 0.6 * np.sin(time / 3.1) + rng.normal(0, 0.05, time.size)
windows = np.lib.stride_tricks.sliding_window_view(series, STEPS + 1)[..., None]
train, test = windows[: -STEPS - 400], windows[-400:]

start = layers.Input(shape=(STEPS, 1))
end = block(Positions()(layers.Dense(WIDTH)(start)))
forecaster = models.Model(start, layers.Dense(1)(layers.LayerNormalization()(end)))
forecaster.compile(optimizers.Adam(0.003), "mse")
forecaster.fit(train[:, :-1], train[:, 1:], batch_size=32, epochs=epochs, verbose=0)


def error(forecast):
    """RMSE for the step after each window."""
    return float(np.sqrt(np.mean((forecast - test[:, -1, 0]) ** 2)))


predicted = forecaster.predict(test[:, :-1], verbose=0)[:, -1, 0]
print("The next value; error (the noise alone is 0.05):")
print(f"the last value         {error(test[:, -2, 0]):.3f}")
print(f"a straight line        {error(2 * test[:, -2, 0] - test[:, -3, 0]):.3f}")
print(f"transformer            {error(predicted):.3f}")

# %% Its forecast of many steps: each value is the input of the next ones
seen = test[0, :-1, 0].copy()
future = []
for _ in range(60):
    value = forecaster.predict(seen[None, :, None], verbose=0)[0, -1, 0]
    future.append(value)
    seen = np.append(seen[1:], value)

# %% Letters: sentences like "the cat near the dogs sleeps."
NOUNS, VERBS = ("cat", "dog", "bird", "frog"), ("sleep", "sing", "jump")


def sentence():
    """A noun, usually a second one after it, and a verb that agrees with the first."""
    first, second = rng.choice(NOUNS, 2)
    many, others = rng.integers(0, 2, 2)
    between = f" near the {second}{'s' * others}" if rng.random() < 0.8 else ""
    verb = rng.choice(VERBS) + ("" if many else "s")
    return f"the {first}{'s' * many}{between} {verb}."


LENGTH = 36
LETTERS = " .abcdefghijklmnopqrstuvwxyz"
texts = [sentence() for _ in range(1500)]
numbers = np.array(
    [[LETTERS.index(c) for c in text.ljust(LENGTH + 1)] for text in texts]
)
start = layers.Input(shape=(LENGTH,))
x = Positions()(layers.Embedding(len(LETTERS), WIDTH)(start))
end = layers.LayerNormalization()(block(block(x)))
writer = models.Model(start, layers.Dense(len(LETTERS), activation="softmax")(end))
writer.compile(optimizers.Adam(0.003), "sparse_categorical_crossentropy")
history = writer.fit(
    numbers[:, :-1], numbers[:, 1:], batch_size=32, epochs=epochs, verbose=0
)


def most_likely(text):
    """The text until its full stop, letter by letter."""
    while len(text) < LENGTH and not text.endswith("."):
        known = [[LETTERS.index(c) for c in text.ljust(LENGTH)]]
        chances = writer.predict(np.array(known), verbose=0)[0, len(text) - 1]
        text += LETTERS[int(chances.argmax())]
    return text


# %% Does the verb agree with the first noun, whatever comes between?
right = 0
for noun in NOUNS:
    for many in (False, True):
        for other in ("cats", "dog", "frogs", "bird"):
            text = f"the {noun}{'s' * many} near the {other} "
            verb = most_likely(text)[len(text) :]
            right += verb in [v + ("." if many else "s.") for v in VERBS]
print("\nLetters:", most_likely("the cats near the dog "))
print(f"verbs that agree       {right} of 32 (by chance 16)")

# %% The picture: the forecast, and the loss on letters
figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(2, 1))
left.plot(range(-STEPS, 0), test[0, :-1, 0], color="0.4", label="what it saw")
left.plot(series[-432:][STEPS : STEPS + 60], ".", color="0.7", label="what came")
left.plot(future, color="C3", label="forecast")
left.set_xlabel("step")
left.legend(loc="lower left")
middle.plot(np.arange(1, epochs + 1), history.history["loss"], "o-", ms=3)
middle.set_xlabel("epoch")
middle.set_ylabel("loss of a letter")
figure.tight_layout()
figure.savefig("transformer.png")
print("wrote transformer.png")
