"""What other parts of the package do with a model, as methods of the model: files,
exports, diagnosis and summaries. Each imports its room when it is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from kurve.core.arguments import check_flag
from kurve.core.entries import entries
from kurve.core.locks import check_readable, check_still_readable, modifies, reads
from kurve.models.files import format_of
from kurve.training import Trainer

if TYPE_CHECKING:
    from kurve.diagnosis.report import Diagnosis
    from kurve.models.sequential import Sequential


@entries
class Facade(Trainer):
    """The base class of `Sequential` that holds these methods."""

    def __getattr__(self, name: str) -> Any:
        from kurve.legacy.names import of_object

        return of_object(self, name)

    def diagnose(
        self, x: Any, y: Any, validation_data: Sequence[Any] | None = None
    ) -> Diagnosis:
        """Find problems of the fit: `print(model.diagnose(x, y))`.

        See `kurve.diagnosis.diagnose`. Changes nothing.

        Args:
            x, y: the data of `fit`.
            validation_data: (x, y) that the model was not trained with.
        """
        from kurve.diagnosis import diagnose

        return diagnose(cast("Sequential", self), x, y, validation_data)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print a table of the layers, their output shapes and numbers of weights, and
        of a graph also what each is connected to.

        Args:
            line_length: characters in a line; None is as many as the table needs.
            positions: where the columns end, as parts of the line.
            print_fn: called with the text instead of `print`.
            expand_nested: whether to show the layers of models inside.
            show_trainable: whether to show which layers training changes.
            layer_range: names, or regular expressions, of the first and the last layer.
        """
        from kurve.models.summary import Options, summary_text

        options = Options(
            check_flag("summary", "expand_nested", expand_nested),
            check_flag("summary", "show_trainable", show_trainable),
            layer_range,
        )
        text = summary_text(self, line_length, None, positions, options)
        (print_fn or print)(text)

    def _repr_html_(self) -> str:
        from kurve.models.summary import summary_html

        return summary_html(self)

    @reads
    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write configuration, weights and optimizer to a file ending in .kurve, or in
        .keras or .h5 for Keras.

        Args:
            filepath: of the file.
            overwrite: whether a file of that name may be replaced.

        Raises:
            ValueError: another ending; or a part of the model that Keras does not have.
            FileExistsError: overwrite=False, and there is one.
        """
        _check_new("save", filepath, overwrite)
        if not str(filepath).endswith((".kurve", ".keras", ".h5", ".hdf5")):
            from kurve.legacy import files

            if files.write("save", self.save, filepath):
                return
        format_of("save", filepath).save_model(self, filepath)

    def export(
        self, filepath: str | os.PathLike[str], format: str | None = None
    ) -> None:
        """Write the model for programs without Kurve: an ONNX model or a C file. See
        `kurve.exchange.export.export`.

        Args:
            filepath: ends in .onnx or .c.
            format: "onnx" or "c", if the ending does not say so.

        Raises:
            RuntimeError: the model is not built.
            ValueError: another ending, or an operation that the format does not have.
            ImportError: onnx is not installed.
        """
        from kurve.exchange.export import export

        lock = check_readable(self, "export")
        export(self, filepath, format)
        check_still_readable(self, "export", lock)

    @reads
    def save_weights(
        self, filepath: str | os.PathLike[str], overwrite: bool = True
    ) -> None:
        """Write the weights to a file ending in .weights.kurve, or in .weights.h5 for
        Keras.

        Args:
            filepath, overwrite: see `save`.

        Raises:
            ValueError, FileExistsError: as `save`.
        """
        _check_new("save_weights", filepath, overwrite)
        if not str(filepath).endswith((".weights.kurve", ".weights.h5")):
            from kurve.legacy import files

            if files.write("save_weights", self.save_weights, filepath):
                return
        format_of("save_weights", filepath).save_weights(self, filepath)

    @modifies
    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read the weights from a file that `save_weights` or `save` wrote, or Keras.

        Args:
            filepath: of the file.

        Raises:
            ModelFileError: the file is damaged or does not fit; the weights are
                unchanged.
        """
        format_of("load_weights", filepath).load_weights(self, filepath)


def _check_new(where: str, filepath: str | os.PathLike[str], overwrite: bool) -> None:
    """Refuse to replace a file against the user's will."""
    if not check_flag(where, "overwrite", overwrite) and os.path.exists(filepath):
        raise FileExistsError(
            f"[{where}] there is a file of that name. "
            f"Received: {os.fspath(filepath)!r}, overwrite=False. Try overwrite=True."
        )
