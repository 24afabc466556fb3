"""Subclassed models whose call() takes more than x, checkpoints, and gradients by
inputs: against the same program in NumPy, or itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kurve.as_keras.running import run

Write = Callable[..., str]

CALLS = """
import numpy as np
import tensorflow as tf
from tensorflow.keras import Model, layers

class Net(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.last = layers.Dense(6, "tanh"), layers.Dense(3)
    def call(self, x, is_training=False, scale=1.0):
        logits = self.last(self.hidden(x)) * scale
        return logits if is_training else tf.nn.softmax(logits)

x = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
labels = np.arange(8) % 3
net = Net()
p, logits = net(x), net(x, is_training=True)
np.testing.assert_allclose(p, tf.nn.softmax(logits), rtol=1e-5)
np.testing.assert_allclose(net(x, True, 2.0), 2 * logits, rtol=1e-6)
losses = []
for step in range(30):
    with tf.GradientTape() as tape:
        rows = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=net(x, is_training=True))
        loss = tf.reduce_mean(rows)
    slopes = tape.gradient(loss, net.trainable_variables)
    assert all(s is not None for s in slopes)
    for variable, slope in zip(net.trainable_variables, slopes):
        variable.assign(variable - 0.5 * slope)
    losses.append(float(loss))
assert losses[-1] < 0.7 * losses[0]

class Cell(Model):
    def __init__(self):
        super().__init__()
        self.gru = layers.GRU(4, return_sequences=True, return_state=True)
    def call(self, x, states=None, return_state=False):
        if states is None:
            states = tf.zeros((tf.shape(x)[0], 4))
        y, states = self.gru(x, initial_state=states)
        return (y, states) if return_state else y

cell, x = Cell(), np.ones((2, 6, 3), "float32")
whole = cell(x)
first, state = cell(x[:, :2], return_state=True)
rest, state = cell(x[:, 2:], state, return_state=True)
np.testing.assert_allclose(np.concatenate([first, rest], 1), whole, rtol=1e-5)
inner = tf.keras.Input((6, 3))
outer = Model(inner, cell(inner, return_state=True))
np.testing.assert_allclose(outer.predict(x, verbose=0)[0], whole, rtol=1e-5)

class Parts(Model):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = layers.Dense(2), layers.Dense(3)
parts = Parts()
assert parts.decoder(parts.encoder(x)).shape == (2, 6, 3)
assert len(parts.trainable_variables) == 4
try:
    net(x, is_trainin=True)
except TypeError as error:
    assert "Did you mean 'is_training'" in str(error)
"""

CHECKPOINTS = """
import os
import numpy as np
import tensorflow as tf
from tensorflow import keras

def make():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4),
        keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    return model, keras.optimizers.Adam(0.01), tf.Variable(1)

def train(model, optimizer):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - 1.0) ** 2)
    slopes = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(slopes, model.trainable_variables))
    return float(loss)

x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
model, optimizer, step = make()
checkpoint = tf.train.Checkpoint(step=step, optimizer=optimizer, net=model)
manager = tf.train.CheckpointManager(checkpoint, "ckpt", max_to_keep=2)
checkpoint.restore(manager.latest_checkpoint)
for _ in range(3):
    train(model, optimizer)
    step.assign_add(1)
    manager.save()
assert sorted(os.listdir("ckpt")) == ["checkpoint", "ckpt-2.index", "ckpt-3.index"]
expected = [train(model, optimizer) for _ in range(3)]
model, optimizer, step = make()
other = tf.train.Checkpoint(step=step, optimizer=optimizer, net=model)
other.restore(tf.train.latest_checkpoint("ckpt")).assert_consumed()
assert int(step) == 4 and [train(model, optimizer) for _ in range(3)] == expected
assert [v.trainable for v in model.layers[1].variables] == [True, True, False, False]
try:
    tf.train.Checkpoint(net=keras.Sequential()).restore(manager.latest_checkpoint)
except ValueError as error:
    assert "must be built" in str(error)
files = tf.data.Dataset.list_files(["ckpt/*.index"], shuffle=False)
assert [f.numpy().decode() for f in files] == ["ckpt/ckpt-2.index", "ckpt/ckpt-3.index"]
for name in "ab":
    with open(f"{name}.csv", "w") as file:
        file.write(f"x\\n{name}1\\n{name}2\\n")
lines = tf.data.Dataset.list_files("*.csv", shuffle=False).interleave(
    lambda path: tf.data.TextLineDataset(path).skip(1), cycle_length=2)
assert [line.numpy().decode() for line in lines] == ["a1", "b1", "a2", "b2"]
"""

SLOPES = """
import numpy as np
import tensorflow as tf
from keras import backend as K, layers, models

x = layers.Input((6, 6, 1))
h = layers.Conv2D(3, 3, activation="tanh", name="maps")(x)
y = layers.Dense(2)(layers.GlobalAveragePooling2D()(h))
model = models.Model(x, y)
image = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype("float32")
maps = model.get_layer("maps").output
loss = K.mean(maps[:, :, :, 1])
iterate = K.function([model.input], [loss, K.gradients(loss, model.input)[0]])
value, slope = iterate([image])
part = models.Model(x, maps)
with tf.GradientTape() as tape:
    given = tf.constant(image)
    tape.watch(given)
    expected = tf.reduce_mean(part(given)[:, :, :, 1])
