"""Captured steps of the torch engine, on a simulated GPU: what they compute is what
steps on the CPU do, whatever a plan has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers, losses, metrics, ops, optimizers

pytest.importorskip("torch")
import torch

from tests.engines.simulated import Graph, OnDevice, gpu

X = np.random.default_rng(1).normal(size=(26, 6)).astype(np.float32)
Y = np.tanh(X[:, :1] * 2.0)
Result = tuple[list[np.ndarray], dict[str, list[float]], np.ndarray]


@pytest.fixture(scope="module")
def device() -> Iterator[None]:
    """One GPU."""
    with pytest.MonkeyPatch.context() as patch, gpu(patch):
        yield


def trained(
    make: Callable[[], Any],
    engine: str,
    x: Any = X,
    y: Any = Y,
    **compiled: Any,
) -> Result:
    """Fit a model with batches of two sizes."""
    kurve.utils.set_random_seed(3)
    model = make()
    given: dict[str, Any] = {"optimizer": optimizers.Adam(0.01), "loss": "mse"}
    given |= {k: v() if callable(v) else v for k, v in compiled.items()}
    model.compile(**given, engine=engine)
    history = model.fit(x, y, batch_size=9, epochs=4, verbose=0).history
    return model.get_weights(), history, model.predict(x, verbose=0)


def check_equal(
    make: Callable[[], Any], x: Any = X, y: Any = Y, **compiled: Any
) -> None:
    """Compare steps that are captured with those on the CPU."""
    Graph.replayed = 0
    found = trained(make, "torch:cuda", x, y, **compiled)
    assert Graph.replayed == 10, "all but the first of each of two sizes"
    wanted = trained(make, "torch:cpu", x, y, **compiled)
    for ours, theirs in zip(found[0], wanted[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    for values, others in zip(found[1].values(), wanted[1].values(), strict=True):
        np.testing.assert_allclose(values, others, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(found[2], wanted[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def stack(*between: Callable[[], Any], end: str = "linear") -> Callable[[], Any]:
    def make() -> Any:
        inner = [made() for made in between]
        return Sequential([Input((6,)), layers.Dense(8), *inner, layers.Dense(1, end)])

    return make


def formula(function: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: layers.Lambda(function)


STACKS: dict[str, Callable[[], Any]] = {
    "dropout": stack(lambda: layers.Dropout(0.3), lambda: layers.GaussianNoise(0.1)),
    "alpha dropout": stack(lambda: layers.AlphaDropout(0.2)),
    "normalization": stack(layers.BatchNormalization, layers.LayerNormalization),
    "where": stack(formula(lambda x: ops.where(x > 0.0, x, 0.1))),
    "clip": stack(formula(lambda x: ops.clip(x, -0.4, 0.5))),
    "stopped": stack(formula(lambda x: x * ops.stop_gradient(ops.exp(x)))),
    "constant": stack(formula(lambda x: 0.0 * ops.floor(x) + ops.ones_like(x))),
    "reduced": stack(formula(lambda x: x - ops.logsumexp(x, -1, keepdims=True))),
    "sorted": stack(formula(lambda x: ops.cumsum(x, -1) * ops.max(x, -1)[:, None])),
    "activations": stack(
        *(lambda a=a: layers.Activation(a) for a in ("mish", "hard_swish", "celu"))
    ),
    "penalty": lambda: Sequential(
        [Input((6,)), layers.Dense(4, kernel_regularizer="l1l2"), layers.Dense(1)]
    ),
    "recurrent": stack(
        lambda: layers.Reshape((4, 2)),
        lambda: layers.LSTM(3, return_sequences=True, recurrent_dropout=0.2),
        lambda: layers.GRU(3),
    ),
    "attention": lambda: attention(),
    "images": stack(
        lambda: layers.Reshape((4, 2, 1)),
        lambda: layers.RandomRotation(0.1),
        lambda: layers.Conv2D(3, 2, padding="same", activation="relu"),
        lambda: layers.MaxPooling2D((2, 1)),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        lambda: layers.Conv2DTranspose(2, 2),
        layers.GlobalAveragePooling2D,
    ),
    "embedding": lambda: Sequential(
        [
            Input((6,)),
            formula(lambda x: ops.round(ops.abs(x)))(),
            layers.Embedding(9, 3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    ),
}


def attention() -> Any:
    x = Input((6,))
    h = layers.Reshape((3, 2))(x)
    h = layers.MultiHeadAttention(2, 2, dropout=0.1)(h, h)
    return kurve.Model(x, layers.Dense(1)(layers.Flatten()(h)))


@pytest.mark.parametrize("name", STACKS)
def test_layers(name: str, device: None) -> None:
    check_equal(STACKS[name])


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optimizers.SGD(0.01, 0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.01, clipvalue=0.1),
    "adam": lambda: optimizers.Adam(0.01, amsgrad=True, global_clipnorm=0.5),
    "nadam": lambda: optimizers.Nadam(0.01, gradient_accumulation_steps=2),
    "adamax": lambda: optimizers.Adamax(0.01, clipnorm=0.5),
    "schedule": lambda: optimizers.Adam(
        optimizers.schedules.CosineDecay(0.01, 9, warmup_target=0.02, warmup_steps=3)
    ),
    "average": lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=3),
    "lion": lambda: optimizers.Lion(0.01),
    "lamb": lambda: optimizers.Lamb(0.01, weight_decay=0.1),
    "adafactor": lambda: optimizers.Adafactor(0.01),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
    "muon": lambda: optimizers.Muon(0.01, ns_steps=3),
    "schedule-free": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, device: None) -> None:
    Graph.replayed = 0
    if name == "nadam":  # steps that only accumulate are captured by themselves
        found = trained(stack(), "torch:cuda", optimizer=OPTIMIZERS[name])
        wanted = trained(stack(), "torch:cpu", optimizer=OPTIMIZERS[name])
        assert Graph.replayed > 0
        for ours, theirs in zip(found[0], wanted[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    else:
        check_equal(stack(), optimizer=OPTIMIZERS[name])


LOSSES: dict[str, tuple[str, Any]] = {
    "mae": ("linear", losses.MeanAbsoluteError),
    "huber": ("linear", lambda: losses.Huber(0.3)),
    "log_cosh": ("linear", losses.LogCosh),
    "crossentropy": ("sigmoid", lambda: losses.BinaryCrossentropy(label_smoothing=0.1)),
    "focal": ("sigmoid", losses.BinaryFocalCrossentropy),
    "poisson": ("softplus", losses.Poisson),
    "hinge": ("tanh", losses.SquaredHinge),
    "dice": ("sigmoid", losses.Dice),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_metrics(name: str, device: None) -> None:
    end, loss = LOSSES[name]
    y = (Y > 0.0).astype(np.float32)
    check_equal(
        stack(end=end),
        y=y,
        loss=loss,
        metrics=lambda: ["mae", "r2", "auc", metrics.Precision(), metrics.F1Score()],
    )


@pytest.mark.parametrize(
    "loss",
    [
        losses.SparseCategoricalCrossentropy(ignore_class=1),
        losses.CategoricalCrossentropy(from_logits=True),
    ],
)
def test_classes(loss: Any, device: None) -> None:
    def make() -> Any:
        end = "linear" if loss.from_logits else "softmax"
        return Sequential([Input((6,)), layers.Dense(8, "relu"), layers.Dense(3, end)])

    classes = np.arange(26) % 3
    y = np.eye(3, dtype=np.float32)[classes] if loss.from_logits else classes
    check_equal(make, y=y, loss=lambda: loss, metrics=lambda: ["accuracy"])


def test_labels_of_sequences(device: None) -> None:
    def make() -> Any:
        return Sequential([Input((6,)), layers.Reshape((3, 2)), layers.Dense(4)])

    check_equal(make, y=np.arange(52).reshape(26, 2) % 3 + 1, loss=losses.CTC)


def test_members_together(device: None) -> None:
    """An ensemble is captured as one program."""

    def fitted(engine: str) -> list[np.ndarray]:
        kurve.utils.set_random_seed(3)
        model = stack(lambda: layers.Dropout(0.2), layers.BatchNormalization)()
        model.compile("adam", "mse", engine=engine)
        committee = kurve.ensemble(model, 3)
        committee.fit(X, Y, batch_size=13, epochs=4, verbose=0, bootstrap=True)
        return [w for member in committee.members for w in member.get_weights()]

    Graph.replayed = 0
    found = fitted("torch:cuda")
    assert Graph.replayed == 7
    for ours, theirs in zip(found, fitted("torch:cpu"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_a_capture_cannot_have(device: None) -> None:
    """The simulation refuses what a GPU refuses."""
    x = torch.zeros(3, device="cuda:0")
    assert isinstance(x, OnDevice) and x.device.type == "cuda"
    wrong: list[Callable[[], Any]] = [
        lambda: x.sum().item(),
        lambda: x.cpu(),
        lambda: x.copy_(torch.ones(3)),
        lambda: torch.ones(()).to("cuda:0"),
        lambda: x[x > 0],
        lambda: torch.where(x > 0, x, torch.ones(())),
        lambda: x + torch.ones(3),
    ]
    for call in wrong:
        with torch.inference_mode():
            graph = torch.cuda.CUDAGraph()
            with pytest.raises(AssertionError), torch.cuda.graph(graph):
                call()
