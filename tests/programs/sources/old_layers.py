import json

import numpy as np
import tensorflow as tf
from keras.layers import Input, InputSpec, Layer
from keras.models import Model


class Mix(Layer):
    def __init__(self, units, **kwargs):
        self.units = units
        super().__init__(**kwargs)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            "kernel", shape=[int(input_shape[-1]), self.units], initializer="ones"
        )
        self.bias = self.add_variable("bias", shape=[self.units], initializer="zeros")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        super().build(input_shape)

    def call(self, inputs):
        shape = inputs.shape.as_list()
        scale = 1.0 / shape[-1]
        if inputs.get_shape().ndims > 2:
            inputs = tf.reduce_mean(inputs, axis=1)
        return tf.nn.tanh(tf.matmul(inputs, self.kernel) * scale + self.bias)


rng = np.random.RandomState(6)
x = rng.rand(24, 3, 5).astype("float32")
inputs = Input((3, 5))
outputs = Mix(2)(Mix(4)(inputs))
model = Model(inputs, outputs)
model.compile("sgd", "mse")
model.set_weights([rng.randn(*w.shape) for w in model.get_weights()])
history = model.fit(x, x[:, 0, :2], epochs=3, batch_size=8, shuffle=False, verbose=0)
table = tf.Variable(np.zeros((2, 3), "float32"))
table[0, 1].assign(2.0)
table[1].assign([1.0, 2.0, 3.0])
try:
    model.layers[-1](np.ones((2, 3)))
    refused = False
except ValueError:
    refused = True
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "output": model.predict(x[:2], verbose=0).tolist(),
            "table": table.numpy().tolist(),
            "refused": refused,
        }
    )
)
