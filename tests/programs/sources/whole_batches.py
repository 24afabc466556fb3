"""Functions of all samples in a graph; weights of classes in a step of one's own."""

import json

import numpy as np
import keras
from keras import layers, ops

x = np.sin(np.arange(48, dtype="float32")).reshape(12, 4)
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
entry = keras.Input((4,))
scaled = entry / ops.max(ops.abs(entry))
scaled = (scaled - ops.mean(scaled, axis=0)) / (ops.std(scaled) + 0.1)
outcome = layers.Dense(1, kernel_initializer="ones", activation="sigmoid")(scaled)


class Weighted(keras.Model):
    def train_step(self, data):
        import tensorflow as tf

        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            guess = self(inputs, training=True)
            loss = self.compute_loss(y=targets, y_pred=guess, sample_weight=weights)
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(grads, self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(targets, guess, sample_weight=weights)
        return {metric.name: metric.result() for metric in self.metrics}


model = Weighted(entry, outcome)
model.compile(keras.optimizers.SGD(0.2), "binary_crossentropy", metrics=["mae"])
history = model.fit(
    x, y, class_weight={0: 0.5, 1: 2.0}, epochs=2, batch_size=4, shuffle=False, verbose=0
).history


class Sparse(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.abs(inputs)))
        return inputs


stack = keras.Sequential([keras.Input((4,)), Sparse(), layers.Dense(1)])
stack(x)
print(
    json.dumps(
        {
            "guess": np.ravel(model.predict(x, batch_size=6, verbose=0)).tolist(),
            "loss": list(map(float, history["loss"])),
            "losses": [float(loss) for loss in stack.losses],
            "bins": np.asarray(layers.Discretization([0.0, 0.5])(x[0]).numpy()).tolist(),
        }
    )
)
