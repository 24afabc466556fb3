"""Masks: which steps count. Numbers are compared with Keras's in tests/parity."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, ops

RNG = np.random.default_rng(1)
IDS = np.array([[711, 632, 71, 0, 0, 0], [73, 8, 3215, 55, 927, 0], [8, 1, 2, 3, 4, 5]])
X = RNG.normal(size=(6, 4, 3)).astype(np.float32)


def test_masks_of_arrays_and_of_symbolic_tensors() -> None:
    words = layers.Embedding(5000, 16, mask_zero=True)
    y = words(IDS)
    np.testing.assert_array_equal(y._keras_mask, IDS != 0)
    np.testing.assert_array_equal(words.compute_mask(IDS), IDS != 0)
    tiled = np.tile(IDS[:, :, None], (1, 1, 10))
    np.testing.assert_array_equal(layers.Masking()(tiled)._keras_mask, IDS != 0)
    assert (y * 2.0)._keras_mask is None

    x = Input((None,), dtype="int32")
    h = layers.Dropout(0.1)(words(x))
    assert h._keras_mask.shape == (None, None) and h._keras_mask.dtype == "bool"
    assert (h * 2.0)._keras_mask is None
    assert layers.Dense(3)(Input((4, 3)))._keras_mask is None
    found = Model(x, h._keras_mask).predict(IDS, verbose=0)
    np.testing.assert_array_equal(found, IDS != 0)


class Halves(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return ops.split(inputs, 2, axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if mask is None else ops.split(mask, 2, axis=1)


class Words(layers.Layer):
    def __init__(self, mask_zero: bool = False) -> None:
        super().__init__()
        self.mask_zero = mask_zero

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight(shape=(10, 4), initializer="random_normal")

    def call(self, inputs: Any) -> Any:
        return ops.take(self.table, ops.cast(inputs, "int32"), 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.not_equal(inputs, 0) if self.mask_zero else None


class Doubled(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return 2.0 * inputs


class OverTime(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        assert mask is not None
        y = ops.exp(inputs) * ops.expand_dims(ops.cast(mask, "float32"), -1)
        return y / ops.sum(y, axis=1, keepdims=True)


def test_layers_of_ones_own() -> None:
    ids = np.array([[1, 2, 0, 3], [4, 0, 5, 0]])
    first, second = Halves()(Words(True)(ids))
    np.testing.assert_array_equal(first._keras_mask, ids[:, :2] != 0)
    np.testing.assert_array_equal(second._keras_mask, ids[:, 2:] != 0)
    assert Words()(ids)._keras_mask is None and not Words().compute_mask(ids)
    assert Words().supports_masking and not layers.Reshape((4,)).supports_masking
    np.testing.assert_array_equal(Doubled()(Words(True)(ids))._keras_mask, ids != 0)
    for model in (
        Sequential([Words(True), Doubled(), layers.Dense(1), OverTime()]),
        Sequential([Input((None,)), Words(True), layers.Dense(1), OverTime()]),
        (lambda x: Model(x, OverTime()(layers.Dense(1)(Words(True)(x)))))(Input((4,))),
    ):
        y = model(ids)[..., 0]
        np.testing.assert_allclose(np.sum(y, axis=1), 1.0, rtol=1e-6)
        np.testing.assert_array_equal(y == 0, ids == 0)


def test_what_is_not_read_costs_nothing() -> None:
    """The plan of a model whose mask nobody reads is that of one without."""
    plans = []
    for zero in (False, True):
        x = Input((4,))
        y = layers.Dense(2)(
            layers.Dropout(0.2)(layers.Embedding(9, 3, mask_zero=zero)(x))
        )
        plans.append(Model(x, y)._network.plan)
    assert [op.kind for op in plans[0].ops] == [op.kind for op in plans[1].ops]


def test_dropping_warns_once_and_names_the_layer() -> None:
    ids = np.array([[1, 2, 0]])

    def run() -> None:
        model = Sequential(
            [
                layers.Embedding(9, 2, mask_zero=True),
                layers.Flatten(name="flat"),
                layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse")
        model.fit(ids, np.ones(1), epochs=2, verbose=0)

    text = r"\[Flatten\] layer 'flat' gets a masked input"
    with pytest.warns(UserWarning, match=text) as found:
        run()
    assert len(found) == 1

    class Dropping(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 1.0

        def compute_mask(self, x: Any, mask: Any = None) -> None:
            return None

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            Dropping()(layers.Embedding(9, 2, mask_zero=True)(ids))._keras_mask is None
        )


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (
            lambda: layers.GlobalAveragePooling1D()(X, mask=np.ones((6, 3))),
            ValueError,
            r"\[GlobalAveragePooling1D\] the mask of layer .* must match the first two",
        ),
        (
            lambda: layers.GlobalAveragePooling1D()(X, mask=np.ones((5, 4))),
            ValueError,
            "mask must have one value per sample",
        ),
        (
            lambda: layers.GlobalAveragePooling1D()(X, mask="yes"),
            TypeError,
            "must hold real numbers",
        ),
        (
            lambda: layers.Dense(2)(X, mask=X[..., 0]),
            TypeError,
            "no argument for a mask",
        ),
        (
            lambda: layers.MultiHeadAttention(2, 3)(X, X, attention_mask=X),
            ValueError,
            r"attention_mask does not fit .* Try one of shape \(None, 4, 4\)",
        ),
        (
            lambda: layers.GroupQueryAttention(3, 2, 1)(X, X, value_mask=X[:, :3, 0]),
            ValueError,
            "value_mask does not fit",
        ),
        (
            lambda: layers.Attention()([X, X], mask=X[..., 0]),
            ValueError,
            "mask must be a list",
        ),
        (
            lambda: layers.Attention()([X, X], mask=[None, X[:, 1:, 0]]),
            ValueError,
            "a mask must have the axes of its input except the last",
        ),
        (
            lambda: layers.Add().compute_mask([X, X], X[..., 0]),
            ValueError,
            "a list with one mask or None per input",
        ),
        (
            lambda: layers.TimeDistributed(layers.Dense(2))(X, mask=np.ones((6, 9))),
            ValueError,
            "a mask must match",
        ),
        (
            lambda: layers.BatchNormalization()(X, mask=np.ones((6, 3)), training=True),
            ValueError,
            "must have the axes of its input except the last",
        ),
        (
            lambda: layers.Softmax()(X, mask=np.ones((6, 4))),
            ValueError,
            "must broadcast to its input",
        ),
        (lambda: layers.Masking("a"), ValueError, "must be a finite number"),  # type: ignore[arg-type]
        (lambda: Doubled().compute_mask(X, 3) + Bad()(X), TypeError, "return a tensor"),
        (
            lambda: Sequential([layers.Dense(1)])(X, mask=X[..., 0]),
            TypeError,
            "a mask inside another model",
        ),
    ],
)
def test_masks_that_do_not_fit(
    call: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        call()


class Bad(layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 1.0

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return "all"


def test_masks_of_losses_must_have_their_sizes() -> None:
    class Sums(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.supports_masking = True

        def call(self, x: Any) -> Any:
            return ops.sum(x, axis=1)

    model = Sequential([layers.Embedding(9, 2, mask_zero=True), Sums()])
    model.compile("sgd", "mse")
    with pytest.raises(
        ValueError, match="the mask of an output must have one value per"
    ):
        model.fit(IDS[:, :3] % 9, np.ones((3, 2)), verbose=0)


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


def trained(engine: str, count: int = 1) -> list[np.ndarray]:
    kurve.set_threads(count)
    kurve.utils.set_random_seed(3)
    x = Input((40, 16))
    h = layers.BatchNormalization(name="b")(layers.Masking()(x))
    h = layers.Dense(16, "tanh", name="h")(layers.MultiHeadAttention(2, 4)(h, h))
    model = Model(x, layers.Dense(1, name="o")(h))
    rng = np.random.default_rng(0)
    data = rng.normal(size=(64, 40, 16)) * (rng.random((64, 40, 1)) < 0.7)
    model.compile("adam", "mse", metrics=["mae"], engine=engine)
    history = model.fit(data, data[..., :1], batch_size=32, epochs=2, verbose=0)
    found = [np.array(v) for v in history.history.values()]
    return [*found, *model.get_weights(), model.predict(data, verbose=0)]


@pytest.mark.usefixtures("threads")
def test_engines_and_threads() -> None:
    one = trained("native")
    for a, b in zip(one, trained("native", 4), strict=True):
        assert a.tobytes() == b.tobytes()
    for a, b in zip(one, trained("reference"), strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-4)


def test_solvers() -> None:
    model = Sequential(
        [layers.Embedding(9, 2, mask_zero=True), layers.Dense(1), Doubled()]
    )
    ids, y = IDS[:, :4] % 9, np.ones((3, 4, 1))
    model.compile("sgd", "mse")
    model.build((None, 4))
    with pytest.raises(ValueError, match="the output must not be masked"):
        kurve.solvers.levenberg_marquardt(model, ids, y)
    kurve.solvers.lbfgs(model, ids, y, max_iterations=20, verbose=0)
    counted = model.predict(ids, verbose=0)[ids != 0]
    np.testing.assert_allclose(counted, 1.0, atol=1e-2)


def test_a_mask_of_a_tensor_in_files(tmp_path: Any) -> None:
    x = Input((4,))
    h = layers.Embedding(9, 2, mask_zero=True)(x)
    y = layers.GlobalAveragePooling1D()(
        layers.Reshape((4, 2))(h * 1.0), mask=h._keras_mask
    )
    model = Model(x, y)
    ids = IDS[:, 2:] % 9
    model.save(tmp_path / "m.kurve")
    read = kurve.models.load_model(tmp_path / "m.kurve")
    np.testing.assert_array_equal(
        read.predict(ids, verbose=0), model.predict(ids, verbose=0)
    )
    with pytest.raises(ValueError, match="a mask that was taken from a tensor"):
        model.save(tmp_path / "m.keras")


def test_constants_in_formulas_are_traced() -> None:
    """Weights that only constants are multiplied with are trained too."""

    class Placed(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.places = layers.Embedding(4, 3)
            self.dense = layers.Dense(3)

        def call(self, x: Any) -> Any:
            return x + self.dense(self.places(ops.arange(4)))

    for engine in ("native", "reference"):
        model = Sequential([Input((4, 3)), Placed()])
        model.compile("sgd", "mse", engine=engine)
        before = model.get_weights()
        model.fit(X, X + 1.0, epochs=1, verbose=0)
        after = model.get_weights()
        assert all((a != b).any() for a, b in zip(before, after, strict=True))
        table, kernel, bias = after
        found = model.predict(X, verbose=0)
        np.testing.assert_allclose(found, X + table @ kernel + bias, 1e-5, 1e-6)
