"""Masks, against Keras: where they come from, which layers take and pass them, what
losses and metrics leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve
from kurve.formulas import functions

RNG = np.random.default_rng(0)
B, T, C = 8, 5, 4

PATTERNS = {
    "none": np.ones((B, T), bool),
    "right": np.arange(T) < np.arange(B)[:, None] % T + 1,
    "left": np.arange(T) >= np.arange(B)[:, None] % T,
    "holes": RNG.random((B, T)) < 0.6,
    "wholly": np.arange(B)[:, None] % 2 + np.zeros((B, T), int) > 0,
}
PATTERNS["holes"][:, 2] = True
IDS = RNG.integers(1, 9, (B, T))
OTHER = RNG.integers(1, 9, (B, T)) * PATTERNS["right"]


class Lib:
    """Keras or Kurve."""

    def __init__(self, models: Any, ops: Any) -> None:
        self.models, self.layers, self.ops = models, models.layers, ops

    def embedded(self, ids: Any, zero: bool = True) -> Any:
        return self.layers.Embedding(9, C, mask_zero=zero)(ids)


LIBS = Lib(keras, keras.ops), Lib(kurve, functions)


def activation(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.Activation("tanh")(lib.layers.Dropout(0.0)(h))


def normalized(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.LayerNormalization()(lib.layers.LeakyReLU()(h))


def dense(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.Dense(4, "tanh")(h)


def many(lib: Any, h: Any, other: Any) -> Any:
    L = lib.layers
    h = L.GroupNormalization(2)(L.PReLU()(L.ELU()(h)))
    return L.UnitNormalization()(L.ActivityRegularization(0.0)(L.ReLU()(h)))


def merged(name: str) -> Any:
    def build(lib: Any, h: Any, other: Any) -> Any:
        layer = getattr(lib.layers, name)()
        return layer([h, lib.layers.Dense(4)(other)])

    return build


def merged_with_unmasked(name: str) -> Any:
    def build(lib: Any, h: Any, other: Any) -> Any:
        plain = lib.layers.Lambda(lambda x: x * 1.0)(other)
        return getattr(lib.layers, name)()([h, plain])

    return build


def joined_in_time(lib: Any, h: Any, other: Any) -> Any:
    y = lib.layers.Concatenate(axis=1)([h, other])
    return lib.layers.GlobalAveragePooling1D()(y)


def three(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.Maximum()([h, other, lib.layers.Dense(4)(h)])


def timed(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.TimeDistributed(lib.layers.Dense(4, "tanh"))(h)


def attention(**named: Any) -> Any:
    def build(lib: Any, h: Any, other: Any) -> Any:
        return lib.layers.Attention(**named)([h, other])

    return build


def causal(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.Attention()([h, other, h], use_causal_mask=True)


def additive(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.AdditiveAttention()([h, other])


def heads(**named: Any) -> Any:
    def build(lib: Any, h: Any, other: Any) -> Any:
        return lib.layers.MultiHeadAttention(2, 3)(h, other, **named)

    return build


def heads_with_mask(lib: Any, h: Any, other: Any) -> Any:
    seen = np.tril(np.ones((1, T, T), bool))
    return lib.layers.MultiHeadAttention(2, 3)(h, h, attention_mask=seen)


def residual(lib: Any, h: Any, other: Any) -> Any:
    """Attention takes the mask away from h."""
    y = lib.layers.MultiHeadAttention(2, 3)(h, h)
    return lib.layers.Add()([h, y])


def queries(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.GroupQueryAttention(3, 4, 2)(h, other)


def scores(lib: Any, h: Any, other: Any) -> Any:
    _, y = lib.layers.MultiHeadAttention(2, T)(h, other, return_attention_scores=True)
    return lib.layers.Lambda(lambda y: y[:, 0])(y)


def own(lib: Any, h: Any, other: Any) -> Any:
    ops = lib.ops

    class Weighted(lib.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.supports_masking = True
            self.inner = lib.layers.Dense(4)

        def call(self, x: Any, mask: Any = None) -> Any:
            weights = ops.expand_dims(ops.cast(mask, "float32"), -1)
            y = ops.exp(self.inner(x)) * weights
            return y / (ops.sum(y, axis=1, keepdims=True) + 1e-3)

    return Weighted()(h)


def own_masks(lib: Any, h: Any, other: Any) -> Any:
    ops = lib.ops

    class First(lib.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x[:, :3]

        def compute_mask(self, x: Any, mask: Any = None) -> Any:
            return None if mask is None else ops.logical_not(mask[:, :3])

    return First()(h)


def inside(lib: Any, h: Any, other: Any) -> Any:
    L = lib.layers

    class Inside(L.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.dense = L.GlobalAveragePooling1D(), L.Dense(3)

        def call(self, x: Any, mask: Any = None) -> Any:
            return self.mean(self.dense(x), mask=mask)

    return Inside()(h)


def given(lib: Any, h: Any, other: Any) -> Any:
    mask = lib.ops.not_equal(lib.ops.sum(other, axis=-1), 100.0)
    return lib.layers.GlobalAveragePooling1D()(h, mask=mask)


def nested(lib: Any, h: Any, other: Any) -> Any:
    x = lib.models.Input((T, C))
    y = lib.layers.GlobalAveragePooling1D()(lib.layers.Dense(3)(x))
    return lib.models.Model(x, y)(h)


def function(lib: Any, h: Any, other: Any) -> Any:
    layer = lib.layers.Lambda(
        lambda x, mask=None: x * 2.0 if mask is None else x * 3.0,
        mask=lambda x, mask: mask,
    )
    return layer(h)


def standardized(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.BatchNormalization(momentum=0.7)(h)


def standardized_unmasked(lib: Any, h: Any, other: Any) -> Any:
    """Steps that do not count are standardized too, and have gradients."""
    y = lib.layers.BatchNormalization(momentum=0.7, scale=False)(h)
    return lib.layers.Dense(3)(lib.layers.Flatten()(y))


def flattened(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.Dense(3)(lib.layers.Flatten()(h))


def softmax(lib: Any, h: Any, other: Any) -> Any:
    row = lib.layers.Lambda(lambda x: lib.ops.sum(x, axis=-1), mask=lambda x, m: m)(h)
    return lib.layers.Dense(3)(lib.layers.Flatten()(lib.layers.Softmax()(row)))


def mean(lib: Any, h: Any, other: Any) -> Any:
    return lib.layers.GlobalAveragePooling1D()(h)


CASES: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (activation, normalized, dense, many, timed, causal)},
    **{f.__name__: f for f in (additive, heads_with_mask, residual, queries, scores)},
    **{f.__name__: f for f in (own, own_masks, inside, given, nested, function)},
    **{f.__name__: f for f in (flattened, softmax, mean, joined_in_time, three)},
    **{f.__name__: f for f in (standardized, standardized_unmasked)},
    **{
        name: merged(name)
        for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    },
    "Concatenate": merged("Concatenate"),
    "Add, None": merged_with_unmasked("Add"),
    "Maximum, None": merged_with_unmasked("Maximum"),
    "Multiply, None": merged_with_unmasked("Multiply"),
    "Concatenate, None": merged_with_unmasked("Concatenate"),
    "attention": attention(),
    "attention, concat": attention(score_mode="concat", use_scale=True),
    "heads": heads(),
    "heads, causal": heads(use_causal_mask=True),
}
UNTRAINED = ("residual",)
"""With torch, Keras lets a gradient through scores of queries that see nothing."""

UNDEFINED = ("inside", "nested", "mean")
"""Means over steps, which are NaN where there is none."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights and targets whichever tests run before."""
    keras.utils.set_random_seed(7)
    RNG.bit_generator.state = np.random.default_rng(11).bit_generator.state


