"""Old names of modules, their contents, and attributes.

`of_module` and `of_object` are called for unknown names.
"""

from __future__ import annotations

import importlib
from typing import Any

from kurve.legacy.saying import say

MODULES: dict[str, str] = {
    **dict.fromkeys(
        (
            "advanced_activations",
            "attention",
            "convolutional",
            "convolutional_recurrent",
            "core",
            "cudnn_recurrent",
            "embeddings",
            "experimental",
            "experimental.preprocessing",
            "local",
            "merging",
            "noise",
            "normalization",
            "normalization_v2",
            "pooling",
            "preprocessing",
            "recurrent",
            "recurrent_v2",
            "regularization",
            "reshaping",
            "rnn",
            "serialization",
            "wrappers",
            "activation",
            "dense_attention",
            "legacy",
        ),
        "layers",
    ),
}
MODULES = {f"layers.{old}": new for old, new in MODULES.items()} | {
    "activations.activations": "activations",
    "backend.common": "backend",
    "backend.tensorflow_backend": "backend",
    "callbacks.callbacks": "callbacks",
    "callbacks.experimental": "callbacks",
    "engine": "legacy.engine",
    "engine.base_layer": "legacy.engine",
    "engine.functional": "legacy.engine",
    "engine.input_layer": "legacy.engine",
    "engine.network": "legacy.engine",
    "engine.sequential": "legacy.engine",
    "engine.topology": "legacy.engine",
    "engine.training": "legacy.engine",
    "initializations": "legacy.initializations",
    "layers.merge": "legacy.merging",
    "legacy.layers": "layers",
    "losses_utils": "losses",
    "objectives": "losses",
    "optimizers.experimental": "optimizers",
    "optimizers.legacy": "optimizers",
    "optimizers.learning_rate_schedule": "optimizers.schedules",
    "optimizer_v2": "optimizers",
    "optimizers.optimizer_v2": "optimizers",
    "preprocessing.image_dataset": "utils",
    "preprocessing.timeseries": "utils",
    "saving.save": "models",
    "utils.conv_utils": "utils",
    "utils.data_utils": "utils",
    "utils.generic_utils": "utils",
    "utils.io_utils": "utils",
    "utils.layer_utils": "utils",
    "utils.np_utils": "utils",
    "utils.tf_utils": "utils",
    "utils.training_utils": "utils",
    "utils.vis_utils": "utils",
    "utils.visualize_util": "utils",
    "wrappers": "legacy.scikit_learn",
    "wrappers.scikit_learn": "legacy.scikit_learn",
}
"""Modules of `keras` removed in Keras 3, and the module of `kurve` that contains their
names, or tells where they are. Also used by importers of `keras.*`."""

FUNCTIONS = {
    short: f"losses:{name}"
    for shorts, name in {
        "bce BCE": "binary_crossentropy",
        "kld KLD kullback_leibler_divergence": "kl_divergence",
        "logcosh": "log_cosh",
        "mae MAE": "mean_absolute_error",
        "mape MAPE": "mean_absolute_percentage_error",
        "mse MSE": "mean_squared_error",
        "msle MSLE": "mean_squared_logarithmic_error",
    }.items()
    for short in shorts.split()
}
"""Functions by the short string names of losses and metrics."""

NAMES: dict[str, dict[str, str]] = {
    "layers": {
        "AtrousConv1D": "layers:Conv1D",
        "AtrousConv2D": "layers:Conv2D",
        "AtrousConvolution1D": "layers:Conv1D",
        "AtrousConvolution2D": "legacy.calls:AtrousConvolution2D",
        "CuDNNGRU": "layers:GRU",
        "CuDNNLSTM": "layers:LSTM",
        "Deconv2D": "layers:Conv2DTranspose",
        "Deconv3D": "layers:Conv3DTranspose",
        "Deconvolution2D": "legacy.calls:Deconvolution2D",
        "Deconvolution3D": "layers:Conv3DTranspose",
        "Merge": "legacy.calls:Merge",
        "ThresholdedReLU": "legacy.calls:ThresholdedReLU",
        "TimeDistributedDense": "legacy.calls:TimeDistributedDense",
        "merge": "legacy.calls:merge",
    },
    "losses": {
        **FUNCTIONS,
        "cosine": "losses:cosine_similarity",
        "cosine_proximity": "losses:cosine_similarity",
        "Reduction": "legacy.calls:Reduction",
    },
    "metrics": {
        **FUNCTIONS,
        "cosine": "losses:cosine_similarity",
        "cosine_proximity": "losses:cosine_similarity",
    },
    "initializers": {
        name: f"legacy.initializations:{name}"
        for name in ("normal", "one", "uniform", "zero")
    },
    "regularizers": {
        "WeightRegularizer": "regularizers:L1L2",
        "l1l2": "regularizers:L1L2",
    },
    "constraints": {
        "maxnorm": "constraints:MaxNorm",
        "nonneg": "constraints:NonNeg",
        "unitnorm": "constraints:UnitNorm",
    },
    "optimizers": {
        "adadelta": "optimizers:Adadelta",
        "adagrad": "optimizers:Adagrad",
        "adam": "optimizers:Adam",
        "adam_v2": "optimizers:",
        "adamax": "optimizers:Adamax",
        "gradient_descent_v2": "optimizers:",
        "nadam": "optimizers:Nadam",
        "rmsprop": "optimizers:RMSprop",
        "rmsprop_v2": "optimizers:",
        "sgd": "optimizers:SGD",
    },
    "utils": {
        "categorical_probas_to_classes": "legacy.calls:probas_to_classes",
        "plot": "utils:plot_model",
        "probas_to_classes": "legacy.calls:probas_to_classes",
    },
}
"""Old names by module, and the location of today's."""

