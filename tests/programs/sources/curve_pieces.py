"""A forecast with a convolution and a GRU, early stopping that keeps the best weights, a
rate that falls on a plateau, and predictions fed back into the window."""

import json

import numpy as np
from tensorflow.keras import callbacks, layers, models, optimizers, utils

series = np.sin(np.arange(140) / 6).astype("float32") + np.arange(140, dtype="float32") / 140
low, high = series[:100].min(), series[:100].max()
scaled = (series - low) / (high - low)
width = 12


def windows(values):
    starts = range(len(values) - width)
    x = np.stack([values[i : i + width] for i in starts])
    return x[..., None], values[width:]


x, y = windows(scaled[:100])
x_later, y_later = windows(scaled[100 - width :])
rng = np.random.RandomState(4)
model = models.Sequential(
    [
        layers.Input((width, 1)),
        layers.Conv1D(6, 3, padding="causal", activation="relu"),
        layers.MaxPooling1D(2),
        layers.GRU(5, return_sequences=True),
        layers.Bidirectional(layers.LSTM(3)),
        layers.Dense(1),
    ]
)
model.set_weights([rng.randn(*w.shape) * 0.3 for w in model.get_weights()])
model.compile(optimizer=optimizers.RMSprop(0.02), loss="huber", metrics=["mae"])
stop = callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
slower = callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=1, min_lr=1e-4)
history = model.fit(
    x,
    y,
    validation_data=(x_later, y_later),
    epochs=7,
    batch_size=22,
    shuffle=False,
    verbose=0,
    callbacks=[stop, slower],
)
window = list(scaled[100 - width : 100])
forecast = []
for _ in range(5):
    value = model.predict(np.array(window[-width:])[None, :, None], verbose=0)[0, 0]
    forecast.append(float(value))
    window.append(value)
batches = utils.timeseries_dataset_from_array(
    scaled[:-width], targets=scaled[width:], sequence_length=width, batch_size=32
)
counted = [tuple(part.shape) for part in next(iter(batches))]
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "val_mae": history.history["val_mae"],
            "rates": [float(r) for r in history.history["learning_rate"]],
            "stopped": int(stop.stopped_epoch),
            "forecast": forecast,
            "window": [list(shape) for shape in counted],
            "evaluated": model.evaluate(x_later, y_later, verbose=0),
        }
    )
)
