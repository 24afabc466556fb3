"""Importance, dependence and calibration, beside scikit-learn and beside what can be
computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import inspection

random = np.random.default_rng(0)
X = random.normal(size=(400, 3)) * [1.0, 2.0, 1.0]
Y = 3 * X[:, 0] - X[:, 1]


class Plane:
    """y = 3 a - b + 0 c, exactly; the noise of its intervals is normal."""

    def predict(self, x: Any) -> np.ndarray:
        array = np.asarray(x, float)
        return 3 * array[:, 0] - array[:, 1]

    def predict_interval(self, x: Any, coverage: float) -> np.ndarray:
        half = {0.5: 0.6745, 0.9: 1.6449}[coverage]
        middle = self.predict(x)
        return np.stack([middle - half, middle + half], axis=1)


def test_importance_of_a_plane() -> None:
    """Shuffling column j of a plane takes 2 b_j^2 var(x_j) / var(y) from R2."""
    found = inspection.permutation_importance(Plane(), X, Y, repeats=30)
    wanted = 2 * np.array([9.0, 1.0, 0.0]) * X.var(axis=0) / Y.var()
    assert found.score == 1.0
    assert found.names == ["x1", "x2", "x3"]
    assert found.values.shape == (3, 30)
    np.testing.assert_allclose(found.mean, wanted, atol=0.05)
    assert found.mean[2] == found.deviation[2] == 0.0
    again = inspection.permutation_importance(Plane(), X, Y, repeats=30)
    np.testing.assert_array_equal(again.values, found.values)
    other = inspection.permutation_importance(Plane(), X, Y, repeats=30, seed=1)
    assert not np.array_equal(other.values, found.values)


def test_importance_with_a_score_of_ones_own() -> None:
    found = inspection.permutation_importance(
        Plane(), X, Y, score=lambda y, p: -float(np.abs(y - p).max()), repeats=2
    )
    assert found.score == 0.0
    assert found.mean[0] > found.mean[1] > found.mean[2] == 0.0


def forest() -> Any:
    ensemble = pytest.importorskip("sklearn.ensemble")
    return ensemble.RandomForestRegressor(10, max_depth=4, random_state=0).fit(X, Y)


def test_importance_is_scikit_learns() -> None:
    """The shuffles are others, so the means agree within their spread."""
    theirs = pytest.importorskip("sklearn.inspection")
    model = forest()
    mine = inspection.permutation_importance(model, X, Y, repeats=20)
    its = theirs.permutation_importance(model, X, Y, n_repeats=20, random_state=0)
    spread = 4 * (mine.deviation + its.importances_std) / np.sqrt(20) + 1e-9
    assert (np.abs(mine.mean - its.importances_mean) < spread).all()
    np.testing.assert_allclose(mine.score, model.score(X, Y), rtol=1e-12)


@pytest.mark.parametrize("feature", [0, 1, 2])
def test_dependence_is_scikit_learns(feature: int) -> None:
    theirs = pytest.importorskip("sklearn.inspection")
    model = forest()
    mine = inspection.partial_dependence(model, X, feature, grid=25)
    its = theirs.partial_dependence(
        model, X, [feature], grid_resolution=25, percentiles=(0, 1), method="brute"
    )
    np.testing.assert_allclose(mine.grid, its["grid_values"][0], rtol=1e-12)
    np.testing.assert_allclose(mine.mean, its["average"][0], rtol=1e-12)
    assert (mine.low <= mine.mean).all() and (mine.mean <= mine.high).all()


def test_dependence_of_a_plane_is_a_line() -> None:
    found = inspection.partial_dependence(Plane(), X, "x1", grid=[-1.0, 0.0, 2.0])
    np.testing.assert_allclose(np.diff(found.mean), [3.0, 6.0])


class Words:
    """Reads frames: the length of a word plus a number."""

    classes_ = np.array(["long", "short"])

    def predict(self, x: Any) -> np.ndarray:
        column = x["word"]
        words = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
        return np.array([len(w) for w in words]) + np.asarray(x["size"], float)

    def predict_proba(self, x: Any) -> np.ndarray:
        p = np.clip(self.predict(x) / 10, 0, 1)
        return np.stack([p, 1 - p], axis=1)


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars"])
def test_frames(library: str) -> None:
    module = pytest.importorskip(library)
    pytest.importorskip("narwhals")
    columns = {"word": ["a", "bb", "ccc", "bb"], "size": [1, 2, 3, 4]}
    make = {"pyarrow": "table"}.get(library, "DataFrame")
    frame = getattr(module, make)(columns)
    model = Words()
    y = model.predict(frame)
    found = inspection.permutation_importance(model, frame, y, score=inspection.r2)
    assert found.names == ["word", "size"]
    assert (found.mean > 0).all()
    words = inspection.partial_dependence(model, frame, "word")
    assert words.grid.tolist() == ["a", "bb", "ccc"]
    np.testing.assert_allclose(words.mean, [3.5, 4.5, 5.5])
    sizes = inspection.partial_dependence(model, frame, 1, grid=[0.5, 1.0])
    np.testing.assert_allclose(sizes.mean, [2.5, 3.0])
    p = inspection.partial_dependence(model, frame, "size", method="predict_proba")
    assert p.mean.shape == (4, 2)
    np.testing.assert_allclose(p.mean.sum(axis=1), 1.0)


def test_calibration() -> None:
    noisy = Y + np.random.default_rng(1).normal(size=len(Y))
    found = inspection.calibration(Plane(), X, noisy, levels=(0.5, 0.9))
    assert (np.abs(found.covered - [0.5, 0.9]) < 3 * found.error).all()
    np.testing.assert_allclose(found.width, [1.349, 3.2898])
    np.testing.assert_allclose(found.error, [0.025, 0.015])
    shifted = inspection.calibration(Plane(), X, Y + 5, levels=(0.9,))
    assert shifted.covered.tolist() == [0.0]


def test_reliability() -> None:
    p = np.array([0.05, 0.05, 0.95, 0.95, 1.0, 0.55])
    found = inspection.reliability(p, [False, True, True, True, True, False])
    assert found.count.tolist() == [2, 1, 3]
    np.testing.assert_allclose(found.promised, [0.05, 0.55, 2.9 / 3])
    np.testing.assert_allclose(found.happened, [0.5, 0.0, 1.0])
    np.testing.assert_allclose(found.error, (2 * 0.45 + 0.55 + 3 * (0.1 / 3)) / 6)


def test_reliability_is_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.calibration")
    p = np.random.default_rng(2).random(300)
    hit = np.random.default_rng(3).random(300) < p**2
    happened, promised = theirs.calibration_curve(hit, p, n_bins=10)
    mine = inspection.reliability(p, hit)
    np.testing.assert_allclose(mine.happened, happened)
    np.testing.assert_allclose(mine.promised, promised)


def test_confusion_matrix() -> None:
    y, answers = ["b", "a", "b", "b"], ["b", "b", "a", "b"]
    found = inspection.confusion_matrix(y, answers, ["a", "b"])
    assert found.tolist() == [[0, 1], [1, 2]]
    with pytest.raises(ValueError, match=r"one of the classes. Received: 'c'. Try"):
        inspection.confusion_matrix(["c"], ["a"], ["a", "b"])


def test_scores() -> None:
    assert inspection.accuracy(np.array(["a", "b"]), np.array(["a", "a"])) == 0.5
    metrics = pytest.importorskip("sklearn.metrics")
    y = np.random.default_rng(4).normal(size=(20, 2))
    p = y + np.random.default_rng(5).normal(size=(20, 2))
    np.testing.assert_allclose(inspection.r2(y, p), metrics.r2_score(y, p))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: inspection.permutation_importance(3, X, Y), TypeError, "predict"),
        (
            lambda: inspection.permutation_importance(Plane(), X, Y[1:]),
            ValueError,
            "400 and 399",
        ),
        (
            lambda: inspection.permutation_importance(Plane(), X, Y, repeats=0),
            ValueError,
            "repeats must be at least 1",
        ),
        (
            lambda: inspection.permutation_importance(Plane(), X[:, :, None], Y),
            ValueError,
            r"x must have shape \(n, features\)",
        ),
        (
            lambda: inspection.partial_dependence(Plane(), X, "a"),
            ValueError,
            "unknown feature. Received: 'a'. Try one of: x1, x2, x3",
        ),
        (
            lambda: inspection.partial_dependence(
                Plane(), X, 0, method="predict_proba"
            ),
            TypeError,
            "method predict_proba",
        ),
        (lambda: inspection.calibration(Words(), X, Y), TypeError, "predict_interval"),
    ],
)
def test_wrong_calls(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert str(caught.value).startswith("[")
    assert "Received: " in str(caught.value) and "Try " in str(caught.value)
