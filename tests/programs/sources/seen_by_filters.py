"""What filters see: gradient ascent on an image, and a map of what a class is due to."""

import json

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

rng = np.random.RandomState(6)
model = keras.Sequential(
    [
        keras.Input((12, 12, 3)),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.MaxPooling2D(2),
        layers.Conv2D(6, 3, activation="elu", name="second"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
)
model.set_weights([rng.randn(*w.shape) * 0.4 for w in model.get_weights()])
layer = model.get_layer(name="second")
feature_extractor = keras.Model(inputs=model.inputs, outputs=layer.output)


def compute_loss(image, filter_index):
    activation = feature_extractor(image)
    filter_activation = activation[:, 1:-1, 1:-1, filter_index]
    return tf.reduce_mean(filter_activation)


@tf.function
def gradient_ascent_step(image, filter_index, learning_rate):
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = compute_loss(image, filter_index)
    grads = tape.gradient(loss, image)
    grads = tf.math.l2_normalize(grads)
    image += learning_rate * grads
    return loss, image


seen = []
for filter_index in range(2):
    image = tf.constant((rng.rand(1, 12, 12, 3) - 0.5) * 0.25 + 0.5, dtype=tf.float32)
    for _ in range(4):
        loss, image = gradient_ascent_step(image, filter_index, 1.0)
    img = image[0].numpy()
    img -= img.mean()
    img /= img.std() + 1e-5
    img = np.clip(img * 0.15 + 0.5, 0, 1)
    seen.append([float(loss), float(img[5, 5, 0]), float(img.mean())])

photo = tf.constant(rng.rand(1, 12, 12, 3), dtype=tf.float32)
classifier_input = keras.Input(shape=layer.output.shape[1:])
h = classifier_input
for name in [later.name for later in model.layers[-2:]]:
    h = model.get_layer(name)(h)
classifier = keras.Model(classifier_input, h)
with tf.GradientTape() as tape:
    maps = feature_extractor(photo)
    tape.watch(maps)
    preds = classifier(maps)
    top_class = preds[:, tf.argmax(preds[0])]
grads = tape.gradient(top_class, maps)
pooled = tf.reduce_mean(grads, axis=(0, 1, 2)).numpy()
heatmap = maps.numpy()[0] * pooled
heatmap = np.maximum(np.mean(heatmap, axis=-1), 0)
print(
    json.dumps(
        {
            "seen": seen,
            "pooled": pooled.tolist(),
            "heatmap": (heatmap / max(heatmap.max(), 1e-9)).ravel().tolist()[:6],
        }
    )
)
