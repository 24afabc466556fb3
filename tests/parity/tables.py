"""The cases: every activation, loss, optimizer, kind of clipping and schedule."""

from __future__ import annotations

from typing import Any

from twins import Call, Case, call

from tests.engines.cases import ACTIVATION_NAMES as KERNEL_NAMES
from tests.engines.cases import FORMULA_NAMES

ACTIVATION_NAMES = [*KERNEL_NAMES, *FORMULA_NAMES]


def dense(units: int, activation: str | None = None, **more: Any) -> Call:
    return call("layers.Dense", units=units, activation=activation, **more)


def network(last: str | None = None, outputs: int = 2, **more: Any) -> list[Call]:
    return [dense(12, "tanh", **more), dense(8, "tanh", **more), dense(outputs, last)]


ACTIVATIONS = {
    name: Case(
        [dense(12, name), dense(8, name), dense(2)],
        optimizer=call("optimizers.SGD", learning_rate=0.05),
    )
    for name in ACTIVATION_NAMES
} | {
    # The same as a separate layer, which engines do not fuse.
    f"Activation({name!r})": Case(
        [dense(12), call("layers.Activation", activation=name), dense(2)],
        optimizer=call("optimizers.SGD", learning_rate=0.05),
    )
    for name in ["relu", "tanh", "softmax", "sin", "snake"]
}

_SLOPE = call("initializers.Constant", value=0.25)
_ALL = {"max_value": 0.75, "negative_slope": 0.25, "threshold": 0.125}
LAYERS = {
    name: Case(
        [dense(12), call(f"layers.{path}", **arguments), dense(2)],
        optimizer=call("optimizers.SGD", learning_rate=0.05),
        input_shape=(4, 3),
    )
    for name, path, arguments in [
        ("ReLU", "ReLU", {}),
        ("ReLU of slope", "ReLU", {"negative_slope": 0.2}),
        ("ReLU of all", "ReLU", _ALL),
        ("ReLU6", "ReLU", {"max_value": 6.0}),
        ("LeakyReLU", "LeakyReLU", {}),
        ("ELU", "ELU", {"alpha": 0.7}),
        ("Softmax", "Softmax", {}),
        ("PReLU", "PReLU", {"alpha_initializer": _SLOPE}),
        ("PReLU shared", "PReLU", {"alpha_initializer": _SLOPE, "shared_axes": [1]}),
        (
            "PReLU with penalty",
            "PReLU",
            {
                "alpha_initializer": _SLOPE,
                "alpha_regularizer": call("regularizers.L2", l2=0.01),
            },
        ),
        ("Identity", "Identity", {}),
    ]
}

_LOSSES: dict[str, tuple[Any, str, str | None]] = {
    # loss, kind of targets, last activation
    "mse": ("mse", "numbers", None),
    "mae": ("mae", "numbers", None),
    "huber": ("huber", "numbers", None),
    "huber delta": (call("losses.Huber", delta=0.3), "numbers", None),
    "log_cosh": ("log_cosh", "numbers", None),
    "binary": ("binary_crossentropy", "signs", "sigmoid"),
    "categorical": ("categorical_crossentropy", "one-hot", "softmax"),
    "sparse": ("sparse_categorical_crossentropy", "classes", "softmax"),
    # outputs that do not sum to 1: Keras divides by their sum
    "categorical of sigmoids": ("categorical_crossentropy", "one-hot", "sigmoid"),
    "sparse of sigmoids": ("sparse_categorical_crossentropy", "classes", "sigmoid"),
}
_CROSS_ENTROPIES = {
    "binary": ("losses.BinaryCrossentropy", "signs", "sigmoid"),
    "categorical": ("losses.CategoricalCrossentropy", "one-hot", "softmax"),
}
for _name, (_path, _target, _last) in _CROSS_ENTROPIES.items():
    _logits = call(_path, from_logits=True)
    _smooth = call(_path, label_smoothing=0.1)
    _both = call(_path, from_logits=True, label_smoothing=0.1)
    _LOSSES |= {
        f"{_name} logits": (_logits, _target, None),
        f"{_name} smoothed": (_smooth, _target, _last),
        f"{_name} logits smoothed": (_both, _target, None),
    }
