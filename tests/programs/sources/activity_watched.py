"""Metrics kept by a layer and by a model show in the history; logging is switched off."""

import json

import keras
import numpy as np
from keras import ops

keras.utils.disable_interactive_logging()
rng = np.random.RandomState(3)
x = rng.randn(48, 5).astype("float32")
y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")


class Watched(keras.layers.Layer):
    """Passes its input on, and keeps how much of it is positive."""

    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.share = keras.metrics.Mean(name=f"{name}_positive")

    def call(self, inputs):
        self.share.update_state(ops.cast(inputs > 0, "float32"))
        return inputs


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(6, activation="tanh")
        self.watched = Watched("hidden")
        self.last = keras.layers.Dense(1, activation="sigmoid")
        self._confidence = keras.metrics.Mean(name="confidence")

    def call(self, inputs):
        outputs = self.last(self.watched(self.first(inputs)))
        self._confidence.update_state(ops.abs(outputs - 0.5))
        return outputs


model = Classifier()
model(x[:1])
model.set_weights([rng.randn(*w.shape) * 0.5 for w in model.get_weights()])
model.compile(
    optimizer=keras.optimizers.Adam(0.02),
    loss="binary_crossentropy",
    metrics=["accuracy"],
    run_eagerly=True,
)
history = model.fit(x, y, epochs=3, batch_size=12, validation_split=0.25, shuffle=False)
stack = keras.Sequential([keras.Input((5,)), Watched("inputs"), keras.layers.Dense(1)])
stack.set_weights([rng.randn(*w.shape) for w in stack.get_weights()])
stack.compile(loss="mse", run_eagerly=True)
found = stack.evaluate(x, y, return_dict=True)
print(
    json.dumps(
        {
            "quiet": not keras.utils.is_interactive_logging_enabled(),
            "history": {k: [float(v) for v in h] for k, h in history.history.items()},
            "found": {k: float(v) for k, v in found.items()},
        }
    )
)
keras.utils.enable_interactive_logging()