np.testing.assert_allclose(value, np.full(2, expected), rtol=1e-5)
np.testing.assert_allclose(slope, tape.gradient(expected, given), 1e-5, 1e-7)
slopes = K.gradients(model.output[:, 1], maps)[0]
(found,) = K.function([model.input, K.learning_phase()], [slopes])([image, 0])
kernel = model.layers[-1].get_weights()[0]
np.testing.assert_allclose(found, np.broadcast_to(kernel[:, 1] / 16, found.shape), 1e-5)
"""

FUNCTIONS = """
import numpy as np
from keras.layers.merge import _Merge
import tensorflow.experimental.numpy as tnp
from tensorflow import keras
from tensorflow.keras.metrics import (binary_accuracy, categorical_accuracy,
    sparse_categorical_accuracy, top_k_categorical_accuracy)

def best_two(y_true, y_pred):
    return top_k_categorical_accuracy(y_true, y_pred, k=2)

def sides(y_true, y_pred):
    return binary_accuracy(y_true, y_pred, threshold=0.3)

draw = np.random.default_rng(0)
x, y = draw.normal(size=(40, 3)), np.eye(4)[draw.integers(0, 4, 40)]
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "softmax")])
model.compile("sgd", "categorical_crossentropy",
    metrics=[best_two, sides, lambda a, b: categorical_accuracy(a, b)])
found, p = model.evaluate(x, y, verbose=0)[1:], model.predict(x, verbose=0)
by_hand = [np.mean([y[i].argmax() in p[i].argsort()[-2:] for i in range(40)]),
    np.mean((p > 0.3) == y), np.mean(p.argmax(1) == y.argmax(1))]
np.testing.assert_allclose(found, by_hand, rtol=1e-5)
assert categorical_accuracy(y, p).numpy().shape == (40,)
assert keras.losses.mean_absolute_error(y, p).numpy().shape == (40,)
class Weighted(_Merge):
    def _merge_function(self, inputs):
        return 0.25 * inputs[0] + 0.75 * inputs[1]

given = [keras.Input((3,)), keras.Input((3,))]
merged = keras.Model(given, Weighted()(given)).predict([x, 0 * x], verbose=0)
np.testing.assert_allclose(merged, 0.25 * x, rtol=1e-6)
assert tnp.ones([2, 3], dtype=tnp.float32).dtype == np.float32
rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
assert abs(rate(10).numpy() - 0.09) < 1e-6
"""

RAW = """
import numpy as np
import tensorflow as tf

draw = np.random.default_rng(0)
x = draw.normal(size=(4, 8, 8, 1)).astype("float32")
kernel = tf.Variable(draw.normal(size=(3, 3, 1, 2)).astype("float32"))
bias = tf.Variable(tf.zeros(2))

def net(x):
    y = tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME")
    y = tf.nn.max_pool(tf.nn.tanh(tf.nn.bias_add(y, bias)), 2, 2, padding="SAME")
    return tf.reduce_mean(tf.reshape(y, [-1, 32]) ** 2, axis=-1)

layer = tf.keras.layers.Conv2D(2, 3, padding="same", activation="tanh")
layer.build((None, 8, 8, 1))
layer.set_weights([kernel.numpy(), bias.numpy()])
pool = tf.keras.layers.MaxPooling2D()
for watched in (False, True):
    with tf.GradientTape() as tape, tf.GradientTape() as other:
        given = tf.constant(x)
        if watched:
            tape.watch(given)
            other.watch(given)
        loss = tf.reduce_mean(net(given))
        same = tf.reduce_mean(pool(layer(given)) ** 2)
    np.testing.assert_allclose(loss, same, rtol=1e-5)
    sources = [kernel, bias, given][: 2 + watched]
    twins = [*layer.trainable_variables, given][: 2 + watched]
    for a, b in zip(tape.gradient(loss, sources), other.gradient(same, twins)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

decibels = tf.image.psnr(np.zeros((2, 4, 4, 3)), np.full((2, 4, 4, 3), 0.1), 1.0)
np.testing.assert_allclose(decibels, [20, 20], rtol=1e-5)
ones, twos = tf.data.Dataset.range(0, 300), tf.data.Dataset.range(1000, 1100)
mixed = list(tf.data.Dataset.sample_from_datasets([ones, twos], [0.7, 0.3], seed=1))
assert sorted(map(int, mixed)) == [*range(300), *range(1000, 1100)]
assert 0.15 < np.mean([m >= 1000 for m in mixed[:200]]) < 0.45
ended = tf.data.Dataset.sample_from_datasets(
    [ones.repeat(), twos], stop_on_empty_dataset=True)
assert sum(int(e) >= 1000 for e in ended) == 100
"""


@pytest.mark.usefixtures("answered")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*one value per sample")
@pytest.mark.parametrize(
    "text",
    [CALLS, CHECKPOINTS, SLOPES, FUNCTIONS, RAW],
    ids=["calls", "checkpoints", "slopes", "functions", "raw"],
)
def test_the_program_runs(
    text: str, program: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(program("import keras; keras.utils.set_random_seed(1)\n" + text)) == 0


def test_a_shell_command_may_go_on(program: Write) -> None:
    from kurve.as_keras.programs import read
    from tests.programs.test_running import notebook

    text = notebook("x = 1\n!wget https://a.b \\\n   -O c.csv\nx += 1\n")
    path = program(text, "book.ipynb")
    (cell,) = read(path)
    assert cell.text == "x = 1\npass\n\nx += 1\n"


def test_an_indented_cell_runs(program: Write) -> None:
    from kurve.as_keras.programs import read
    from tests.programs.test_running import notebook

    path = program(notebook("    x = 1\n    if x:\n        y = 2\n"), "book.ipynb")
    (cell,) = read(path)
    assert cell.text == "x = 1\nif x:\n    y = 2\n"
