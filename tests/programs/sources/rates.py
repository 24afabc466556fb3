"""A schedule whose rate is printed, logged and compared while it falls."""

import json

import numpy as np
from tensorflow import keras
from tensorflow.keras import backend as K

x = np.linspace(-1, 1, 40, dtype="float32").reshape(20, 2)
y = x.sum(axis=1)
schedule = keras.optimizers.schedules.ExponentialDecay(0.2, decay_steps=4, decay_rate=0.5)
seen = []


class Rates(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        rate = self.model.optimizer.learning_rate
        seen.append([float(rate), float(K.get_value(rate)), float(rate.numpy())])


model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
optimizer = keras.optimizers.SGD(learning_rate=schedule, momentum=0.9)
model.compile(optimizer=optimizer, loss="mse")
history = model.fit(
    x, y, epochs=3, batch_size=5, shuffle=False, verbose=0, callbacks=[Rates()]
)
halved = 0.5 * model.optimizer.learning_rate
print(
    json.dumps(
        {
            "first": float(keras.optimizers.Adam(schedule).learning_rate),
            "seen": seen,
            "half": float(halved),
            "steps": int(model.optimizer.iterations.numpy()),
            "small": bool(model.optimizer.learning_rate < 0.1),
            "loss": history.history["loss"],
        }
    )
)
