import json

import numpy as np
from tensorflow.keras.layers import LSTM, Conv1D, Dense, Input
from tensorflow.keras.models import Sequential

rng = np.random.RandomState(2)
x = rng.rand(30, 5, 2).astype("float32")
y = x.sum((1, 2))[:, None]


def trained(layers, y, loss, metrics):
    model = Sequential([Input((5, 2)), *layers])
    model.compile("adam", loss, metrics=metrics)
    model.set_weights([rng.randn(*w.shape) * 0.4 for w in model.get_weights()])
    history = model.fit(x, y, epochs=2, batch_size=10, shuffle=False, verbose=0)
    return {key: value for key, value in sorted(history.history.items())}


print(
    json.dumps(
        {
            "steps": trained([LSTM(4, return_sequences=True), Dense(1)], y, "mse", ["mae"]),
            "column": trained([Conv1D(3, 2), Dense(1)], y, "mae", []),
            "outputs": trained([LSTM(4), Dense(3)], y, "mse", []),
            "each": trained([Dense(1)], np.tile(y, 5), "mse", ["mae"]),
        }
    )
)
