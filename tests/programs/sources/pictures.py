import json

import numpy as np
import tensorflow as tf
from tensorflow.keras import Sequential
from tensorflow.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D

gpus = tf.config.list_physical_devices("GPU")
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)

rng = np.random.RandomState(11)
images = rng.randint(0, 256, size=(48, 8, 8)).astype("uint8")
labels = (images[:, :4].mean(axis=(1, 2)) > 127).astype("int64")


def prepare(image, label):
    image = tf.cast(image, tf.float32) / 255.0
    return tf.expand_dims(image, -1), label


ds = tf.data.Dataset.from_tensor_slices((images, labels))
ds = ds.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).batch(12)
with tf.device("/CPU:0"):
    model = Sequential()
    model.add(Conv2D(4, (3, 3), activation="relu", padding="same", input_shape=(8, 8, 1)))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    model.add(Dense(2))
model.set_weights([rng.randn(*w.shape) * 0.2 for w in model.get_weights()])
model.compile(
    optimizer=tf.keras.optimizers.RMSprop(1e-3),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
h = model.fit(ds, epochs=3, verbose=0)
logits = model.predict(ds, verbose=0)
probabilities = tf.nn.softmax(logits).numpy()
print(
    json.dumps(
        {
            "loss": h.history["loss"],
            "accuracy": h.history["accuracy"],
            "probabilities": probabilities[0].tolist(),
            "params": model.count_params(),
            "shape": list(model.output_shape),
        }
    )
)
