"""From a choice and scaled data to trained models."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from kurve import optimizers, regularizers
from kurve.callbacks import Callback, EarlyStopping, History
from kurve.estimators import defaults
from kurve.estimators.defaults import Hyperparameters
from kurve.layers import Dense, Dropout, FourierFeatures, Normalization
from kurve.losses import Loss
from kurve.models import Sequential
from kurve.models.cloning import clone
from kurve.models.ensembles import Ensemble
from kurve.optimizers.schedules import LearningRateSchedule

Watch = Callable[[int, int, Mapping[str, float]], None]
"""Told after each epoch how many are done, how many there are at most, and the logs."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Inputs, targets and weights of some rows, scaled, float32."""


@dataclass
class TrainingResult:
    """What a training has to tell.

    history:    name by name the mean over the models, a value an epoch or iteration
    iterations: epochs or iterations done
    freedom:    parameters of a model that the data determines, where that was counted
    """

    history: dict[str, list[float]]
    iterations: int
    freedom: float | None = None


@dataclass
class TrainingSetup:
    """How to make and train the models of one estimator.

    choice:    see `defaults`
    template:  the hidden layers, where the user gave a model
    optimizer: a first-order optimizer by name or object; None for a full-batch solver
    rate:      the learning rate, if the user chose one
    watch:     who is told of the progress
    """

    choice: Hyperparameters
    template: Sequential | None
    optimizer: str | optimizers.Optimizer | None
    rate: float | LearningRateSchedule | None
    alpha: float
    dropout: float
    engine: Any
    verbose: int
    watch: Watch | None = None

    def adapt(self, x: np.ndarray, y: np.ndarray) -> None:
        """Let the template's first layer learn from scaled data, if it can and has not:
        `Normalization`, and `FourierFeatures`, which keeps random frequencies where
        none stand out. The user's model stays as it was."""
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
        """Models with weights of their own, one for each seed.

        Args:
            inputs: columns of the encoded table.
            units: outputs of the network.
        """
        models = []
        given = getattr(self.template, "input_shape", None)
        if given not in (None, (None, inputs)):
            raise ValueError(
                "[fit] hidden_layer_sizes is a model whose input does not fit the "
                f"table, which has {inputs} columns when encoded. Received: a model "
                f"with input_shape={given}. Try a Sequential without an input shape."
            )
        for seed in seeds:
            if self.template:
                model = clone(self.template, keep_shapes=False)
            else:
                model = self._hidden()
            name = "output"
            while any(name == layer.name for layer in model.layers):
                name += "_"
            model.add(Dense(units, kernel_regularizer=self._penalty(), name=name))
            model._network.seed = seed
            model.build((None, inputs))
            models.append(model)
        return models

    def _hidden(self) -> Sequential:
        model = Sequential(name="estimator")
        for number, width in enumerate(self.choice.hidden, 1):
            model.add(
                Dense(
                    width,
                    self.choice.activation,
                    kernel_regularizer=self._penalty(),
                    name=f"hidden_{number}",
                )
            )
            if self.dropout:
                model.add(Dropout(self.dropout, name=f"dropout_{number}"))
        return model

    def _penalty(self) -> regularizers.L1L2 | None:
        return regularizers.L1L2(l2=self.alpha) if self.alpha else None

    def check_same(self, before: Sequential, sizes: Any, activation: Any) -> None:
        """Refuse to go on with a network that is not what the parameters ask for.

        Args:
            sizes, activation: of which "auto" means what is there.
        """
        inner = [layer for layer in before.layers[:-1] if isinstance(layer, Dense)]
        choice = self.choice
        if isinstance(sizes, str):
            choice = replace(choice, hidden=tuple(layer.units for layer in inner))
        if inner and isinstance(activation, str) and activation == "auto":
            choice = replace(choice, activation=inner[0].activation)
        assert before.input_shape is not None and before.output_shape is not None
        inputs, units = before.input_shape[-1], before.output_shape[-1]
        assert inputs is not None and units is not None
        asked = replace(self, choice=choice).build(inputs, units, [0])[0]
        if _outline(asked) != _outline(before):
            raise ValueError(
                "[fit] training goes on with the network that is there, so "
                "hidden_layer_sizes, activation, dropout and alpha must stay. "
                f"Received: a network of {asked.count_params()} weights, after one of "
                f"{before.count_params()} weights. Try warm_start=False."
            )

    def optimizer_for(self, steps: int) -> optimizers.Optimizer:
        """The optimizer of one model whose training takes so many steps."""
        given = self.optimizer or "adam"
        if isinstance(given, optimizers.Optimizer):
            made = copy.deepcopy(given)
            if self.rate is not None:
                made.learning_rate = self.rate
            return made
        made = optimizers.get(given)
        made.name = str(given)  # not by how many there were before
        if self.rate is not None:
            made.learning_rate = self.rate
        elif given in ("adam", "adamw", "nadam"):
            made.learning_rate = defaults.schedule(self.choice.learning_rate, steps)
        return made

    def compile(self, models: Sequence[Sequential], loss: Loss, steps: int) -> None:
        """Make the models ready for so many steps."""
        for model in models:
            model.compile(self.optimizer_for(steps), loss, engine=self.engine)

    def train(
        self,
        models: Sequence[Sequential],
        loss: Loss,
        rows: Rows,
        validation: Rows | None,
        weights: np.ndarray | None = None,
    ) -> TrainingResult:
        """Train the models side by side.

        Args:
            validation: what early stopping watches, or None for no early stopping.
            weights: (models, n), instead of the weights in `rows`.
        """
        x, y, common = rows
        choice = self.choice
        if choice.solver is not None:
            self.compile(models, loss, 1)
            return self._solve(models, loss, rows, validation, weights)
        steps = choice.epochs * -(-len(x) // choice.batch_size)
        self.compile(models, loss, steps)
        arguments: dict[str, Any] = {
            "batch_size": min(choice.batch_size, len(x)),
            "epochs": choice.epochs,
            "validation_data": validation,
            "validation_batch_size": 8192,
            "verbose": self.verbose,
        }
        callbacks: list[Callback] = []
        if validation is not None:
            callbacks.append(
                EarlyStopping(patience=choice.patience, restore_best_weights=True)
            )
        if self.watch is not None:
            callbacks.append(_Watching(self.watch, choice.epochs))
        if len(models) == 1:
            weight = common if weights is None else weights[0]
            histories = [
                models[0].fit(
                    x, y, sample_weight=weight, callbacks=callbacks, **arguments
                )
            ]
        else:
            each = common if weights is None else weights
            histories = Ensemble(models).fit(
                x, y, sample_weight=each, callbacks=callbacks, **arguments
            )
        return TrainingResult(
            mean_history(histories), max(len(h.epoch) for h in histories)
        )

    def _solve(
        self,
        models: Sequence[Sequential],
        loss: Loss,
        rows: Rows,
        validation: Rows | None,
        weights: np.ndarray | None,
    ) -> TrainingResult:
        from kurve import solvers  # type: ignore[attr-defined,unused-ignore]

        x, y, common = rows
        results = []
        solve: Callable[..., Any]
        for number, model in enumerate(models):
            arguments: dict[str, Any] = {
                "max_iterations": self.choice.iterations,
                "verbose": self.verbose,
                "validation_data": validation,
            }
            if self.watch is not None:
                arguments["callback"] = partial(self._report, self.watch)
            if validation is not None:
                arguments["patience"] = self.choice.patience
            weight = common if weights is None else weights[number]
            if self.choice.solver == "lm":
                if not self.alpha:
                    arguments["regularization"] = "bayesian"
                solve = solvers.levenberg_marquardt
            else:
                solve = solvers.lbfgs
            result = solve(model, x, y, weight, **arguments)
            for _ in range(defaults.RESTARTS):
                if self.choice.solver != "lm" or result.loss < defaults.PLATEAU:
                    break
                # A full-batch method has no noise that would shake it off a plateau.
                units = model.output_shape[-1] if model.built else 1
                twin = self.build(x.shape[1], units or 1, [model._network.seed + 1])[0]
                twin.compile(loss=loss, engine=self.engine)
                again = solve(twin, x, y, weight, **arguments)
                model._network.seed = twin._network.seed
                if again.loss < result.loss:
                    model.set_weights(twin.get_weights())
                    result = again
            results.append(result)
        iterations = max(1, *(int(result.iterations) for result in results))
        counted = [result.effective_parameters for result in results]
        known = [count for count in counted if count is not None]
        return TrainingResult(
            mean_history([result.history for result in results]),
            iterations,
            max(known) if known else None,
        )

    def _report(self, watch: Watch, done: int, logs: Mapping[str, float]) -> None:
        watch(done, self.choice.iterations, logs)


class _Watching(Callback):
    """Tells one watcher of the epochs of all members."""

    def __init__(self, watch: Watch, epochs: int) -> None:
        super().__init__()
        self._watch, self._epochs = watch, epochs

    def __deepcopy__(self, memo: Any) -> Callback:
        return _Watching(self._watch, self._epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._watch(epoch + 1, self._epochs, logs or {})


def mean_history(
    histories: Sequence[History | Mapping[str, Sequence[float]]],
) -> dict[str, list[float]]:
    """Name by name the mean over all models that were still training."""
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
    """What the layers are, but for their names and what they learn before training."""
    found: list[Any] = []
    for entry in model.get_config()["layers"]:
        config = {k: v for k, v in entry["config"].items() if k != "name"}
        adapts = entry["class_name"] in ("FourierFeatures", "Normalization")
        found.append((entry["class_name"], None if adapts else config))
    return found
