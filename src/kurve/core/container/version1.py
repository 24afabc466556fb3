"""Files of version 1 (Kurve before 0.1.0), whose descriptions are brought to the form
of version 2. They have no checksums and no history."""

from __future__ import annotations

from typing import Any

from kurve import losses
from kurve.models.fields import Field


def upgraded(top: Field) -> Field:
    """The description as version 2 has it."""
    info = dict(top.value)
    estimator, model = info.pop("estimator", None), info.get("model")
    if estimator is not None:
        info.pop("model", None)
        info |= {"kind": "estimator", "estimator": estimator}
        if isinstance(estimator, dict):
            info["estimator"] = estimator | {"training": None, "seeds": None}
    elif model is None:
        info.pop("model", None)
        info["kind"] = "weights"
    else:
        info["kind"] = "model"
        info["compile"] = top.made(lambda _: _compile(info["compile"]))
    return Field(top.path, top.name, info)


def _compile(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    metrics = [
        {"weighted": metric["weighted"], "metric": _metric(metric)}
        for metric in given["metrics"]
    ]
    loss = _loss(given["loss"])
    return {
        "optimizer": given["optimizer"],
        "loss": loss,
        "metrics": metrics,
        "engine": None,
    }


def _loss(given: dict[str, Any]) -> dict[str, Any]:
    cls = losses.BY_KIND[given["kind"]]
    return {"class_name": cls.__name__, "config": given["config"]}


def _metric(given: dict[str, Any]) -> dict[str, Any]:
    if "loss" in given:
        config = {"name": given["name"], "loss": _loss(given["loss"])}
        return {"class_name": "LossMetric", "config": config}
    return {"class_name": given["class_name"], "config": given["config"]}
