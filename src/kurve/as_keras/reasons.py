"""Why a name of Keras or TensorFlow is missing, and what to use instead."""

from __future__ import annotations

from types import ModuleType

from kurve.as_keras import paths
from kurve.errors import unknown_name

_SESSIONS = (
    "sessions and placeholders of TensorFlow 1 build a graph by hand that a session "
    "runs; Kurve has no such graph",
    "keras.Model and model.fit, or tf.GradientTape",
)
_MACHINES = (
    "Kurve computes on one machine's processor",
    "the program without it",
)
_TEXT = ("engines compute with numbers", "Python's str, or layers.StringLookup")
_FILES = (
    "reading pictures and records is another library's work",
    "Pillow and NumPy, and tf.data.Dataset.from_tensor_slices",
)
_SAVED = (
    "a SavedModel holds TensorFlow's code",
    "model.save('model.keras') or model.export('model.onnx', format='onnx')",
)
_DOWNLOADS = ("Kurve downloads nothing", "a file of your own")

REASONS: dict[str, tuple[str, str]] = {
    **{
        f"tensorflow.{name}": _SESSIONS
        for name in (
            "Session",
            "InteractiveSession",
            "placeholder",
            "get_default_graph",
            "global_variables_initializer",
            "initialize_all_variables",
            "Graph",
            "local_variables_initializer",
            "variables_initializer",
            "get_variable",
            "reset_default_graph",
            "get_collection",
            "GraphKeys",
            "variable_scope",
            "ConfigProto",
            "GPUOptions",
            "get_default_session",
            "layers",
            "assign",
            "gradients",
            "placeholder_with_default",
            "trainable_variables",
            "global_variables",
            "contrib",
            "FIFOQueue",
        )
    },
    "keras.backend.get_session": _SESSIONS,
    "keras.backend.set_session": _SESSIONS,
    "keras.backend.tensorflow_backend": _SESSIONS,
    "tensorflow.distribute": _MACHINES,
    "keras.backend.placeholder": _SESSIONS,
    "tensorflow.train": (
        "its optimizers belong to sessions, and records are another library's work",
        "keras.optimizers, tf.train.Checkpoint or model.save_weights",
    ),
    "tensorflow.tpu": _MACHINES,
    "keras.distribution": _MACHINES,
    "tensorflow.strings": _TEXT,
    "tensorflow.string": _TEXT,
    "tensorflow.RaggedTensor": (
        "tensors have one length along each axis",
        "keras.utils.pad_sequences and a Masking layer",
    ),
    "tensorflow.ragged": (
        "tensors have one length along each axis",
        "keras.utils.pad_sequences and a Masking layer",
    ),
    "tensorflow.sparse": ("tensors are dense", "scipy.sparse and .toarray()"),
    "tensorflow.SparseTensor": ("tensors are dense", "scipy.sparse and .toarray()"),
    "tensorflow.io": _FILES,
    "tensorflow.image.decode_jpeg": _FILES,
    "tensorflow.image.decode_png": _FILES,
    "tensorflow.image.decode_image": _FILES,
    "tensorflow.data.TFRecordDataset": _FILES,
    "tensorflow.data.TextLineDataset": _FILES,
    "tensorflow.python_io": _FILES,
    "tensorflow.gfile": _FILES,
    "tensorflow.saved_model": _SAVED,
    "tensorflow.lite": _SAVED,
    "tensorflow.estimator": (
        "TensorFlow itself has removed estimators",
        "a keras.Model and model.fit",
    ),
    "tensorflow.feature_column": (
        "TensorFlow itself advises against them",
        "layers.CategoryEncoding, layers.Normalization, layers.Discretization",
    ),
    "tensorflow.examples": _DOWNLOADS,
    "keras.preprocessing.image": _FILES,
    "keras.preprocessing.text": _TEXT,
    **{
        f"keras.utils.{name}": _FILES
        for name in (
            "array_to_img",
            "audio_dataset_from_directory",
            "img_to_array",
            "image_dataset_from_directory",
            "load_img",
            "save_img",
        )
    },
    "keras.utils.get_file": _DOWNLOADS,
    "keras.utils.text_dataset_from_directory": _TEXT,
    "keras.wrappers": (
        "Kurve's own estimators are scikit-learn's",
        "kurve.Regressor and kurve.Classifier",
    ),
}
"""By normalized path, including everything inside it: why, and what to try."""


def reason(path: str) -> tuple[str, str] | None:
    """Why a path is missing, and what to try; None if unknown."""
    path = paths.plain(path)
    while path:
        if path in REASONS:
            return REASONS[path]
        path = path.rpartition(".")[0]
    return None


def why(
    path: str, package: ModuleType | None, said: AttributeError | None = None
) -> AttributeError:
    """The error for a missing path.

    Args:
        package: the module without the name, if the module exists.
        said: the Kurve module's own message.
    """
    where, _, name = path.rpartition(".")
    known = reason(path)
    if known is not None:
        because, instead = known
        return AttributeError(
            f"[{where}] Kurve has no {shown(path)}, because {because}. "
            f"Received: {name!r}. Try {instead}."
        )
    if said is not None:
        return said
    there = [] if package is None else [n for n in dir(package) if n != name]
    near = [n for n in there if n[:1].isupper() == name[:1].isupper()]
    error = unknown_name(where, "name", name, near)
    text, hint, rest = str(error).partition("Did you mean ")
    if hint:
        rest = rest.partition("?")[0] + "?"
        return AttributeError(f"{text}{hint}{rest}")
    first = text.partition("Try one of: ")[0].partition("There is no ")[0]
    return AttributeError(f"{first}Try kurve check to list what else is missing.")


def shown(path: str) -> str:
    """A path as written in programs: tf.keras.layers."""
    root, _, rest = path.partition(".")
    return f"tf.{rest}" if root == "tensorflow" and rest else path
