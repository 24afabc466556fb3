"""Loads mutants of files, within limits of memory, and counts what becomes of them.

    python -m tests.faults.fuzz FOLDER SEED COUNT      prints JSON

A mutant must be refused with ModelFileError, or be a model that works. Anything else is
written to FOLDER and ends the run.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from kurve import Classifier, Regressor, layers, metrics, models, optimizers
from kurve.estimators import load
from kurve.formulas import functions
from kurve.formulas.tensor import leaves
from kurve.saving import ModelFileError
from tests.faults.mutants import changed_bytes, retold

SLACK = 16 << 20
MAX_SECONDS = 1.0
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X.sum(axis=1)


class Loaded:
    """What a file was loaded as, with all that it holds as bytes."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def content(self) -> bytes:
        """All that the file holds; of equal content, equal bytes."""
        thing = self.thing
        if isinstance(thing, kurve.Model):
            return _of_model(thing)
        state = {k: v for k, v in vars(thing).items() if k != "models_"}
        fitted = thing.fitted_
        nets = [_of_model(m) for m in [*fitted.members, *fitted.folds]]
        return repr((state, nets)).encode()

    def check(self) -> None:
        """It predicts, trains and is described, or says in one sentence why not."""
        thing = self.thing
        if isinstance(thing, kurve.Model):
            plan = thing._network.plan
            assert plan is not None
            sizes = [np.prod(op.out_shape, dtype=float) for op in plan.ops]
            numbers = [v for op in plan.ops for v in op.attrs.values()]
            large = [abs(v) for v in numbers if type(v) is int]
            given = [np.prod(shape, dtype=float) for shape in plan.inputs]
            if max([*given, *sizes, *large]) >= 1e4:
                return
            x: Any = [np.zeros((2, *shape)) for shape in plan.inputs]
            x = x[0] if len(x) == 1 else x
            y = list(leaves(thing.predict(x, verbose=0)))
            assert [a.shape for a in y] == [(2, *head.shape) for head in plan.heads]
            if thing.optimizer is not None and thing.loss is not None:
                _said(lambda: thing.evaluate(x, _targets(thing), verbose=0))
                _said(lambda: thing.train_on_batch(x, _targets(thing)))
                _said(lambda: thing.compile(thing.optimizer, thing.loss))
        else:
            fitted = thing.fitted_
            z = fitted.inputs.forward(np.zeros((2, fitted.columns.matrix_width)))
            y = fitted.outputs(z)
            assert y.shape[:2] == (len(thing.models_), 2)
            assert fitted.novelty.outside(z).shape == (2,)
            table = np.zeros((2, thing.n_features_in_), object)
            for column, levels in fitted.columns.levels.items():
                table[:, column] = levels[0] if levels else 0
            _said(lambda: thing.predict(table))
            if isinstance(thing, Classifier):
                _said(lambda: thing.predict_proba(table))
                _said(lambda: thing.partial_fit(np.zeros((2, 3)), thing.classes_[:2]))
            else:
                _said(lambda: thing.predict(table, return_std=True))
                _said(lambda: thing.predict_interval(table))


def _said(call: Callable[[], Any]) -> None:
    """What goes wrong begins with where: "[fit] ..."."""
    try:
        call()
    except Exception as error:
        if not str(error).startswith("["):
            raise


def _targets(model: Any) -> Any:
    """Zeros for each output of a model."""
    network = model._network
    found = [
        None
        if goal.rule is None
        else np.zeros((2, *goal.rule.target_shape(head.shape)))
        for goal, head in zip(network.goals, network.plan.heads, strict=True)
    ]
    return found[0] if len(found) == 1 else found


