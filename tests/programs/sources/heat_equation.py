"""A network that learns a solution of u_t = u_xx from its derivatives."""

import json

import numpy as np
import tensorflow as tf
from tensorflow import keras

points = np.random.RandomState(0).rand(16, 2).astype("float32")
x, t = tf.Variable(points[:, :1]), tf.constant(points[:, 1:])
model = keras.Sequential(
    [keras.Input((2,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)]
)
for weight in model.weights:
    size = int(np.prod(weight.shape))
    weight.assign(0.5 * np.sin(np.arange(size, dtype="float32")).reshape(weight.shape))
optimizer = keras.optimizers.Adam(learning_rate=0.02)


def residual():
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(t)
        with tf.GradientTape() as inner:
            u = model(tf.concat([x, t], axis=1))
        u_x = inner.gradient(u, x)
    return outer.gradient(u, t) - outer.gradient(u_x, x)


losses = []
for _ in range(4):
    with tf.GradientTape() as tape:
        inside = tf.reduce_mean(tf.square(residual()))
        start = model(tf.concat([x, tf.zeros_like(x)], axis=1))
        loss = inside + tf.reduce_mean(tf.square(start - tf.sin(np.pi * x)))
    grads = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
    losses.append(float(loss))

a = tf.Variable(1.5)
with tf.GradientTape() as outer:
    with tf.GradientTape() as inner:
        y = a * a * a + tf.exp(a) * a
    slope = inner.gradient(y, a)
curvature = outer.gradient(slope, a)

z = tf.constant([[1.0, 2.0], [3.0, 4.0]])
with tf.GradientTape() as tape:
    tape.watch(z)
    w = tf.stack([z[:, 0] * z[:, 1], z[:, 0] ** 2, tf.sin(z[:, 1])], axis=1)
rows = tape.batch_jacobian(w, z)
print(
    json.dumps(
        {
            "losses": losses,
            "slope": float(slope),
            "curvature": float(curvature),
            "rows": np.asarray(rows).tolist(),
        }
    )
)