REFUSED = {
    "GeneratorEnqueuer": "fit takes batches itself. Try utils.PyDataset(workers=2)",
    "Graph": "a graph is a Model. Try Model(inputs, outputs)",
    "HDF5Matrix": "arrays are in memory. Try h5py.File(path)['x'][:]",
    "Highway": "it is a formula. Try t * h + (1 - t) * x with two Dense layers",
    "LocallyConnected1D": "it has a kernel for each position. Try Conv1D",
    "LocallyConnected2D": "it has a kernel for each position. Try Conv2D",
    "MaxoutDense": "it is a maximum. Try layers.Maximum()([Dense(4)(x), Dense(4)(x)])",
    "OrderedEnqueuer": "fit takes batches itself. Try utils.PyDataset(workers=2)",
    "SequenceEnqueuer": "fit takes batches itself. Try utils.PyDataset(workers=2)",
    "convert_all_kernels_in_model": "kernels are TensorFlow's. Try load_model",
    "model_from_yaml": "YAML can execute code. Try model_from_json",
    "multi_gpu_model": "Kurve uses processors. Try set_threads",
}
"""Old names without an equivalent, and what to do; without the full stop."""

ATTRIBUTES: dict[str, dict[str, str]] = {
    "Model": {
        "evaluate_generator": "evaluate",
        "fit_generator": "fit",
        "predict_classes": "numpy.argmax(model.predict(x), axis=-1)",
        "predict_generator": "predict",
        "predict_proba": "predict",
        "reset_states": "layer.reset_states()",
        "_make_predict_function": "predict",
        "_make_train_function": "fit",
        "to_yaml": "",
    },
    "Metric": {"reset_states": "reset_state"},
    "Optimizer": {"lr": "learning_rate"},
}
"""Old attributes and methods by class, and today's. They are implemented in `calls`; ""
is rejected."""


def of_module(module: str, name: str) -> Any:
    """Resolve an old name of a Kurve module, with a warning.

    Args:
        module: its full name.
        name: a name it does not have.

    Raises:
        LookupError: it is not an old name.
        AttributeError: it is an old name without an equivalent.
    """
    short = module.partition(".")[2]
    if name in REFUSED:
        raise AttributeError(
            f"[{module}] {name} no longer exists: {REFUSED[name]}. Received: {name!r}."
        )
    if short == "backend" and f"backend.{name}" not in MODULES:
        from kurve.legacy import backend

        found = backend.find(name)
        rule = f"{name} was in Keras 2's backend"
        say(module, rule, repr(name), backend.today(name))
        return found
    home, _, own = NAMES.get(short, {}).get(name, "").partition(":")
    if not home:
        home = MODULES[f"{short}.{name}" if short else name]
    return _say(module, name, home, own)


def _say(module: str, name: str, home: str, own: str) -> Any:
    found: Any = importlib.import_module(f"kurve.{home}")
    if own:
        if not hasattr(found, own):
            raise LookupError(name)
        found = getattr(found, own)
    shown = found.__doc__ if home.startswith("legacy.") and own else None
    today = f"kurve.{home}.{own}" if own else f"kurve.{home}"
    if home.startswith("legacy."):
        today = str(shown or found.__doc__).partition("\n")[0].rstrip(".")
        if ": today " in today:
            today = today.partition(": today ")[2]
    say(module, f"{name} is a spelling of Keras 1 or 2", repr(name), today)
    return found


def of_object(owner: Any, name: str) -> Any:
    """Resolve an old attribute or method of an object, with a warning.

    Raises:
        AttributeError: unknown attribute.
    """
    for cls in type(owner).__mro__:
        today = ATTRIBUTES.get(cls.__name__, {}).get(name)
        if today is None or not _is_kurve(cls):
            continue
        from kurve.legacy import calls

        where = type(owner).__name__
        if not today:
            raise AttributeError(
                f"[{where}] {name} no longer exists: {calls.WHY[name]}. "
                f"Received: {name!r}."
            )
        say(where, f"{name} is a spelling of Keras 1 or 2", repr(name), today)
        return calls.attribute(owner, name, today)
    return object.__getattribute__(owner, name)


def _is_kurve(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "kurve"


def set_on(owner: Any, name: str, value: Any) -> None:
    """Set today's attribute for an old one, with a warning."""
    for cls in type(owner).__mro__:
        today = ATTRIBUTES.get(cls.__name__, {}).get(name)
        if today:
            where = type(owner).__name__
            say(where, f"{name} is a spelling of Keras 1 or 2", repr(name), today)
            setattr(owner, today, value)
            return