def _of_model(model: Any) -> bytes:
    state = model._network.state
    history = None if model.history is None else repr(model.history.history)
    compiled = None
    if model.optimizer is not None:
        compiled = (
            model.optimizer.get_config(),
            [
                (
                    goal.loss and goal.loss.get_config(),
                    goal.weight,
                    [(metrics.serialize(m), weighted) for m, weighted in goal.metrics],
                )
                for goal in model._network.goals
            ],
        )
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    text = repr((model.get_config(), state.seed, state.step, history, compiled))
    return text.encode() + b"".join(array.tobytes() for array in arrays)


def small() -> kurve.Sequential:
    first = layers.Normalization(name="scale")
    first.adapt(X)
    model = kurve.Sequential(
        [
            kurve.Input((3,)),
            first,
            layers.Dense(4, "tanh", kernel_regularizer="l2", name="a"),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(1, name="b"),
        ],
        name="small",
    )
    rate = optimizers.schedules.CosineDecay(0.01, 50)
    model.compile(optimizers.Adam(rate, clipnorm=1.0), "huber", metrics=["mae"])
    model.fit(X, Y, epochs=2, verbose=0)
    return model


def pictures() -> kurve.Sequential:
    model = kurve.Sequential(
        [
            kurve.Input((6, 6, 1)),
            layers.Conv2D(2, 3, padding="same", activation="relu", name="c"),
            layers.MaxPooling2D(name="p"),
            layers.Flatten(name="f"),
            layers.FourierFeatures(2, name="w"),
            layers.Reshape((4, 1), name="r"),
            layers.Normalization(mean=0.5, variance=2.0, name="n"),
            layers.Activation("gelu", name="g"),
        ],
        name="pictures",
    )
    model.compile("sgd", "mse", weighted_metrics=["rmse"], engine="reference")
    return model


