"""Metrics by name. Names and formulas are Keras's; the update formulas are in
`kurve.engines.reference.metrics`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve import losses
from kurve.core import registry
from kurve.core.entries import entry
from kurve.core.later import Classes, Later
from kurve.core.naming import snake_case
from kurve.core.overrides import refuse_overrides
from kurve.errors import unknown_name
from kurve.metrics.base import Metric as Metric
from kurve.metrics.rows import LossMetric as LossMetric
from kurve.metrics.rows import RowMetric as RowMetric

if TYPE_CHECKING:
    from kurve.metrics.accuracies import Accuracy as Accuracy
    from kurve.metrics.accuracies import BinaryAccuracy as BinaryAccuracy
    from kurve.metrics.accuracies import CategoricalAccuracy as CategoricalAccuracy
    from kurve.metrics.accuracies import FittingAccuracy as FittingAccuracy
    from kurve.metrics.accuracies import (
        SparseCategoricalAccuracy as SparseCategoricalAccuracy,
    )
    from kurve.metrics.accuracies import (
        SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy,
    )
    from kurve.metrics.accuracies import (
        TopKCategoricalAccuracy as TopKCategoricalAccuracy,
    )
    from kurve.metrics.aggregations import Mean as Mean
    from kurve.metrics.aggregations import MeanMetricWrapper as MeanMetricWrapper
    from kurve.metrics.aggregations import Sum as Sum
    from kurve.metrics.areas import AUC as AUC
    from kurve.metrics.confusion import confusion_matrix as confusion_matrix
    from kurve.metrics.f_scores import F1Score as F1Score
    from kurve.metrics.f_scores import FBetaScore as FBetaScore
    from kurve.metrics.functions import binary_accuracy as binary_accuracy
    from kurve.metrics.functions import binary_crossentropy as binary_crossentropy
    from kurve.metrics.functions import (
        binary_focal_crossentropy as binary_focal_crossentropy,
    )
    from kurve.metrics.functions import categorical_accuracy as categorical_accuracy
    from kurve.metrics.functions import (
        categorical_crossentropy as categorical_crossentropy,
    )
    from kurve.metrics.functions import (
        categorical_focal_crossentropy as categorical_focal_crossentropy,
    )
    from kurve.metrics.functions import categorical_hinge as categorical_hinge
    from kurve.metrics.functions import (
        concordance_correlation as concordance_correlation,
    )
    from kurve.metrics.functions import hinge as hinge
    from kurve.metrics.functions import huber as huber
    from kurve.metrics.functions import kl_divergence as kl_divergence
    from kurve.metrics.functions import log_cosh as log_cosh
    from kurve.metrics.functions import mean_absolute_error as mean_absolute_error
    from kurve.metrics.functions import (
        mean_absolute_percentage_error as mean_absolute_percentage_error,
    )
    from kurve.metrics.functions import mean_squared_error as mean_squared_error
    from kurve.metrics.functions import (
        mean_squared_logarithmic_error as mean_squared_logarithmic_error,
    )
    from kurve.metrics.functions import pearson_correlation as pearson_correlation
    from kurve.metrics.functions import poisson as poisson
    from kurve.metrics.functions import (
        sparse_categorical_accuracy as sparse_categorical_accuracy,
    )
    from kurve.metrics.functions import (
        sparse_categorical_crossentropy as sparse_categorical_crossentropy,
    )
    from kurve.metrics.functions import (
        sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy,
    )
    from kurve.metrics.functions import squared_hinge as squared_hinge
    from kurve.metrics.functions import (
        top_k_categorical_accuracy as top_k_categorical_accuracy,
    )
    from kurve.metrics.iou import BinaryIoU as BinaryIoU
    from kurve.metrics.iou import IoU as IoU
    from kurve.metrics.iou import MeanIoU as MeanIoU
    from kurve.metrics.iou import OneHotIoU as OneHotIoU
    from kurve.metrics.iou import OneHotMeanIoU as OneHotMeanIoU
    from kurve.metrics.probabilistic import BinaryCrossentropy as BinaryCrossentropy
    from kurve.metrics.probabilistic import (
        CategoricalCrossentropy as CategoricalCrossentropy,
    )
    from kurve.metrics.probabilistic import CategoricalHinge as CategoricalHinge
    from kurve.metrics.probabilistic import Hinge as Hinge
    from kurve.metrics.probabilistic import KLDivergence as KLDivergence
    from kurve.metrics.probabilistic import Poisson as Poisson
    from kurve.metrics.probabilistic import (
        SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
    )
    from kurve.metrics.probabilistic import SquaredHinge as SquaredHinge
    from kurve.metrics.regression import (
        ConcordanceCorrelation as ConcordanceCorrelation,
    )
    from kurve.metrics.regression import CosineSimilarity as CosineSimilarity
    from kurve.metrics.regression import LogCoshError as LogCoshError
    from kurve.metrics.regression import MeanAbsoluteError as MeanAbsoluteError
    from kurve.metrics.regression import (
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    )
    from kurve.metrics.regression import MeanSquaredError as MeanSquaredError
    from kurve.metrics.regression import (
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    )
    from kurve.metrics.regression import PearsonCorrelation as PearsonCorrelation
    from kurve.metrics.regression import R2Score as R2Score
    from kurve.metrics.regression import RootMeanSquaredError as RootMeanSquaredError
    from kurve.metrics.thresholds import FalseNegatives as FalseNegatives
    from kurve.metrics.thresholds import FalsePositives as FalsePositives
    from kurve.metrics.thresholds import Precision as Precision
    from kurve.metrics.thresholds import Recall as Recall
    from kurve.metrics.thresholds import TrueNegatives as TrueNegatives
    from kurve.metrics.thresholds import TruePositives as TruePositives
    from kurve.metrics.tradeoffs import PrecisionAtRecall as PrecisionAtRecall
    from kurve.metrics.tradeoffs import RecallAtPrecision as RecallAtPrecision
    from kurve.metrics.tradeoffs import (
        SensitivityAtSpecificity as SensitivityAtSpecificity,
    )
    from kurve.metrics.tradeoffs import (
        SpecificityAtSensitivity as SpecificityAtSensitivity,
    )

__getattr__ = Later(
    __name__,
    {
        "accuracies": (
            "Accuracy BinaryAccuracy CategoricalAccuracy FittingAccuracy "
            "SparseCategoricalAccuracy SparseTopKCategoricalAccuracy "
            "TopKCategoricalAccuracy"
        ),
        "regression": (
            "ConcordanceCorrelation CosineSimilarity LogCoshError MeanAbsoluteError "
            "MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError "
            "PearsonCorrelation R2Score RootMeanSquaredError"
        ),
        "aggregations": "Mean MeanMetricWrapper Sum",
        "areas": "AUC",
        "confusion": "confusion_matrix",
        "f_scores": "F1Score FBetaScore",
        "functions": (
            "binary_accuracy categorical_accuracy concordance_correlation "
            "pearson_correlation sparse_categorical_accuracy "
            "sparse_top_k_categorical_accuracy top_k_categorical_accuracy "
            "binary_crossentropy binary_focal_crossentropy categorical_crossentropy "
            "categorical_focal_crossentropy categorical_hinge hinge "
            "huber kl_divergence log_cosh "
            "mean_absolute_error mean_absolute_percentage_error mean_squared_error "
            "mean_squared_logarithmic_error poisson sparse_categorical_crossentropy "
            "squared_hinge"
        ),
        "iou": "BinaryIoU IoU MeanIoU OneHotIoU OneHotMeanIoU",
        "probabilistic": (
            "BinaryCrossentropy CategoricalCrossentropy CategoricalHinge Hinge "
            "KLDivergence Poisson SparseCategoricalCrossentropy SquaredHinge"
        ),
        "thresholds": (
            "FalseNegatives FalsePositives Precision Recall TrueNegatives TruePositives"
        ),
        "tradeoffs": (
            "PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity "
            "SpecificityAtSensitivity"
        ),
    },
)
__dir__ = __getattr__.dir

CLASSES: Classes[Metric] = Classes(__name__, __getattr__.classes(["FittingAccuracy"]))

NAMES: dict[str, str] = {
    **{name: name for name in CLASSES},
    **{snake_case(name): name for name in CLASSES},
    "mse": "MeanSquaredError",
    "MSE": "MeanSquaredError",
    "mae": "MeanAbsoluteError",
    "MAE": "MeanAbsoluteError",
    "rmse": "RootMeanSquaredError",
    "mape": "MeanAbsolutePercentageError",
    "MAPE": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
    "MSLE": "MeanSquaredLogarithmicError",
    "bce": "BinaryCrossentropy",
    "BCE": "BinaryCrossentropy",
    "r2": "R2Score",
}
"""What `get` accepts, and the names of the classes."""


@entry
def get(identifier: Any) -> Metric | None:
    """The metric with that name or class, as in Keras. A loss can also be a metric;
    None gives None.

    Raises:
        TypeError: not a metric, loss or function.
        ValueError: an unknown name.
    """
    if isinstance(identifier, Mapping):
        identifier = deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Metric | losses.Loss):
        identifier = identifier()
    if identifier is None or isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, losses.Loss):
        return LossMetric(identifier, of_batches=True)
    name = getattr(identifier, "kind", identifier)
    if getattr(name, "__module__", None) == f"{__name__}.functions":
        name = name.__name__
    if not isinstance(name, str):
        if callable(identifier) and not isinstance(identifier, type):
            return LossMetric(losses.as_loss(identifier))
        raise TypeError(
            "[metrics] a metric must be a name or an object of kurve.metrics. "
            f"Received: {identifier!r}. Try metrics=['mae']."
        )
    if name in NAMES:
        return CLASSES[NAMES[name]]()
    if name in losses.NAMES:
        return LossMetric(losses.as_loss(name))
    raise unknown_name("metrics", "metric", name, [*NAMES, "acc", *losses.NAMES])


def as_metric(identifier: Any) -> RowMetric:
    """The metric for an item in the lists of `compile`: a new object, unless it has its
    own `update_state`.

    A string is kept as the name used in logs; "accuracy" and "acc" mean the accuracy
    that matches the model.

    Raises:
        TypeError, ValueError: see `get`.
        NotImplementedError: a metric that engines do not know.
    """
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        from kurve.metrics.accuracies import FittingAccuracy

        return FittingAccuracy(identifier)
    found = get(identifier)
    if found is not None and found.counts_itself:
        return found  # type: ignore[return-value]  # the user's, who reads it
    metric = copy.copy(found)
    if type(metric).__name__ == "MeanMetricWrapper":
        metric = metric.in_models()  # type: ignore[union-attr]
    if metric is None:
        raise TypeError(
            "[metrics] a metric must be a name or an object of kurve.metrics. "
            "Received: None. Try metrics=['mae']."
        )
    refuse_overrides("compile", metric)
    assert isinstance(metric, RowMetric)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


def _in_files() -> dict[str, type[Metric]]:
    """Files from before Kurve 0.1.0 call FittingAccuracy "Accuracy"."""
    from kurve.metrics.accuracies import Accuracy, FittingAccuracy

    return {"Accuracy": FittingAccuracy, "EqualAccuracy": Accuracy}


def serialize(metric: Metric) -> dict[str, Any]:
    """Class and configuration of a metric."""
    if type(metric) is LossMetric:
        config: dict[str, Any] = {"name": metric.name}
        config["loss"] = losses.serialize(metric._loss)
        if metric.of_batch:
            config["of_batches"] = True
        return {"class_name": "LossMetric", "config": config}
    for name, cls in _in_files().items():
        if type(metric) is cls:
            return {"class_name": name, "config": metric.get_config()}
    return registry.entry(metric, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Metric:
    """The metric from a `serialize` result."""
    name, arguments = config["class_name"], config["config"]
    if name == "LossMetric":
        loss, of_batches = arguments["loss"], arguments.get("of_batches", False)
        return LossMetric(
            losses.deserialize(loss), arguments["name"], of_batches=of_batches is True
        )
    cls = _in_files().get(name) if isinstance(name, str) else None
    cls = cls or registry.find("metrics", "metric", name, CLASSES, Metric)
    metric: Metric = cls(**arguments)
    return metric
