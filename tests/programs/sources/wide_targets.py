"""Targets with more values than the output, or with fewer, which losses broadcast."""

import json

import keras
import numpy as np
import tensorflow as tf

generator = np.random.RandomState(7)
printed = {}


def stack(shape, units):
    model = keras.Sequential([keras.layers.Input(shape), keras.layers.Dense(units)])
    kernel, bias = model.get_weights()
    start = np.linspace(-0.5, 0.5, kernel.size).reshape(kernel.shape)
    model.set_weights([start, bias])
    return model


def data(inputs, targets):
    x, y = generator.rand(8, *inputs), generator.rand(8, *targets)
    return x.astype("float32"), y.astype("float32")


def trained(name, loss, inputs, units, targets, metrics=("mae",)):
    x, y = data(inputs, targets)
    model = stack(inputs, units)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=list(metrics))
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    printed[name] = model.evaluate(x, y, batch_size=4, verbose=0)
    printed[name + " weights"] = model.get_weights()[0].ravel().tolist()


trained("columns", "mse", (3,), 1, (10,), ["mae", "accuracy"])
trained("absolute", keras.losses.MeanAbsoluteError(), (3,), 1, (4,), ["mape"])
trained("huber", keras.losses.Huber(), (3,), 1, (4,), ["mse"])
root = keras.metrics.RootMeanSquaredError()
trained("root", "mse", (3,), 1, (4,), [root])
trained("hinge", "hinge", (3,), 1, (6,))
trained("one for all", "mse", (3,), 5, (1,))
trained("steps", "mse", (4, 3), 1, (4, 6))
trained("all steps", "mse", (4, 3), 2, (1, 2))
trained("one step", "mse", (1, 3), 2, (4, 2))
trained("both", "mse", (4, 3), 1, (1, 2))

x, y = data((3,), (4,))
model = stack((3,), 1)
model.compile(keras.optimizers.SGD(0.1), "mse")
ordered = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
history = model.fit(ordered, epochs=2, verbose=0)
printed["batches"] = history.history["loss"]
weights = np.arange(8.0)
history = model.fit(x, y, sample_weight=weights, batch_size=8, verbose=0)
printed["weighted"] = history.history["loss"]

optimizer, loss = keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError()
for _ in range(3):
    with tf.GradientTape() as tape:
        value = loss(y, model(x, training=True))
    gradients = tape.gradient(value, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
printed["loop"] = float(value)
p = model.predict(x, verbose=0)
printed["function"] = np.asarray(keras.losses.mean_absolute_error(y, p)).tolist()
root.reset_state()
root.update_state(y, p)
printed["root by hand"] = float(root.result())


class Stepped(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            p = self(x, training=True)
            value = self.compute_loss(y=y, y_pred=p)
        gradients = tape.gradient(value, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(value)
            else:
                metric.update_state(y, p)
        return {metric.name: metric.result() for metric in self.metrics}


stepped = Stepped()
stepped.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
history = stepped.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
printed["step"] = [history.history[name] for name in ("loss", "mae")]

print(json.dumps(printed))
