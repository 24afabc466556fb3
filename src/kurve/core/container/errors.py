"""The error raised for invalid files."""

from __future__ import annotations

MAX_TEXT = 400


class ModelFileError(ValueError):
    """A file is damaged, has another format, or does not fit the model.

    field: which part of the file is wrong: "header", "tensors.weights/dense/kernel",
        "model.layers[2].config", ...
    reason: what is wrong with it, without the file and field names
    """

    def __init__(self, message: str, field: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.field, self.reason = field, reason


def damaged(path: str, field: str, what: str) -> ModelFileError:
    """The error for an invalid file."""
    if len(what) > MAX_TEXT:
        what = f"{what[:MAX_TEXT]}..."
    if "Try custom_objects=" in what:  # nothing is wrong with the file
        text = f"[load] {path!r} needs custom code: {field}: {what.rstrip('.')}."
        return ModelFileError(text, field, what)
    return ModelFileError(
        f"[load] {path!r} is corrupt or not a Kurve file: {field}: {what}. "
        "Try an earlier copy.",
        field,
        what,
    )
