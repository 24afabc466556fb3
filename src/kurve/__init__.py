"""Kurve learns functions from data with small and medium neural networks."""

import typing as _typing

from kurve import activations as activations
from kurve import callbacks as callbacks
from kurve import errors as errors
from kurve import initializers as initializers
from kurve import layers as layers
from kurve import losses as losses
from kurve import metrics as metrics
from kurve import models as models
from kurve import optimizers as optimizers
from kurve import regularizers as regularizers
from kurve import utils as utils
from kurve.engines import get_engine as get_engine
from kurve.engines import get_threads as get_threads
from kurve.engines import set_engine as set_engine
from kurve.engines import set_threads as set_threads
from kurve.layers import Input as Input
from kurve.layers import Layer as Layer
from kurve.models import Model as Model
from kurve.models import Sequential as Sequential

if _typing.TYPE_CHECKING:
    from kurve import assessment as assessment
    from kurve import backend as backend
    from kurve import config as config
    from kurve import constraints as constraints
    from kurve import datasets as datasets
    from kurve import diagnosis as diagnosis
    from kurve import estimators as estimators
    from kurve import inspection as inspection
    from kurve import ops as ops
    from kurve import plots as plots
    from kurve import preprocessing as preprocessing
    from kurve import random as random
    from kurve import report as report
    from kurve import saving as saving
    from kurve import solvers as solvers
    from kurve import tables as tables
    from kurve.estimators import Classifier as Classifier
    from kurve.estimators import Regressor as Regressor
    from kurve.formulas.tensor import KerasTensor as KerasTensor
    from kurve.initializers import Initializer as Initializer
    from kurve.layers.base import Layer as Layer
    from kurve.losses.base import Loss as Loss
    from kurve.metrics.base import Metric as Metric
    from kurve.models.ensembles import ensemble as ensemble
    from kurve.models.learning_rates import lr_find as lr_find
    from kurve.optimizers.base import Optimizer as Optimizer
    from kurve.regularizers import Regularizer as Regularizer
    from kurve.solvers import curve_fit as curve_fit

__version__ = "0.1.0"

_LATER = {
    "Classifier": "kurve.estimators",
    "Initializer": "kurve.initializers",
    "KerasTensor": "kurve.formulas.tensor",
    "Layer": "kurve.layers.base",
    "Loss": "kurve.losses.base",
    "Metric": "kurve.metrics.base",
    "Optimizer": "kurve.optimizers.base",
    "Regressor": "kurve.estimators",
    "Regularizer": "kurve.regularizers",
    "assessment": "kurve.assessment",
    "backend": "kurve.backend",
    "config": "kurve.config",
    "constraints": "kurve.constraints",
    "curve_fit": "kurve.solvers",
    "datasets": "kurve.datasets",
    "diagnosis": "kurve.diagnosis",
    "ensemble": "kurve.models.ensembles",
    "estimators": "kurve.estimators",
    "inspection": "kurve.inspection",
    "lr_find": "kurve.models.learning_rates",
    "ops": "kurve.ops",
    "plots": "kurve.plots",
    "preprocessing": "kurve.preprocessing",
    "random": "kurve.random",
    "report": "kurve.report",
    "saving": "kurve.saving",
    "solvers": "kurve.solvers",
    "tables": "kurve.tables",
}
"""Where each name lives that is imported when it is first used."""

_NOW = (
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "activations",
    "callbacks",
    "errors",
    "get_engine",
    "get_threads",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "set_engine",
    "set_threads",
    "utils",
)


def __getattr__(name: str) -> _typing.Any:
    """Import on first use what networks do not need, which halves the time that
    `import kurve` takes."""
    if name not in _LATER:
        from kurve.errors import no_attribute

        raise no_attribute("kurve", name, __dir__())
    import importlib

    module = importlib.import_module(_LATER[name])
    value = module if _LATER[name].endswith(f".{name}") else getattr(module, name)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    """The public names; the modules inside (`kurve.core`, `kurve.training`) are not."""
    return sorted([*_NOW, *_LATER, "__version__"])
