"""Kurve learns functions from data with small and medium neural networks."""

import typing as _typing

if _typing.TYPE_CHECKING:
    from kurve import activations as activations
    from kurve import applications as applications
    from kurve import assessment as assessment
    from kurve import backend as backend
    from kurve import callbacks as callbacks
    from kurve import config as config
    from kurve import constraints as constraints
    from kurve import datasets as datasets
    from kurve import diagnosis as diagnosis
    from kurve import distribution as distribution
    from kurve import errors as errors
    from kurve import estimators as estimators
    from kurve import initializers as initializers
    from kurve import inspection as inspection
    from kurve import layers as layers
    from kurve import losses as losses
    from kurve import metrics as metrics
    from kurve import models as models
    from kurve import ops as ops
    from kurve import optimizers as optimizers
    from kurve import plots as plots
    from kurve import preprocessing as preprocessing
    from kurve import random as random
    from kurve import regularizers as regularizers
    from kurve import report as report
    from kurve import saving as saving
    from kurve import solvers as solvers
    from kurve import tables as tables
    from kurve import utils as utils
    from kurve.engines import get_engine as get_engine
    from kurve.engines import get_threads as get_threads
    from kurve.engines import set_engine as set_engine
    from kurve.engines import set_threads as set_threads
    from kurve.estimators import Classifier as Classifier
    from kurve.estimators import Regressor as Regressor
    from kurve.formulas.tensor import KerasTensor as KerasTensor
    from kurve.gradients import GradientTape as GradientTape
    from kurve.initializers import Initializer as Initializer
    from kurve.layers import Input as Input
    from kurve.layers.base import Layer as Layer
    from kurve.layers.free import Variable as Variable
    from kurve.losses.base import Loss as Loss
    from kurve.metrics.base import Metric as Metric
    from kurve.models import Model as Model
    from kurve.models import Sequential as Sequential
    from kurve.models.ensembles import ensemble as ensemble
    from kurve.models.learning_rates import lr_find as lr_find
    from kurve.optimizers.base import Optimizer as Optimizer
    from kurve.regularizers import Regularizer as Regularizer
    from kurve.solvers import curve_fit as curve_fit
    from kurve.training.tracing import function as function

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "kurve.estimators",
    "GradientTape": "kurve.gradients",
    "Initializer": "kurve.initializers",
    "Input": "kurve.layers",
    "KerasTensor": "kurve.formulas.tensor",
    "Layer": "kurve.layers.base",
    "Loss": "kurve.losses.base",
    "Metric": "kurve.metrics.base",
    "Model": "kurve.models",
    "Optimizer": "kurve.optimizers.base",
    "Regressor": "kurve.estimators",
    "Regularizer": "kurve.regularizers",
    "Sequential": "kurve.models",
    "Variable": "kurve.layers.free",
    "activations": "kurve.activations",
    "applications": "kurve.applications",
    "assessment": "kurve.assessment",
    "backend": "kurve.backend",
    "callbacks": "kurve.callbacks",
    "config": "kurve.config",
    "constraints": "kurve.constraints",
    "curve_fit": "kurve.solvers",
    "datasets": "kurve.datasets",
    "diagnosis": "kurve.diagnosis",
    "distribution": "kurve.distribution",
    "ensemble": "kurve.models.ensembles",
    "errors": "kurve.errors",
    "estimators": "kurve.estimators",
    "function": "kurve.training.tracing",
    "get_engine": "kurve.engines",
    "get_threads": "kurve.engines",
    "initializers": "kurve.initializers",
    "inspection": "kurve.inspection",
    "layers": "kurve.layers",
    "live": "kurve.plots.page",
    "losses": "kurve.losses",
    "lr_find": "kurve.models.learning_rates",
    "metrics": "kurve.metrics",
    "models": "kurve.models",
    "ops": "kurve.ops",
    "optimizers": "kurve.optimizers",
    "plots": "kurve.plots",
    "preprocessing": "kurve.preprocessing",
    "random": "kurve.random",
    "regularizers": "kurve.regularizers",
    "report": "kurve.report",
    "saving": "kurve.saving",
    "set_engine": "kurve.engines",
    "set_threads": "kurve.engines",
    "solvers": "kurve.solvers",
    "tables": "kurve.tables",
    "utils": "kurve.utils",
}
"""Module of each public name. It is imported on first use, so that programs only load
what they need."""


def __getattr__(name: str) -> _typing.Any:
    if name not in _HOMES:
        import importlib.util

        if importlib.util.find_spec(f"kurve.{name}") is not None:
            # An internal module: `from kurve import plan` asks here first.
            raise AttributeError(f"module 'kurve' has no attribute {name!r}")
        from kurve.core.later import old_name
        from kurve.errors import no_attribute

        try:
            return old_name("kurve", name)
        except LookupError:
            raise no_attribute("kurve", name, __dir__()) from None
    import importlib

    module = importlib.import_module(_HOMES[name])
    value = module if _HOMES[name] == f"kurve.{name}" else getattr(module, name)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    """The public names, without internal modules (`kurve.core`, `kurve.training`)."""
    return sorted([*_HOMES, "__version__"])
