"""An HTTP service for a model file: `kurve serve model.kurve`.

    GET  /           what the model is, for people
    GET  /health     {"status": "ok"}
    GET  /model      the columns that it reads and what it predicts
    POST /predict    rows as JSON or CSV; predictions with intervals
    GET  /openapi.json, /docs

Built on Starlette and Uvicorn: pip install "kurve[serve]". Only loopback addresses are
served without a token. Requests larger than a limit, in bytes or rows, are refused.
"""

from __future__ import annotations

import hmac
import io
import ipaddress
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.errors import TableError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MAX_BYTES = 10_000_000
MAX_ROWS = 100_000
PREDICTING = 2
"""Requests that are predicted at a time; others wait."""


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        status: of HTTP.
        message: what to do about it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Limits:
    """What a request may hold.

    max_bytes, max_rows: at most
    token: what requests must carry as "Authorization: Bearer TOKEN"; None for nothing
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


def application(service: Service, limits: Limits) -> Starlette:
    """The service as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    def refused(error: RequestError) -> Response:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return JSONResponse({"error": error.message}, error.status, headers)

    def check(request: Request) -> None:
        if limits.token is None:
            return
        given = request.headers.get("authorization", "")
        expected = f"Bearer {limits.token}"
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise RequestError(401, "a request needs Authorization: Bearer TOKEN.")

    async def body_of(request: Request) -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limits.max_bytes:
                raise RequestError(
                    413,
                    f"a request may have at most {limits.max_bytes:,} bytes. "
                    "Try several requests.",
                )
        return bytes(body)

    def answer(body: bytes, kind: str, coverage: float, csv: bool) -> Response:
        from starlette.responses import PlainTextResponse

        answers = service.predict(service.read(body, kind, limits), coverage)
        if csv:
            return PlainTextResponse(_as_csv(answers), media_type="text/csv")
        return JSONResponse({"predictions": answers})

    async def predict(request: Request) -> Response:
        from kurve.estimators.notes import listener

        try:
            check(request)
            coverage = _coverage(request.query_params.get("coverage", "0.9"))
            kind = request.headers.get("content-type", "").partition(";")[0].strip()
            csv = "text/csv" in request.headers.get("accept", "")
            body = await body_of(request)
            token = listener.set(lambda note: None)
            try:
                return await run_in_threadpool(answer, body, kind, coverage, csv)
            finally:
                listener.reset(token)
        except RequestError as error:
            return refused(error)
        except (TableError, ValueError, TypeError) as error:
            return refused(RequestError(422, str(error)))

    async def described(request: Request) -> Response:
        try:
            check(request)
        except RequestError as error:
            return refused(error)
        return JSONResponse(service.description())

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def schema(request: Request) -> Response:
        return JSONResponse(openapi(service, limits))

    async def page(request: Request) -> Response:
        return HTMLResponse(_page(service, limits))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/docs", page),
            Route("/health", health),
            Route("/model", described),
            Route("/openapi.json", schema),
            Route("/predict", predict, methods=["POST"]),
        ]
    )


def _coverage(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise RequestError(
            422, f"coverage must be between 0 and 1. Received: {text!r}."
        )
    return value


def _as_csv(answers: list[dict[str, Any]]) -> str:
    """Predictions as CSV; nested values have joined names."""
    import csv

    def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in row.items():
            if isinstance(value, dict):
                found |= flat(value, f"{prefix}{name}_")
            else:
                text = str(value).lower() if isinstance(value, bool) else value
                found[prefix + name] = text
        return found

    rows = [flat(row) for row in answers]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def openapi(service: Service, limits: Limits) -> dict[str, Any]:
    """The description of the service in OpenAPI 3.1."""
    from kurve import __version__

    types = {"number": ["number", "null"]}
    row = {
        "type": "object",
        "properties": {
            name: {"type": types.get(kind, ["string", "number", "boolean", "null"])}
            for name, kind in service.features.items()
        },
        "required": list(service.features),
    }
    rows = {"type": "array", "items": row, "maxItems": limits.max_rows}
    answers = {"type": "array", "items": {"type": "object"}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": __version__},
        "paths": {
            "/predict": {
                "post": {
                    "summary": "Predict rows",
                    "parameters": [
                        {
                            "name": "coverage",
                            "in": "query",
                            "schema": {"type": "number", "default": 0.9},
                        }
                    ],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": {"anyOf": [row, rows]}},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "Predictions with intervals",
                            "content": {
                                "application/json": {
                                    "schema": {
                                        "type": "object",
                                        "properties": {"predictions": answers},
                                    }
                                },
                                "text/csv": {"schema": {"type": "string"}},
                            },
                        },
                        "413": {"description": "Too many bytes or rows"},
                        "422": {"description": "Rows that the model cannot read"},
                    },
                }
            },
            "/model": {
                "get": {
                    "summary": "The model's columns",
                    "responses": {"200": {"description": "A description"}},
                }
            },
        },
    }
    if limits.token is not None:
        scheme = {"type": "http", "scheme": "bearer"}
        found["components"] = {"securitySchemes": {"token": scheme}}
        found["security"] = [{"token": []}]
    return found


def _page(service: Service, limits: Limits) -> str:
    """What the service does, for people, without scripts."""
    import html

    example = dict.fromkeys(service.features)
    header = " -H 'Authorization: Bearer TOKEN'" if limits.token else ""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{kind}</td></tr>"
        for name, kind in service.features.items()
    )
    curl = (
        f"curl{header} -H 'Content-Type: application/json' "
        f"-d '{json.dumps(example)}' http://HOST:PORT/predict"
    )
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(service.name)}</title>"
        "<style>body{font:1rem/1.5 system-ui;margin:2rem auto;max-width:44rem;"
        "padding:0 1rem;color-scheme:light dark}pre{white-space:pre-wrap;"
        "overflow-wrap:anywhere}td{padding-right:2rem}</style>"
        f"<h1>{html.escape(service.name)}</h1>"
        "<p>POST rows to <code>/predict</code>, as JSON or CSV; answers are JSON, or "
        "CSV with <code>Accept: text/csv</code>. "
        '<a href="/openapi.json">OpenAPI</a></p>'
        f"<pre>{html.escape(curl)}</pre>"
        f"<p>At most {limits.max_rows:,} rows and {limits.max_bytes:,} bytes a "
        f"request.</p><table><tr><th>column</th><th>kind</th></tr>{rows}</table>"
    )


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


def require_packages() -> None:
    """Raise ImportError, saying what to install, if Starlette or Uvicorn is missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "[serve] the service needs Starlette and Uvicorn, which are not installed. "
            f'Received: {error}. Try pip install "kurve[serve]".'
        ) from None
