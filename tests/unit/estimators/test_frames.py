"""Columns in: every kind of table gives the same model."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Classifier, Regressor
from kurve.estimators.column_learning import learn_columns
from kurve.estimators.frames import read_table

RNG = np.random.default_rng(5)
N = 90
AGE = RNG.uniform(20, 60, N)
CITY = RNG.choice(["Bonn", "Oslo", "Rome"], N)
MEMBER = RNG.uniform(size=N) > 0.5
Y = AGE / 10 + (CITY == "Rome") * 2.0 - MEMBER
DATA = {"age": AGE, "city": CITY, "member": MEMBER}
FAST: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 40,
    "random_state": 0,
    "solver": "adam",
}


def frame(kind: str, data: dict[str, Any]) -> Any:
    """The table as a frame of that library; skipped where it is not installed."""
    pytest.importorskip("narwhals")
    columns = {name: list(values) for name, values in data.items()}
    if kind == "pandas":
        return pytest.importorskip("pandas").DataFrame(columns)
    if kind == "pyarrow":
        return pytest.importorskip("pyarrow").table(columns)
    polars = pytest.importorskip("polars")
    made = polars.DataFrame(columns, strict=False)
    return made.lazy() if kind == "lazy polars" else made


FRAMES = ["pandas", "polars", "lazy polars", "pyarrow"]


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_are_lists_with_names(kind: str) -> None:
    table = frame(kind, DATA)
    model = Regressor(**FAST).fit(table, Y)
    rows = [[a, str(c), bool(m)] for a, c, m in zip(AGE, CITY, MEMBER, strict=True)]
    same = Regressor(**FAST).fit(rows, Y)
    np.testing.assert_array_equal(model.predict(table), same.predict(rows))
    assert model.feature_names_in_.tolist() == ["age", "city", "member"]
    assert not hasattr(same, "feature_names_in_")
    assert model.score(table, Y) > 0.8
    named = ["age", "member", "city = Bonn", "city = Oslo", "city = Rome"]
    assert model.fitted_.columns.names_out() == named


@pytest.mark.parametrize("kind", FRAMES)
def test_gaps_are_refused_by_name_or_imputed(kind: str) -> None:
    age = [None if i in (4, 7) else float(a) for i, a in enumerate(AGE)]
    city = [None if i == 5 else str(c) for i, c in enumerate(CITY)]
    table = frame(kind, {"age": age, "city": city, "member": MEMBER})
    text = r"X\['age'\] at row 4 = NaN \(3 such values in .*. Try missing=\"impute\""
    with pytest.raises(ValueError, match=text):
        Regressor(**FAST, missing="error").fit(table, Y)
    with pytest.warns(UserWarning, match=r"marked: column 'age' \(2\), column 'city'"):
        default = Regressor(**FAST).fit(table, Y)
    model = Regressor(**FAST, missing="impute").fit(table, Y)
    np.testing.assert_array_equal(default.predict(table), model.predict(table))
    names = model.fitted_.columns.names_out()
    assert names[:4] == ["age", "member", "age missing", "city missing"]
    matrix, _ = model.fitted_.columns.encode("predict", read_table("predict", table))
    known = np.delete(AGE, [4, 7])
    assert matrix[4, 0] == matrix[7, 0] == np.median(known)
    assert matrix[:, 2].sum() == 2 and matrix[5, 3] == 1 and matrix[5, 4:].sum() == 1


def test_columns_of_numbers_and_frames_of_classes() -> None:
    pandas = pytest.importorskip("pandas")
    table = frame("pandas", DATA)
    table["city"] = table["city"].astype("category")
    table["size"] = pandas.array([1, None] * (N // 2), dtype="Int64")
    model = Classifier(**{**FAST, "solver": "auto"}, missing="impute")
    labels = pandas.Series(np.where(Y > 4, "old", "young"), name="age group")
    model.fit(table, labels)
    assert model.target_names_ == ["age group"]
    assert set(model.predict(table)) <= {"old", "young"}


def test_targets_and_weights_from_frames() -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("narwhals")
    targets = polars.DataFrame({"low": Y - 1, "high": Y + 1})
    weights = polars.Series("w", np.ones(N))
    model = Regressor(**FAST).fit(AGE[:, None], targets, sample_weight=weights)
    assert model.target_names_ == ["low", "high"]
    assert model.predict(AGE[:3, None]).shape == (3, 2)


def test_unseen_levels_are_average_ones_and_found() -> None:
    rows = np.array([[a, c] for a, c in zip(AGE, CITY, strict=True)], object)
    rows[:, 0] = AGE
    model = Regressor(**FAST).fit(rows, Y)
    new = rows[:3].copy()
    new[1, 1] = "Nice"
    with pytest.warns(UserWarning, match=r"1 rows .* such as 'Nice' in column 1"):
        found = model.predict(new)
    each = []
    for city in ("Bonn", "Oslo", "Rome"):
        new[1, 1] = city
        each.append(model.predict(new))
    np.testing.assert_array_equal(found[[0, 2]], each[0][[0, 2]])
    low, high = np.min(each, axis=0)[1], np.max(each, axis=0)[1]
    assert low - 0.5 * (high - low) <= found[1] <= high + 0.5 * (high - low)
    new[1, 1] = "Nice"
    assert model.extrapolates(new).tolist() == [False, True, False]


def test_names_are_checked() -> None:
    table = frame("pandas", DATA)
    model = Regressor(**FAST).fit(table, Y)
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(table[["city", "age", "member"]])
    with pytest.raises(ValueError, match="unseen at fit time:\n- years"):
        model.predict(table.rename(columns={"age": "years"}))
    with pytest.raises(ValueError, match="now missing:\n- member"):
        model.predict(table[["age", "city"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(table.to_numpy(object))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ([{"a": 1}] * N, "must be a string or a real number"),
        ([1.0, "one"] * (N // 2), "must hold either strings or numbers"),
    ],
)
def test_columns_that_are_no_features(column: Any, text: str) -> None:
    values = np.empty(len(column), object)
    values[:] = [
        f"{v} {i}" if isinstance(v, str) and len(column) > N else v
        for i, v in enumerate(column)
    ]
    with pytest.raises((TypeError, ValueError), match=text):
        Regressor(**FAST).fit(values[:, None], np.arange(len(column)) * 1.0)


DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(9 * i) for i in range(120)]
SEASON = np.sin(2 * np.pi * np.array([d.timetuple().tm_yday for d in DAYS]) / 365.25)


@pytest.mark.parametrize(
    "write",
    [
        lambda d: d,
        lambda d: datetime.datetime(d.year, d.month, d.day, 0),
        lambda d: d.isoformat(),
        lambda d: d.strftime("%d.%m.%Y"),
        lambda d: d.strftime("%m/%d/%y"),
        lambda d: d.strftime("%b %d %Y"),
        lambda d: int(d.strftime("%Y%m%d")),
        lambda d: np.datetime64(d),
    ],
)
def test_dates_are_features(write: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    table = pandas.DataFrame({"day": [write(d) for d in DAYS]})
    model = Regressor(random_state=0).fit(table, SEASON)
    names = model.fitted_.columns.names_out()
    assert names == ["day (days)", "day (season, sine)", "day (season, cosine)"]
    assert model.score(table, SEASON) > 0.98
    (dates,) = model.fitted_.columns.dates.values()
    assert (dates.first / 86400, dates.last / 86400) == (18262, 18262 + 9 * 119)
    model.save(tmp_path / "d.kurve")
    again = kurve.estimators.load(tmp_path / "d.kurve")
    np.testing.assert_array_equal(again.predict(table[:5]), model.predict(table[:5]))
    assert model.extrapolates(
        pandas.DataFrame({"day": [write(DAYS[5]), write(datetime.date(2040, 5, 1))]})
    ).tolist() == [False, True]


def test_missing_dates_and_times() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    days = pandas.Series(pandas.date_range("2024-01-01", periods=96, freq="h"))
    y = np.cos(2 * np.pi * days.dt.hour.to_numpy() / 24)
    span = pandas.to_timedelta(np.arange(96), unit="h")
    table = pandas.DataFrame({"at": days, "span": span})
    table.loc[3, "at"] = pandas.NaT
    table.loc[4, "span"] = pandas.NaT
    model = Regressor(missing="impute", random_state=0).fit(table, y)
    assert model.fitted_.columns.names_out() == [
        "span",
        "at (days)",
        "at (time of day, sine)",
        "at (time of day, cosine)",
        "at missing",
        "span missing",
    ]
    assert model.score(table[10:], y[10:]) > 0.98


def test_a_column_must_keep_its_kind() -> None:
    model = Regressor(**FAST).fit(frame("pandas", DATA), Y)
    changed = frame("pandas", {**DATA, "age": [str(a) for a in AGE]})
    with pytest.raises(TypeError, match="column 'age' must hold numbers"):
        model.predict(changed)


def test_levels_may_be_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    table = pandas.DataFrame({"zone": pandas.Categorical(([1, 2, 3] * N)[:N])})
    columns = learn_columns("fit", read_table("fit", table), False)
    assert columns.levels == {0: [1, 2, 3]}
    plain = pandas.DataFrame({"zone": [3, 1]})
    matrix, _ = columns.encode("predict", read_table("predict", plain))
    np.testing.assert_array_equal(matrix, [[0, 0, 1], [1, 0, 0]])


def test_sparse_matrices_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_matrix, sparse.dok_array, sparse.coo_array):
        with pytest.raises(TypeError, match="sparse data was passed"):
            Regressor(**FAST).fit(kind(np.eye(5)), np.arange(5.0))


IDS = [1234567890123456789 + 7919 * i for i in range(60)]


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("kind", ["int64", "uint64", "decimal", "dictionary", "text"])
def test_columns_of_arrow(kind: str, null: bool) -> None:
    """Integers that float64 rounds, and types that have no Python of their own."""
    pa = pytest.importorskip("pyarrow")
    kinds = {
        "int64": lambda: pa.array(IDS),
        "uint64": lambda: pa.array(IDS, pa.uint64()),
        "decimal": lambda: pa.array(IDS).cast(pa.decimal128(22, 2)),
        "dictionary": lambda: pa.array([float(i % 3) for i in range(60)]),
        "text": lambda: pa.array(["abc"[i % 3] for i in range(60)], pa.string_view()),
    }
    column = kinds[kind]()
    if null:
        column = pa.array([None, *column.to_pylist()[1:]], column.type)
    if kind == "dictionary":
        column = column.dictionary_encode()
    table = pa.table({"a": column})
    model = Regressor(missing="impute", **FAST).fit(table, np.arange(60.0))
    assert model.fitted_.columns.with_missing == ([0] if null else [])
    assert np.isfinite(model.predict(table)).all()
    if kind in ("int64", "uint64"):
        rows = model.fitted_.inputs.backward(model._encoded("predict", table)[0])[1:, 0]
        np.testing.assert_allclose(rows, IDS[1:], rtol=1e-13)


def test_columns_of_one_name() -> None:
    pandas = pytest.importorskip("pandas")
    for names in (["a", "a"], [np.nan, float("nan")]):
        table = pandas.DataFrame(np.ones((N, 2)), columns=names)
        with pytest.raises(ValueError, match=r"different names. Received: .* 2 times"):
            Regressor(**FAST).fit(table, np.arange(N))


def test_numbers_in_texts_are_numbers() -> None:
    """With decimal commas, at once and in batches."""
    prices = np.array([[f"{i / 7:.2f}".replace(".", ",")] for i in range(200)], object)
    y = np.arange(200.0)
    for data in (
        (prices, y),
        ([(prices[::2], y[::2]), (prices[1::2], y[1::2])],),
    ):
        model = Regressor(random_state=0).fit(*data)
        assert model.fitted_.columns.numeric == [0]
        assert model.score(prices, y) > 0.99
        assert abs(model.predict(np.array([["14,285"]], object))[0] - 100) < 5


def test_what_a_model_cannot_use_is_left_out_with_a_word() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    x = np.linspace(0, 1, 90)
    table = pandas.DataFrame(
        {"id": np.arange(90), "x": x, "code": [f"k{i}" for i in range(90)]}
    )
    table["empty"] = None
    with pytest.warns(UserWarning, match="left out") as caught:
        model = Regressor(**FAST).fit(table, x)
    (text,) = [str(w.message) for w in caught]
    assert text == (
        "[fit] column 'id' identifies the rows and is left out; column 'code' has 90 "
        "different texts in 90 rows and is left out; column 'empty' has no value and "
        "is left out."
    )
    assert model.fitted_.columns.names_out() == ["x"]
    with pytest.raises(ValueError, match="there must be a column to learn from"):
        Regressor(**FAST).fit(table[["code"]], x)


def test_many_levels_and_texts() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    random = np.random.default_rng(0)
    ford = random.random(600) < 0.5
    names = [f"{'Ford' if f else 'Opel'} no{i}" for i, f in enumerate(ford)]
    levels = [f"L{i if i % 2 else 1}" for i in range(600)]  # 299 of one row
    table = pandas.DataFrame({"name": names, "level": levels})
    y = ford + 2.0 * (table["level"] == "L1").to_numpy()
    with pytest.warns(UserWarning, match="the others as one") as caught:
        model = Regressor(random_state=0).fit(table, y)
    assert len(caught) == 1
    columns = model.fitted_.columns
    assert columns.words[0].words == ("ford", "opel")
    new = pandas.DataFrame({"name": ["my Ford", "Opel"], "level": ["L2", "L1"]})
    np.testing.assert_allclose(model.predict(new), [1.0, 2.0], atol=0.2)


def test_cells_that_say_that_a_number_is_unknown() -> None:
    table = np.array([[str(i / 4) if i % 9 else "?"] for i in range(180)], object)
    y = np.arange(180.0)
    with pytest.warns(UserWarning, match=r"cells such as '\?' are no numbers"):
        model = Regressor(random_state=0).fit(table, y)
    assert model.fitted_.columns.names_out() == ["x0", "x0 missing"]
    codes = np.array([["1", "2", "3a"][i % 3] for i in range(180)], object)[:, None]
    model = Regressor(random_state=0).fit(codes, np.arange(180) % 3)
    assert model.fitted_.columns.levels == {0: ["1", "2", "3a"]}
