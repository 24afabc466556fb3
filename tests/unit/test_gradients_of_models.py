"""`gradient` and `integral` of models and of regressors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers

RNG = np.random.default_rng(5)
X = RNG.uniform(-1.0, 1.0, (9, 3)).astype(np.float32)


def formula(model: Any, x: np.ndarray) -> np.ndarray:
    """Of a tanh and a linear layer, in float64."""
    w, b, v, _ = (a.astype(np.float64) for a in model.get_weights())
    h = np.tanh(x @ w + b)
    return np.einsum("nh,dh,ho->nod", 1.0 - h**2, w, v)


def test_gradient_is_the_formulas() -> None:
    kurve.utils.set_random_seed(1)
    model = kurve.Sequential(
        [layers.Input((3,)), layers.Dense(6, "tanh"), layers.Dense(2)]
    )
    found = model.gradient(X)
    assert found.dtype == np.float32 and found.shape == (9, 2, 3)
    assert np.abs(found - formula(model, X.astype(np.float64))).max() < 1e-6
    one = kurve.Sequential(
        [layers.Input((3,)), layers.Dense(6, "tanh"), layers.Dense(1)]
    )
    found = one.gradient(X)
    assert found.shape == X.shape
    assert np.abs(found - formula(one, X.astype(np.float64))[:, 0]).max() < 1e-6
    # Rows by themselves and in parts.
    np.testing.assert_allclose(one.gradient(X[4:5]), found[4:5], rtol=1e-6)


def test_several_inputs_and_outputs_keep_their_structures() -> None:
    a, b = kurve.Input((3,), name="a"), kurve.Input((2, 4), name="b")
    h = layers.Concatenate()([a, layers.LSTM(3)(b)])
    model = kurve.Model(
        {"a": a, "b": b}, [layers.Dense(1)(h), layers.Dense(2)(h), layers.Dense(1)(a)]
    )
    second = RNG.normal(size=(9, 2, 4)).astype(np.float32)
    x = {"a": X, "b": second}
    one, two, three = model.gradient(x)
    assert one["a"].shape == (9, 3) and one["b"].shape == (9, 2, 4)
    assert two["a"].shape == (9, 2, 3) and two["b"].shape == (9, 2, 2, 4)
    assert (three["b"] == 0.0).all()
    step = np.zeros_like(second)
    step[:, 1, 2] = 1e-2
    above, below = (
        model.predict({"a": X, "b": second + s}, verbose=0)[1] for s in (step, -step)
    )
    np.testing.assert_allclose(two["b"][:, :, 1, 2], (above - below) / 2e-2, atol=1e-3)
    with pytest.raises(RuntimeError, match="is not built"):
        kurve.Sequential([layers.Dense(1)]).gradient(X)


def test_integral_is_the_antiderivative() -> None:
    model = kurve.Sequential(
        [layers.Input((3,)), layers.Dense(8, "sin"), layers.Dense(1)]
    )
    ends = np.linspace(-1.0, 2.0, 9)
    found = model.integral(X, 1, 0.0, ends)
    w, b, v, c = (a.astype(np.float64) for a in model.get_weights())

    def antiderivative(end: Any) -> Any:
        rows = X.astype(np.float64)
        rows[:, 1] = end
        return (-np.cos(rows @ w + b) / w[1]) @ v + c * rows[:, 1:2]

    expected = antiderivative(ends) - antiderivative(0.0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"unknown column.*3"):
        model.integral(X, 3, 0.0, 1.0)
    with pytest.raises(ValueError, match="high must be a finite number"):
        model.integral(X, 0, 0.0, np.zeros(4))
    with pytest.raises(ValueError, match="pieces must be an integer"):
        model.integral(X, 0, 0.0, 1.0, pieces=0)


TABLE = {
    "size": RNG.uniform(20.0, 200.0, 120),
    "age": RNG.uniform(0.0, 50.0, 120),
}
PRICE = 3.0 * TABLE["size"] + 0.01 * TABLE["size"] ** 2 - 2.0 * TABLE["age"]


@pytest.mark.parametrize("likelihood", ["none", "gaussian", "quantile"])
def test_regressors_answer_in_units_of_the_table(likelihood: str) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(TABLE)
    model = kurve.Regressor(
        (8,),
        "tanh",
        "adam",
        likelihood=likelihood,
        members=2,
        max_epochs=5,
        random_state=0,
    ).fit(frame, PRICE)
    found = model.gradient(frame)
    assert found.shape == (120, 2) and found.dtype == np.float64
    for column, step in (("size", 0.5), ("age", 0.2)):
        above, below = frame.copy(), frame.copy()
        above[column] += step
        below[column] -= step
        slope = (model.predict(above) - model.predict(below)) / (2.0 * step)
        scale = np.abs(slope).max()
        own = model.gradient(frame, column)[:, 0]
        # Quantiles that cross within a step are the exception.
        assert np.quantile(np.abs(own - slope), 0.9) < 0.01 * scale
        assert (own == found[:, list(TABLE).index(column)]).all()
    low, high = 20.0, 120.0
    area = model.integral(frame, "size", low, high)
    sizes = np.linspace(low, high, 2001)
    rows = pd.DataFrame({"size": sizes, "age": np.full(2001, TABLE["age"][7])})
    np.testing.assert_allclose(
        area[7], np.trapezoid(model.predict(rows), sizes), rtol=1e-4
    )


def test_regressors_slope_is_that_of_the_data() -> None:
    x = np.linspace(-2.0, 3.0, 80)[:, None]
    model = kurve.Regressor(random_state=0).fit(
        x, np.stack([np.sin(x[:, 0]), x[:, 0]], 1)
    )
    found = model.gradient(x)
    assert found.shape == (80, 2, 1)
    assert np.abs(found[:, 0, 0] - np.cos(x[:, 0]))[5:-5].max() < 0.02
    assert np.abs(found[:, 1, 0] - 1.0)[5:-5].max() < 0.02


def test_columns_without_a_derivative() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({**TABLE, "town": ["a", "b", "c"] * 40})
    frame.loc[3, "age"] = np.nan
    model = kurve.Regressor(
        (4,), solver="adam", missing="impute", max_epochs=2, random_state=0
    )
    model.fit(frame, PRICE)
    with pytest.raises(
        ValueError, match=r"must hold numbers.*'town'.*\['size', 'age'\]"
    ):
        model.gradient(frame)
    found = model.gradient(frame, ["age", "size"])
    assert found.shape == (120, 2)
    assert np.argwhere(np.isnan(found)).tolist() == [[3, 0]]
    with pytest.raises(ValueError, match=r"unknown column.*'siez'"):
        model.gradient(frame, "siez")
