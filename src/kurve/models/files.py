"""Models from files and from other libraries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve.core.entries import entry
from kurve.errors import MissingFileError, path_name

if TYPE_CHECKING:
    from kurve.models.model import Model
    from kurve.models.sequential import Sequential

KERAS_ENDINGS = (".keras", ".h5", ".hdf5")
"""Extensions of Keras files."""


@entry
def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, type] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Sequential:
    """Load a model saved by `Sequential.save` or by Keras (.keras or .h5).

    Args:
        custom_objects: custom classes by name, of layers, losses, metrics, optimizers,
            schedules, initializers or regularizers: {"MyLayer": MyLayer}. For Keras
            files, functions are accepted too: losses, metrics and activations; layers
            and optimizers are always Kurve's.
        compile: whether to compile the model as it was saved; a Keras file can name a
            loss that Kurve lacks.
        safe_mode: True or False; files are never executed either way.

    Raises:
        MissingFileError: the file does not exist.
        ModelFileError: the file is damaged or not a model file, contains an unknown
            class, or something that Kurve lacks.
        filepath: ends in .kurve, .keras or .h5.

    Example:
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> model.save("line.kurve")
        >>> kurve.models.load_model("line.kurve").output_shape
        (None, 1)
    """
    filepath = path_name("load_model", "filepath", filepath, "model.kurve")
    try:
        return _read(filepath, custom_objects, compile)
    except FileNotFoundError as error:
        raise MissingFileError(error.errno, error.strerror, error.filename) from None


def _read(
    filepath: str, custom_objects: Mapping[str, type] | None, compile: bool
) -> Sequential:
    if filepath.endswith(KERAS_ENDINGS):
        from kurve.core import registry
        from kurve.exchange import keras_files

        with registry.custom_objects(custom_objects):
            return keras_files.load_model(filepath, compile)
    from kurve.models import saving

    return saving.load_model(filepath, custom_objects, compile)


@entry
def save_model(
    model: Model, filepath: str | os.PathLike[str], overwrite: bool = True
) -> None:
    """`model.save(filepath)`.

    Args:
        model: a functional model or a Sequential.
        filepath, overwrite: see `save`.

    Raises:
        ValueError, FileExistsError: as `save`.

    Example:
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> kurve.models.save_model(model, "line.kurve")
        >>> kurve.models.load_model("line.kurve").output_shape
        (None, 1)
    """
    model.save(filepath, overwrite)


@entry
def model_from_json(
    json_string: str, custom_objects: Mapping[str, type] | None = None
) -> Model:
    """Create a model from `to_json()`, Kurve's or Keras's, with initial weights.

    Args:
        json_string: the JSON text.
        custom_objects: custom classes by name, as for `load_model`.

    Raises:
        TypeError: not a string.
        ValueError: not the configuration of a model, or an unknown class.

    Example:
        >>> x = kurve.Input((3,))
        >>> model = kurve.Model(x, kurve.layers.Dense(1)(x))
        >>> kurve.models.model_from_json(model.to_json()).output_shape
        (None, 1)
    """
    from kurve.core import registry
    from kurve.core.container import safe_json
    from kurve.core.container.errors import ModelFileError
    from kurve.models import config_reader

    if not isinstance(json_string, str):
        raise TypeError(
            "[model_from_json] json_string must be a string. "
            f"Received: {json_string!r}. Try model.to_json()."
        )
    try:
        value = safe_json.parse(json_string.encode("ascii", "backslashreplace"))
        if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
            raise ValueError("it has no class name and configuration")
        if "module" in value:
            from kurve.exchange.keras_graphs import model_of

            return config_reader.built(model_of(value)[0])
        with registry.custom_objects(custom_objects):
            return config_reader.built(config_reader.model_from(value["config"]))
    except (LookupError, TypeError, ValueError) as error:
        reason = str(error)
        if isinstance(error, ModelFileError):
            reason = f"{error.field}: {error.reason}"
        raise ValueError(
            "[model_from_json] json_string must be the configuration of a model. "
            f"Received: {_short(json_string)}, but {reason.rstrip('.')}. "
            "Try model.to_json()."
        ) from error


def _short(text: str) -> str:
    """The text, shortened if it is long."""
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}... ({len(text)} signs)"


@entry
def from_sklearn(estimator: Any) -> Sequential:
    """Convert a fitted scikit-learn network to a model with the same predictions,
    compiled to continue its training.

        model = from_sklearn(MLPRegressor().fit(X, y))
        model.predict(X)

    Classes become numbers: output i of a softmax is the probability of
    `estimator.classes_[i]`, the single output of a binary classifier that of
    `classes_[1]`. `fit` takes numpy.searchsorted(estimator.classes_, labels).

    The loss, the hyperparameters of the solver and alpha (as an L2 penalty for batches
    of the same size) are kept; the state of the solver is not, and a changing learning
    rate of "sgd" starts from its initial value and stays constant. After the solver
    "lbfgs" the model is not compiled.

    Args:
        estimator: a fitted MLPRegressor or MLPClassifier, or a pipeline of a
            StandardScaler, which becomes a `Normalization` layer, and one of these.

    Raises:
        TypeError: another estimator.
        ValueError: it is not fitted, or has an activation that Kurve lacks.

    Example:
        >>> from sklearn.neural_network import MLPRegressor
        >>> x = np.linspace(-1.0, 1.0, 20)[:, None]
        >>> network = MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, tol=1.0)
        >>> model = kurve.models.from_sklearn(network.fit(x, x[:, 0]))
        >>> model.output_shape
        (None, 1)
    """
    from kurve.exchange import sklearn_networks

    return sklearn_networks.from_sklearn(estimator)


def format_of(where: str, filepath: str | os.PathLike[str]) -> Any:
    """The module that reads and writes files with this extension."""
    from kurve.models import saving

    example = "model.kurve" if where == "save" else "model.weights.kurve"
    if not path_name(where, "filepath", filepath, example).endswith(KERAS_ENDINGS):
        return saving
    from kurve.exchange import keras_files

    return keras_files
