"""Shared by several commands: options, their validation, and opening tables."""

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
    """Column names separated by commas; names that contain a comma are quoted."""
    if value is None:
        return None
    parts = [name.strip() for name in next(csv.reader([value]), [])]
    if not parts or "" in parts:
        raise click.BadParameter(f"{value!r} contains an empty name. Try a,b,c.")
    return parts


def widths(context: Any, option: Any, value: str | None) -> tuple[int, ...] | None:
    """Hidden layer widths separated by commas: 64,64."""
    if value is None:
        return None
    try:
        parts = tuple(int(part) for part in value.split(","))
    except ValueError:
        parts = (0,)
    if min(parts) < 1:
        raise click.BadParameter(f"{value!r} is not a list of widths. Try 64,64.")
    return parts


def fraction(context: Any, option: Any, value: float | None) -> float | None:
    """A number between 0 and 1, both excluded."""
    if value is not None and not 0.0 < value < 1.0:
        raise click.BadParameter(f"{value!r} is not between 0 and 1. Try 0.9.")
    return value


def held_out(context: Any, option: Any, value: str) -> tuple[float, bool]:
    """The fraction of rows to hold out, and whether they are the last ones."""
    word, _, number = value.partition(":")
    last = word.strip().lower() == "last"
    try:
        share = float(number or 0.1) if last else float(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a fraction nor 'last'. Try 0.1, last or last:0.2."
        ) from None
    if not 0.0 <= share < 1.0:
        raise click.UsageError(
            f"--holdout must be at least 0 and below 1. Received: {share}."
        )
    return share, last


coverage = click.option(
    "--coverage",
    type=float,
    callback=fraction,
    default=0.9,
    show_default=True,
    help="Coverage of the prediction intervals to test.",
)


def reads_table(command: F) -> F:
    """Add the options of a command that reads a table."""
    for option in (
        click.option(
            "--missing-value",
            "missing_values",
            multiple=True,
            help="Text of cells without a value, besides NA, null and the like.",
        ),
        click.option(
            "--no-header",
            is_flag=True,
            help="The first line holds data; the columns are x1, x2, ...",
        ),
        click.option(
            "--encoding",
            default="utf-8",
            show_default=True,
            help="Encoding of the text.",
        ),
        click.option(
            "--decimal",
            type=click.Choice([".", ","]),
            help="Decimal mark; by default detected in the first rows.",
        ),
        click.option(
            "--comment",
            default="#",
            show_default=True,
            help="Start of comment lines above the header; '' for none.",
        ),
        click.option(
            "--delimiter",
            "--sep",
            help="Column separator; ' ' for any number of spaces; by default detected "
            "in the header.",
        ),
        click.option(
            "--format",
            "format_",
            type=click.Choice(["csv", "tsv", "parquet", "feather", "excel", "jsonl"]),
            help="Format of DATA; by default from the ending of its name.",
        ),
    ):
        command = option(command)
    return command


def open_data(data: str, options: dict[str, Any]) -> TableFile:
    """The table to read, according to a command's options."""
    from kurve import tables

    delimiter = options["delimiter"]
    if delimiter is not None:
        delimiter = delimiter.replace("\\t", "\t")
        if len(delimiter) != 1:
            raise click.UsageError(
                f"--delimiter must be one character. Received: {delimiter!r}."
            )
    format = options["format_"]
    if data == tables.STANDARD_INPUT and format is None:
        raise click.UsageError("standard input needs --format. Try --format csv.")
    return tables.open_table(
        data,
        format=format,
        delimiter=delimiter,
        decimal=options["decimal"],
        encoding=options["encoding"],
        header=not options["no_header"],
        missing_values=options["missing_values"],
        comment=options["comment"] or None,
    )


def check_output(
    path: str | None, endings: tuple[str, ...], option: str, *inputs: str
) -> None:
    """Reject an output file that cannot be written before doing any work.

    Args:
        inputs: input files of the command, which it must not overwrite.
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
            f"{option} must be in an existing folder. Received: {path!r}. "
            f"Try mkdir -p {folder!r}."
        )
    if os.path.isdir(path):
        raise click.UsageError(f"{option} must be a file. {path!r} is a folder.")
    for source in inputs:
        with suppress(OSError):
            if os.path.samefile(path, source):
                raise click.UsageError(
                    f"{option} must not be a file that is read. "
                    f"Received: {path!r}, which is {source!r}. Try another name."
                )
    from kurve.core.files import check_replaceable

    try:
        check_replaceable(path)
    except OSError as error:
        raise click.UsageError(
            f"{option} must be writable. Received: {path!r} "
            f"({error.strerror}). Try another folder or name."
        ) from None
