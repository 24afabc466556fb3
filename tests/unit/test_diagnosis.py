"""Each finding is there where its fault is, and absent from models that are well."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, losses, models, optimizers
from kurve.core import rng
from kurve.diagnosis import Diagnosis, Finding, diagnose
from kurve.utils import set_random_seed

R = np.random.default_rng(0)  # of what all tests share; others take noise()
UCI = next(
    (
        folder
        for parent in Path(__file__).resolve().parents
        if (folder := parent / "shared" / "data" / "uci").is_dir()
    ),
    None,
)


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    """Normal numbers, the same ones in whatever order the tests run."""
    return np.random.default_rng(seed).normal(size=shape)


def dense(*widths: int, activation: str = "relu", last: str | None = None) -> Any:
    """A fresh network; the last width has the activation `last`."""
    hidden = [layers.Dense(width, activation=activation) for width in widths[:-1]]
    return models.Sequential([*hidden, layers.Dense(widths[-1], activation=last)])


def fitted(
    model: Any, x: Any, y: Any, steps: int = 600, loss: Any = "mse", **more: Any
) -> Any:
    """The model after so many steps of Adam with a falling rate."""
    rate = optimizers.schedules.CosineDecay(1e-2, decay_steps=steps)
    model.compile(more.pop("optimizer", optimizers.Adam(rate)), loss)
    per_epoch = more.pop("steps_per_epoch", 10)
    model.fit(
        x, y, steps_per_epoch=per_epoch, epochs=steps // per_epoch, verbose=0, **more
    )
    return model


def names(diagnosis: Diagnosis) -> set[str]:
    return {finding.name for finding in diagnosis}


@pytest.fixture(autouse=True)
def _seed() -> None:
    set_random_seed(3)


X = np.linspace(-2.0, 2.0, 200)
Y = np.sin(3.0 * X)
Z = R.normal(size=(300, 3))
W = np.sin(2.0 * Z[:, 0]) + Z[:, 1]
CLASS = (Z[:, 0] + Z[:, 1] ** 2 > 0.8).astype(int)


@pytest.fixture(scope="module")
def well() -> Any:
    """A network that has learnt W."""
    before = kurve.get_engine().name
    kurve.set_engine("reference")
    set_random_seed(5)
    model = fitted(dense(24, 1, activation="tanh"), Z, W)
    kurve.set_engine(before)
    return model


# ------------------------------------------------------------------ nothing is wrong


def test_nothing_is_found_in_models_that_are_well(well: Any) -> None:
    assert not well.diagnose(Z, W)
    set_random_seed(1)
    curve = fitted(dense(64, 64, 1), X, Y, steps=1000)
    fresh = np.linspace(-1.99, 1.99, 80)
    assert not curve.diagnose(X, Y, (fresh, np.sin(3.0 * fresh)))


def test_nothing_is_found_in_a_classifier_that_is_well() -> None:
    loss = "sparse_categorical_crossentropy"
    assert not fitted(dense(24, 2, last="softmax"), Z, CLASS, loss=loss).diagnose(
        Z, CLASS
    )
    loss = "binary_crossentropy"
    assert not fitted(dense(24, 1, last="sigmoid"), Z, CLASS, loss=loss).diagnose(
        Z, CLASS
    )


def test_noise_alone_makes_no_alarm() -> None:
    """Half of the variance is noise, growing along an input."""
    y = W + np.abs(Z[:, 2]) * noise(len(W))
    found = fitted(dense(8, 1, activation="tanh"), Z, y, steps=400).diagnose(Z, y)
    assert not found.serious, found
    assert not names(found) - {"too_few_steps"}


def _uci(name: str) -> tuple[np.ndarray, np.ndarray]:
    if UCI is None or not (UCI / name / "data.txt").exists():
        pytest.skip("the UCI sets are not beside the project")
    table = np.loadtxt(UCI / name / "data.txt")
    features = np.loadtxt(UCI / name / "index_features.txt").astype(int)
    y = table[:, int(np.loadtxt(UCI / name / "index_target.txt"))]
    order = np.random.RandomState(1).permutation(len(table))[:3000]
    return table[order][:, features], ((y - y.mean()) / y.std())[order]


TRUE_OF_THE_DATA = {
    "bostonHousing": set(),
    "concrete": {"duplicate_rows", "rows_in_both"},
    "energy": set(),
    "kin8nm": set(),
    "naval-propulsion-plant": {"constant_columns", "duplicate_columns"},
    "power-plant": {"rows_in_both"},
    "protein-tertiary-structure": {"duplicate_rows", "rows_in_both"},
    "wine-quality-red": {"duplicate_rows", "rows_in_both"},
    "yacht": set(),
}


@pytest.mark.parametrize("name", TRUE_OF_THE_DATA)
def test_real_data_makes_no_false_alarm(name: str, native: str) -> None:
    """What is found in well trained models is true: concrete, wine and protein have
    rows twice, naval has two columns that never change and one twice."""
    kurve.set_engine(native)
    x, y = _uci(name)
    kept = round(0.9 * len(x))
    normalization = layers.Normalization()
    normalization.adapt(x[:kept])
    model = models.Sequential(
        [normalization, layers.Dense(50, activation="relu"), layers.Dense(1)]
    )
    fitted(model, x[:kept], y[:kept], steps=1500, steps_per_epoch=30)
    found = model.diagnose(x[:kept], y[:kept], (x[kept:], y[kept:]))
    assert not found.serious, found
    assert names(found) <= TRUE_OF_THE_DATA[name], found


# ------------------------------------------------------------------ the article's runs


def article(steps: int, epochs: int) -> Any:
    model = models.Sequential([layers.Dense(256, activation="relu", input_shape=(1,))])
    for _ in range(6):
        model.add(layers.Dense(256, activation="relu"))
    model.add(layers.Dense(1))
    model.compile(loss="mse", optimizer="adam")
    model.fit(ARTICLE_X, ARTICLE_Y, steps_per_epoch=steps, epochs=epochs, verbose=0)
    return model


ARTICLE_X = np.arange(0, 20, 0.1)
ARTICLE_Y = np.sin(ARTICLE_X)


@pytest.mark.parametrize(("steps", "epochs"), [(10, 10), (30, 30)])
def test_it_finds_what_is_wrong_with_the_article(
    steps: int, epochs: int, native: str
) -> None:
    kurve.set_engine(native)
    found = article(steps, epochs).diagnose(ARTICLE_X, ARTICLE_Y)
    assert found["unscaled_inputs"].severity == "serious"
    assert found["errors_by_region"].severity == "serious"
    assert "Normalization" in found["unscaled_inputs"].fix
    assert found["errors_by_region"].message.startswith("For x > ")


def test_it_has_nothing_to_say_about_the_better_model(native: str) -> None:
    kurve.set_engine(native)
    normalization = layers.Normalization()
    normalization.adapt(ARTICLE_X)
    model = models.Sequential([normalization])
    for _ in range(7):
        model.add(layers.Dense(256, activation="relu"))
    model.add(layers.Dense(1))
    rate = optimizers.schedules.CosineDecay(1e-3, decay_steps=900)
    model.compile(loss="mse", optimizer=optimizers.Adam(rate))
    model.fit(ARTICLE_X, ARTICLE_Y, steps_per_epoch=10, epochs=90, verbose=0)
    assert not [f for f in model.diagnose(ARTICLE_X, ARTICLE_Y) if f.severity != "note"]


# ------------------------------------------------------------------ the data


def test_leaks(well: Any) -> None:
    """Affine and monotone copies of the target are found, a strong input is not."""
    strong = W + 0.1 * noise(len(W))
    for leak in (
        3.0 * W - 7.0,
        np.exp(W),
        -(W**3),
        W + 0.01 * noise(len(W)),
    ):
        table = np.c_[Z, strong, leak]
        found = diagnose(dense(4, 1), table, W, columns=["a", "b", "c", "d", "leak"])
        assert found["leakage"].severity == "serious"
        assert list(found["leakage"].evidence) == ["correlation of leak"]
        assert "[4]" in found["leakage"].fix
    assert "leakage" not in diagnose(dense(4, 1), np.c_[Z, strong], W)
    # One input that determines the target is what is to be learnt.
    assert "leakage" not in diagnose(dense(4, 1), X, np.exp(X))


def test_leaks_of_classes() -> None:
    model = dense(4, 3, last="softmax")
    model.compile("adam", "sparse_categorical_crossentropy")
    labels = np.random.default_rng(1).integers(0, 3, len(Z))
    code = np.array([5.0, -1.0, 2.0])[labels]
    assert "leakage" in model.diagnose(np.c_[Z, code], labels)
    assert "leakage" not in model.diagnose(np.c_[Z, code + Z[:, 0]], labels)
    # A class of one row is explained by any column.
    assert "leakage" not in model.diagnose(Z[:10], [0, 1, 2, 0, 1, 0, 1, 0, 1, 0])


def test_rows_twice(well: Any) -> None:
    twice, answers = np.r_[Z, Z[:100]], np.r_[W, W[:100]]
    found = well.diagnose(twice, answers)
    assert found["duplicate_rows"].evidence == {"copies": 100, "rows": 400}
    assert "duplicate_rows" not in well.diagnose(twice, np.r_[W, W[:100] + 0.01])


def test_rows_on_both_sides(well: Any) -> None:
    new = noise(100, 3)
    right = np.sin(2.0 * new[:, 0]) + new[:, 1]
    assert "rows_in_both" not in well.diagnose(Z, W, (new, right))
    mixed, answers = np.r_[new[:90], Z[:10]], np.r_[right[:90], W[:10]]
    found = well.diagnose(Z, W, (mixed, answers))["rows_in_both"]
    assert found.severity == "warning"
    assert found.evidence["rows in both"] == 10
    assert well.diagnose(Z, W, (Z, W))["rows_in_both"].severity == "serious"


def test_useless_columns() -> None:
    table = np.c_[Z, np.full(len(Z), 3.0), 1.8 * Z[:, 0] + 32.0]
    found = diagnose(dense(4, 1), table, W)
    assert "x[:, 3] never changes" in found["constant_columns"].message
    assert "x[:, 4] as x[:, 0]" in found["duplicate_columns"].message
    found = diagnose(dense(4, 1), np.c_[Z, Z[:, 0] + 0.001 * Z[:, 1]], W)
    assert not names(found) & {"constant_columns", "duplicate_columns"}
    assert diagnose(dense(4, 1), np.ones(30), X[:30])["constant_columns"].severity == (
        "serious"
    )


def test_outliers() -> None:
    y = W.copy()
    y[7] = 1000.0
    model = dense(4, 1)
    assert model.diagnose(Z, y)["target_outliers"].evidence["in row"] == 7
    assert model.diagnose(Z, y)["target_outliers"].severity == "warning"
    model.compile("adam", "huber")
    assert model.diagnose(Z, y)["target_outliers"].severity == "note"
    for usual in (W, -np.log(np.linspace(1e-3, 1.0, 300)), CLASS):
        assert "target_outliers" not in model.diagnose(Z, usual)


def test_imbalance() -> None:
    model = dense(4, 1, last="sigmoid")
    model.compile("adam", "binary_crossentropy")
    rare = (np.arange(len(Z)) % 30 == 0).astype(int)
    found = model.diagnose(Z, rare)["class_imbalance"]
    assert found.evidence == {"largest": 290, "smallest": 10}
    assert "class_weight={0: 0.52, 1: 15.0}" in found.fix
    assert "class_imbalance" not in model.diagnose(Z, CLASS)


# ------------------------------------------------------------------ the network


@pytest.mark.parametrize("scale", [20.0, 0.01])
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_unscaled_inputs(scale: float, shift: float) -> None:
    model = dense(8, 1)
    assert "unscaled_inputs" in model.diagnose(scale * (Z + shift), W)
    normalization = layers.Normalization()
    normalization.adapt(scale * (Z + shift))
    model = models.Sequential([normalization, layers.Dense(1)])
    assert "unscaled_inputs" not in model.diagnose(scale * (Z + shift), W)
    # A layer that was adapted to other data, or never.
    model = models.Sequential([layers.Normalization(), layers.Dense(1)])
    model.build((None, 3))
    assert "adapt(x)" in model.diagnose(scale * (Z + shift), W)["unscaled_inputs"].fix


def test_usual_inputs_are_scaled_enough() -> None:
    unit = np.linspace(0.0, 1.0, 300)[:, None]
    rare = (np.arange(300) % 50 == 0).astype(float)[:, None]
    for columns in (unit, rare, 1.0 - rare, 2.0 * Z, 0.3 * Z):
        assert "unscaled_inputs" not in dense(8, 1).diagnose(columns, W)


@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (0.001, 0.0), (1.0, 50.0)])
def test_unscaled_targets(scale: float, shift: float) -> None:
    y = scale * W + shift
    assert "unscaled_targets" in dense(8, 1).diagnose(Z, y)
    assert "unscaled_targets" not in dense(8, 1).diagnose(Z, W)
    # Somebody who scales the output knows the targets.
    model = dense(8, 1)
    model.add(layers.Normalization(mean=shift, variance=scale**2, invert=True))
    assert "unscaled_targets" not in model.diagnose(Z, y)


def test_scale_is_a_note_where_it_does_no_harm() -> None:
    x = 8.0 * X
    model = fitted(dense(24, 24, 1), x, X**2, steps=1000)
    assert model.diagnose(x, X**2)["unscaled_inputs"].severity == "note"


@pytest.mark.parametrize("split", [False, True])
def test_dead_units(split: bool, engine: str) -> None:
    """As an activation of the layer, and as a layer of its own."""
    model = dense(10, 6, 1, activation="linear" if split else "relu")
    if split:
        first, second, last = model.layers
        model = models.Sequential(
            [first, layers.Activation("relu"), second, layers.Activation("relu"), last]
        )
    model.build((None, 3))
    assert "dead_units" not in model.diagnose(Z, W)
    weights = model.get_weights()
    weights[1][:7] = -100.0
    model.set_weights(weights)
    found = model.diagnose(Z, W)["dead_units"]
    assert found.severity == "warning"
    assert list(found.evidence.values()) == ["70 %"]
    weights[1][:] = -100.0
    model.set_weights(weights)
    found = model.diagnose(Z, W)
    assert found["dead_units"].severity == "serious"
    assert "constant_output" in found


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softsign"])
def test_saturated_units(activation: str) -> None:
    model = dense(10, 1, activation=activation)
    model.build((None, 3))
    assert "saturated_units" not in model.diagnose(Z, W)
    weights = model.get_weights()
    weights[1][:5] = [-90.0, 90.0, 90.0, -90.0, 90.0]
    model.set_weights(weights)
    assert "50 %" in model.diagnose(Z, W)["saturated_units"].message
    assert "dead_units" not in model.diagnose(Z, W)


def test_missing_activation() -> None:
    found = dense(8, 8, 1, activation="linear").diagnose(Z, W)["missing_activation"]
    assert found.severity == "serious"
    assert found.evidence == {"such pairs": 2}
    half = models.Sequential(
        [
            layers.Dense(8, name="lost"),
            layers.Dropout(0.1),
            layers.Dense(8, activation="relu"),
            layers.Dense(1),
        ]
    )
    found = half.diagnose(Z, W)["missing_activation"]
    assert found.severity == "warning"
    assert "lost" in found.fix
    narrow = models.Sequential(
        [layers.Dense(2), layers.Dense(8, activation="relu"), layers.Dense(1)]
    )
    apart = models.Sequential(
        [layers.Dense(8), layers.Activation("tanh"), layers.Dense(1)]
    )
    for model in (dense(8, 8, 1), dense(1), narrow, apart):
        assert "missing_activation" not in model.diagnose(Z, W)


@pytest.mark.parametrize(
    ("last", "within", "outside"),
    [
        ("relu", np.abs(W), W),
        ("softplus", np.abs(W), W),
        ("sigmoid", np.abs(np.tanh(W)), W),
        ("tanh", np.tanh(W), W),
        ("sin", np.tanh(W), W),
        ("elu", np.abs(W), W - 1.0),
    ],
)
def test_output_range(last: str, within: np.ndarray, outside: np.ndarray) -> None:
    model = dense(8, 1, last=last)
    assert "output_range" not in model.diagnose(Z, within)
    found = model.diagnose(Z, outside)["output_range"]
    assert found.severity == "serious"
    assert found.evidence["lowest target"] == pytest.approx(outside.min())
    assert "output_range" not in dense(8, 1).diagnose(Z, outside)


@pytest.mark.parametrize(
    ("model", "loss", "y", "severity"),
    [
        (dense(4, 2, last="softmax"), "mse", CLASS, "serious"),
        (dense(4, 2, last="softmax"), "mse", np.eye(2)[CLASS], "warning"),
        (dense(4, 1, last="sigmoid"), "mse", CLASS, "warning"),
        (dense(4, 1, last="softmax"), "binary_crossentropy", CLASS, "serious"),
        (dense(4, 2), "sparse_categorical_crossentropy", CLASS, "serious"),
        (dense(4, 1), "binary_crossentropy", CLASS, "serious"),
        (
            dense(4, 2, last="softmax"),
            losses.SparseCategoricalCrossentropy(from_logits=True),
            CLASS,
            "serious",
        ),
        (
            dense(4, 2, last="softmax"),
            "binary_crossentropy",
            np.eye(2)[CLASS],
            "warning",
        ),
    ],
)
def test_loss_mismatch(model: Any, loss: Any, y: np.ndarray, severity: str) -> None:
    model.compile("adam", loss)
    model.build((None, 3))
    assert model.diagnose(Z, y)["loss_mismatch"].severity == severity


@pytest.mark.parametrize(
    ("model", "loss", "y"),
    [
        (dense(4, 2, last="softmax"), "sparse_categorical_crossentropy", CLASS),
        (dense(4, 2, last="softmax"), "categorical_crossentropy", np.eye(2)[CLASS]),
        (dense(4, 2), losses.SparseCategoricalCrossentropy(from_logits=True), CLASS),
        (dense(4, 1), losses.BinaryCrossentropy(from_logits=True), CLASS),
        (dense(4, 1, last="sigmoid"), "binary_crossentropy", CLASS),
        (dense(4, 1, last="sigmoid"), "mse", np.abs(np.tanh(W))),
        (dense(4, 1), "mse", CLASS),
        (dense(4, 1), "mae", W),
    ],
)
def test_loss_that_fits(model: Any, loss: Any, y: np.ndarray) -> None:
    model.compile("adam", loss)
    model.build((None, 3))
    assert "loss_mismatch" not in model.diagnose(Z, y)


# ------------------------------------------------------------------ the fit


def test_mean_and_line() -> None:
    chance = noise(len(Z))
    found = fitted(dense(4, 1), Z, chance, steps=20).diagnose(Z, chance)
    assert found["no_better_than_mean"].severity == "serious"
    linear = Z @ [1.0, -2.0, 0.5] + 0.3 * chance
    found = fitted(dense(4, 1), Z[:200], linear[:200], steps=300).diagnose(
        Z[:200], linear[:200], (Z[200:], linear[200:])
    )
    assert "no_better_than_mean" not in found
    assert "straight line" in found["no_better_than_line"].message
    assert not found.serious


def test_a_line_is_not_told_that_it_is_one() -> None:
    y = Z @ [1.0, -2.0, 0.5] + 0.3 * noise(len(Z))
    assert "no_better_than_line" not in fitted(dense(1), Z, y).diagnose(Z, y)


def test_majority() -> None:
    shuffled = np.random.default_rng(1)
    chance = shuffled.permutation((np.arange(len(Z)) < 90).astype(int))
    model = dense(4, 1, last="sigmoid")
    fitted(model, Z, chance, steps=10, loss="binary_crossentropy")
    found = model.diagnose(Z, chance)["no_better_than_majority"]
    assert found.severity == "serious"
    assert found.evidence["frequency of the largest class"] == pytest.approx(0.7)
    # A rare class whose rows rank high, though none is ever likelier than not.
    rare = (
        shuffled.uniform(size=len(Z)) < 0.3 / (1.0 + np.exp(-3.0 * Z[:, 0]))
    ).astype(int)
    model = fitted(dense(1, last="sigmoid"), Z, rare, loss="binary_crossentropy")
    found = model.diagnose(Z, rare)
    assert found["no_better_than_majority"].severity == "note"


def test_errors_by_region(well: Any) -> None:
    assert "errors_by_region" not in well.diagnose(Z, W)
    bent = np.where(Z[:, 2] > 1.0, W + 4.0 * (Z[:, 2] - 1.0), W)
    found = well.diagnose(Z, bent)["errors_by_region"]
    assert found.message.startswith("For x[:, 2] > ")
    # As large, but without a pattern: noise that grows along the input.
    noisy = np.where(Z[:, 2] > 1.0, W + 3.0 * noise(len(W)), W)
    assert "errors_by_region" not in well.diagnose(Z, noisy)


def test_overfitting() -> None:
    y = W + noise(len(W))
    model = fitted(dense(128, 128, 1), Z[:60], y[:60], steps=800)
    found = model.diagnose(Z[:60], y[:60], (Z[60:], y[60:]))
    assert "EarlyStopping" in found["overfitting"].fix
    small = fitted(dense(3, 1, activation="tanh"), Z[:200], y[:200], steps=100)
    assert "overfitting" not in small.diagnose(Z[:200], y[:200], (Z[200:], y[200:]))


def test_overfitting_shows_in_the_history() -> None:
    y = W + noise(len(W))
    split = {"validation_data": (Z[60:], y[60:])}
    model = fitted(dense(128, 128, 1), Z[:60], y[:60], steps=800, **split)
    assert "lowest in epoch" in model.diagnose(Z[:60], y[:60])["overfitting"].message
    split = {"validation_data": (Z[200:], W[200:])}
    model = fitted(dense(24, 1, activation="tanh"), Z[:200], W[:200], **split)
    assert "overfitting" not in model.diagnose(Z[:200], W[:200])


# ------------------------------------------------------------------ training


def test_too_few_steps_by_the_history() -> None:
    optimizer = optimizers.Adam(1e-3)
    model = fitted(dense(24, 24, 1), Z, W, steps=100, optimizer=optimizer)
    assert model.diagnose(Z, W)["too_few_steps"].evidence["epochs"] == 10
    # Half of the variance is noise, and three units cannot learn it.
    y = W + 1.2 * noise(len(W))
    small, optimizer = dense(3, 1, activation="tanh"), optimizers.Adam(1e-2)
    fitted(small, Z, y, steps=800, optimizer=optimizer)
    assert "too_few_steps" not in small.diagnose(Z, y)


def test_too_few_steps_by_trial() -> None:
    model = fitted(dense(24, 1), X, Y, steps=40, optimizer=optimizers.Adam(1e-2))
    assert "on a copy" in str(model.diagnose(X, Y)["too_few_steps"])
    chance = noise(len(X))
    model = fitted(dense(4, 1), X, chance, steps=40, optimizer=optimizers.Adam(1e-2))
    assert "too_few_steps" not in model.diagnose(X, chance)


def test_a_schedule_that_has_ended_needs_no_more_steps() -> None:
    model = fitted(dense(8, 1), X, np.sign(Y) + Y)
    assert "too_few_steps" not in model.diagnose(X, np.sign(Y) + Y)


@pytest.mark.parametrize(
    "optimizer", [optimizers.Adam(1e-5), optimizers.SGD(1e-4)], ids=["adam", "sgd"]
)
def test_learning_rate_too_low(optimizer: Any) -> None:
    model = fitted(dense(24, 24, 1), Z, W, steps=200, optimizer=optimizer)
    found = model.diagnose(Z, W)
    assert "learning_rate_too_low" in found
    assert "learning_rate_too_high" not in found


@pytest.mark.parametrize("rate", [1e-3, 3e-3, 1e-2])
def test_learning_rates_that_are_right(rate: float) -> None:
    optimizer = optimizers.Adam(rate)
    model = fitted(dense(24, 24, 1), Z, W, steps=1500, optimizer=optimizer)
    found = model.diagnose(Z, W)
    assert not names(found) & {"learning_rate_too_low", "learning_rate_too_high"}


def test_learning_rate_too_high() -> None:
    model = fitted(
        dense(32, 32, 32, 1), Z, W, steps=200, optimizer=optimizers.Adam(0.3)
    )
    found = model.diagnose(Z, W)
    assert "learning_rate_too_high" in found
    assert "learning_rate_too_low" not in found
    assert "optimizers.Adam(0.03)" in found["learning_rate_too_high"].fix


def test_a_loss_beyond_all_numbers() -> None:
    model = dense(24, 24, 1)
    with pytest.raises(FloatingPointError):
        fitted(model, Z, W, optimizer=optimizers.SGD(50.0))
    found = model.diagnose(Z, W)
    assert found["learning_rate_too_high"].severity == "serious"
    assert "learning_rate_too_low" not in found


# ------------------------------------------------------------------ left alone


def everything(model: Any) -> list[np.ndarray]:
    state = model._network.state
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    return [np.array(a) for a in arrays] + [np.array([state.step, state.seed])]


def test_the_model_and_the_random_numbers_stay_as_they_were(engine: str) -> None:
    def trained() -> Any:
        set_random_seed(8)
        first = layers.Normalization()
        first.adapt(Z)
        model = models.Sequential(
            [
                first,
                layers.Dense(8, activation="relu"),
                layers.Dropout(0.2),
                layers.Dense(1),
            ]
        )
        model.compile("nadam", "mse", metrics=["mae"])
        model.fit(Z, W, epochs=2, verbose=0)
        return model

    one, two = trained(), trained()
    before, history = everything(one), one.history
    log, source = copy.deepcopy(history.history), dict(rng._seed_source)
    data = Z.copy(), W.copy()
    report = one.diagnose(Z, W, (Z[:50], W[:50]))
    assert report
    assert report.findings == one.diagnose(Z, W, (Z[:50], W[:50])).findings
    for a, b in zip(everything(one), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.history is history
    assert history.history == log
    assert rng._seed_source == source
    np.testing.assert_array_equal(Z, data[0])
    np.testing.assert_array_equal(W, data[1])
    # And what comes after is what would have come.
    for model in (one, two):
        model.fit(Z, W, epochs=1, verbose=0)
    for a, b in zip(everything(one), everything(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_untrained_model_stays_without_an_optimizers_vectors() -> None:
    model = dense(8, 1)
    model.compile("adam", "mse")
    assert model.diagnose(Z, W).left_out
    assert not model.built
    model.build((None, 3))
    found = model.diagnose(Z, W)
    assert names(found) == {"not_trained"}
    assert model._network.state.slots.shape[0] == 0
    assert model.iterations == 0


def test_weights_from_elsewhere_are_judged_but_not_their_training(well: Any) -> None:
    model = dense(24, 1, activation="tanh")
    model.compile("adam", "mse")
    model.build((None, 3))
    assert names(model.diagnose(Z, W)) == {"not_trained"}
    model.set_weights(well.get_weights())
    assert not model.diagnose(Z, W)
    model.set_weights([0.9 * w for w in well.get_weights()[:-1]] + [np.ones(1)])
    found = model.diagnose(Z, W)
    assert not names(found) & {"not_trained", "too_few_steps", "learning_rate_too_low"}
    assert "no_better_than_line" in found


def test_unbuilt_and_uncompiled_models_get_fewer_checks() -> None:
    source = dict(rng._seed_source)
    model = dense(8, 8, 1, activation="linear")
    drawn = rng._seed_source["drawn"] - source["drawn"]
    found = model.diagnose(np.c_[Z, W], W)
    assert {"leakage", "missing_activation"} <= names(found)
    assert "not built" in str(found)
    assert rng._seed_source["drawn"] - source["drawn"] == drawn
    model.build((None, 4))
    assert "not compiled" in str(model.diagnose(np.c_[Z, W], W))
    assert "leakage" in models.Sequential().diagnose(np.c_[Z, W], W)


def test_loaded_models(well: Any, tmp_path: Path) -> None:
    """History and steps come back; with the weights alone there is no history."""
    well.save(tmp_path / "well.kurve")
    again = models.load_model(tmp_path / "well.kurve")
    assert not again.diagnose(Z, W)
    assert "no history" not in str(again.diagnose(Z, W))
    again.history = None
    assert "no history" in str(again.diagnose(Z, W))


def test_several_outputs_and_shapes(engine: str) -> None:
    both = np.c_[W, Z[:, 0] ** 2]
    model = fitted(dense(16, 2, activation="tanh"), Z, both, steps=100)
    other = np.c_[W, noise(len(W))]
    assert model.diagnose(Z, other)["no_better_than_mean"].message.startswith(
        "On the data it was trained on, output 1"
    )
    images = noise(40, 2, 3)
    model = models.Sequential([layers.Dense(4, input_shape=(2, 3)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(images, images.sum(axis=2, keepdims=True), verbose=0)
    assert "missing_activation" in model.diagnose(
        images, images.sum(axis=2, keepdims=True)
    )


@pytest.mark.skipif(
    not hasattr(losses, "GaussianNLL"), reason="no losses of distributions yet"
)
def test_losses_of_distributions() -> None:
    """The mean and the middle quantile are judged."""
    y = W + 0.1 * noise(len(W))
    for loss, width in (
        (losses.GaussianNLL(), 2),
        (losses.Pinball((0.1, 0.5, 0.9)), 3),
    ):
        assert not fitted(
            dense(24, width, activation="tanh"), Z, y, loss=loss
        ).diagnose(Z, y)
        slow = optimizers.Adam(1e-5)
        model = dense(24, width, activation="tanh")
        found = fitted(model, Z, y, loss=loss, optimizer=slow).diagnose(Z, y)
        assert "learning_rate_too_low" in found


# ------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((Z, W[:-1]), ValueError, "[diagnose] x and y must have the same number of"),
        ((Z[:, :2], W), ValueError, "[diagnose] x must have shape (n, 3)"),
        ((Z, np.full(len(W), np.nan)), ValueError, "[diagnose] y must be finite"),
        ((Z, W, 3), TypeError, "[diagnose] validation_data must be (x, y) or"),
        ((Z, W, (Z, W[:-1])), ValueError, "[diagnose, validation_data] x and y must"),
        ((Z, W, None, ["a"]), ValueError, "[diagnose] columns must name each input"),
    ],
)
def test_errors(
    arguments: tuple[Any, ...], error: type[Exception], text: str, well: Any
) -> None:
    with pytest.raises(error) as caught:
        diagnose(well, *arguments)
    assert str(caught.value).startswith(text)


# ------------------------------------------------------------------ the report


@pytest.fixture
def report() -> Diagnosis:
    return Diagnosis(
        [
            Finding("b", "note", "Not much.", {"n": 3}),
            Finding("a", "serious", "x < y & z " * 12, {"R2": 0.123456}, "fix(\n  it)"),
        ],
        "net",
        "R2 0.5",
        ["new data, because there is none"],
    )


def test_it_reads_well(report: Diagnosis) -> None:
    lines = str(report).splitlines()
    assert lines[:4] == [
        'Diagnosis of "net": 1 serious, 1 note.',
        "R2 0.5",
        "",
        "1. serious: a",
    ]
    assert "  Evidence: R2 0.123" in lines
    assert lines[lines.index("  Try: fix(") + 1] == "         it)"
    assert lines[-1] == "Not checked: new data, because there is none."
    assert max(map(len, lines)) <= 80
    assert repr(report) == "<Diagnosis of net: a (serious), b (note)>"


def test_it_is_a_sequence_of_findings(report: Diagnosis) -> None:
    assert report
    assert len(report) == 2
    assert [finding.name for finding in report] == ["a", "b"]
    assert report[0] is report["a"] is report.serious[0]
    assert report[1:] == (report["b"],)
    assert "a" in report
    assert report[1] in report
    assert "c" not in report
    with pytest.raises(KeyError):
        report["c"]
    empty = Diagnosis([], "net")
    assert not empty
    assert str(empty) == 'Diagnosis of "net": nothing found.'
    assert "nothing found" in repr(empty)


def test_notebooks_get_safe_html(report: Diagnosis) -> None:
    page = report._repr_html_()
    assert "x &lt; y &amp; z" in page
    assert page.count("<div") == page.count("</div>")
    assert "fix(\n  it)</code>" in page


# ------------------------------------------------------------------ layer_outputs


def test_layer_outputs_are_those_of_prediction(engine: str) -> None:
    normalization = layers.Normalization()
    normalization.adapt(Z)
    model = models.Sequential(
        [
            normalization,
            layers.Dense(5, activation="relu", name="first"),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax", name="last"),
        ]
    )
    outputs = model.layer_outputs(Z)
    assert list(outputs) == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(outputs["last"], model.predict(Z, verbose=0))
    first = model.get_layer("first")
    scaled = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    expected = np.maximum(scaled @ first.kernel.value + first.bias.value, 0.0)
    np.testing.assert_allclose(outputs["first"], expected, atol=1e-5)


def test_layer_outputs_need_a_built_model() -> None:
    with pytest.raises(RuntimeError, match=r"\[layer_outputs\] the model is not built"):
        dense(3, 1).layer_outputs(Z)


# ------------------------------------------------------------------ graphs


def skip(width: int = 24, shift: float = 0.0) -> Any:
    """A network whose second layer has a way around it."""
    x = layers.Input((3,), name="x")
    h = layers.Dense(width, "tanh", name="first")(x)
    bias = kurve.initializers.Constant(-shift)
    side = layers.Dense(width, "relu", bias_initializer=bias, name="side")(h)
    return models.Model(x, layers.Dense(1, name="last")(layers.Add()([h, side])))


def test_nothing_is_found_in_a_graph_that_is_well(engine: str) -> None:
    kurve.set_engine(engine)
    assert not fitted(skip(), Z, W).diagnose(Z, W)


def test_units_of_a_branch_are_checked(engine: str) -> None:
    kurve.set_engine(engine)
    found = fitted(skip(shift=50.0), Z, W, steps=100).diagnose(Z, W)
    assert list(found["dead_units"].evidence) == ["dead in side"]


def test_inputs_of_a_graph_are_checked_where_a_dense_layer_reads_them() -> None:
    assert "unscaled_inputs" in fitted(skip(), 100 + 9 * Z, W).diagnose(100 + 9 * Z, W)
    x = layers.Input((3,))
    normalization = layers.Normalization()
    normalization.adapt(100 + 9 * Z)
    scaled = models.Model(x, skip()(normalization(x)))
    assert "unscaled_inputs" not in fitted(scaled, 100 + 9 * Z, W).diagnose(
        100 + 9 * Z, W
    )
    joined = layers.Concatenate()([x, layers.UnitNormalization()(x)])
    branched = models.Model(x, layers.Dense(1)(layers.Dense(24, "tanh")(joined)))
    assert "unscaled_inputs" not in fitted(branched, 9 * Z, W).diagnose(9 * Z, W)


def test_two_linear_layers_are_one_unless_something_else_reads_the_first() -> None:
    x = layers.Input((3,))
    code = layers.Dense(4, name="code")(x)
    h = layers.Dropout(0.1)(code)
    y = layers.Dense(5, "tanh", name="after")(h)
    one_after_another = models.Model(x, layers.Dense(1)(layers.Concatenate()([x, y])))
    found = fitted(one_after_another, Z, W, steps=20).diagnose(Z, W)
    assert "code and after" in found["missing_activation"].message
    shared = models.Model(x, layers.Dense(1)(layers.Concatenate()([code, y])))
    assert "missing_activation" not in fitted(shared, Z, W, steps=20).diagnose(Z, W)


def test_the_last_layer_of_a_graph_decides_what_targets_are(engine: str) -> None:
    kurve.set_engine(engine)
    x = layers.Input((3,))
    h = layers.Dense(24, "tanh")(x)
    soft = layers.Dense(2, "softmax")(layers.Concatenate()([x, h]))
    model = models.Model(x, soft)
    loss = "sparse_categorical_crossentropy"
    assert not fitted(model, Z, CLASS, loss=loss).diagnose(Z, CLASS)
    model.compile("adam", "mse")
    assert "loss_mismatch" in model.diagnose(Z, CLASS)


def test_models_of_several_inputs_or_outputs_are_refused() -> None:
    x = layers.Input((3,), name="x")
    model = models.Model(x, [layers.Dense(1, name=name)(x) for name in "ab"])
    with pytest.raises(ValueError, match=r"\[diagnose\] .* one input and one output"):
        model.diagnose(Z, [W, W])


def test_a_loss_of_ones_own_is_no_obstacle() -> None:
    model = fitted(dense(24, 1, activation="tanh"), Z, W, loss=lambda y, p: abs(y - p))
    assert not model.diagnose(Z, W).serious
