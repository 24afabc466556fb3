"""Recognize handwritten digits without convolutions: two layers of 512 units.

python mnist_mlp.py [mnist.npz]
"""

import sys

from kurve import datasets, layers, models, optimizers

name, ((x, y), (x_test, y_test)) = datasets.load_images(*sys.argv[1:])

model = models.Sequential(
    [
        layers.Input(shape=(28, 28)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ]
)
epochs, batch_size = 12, 128
steps = epochs * -(-len(x) // batch_size)
rate = optimizers.schedules.CosineDecay(1e-3, decay_steps=steps)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=optimizers.Adam(rate),
    metrics=["accuracy"],
)
model.fit(x, y, batch_size=batch_size, epochs=epochs)

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"\n{name}: test accuracy {accuracy:.2%}, loss {loss:.4f}")
