"""A network that writes text letter by letter and keeps its states itself."""

import json

import numpy as np
import tensorflow as tf


class Writer(tf.keras.Model):
    def __init__(self, letters, size, units):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(letters, size)
        self.gru = tf.keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(letters)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


text = np.array([[1, 2, 3, 4, 0, 1], [2, 3, 4, 0, 1, 2]] * 4)
model = Writer(5, 3, 4)
model(text)
for weight in model.weights:
    size = int(np.prod(weight.shape))
    weight.assign(0.5 * np.sin(np.arange(size, dtype="float32")).reshape(weight.shape))
model.compile(
    optimizer=tf.keras.optimizers.SGD(0.5),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = model.fit(
    text[:, :-1], text[:, 1:], epochs=3, batch_size=4, shuffle=False, verbose=0
).history

states, letters = None, tf.constant([[1]])
written = []
for _ in range(6):
    logits, states = model(letters, states=states, return_state=True)
    letters = tf.argmax(logits[:, -1:], axis=-1)
    written.append(int(letters[0, 0]))
start = model.gru.get_initial_state(3)
print(
    json.dumps(
        {
            "loss": history["loss"],
            "written": written,
            "state": np.ravel(states[0] if isinstance(states, list) else states).tolist(),
            "start": [list(np.shape(part)) for part in start],
        }
    )
)
