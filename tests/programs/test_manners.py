"""What tensors, layers and targets do in programs for Keras, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

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
