"""From hyperparameters and scaled data to trained models."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kurve import optimizers, regularizers
from kurve.callbacks import Callback, EarlyStopping, History
from kurve.core.inside import network_of
from kurve.estimators import defaults
from kurve.estimators.defaults import Hyperparameters
from kurve.estimators.shapes import Form
from kurve.layers import (
    Dense,
    Dropout,
    FourierFeatures,
    Normalization,
    PiecewiseLinear,
)
from kurve.losses import Loss
from kurve.models import Sequential
from kurve.models.cloning import clone
from kurve.models.ensembles import Ensemble
from kurve.optimizers.schedules import LearningRateSchedule

ProgressCallback = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with the number done, the maximum, and the logs."""

progress_callback: ContextVar[ProgressCallback | None] = ContextVar(
    "progress_callback", default=None
)
"""Progress callback of every `fit` in this context."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Inputs, targets and weights of some rows, scaled, float32."""


def rows_of(rows: Rows, chosen: Any) -> Rows:
    """Some of the rows, by an index of NumPy's."""
    x, y, weights = rows
    return x[chosen], y[chosen], None if weights is None else weights[chosen]


def first_of(rows: Rows, count: int) -> Rows:
    """At most so many rows; those of a split are in random order."""
    return rows_of(rows, slice(0, count)) if len(rows[0]) > count else rows


@dataclass
class TrainingResult:
    """The result of a training.

    history:    by name, the mean over the models, one value per epoch or iteration
    iterations: epochs or iterations done
    effective_parameters: number of parameters determined by the data, if computed
    """

    history: dict[str, list[float]]
    iterations: int
    effective_parameters: float | None = None


