import json

import numpy as np
import tensorflow as tf
from tensorflow import keras


class Linear(keras.layers.Layer):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="ones", trainable=True
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        return tf.matmul(inputs, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}


inputs = keras.Input((3,))
x = Linear(2, name="linear")(inputs)
x = keras.layers.Lambda(lambda t: tf.exp(-tf.reduce_sum(t**2, axis=1, keepdims=True)))(x)
x = keras.layers.Concatenate()([x, inputs])
model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(x))
model.compile("adam", "mse")
data = np.linspace(-0.5, 0.5, 36).reshape(12, 3).astype("float32")
h = model.fit(data, data[:, 0], epochs=3, batch_size=4, shuffle=False, verbose=0)

plain = keras.Sequential([keras.Input((3,)), Linear(2)])
loaded = keras.Sequential.from_config(
    plain.get_config(), custom_objects={"Linear": Linear}
)
loaded.set_weights(plain.get_weights())
print(
    json.dumps(
        {
            "loss": h.history["loss"],
            "config": loaded.layers[-1].get_config()["units"],
            "same": bool(np.allclose(plain.predict(data, verbose=0), loaded(data))),
        }
    )
)