_LOSSES["sparse logits"] = (
    call("losses.SparseCategoricalCrossentropy", from_logits=True),
    "classes",
    None,
)

LOSSES = {
    name: Case(
        network(last, 2 if target in ("numbers", "signs") else 4),
        loss=loss,
        optimizer=call("optimizers.SGD", learning_rate=0.05),
        target=target,
    )
    for name, (loss, target, last) in _LOSSES.items()
}

_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"learning_rate": 0.02}),
    "SGD momentum": ("SGD", {"learning_rate": 0.01, "momentum": 0.8}),
    "SGD nesterov": (
        "SGD",
        {"learning_rate": 0.01, "momentum": 0.8, "nesterov": True},
    ),
    "RMSprop": ("RMSprop", {}),
    "RMSprop momentum": ("RMSprop", {"momentum": 0.5, "rho": 0.8}),
    "RMSprop centered": ("RMSprop", {"centered": True}),
    "RMSprop both": ("RMSprop", {"centered": True, "momentum": 0.5}),
    "Adagrad": ("Adagrad", {"learning_rate": 0.01}),
    "Adagrad start": ("Adagrad", {"initial_accumulator_value": 0.01}),
    "Adam": ("Adam", {}),
    "Adam betas": ("Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}),
    "Adam amsgrad": ("Adam", {"amsgrad": True}),
    "AdamW": ("AdamW", {}),
    "AdamW amsgrad": ("AdamW", {"amsgrad": True, "weight_decay": 0.05}),
    "Nadam": ("Nadam", {}),
    "Adamax": ("Adamax", {}),
    "Adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "Ftrl": ("Ftrl", {"learning_rate": 0.5}),
    "Ftrl penalties": (
        "Ftrl",
        {
            "learning_rate": 0.2,
            "learning_rate_power": -0.3,
            "l1_regularization_strength": 0.01,
            "l2_regularization_strength": 0.02,
            "l2_shrinkage_regularization_strength": 0.03,
            "beta": 0.1,
        },
    ),
    "Lion": ("Lion", {"learning_rate": 2e-4}),
    "Lamb": ("Lamb", {}),
    "Adafactor": ("Adafactor", {"learning_rate": 0.02}),
    "Muon": ("Muon", {"rms_rate": None}),
    "Muon plain": (
        "Muon",
        {"nesterov": False, "rms_rate": None, "ns_steps": 3, "adam_lr_ratio": 0.5},
    ),
}
COMMON: dict[str, dict[str, float]] = {
    "": {},
    " clipnorm": {"clipnorm": 0.1},
    " clipvalue": {"clipvalue": 0.1},
    " global_clipnorm": {"global_clipnorm": 0.1},
    " weight_decay": {"weight_decay": 0.1},
}
OPTIMIZERS = {
    name + extra: Case(
        network(), optimizer=call(f"optimizers.{kind}", **{**arguments, **common})
    )
    for name, (kind, arguments) in _OPTIMIZERS.items()
    for extra, common in COMMON.items()
}
MORE: dict[str, dict[str, Any]] = {
    " average": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 7},
    " average at the end": {"use_ema": True},
    " accumulated": {"gradient_accumulation_steps": 3},
    " both": {
        "gradient_accumulation_steps": 4,
        "use_ema": True,
        "ema_momentum": 0.7,
        "ema_overwrite_frequency": 3,
        "clipnorm": 0.1,
        "weight_decay": 0.1,
    },
    " scaled loss": {"loss_scale_factor": 8.0},
}
"""Arguments that change when and to what the weights are set."""
OPTIMIZERS["Muon scaled"] = Case(network(), optimizer=call("optimizers.Muon"))
OPTIMIZERS |= {
    name + extra: Case(
        network(),
        optimizer=call(f"optimizers.{kind}", **{**arguments, **more}),
    )
    for name in ("SGD momentum", "Adam", "Nadam", "Lamb", "Adafactor")
    for kind, arguments in [_OPTIMIZERS[name]]
    for extra, more in MORE.items()
}

