"""What tensors, layers and targets do in programs for Keras, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kurve.as_keras.running import run

TENSORS = """
import numpy as np
import tensorflow as tf
import keras
from keras.engine import InputSpec, Layer

class Scale(Layer):
    def __init__(self, units, **common):
        super().__init__(**common)
        self.units, self.input_spec = units, InputSpec(ndim=2)

    def build(self, shape):
        self.a = self.add_weight("a", shape=[int(shape[-1]), self.units],
                                 initializer="ones")
        self.b = self.add_variable("b", shape=[self.units], initializer="zeros")

    def call(self, x):
        print(x.shape.as_list(), x.get_shape().as_list())
        return keras.backend.dot(x, self.a) + self.b

x = keras.Input((4,))
print(x.shape.as_list(), x._keras_shape, Scale(3)(np.ones((2, 4))).numpy()[0])
try:
    Scale(3)(keras.Input((4, 4)))
except ValueError as error:
    print(error)
v = tf.Variable(np.zeros((2, 2)))
v[0, 0].assign(3.0)
v[1].assign([1.0, 2.0])
print(v.numpy().tolist())
x = np.arange(24.0).reshape(2, 2, 1, 6)
print(tf.nn.max_pool(x, (1, 1, 1, 3), (1, 1, 1, 3), "VALID")[0, 0, 0].numpy())
n = tf.shape(tf.zeros((5, 3)))[0]
print(keras.random.normal((n, 2)).shape, tf.random.uniform((n, 2)).shape)
"""

TARGETS = """
import numpy as np
import keras
keras.backend.set_floatx("float64")
x = np.ones((6, 4, 2))
y = np.arange(6.0)
model = keras.Sequential([keras.layers.Input((4, 2)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.set_weights([np.ones((2, 1)), np.zeros(1)])
print(model.evaluate(x, y, verbose=0), ((2 - y) ** 2).mean())
print(model.evaluate(x, np.tile(y[:, None], 4), verbose=0))
"""


@pytest.mark.usefixtures("answered")
def test_tensors(
    program: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(FutureWarning, match="name stood first in Keras 2"):
        assert run(program(TENSORS)) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("[None, 4] (None, 4) [4. 4. 4.]")
    assert {"[None, 4] [None, 4]"} == {*lines[:start]}
    assert "InputSpec(ndim=2)" in lines[-4] and "(None, 4, 4)" in lines[-4]
    assert lines[-3:] == ["[[3.0, 0.0], [1.0, 2.0]]", "[2. 5.]", "(5, 2) (5, 2)"]


@pytest.mark.usefixtures("answered")
def test_a_target_for_all_outputs(
    program: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.warns(UserWarning, match="on that value; Keras compares each with"),
        pytest.warns(UserWarning, match="so does this program"),
    ):
        assert run(program(TARGETS)) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] == first.split()[1] == second


def test_elsewhere_a_target_is_for_one_output() -> None:
    import numpy as np

    import kurve

    model = kurve.Sequential([kurve.Input((4, 2)), kurve.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Losses never broadcast"):
        model.fit(np.ones((6, 4, 2)), np.ones(6), verbose=0)


VARIABLES = """
import numpy as np
import tensorflow as tf

class Own(tf.keras.layers.Layer):
    def build(self, shape):
        self.w = tf.Variable(np.ones((shape[-1], 2), np.float32), name="kernel")
        self.b = tf.Variable(np.zeros(2, np.float32), name="bias")
        self.count = tf.Variable(3)  # a whole number, which no engine changes

    def call(self, x):
        return tf.matmul(x, self.w) + self.b

class Two(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = Own(), Own()

    def call(self, x):
        return self.two(tf.tanh(self.one(x)))

model = Two()
model.compile("sgd", "mse")
model.fit(np.random.rand(20, 3), np.random.rand(20, 2), verbose=0)
shapes = [w.shape for w in model.get_weights()]
assert shapes == [(3, 2), (2,), (2, 2), (2,)], shapes
assert not np.array_equal(model.one.w.numpy(), np.ones((3, 2)))
"""


@pytest.mark.usefixtures("answered")
def test_variables_are_weights_of_the_layer_that_has_them(
    program: Callable[..., str],
) -> None:
    assert run(program(VARIABLES)) == 0


NOISE = """
import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.models import Model

batch_size, units = 50, 2

def sampling(arguments):
    mean, log_var = arguments
    epsilon = DRAW
    return mean + K.exp(log_var / 2) * epsilon

x = Input((20,))
h = Dense(16, activation="relu")(x)
z = Lambda(sampling, output_shape=(units,))([Dense(units)(h), Dense(units)(h)])
model = Model(x, z)
model.compile("adam", "mse")
data = np.zeros((120, 20), "float32")  # all rows alike, and a last batch of 20
model.fit(data, np.zeros((120, units)), epochs=1, batch_size=batch_size, verbose=0)
first, second = (model.predict(data, verbose=0) for _ in range(2))
assert len(np.unique(first[:, 0])) == 120  # each row has numbers of its own
assert first.shape == second.shape == (120, units)
"""


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize(
    "draw",
    [
        "K.random_normal((batch_size, units), mean=0.0, stddev=1.0)",
        "K.random_uniform(shape=(batch_size, units))",
        "tf.random.normal((batch_size, units), 0.0, 0.5)",
    ],
)
def test_noise_of_a_stated_batch_size(draw: str, program: Callable[..., str]) -> None:
    """As in the first programs with variational autoencoders."""
    assert run(program(NOISE.replace("DRAW", draw))) == 0


BESIDE = """
import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.layers import Dense, Input
from keras.models import Model

x = Input((20,))
h = Dense(16, activation="relu")(x)
mean, log_var = Dense(2)(h), Dense(2)(h)
z = mean + K.exp(log_var / 2) * DRAW
model = Model(x, Dense(20)(z))
model.add_loss(K.mean(K.square(mean)) + K.mean(K.square(x - model.output)))
model.compile("adam")
data = np.zeros((30, 20), "float32")
model.fit(data, epochs=2, batch_size=10, validation_data=(data, None), verbose=0)
first, second = (model.predict(data, verbose=0) for _ in range(2))
assert len(np.unique(first[:, 0])) == 30 and (first != second).any()
"""


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize(
    "draw",
    [
        "K.random_normal(shape=(K.shape(mean)[0], 2), mean=0.0, stddev=1.0)",
        "K.random_normal(K.shape(mean))",
        "tf.random.normal(tf.shape(mean))",
        "tf.random_normal(tf.shape(mean))",
        "tf.random.truncated_normal(tf.shape(mean))",
        "tf.random.uniform((tf.shape(mean)[0], 2), -1.0, 1.0)",
    ],
)
def test_noise_without_a_layer_around_it(
    draw: str, program: Callable[..., str]
) -> None:
    """As Keras 2 took it: the batch is that of the tensor whose shape is asked for."""
    assert run(program(BESIDE.replace("DRAW", draw))) == 0


@pytest.mark.usefixtures("answered")
def test_noise_needs_a_shape(program: Callable[..., str], capfd: Any) -> None:
    text = "import tensorflow as tf\nx = tf.random.normal((None, 2))"
    assert run(program(text)) == 1
    assert "the shape must be known" in capfd.readouterr().err
