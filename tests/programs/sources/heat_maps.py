"""Which places of a picture speak for a class."""

import json

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


def filled(model):
    for weight in model.weights:
        size = int(np.prod(weight.shape))
        weight.assign(0.5 * np.sin(np.arange(size, dtype="float32")).reshape(weight.shape))


pictures = np.cos(np.arange(2 * 8 * 8 * 2, dtype="float32")).reshape(2, 8, 8, 2)
entry = keras.Input(shape=(8, 8, 2))
maps = layers.Conv2D(3, 3, activation="relu", name="maps")(entry)
pooled = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(maps))
model = keras.Model(entry, layers.Dense(4, activation="softmax")(pooled))
filled(model)

watched = keras.Model(model.inputs, [model.get_layer("maps").output, model.output])
with tf.GradientTape() as tape:
    found, scores = watched(pictures[:1])
    best = tf.argmax(scores[0])
    score = scores[:, best]
slopes = tape.gradient(score, found)
weights = tf.reduce_mean(slopes, axis=(0, 1, 2))
heat = tf.squeeze(found[0] @ weights[..., tf.newaxis])
heat = tf.maximum(heat, 0) / tf.math.reduce_max(heat)

picture = tf.Variable(pictures[1:])
losses = []
for _ in range(3):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(watched(picture)[0][:, 1:-1, 1:-1])
    step = tf.math.l2_normalize(tape.gradient(loss, picture))
    picture.assign_add(0.5 * step)
    losses.append(float(loss))
print(
    json.dumps(
        {
            "class": int(best),
            "shape": slopes.shape.as_list(),
            "weights": np.asarray(weights).tolist(),
            "heat": np.asarray(heat)[2].tolist(),
            "losses": losses,
        }
    )
)
