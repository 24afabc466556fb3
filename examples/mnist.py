"""Recognize handwritten digits with convolutions: Keras's "Simple MNIST convnet".

    python mnist.py            MNIST, Fashion-MNIST or scikit-learn's digits, as found
    python mnist.py FILE       a file like Keras's mnist.npz, or a folder of
    Fashion-MNIST

Prints the accuracy on images not seen in training and writes wrong.png,
confusion.png, filters.png and maps.png into the current directory.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

from kurve import datasets, layers, metrics, models, optimizers, plots

# %% The data: uint8, as in the file
name, ((x, y), (x_test, y_test)) = datasets.load_images(*sys.argv[1:])
x, x_test = x[..., None], x_test[..., None]
print(f"{name}: {len(x)} pictures to learn from, {len(x_test)} for the test")

# %% The network
model = models.Sequential(
    [
        layers.Input(shape=(28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
)
model.summary()

# %% Training: the learning rate falls to 0 along a cosine
epochs, batch_size = 15, 32
if name == "Fashion-MNIST":
    epochs = 24  # clothes are harder to tell apart
steps = epochs * -(-len(x) // batch_size)
rate = optimizers.schedules.CosineDecay(2e-3, decay_steps=steps)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=optimizers.Adam(rate),
    metrics=["accuracy"],
)
model.fit(x, y, batch_size=batch_size, epochs=epochs)

# %% Its accuracy and its errors
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"\ntest accuracy {accuracy:.2%}, loss {loss:.4f}")

probabilities = model.predict(x_test, verbose=0)
guess = probabilities.argmax(axis=1)
wrong = (guess != y_test).nonzero()[0]
surest = wrong[probabilities[wrong].max(axis=1).argsort()[::-1]]
names = datasets.fashion_mnist.NAMES if name == "Fashion-MNIST" else None

plots.plot_images(
    x_test[surest], y_test[surest], guess[surest], class_names=names
).figure.savefig("wrong.png")
matrix = metrics.confusion_matrix(y_test, guess)
plots.plot_confusion_matrix(matrix, class_names=names).figure.savefig("confusion.png")

# %% What the network responds to
plots.plot_filters(model).figure.savefig("filters.png")
plots.plot_feature_maps(model, x_test[0]).figure.savefig("maps.png")

print("Pictures: wrong.png, confusion.png, filters.png, maps.png")
