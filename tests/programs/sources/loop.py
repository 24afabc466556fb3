import json

import numpy as np
import tensorflow as tf
from tensorflow import keras

x = np.linspace(0, 1, 30).reshape(30, 1).astype("float32")
y = 3 * x + 1
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
optimizer = keras.optimizers.Adam(learning_rate=0.1)
mse = keras.losses.MeanSquaredError()
metric = keras.metrics.Mean()


@tf.function
def step(a, b):
    with tf.GradientTape() as tape:
        loss = mse(b, model(a, training=True))
    grads = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
    return loss


losses = []
for epoch in range(3):
    metric.reset_state()
    for a, b in data:
        metric.update_state(step(a, b))
    losses.append(float(metric.result()))

w, b = tf.Variable(0.0), tf.Variable(0.0)
for _ in range(5):
    with tf.GradientTape() as tape:
        error = tf.reduce_mean(tf.square(w * x[:, 0] + b - y[:, 0]))
    dw, db = tape.gradient(error, [w, b])
    w.assign_sub(0.5 * dw)
    b.assign_sub(0.5 * db)
print(
    json.dumps(
        {
            "losses": losses,
            "w": float(w.numpy()),
            "b": float(b.numpy()),
            "error": float(error),
        }
    )
)