_decay = {"initial_learning_rate": 0.05, "decay_steps": 30, "decay_rate": 0.5}
SCHEDULE_CALLS = {
    "exponential": call("ExponentialDecay", **_decay),
    "exponential stairs": call("ExponentialDecay", **_decay, staircase=True),
    "inverse time": call("InverseTimeDecay", **_decay),
    "inverse time stairs": call("InverseTimeDecay", **_decay, staircase=True),
    "piecewise": call(
        "PiecewiseConstantDecay", boundaries=[20, 60], values=[0.05, 0.02, 0.005]
    ),
    "cosine": call("CosineDecay", initial_learning_rate=0.05, decay_steps=80),
    "cosine alpha": call(
        "CosineDecay", initial_learning_rate=0.05, decay_steps=80, alpha=0.1
    ),
    "cosine warm-up": call(
        "CosineDecay",
        initial_learning_rate=0.0,
        decay_steps=60,
        warmup_target=0.05,
        warmup_steps=20,
        alpha=0.02,
    ),
    "polynomial": call(
        "PolynomialDecay", initial_learning_rate=0.05, decay_steps=60, power=0.5
    ),
    "polynomial cycle": call(
        "PolynomialDecay", initial_learning_rate=0.05, decay_steps=30, cycle=True
    ),
    "restarts": call(
        "CosineDecayRestarts", initial_learning_rate=0.05, first_decay_steps=13
    ),
    "restarts of one length": call(
        "CosineDecayRestarts",
        initial_learning_rate=0.05,
        first_decay_steps=23,
        t_mul=1.0,
        m_mul=0.8,
        alpha=0.1,
    ),
}
SCHEDULE_CALLS = {
    name: Call(f"optimizers.schedules.{given.path}", given.arguments)
    for name, given in SCHEDULE_CALLS.items()
}


def _slower(schedule: Call) -> Call:
    """A fiftieth of the rates, for optimizers whose steps have the length of the
    rate."""
    names = ("initial_learning_rate", "warmup_target")
    given = dict(schedule.arguments)
    return Call(schedule.path, given | {k: given[k] / 50 for k in names if k in given})


SCHEDULES = {
    f"SGD {name}": Case(
        network(), optimizer=call("optimizers.SGD", learning_rate=schedule)
    )
    for name, schedule in SCHEDULE_CALLS.items()
} | {
    # Weight decay is scaled by the rate of the step, not by the first one.
    f"AdamW {name}": Case(
        network(),
        optimizer=call("optimizers.AdamW", learning_rate=_slower(schedule)),
    )
    for name, schedule in SCHEDULE_CALLS.items()
    if name in ("exponential", "cosine warm-up")
}