@dataclass
class TrainingSetup:
    """How to build and train the models of one estimator.

    template:      the hidden layers, if the user passed a model
    optimizer:     a first-order optimizer by name or object; None for a full-batch
                   solver
    learning_rate: if chosen by the user
    form:          the known shape of the function
    encoder:       first layer, adapted to the scaled rows, or None
    decay:         weight decay; AdamW then takes the place of Adam
    """

    hyperparameters: Hyperparameters
    template: Sequential | None
    optimizer: str | optimizers.Optimizer | None
    learning_rate: float | LearningRateSchedule | None
    alpha: float
    dropout: float
    engine: Any
    verbose: int
    form: Form | None = None
    encoder: PiecewiseLinear | None = None
    decay: float = 0.0

    def adapt(self, x: np.ndarray, y: np.ndarray) -> None:
        """Adapt the template's first layer to scaled data, if it can be adapted and has
        not been yet: `Normalization`, or `FourierFeatures`, which keeps random
        frequencies if none stand out. The user's model is not changed."""
        if self.template is None or not self.template.layers:
            return
        first = self.template.layers[0]
        if first.built or not isinstance(first, (FourierFeatures, Normalization)):
            return
        template = clone(self.template, keep_shapes=False)
        first = template.layers[0]
        if isinstance(first, FourierFeatures) and first.given is None:
            with contextlib.suppress(ValueError):
                first.adapt(x, y)
        elif isinstance(first, Normalization) and first.given_mean is None:
            first.adapt(x)
        self.template = template

    def build(self, inputs: int, units: int, seeds: Sequence[int]) -> list[Sequential]:
        """Build models with independent weights, one per seed.

        Args:
            inputs: columns of the encoded table.
            units: outputs of the network.
        """
        models = []
        shape = getattr(self.template, "input_shape", None)
        if shape not in (None, (None, inputs)):
            raise ValueError(
                "[fit] hidden_layer_sizes is a model whose input does not fit the "
                f"table, which has {inputs} columns when encoded. Received: a model "
                f"with input_shape={shape}. Try a Sequential without an input shape."
            )
        for seed in seeds:
            if self.template:
                model = clone(self.template, keep_shapes=False)
            else:
                model = self._hidden()
            name = "output"
            while any(name == layer.name for layer in model.layers):
                name += "_"
            constrained: Any = {}
            if self.form is not None:
                constrained["kernel_constraint"] = self.form.constraint
                constrained["activation"] = self.form.last
            model.add(
                Dense(
                    units, kernel_regularizer=self._penalty(), name=name, **constrained
                )
            )
            network_of(model).seed = seed
            model.build((None, inputs))
            if self.encoder is not None:
                model.layers[0].set_weights(self.encoder.get_weights())
            if self.form is not None:
                self.form.start(model, seed)
            models.append(model)
        return models

    def _hidden(self) -> Sequential:
        model = Sequential(name="estimator")
        constraint = None if self.form is None else self.form.constraint
        if self.form is not None:
            self.form.begin(model)
        if self.encoder is not None:
            config = {**self.encoder.get_config(), "name": "encoder"}
            model.add(PiecewiseLinear.from_config(config))
        for number, width in enumerate(self.hyperparameters.hidden, 1):
            model.add(
                Dense(
                    width,
                    self.hyperparameters.activation,
                    kernel_regularizer=self._penalty(),
                    kernel_constraint=constraint,
                    name=f"hidden_{number}",
                )
            )
            if self.dropout:
                model.add(Dropout(self.dropout, name=f"dropout_{number}"))
        return model

    def _penalty(self) -> regularizers.L1L2 | None:
        return regularizers.L1L2(l2=self.alpha) if self.alpha else None

    def check_same(self, before: Sequential, sizes: Any, activation: Any) -> None:
        """Refuse to continue with a network that does not match the parameters.

        Args:
            sizes, activation: "auto" accepts those of the network.
        """
        inner = [
            layer
            for layer in before.layers[:-1]
            if isinstance(layer, Dense) and layer.name != "signs"
        ]
        hyper, template = self.hyperparameters, self.template
        if isinstance(sizes, str) and isinstance(before.layers[0], FourierFeatures):
            template = clone(before, keep_shapes=False)  # waves; see `curves`
            template.pop()
        if isinstance(sizes, str):
            hyper = replace(hyper, hidden=tuple(layer.units for layer in inner))
        if inner and isinstance(activation, str) and activation == "auto":
            hyper = replace(hyper, activation=inner[0].activation)
        assert before.input_shape is not None and before.output_shape is not None
        inputs, units = before.input_shape[-1], before.output_shape[-1]
        assert inputs is not None and units is not None
        first = before.layers[0]
        encoder = first if isinstance(first, PiecewiseLinear) else None
        same = replace(self, hyperparameters=hyper, template=template, encoder=encoder)
        expected = same.build(inputs, units, [0])[0]
        if _outline(expected) != _outline(before):
            raise ValueError(
                "[fit] training continues with the existing network, so "
                "hidden_layer_sizes, activation, dropout and alpha must not change. "
                f"Received: a network of {expected.count_params()} weights, after one "
                f"of {before.count_params()} weights. Try warm_start=False."
            )

    def optimizer_for(self, steps: int) -> optimizers.Optimizer:
        """The optimizer of a model trained for this many steps."""
        source = self.optimizer or "adam"
        if isinstance(source, optimizers.Optimizer):
            optimizer = copy.deepcopy(source)
            if self.learning_rate is not None:
                optimizer.learning_rate = self.learning_rate
            return optimizer
        optimizer = optimizers.get(source)
        if self.decay:
            optimizer = optimizers.AdamW(weight_decay=self.decay)
        optimizer.name = str(source)  # without a number suffix
        if self.learning_rate is not None:
            optimizer.learning_rate = self.learning_rate
        elif source in ("adam", "adamw", "nadam"):
            peak = self.hyperparameters.learning_rate
            optimizer.learning_rate = defaults.schedule(peak, steps)
        return optimizer

    def compile(self, models: Sequence[Sequential], loss: Loss, steps: int) -> None:
        """Compile the models for training with this many steps."""
        for model in models:
            model.compile(self.optimizer_for(steps), loss, engine=self.engine)

    def train(
        self,
        models: Sequence[Sequential],
        loss: Loss,
        rows: Rows,
        validation: Rows | None,
        weights: np.ndarray | None = None,
        executor: Any = None,
    ) -> TrainingResult:
        """Train the models in parallel.

        Args:
            validation: rows for early stopping, or None for no early stopping.
            weights: (models, n), in place of the weights in `rows`.
            executor: where to train; see `Ensemble.fit`.
        """
        x, y, common = rows
        hyper = self.hyperparameters
        if hyper.solver is not None:
            self.compile(models, loss, 1)
            return self._solve(models, loss, rows, validation, weights, executor)
        steps = hyper.epochs * -(-len(x) // hyper.batch_size)
        self.compile(models, loss, steps)
        arguments = self.arguments(len(x))
        callbacks = self.callbacks(validation is not None, executor)
        if len(models) == 1 and executor is None:
            weight = common if weights is None else weights[0]
            histories = [
                models[0].fit(
                    x,
                    y,
                    sample_weight=weight,
                    validation_data=validation,
                    callbacks=callbacks,
                    verbose=self.verbose,
                    **arguments,
                )
            ]
        else:
            each = common if weights is None else weights
            histories = Ensemble(models).fit(
                x,
                y,
                sample_weight=each,
                validation_data=validation,
                callbacks=callbacks,
                verbose=self.verbose,
                executor=executor,
                **arguments,
            )
        return TrainingResult(
            mean_history(histories), max(len(h.epoch) for h in histories)
        )

    def arguments(self, rows: int) -> dict[str, Any]:
        """Arguments of `Sequential.fit` for this many rows."""
        hyper = self.hyperparameters
        return {
            "batch_size": min(hyper.batch_size, rows),
            "epochs": hyper.epochs,
            "validation_batch_size": 8192,
        }

    def callbacks(self, stops: bool, executor: Any) -> list[Callback]:
        """Callbacks of every model.

        Args:
            stops: whether there are rows for early stopping.
        """
        hyper = self.hyperparameters
        callbacks: list[Callback] = []
        if stops:
            callbacks.append(
                EarlyStopping(patience=hyper.patience, restore_best_weights=True)
            )
        progress = progress_callback.get()
        if progress is not None and executor is None:
            callbacks.append(_Progress(progress, hyper.epochs))
        return callbacks

    def _solve(
        self,
        models: Sequence[Sequential],
        loss: Loss,
        rows: Rows,
        validation: Rows | None,
        weights: np.ndarray | None,
        executor: Any,
    ) -> TrainingResult:
        x, y, common = rows
        each = [common] * len(models) if weights is None else list(weights)
        shared: dict[str, Any] = {
            "loss": loss,
            "x": x,
            "y": y,
            "validation": validation,
        }
        solved: dict[int, Solved] = {}
        if executor is None:
            for number, model in enumerate(models):
                solved[number] = self.solve(model, weight=each[number], **shared)
        else:
            from kurve.core.executors import map_items
            from kurve.models import remote

            def on_result(number: int, result: tuple[Any, Solved]) -> None:
                remote.take_over(models[number], result[0])
                solved[number] = result[1]

            items = [
                (remote.sent(model), weight)
                for model, weight in zip(models, each, strict=True)
            ]
            setup = replace(self, template=None)
            map_items(
                executor, _solve_item, {"setup": setup, **shared}, items, on_result
            )
        results = [solved[number] for number in range(len(models))]
        known = [r.effective_parameters for r in results if r.effective_parameters]
        return TrainingResult(
            mean_history([result.history for result in results]),
            max(1, *(result.iterations for result in results)),
            max(known) if known else None,
        )

    def solve(
        self,
        model: Sequential,
        loss: Loss,
        x: np.ndarray,
        y: np.ndarray,
        validation: Rows | None,
        weight: np.ndarray | None,
    ) -> Solved:
        """Train one model by a full-batch method."""
        from kurve import solvers  # type: ignore[attr-defined,unused-ignore]

        hyper, progress = self.hyperparameters, progress_callback.get()
        arguments: dict[str, Any] = {
            "max_iterations": hyper.iterations,
            "verbose": self.verbose,
            "validation_data": validation,
        }
        if progress is not None:
            arguments["callback"] = partial(
                _report_iteration, progress, hyper.iterations
            )
        if validation is not None:
            arguments["patience"] = hyper.patience
        solve: Callable[..., Any] = solvers.lbfgs
        if hyper.solver == "lm":
            solve = solvers.levenberg_marquardt
            if not self.alpha:
                arguments["regularization"] = "bayesian"
        result = solve(model, x, y, weight, **arguments)
        for _ in range(defaults.RESTARTS):
            if hyper.solver != "lm" or result.loss < defaults.PLATEAU:
                break
            # A full-batch method has no noise to escape from a plateau.
            units = model.output_shape[-1] if model.built else 1
            seeds = [network_of(model).seed + 1]
            (restart,) = self.build(x.shape[1], units or 1, seeds)
            restart.compile(loss=loss, engine=self.engine)
            restarted = solve(restart, x, y, weight, **arguments)
            network_of(model).seed = network_of(restart).seed
            if restarted.loss < result.loss:
                model.set_weights(restart.get_weights())
                result = restarted
        return Solved(
            result.history, int(result.iterations), result.effective_parameters
        )


class Solved(NamedTuple):
    """The result of a full-batch method for one model; see `TrainingResult`."""

    history: dict[str, list[float]]
    iterations: int
    effective_parameters: float | None


def _solve_item(shared: Mapping[str, Any], item: Any) -> tuple[Any, Solved]:
    """Train one model in a worker."""
    from kurve.models import remote

    rest = dict(shared)
    setup = rest.pop("setup")
    model = remote.received(item[0])
    solved = setup.solve(model, weight=item[1], **rest)
    return remote.trained(model), solved


def _report_iteration(
    progress: ProgressCallback, total: int, done: int, logs: Mapping[str, float]
) -> None:
    progress(done, total, logs)


class _Progress(Callback):
    """Passes the epochs of all members to one progress callback."""

    def __init__(self, progress: ProgressCallback, epochs: int) -> None:
        super().__init__()
        self._progress, self._epochs = progress, epochs

    def __deepcopy__(self, memo: Any) -> Callback:
        return _Progress(self._progress, self._epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._progress(epoch + 1, self._epochs, logs or {})


def mean_history(
    histories: Sequence[History | Mapping[str, Sequence[float]]],
) -> dict[str, list[float]]:
    """By name, the mean over all models that were still training."""
    each = [h.history if isinstance(h, History) else h for h in histories]
    names = list(dict.fromkeys(name for history in each for name in history))
    mean: dict[str, list[float]] = {}
    for name in names:
        columns = [history[name] for history in each if name in history]
        mean[name] = [
            float(np.mean([column[i] for column in columns if i < len(column)]))
            for i in range(max(map(len, columns)))
        ]
    return mean


def _outline(model: Sequential) -> list[Any]:
    """The layers' configuration, without their names and their adapted values."""
    outline: list[Any] = []
    for entry in model.get_config()["layers"]:
        config = {k: v for k, v in entry["config"].items() if k != "name"}
        adapts = entry["class_name"] in ("FourierFeatures", "Normalization")
        outline.append((entry["class_name"], None if adapts else config))
    return outline
