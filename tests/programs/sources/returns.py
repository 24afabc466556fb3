"""An actor and a critic learn from the discounted rewards of one episode."""

import json

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

eps = np.finfo(np.float32).eps.item()


def discounted(rewards, gamma=0.9):
    count = tf.shape(rewards)[0]
    found = tf.TensorArray(dtype=tf.float32, size=count)
    rewards = tf.cast(rewards[::-1], dtype=tf.float32)
    total = tf.constant(0.0)
    shape = total.shape
    for i in tf.range(count):
        total = rewards[i] + gamma * total
        total.set_shape(shape)
        found = found.write(i, total)
    returns = found.stack()[::-1]
    return (returns - tf.math.reduce_mean(returns)) / (tf.math.reduce_std(returns) + eps)


class ActorCritic(tf.keras.Model):
    def __init__(self, actions):
        super().__init__()
        self.common = layers.Dense(6, activation="relu")
        self.actor, self.critic = layers.Dense(actions), layers.Dense(1)

    def call(self, inputs):
        x = self.common(inputs)
        return self.actor(x), self.critic(x)


states = np.random.RandomState(1).normal(size=(5, 3)).astype("float32")
model = ActorCritic(2)
model(states)
for weight in model.weights:
    size = int(np.prod(weight.shape))
    weight.assign(0.5 * np.sin(np.arange(size, dtype="float32")).reshape(weight.shape))
optimizer = tf.keras.optimizers.Adam(learning_rate=0.05)
huber = tf.keras.losses.Huber(reduction="sum")
losses = []
for episode in range(3):
    with tf.GradientTape() as tape:
        chances = tf.TensorArray(dtype=tf.float32, size=0, dynamic_size=True)
        values = tf.TensorArray(dtype=tf.float32, size=0, dynamic_size=True)
        for i in range(5):
            logits, value = model(tf.expand_dims(states[i], 0))
            chances = chances.write(i, tf.nn.softmax(logits)[0, i % 2])
            values = values.write(i, tf.squeeze(value))
        returns = discounted(tf.constant([1.0, 0.0, 2.0, 1.0, -1.0]))
        p, v = chances.stack(), values.stack()
        loss = -tf.math.reduce_sum(tf.math.log(p) * (returns - v)) + huber(v, returns)
    grads = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
    losses.append(float(loss))
print(json.dumps({"losses": losses, "returns": np.asarray(returns).tolist()}))
