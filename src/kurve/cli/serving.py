"""`kurve serve`: predictions of a model file over HTTP."""

from __future__ import annotations

import os
from typing import Any

import click

from kurve import serving
from kurve.cli import console
from kurve.estimators import load


def serve(model: str, options: dict[str, Any]) -> None:
    """Serve until Ctrl-C, after which running requests are answered.

    Args:
        model: path of the file.
        options: options of the command.
    """
    serving.require_packages()
    import uvicorn

    host, token = options["host"], options["token"]
    if not serving.is_loopback(host) and token is None:
        raise click.UsageError(
            f"--host {host} can be reached from other machines: a token is required. "
            f"Try --token {serving.new_token()}, or KURVE_TOKEN in the environment."
        )
    if token is not None and len(token) < 16:
        raise click.UsageError(
            "--token must have at least 16 characters. "
            f"Try --token {serving.new_token()}."
        )
    service = serving.Service(load(model), os.path.basename(model))
    limits = serving.Limits(options["max_bytes"], options["max_rows"], token)
    application = serving.application(service, limits)
    name = f"[{host}]" if ":" in host else host
    console.say(f"{model}: http://{name}:{options['port']}/  (Ctrl-C to stop)")
    console.flush()
    config = uvicorn.Config(
        application,
        host=host,
        port=options["port"],
        log_level="warning",
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except KeyboardInterrupt:  # raised again by uvicorn after it has shut down
        return
    except SystemExit:
        raise click.UsageError(
            f"the port must be free. Received: --port {options['port']}. "
            f"Try --port {options['port'] + 1}."
        ) from None
