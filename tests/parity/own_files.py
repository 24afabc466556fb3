"""Layers, models and small parts of one's own, the same in Kurve and in Keras."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


def classes(library: Any, o: Any) -> dict[str, Any]:
    """The classes and functions, by name, made of either library."""
    layers, saving = library.layers, library.saving

    def steep(x: Any) -> Any:
        return o.tanh(1.5 * x)

    def fourth(y_true: Any, y_pred: Any) -> Any:
        return o.mean(o.square(o.square(y_true - y_pred)), axis=-1)

    class Halves(library.initializers.Initializer):  # type: ignore[misc]
        def __init__(self, value: float = 0.5) -> None:
            self.value = value

        def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
            return self.value * o.ones(shape)

        def get_config(self) -> dict[str, Any]:
            return {"value": self.value}

    class Flat(library.regularizers.Regularizer):  # type: ignore[misc]
        def __init__(self, factor: float = 0.1) -> None:
            self.factor = factor

        def __call__(self, x: Any) -> Any:
            return self.factor * o.sum(o.square(x - 1.0))

        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    class Between(library.constraints.Constraint):  # type: ignore[misc]
        def __init__(self, most: float = 0.5) -> None:
            self.most = most

        def __call__(self, w: Any) -> Any:
            return o.clip(w, -self.most, self.most)

        def get_config(self) -> dict[str, Any]:
            return {"most": self.most}

    class Scale(layers.Layer):  # type: ignore[misc]
        """A weight of its own, one that is not trained, and a number."""

        def __init__(self, power: float = 1.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.power = power

        def build(self, input_shape: Any) -> None:
            n = input_shape[-1]
            self.fixed = self.add_weight(
                shape=(n,), initializer="ones", trainable=False, name="fixed"
            )
            self.w = self.add_weight(shape=(n,), initializer="normal", name="w")

        def call(self, x: Any) -> Any:
            return o.sign(x) * o.power(o.abs(x), self.power) * self.w + self.fixed

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "power": self.power}

    class Block(layers.Layer):  # type: ignore[misc]
        """Layers as attributes, public and private."""

        def __init__(self, units: int, activation: Any = "relu", **kw: Any) -> None:
            super().__init__(**kw)
            self.units, self.act = units, library.activations.get(activation)
            self.second = layers.Dense(units, kernel_initializer="he_normal")
            self._norm = layers.BatchNormalization()
            self.first = layers.Dense(units)
            self.drop = layers.Dropout(0.25)

        def call(self, x: Any, training: Any = None) -> Any:
            y = self._norm(self.act(self.first(x)), training=training)
            return self.second(self.drop(y, training=training)) + x

        def get_config(self) -> dict[str, Any]:
            return {
                **super().get_config(),
                "units": self.units,
                "activation": library.activations.serialize(self.act),
            }

    class Tower(layers.Layer):  # type: ignore[misc]
        """Own layers in lists and dictionaries, one of them under two names."""

        def __init__(self, units: int, count: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units, self.count = units, count
            self.steps = [Block(units, name=f"b{i}") for i in range(count)]
            self.parts_by = {"scale": Scale(), "dense": layers.Dense(units)}
            self.again = self.parts_by["dense"]
            self.pairs = [[layers.Dense(units, "tanh")], [Scale(), layers.ReLU()]]

        def call(self, x: Any) -> Any:
            for step in self.steps:
                x = step(x)
            x = self.again(self.parts_by["scale"](x))
            for pair in self.pairs:
                for layer in pair:
                    x = layer(x)
            return x

        def get_config(self) -> dict[str, Any]:
            own = {"units": self.units, "count": self.count}
            return {**super().get_config(), **own}

    class Linear(layers.Layer):  # type: ignore[misc]
        """Initializer, regularizer, constraint and activation as arguments."""

        def __init__(
            self,
            units: int,
            activation: Any = None,
            kernel_initializer: Any = "glorot_uniform",
            kernel_regularizer: Any = None,
            kernel_constraint: Any = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.activation = library.activations.get(activation)
            self.kernel_initializer = library.initializers.get(kernel_initializer)
            self.kernel_regularizer = library.regularizers.get(kernel_regularizer)
            self.kernel_constraint = library.constraints.get(kernel_constraint)

        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight(
                shape=(input_shape[-1], self.units),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
                name="kernel",
            )

        def call(self, x: Any) -> Any:
            return self.activation(o.matmul(x, self.kernel))

        def get_config(self) -> dict[str, Any]:
            return {
                **super().get_config(),
                "units": self.units,
                "activation": library.activations.serialize(self.activation),
                "kernel_initializer": library.initializers.serialize(
                    self.kernel_initializer
                ),
                "kernel_regularizer": library.regularizers.serialize(
                    self.kernel_regularizer
                ),
                "kernel_constraint": library.constraints.serialize(
                    self.kernel_constraint
                ),
            }

    class Around(layers.Layer):  # type: ignore[misc]
        """A layer, or a model, as argument."""

        def __init__(self, inner: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.inner = inner

        def call(self, x: Any) -> Any:
            return 0.5 * self.inner(x) + x

        def get_config(self) -> dict[str, Any]:
            inner = saving.serialize_keras_object(self.inner)
            return {**super().get_config(), "inner": inner}

        @classmethod
        def from_config(cls, config: Any) -> Any:
            config = dict(config)
            inner = saving.deserialize_keras_object(config.pop("inner"))
            return cls(inner, **config)

    class Gate(layers.Layer):  # type: ignore[misc]
        """Two inputs, and arguments without get_config."""

        def __init__(self, units: int, bias: bool = True, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.left = layers.Dense(units, use_bias=bias)
            self.right = layers.Dense(units)

        def call(self, a: Any, b: Any) -> Any:
            return o.sigmoid(self.left(a)) * self.right(b)

    class Two(library.Model):  # type: ignore[misc]
        """A model with a call: attributes before and after "layers", a list, and a
        layer of two names."""

        def __init__(self, units: int = 3, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.zeta = layers.Dense(units, "tanh")
            self.alpha = [Block(units), layers.Dense(units, "relu")]
            self.also = self.zeta
            self.drop = layers.Dropout(0.5)
            self._out = layers.Dense(2)

        def call(self, x: Any, training: Any = None) -> Any:
            x = self.zeta(x)
            for layer in self.alpha:
                x = layer(x)
            return self._out(self.drop(self.also(x), training=training))

        def get_config(self) -> dict[str, Any]:
            return {"name": self.name, "units": self.units}

    class Pair(library.Model):  # type: ignore[misc]
        """Two inputs in a dictionary, two outputs, a model as a part."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.two = Two(3)
            self.body = library.Sequential([layers.Dense(3), Scale()])

        def call(self, inputs: Any) -> Any:
            a = self.body(inputs["a"])
            return [self.two(a + inputs["b"]), a]

    found = [Halves, Flat, Between, Scale, Block, Tower, Linear, Around, Gate]
    own = {cls.__name__: cls for cls in (*found, Two, Pair)}
    return {**own, "steep": steep, "fourth": fourth}


