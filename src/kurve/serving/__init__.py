"""An HTTP service for a model file: `kurve serve model.kurve`.

    GET  /           a description of the model as a page
    GET  /health     {"status": "ok"}
    GET  /model      the columns that it reads and the values that it predicts
    POST /predict    rows as JSON or CSV; predictions with intervals
    GET  /openapi.json, /docs

Built on Starlette and Uvicorn: pip install "kurve[serve]". Only loopback addresses are
served without a token. Requests larger than a limit, in bytes or rows, are refused.
"""

from __future__ import annotations

import ipaddress
import secrets

from kurve.serving.http import application as application
from kurve.serving.service import MAX_BYTES as MAX_BYTES
from kurve.serving.service import MAX_ROWS as MAX_ROWS
from kurve.serving.service import Limits as Limits
from kurve.serving.service import RequestError as RequestError
from kurve.serving.service import Service as Service


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
