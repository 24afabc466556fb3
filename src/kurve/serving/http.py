"""The service as an application of Starlette."""

from __future__ import annotations

import hmac
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve.errors import TableError
from kurve.serving.description import openapi
from kurve.serving.description import page as page_of
from kurve.serving.service import Limits, RequestError, Service

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


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
        return HTMLResponse(page_of(service, limits))

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
