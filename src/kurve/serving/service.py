"""The answers of a model to requests, independent of the transport."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_BYTES = 10_000_000
MAX_ROWS = 100_000


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        status: of HTTP.
        message: the explanation for the user.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Limits:
    """What a request may hold.

    max_bytes, max_rows: at most
    token: the token that requests must send as "Authorization: Bearer TOKEN"; None for
    nothing
    """

    max_bytes: int = MAX_BYTES
    max_rows: int = MAX_ROWS
    token: str | None = None


class Service:
    """The answers of a model.

    Args:
        estimator: a fitted `kurve.Regressor` or `kurve.Classifier`.
        name: of the model.
    """

    def __init__(self, estimator: Any, name: str) -> None:
        self.estimator, self.name = estimator, name
        columns = estimator.fitted_.columns
        names = columns.names or [f"x{i + 1}" for i in range(columns.width)]
        self.features: dict[str, str] = {}
        for position, feature in enumerate(names):
            kinds = {
                "number": columns.numeric,
                "category": columns.levels,
                "date": columns.dates,
                "text": columns.words,
            }
            for kind, positions in kinds.items():
                if position in positions:
                    self.features[feature] = kind
        self.names = names

    def description(self) -> dict[str, Any]:
        """What the model reads and predicts."""
        columns = self.estimator.fitted_.columns
        levels = {self.names[c]: values for c, values in columns.levels.items()}
        features = [
            {"name": name, "kind": kind}
            | ({"levels": levels[name]} if name in levels else {})
            for name, kind in self.features.items()
        ]
        found: dict[str, Any] = {"model": self.name, "features": features}
        classes = getattr(self.estimator, "classes_", None)
        if classes is not None:
            return found | {"predicts": "classes", "classes": classes.tolist()}
        targets = self.estimator.target_names_ or ["y"]
        return found | {"predicts": "numbers", "targets": list(targets)}

    def predict(self, rows: Mapping[str, list[Any]], coverage: float) -> Any:
        """Predictions for a table of columns, one dictionary a row.

        Args:
            rows: values by column; missing ones are None.
            coverage: of the intervals.
        """
        table = self._table(rows)
        model = self.estimator
        outside = np.asarray(model.extrapolates(table), bool)
        if hasattr(model, "classes_"):
            probabilities = model.predict_proba(table)
            classes = model.classes_.tolist()
            return [
                {
                    "prediction": classes[int(p.argmax())],
                    "probabilities": {
                        str(c): float(v) for c, v in zip(classes, p, strict=True)
                    },
                    "extrapolates": bool(out),
                }
                for p, out in zip(probabilities, outside, strict=True)
            ]
        count = len(outside)
        mean = np.asarray(model.predict(table)).reshape(count, -1)
        ends = np.asarray(model.predict_interval(table, coverage=coverage))
        ends = ends.reshape(count, -1, 2)
        several = mean.shape[1] > 1
        names = model.target_names_ or [f"y{k + 1}" for k in range(mean.shape[1])]
        answers = []
        for means, bounds, out in zip(mean, ends, outside, strict=True):
            each = [
                {"prediction": float(m), "low": float(low), "high": float(high)}
                for m, (low, high) in zip(means, bounds, strict=True)
            ]
            found: dict[str, Any] = dict(zip(names, each, strict=True))
            answers.append(
                {**(found if several else each[0]), "extrapolates": bool(out)}
            )
        return answers

    def _table(self, rows: Mapping[str, list[Any]]) -> Any:
        import pyarrow

        missing = [name for name in self.features if name not in rows]
        if missing:
            known = ", ".join(map(repr, self.features))
            raise RequestError(
                422,
                f"every row needs the columns {known}. Received: none named "
                f"{missing[0]!r}. Try null for a missing value.",
            )
        count = len(next(iter(rows.values())))
        columns = {}
        for name in self.names:
            kind = self.features.get(name)
            if kind is None:
                columns[name] = pyarrow.nulls(count, pyarrow.float64())
            else:
                columns[name] = self._column(name, kind, rows[name])
        if self.estimator.fitted_.columns.names is None:
            return np.stack(
                [c.to_numpy(zero_copy_only=False) for c in columns.values()], 1
            )
        return pyarrow.table(columns)

    def _column(self, name: str, kind: str, values: list[Any]) -> Any:
        import pyarrow

        for value in values:
            if isinstance(value, (list, dict)):
                raise RequestError(
                    422,
                    f"column {name!r} must hold single values. Received: {value!r}.",
                )
        columns = self.estimator.fitted_.columns
        numeric_levels = kind == "category" and not any(
            isinstance(v, str) for v in columns.levels[self.names.index(name)]
        )
        texts = any(isinstance(value, str) for value in values)
        readable = self.names.index(name) in columns.readers
        if (kind == "number" and not (texts and readable)) or numeric_levels:
            try:
                numbers = [None if v in (None, "") else float(v) for v in values]
            except ValueError:
                wrong = next(
                    v for v in values if isinstance(v, str) and not _is_number(v)
                )
                raise RequestError(
                    422, f"column {name!r} must hold numbers. Received: {wrong!r}."
                ) from None
            return pyarrow.array(numbers, pyarrow.float64())
        cells = [None if v is None or v == "" else _text(v) for v in values]
        return pyarrow.array(cells, pyarrow.string())

    def read(self, body: bytes, kind: str, limits: Limits) -> dict[str, list[Any]]:
        """The table in a request: a JSON object of one row, a list of them, or an
        object {"rows": [...]}; or CSV.

        Args:
            kind: the content's type.
        """
        if kind in ("text/csv", "application/csv", "text/plain"):
            rows = self._csv(body)
        elif kind in ("application/json", ""):
            rows = self._json(body)
        else:
            raise RequestError(
                415,
                "the content must be application/json or text/csv. "
                f"Received: {kind!r}.",
            )
        count = len(next(iter(rows.values()), []))
        if not count:
            raise RequestError(422, "there must be a row. Received: none.")
        if count > limits.max_rows:
            raise RequestError(
                413,
                f"a request may have at most {limits.max_rows:,} rows. Received: "
                f"{count:,}. Try several requests.",
            )
        return rows

    def _json(self, body: bytes) -> dict[str, list[Any]]:
        try:
            data = json.loads(body, parse_constant=lambda name: None)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"the content must be JSON: {error}.") from None
        if isinstance(data, dict) and isinstance(data.get("rows"), list):
            data = data["rows"]
        rows = data if isinstance(data, list) else [data]
        wrong = next((row for row in rows if not isinstance(row, dict)), None)
        if wrong is not None or not rows:
            raise RequestError(
                422,
                'there must be rows such as {"column": value}. '
                f"Received: {json.dumps(wrong)[:60]}.",
            )
        names = [name for name in self.features if any(name in row for row in rows)]
        return {name: [row.get(name) for row in rows] for name in names}

    def _csv(self, body: bytes) -> dict[str, list[Any]]:
        from kurve.tables import Delimited

        file = Delimited("the request", io.BytesIO(body))
        used = [name for name in self.features if name in file.names]
        table = file.read(used, texts=used)
        return {name: table[name].to_pylist() for name in used}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == ""
    return True


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
