"""Add two numbers that are written as text: one LSTM reads, another one writes.

    python addition.py [EPOCHS]     passes over the data; by default 8

The question is "47+682" and the answer "729", character by character: nobody tells the
network what a digit is, or how to carry. After Keras's example "Sequence to sequence
learning for performing number addition".

Prints how many sums, none of them seen in training, are right to the last digit, and
writes addition.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import callbacks, layers, models, optimizers, utils

# %% The data: different pairs of numbers of up to three digits
SIGNS, DIGITS, TEST = "0123456789+ ", 3, 5_000
utils.set_random_seed(1)
random = np.random.default_rng(1)
sizes = 10 ** random.integers(1, DIGITS + 1, (90_000, 2))  # short numbers are as likely
pairs = np.unique(random.integers(0, sizes), axis=0)
random.shuffle(pairs)


def numbers(texts, length):
    """The number of each character: (n, length); texts are padded with spaces."""
    return np.array([[SIGNS.index(s) for s in text.ljust(length)] for text in texts])


# Reversed, the last digits come first, in the question and in the answer.
x = numbers([f"{a}+{b}"[::-1] for a, b in pairs], 2 * DIGITS + 1)
y = numbers([str(a + b)[::-1] for a, b in pairs], DIGITS + 1)
x_test, y_test, x, y = x[:TEST], y[:TEST], x[TEST:], y[TEST:]
print(f"{len(x)} sums to learn from, {TEST} others for the test")

# %% The network
model = models.Sequential(
    [
        layers.Input(shape=(2 * DIGITS + 1,)),
        layers.Embedding(len(SIGNS), 16),
        layers.LSTM(96),  # reads: only its final state is passed on
        layers.RepeatVector(DIGITS + 1),
        layers.LSTM(96, return_sequences=True),  # writes
        layers.Dense(len(SIGNS), activation="softmax"),
    ]
)
epochs, batch_size = int(sys.argv[1]) if sys.argv[1:] else 8, 64
rate = optimizers.schedules.CosineDecay(8e-3, epochs * -(-len(x) // batch_size))
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=optimizers.Adam(rate, clipnorm=1.0),
    metrics=["accuracy"],
)
# %% Training: after each epoch, the accuracy at each position of the answer
places = []


def look(epoch, logs):
    places.append((model.predict(x_test, verbose=0).argmax(axis=-1) == y_test).mean(0))


history = model.fit(
    x,
    y,
    batch_size=batch_size,
    epochs=epochs,
    validation_data=(x_test, y_test),
    callbacks=[callbacks.LambdaCallback(on_epoch_end=look)],
    verbose=2,
).history

# %% Which sums are right
guess = model.predict(x_test, verbose=0).argmax(axis=-1)
right = (guess == y_test).all(axis=1)
print(f"\n{right.mean():.2%} of the sums are right")


def text(row):
    return "".join(SIGNS[number] for number in row[::-1]).strip()


for row in [*range(5), *np.flatnonzero(~right)[:5]]:
    a, b = text(x_test[row]), text(guess[row])
    print(f"{a:>7} = {b:<4} {'right' if right[row] else 'wrong'}")

# %% The picture
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
number = np.arange(1, epochs + 1)
left.semilogy(number, history["loss"], label="sums to learn from")
left.semilogy(number, history["val_loss"], label="other sums")
left.set(xlabel="epoch", ylabel="cross-entropy")
left.legend(frameon=False)
right.plot(number, places, label=["last digit", "tens", "hundreds", "thousands"])
right.set(xlabel="epoch", ylabel="right signs of the answer", ylim=(0, 1.03))
right.legend(frameon=False)
figure.savefig("addition.png")
print("Picture: addition.png")
