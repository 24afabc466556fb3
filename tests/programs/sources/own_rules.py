"""Penalties and constraints of one's own: classes and functions with TensorFlow's
functions, those of keras.ops, and operators."""

import json
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

x = np.linspace(0, 1, 24).reshape(8, 3).astype("float32")
y = np.stack([x.sum(1), x[:, 0]], 1)


class Fourth(keras.regularizers.Regularizer):
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, w):
        return self.strength * tf.reduce_sum(tf.pow(w, 4.0))

    def get_config(self):
        return {"strength": self.strength}


class Angles(keras.regularizers.Regularizer):
    def __call__(self, w):
        unit = tf.math.l2_normalize(w, axis=0)
        return 0.1 * tf.reduce_mean(tf.abs(tf.matmul(unit, unit, transpose_a=True)))


class Clipped(keras.constraints.Constraint):
    def __init__(self, limit):
        self.limit = limit

    def __call__(self, w):
        return tf.clip_by_value(w, -self.limit, self.limit)


def squares(w):
    return 0.1 * tf.reduce_sum(tf.square(w))


def positive(w):
    return w * tf.cast(tf.math.greater_equal(w, 0.0), w.dtype)


rules = {
    "fourth": {"kernel_regularizer": Fourth(0.01)},
    "angles": {"kernel_regularizer": Angles()},
    "function": {"kernel_regularizer": squares, "bias_regularizer": squares},
    "ops": {"kernel_regularizer": lambda w: 0.1 * keras.ops.sum(keras.ops.abs(w))},
    "norm": {"kernel_regularizer": lambda w: 0.1 * tf.norm(w)},
    "clipped": {"kernel_constraint": Clipped(0.3)},
    "positive": {"kernel_constraint": positive},
    "unit": {"kernel_constraint": lambda w: w / (1e-7 + tf.sqrt(tf.reduce_sum(w * w)))},
    "relu": {"kernel_constraint": lambda w: tf.nn.relu(w - 0.1)},
}
printed = {}
for name, given in rules.items():
    dense = keras.layers.Dense(2, **given)
    model = keras.Sequential([keras.layers.Input((3,)), dense])
    model.set_weights([np.linspace(-0.5, 0.5, 6).reshape(3, 2), np.full(2, 0.1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    weights = model.get_weights()[0].ravel().tolist()
    printed[name] = [history.history["loss"], weights]
    if name in ("fourth", "function"):
        path = os.path.join(tempfile.mkdtemp(), f"{name}.keras")
        model.save(path)
        known = {"Fourth": Fourth, "squares": squares}
        loaded = keras.models.load_model(path, custom_objects=known)
        printed[name + " loaded"] = loaded.evaluate(x, y, verbose=0)
print(json.dumps(printed))
