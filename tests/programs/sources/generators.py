import json

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Dense, Embedding, Flatten
from tensorflow.keras.models import Sequential
from tensorflow.keras.preprocessing.sequence import pad_sequences
from tensorflow.keras.utils import Sequence

texts = [[1, 2, 3], [4, 5], [2, 2, 2, 2], [5]] * 6
padded = pad_sequences(texts, maxlen=4, padding="post")
labels = np.array([len(t) % 2 for t in texts], "float32")


class Batches(Sequence):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(6 * index, 6 * index + 6)
        return padded[part], labels[part]


def build():
    model = Sequential()
    model.add(Embedding(6, 3, embeddings_initializer="ones"))
    model.add(Flatten())
    model.add(Dense(1, activation="sigmoid", kernel_initializer="zeros"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def numbers():
    for i in range(4):
        yield padded[6 * i : 6 * i + 6], labels[6 * i : 6 * i + 6]


first = build()
a = first.fit(Batches(), epochs=2, shuffle=False, verbose=0)
dataset = tf.data.Dataset.from_generator(
    numbers,
    output_signature=(
        tf.TensorSpec(shape=(None, 4), dtype=tf.int32),
        tf.TensorSpec(shape=(None,), dtype=tf.float32),
    ),
)
second = build()
b = second.fit(dataset.repeat(), steps_per_epoch=4, epochs=2, verbose=0)
print(
    json.dumps(
        {
            "a": a.history["loss"],
            "b": b.history["loss"],
            "padded": padded[1].tolist(),
            "predicted": second.predict(dataset, verbose=0)[:3, 0].tolist(),
        }
    )
)
