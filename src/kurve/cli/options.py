"""What several commands have in common: options, names in a list, reading."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kurve.tables import TableFile

F = TypeVar("F", bound=Callable[..., Any])


def names(context: Any, option: Any, value: str | None) -> list[str] | None:
    """Names of columns, separated by commas; quotes around a name that has one."""
    if value is None:
        return None
    found = [name.strip() for name in next(csv.reader([value]), [])]
    if not found or "" in found:
        raise click.BadParameter(f"{value!r} holds an empty name. Try a,b,c.")
    return found


def widths(context: Any, option: Any, value: str | None) -> tuple[int, ...] | None:
    """Widths of hidden layers, separated by commas: 64,64."""
    if value is None:
        return None
    try:
        found = tuple(int(part) for part in value.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise click.BadParameter(f"{value!r} is no list of widths. Try 64,64.")
    return found


def share(context: Any, option: Any, value: float | None) -> float | None:
    """A number above 0 and below 1."""
    if value is not None and not 0.0 < value < 1.0:
        raise click.BadParameter(f"{value!r} is not between 0 and 1. Try 0.9.")
    return value


tested_coverage = click.option(
    "--coverage",
    type=float,
    callback=share,
    default=0.9,
    show_default=True,
    help="Of the intervals that are tested.",
)


def reading(command: F) -> F:
    """The options of a command that reads a table."""
    for option in (
        click.option("--missing-value", "missing_values", multiple=True,
                     help="Cell that means no value, besides NA and the like."),
        click.option("--no-header", is_flag=True,
                     help="The first line holds data; columns are x1, x2, ..."),
        click.option("--encoding", default="utf-8", show_default=True,
                     help="Encoding of the text."),
        click.option("--decimal", type=click.Choice([".", ","]), default=".",
                     show_default=True, help="Decimal mark."),
        click.option("--delimiter", help="Between columns; found by itself."),
        click.option("--format", "format_",
                     type=click.Choice(["csv", "tsv", "parquet", "feather"]),
                     help="Format of DATA; by its name."),
    ):  # fmt: skip
        command = option(command)
    return command


def open_data(data: str, given: dict[str, Any]) -> TableFile:
    """The table that a command reads; takes its options out of `given`."""
    from kurve import tables

    format = given.pop("format_")
    options = {
        "delimiter": given.pop("delimiter"),
        "decimal": given.pop("decimal"),
        "encoding": given.pop("encoding"),
        "header": not given.pop("no_header"),
        "missing_values": given.pop("missing_values"),
    }
    delimiter = options["delimiter"]
    if delimiter is not None:
        options["delimiter"] = delimiter = delimiter.replace("\\t", "\t")
        if len(delimiter) != 1:
            raise click.UsageError(
                f"--delimiter must be one character. Received: {delimiter!r}."
            )
    if data == tables.STANDARD_INPUT and format is None:
        raise click.UsageError("standard input needs --format. Try --format csv.")
    return tables.open_table(data, format=format, **options)


def check_output(
    path: str | None, endings: tuple[str, ...], option: str, *inputs: str
) -> None:
    """Refuse an output that could not be written, before any work is done.

    Args:
        inputs: files that the command reads, none of which it may replace.
    """
    if path is None:
        return
    if not path.lower().endswith(endings):
        raise click.UsageError(
            f"{option} must end in {' or '.join(endings)}. Received: {path!r}. "
            f"Try {os.path.splitext(path)[0] + endings[0]!r}."
        )
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise click.UsageError(
            f"{option} must lie in a folder that is there. Received: {path!r}. "
            f"Try mkdir -p {folder!r}."
        )
    if os.path.isdir(path):
        raise click.UsageError(f"{option} must be a file. {path!r} is a folder.")
    for given in inputs:
        with suppress(OSError):
            if os.path.samefile(path, given):
                raise click.UsageError(
                    f"{option} must be another file than those that are read. "
                    f"Received: {path!r}, which is {given!r}. Try another name."
                )
    from kurve.core.files import check_replaceable

    try:
        check_replaceable(path)
    except OSError as error:
        raise click.UsageError(
            f"{option} must be a file that can be written. Received: {path!r} "
            f"({error.strerror}). Try another folder or name."
        ) from None