_sgd = call("optimizers.SGD", learning_rate=0.05, momentum=0.5)
_l1 = call("regularizers.L1", l1=0.003)
_l2 = call("regularizers.L2", l2=0.01)
_l1_l2 = call("regularizers.L1L2", l1=0.002, l2=0.01)
_rows = call("regularizers.OrthogonalRegularizer", factor=0.3)
_columns = call("regularizers.OrthogonalRegularizer", factor=0.2, mode="columns")
_scaled = call("layers.Normalization", mean=[0.25, -0.5, 0], variance=[0.5, 2, 1])
_max_norm = call("constraints.MaxNorm", max_value=0.9, axis=1)
_min_max_norm = call("constraints.MinMaxNorm", min_value=0.5, max_value=0.8, rate=0.3)
_inverse = call("layers.Normalization", mean=0.5, variance=2.0, invert=True)
STRUCTURES = {
    "sample_weight": Case(network(), optimizer=_sgd, weights=1.0),
    "sample_weight, (B, T, F)": Case(
        network(), optimizer=_sgd, input_shape=(4, 3), weights=1.0
    ),
    "sample_weight and penalty": Case(
        network(kernel_regularizer=_l2), optimizer=_sgd, weights=1.0
    ),
    "class_weight, sparse": Case(
        network("softmax", 4),
        "sparse_categorical_crossentropy",
        _sgd,
        target="classes",
        class_weight={0: 0.5, 1: 2.0, 3: 0.125},
    ),
    "class_weight, one-hot": Case(
        network("softmax", 4),
        "categorical_crossentropy",
        _sgd,
        target="one-hot",
        class_weight={0: 0.5, 1: 2.0, 3: 0.125},
    ),
    "class_weight, signs": Case(
        network("sigmoid", 1),
        "binary_crossentropy",
        _sgd,
        target="signs",
        class_weight={0: 0.5, 1: 2.0},
    ),
    "L1": Case(network(kernel_regularizer=_l1), optimizer=_sgd),
    "L2": Case(network(kernel_regularizer=_l2), optimizer=_sgd),
    "L1L2, biases too": Case(
        network(kernel_regularizer=_l1_l2, bias_regularizer=_l1), optimizer=_sgd
    ),
    "l2 by name": Case(network(kernel_regularizer="l2"), optimizer=_sgd),
    "orthogonal": Case(network(kernel_regularizer=_rows), optimizer=_sgd),
    "orthogonal columns": Case(
        [dense(12, "tanh", kernel_regularizer=_columns), dense(2)],
        optimizer="adam",
    ),
    "frozen": Case([dense(12, "tanh"), dense(8, "tanh", trainable=False), dense(2)]),
    "frozen with penalty": Case(
        [
            dense(12, "tanh", trainable=False, kernel_regularizer=_l2),
            dense(8, "tanh", kernel_regularizer=_l2),
            dense(2),
        ],
        optimizer=_sgd,
    ),
    "frozen, global_clipnorm": Case(
        [dense(12, "tanh", trainable=False), dense(8, "tanh"), dense(2)],
        optimizer=call("optimizers.Adam", global_clipnorm=0.1, weight_decay=0.1),
    ),
    "max norm": Case(network(kernel_constraint=_max_norm), optimizer=_sgd),
    "unit norm, no negative bias": Case(
        network(kernel_constraint="unit_norm", bias_constraint="non_neg"),
        optimizer=_sgd,
    ),
    "min-max norm, average": Case(
        network(kernel_constraint=_min_max_norm),
        optimizer=call("optimizers.Adam", use_ema=True, ema_overwrite_frequency=5),
    ),
    "no bias": Case(network(use_bias=False), optimizer=_sgd),
    "(B, T, F)": Case(network(), optimizer=_sgd, input_shape=(5, 3)),
    "(B, T, F), sparse": Case(
        network("softmax", 4),
        "sparse_categorical_crossentropy",
        _sgd,
        input_shape=(4, 3),
        target="classes",
    ),
    "(B, S, T, F), softmax": Case(
        [dense(6, "softmax"), dense(2)], optimizer=_sgd, input_shape=(2, 3, 4)
    ),
    "one feature, one output": Case(
        network(outputs=1), optimizer=_sgd, input_shape=(1,)
    ),
    "given mean": Case([_scaled, *network()], optimizer=_sgd),
    "inverse at the end": Case([*network(), _inverse], optimizer=_sgd),
    "deep": Case([dense(10, "tanh") for _ in range(7)] + [dense(2)], optimizer=_sgd),
}

CASES = {
    f"{kind}: {name}": case
    for kind, table in {
        "activation": ACTIVATIONS,
        "layer": LAYERS,
        "loss": LOSSES,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "structure": STRUCTURES,
    }.items()
    for name, case in table.items()
}