Case = Callable[[Any, SimpleNamespace], Any]


def stack(*parts: Callable[[Any, Any], Any]) -> Case:
    def made(library: Any, own: Any) -> Any:
        layers = [part(library, own) for part in parts]
        return library.Sequential([library.Input((3,)), *layers])

    return made


def shared(library: Any, own: Any) -> Any:
    """An own layer called twice, and a plain one inside it."""
    a, b = library.Input((3,), name="a"), library.Input((3,), name="b")
    block = own.Block(3)
    x = library.layers.Add()([block(a), block(b)])
    x = own.Gate(2)(x, block(b))
    return library.Model([a, b], [x, own.Scale(2.0)(x)])


def nested(library: Any, own: Any) -> Any:
    """Own layers in models that are layers, and in layers that hold layers."""
    x = library.Input((5, 3))
    inner = library.Sequential([library.Input((3,)), own.Linear(3), own.Scale()])
    h = library.layers.TimeDistributed(inner)(x)
    h = own.Around(library.layers.Dense(3, "relu"))(h)
    y = library.Input((3,))
    part = library.Model(y, own.Around(own.Linear(3, own.steep))(y))
    h = library.layers.GlobalAveragePooling1D()(h)
    return library.Model(x, own.Around(part)(h))


def pair(library: Any, own: Any) -> Any:
    model = own.Pair()
    model({"a": np.zeros((1, 3), np.float32), "b": np.zeros((1, 3), np.float32)})
    return model


def two(library: Any, own: Any) -> Any:
    model = own.Two(3)
    model(np.zeros((1, 3), np.float32))
    return model


def inside(library: Any, own: Any) -> Any:
    """A model with a call, as a layer of another one."""
    x = library.Input((3,))
    part = own.Two(3, name="part")
    return library.Model(x, library.layers.Dense(1)(part(x)))


def linear(library: Any, own: Any) -> Any:
    return own.Linear(3, own.steep, own.Halves(0.25), own.Flat(0.2), own.Between(0.4))


def dense(library: Any, own: Any) -> Any:
    return library.layers.Dense(
        3,
        kernel_initializer=own.Halves(0.25),
        kernel_regularizer=own.Flat(0.2),
        bias_constraint=own.Between(0.1),
        activation=own.steep,
    )


def plain(library: Any, own: Any) -> Any:
    return own.Linear(3, "relu", "he_normal", library.regularizers.L2(0.1), "non_neg")


CASES: dict[str, Case] = {
    "a weight": stack(lambda k, own: own.Scale(2.0)),
    "parts": stack(lambda k, own: own.Block(3, "tanh"), lambda k, _: k.layers.Dense(2)),
    "lists": stack(lambda k, own: own.Tower(3, 2)),
    "own parts of an own layer": stack(linear),
    "parts by name": stack(plain),
    "own parts of a layer": stack(dense),
    "a layer in a layer": stack(lambda k, own: own.Around(k.layers.Dense(3))),
    "an own layer in one": stack(lambda k, own: own.Around(own.Block(3, own.steep))),
    "shared": shared,
    "nested": nested,
    "a model with a call": two,
    "its inputs and outputs": pair,
    "a model in a model": inside,
}


def batch(case: str, n: int = 20) -> Any:
    """Inputs for a case."""
    rng = np.random.default_rng(5)

    def array(*shape: int) -> Any:
        return rng.normal(size=(n, *shape)).astype(np.float32)

    if case == "shared":
        return [array(3), array(3)]
    if case == "its inputs and outputs":
        return {"a": array(3), "b": array(3)}
    return array(5, 3) if case == "nested" else array(3)
