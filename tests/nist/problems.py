"""NIST's Statistical Reference Datasets for nonlinear regression: 27 formulas, and a
reader of the files with data, starts and certified values.

Source: https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_PLACES = [parent / "shared/data/nist" for parent in Path(__file__).resolve().parents]
FOLDER = Path(
    os.environ.get("KURVE_NIST")
    or next((place for place in _PLACES if place.exists()), _PLACES[2])
)
"""Where the files are: in a folder of this project or above, or as KURVE_NIST says."""


def formulas(np: Any) -> dict[str, Callable[..., Any]]:
    """The formulas, in the functions of `numpy` or of `kurve.ops`."""

    def cubic_over_cubic(x, b1, b2, b3, b4, b5, b6, b7):
        above = b1 + b2 * x + b3 * x**2 + b4 * x**3
        return above / (1 + b5 * x + b6 * x**2 + b7 * x**3)

    def peaks(x, b1, b2, b3, b4, b5, b6, b7, b8):
        decay = b1 * np.exp(-b2 * x)
        return (
            decay
            + b3 * np.exp(-((x - b4) ** 2) / b5**2)
            + b6 * np.exp(-((x - b7) ** 2) / b8**2)
        )

    def lanczos(x, b1, b2, b3, b4, b5, b6):
        return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)

    def enso(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):
        turns = 2 * math.pi * x
        year, second, third = turns / 12, turns / b4, turns / b7
        return (
            b1
            + b2 * np.cos(year)
            + b3 * np.sin(year)
            + b5 * np.cos(second)
            + b6 * np.sin(second)
            + b8 * np.cos(third)
            + b9 * np.sin(third)
        )

    def chwirut(x, b1, b2, b3):
        return np.exp(-b1 * x) / (b2 + b3 * x)

    return {
        "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1 / b3),
        "BoxBOD": lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
        "Chwirut1": chwirut,
        "Chwirut2": chwirut,
        "DanWood": lambda x, b1, b2: b1 * x**b2,
        "ENSO": enso,
        "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
        "Gauss1": peaks,
        "Gauss2": peaks,
        "Gauss3": peaks,
        "Hahn1": cubic_over_cubic,
        "Kirby2": lambda x, b1, b2, b3, b4, b5: (
            (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2)
        ),
        "Lanczos1": lanczos,
        "Lanczos2": lanczos,
        "Lanczos3": lanczos,
        "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
        "MGH10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
        "MGH17": lambda x, b1, b2, b3, b4, b5: (
            b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5)
        ),
        "Misra1a": lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
        "Misra1b": lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
        "Misra1c": lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
        "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
        "Nelson": lambda x, b1, b2, b3: b1 - b2 * x[0] * np.exp(-b3 * x[1]),
        "Rat42": lambda x, b1, b2, b3: b1 / (1 + np.exp(b2 - b3 * x)),
        "Rat43": lambda x, b1, b2, b3, b4: b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4),
        "Roszman1": lambda x, b1, b2, b3, b4: (
            b1 - b2 * x - np.arctan(b3 / (x - b4)) / math.pi
        ),
        "Thurber": cubic_over_cubic,
    }


FORMULAS = formulas(np)


@dataclass(frozen=True)
class Reference:
    """One file: data, two starts, certified values."""

    x: np.ndarray
    y: np.ndarray
    starts: tuple[np.ndarray, np.ndarray]
    values: np.ndarray
    deviations: np.ndarray
    sum_of_squares: float


def read(name: str, dtype: Any = np.float64) -> Reference:
    """The file of a problem; numbers of its data in `dtype`."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    rows = [
        line.partition("=")[2].split()
        for line in lines[40:60]
        if re.match(r"\s*b\d+\s*=", line)
    ]
    parameters = np.array(rows, float)
    total = next(line for line in lines if line.startswith("Residual Sum of Squares"))
    # The first word of a number of the data may be more digits than float64 holds.
    data = np.array(
        [[dtype(word) for word in line.split()] for line in lines[60:] if line.strip()]
    )
    x = data[:, 1] if data.shape[1] == 2 else data[:, 1:].T
    y = np.log(data[:, 0]) if name == "Nelson" else data[:, 0]
    first, second, values, deviations = parameters.T
    return Reference(
        x, y, (first, second), values, deviations, float(total.split(":")[1])
    )


def digits(found: Any, certified: Any) -> float:
    """The log relative error: the number of right digits of the worst value, 11 at
    most, since that is what is certified. Source: McCullough 1998."""
    found, certified = np.asarray(found, float), np.asarray(certified, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = np.abs(found - certified) / np.abs(certified)
        right = -np.log10(wrong)
    return float(np.nan_to_num(right, nan=0.0, posinf=11.0).clip(0.0, 11.0).min())