def twins(case: str) -> list[Any]:
    made = []
    for lib in LIBS:
        one, two = lib.models.Input((T,)), lib.models.Input((T,))
        y = CASES[case](lib, lib.embedded(one), lib.embedded(two))
        if len(y.shape) == 3:
            y = lib.layers.Dense(2)(y)
        made.append(lib.models.Model([one, two], y))
    theirs, ours = made
    ours.set_weights(theirs.get_weights())
    return made


@pytest.mark.filterwarnings("ignore:.*mask:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_layers(case: str) -> None:
    theirs, ours = twins(case)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    for name, pattern in PATTERNS.items():
        x = [IDS * pattern, OTHER]
        expected = theirs.predict(x, verbose=0)
        np.testing.assert_allclose(
            ours.predict(x, verbose=0), expected, 1e-5, 1e-6, err_msg=name
        )
    if case in UNTRAINED:
        return
    y = RNG.normal(size=expected.shape).astype(np.float32)
    for model in (theirs, ours):
        model.compile("adam", "mse", metrics=["mae"])
    names = [n for n in PATTERNS if n != "wholly" or case not in UNDEFINED]
    for name in (*names, "holes"):
        x = [IDS * PATTERNS[name], OTHER]
        losses = [
            model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0).history
            for model in (theirs, ours)
        ]
        for key, values in losses[0].items():
            np.testing.assert_allclose(
                losses[1][key], values, 1e-4, err_msg=f"{name}: {key}"
            )
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, 1e-4, 1e-4 * max(0.1, np.abs(a).max()))


