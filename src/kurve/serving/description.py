"""The description of the service: in OpenAPI for programs, and as a web page."""

from __future__ import annotations

import json
from typing import Any

from kurve.serving.service import Limits, Service


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


def page(service: Service, limits: Limits) -> str:
    """The description of the service as a web page, without scripts."""
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
