"""Forecast a series: airline passengers, month by month.

    python forecast.py [EPOCHS]     passes over the data; by default 300

Three networks read the last two years and predict the next month: an LSTM, a Conv1D and
a GRU after a Bidirectional layer. They are compared with two forecasts without a
network: the last month, and the same month of the previous year, scaled by the last
year's growth. With so few numbers, a rule that knows about seasons is hard to beat.

Prints the errors for three years that no network has seen, and writes forecast.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import callbacks, layers, models, optimizers, utils

# %% The data: thousands of passengers, 1949 to 1960 (Box & Jenkins 1976, series G)
passengers = np.array([
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
    115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
    145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
    171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
    196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
    204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
    242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
    315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
    340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
    360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
    417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
], np.float32)  # fmt: skip
STEPS, TEST = 24, 36

# %% Windows: logarithms, shifted so that the last month of each window is 0
logs = np.log(passengers)
windows = np.lib.stride_tricks.sliding_window_view(logs, STEPS + 1)
last = windows[:, -2]
x = (windows[:, :-1] - last[:, None])[..., None]
y = windows[:, -1] - last
x_train, y_train = x[:-TEST], y[:-TEST]
scale = x_train.std()


# %% The networks
def network(*middle):
    """Layers between a window and one number."""
    utils.set_random_seed(1)
    model = models.Sequential(
        [
            layers.Input(shape=(STEPS, 1)),
            layers.Rescaling(1 / scale),
            *middle,
            layers.Dense(1),
            layers.Rescaling(scale),
        ]
    )
    model.compile(optimizer=optimizers.Adam(0.01), loss="mse")
    return model


both = layers.Bidirectional(layers.GRU(12, return_sequences=True))
networks = {
    "LSTM": network(layers.LSTM(24)),
    "Conv1D": network(
        layers.Conv1D(24, 13, activation="relu"),
        layers.Flatten(),
    ),
    "GRU behind both ways": network(both, layers.GRU(12)),
}

# %% Training
epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 300
forecasts = {
    "the last month": passengers[-TEST - 1 : -1],
    "a year ago, grown": passengers[-TEST - 12 : -12]
    * passengers[-TEST - 1 : -1]
    / passengers[-TEST - 13 : -13],
}
for name, model in networks.items():
    model.fit(
        x_train,
        y_train,
        batch_size=16,
        epochs=epochs,
        callbacks=[callbacks.ReduceLROnPlateau("loss", patience=30)],
        verbose=0,
    )
    step = model.predict(x[-TEST:], verbose=0)[:, 0]
    forecasts[name] = np.exp(last[-TEST:] + step)

# %% Errors of each forecast, as a fraction of the passengers
truth = passengers[-TEST:]
print("Forecast of the next month, 1958 to 1960; mean error:")
for name, forecast in forecasts.items():
    error = np.mean(abs(forecast - truth) / truth)
    print(f"{name:<22} {100 * error:5.2f}%")

# %% The picture
years = 1949 + np.arange(len(passengers)) / 12
plt.figure(figsize=(9, 4.5))
plt.plot(years[-60:], passengers[-60:], color="0.2", lw=2.5, label="passengers")
for name in ("the last month", "LSTM", "Conv1D"):
    style = {"ls": ":", "color": "0.6"} if name == "the last month" else {}
    plt.plot(years[-TEST:], forecasts[name], label=name, **style)
plt.axvline(years[-TEST], color="0.8")
plt.ylabel("thousands a month")
plt.legend()
plt.tight_layout()
plt.savefig("forecast.png")
print("wrote forecast.png")
