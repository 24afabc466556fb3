import json

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(0)
x = rng.rand(2, 7, 8, 6).astype("float32")
kernel = rng.rand(3, 2, 6, 4).astype("float32")
deep = rng.rand(3, 3, 6, 2).astype("float32")


class Filters(tf.keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, shape[-1], 4),
            initializer=tf.keras.initializers.Constant(0.1),
        )

    def call(self, x):
        y = tf.nn.relu(tf.nn.conv2d(x, self.kernel, strides=1, padding="SAME") - 1.0)
        return tf.reduce_mean(tf.nn.max_pool2d(y, 2, 2, "VALID"), axis=[1, 2])


def some(y):
    return [list(y.shape), float(tf.reduce_mean(y)), float(y[0, 1, 2, 1])]


model = tf.keras.Sequential(
    [tf.keras.Input((7, 8, 6)), Filters(), tf.keras.layers.Dense(1, kernel_initializer="ones")]
)
model.compile("sgd", "mse")
history = model.fit(x, np.ones((2, 1)), epochs=2, verbose=0)
print(
    json.dumps(
        {
            "same": some(tf.nn.conv2d(x, kernel, 2, "SAME")),
            "valid": some(tf.nn.conv2d(x, kernel, [1, 2, 2, 1], "VALID")),
            "wide": some(tf.nn.conv2d(x, kernel, 1, "SAME", dilations=2)),
            "deep": some(tf.nn.depthwise_conv2d(x, deep, [1, 1, 1, 1], "SAME")),
            "max": some(tf.nn.max_pool2d(x, 2, 2, "SAME")),
            "mean": some(tf.nn.avg_pool2d(x, [3, 2], [2, 1], "SAME")),
            "channels": some(tf.nn.max_pool(x, (1, 1, 1, 3), (1, 1, 1, 3), "VALID")),
            "loss": history.history["loss"],
        }
    )
)
