"""Loops of `ops` in a layer against Keras: what they give, how they train, and that a
loop with a known number of turns is one operation of the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve

RNG = np.random.default_rng(0)
B, T, C = 4, 12, 3
X = RNG.normal(size=(B, T, C)).astype("float32")
KERNEL = 0.5 * RNG.normal(size=(C, C)).astype("float32")


def first(o: Any, x: Any) -> Any:
    """Steps in front of the batch."""
    return o.transpose(x, (1, 0, 2))


def cell(o: Any, w: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = o.tanh(o.matmul(h, w) + x)
        return h, h

    return step


def scan(o: Any, x: Any, w: Any) -> Any:
    h, ys = o.scan(cell(o, w), o.zeros_like(x[:, 0]), first(o, x))
    return first(o, ys) + o.expand_dims(h, 1)


def backwards(o: Any, x: Any, w: Any) -> Any:
    """Several outputs, and a state that the batch makes different."""

    def step(h: Any, x: Any) -> Any:
        h = o.tanh(o.matmul(h, w) + x)
        return h, (h, o.sum(x * h, -1, keepdims=True))

    zeros = o.zeros((o.shape(x)[0], C))
    _, (hs, sums) = o.scan(step, zeros, first(o, x), reverse=True)
    return o.concatenate([first(o, hs), first(o, sums)], -1)


def structures(o: Any, x: Any, w: Any) -> Any:
    def step(carry: Any, part: Any) -> Any:
        a, b = carry["a"], carry["b"]
        b = o.tanh(o.matmul(b, w) * part["t"] + part["x"])
        return {"a": a + b, "b": b}, None

    carry = {"a": x[:, 0], "b": x[:, 1]}
    parts = {"x": first(o, x), "t": o.linspace(0.1, 1.0, T)}
    return o.scan(step, carry, parts)[0]["a"]


def of_length(o: Any, x: Any, w: Any) -> Any:
    def step(h: Any, _: Any) -> Any:
        return o.tanh(o.matmul(h, w)), h

    return first(o, o.scan(step, x[:, 0], length=9)[1])


def counted(o: Any, x: Any, w: Any) -> Any:
    return o.fori_loop(2, 14, lambda i, v: o.tanh(o.matmul(v, w)) + 0.1 * i, x)


def branching(o: Any, x: Any, w: Any) -> Any:
    """Python decides by the number of the turn."""

    def body(i: int, v: Any) -> Any:
        return o.tanh(o.matmul(v, w)) if i % 3 == 1 else v + x[:, i : i + 1]

    return o.fori_loop(0, 10, body, x)


def kept(o: Any, x: Any, w: Any) -> Any:
    """What turns compute is read behind the loop."""
    path = []

    def body(i: int, v: Any) -> Any:
        path.append(o.tanh(o.matmul(v, w)))
        return path[-1]

    o.fori_loop(0, 10, body, x[:, 0])
    return o.stack(path, 1)


def mapped(o: Any, x: Any, w: Any) -> Any:
    return first(o, o.map(lambda v: o.tanh(o.matmul(v, w)), first(o, x)))


def by_sample(o: Any, x: Any, w: Any) -> Any:
    return o.map(lambda v: o.matmul(v, w) / o.max(o.abs(v)) + o.mean(v, 0), x)


def vectorized(o: Any, x: Any, w: Any) -> Any:
    return o.vectorized_map(lambda v: o.sum(o.tanh(o.matmul(v, w)), 0), x)


def associative(o: Any, x: Any, w: Any) -> Any:
    """h_t = a_t h_(t-1) + b_t."""

    def join(one: Any, two: Any) -> Any:
        return one[0] * two[0], two[0] * one[1] + two[1]

    parts = (o.sigmoid(o.matmul(x, w)), x)
    return o.associative_scan(join, parts, axis=1)[1]


def associative_back(o: Any, x: Any, w: Any) -> Any:
    x = o.matmul(x, w)[:, :7]
    return o.associative_scan(lambda a, b: a + b, x, reverse=True, axis=1)


def chosen(o: Any, x: Any, w: Any) -> Any:
    y = o.switch(2, [lambda v: v, lambda v: -v, lambda v: o.matmul(v, w)], x)
    return o.cond(True, lambda: y, lambda: x)


def stacked(o: Any, x: Any, w: Any) -> Any:
    h, hs = x[:, 0], []
    for t in range(T):
        h = o.tanh(o.matmul(h, w) + x[:, t])
        hs.append(h)
    return first(o, o.stack(hs, 0))


LOOPS = (scan, backwards, structures, of_length, counted, mapped)
OTHERS = (branching, kept, by_sample, vectorized, associative, associative_back)
FORMULAS = {f.__name__: f for f in (*LOOPS, *OTHERS, chosen, stacked)}


def model_of(library: Any, formula: Any) -> Any:
    class Formula(library.layers.Layer):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(C, C), name="kernel")

        def call(self, x: Any) -> Any:
            return formula(library.ops, x, self.kernel)

    inputs = library.Input((T, C))
    y = library.layers.Flatten()(Formula()(inputs))
    model = library.Model(inputs, library.layers.Dense(2)(y))
    model.set_weights(
        [KERNEL, *(0.1 * np.ones(w.shape, "f") for w in model.get_weights()[1:])]
    )
    return model


def kinds(model: Any) -> set[str]:
    plan, _ = model._network.lowered([(T, C)], [None])
    return {op.kind for op in plan.ops}


@pytest.mark.parametrize("name", FORMULAS)
def test_trains_as_keras(name: str) -> None:
    ours, theirs = (model_of(lib, FORMULAS[name]) for lib in (kurve, keras))
    assert ("scan" in kinds(ours)) == (FORMULAS[name] in LOOPS)
    assert "python" not in kinds(ours)
    y = RNG.normal(size=(B, 2)).astype("float32")
    losses = []
    for model, library in ((ours, kurve), (theirs, keras)):
        model.compile(library.optimizers.SGD(0.05), "mse")
        losses.append(model.fit(X, y, B, epochs=5, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], 1e-4)
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), theirs.predict(X, verbose=0), 1e-4, 1e-5
    )


@pytest.mark.parametrize("formula", LOOPS)
def test_engines_agree(formula: Any, tmp_path: Any) -> None:
    """And a file without the class gives the same model."""
    kurve.set_engine("native")
    model = model_of(kurve, formula)
    found = model.predict(X, verbose=0)
    kurve.set_engine("reference")
    np.testing.assert_allclose(model.predict(X, verbose=0), found, 1e-5, 1e-6)
    kurve.set_engine("native")
    path = str(tmp_path / "model.kurve")
    model.save(path)
    again = kurve.models.load_model(path)
    np.testing.assert_array_equal(again.predict(X, verbose=0), found)


def test_loops_that_only_arrays_show() -> None:
    """Until a number that the model computes is reached; over the samples."""

    def until(o: Any, x: Any, w: Any) -> Any:
        def going_on(v: Any) -> Any:
            return o.max(v) < 20.0

        return o.while_loop(going_on, lambda v: (2.0 * v,), (o.abs(x) + 0.1,))[0]

    def over_samples(o: Any, x: Any, w: Any) -> Any:
        return o.scan(lambda c, v: (c + v, c), o.zeros((T, C)), x)[1]

    for formula in (until, over_samples):
        ours, theirs = (model_of(lib, formula) for lib in (kurve, keras))
        np.testing.assert_allclose(
            ours.predict(X, verbose=0), theirs.predict(X, verbose=0), 1e-5, 1e-5
        )


def test_of_arrays() -> None:
    for formula in FORMULAS.values():
        ours = np.asarray(formula(kurve.ops, X, KERNEL))
        x, w = map(keras.ops.convert_to_tensor, (X, KERNEL))
        theirs = keras.ops.convert_to_numpy(formula(keras.ops, x, w))
        np.testing.assert_allclose(ours, theirs, 1e-5, 1e-5)


def test_errors() -> None:
    with pytest.raises(TypeError, match=r"\[scan\] f must be a function"):
        kurve.ops.scan(3, X, X)
    with pytest.raises(ValueError, match="needs a length"):
        kurve.ops.scan(lambda c, x: (c, x), X)
    with pytest.raises(ValueError, match="first axes of equal length"):
        kurve.ops.scan(lambda c, x: (c, x), 0.0, (X, X[1:]))
    with pytest.raises(ValueError, match="an equal axis"):
        kurve.ops.associative_scan(kurve.ops.add, (X, X[1:]))
