"""Two inputs, two outputs, a residual block, and dropout that stays on."""

import json

import numpy as np
import tensorflow as tf
from tensorflow import keras

rng = np.random.RandomState(8)
x = rng.randn(80, 6).astype("float32")
y = (np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]).astype("float32")


class ResidualBlock(keras.layers.Layer):
    def __init__(self, n_layers, n_neurons, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [keras.layers.Dense(n_neurons, activation="elu") for _ in range(n_layers)]

    def call(self, inputs):
        z = inputs
        for layer in self.hidden:
            z = layer(z)
        return inputs + z


class WideAndDeep(keras.Model):
    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.block = ResidualBlock(2, units)
        self.main = keras.layers.Dense(1, name="main")
        self.aux = keras.layers.Dense(1, name="aux")

    def call(self, inputs):
        wide, deep = inputs
        h = self.block(self.hidden(deep))
        return self.main(keras.layers.concatenate([wide, h])), self.aux(h)


model = WideAndDeep()
parts = (x[:, :4], x[:, 2:])
model((parts[0][:1], parts[1][:1]))
model.set_weights([rng.randn(*w.shape) * 0.4 for w in model.get_weights()])
model.compile(
    loss=["mse", "mae"], loss_weights=[0.9, 0.1], optimizer=keras.optimizers.Nadam(0.01)
)
history = model.fit(parts, (y, y), epochs=4, batch_size=20, shuffle=False, verbose=0)
main, aux = model.predict((parts[0][:3], parts[1][:3]), verbose=0)

inputs = keras.Input((6,))
h = keras.layers.Dropout(0.4)(keras.layers.Dense(200, activation="relu")(inputs))
uncertain = keras.Model(inputs, keras.layers.Dense(1)(h))
draws = np.stack([uncertain(x[:5], training=True) for _ in range(20)])
calm = np.stack([uncertain(x[:5]) for _ in range(3)])


@tf.function
def huber(y_true, y_pred, threshold=1.0):
    error = y_true - y_pred
    small = tf.abs(error) < threshold
    return tf.where(small, tf.square(error) / 2, threshold * tf.abs(error) - threshold**2 / 2)


class HuberMetric(keras.metrics.Metric):
    def __init__(self, name="huber", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = huber(y_true, y_pred)
        self.total.assign_add(tf.reduce_sum(values))
        self.count.assign_add(tf.cast(tf.size(values), tf.float32))

    def result(self):
        return self.total / self.count


net = keras.Sequential([keras.Input((6,)), ResidualBlock(2, 6), keras.layers.Dense(1)])
net.set_weights([rng.randn(*w.shape) * 0.3 for w in net.get_weights()])
optimizer, mean, metric = keras.optimizers.SGD(0.05), keras.metrics.Mean(), HuberMetric()
trained = []
for epoch in range(2):
    for start in range(0, 80, 20):
        a, b = x[start : start + 20], y[start : start + 20]
        with tf.GradientTape() as tape:
            prediction = net(a, training=True)
            loss = tf.reduce_mean(huber(b, prediction))
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables))
        mean(loss)
        metric.update_state(b, prediction)
    trained.append([float(mean.result()), float(metric.result())])
    mean.reset_state()
    metric.reset_state()
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "keys": len(history.history),
            "main": main.tolist(),
            "aux": aux.tolist(),
            "uncertain": bool(draws.std(axis=0).min() > 0),
            "calm": bool(np.ptp(calm, axis=0).max() == 0),
            "trained": trained,
        }
    )
)