LOSSES = {
    "mse": (2, None, ["mse", "mae", "cosine_similarity", "mape"]),
    "binary_crossentropy": (1, "sigmoid", ["accuracy", "binary_accuracy", "hinge"]),
    "categorical_crossentropy": (3, "softmax", ["accuracy", "kl_divergence"]),
    "sparse_categorical_crossentropy": (3, "softmax", ["accuracy", "AUC"]),
    "huber": (2, None, ["msle", "mae"]),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_losses(loss: str, engine: str) -> None:
    units, activation, metrics = LOSSES[loss]
    metrics = [m for m in metrics if m != "AUC"]
    made = []
    for lib in LIBS:
        x = lib.models.Input((T,))
        h = lib.embedded(x)
        one = lib.layers.Dense(units, activation, name="one")(h)
        two = lib.layers.Dense(1, name="two")(lib.layers.GlobalAveragePooling1D()(h))
        made.append(lib.models.Model(x, [one, two]))
    theirs, ours = made
    ours.set_weights(theirs.get_weights())
    labels = RNG.integers(0, max(units, 2), (B, T))
    y = RNG.normal(size=(B, T, units)).astype(np.float32)
    if "crossentropy" in loss:
        y = np.eye(max(units, 2), dtype=np.float32)[labels]
        y = labels if "sparse" in loss else labels[..., None] if units == 1 else y
    targets = [y, RNG.normal(size=(B, 1)).astype(np.float32)]
    for lib, model in zip(LIBS, made, strict=True):
        del lib
        own = {"engine": engine} if model is ours else {}
        model.compile(
            "adam",
            [loss, "mse"],
            metrics=[metrics, ["mae"]],
            loss_weights=[1.0, 0.5],
            **own,
        )
    for name in ("none", "right", "left", "holes"):
        x = IDS * PATTERNS[name]
        found = [
            m.fit(x, targets, epochs=5, batch_size=3, shuffle=False, verbose=0).history
            for m in made
        ]
        assert set(found[0]) == set(found[1])
        for key, values in found[0].items():
            np.testing.assert_allclose(
                found[1][key], values, 1e-4, 1e-6, err_msg=f"{name}: {key}"
            )
        a, b = (m.evaluate(x, targets, verbose=0, return_dict=True) for m in made)
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_a_wholly_masked_batch_and_weights_of_samples() -> None:
    made = []
    for lib in LIBS:
        x = lib.models.Input((T, 2))
        h = lib.layers.Masking(9.0)(x)
        made.append(lib.models.Model(x, lib.layers.Dense(1, name="d")(h)))
    theirs, ours = made
    ours.set_weights(theirs.get_weights())
    x = RNG.normal(size=(B, T, 2)).astype(np.float32)
    x[:4] = 9.0
    x[4:, 3] = 9.0
    x[5, :, 0] = 9.0
    y = RNG.normal(size=(B, T, 1)).astype(np.float32)
    weights = RNG.random(B).astype(np.float32)
    for m in made:
        m.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    assert ours.evaluate(x[:4], y[:4], verbose=0) == [0.0, 0.0, 0.0]
    for w in (None, weights):
        # Of each step, as Keras cannot spread weights of samples over a mask.
        keras_w = None if w is None else np.repeat(w[:, None], T, 1)
        a = theirs.evaluate(
            x, y, batch_size=4, sample_weight=keras_w, verbose=0, return_dict=True
        )
        b = ours.evaluate(
            x, y, batch_size=4, sample_weight=w, verbose=0, return_dict=True
        )
        assert a == pytest.approx(b, rel=1e-5)
        a, b = (
            m.fit(
                x, y, sample_weight=v, batch_size=4, epochs=20, shuffle=False, verbose=0
            ).history
            for m, v in ((theirs, keras_w), (ours, w))
        )
        assert a == {k: pytest.approx(v, rel=1e-4) for k, v in b.items()}


def encoder(lib: Any) -> Any:
    """Words and places, a block of a transformer, the mean of the words."""
    L, ops = lib.layers, lib.ops

    class Words(L.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words = L.Embedding(9, C, mask_zero=True)
            self.places = L.Embedding(T, C)

        def call(self, x: Any) -> Any:
            return self.words(x) + self.places(ops.arange(ops.shape(x)[-1]))

        def compute_mask(self, x: Any, mask: Any = None) -> Any:
            return self.words.compute_mask(x)

    class Block(L.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.attention = L.MultiHeadAttention(2, 3)
            self.inner = lib.models.Sequential([L.Dense(8, "relu"), L.Dense(C)])
            self.first, self.second = L.LayerNormalization(), L.LayerNormalization()
            self.supports_masking = True

        def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
            seen = None if mask is None else ops.cast(mask[:, None, :], "int32")
            h = self.first(x + self.attention(x, x, attention_mask=seen))
            return self.second(h + self.inner(h))

    x = lib.models.Input((T,))
    h = L.GlobalAveragePooling1D()(Block()(Words()(x)))
    return lib.models.Model(x, L.Dense(2)(h))


@pytest.mark.parametrize("kind", ["stack", "model", "encoder"])
def test_stacks_and_models_of_ones_own(kind: str) -> None:
    made = []
    for lib in LIBS:
        L = lib.layers
        if kind == "encoder":
            model = encoder(lib)
        elif kind == "stack":
            model = lib.models.Sequential(
                [L.Embedding(9, C, mask_zero=True), own_layer(lib)(), L.Dense(1)]
            )
        else:

            class Own(lib.models.Model):  # type: ignore[misc]
                def __init__(self, lib: Any = lib) -> None:
                    super().__init__()
                    L = lib.layers
                    self.words = L.Embedding(9, C, mask_zero=True)
                    self.hidden, self.last = L.Dense(3, "tanh"), L.Dense(1)
                    self.mean = L.GlobalAveragePooling1D()

                def call(self, x: Any, training: Any = None) -> Any:
                    mask = self.words.compute_mask(x)
                    h = self.hidden(self.words(x))
                    return self.last(h) + self.last(self.mean(h, mask=mask))[:, None]

            model = Own()
        model(IDS[:1])
        made.append(model)
    theirs, ours = made
    ours.set_weights(theirs.get_weights())
    x = IDS * PATTERNS["holes"]
    y = theirs.predict(x, verbose=0) * 0.0 + 1.0
    for m in made:
        m.compile("adam", "mse")
    a, b = (
        m.fit(x, y, batch_size=3, epochs=7, shuffle=False, verbose=0).history["loss"]
        for m in made
    )
    np.testing.assert_allclose(b, a, 1e-4)
    np.testing.assert_allclose(
        ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4, 1e-5
    )


def own_layer(lib: Any) -> Any:
    ops = lib.ops

    class Sums(lib.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any, mask: Any = None) -> Any:
            assert mask is not None
            return ops.sum(x * ops.cast(mask, "float32")[:, :, None], axis=1)

        def compute_mask(self, x: Any, mask: Any = None) -> Any:
            return None

    return Sums


FILES = "standardized", "Add", "attention", "heads", "mean", "joined_in_time", "given"


@pytest.mark.parametrize("case", FILES)
def test_files(case: str, tmp_path: Any) -> None:
    x = [IDS * PATTERNS["left"], OTHER]
    theirs, ours = twins(case)
    path = str(tmp_path / "m.keras")
    theirs.save(path)
    expected = theirs.predict(x, verbose=0)
    read = kurve.models.load_model(path)
    np.testing.assert_allclose(read.predict(x, verbose=0), expected, 1e-5, 1e-6)
    ours.save(path)
    back = keras.models.load_model(path)
    np.testing.assert_allclose(back.predict(x, verbose=0), expected, 1e-5, 1e-6)
    ours.save(str(tmp_path / "m.kurve"))
    own = kurve.models.load_model(str(tmp_path / "m.kurve"))
    np.testing.assert_array_equal(own.predict(x, verbose=0), ours.predict(x, verbose=0))
    again = kurve.models.model_from_json(ours.to_json())
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), ours.predict(x, verbose=0)
    )


def test_by_hand() -> None:
    """Masks of arrays."""
    ids = IDS * PATTERNS["holes"]
    mine, theirs = kurve.layers, keras.layers
    table = RNG.normal(size=(9, C)).astype(np.float32)
    found = []
    for L, ops in ((theirs, keras.ops), (mine, functions)):
        words = L.Embedding(9, C, mask_zero=True)
        words.build((None, T))
        words.set_weights([table])
        y = words(ids)
        pooled = L.GlobalAveragePooling1D()(L.Dropout(0.5)(y))
        other = L.GlobalAveragePooling1D()(y, mask=ops.convert_to_tensor(ids == 3))
        some = np.array([[True, False, True]] * 2)
        masked = L.Softmax()(np.ones((2, 3), np.float32), mask=some)
        parts = (y._keras_mask, pooled, masked, other)
        found.append([keras.ops.convert_to_numpy(part) for part in parts])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, 1e-6)
