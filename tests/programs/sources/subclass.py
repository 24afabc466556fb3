import json

import numpy as np
import tensorflow as tf


class Net(tf.keras.Model):
    def __init__(self, units):
        super().__init__()
        self.first = tf.keras.layers.Dense(units, kernel_initializer="ones")
        self.second = tf.keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)

    def call(self, inputs, training=False):
        h = tf.nn.tanh(0.1 * self.first(inputs))
        h = tf.concat([h, tf.square(inputs)], axis=1)
        return self.second(h) / tf.cast(2, tf.float32)


x = np.linspace(-1, 1, 40).reshape(20, 2).astype("float32")
y = x[:, :1] * x[:, 1:]
model = Net(3)
model.compile(loss="mse", optimizer="sgd")
h = model.fit(x, y, epochs=3, batch_size=5, shuffle=False, verbose=0)
out = model(x[:2])
print(
    json.dumps(
        {
            "loss": h.history["loss"],
            "out": out.numpy().ravel().tolist(),
            "tensor": isinstance(out, tf.Tensor),
            "shape": out.shape.as_list(),
            "mean": float(tf.reduce_mean(out)),
            "weights": len(model.trainable_variables),
        }
    )
)
