"""Tables as people have them, given to `kurve fit` without an option: dates, row names,
gaps, identifiers, local numbers, rare levels, decimal commas, other delimiters,
remarks, workbooks and JSON lines. Each must end in a model that is as good as the table
allows, and that predicts its own file."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")
pytest.importorskip("pyarrow", reason="the command reads with pyarrow")
pytest.importorskip("narwhals", reason="the command reads through narwhals")

WORDS = ["old", "new", "small", "large", "warm", "cold", "near", "far", "east", "west"]


def lines(head: Sequence[str], rows: Iterable[Sequence[Any]], mark: str = ",") -> str:
    """A text table; None is an empty cell, and texts with the mark are quoted."""

    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return f'"{text}"' if mark in text else text

    return "".join(mark.join(map(cell, row)) + "\n" for row in [head, *rows])


def holes(
    random: Any, values: Sequence[Any], share: float, gap: Any = None
) -> list[Any]:
    """The values, of which a share is missing."""
    return [gap if random.uniform() < share else value for value in values]


def days(first: str, count: int, step: int = 1) -> list[datetime.date]:
    start = datetime.date.fromisoformat(first)
    return [start + datetime.timedelta(days=step * i) for i in range(count)]


def cars(random: Any) -> str:
    """A gap in a number, names that hardly repeat, a date of each model year."""
    n = 400
    year, weight = random.integers(70, 83, n), random.uniform(1600, 5200, n)
    origin = random.choice(["USA", "Europe", "Japan"], n, p=[0.6, 0.2, 0.2])
    mileage = 60 - 0.009 * weight + 0.8 * (year - 76) + random.normal(size=n)
    power = holes(random, np.round(weight / 30 + random.normal(0, 9, n)).tolist(), 0.02)
    name = [f"maker{i % 30} model {i}" for i in range(n)]
    head = ["Name", "Horsepower", "Weight", "Year", "Origin", "Mileage"]
    dates = [f"19{y}-01-01" for y in year]
    rows = zip(
        name, power, weight.round(), dates, origin, mileage.round(1), strict=True
    )
    return lines(head, rows)


def stocks(random: Any) -> str:
    """Months by name, a symbol, a price with a trend."""
    rows = []
    for s, symbol in enumerate(["MSFT", "AMZN", "IBM", "AAPL"]):
        for i in range(120):
            price = 20 * s + 0.3 * i + 5 * np.sin(i / 12) + random.normal()
            month = datetime.date(2000 + i // 12, i % 12 + 1, 1).strftime("%b 1 %Y")
            rows.append([symbol, month, f"{price:.2f}"])
    return lines(["symbol", "date", "price"], rows)


def index(random: Any) -> str:
    """What pandas's to_csv writes: the rows' numbers in a column without a name."""
    x, city = random.uniform(0, 10, 300), random.choice(["Rome", "Oslo"], 300)
    y = 3 * x + 7 * (city == "Oslo") + random.normal(0, 0.3, 300)
    rows = zip(range(300), x.round(3), city, y.round(3), strict=True)
    return lines(["", "x", "city", "y"], rows)


def german(random: Any) -> str:
    """Semicolons, decimal commas, points between thousands, dates with points."""
    size = random.uniform(20, 250, 300)
    price = 3000.5 * size + random.normal(0, 9000, 300)

    def local(value: float) -> str:
        return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))

    rows = [
        [d.strftime("%d.%m.%Y"), local(s), random.choice(["ja", "nein"]), local(p)]
        for d, s, p in zip(days("2023-01-01", 300), size, price, strict=True)
    ]
    return lines(["Datum", "Fläche", "Balkon", "Preis"], rows, ";")


def money(random: Any) -> str:
    """Currency, per cent, brackets for a loss."""
    a, b = random.uniform(0, 90, 250), random.normal(0, 900, 250)
    y = 1000 + 40 * a + b
    rows = [
        [f"{u:.1f}%", f"$({-v:,.2f})" if v < 0 else f"${v:,.2f}", f"${w:,.2f}"]
        for u, v, w in zip(a, b, y, strict=True)
    ]
    return lines(["discount", "profit", "turnover"], rows)


def flights(random: Any) -> str:
    """Identifiers, levels that occur once, gaps in the target."""
    n = 1500
    distance = random.uniform(80, 2500, n)
    towns = [f"T{i:02d}" for i in range(100)]
    share = 1 / np.arange(1, 101.0)
    dest = random.choice(towns, n, p=share / share.sum())
    late = random.exponential(20, n)
    arrival = late + 0.01 * distance - 8 + random.normal(0, 4, n)
    tail = [f"N{random.integers(100, 999)}{i}" for i in range(n)]
    y = holes(random, arrival.round().tolist(), 0.03)
    head = ["id", "tailnum", "dest", "distance", "dep_delay", "arr_delay"]
    delay = holes(random, late.round(1).tolist(), 0.03)
    rows = zip(range(n), tail, dest, distance.round(), delay, y, strict=True)
    return lines(head, rows)


def penguins(random: Any) -> str:
    """A class to learn, gaps as NA in numbers and texts."""
    n = 340
    kind = random.choice(["Adelie", "Chinstrap", "Gentoo"], n, p=[0.45, 0.2, 0.35])
    number = np.select([kind == "Adelie", kind == "Chinstrap"], [0, 1], 2)
    bill = 38 + 5.5 * (number > 0) + 3 * (number == 1) + random.normal(0, 2, n)
    depth = 18.3 - 3.5 * (number == 2) + random.normal(0, 1, n)
    sex = holes(random, random.choice(["male", "female"], n).tolist(), 0.03, "NA")
    rows = zip(
        kind,
        holes(random, bill.round(1).tolist(), 0.01, "NA"),
        holes(random, depth.round(1).tolist(), 0.01, "NA"),
        sex,
        strict=True,
    )
    return lines(["species", "bill_length_mm", "bill_depth_mm", "sex"], rows)


def sleep(random: Any) -> str:
    """Few rows, names, a genus, half of the cells missing."""
    n = 83
    weight = np.exp(random.normal(0, 1, n))
    hours = 11 - 2 * np.log(weight) + random.normal(0, 1, n)
    rows = zip(
        [f"Animal {i}" for i in range(n)],
        [f"Genus{i // 2}" for i in range(n)],
        holes(random, random.choice(["carni", "herbi", "omni"], n).tolist(), 0.1, "NA"),
        holes(random, (weight / 100).round(4).tolist(), 0.4, "NA"),
        weight.round(3),
        hours.round(1),
        strict=True,
    )
    return lines(["name", "genus", "vore", "brainwt", "bodywt", "sleep_total"], rows)


def weather(random: Any) -> str:
    """Dates and times by tabs; true and false among gaps; a season to learn."""
    found = days("2021-03-01", 700)
    warmth = [
        12 - 9 * np.cos(2 * np.pi * d.timetuple().tm_yday / 365) + random.normal()
        for d in found
    ]
    rain = holes(random, random.choice(["True", "False"], 700).tolist(), 0.1)
    rows = [
        [f"{d} {7 + i % 3}:30:00", r, f"{w:.1f}"]
        for i, (d, r, w) in enumerate(zip(found, rain, warmth, strict=True))
    ]
    return lines(["when", "rain", "temp_max"], rows, "\t")


def spaces(random: Any) -> str:
    """Columns of blanks, under a remark, with the header as np.savetxt writes it."""
    x, z = random.uniform(0, 5, 200), random.normal(size=200)
    y = np.sin(2 * x) + z
    rows = [f"{a:12.6f}   {b: .6e} {c: .6e}\n" for a, b, c in zip(x, z, y, strict=True)]
    return "".join(["# measured on 3 May\n# t noise signal\n", *rows])


def survey(random: Any) -> str:
    """sep=, codes with zeros in front, yes and no, free text, a 0/1 target."""
    n = 500
    code = [f"0{random.integers(1, 9)}1{i % 3}" for i in range(n)]
    text = [" ".join(random.choice(WORDS, 4, replace=False)) for _ in range(n)]
    old = np.array(["old" in t for t in text])
    age = random.integers(18, 90, n)
    bought = (random.uniform(size=n) < np.where(old, 0.9, 0.1)).astype(int)
    yes = random.choice(["yes", "no"], n)
    rows = zip(code, age, yes, text, bought, strict=True)
    return "sep=;\n" + lines(["zip", "age", "member", "remark", "bought"], rows, ";")


def json_lines(random: Any) -> str:
    rows = []
    for i, day in enumerate(days("2020-01-01", 300, 3)):
        row: dict[str, Any] = {"day": str(day), "shop": f"s{i % 4}", "n": i % 7}
        if i % 9 == 0:
            del row["n"]
        row["sold"] = round(10 * (i % 4) + 0.1 * i + random.normal(), 2)
        rows.append(json.dumps(row))
    return "\n".join(rows) + "\n"


def workbook(random: Any, path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Day", "Region", "Price", "Units"])
    for i, day in enumerate(days("2022-01-03", 250)):
        price = float(random.uniform(1, 9))
        units = 100 - 8 * price + 10 * (i % 3) + random.normal()
        region = ["North", "South", None][i % 3]
        sheet.append([day, region, round(price, 2), round(float(units), 1)])
    book.save(path)


CASES: dict[str, tuple[Callable[..., Any], str, float]] = {
    "cars.csv": (cars, "Mileage", 0.97),
    "stocks.csv": (stocks, "price", 0.97),
    "index.csv": (index, "y", 0.99),
    "german.csv": (german, "Preis", 0.99),
    "money.csv": (money, "turnover", 0.98),
    "flights.csv": (flights, "arr_delay", 0.9),
    "penguins.csv": (penguins, "species", 0.9),
    "sleep.csv": (sleep, "sleep_total", 0.5),
    "weather.tsv": (weather, "temp_max", 0.95),
    "spaces.txt": (spaces, "signal", 0.98),
    "survey.csv": (survey, "bought", 0.8),
    "sales.jsonl": (json_lines, "sold", 0.97),
    "units.xlsx": (workbook, "Units", 0.97),
}
"""By file: its maker, the target, and the least R2 or accuracy, near the noise's."""

SECONDS = 60.0
"""Processor time of a fit, at most: a hang fails, a loaded machine does not."""


@pytest.mark.parametrize("name", CASES)
def test_raw_tables(run: Any, tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(5)
    make, target, least = CASES[name]
    if name.endswith(".xlsx"):
        make(random, tmp_path / name)
    else:
        (tmp_path / name).write_text(make(random), encoding="utf-8")
    start = time.process_time()
    done = run("fit", name, "--target", target)
    assert done.code == 0, done.err
    assert time.process_time() - start < SECONDS
    model = f"{name.partition('.')[0]}.kurve"
    done = run("predict", model, name, "-o", "predicted.csv")
    assert done.code == 0, done.err
    rows = (tmp_path / "predicted.csv").read_text().splitlines()
    assert len(rows) > 80 and "" not in rows
    done = run("evaluate", model, name, "--json")
    assert done.code == 0, done.err
    (found,) = [v["model"] for v in json.loads(done.out).values()]
    score = found.get("R²", found.get("accuracy"))["value"]
    assert score > least
