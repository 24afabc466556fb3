"""Networks that define __call__, trained by a loop and by fit."""

import json

import numpy as np
import tensorflow as tf
from tensorflow.keras import Model, layers


def filled(model):
    for weight in model.weights:
        size = int(np.prod(weight.shape))
        weight.assign(0.5 * np.sin(np.arange(size, dtype="float32")).reshape(weight.shape))


class Net(Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, activation="relu")
        self.last = layers.Dense(3)

    def __call__(self, x, is_training=False):
        x = self.last(self.hidden(x))
        if not is_training:
            x = tf.nn.softmax(x)
        return x


class Plain(Model):
    def __init__(self):
        super().__init__()
        self.last = layers.Dense(3, activation="softmax")

    def __call__(self, x, training=None):
        return self.last(x)


rng = np.random.RandomState(0)
x = rng.normal(size=(20, 4)).astype("float32")
y = rng.randint(0, 3, 20)
net = Net()
net(x)
filled(net.hidden)
filled(net.last)
optimizer = tf.keras.optimizers.SGD(0.3)
losses = []
for _ in range(4):
    with tf.GradientTape() as tape:
        logits = net(x, is_training=True)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        )
    grads = tape.gradient(loss, net.trainable_variables)
    optimizer.apply_gradients(zip(grads, net.trainable_variables))
    losses.append(float(loss))
guessed = tf.argmax(net(x), axis=1)

plain = Plain()
plain(x)
filled(plain.last)
plain.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = plain.fit(x, y, epochs=2, batch_size=5, shuffle=False, verbose=0).history
labels = np.array(y, dtype="uint8")
print(
    json.dumps(
        {
            "losses": losses,
            "matrix": tf.math.confusion_matrix(labels, guessed).numpy().tolist(),
            "variables": len(net.trainable_variables),
            "history": {key: list(map(float, history[key])) for key in sorted(history)},
        }
    )
)
