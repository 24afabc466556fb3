"""Optimizers whose loss is scaled, as for float16."""

import json

import keras
import numpy as np
import tensorflow as tf

x = np.linspace(0, 1, 24).reshape(8, 3).astype("float32")
y = x.sum(1, keepdims=True)
printed = {}


def stack():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.set_weights([np.linspace(-0.5, 0.5, 3).reshape(3, 1), np.zeros(1)])
    return model


optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1))
model = stack()
model.compile(optimizer, "mse")
history = model.fit(x, y, epochs=4, batch_size=4, shuffle=False, verbose=0)
printed["fit"] = history.history["loss"]
optimizer.learning_rate = 0.05
printed["steps"] = [int(optimizer.iterations), float(model.optimizer.learning_rate)]

inner = keras.optimizers.SGD(0.1, momentum=0.9)
optimizer = keras.mixed_precision.LossScaleOptimizer(inner, initial_scale=256.0)
model = stack()
for _ in range(3):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        scaled = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
printed["loop"] = [float(loss), float(scaled)]
printed["weights"] = model.get_weights()[0].ravel().tolist()

copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
printed["copy"] = [
    copy.initial_scale,
    copy.dynamic_growth_steps,
    type(copy).__name__,
    type(copy.inner_optimizer).__name__,
    float(copy.learning_rate),
    float(copy.inner_optimizer.momentum),
    isinstance(copy, keras.optimizers.Optimizer),
]
print(json.dumps(printed))
