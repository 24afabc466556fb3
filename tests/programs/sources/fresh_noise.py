"""Random numbers in the call of a layer are drawn anew in each call, and those of its
weights once."""

import json

import keras
import numpy as np
import tensorflow as tf


class Noise(keras.layers.Layer):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def build(self, shape):
        self.start = tf.Variable(tf.random.normal((shape[-1],)), trainable=False)

    def call(self, x):
        return 0.0 * x + self.start + tf.cast(self.draw(), "float32")


class Fixed(Noise):
    def call(self, x):
        return 0.0 * x + self.start


source = tf.random.Generator.from_seed(1)
draws = {
    "normal": lambda: tf.random.normal((3,)),
    "one row": lambda: tf.random.uniform((1, 3)),
    "number": lambda: tf.random.uniform([], 0.5, 1.5),
    "whole numbers": lambda: tf.random.uniform((3,), 0, 1000, dtype=tf.int32),
    "truncated": lambda: tf.random.truncated_normal((3,)),
    "seeded": lambda: tf.random.normal((3,), seed=3),
    "dropout": lambda: tf.nn.dropout(np.ones(40, "float32"), 0.5)[:3]
    + tf.random.normal((3,)),
    "gamma": lambda: tf.random.gamma((3,), 1.0),
    "shuffled": lambda: tf.random.shuffle(tf.range(1000.0))[:3],
    "classes": lambda: tf.random.categorical(tf.zeros((1, 1000)), 3),
    "generator": lambda: source.normal((3,)),
    "keras": lambda: keras.random.normal((3,)),
    "keras gamma": lambda: keras.random.gamma((3,), 1.0),
    "keras shuffled": lambda: keras.random.shuffle(np.arange(1000, dtype="float32"))[
        :3
    ],
}
printed = {}
x = np.zeros((2, 3), "float32")
for name, draw in draws.items():
    model = keras.Sequential([keras.layers.Input((3,)), Noise(draw)])
    first, second = (model.predict(x, verbose=0) for _ in range(2))
    rows_equal = bool((first[0] == first[1]).all())
    printed[name] = [bool((first != second).any()), rows_equal, list(first.shape)]
whole = keras.Sequential([keras.layers.Input((3,)), Noise(draws["whole numbers"])])
numbers = whole.predict(x, verbose=0) - whole.layers[-1].start.numpy()
printed["are whole"] = bool(np.allclose(numbers, np.round(numbers), atol=1e-3))
fixed = keras.Sequential([keras.layers.Input((3,)), Fixed(None)])
first, second = (fixed.predict(x, verbose=0) for _ in range(2))
printed["weights"] = bool((first == second).all())
print(json.dumps(printed))