def graph() -> kurve.Model:
    """Shared layers, models in a model, functions with arguments."""
    x = kurve.Input((3,), name="x")
    shared = layers.Dense(3, "tanh", name="a")
    inside = kurve.Sequential([kurve.Input((3,)), layers.Dense(2, name="a")], name="s")
    h = layers.Concatenate(name="c")([shared(shared(x)), inside(x)])
    h = functions.reshape(functions.tanh(h[:, 1:4]) * 2.0 + x, (-1, 3))
    model = kurve.Model(x, layers.Dense(1, name="b")(h), name="graph")
    model.compile(optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(X, Y, epochs=1, verbose=0)
    return model


def heads() -> kurve.Model:
    """Two inputs and three outputs, by name; one is trained without a loss."""
    a, b = kurve.Input((3,), name="a"), kurve.Input((2,), name="b")
    h = layers.Dense(3, "relu", name="h")(layers.Concatenate(name="c")([a, b]))
    outputs = {
        "y": layers.Dense(1, name="y")(h),
        "p": layers.Dense(3, "softmax", name="p")(h),
        "h": h,
    }
    model = kurve.Model({"a": a, "b": b}, outputs, name="heads")
    model.compile(
        optimizers.SGD(0.01, momentum=0.9),
        {"y": "mse", "p": "sparse_categorical_crossentropy"},
        loss_weights={"y": 0.5, "p": 2.0},
        metrics={"y": ["mae"], "p": ["accuracy"]},
        weighted_metrics={"y": ["mse"]},
    )
    x = {"a": X, "b": X[:, :2]}
    model.fit(x, {"y": Y, "p": np.arange(60) % 3}, epochs=1, verbose=0)
    return model


def files(folder: Path) -> list[tuple[bytes, Callable[[str], Any]]]:
    """Files to mutate, and how to load them."""
    kurve.set_engine("reference")
    kurve.utils.set_random_seed(1)
    table = np.empty((60, 3), object)
    table[:, :2] = X[:, :2]
    table[:, 2] = np.array(["red", "green"])[np.arange(60) % 2]
    options: dict[str, Any] = {"max_epochs": 1, "random_state": 1, "solver": "adam"}
    regressor = Regressor((3,), interval="conformal", **options).fit(X, Y)
    folds = Regressor((2,), interval="cv+", missing="impute", **options).fit(table, Y)
    classifier = Classifier((3,), random_state=1)
    classifier.partial_fit(X, np.arange(60) % 3, classes=[0, 1, 2])
    binary = Classifier((3,), random_state=1, max_epochs=1).fit(X, Y > 0)
    model = small()
    model.save(folder / "model.kurve")
    model.save_weights(folder / "model.weights.kurve")
    pictures().save(folder / "pictures.kurve")
    graph().save(folder / "graph.kurve")
    heads().save(folder / "heads.kurve")
    named = {"r": regressor, "f": folds, "c": classifier, "b": binary}
    for name, estimator in named.items():
        estimator.save(folder / f"{name}.kurve")

    def weights(path: str) -> Any:
        model.load_weights(path)
        return model

    plan: list[tuple[str, Callable[[str], Any]]] = [
        *[("model.kurve", models.load_model)] * 4,
        ("model.weights.kurve", weights),
        *[("pictures.kurve", models.load_model)] * 2,
        *[("graph.kurve", models.load_model)] * 4,
        *[("heads.kurve", models.load_model)] * 4,
        ("r.kurve", load),
        ("f.kurve", load),
        ("c.kurve", load),
        ("b.kurve", load),
    ]
    return [((folder / name).read_bytes(), how) for name, how in plan]


def main(folder: Path, seed: int, count: int) -> None:
    faulthandler.enable()
    warnings.simplefilter("error")
    rng = random.Random(seed)
    given = files(folder)
    raws = [raw for raw, _ in given]
    path = str(folder / "mutant.kurve")
    wholes = []
    for raw, how in given:
        Path(path).write_bytes(raw)
        loaded = Loaded(how(path))
        loaded.check()
        wholes.append(loaded.content())
    result: dict[str, Any] = dict.fromkeys(("refused", "retold", "same", "changed"), 0)
    slowest, fields = 0.0, set()
    gc.collect()
    for number in range(count):
        faulthandler.dump_traceback_later(60, exit=True)
        which = rng.randrange(len(given))
        raw, how = given[which]
        retelling = rng.random() < 0.4
        mutant = retold(raw, raws, rng) if retelling else changed_bytes(raw, rng)
        if mutant == raw:
            continue
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, mutant)
        os.close(handle)
        _limit(2 * len(mutant) + SLACK)
        start = time.thread_time()
        try:
            try:
                thing = how(path)
            finally:
                seconds = time.thread_time() - start
                _limit(None)
            loaded = Loaded(thing)
            if retelling:
                result["retold"] += 1
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    loaded.check()
            elif loaded.content() == wholes[which]:
                result["same"] += 1
            else:
                result["changed"] += 1
                raise AssertionError("the content has changed")
            if seconds > MAX_SECONDS:
                raise AssertionError(f"loading took {seconds:.1f} s")
        except ModelFileError as error:
            result["refused"] += 1
            fields.add(error.field)
            if type(error) is not ModelFileError or not error.field:
                _keep(folder, seed, number, mutant)
                raise AssertionError("no field is named") from error
            if seconds > MAX_SECONDS:
                _keep(folder, seed, number, mutant)
                raise AssertionError(f"refusing took {seconds:.1f} s") from error
        except BaseException:
            _keep(folder, seed, number, mutant)
            raise
        slowest = max(slowest, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result |= {"slowest": slowest, "fields": len(fields), "peak": peak}
    print(json.dumps(result))


def _limit(more: int | None) -> None:
    """Memory for what is there now and so many bytes more; None: no limit."""
    limit = resource.RLIM_INFINITY
    if more is not None:
        with open("/proc/self/statm") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _keep(folder: Path, seed: int, number: int, mutant: bytes) -> None:
    """What went wrong, to be looked at."""
    kept = folder / f"failed-{seed}-{number}.kurve"
    kept.write_bytes(mutant)
    print(f"kept as {kept}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
