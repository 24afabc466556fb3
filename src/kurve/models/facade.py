"""Model methods provided by other packages: saving, export, diagnosis and summaries.
Each imports its package when called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from kurve.core.arguments import check_flag
from kurve.core.entries import entries
from kurve.core.locks import check_readable, check_still_readable, modifies, reads
from kurve.training import Trainer

if TYPE_CHECKING:
    from kurve.diagnosis.report import Diagnosis
    from kurve.models.sequential import Sequential


@entries
class Facade(Trainer):
    """The base class of `Sequential` that provides these methods."""

    def __getattr__(self, name: str) -> Any:
        from kurve.legacy.names import of_object

        return of_object(self, name)

    def diagnose(
        self, x: Any, y: Any, validation_data: Sequence[Any] | None = None
    ) -> Diagnosis:
        """Find problems with the fit: `print(model.diagnose(x, y))`.

        See `kurve.diagnosis.diagnose`. Has no side effects.

        Args:
            x, y: the data of `fit`.
            validation_data: (x, y) that the model was not trained on.
        """
        from kurve.diagnosis import diagnose

        return diagnose(cast("Sequential", self), x, y, validation_data)

    @reads
    def gradient(self, x: Any) -> Any:
        """Derivatives of the outputs with respect to the inputs at the rows of x, in
        inference mode. The reference engine computes them in float64.

        Args:
            x: as for `predict`.

        Returns:
            float32 (n, *output_shape, *input_shape), without the output axes for one
            output per sample: a model that ends with Dense(1) gives (n, columns) for
            (n, columns). For several inputs, in their structure; for several outputs,
            one such result per output, in the structure of the outputs.

        Raises:
            RuntimeError: the model is not built.
            TypeError, ValueError: invalid input.

        Example:
            >>> model = kurve.Sequential([kurve.Input((2,)), kurve.layers.Dense(1)])
            >>> model.set_weights([[[3.0], [4.0]], [0.0]])
            >>> model.gradient(np.zeros((1, 2)))
            array([[3., 4.]], dtype=float32)
        """
        from kurve.models.slopes import by_inputs, packed
        from kurve.training.inputs import check_inputs

        network = self._network
        network.require_built("gradient")
        arrays = check_inputs("gradient", network, x)
        inputs = arrays if isinstance(arrays, tuple) else (arrays,)
        found = []
        for of_output in by_inputs(network, inputs):
            several = [
                dx.reshape(given.shape if dx.size == given.size else dx.shape)
                for dx, given in zip(of_output, inputs, strict=True)
            ]
            found.append(packed(network.input_structure, several))
        return packed(network.output_structure, found)

    def integral(
        self, x: Any, column: int, low: Any, high: Any, pieces: int = 16
    ) -> Any:
        """The integral of the outputs along a column of x from low to high, with the
        other columns fixed per row: Gauss-Legendre quadrature with 8 nodes per piece.

        Args:
            x: (n, columns).
            column: its index, from 0.
            low, high: numbers, or one per row.
            pieces: number of equal pieces. A smooth network needs few; one with kinks
                (relu) has an error that falls with the square of their number.

        Returns:
            float64 (n, *output_shape).

        Raises:
            ValueError: several inputs or outputs, or an unknown column.

        Example:
            >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
            >>> model.set_weights([[[3.0]], [0.0]])
            >>> model.integral(np.zeros((1, 1)), 0, 0.0, 2.0).round(5)
            array([[6.]])
        """
        from kurve.models.slopes import column_number, integral
        from kurve.training.inputs import check_inputs

        network = self._network
        network.require_one_output("integral")
        network.require_built("integral")
        rows = check_inputs("integral", network, x)
        if rows.ndim != 2:
            raise ValueError(
                "[integral] x must be (n, columns). "
                f"Received: shape {rows.shape}. Try a model of tabular data."
            )
        number = column_number("integral", column, None, rows.shape[1])

        def predict(z: Any) -> Any:
            return self.predict(z.astype("float32"), verbose=0)

        return integral("integral", predict, rows, number, low, high, pieces)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print a table of the layers with their output shapes and numbers of weights
        and, for a graph, their connections.

        Args:
            line_length: characters per line; None for as many as needed.
            positions: where the columns end, as fractions of the line.
            print_fn: called with the text instead of `print`.
            expand_nested: whether to show the layers of nested models.
            show_trainable: whether to show which layers are trainable.
            layer_range: names, or regular expressions, of the first and last layer.
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
            filepath: path of the file.
            overwrite: whether to replace an existing file.

        Raises:
            ValueError: unknown extension, or a part of the model that Keras lacks.
            FileExistsError: overwrite=False and the file exists.
        """
        _check_new("save", filepath, overwrite)
        if not str(filepath).endswith((".kurve", ".keras", ".h5", ".hdf5")):
            from kurve.legacy import files

            if files.write("save", self.save, filepath):
                return
        _format_of("save", filepath).save_model(self, filepath)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile` as a .keras file holds them. A class whose
        `compile` has other arguments can have its own; `kurve.saving` makes plain data
        of the result."""
        from kurve.exchange.keras_training import compile_entry

        model: Any = self
        return compile_entry(model) or {}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile the model with what a file holds of `get_compile_config`.

        Args:
            config: plain data.

        Raises:
            ValueError, TypeError: something Kurve does not have.
        """
        from kurve.exchange.keras_compiling import compile_from

        compile_from(self, config)

    def export(
        self, filepath: str | os.PathLike[str], format: str | None = None
    ) -> None:
        """Export the model for use without Python: to ONNX, to C, or as a plan for
        the C library. See `kurve.exchange.export.export`.

        Args:
            filepath: ends in .onnx, .c or .plan.kurve.
            format: "onnx", "c" or "plan", if the extension does not tell.

        Raises:
            RuntimeError: the model is not built.
            ValueError: unknown extension, or an operation that the format lacks.
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
        _format_of("save_weights", filepath).save_weights(self, filepath)

    @modifies
    def load_weights(
        self, filepath: str | os.PathLike[str], skip_mismatch: bool = False
    ) -> None:
        """Read the weights from a file that `save_weights` or `save` wrote, or Keras.

        Args:
            filepath: path of the file.
            skip_mismatch: whether layers keep their weights if those of the file have
                other shapes, with a warning, such as a last layer for other classes.

        Raises:
            ModelFileError: the file is damaged or does not fit; the weights are
                unchanged.
        """
        skip = check_flag("load_weights", "skip_mismatch", skip_mismatch)
        _format_of("load_weights", filepath).load_weights(self, filepath, skip)


def _check_new(where: str, filepath: str | os.PathLike[str], overwrite: bool) -> None:
    """Refuse to replace a folder, or a file without overwrite=True."""
    if isinstance(filepath, (str, os.PathLike)) and os.path.isdir(filepath):
        path = os.fspath(filepath)
        ending = ".kurve" if where == "save" else ".weights.kurve"
        raise IsADirectoryError(
            f"[{where}] the path is a folder, not a file. Received: {path!r}. "
            f"Try {os.path.join(path, 'model' + ending)!r}."
        )
    if not check_flag(where, "overwrite", overwrite) and os.path.exists(filepath):
        raise FileExistsError(
            f"[{where}] the file exists already. "
            f"Received: {os.fspath(filepath)!r}, overwrite=False. Try overwrite=True."
        )


def _format_of(where: str, filepath: str | os.PathLike[str]) -> Any:
    """The module that reads and writes files with this extension."""
    from kurve.models.files import format_of

    return format_of(where, filepath)
