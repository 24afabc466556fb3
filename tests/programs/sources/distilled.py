"""A small network learns from a large one in a train_step of its own."""

import json

import keras
import numpy as np
import tensorflow as tf

rng = np.random.RandomState(5)
x = rng.randn(90, 4).astype("float32")
y = (x[:, 0] + x[:, 1] ** 2 > 0.5).astype("int32") + (x[:, 2] > 1).astype("int32")


def network(units, name):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(3),
        ],
        name=name,
    )
    model.set_weights([rng.randn(*w.shape) * 0.5 for w in model.get_weights()])
    return model


class Distiller(keras.Model):
    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher
        self.loss_tracker = keras.metrics.Mean(name="distillation_loss")

    def compile(self, optimizer, metrics, alpha=0.1, temperature=3):
        super().compile(
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=metrics,
        )
        self.alpha, self.temperature = alpha, temperature
        self.divergence = keras.losses.KLDivergence()

    def call(self, inputs):
        return self.student(inputs)

    def train_step(self, data):
        inputs, targets = data
        soft = tf.nn.softmax(self.teacher(inputs, training=False) / self.temperature)
        with tf.GradientTape() as tape:
            outputs = self.student(inputs, training=True)
            own = keras.losses.sparse_categorical_crossentropy(
                targets, outputs, from_logits=True
            )
            distance = self.divergence(soft, tf.nn.softmax(outputs / self.temperature))
            loss = self.alpha * tf.reduce_mean(own)
            loss += (1 - self.alpha) * distance * self.temperature**2
        variables = self.student.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.loss_tracker.update_state(distance)
        for metric in self.metrics:
            if metric.name == "compile_metrics":
                metric.update_state(targets, outputs)
        return {"distillation_loss": self.loss_tracker.result(), "loss": loss}


teacher = network(16, "teacher")
teacher.compile(
    keras.optimizers.Adam(0.02),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
taught = teacher.fit(x, y, epochs=4, batch_size=30, shuffle=False, verbose=0)
teacher.trainable = False
distiller = Distiller(network(3, "student"), teacher)
distiller.compile(keras.optimizers.Adam(0.05), ["accuracy"])
history = distiller.fit(x, y, epochs=3, batch_size=30, shuffle=False, verbose=0)
print(
    json.dumps(
        {
            "taught": taught.history["loss"],
            "distilled": [float(v) for v in history.history["distillation_loss"]],
            "loss": [float(v) for v in history.history["loss"]],
            "student": distiller.student.predict(x[:3], verbose=0).tolist(),
            "unchanged": len(teacher.trainable_variables) == 0,
        }
    )
)
