"""Losses that compare rows of a batch, take targets of other shapes than the outputs,
or align sequences: 20 steps as Keras does them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from twins import keras, torch

import kurve

K: Any = kurve
RNG = np.random.default_rng(5)
X = RNG.normal(size=(56, 6)).astype("f")
LABELS = RNG.integers(0, 3, 56)
NUMBERS = RNG.normal(size=(56, 1)).astype("f")
WEIGHTS = RNG.uniform(0.5, 1.5, 56).astype("f")


def contrastive(lib: Any) -> Any:
    """NT-Xent with labels, of Khosla et al. 2020."""
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        z = ops.normalize(p, axis=-1)
        others = 1.0 - ops.eye(ops.shape(p)[0])
        s = ops.matmul(z, ops.transpose(z)) / 0.5 - 1e9 * (1.0 - others)
        y = ops.reshape(y, (-1, 1))
        same = ops.cast(ops.equal(y, ops.transpose(y)), "float32") * others
        count = ops.maximum(ops.sum(same, axis=1), 1.0)
        return -ops.sum(ops.log_softmax(s, axis=-1) * same, axis=1) / count

    return loss


def triplet(lib: Any) -> Any:
    """The hardest of each row."""
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        d = ops.sum(ops.square(ops.expand_dims(p, 1) - ops.expand_dims(p, 0)), -1)
        y = ops.reshape(y, (-1, 1))
        same = ops.cast(ops.equal(y, ops.transpose(y)), "float32")
        far, near = ops.max(d * same, axis=1), ops.min(d + 1e6 * same, axis=1)
        return ops.mean(ops.relu(far - near + 1.0))

    return loss


def ranking(lib: Any) -> Any:
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        order = ops.sign(y - ops.transpose(y))
        return ops.mean(ops.softplus(-order * (p - ops.transpose(p))))

    return loss


def correlation(lib: Any) -> Any:
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        y, p = y - ops.mean(y, axis=0), p - ops.mean(p, axis=0)
        both = ops.sqrt(ops.sum(ops.square(y)) * ops.sum(ops.square(p)))
        return 1.0 - ops.sum(y * p) / both

    return loss


def gram(lib: Any) -> Any:
    """Outputs without correlation, as of Zbontar et al. 2021."""
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        g = ops.matmul(ops.transpose(p), p) / ops.cast(ops.shape(p)[0], "float32")
        return ops.sum(ops.square(g - ops.eye(4)))

    return loss


def halves(lib: Any) -> Any:
    """Two views of a sample follow each other."""
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        pair = ops.reshape(p, (-1, 2, 4))
        return ops.mean(ops.square(pair[:, 0] - pair[:, 1] + 0.3))

    return loss


def steps(lib: Any) -> Any:
    """A smooth course from row to row."""
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        rough = ops.mean(ops.square(p[1:] - p[:-1]))
        return ops.mean(ops.square(y - p)) + 0.1 * rough

    return loss


def packed(lib: Any) -> Any:
    """Targets and their weights in one array."""
    ops = lib.ops

    def loss(y: Any, p: Any) -> Any:
        return ops.mean(ops.square(y[:, :1] - p) * y[:, 1:], axis=-1)

    return loss


def a_class(lib: Any) -> Any:
    """A class, with a number for each row."""
    ops = lib.ops

    class Spread(lib.losses.Loss):  # type: ignore[misc]
        def call(self, y: Any, p: Any) -> Any:
            centre = ops.matmul(ops.transpose(p), p)
            return ops.sum(ops.matmul(p, centre) * p, axis=-1) / 50.0 - ops.sum(p, -1)

    return Spread(name="spread")


def circle(lib: Any) -> Any:
    return lib.losses.Circle(gamma=4.0, margin=0.3)


CASES = {
    "contrastive": (contrastive, 4, LABELS),
    "triplet": (triplet, 4, LABELS),
    "ranking": (ranking, 1, NUMBERS),
    "correlation": (correlation, 1, NUMBERS),
    "gram": (gram, 4, LABELS),
    "halves": (halves, 4, LABELS),
    "steps": (steps, 1, NUMBERS),
    "packed": (packed, 1, np.hstack([NUMBERS, np.abs(NUMBERS) + 0.5])),
    "a class": (a_class, 4, LABELS),
    "circle": (circle, 4, LABELS),
}


def pair(units: int, unit: bool) -> tuple[Any, Any]:
    """The same network in both libraries."""

    def model(lib: Any) -> Any:
        parts = [
            lib.Input((6,)),
            lib.layers.Dense(8, activation="tanh"),
            lib.layers.Dense(units),
        ]
        return lib.Sequential(parts + [lib.layers.UnitNormalization()] * unit)

    ours, theirs = model(K), model(keras)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    return ours, theirs


def compare(
    ours: Any, theirs: Any, x: Any, y: Any, weights: Any = None, validate: bool = True
) -> None:
    """Five epochs, of three full batches and a smaller one, and what they leave."""
    logs = []
    for model in (ours, theirs):
        data = {"validation_data": (x[:16], y[:16])} if validate else {}
        logs.append(
            model.fit(
                x, y, 16, 5, 0, sample_weight=weights, shuffle=False, **data
            ).history
        )
    assert set(logs[0]) == set(logs[1])
    for name, values in logs[1].items():
        np.testing.assert_allclose(logs[0][name], values, rtol=2e-4, atol=2e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), atol=1e-4)
    found = [m.evaluate(x, y, 16, 0, weights) for m in (ours, theirs)]
    np.testing.assert_allclose(found[0], found[1], rtol=2e-4, atol=2e-5)
    near = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), near, atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_twenty_steps(name: str, weighted: bool) -> None:
    make, units, y = CASES[name]
    ours, theirs = pair(units, name in ("circle",))
    ours.predict(X[:2])  # before there are data that tell how the loss takes them
    for lib, model in ((K, ours), (keras, theirs)):
        model.compile(lib.optimizers.SGD(0.05), make(lib))
    ours.predict(X[:2])
    compare(ours, theirs, X, y, WEIGHTS if weighted and name != "halves" else None)


def test_with_metrics_and_batches_one_by_one() -> None:
    ours, theirs = pair(1, False)
    for lib, model in ((K, ours), (keras, theirs)):
        model.compile(lib.optimizers.SGD(0.05), ranking(lib), metrics=["mae"])
    compare(ours, theirs, X, NUMBERS)
    for method in ("train_on_batch", "test_on_batch"):
        for first in (0, 16):
            batch = X[first : first + 16], NUMBERS[first : first + 16]
            found = [getattr(m, method)(*batch) for m in (ours, theirs)]
            np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
    found = []
    for model in (ours, theirs):
        batches = ((X[i : i + 8], NUMBERS[i : i + 8]) for i in range(0, 56, 8))
        found.append(model.fit(batches, epochs=1, verbose=0).history["loss"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_one_of_two_outputs() -> None:
    def model(lib: Any) -> Any:
        x = lib.Input((6,))
        h = lib.layers.Dense(8, activation="tanh")(x)
        first = lib.layers.Dense(4, name="first")(h)
        second = lib.layers.Dense(1, name="second")(h)
        return lib.Model(x, [first, second])

    ours, theirs = model(K), model(keras)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    for lib, model in ((K, ours), (keras, theirs)):
        model.compile(
            lib.optimizers.Adam(0.01),
            [contrastive(lib), "mse"],
            loss_weights=[0.5, 2.0],
        )
    y = [LABELS.astype("f"), NUMBERS]
    logs = [m.fit(X, y, 16, 5, 0, shuffle=False).history for m in (ours, theirs)]
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=2e-4)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), atol=1e-4)


# ---------------------------------------------------------------- sequences


def words(rows: int, most: int, classes: int, seed: int = 0) -> np.ndarray:
    """Labels with zeros behind them, one pair of equal ones among them."""
    random = np.random.default_rng(seed)
    y = random.integers(1, classes, (rows, most))
    for row, count in zip(y, random.integers(0, most + 1, rows), strict=True):
        row[count:] = 0
    y[1] = 2
    return y


@pytest.mark.parametrize("weighted", [False, True])
def test_ctc(weighted: bool) -> None:
    def model(lib: Any) -> Any:
        parts = [
            lib.Input((11, 3)),
            lib.layers.Dense(8, activation="tanh"),
            lib.layers.Dense(5),
        ]
        return lib.Sequential(parts)

    ours, theirs = model(K), model(keras)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    ours.compile("adam", "ctc")
    ours.predict(np.zeros((2, 11, 3)))
    for lib, one in ((K, ours), (keras, theirs)):
        one.compile(lib.optimizers.Adam(0.01), lib.losses.CTC())
    x = np.random.default_rng(2).normal(size=(56, 11, 3)).astype("f")
    compare(ours, theirs, x, words(56, 4, 5), WEIGHTS if weighted else None)


def test_ctc_of_other_lengths() -> None:
    """Batches of other numbers of steps and labels, one after the other."""

    def model(lib: Any) -> Any:
        x = lib.Input((None, 3))
        return lib.Model(
            x, lib.layers.Dense(5)(lib.layers.LSTM(6, return_sequences=True)(x))
        )

    ours, theirs = model(K), model(keras)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    for lib, one in ((K, ours), (keras, theirs)):
        one.compile(lib.optimizers.SGD(0.05), lib.losses.CTC())
    random, batches = np.random.default_rng(1), []
    for k, (T, N) in enumerate([(9, 3), (9, 4), (14, 2), (9, 2), (14, 5), (9, 4)]):
        x = random.normal(size=(8, T, 3)).astype("f")
        batches.append((x, words(8, N, 5, k)))
    logs = [
        one.fit((b for b in batches), epochs=1, verbose=0).history["loss"]
        for one in (ours, theirs)
    ]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-4)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), atol=1e-4)


@pytest.mark.parametrize("blank", [0, 4])
def test_ctc_functions(blank: int) -> None:
    """Values, gradients and labels found, for sequences of all lengths, of which some
    are too short for their labels."""
    random = np.random.default_rng(blank)
    x = (2 * random.normal(size=(24, 9, 5))).astype("f")
    y = random.integers(0, 4, (24, 4)) + (blank == 0)
    y[:4] = y[:4, :1]
    counts, steps = random.integers(0, 5, 24), random.integers(1, 10, 24)
    given = torch.tensor(x, requires_grad=True)
    theirs = keras.ops.ctc_loss(
        torch.tensor(y), given, torch.tensor(counts), torch.tensor(steps), blank
    )
    possible = torch.isfinite(theirs)
    theirs[possible].sum().backward()
    value = K.ops.convert_to_tensor(x)
    with K.GradientTape() as tape:
        tape.watch(value)
        ours = K.ops.ctc_loss(y, value, counts, steps, blank)
        total = K.ops.sum(K.ops.where(possible.numpy(), ours, 0.0))
    near = theirs.detach().numpy()
    np.testing.assert_allclose(np.asarray(ours), near, rtol=1e-5, atol=1e-6)
    slope = given.grad.numpy()[possible.numpy()]
    found = np.asarray(tape.gradient(total, value))[possible.numpy()]
    np.testing.assert_allclose(found, slope, atol=1e-5)
    for options in ({}, {"merge_repeated": False}, {"strategy": "beam_search"}):
        if "strategy" in options:
            options |= {"beam_width": 30, "top_paths": 2}
        a = K.ops.ctc_decode(x, steps, mask_index=blank, **options)
        b = keras.ops.ctc_decode(x, steps, mask_index=blank, **options)
        np.testing.assert_array_equal(a[0], b[0].numpy())
        np.testing.assert_allclose(a[1], b[1].numpy(), atol=1e-4)


def test_circle_with_other_rows() -> None:
    random = np.random.default_rng(0)
    p, q = (random.normal(size=(n, 3)).astype("f") for n in (7, 9))
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    y, z = random.integers(0, 3, 7), random.integers(0, 3, 9)
    for given in ({}, {"ref_labels": z, "ref_embeddings": q, "remove_diagonal": False}):
        ours = K.losses.circle(y, p, **given)
        theirs = keras.losses.circle(y, p, **given).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    for options in ({}, {"gamma": 5.0, "remove_diagonal": False}):
        weights = random.uniform(0.5, 2.0, 7).astype("f")
        alone = np.where(np.arange(7) == 3, 5, y)  # a class of one row
        for reduction, labels, weight in itertools.product(
            ("sum", "sum_over_batch_size", "none", "mean_with_sample_weight"),
            (y, alone),
            (None, weights),
        ):
            ours, theirs = (
                lib.losses.Circle(**options, reduction=reduction)(labels, p, weight)
                for lib in (K, keras)
            )
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-6)


def test_ctc_of_labels_that_are_the_blank() -> None:
    """A blank inside a word is a label like the others."""
    logits = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f")
    for words_of in ([[1, 2, 1, 0], [1, 2, 0, 2]], [[1, 0, 2, 1], [2, 0, 0, 0]]):
        y = np.array(words_of)
        np.testing.assert_allclose(
            K.losses.CTC()(y, logits), keras.losses.CTC()(y, logits).numpy(), rtol=1e-5
        )
        for lengths in ([4, 4], [3, 2]):
            ours = K.ops.ctc_loss(y, logits, lengths, [4, 4], 0)
            theirs = keras.ops.ctc_loss(y, logits, lengths, [4, 4], 0).numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
