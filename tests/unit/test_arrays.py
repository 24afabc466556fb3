"""The one function that makes numbers of what users have."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kurve.core.arrays import as_array, as_numbers

DAY = datetime.date(2024, 1, 2)
DICTIONARY = pa.chunked_array([pa.array([1.5, None, 2.5]).dictionary_encode()])

NUMBERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "list": (lambda: [1, 2.5], [1.0, 2.5]),
    "range": (lambda: range(3), [0, 1, 2]),
    "no dimension": (lambda: np.array(3.0), 3.0),
    "booleans": (lambda: [True, False], [1, 0]),
    "objects": (lambda: np.array([True, 2, 1.5], object), [1, 2, 1.5]),
    "Decimal": (lambda: [Decimal("1.5"), Fraction(1, 4)], [1.5, 0.25]),
    "large integers": (lambda: [2**70, -1], [2.0**70, -1.0]),
    "uint64": (lambda: np.array([2**64 - 1], np.uint64), [2.0**64]),
    "nothing masked": (lambda: np.ma.array([1.0, 2.0]), [1.0, 2.0]),
    "NaN": (lambda: [1.0, float("nan")], [1.0, np.nan]),
    "pandas int8": (lambda: pd.Series([100, 2], dtype="int8"), [100, 2]),
    "pandas Int64": (lambda: pd.Series([1, 2], dtype="Int64"), [1, 2]),
    "pandas sparse": (lambda: pd.Series(pd.arrays.SparseArray([0.0, 1.0])), [0, 1]),
    "pandas categories": (lambda: pd.Categorical([4, 2, 4]), [4, 2, 4]),
    "pandas frame": (
        lambda: pd.DataFrame({"a": [1, 2], "b": [True, False]}),
        [[1, 1], [2, 0]],
    ),
    "polars": (lambda: pl.Series([1, 2]), [1, 2]),
    "polars Int128": (lambda: pl.Series([2**100], dtype=pl.Int128), [2.0**100]),
    "polars lazy": (lambda: pl.LazyFrame({"a": [1, 2]}), [[1], [2]]),
    "arrow": (lambda: pa.array([1.5, 2.5]), [1.5, 2.5]),
    "arrow decimals": (lambda: pa.array([Decimal("1.5")]), [1.5]),
    "arrow table": (lambda: pa.table({"a": [1, 2], "b": [3.5, 4]}), [[1, 3.5], [2, 4]]),
    "list of series": (
        lambda: [pd.Series([1, 2]), pd.Series([3, 4])],
        [[1, 2], [3, 4]],
    ),
}
MISSING: dict[str, tuple[Callable[[], Any], str, Any]] = {
    "masked": (
        lambda: np.ma.masked_equal(np.array([1.0, -9.0]), -9.0),
        "x[1] = masked",
        [1, np.nan],
    ),
    "masked integers": (
        lambda: np.ma.masked_equal([[1, -9]], -9),
        "x[0, 1] = masked",
        [[1, np.nan]],
    ),
    "masked in a list": (
        lambda: [[1.0, np.ma.masked], [2.0, 3.0]],
        "x[0, 1] = masked",
        [[1, np.nan], [2, 3]],
    ),
    "masked arrays in a list": (
        lambda: [np.ma.masked_equal([1, 2], 2)],
        "x[0, 1] = masked",
        [[1, np.nan]],
    ),
    "None": (lambda: [None, 1.5], "x[0] = None", [np.nan, 1.5]),
    "pandas NA": (
        lambda: pd.Series([True, None], dtype="boolean"),
        "x[1] = <NA>",
        [1, np.nan],
    ),
    "NA in a frame": (
        lambda: pd.DataFrame({"a": pd.array([True, None])}),
        "x['a'][1] = <NA>",
        [[1], [np.nan]],
    ),
    "Decimal": (lambda: [Decimal("NaN"), Decimal(1)], "x[0] = NaN", [np.nan, 1]),
    "polars null": (lambda: pl.Series([True, None]), "x[1] = None", [1, np.nan]),
    "arrow nulls": (lambda: pa.nulls(1), "x[0] = None", [np.nan]),
}
NAN_IN_FLOATS = {
    "pandas Int64": lambda: pd.Series([2**60, None], dtype="Int64"),
    "polars": lambda: pl.Series([2**60, None]),
    "arrow": lambda: pa.chunked_array([[2**60], [None]]),
}
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "None": (lambda: None, TypeError, "x is missing"),
    "text": (lambda: ["1", "a"], TypeError, "x[1] = 'a' of type str"),
    "text beside numbers": (lambda: [1, "a"], TypeError, "x[1] = 'a' of type str"),
    "bytes": (lambda: b"abc", TypeError, "x = b'abc' of type bytes"),
    "complex": (lambda: [1.0, 2j], ValueError, "np.stack([x.real, x.imag], -1)"),
    "complex objects": (
        lambda: np.array([1.0, np.complex128(2j)], object),
        ValueError,
        "x[1] = ",
    ),
    "dates": (
        lambda: np.array(["2024-01-02", "NaT"], "M8[D]"),
        TypeError,
        "x[0] = 2024-01-02 of type datetime64[D] (1 missing: x[1] = NaT). Try "
        "(x - x.min()) / np.timedelta64(1, 'D')",
    ),
    "only missing dates": (lambda: np.array(["NaT"], "M8[D]"), TypeError, "x[0] = NaT"),
    "durations": (
        lambda: np.array([3], "m8[s]"),
        TypeError,
        "Try x / np.timedelta64(1, 's')",
    ),
    "datetime64 objects": (
        lambda: np.array([np.datetime64("2024-01-02"), None], object)[:1],
        TypeError,
        "the days since the first",
    ),
    "date objects": (lambda: [DAY], TypeError, "of type date. Try (x - x.min())"),
    "times of day": (lambda: [datetime.time(1)], TypeError, "hours since midnight"),
    "duration objects": (lambda: [datetime.timedelta(1)], TypeError, "the seconds"),
    "pandas Timestamps": (
        lambda: [pd.Timestamp(DAY), pd.NaT],
        TypeError,
        "(1 missing: x[1] = NaT)",
    ),
    "pandas periods": (
        lambda: pd.Series(pd.period_range("2024", periods=2, freq="M")),
        TypeError,
        "of type Period",
    ),
    "pandas intervals": (
        lambda: pd.Series(pd.interval_range(0, 2)),
        TypeError,
        "of type Interval",
    ),
    "pandas dates in a frame": (
        lambda: pd.DataFrame({"day": pd.to_datetime([DAY])}),
        TypeError,
        "x['day'][0]",
    ),
    "polars dates in a frame": (
        lambda: pl.DataFrame({"day": [DAY], "a": [1]}),
        TypeError,
        "x['day'][0]",
    ),
    "polars structs": (lambda: pl.Series([{"a": 1}]), TypeError, "of type dict"),
    "structured": (
        lambda: np.zeros(2, [("a", float), ("b", int)]),
        TypeError,
        "fields 'a', 'b'. Try numpy.lib.recfunctions.structured_to_unstructured(x)",
    ),
    "huge integers": (
        lambda: [1, 10**400],
        ValueError,
        "x[1] = an integer of 1329 bits. Try scaling",
    ),
    "huge decimals": (
        lambda: [Decimal("1e400")],
        ValueError,
        "fit into float64 (largest number 1.8e",
    ),
    "signalling NaN": (lambda: [Decimal("sNaN")], TypeError, "Decimal('sNaN')"),
    "ragged": (lambda: [[1, 2], [3]], ValueError, "x must be rectangular"),
    "dictionary": (lambda: {"a": [1]}, TypeError, "np.column_stack(list(x.values()))"),
    "generator": (lambda: iter([1, 2]), TypeError, "Try np.array(list(x))"),
    "set": (lambda: {1, 2}, TypeError, "Try np.array(list(x))"),
    "two columns of a name": (
        lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        ValueError,
        "'a' 2 times",
    ),
    "object": (lambda: object(), TypeError, "of type object"),
}


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str) -> None:
    make, expected = NUMBERS[name]
    found = as_numbers("fit", "x", make(), np.float64)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.asarray(expected, float))


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_refused_or_becomes_nan(name: str) -> None:
    make, message, expected = MISSING[name]
    with pytest.raises(ValueError, match="must not have missing values") as error:
        as_numbers("fit", "x", make())
    assert message in str(error.value)
    np.testing.assert_array_equal(
        as_numbers("fit", "x", make(), missing=True), np.asarray(expected, float)
    )


@pytest.mark.parametrize("name", NAN_IN_FLOATS)
def test_missing_integers_beyond_2_to_the_53(name: str) -> None:
    found = as_numbers("fit", "x", NAN_IN_FLOATS[name]())
    np.testing.assert_array_equal(found, [2.0**60, np.nan])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, kind, message = REFUSED[name]
    with pytest.raises(kind) as error:
        as_numbers("fit", "x", make())
    assert str(error.value).startswith("[fit] x")
    assert message in str(error.value)


def test_what_numpy_cannot_read_is_named() -> None:
    class Strange:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise RuntimeError("no array today.")

    with pytest.raises(TypeError, match=r"cannot read: no array today\. Try a NumPy"):
        as_numbers("fit", "x", Strange())


def test_nulls_of_a_dictionary_are_no_level() -> None:
    """NumPy's view of such a column repeats the last level in the place of a null."""
    texts = pa.chunked_array([pa.array(["a", "b", None]).dictionary_encode()])
    assert as_array("fit", "y", texts).tolist() == ["a", "b", None]
    np.testing.assert_array_equal(
        as_numbers("fit", "y", DICTIONARY), [1.5, np.nan, 2.5]
    )


def test_kinds_stay() -> None:
    for dtype in (np.bool_, np.uint8, np.int64, np.float16, np.float32, np.longdouble):
        given = np.ones(3, dtype)
        assert as_numbers("fit", "x", given) is given


def test_text_in_a_list_leaves_numbers_numbers() -> None:
    assert as_array("fit", "y", ["a", 1]).tolist() == ["a", 1]
    assert as_array("fit", "y", ["a", "b"]).dtype.kind == "U"
