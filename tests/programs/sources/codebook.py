"""Codes from a table: the nearest entry, with the gradient passed straight through."""

import json

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


class Codebook(layers.Layer):
    def __init__(self, entries, size, beta=0.25, **common):
        super().__init__(**common)
        self.entries, self.size, self.beta = entries, size, beta
        self.table = self.add_weight(
            shape=(size, entries), initializer="uniform", trainable=True, name="table"
        )

    def call(self, x):
        shape = tf.shape(x)
        flat = tf.reshape(x, [-1, self.size])
        chosen = tf.one_hot(self.nearest(flat), self.entries)
        found = tf.reshape(tf.matmul(chosen, self.table, transpose_b=True), shape)
        commitment = tf.reduce_mean((tf.stop_gradient(found) - x) ** 2)
        codebook = tf.reduce_mean((found - tf.stop_gradient(x)) ** 2)
        self.add_loss(self.beta * commitment + codebook)
        return x + tf.stop_gradient(found - x)

    def nearest(self, flat):
        products = tf.matmul(flat, self.table)
        distances = (
            tf.reduce_sum(flat**2, axis=1, keepdims=True)
            + tf.reduce_sum(self.table**2, axis=0)
            - 2 * products
        )
        return tf.argmin(distances, axis=1)


x = np.sin(np.arange(8 * 4 * 4 * 2, dtype="float32")).reshape(8, 4, 4, 2)
entry = keras.Input((4, 4, 2))
codes = Codebook(6, 3, name="codes")
hidden = layers.Conv2D(3, 3, padding="same")(entry)
model = keras.Model(entry, layers.Conv2D(2, 1)(codes(hidden)))
for weight in model.weights:
    size = int(np.prod(weight.shape))
    weight.assign(0.5 * np.sin(np.arange(size, dtype="float32")).reshape(weight.shape))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
history = model.fit(x, x, epochs=3, batch_size=4, shuffle=False, verbose=0).history
before = keras.Model(entry, hidden)
indices = codes.nearest(tf.reshape(before.predict(x[:1], verbose=0), [-1, 3]))
model(x)
print(
    json.dumps(
        {
            "loss": history["loss"],
            "indices": np.asarray(indices).tolist(),
            "extra": [float(loss) for loss in model.losses],
            "parameters": model.count_params(),
        }
    )
)
