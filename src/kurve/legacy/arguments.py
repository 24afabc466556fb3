"""Old arguments, by the class, function or method that had them.

`renewed` is called when an argument was rejected. A row applies to the class of its
name and all subclasses, as far as these have today's argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kurve.core.arguments import unpacked
from kurve.core.inside import network_of
from kurve.legacy.saying import say, shown

Given = dict[str, Any]
"""Arguments by name."""

Call = tuple[tuple[Any, ...], Given]
"""The positional and keyword arguments of a call."""


class Old:
    """The current equivalent of an old argument.

    Args:
        today: the name of the argument that replaces it; "" if none.
        values: mapping of old to current values; others stay.
        put: called with today's arguments and the old value, instead of renaming.
        text: for the table in the docs, if `today` is not enough.
        unset: old values without effect, which need no argument.
    """

    def __init__(
        self,
        today: str = "",
        values: Mapping[Any, Any] | None = None,
        put: Callable[[Given, Any], None] | None = None,
        text: str = "",
    ) -> None:
        self.today, self.values, self.put = today, values or {}, put
        self.text = text or (f"`{today}`" if today else "not needed")

    def __call__(self, given: Given, value: Any) -> None:
        """Translate the old argument into today's."""
        if self.put is not None:
            self.put(given, value)
        elif self.today:
            known = isinstance(value, (str, int, type(None))) and value in self.values
            given[self.today] = self.values[value] if known else value


def _part(name: str, position: int) -> Old:
    """A single element of a tuple."""

    def put(given: Given, value: Any) -> None:
        parts = list(given.get(name, ()))
        parts += [value] * (position + 1 - len(parts))
        parts[position] = value
        given[name] = tuple(parts)

    return Old(name, put=put, text=f"`{name}`, number {position + 1} of it")


def _keep(given: Given, value: Any) -> None:
    given["rate"] = 1.0 - value


def _decay(given: Given, value: Any) -> None:
    """The learning rate after n updates is lr / (1 + decay n)."""
    given["_decay"] = value


def _every_epochs(given: Given, value: Any) -> None:
    """The number of epochs between saves."""
    given["save_freq"] = "epoch" if value == 1 else f"{value} epochs"


def _only(*values: Any, because: str) -> Callable[[Given, Any], None]:
    """An argument without effect, except for values no longer supported."""

    def put(given: Given, value: Any) -> None:
        if not any(type(value) is type(one) and value == one for one in values):
            raise ValueError(
                f"[old argument] {because}. Received: {value!r}. Try "
                f"{' or '.join(map(repr, values))}."
            )

    return put


ORDERINGS = {"tf": "channels_last", "th": "channels_first", "default": None}
UNUSED = Old()

LAYER = {
    "W_constraint": Old("kernel_constraint"),
    "W_regularizer": Old("kernel_regularizer"),
    "U_constraint": Old("recurrent_constraint"),
    "U_regularizer": Old("recurrent_regularizer"),
    "atrous_rate": Old("dilation_rate"),
    "b_constraint": Old("bias_constraint"),
    "b_regularizer": Old("bias_regularizer"),
    "batch_input_dtype": UNUSED,
    "beta_init": Old("beta_initializer"),
    "bias": Old("use_bias"),
    "bias_init": Old("bias_initializer"),
    "border_mode": Old("padding"),
    "consume_less": UNUSED,
    "depthwise_init": Old("depthwise_initializer"),
    "dim_ordering": Old("data_format", ORDERINGS),
    "dims": Old("target_shape"),
    "dropout_U": Old("recurrent_dropout"),
    "dropout_W": Old("dropout"),
    "filter_length": Old("kernel_size"),
    "forget_bias_init": Old(
        "unit_forget_bias", {"one": True, "ones": True, "zero": False, "zeros": False}
    ),
    "gamma_init": Old("gamma_initializer"),
    "init": Old("kernel_initializer"),
    "inner_activation": Old("recurrent_activation"),
    "inner_init": Old("recurrent_initializer"),
    "input_dtype": UNUSED,
    "input_length": Old("input_shape", text="`input_shape=(length, ...)`"),
    "kernel_dim1": _part("kernel_size", 0),
    "kernel_dim2": _part("kernel_size", 1),
    "kernel_dim3": _part("kernel_size", 2),
    "kernel_init": Old("kernel_initializer"),
    "nb_filter": Old("filters"),
    "nb_col": _part("kernel_size", 1),
    "nb_row": _part("kernel_size", 0),
    "output_dim": Old("units"),
    "pointwise_init": Old("pointwise_initializer"),
    "pool_length": Old("pool_size"),
    "stride": Old("strides"),
    "subsample": Old("strides"),
    "subsample_length": Old("strides"),
    "time_major": Old(put=_only(False, because="the batch axis is the first one")),
}

RATE = {
    "p": Old("rate"),
    "keep_prob": Old("rate", put=_keep, text="`rate = 1 - keep_prob`"),
}
QUEUES = dict.fromkeys(
    (
        "max_q_size",
        "max_queue_size",
        "nb_worker",
        "pickle_safe",
        "use_multiprocessing",
        "workers",
    ),
    UNUSED,
)
EMBEDDING = {
    "W_constraint": Old("embeddings_constraint"),
    "W_regularizer": Old("embeddings_regularizer"),
    "dropout": Old(
        put=_only(0, 0.0, because="Embedding has no dropout: SpatialDropout1D has"),
        text="`SpatialDropout1D` after it",
    ),
    "init": Old("embeddings_initializer"),
}

ARGUMENTS: dict[str, dict[str, Old]] = {
    "Layer": LAYER,
    "Dropout": RATE,
    "AlphaDropout": RATE,
    "GaussianDropout": RATE,
    "SpatialDropout1D": RATE,
    "SpatialDropout2D": RATE,
    "SpatialDropout3D": RATE,
    "GaussianNoise": {"sigma": Old("stddev")},
    "BatchNormalization": {
        "mode": Old(put=_only(0, because="statistics are of each feature over a batch"))
    },
    "Conv2DTranspose": {"output_shape": UNUSED},
    "Conv3DTranspose": {"output_shape": UNUSED},
    "Embedding": EMBEDDING,
    "PReLU": {"init": Old("alpha_initializer"), "weights": UNUSED},
    "Tokenizer": {"nb_words": Old("num_words")},
    "UpSampling1D": {"length": Old("size")},
    "Model": {"input": Old("inputs"), "output": Old("outputs")},
    "Optimizer": {
        "lr": Old("learning_rate"),
        "decay": Old("learning_rate", put=_decay, text="`schedules.InverseTimeDecay`"),
        "schedule_decay": UNUSED,
    },
    "L1": {"l": Old("l1")},
    "L2": {"l": Old("l2")},
    "MaxNorm": {"m": Old("max_value")},
    "ModelCheckpoint": {
        "period": Old(
            "save_freq",
            put=_every_epochs,
            text='`save_freq="2 epochs"`',
        )
    },
    "ReduceLROnPlateau": {"epsilon": Old("min_delta")},
    "TensorBoard": dict.fromkeys(
        ("batch_size", "write_grads", "embeddings_data", "embeddings_layer_names"),
        UNUSED,
    ),
    "compile": {
        "class_mode": UNUSED,
        "experimental_run_tf_function": UNUSED,
        "experimental_steps_per_execution": Old("steps_per_execution"),
        "sample_weight_mode": UNUSED,
        "target_tensors": Old(put=_only(None, because="targets are given to fit")),
        "theano_mode": UNUSED,
    },
    "fit": {"nb_epoch": Old("epochs"), **QUEUES},
    "evaluate": QUEUES,
    "predict": QUEUES,
    "train_on_batch": {"accuracy": UNUSED, "reset_metrics": UNUSED},
    "test_on_batch": {"accuracy": UNUSED, "reset_metrics": UNUSED},
    "save": {
        "include_optimizer": UNUSED,
        "save_format": Old(text="the ending of the file's name"),
    },
    "save_model": {
        "include_optimizer": UNUSED,
        "save_format": Old(text="the ending of the file's name"),
    },
    "save_weights": {"save_format": Old(text="the ending of the file's name")},
    "to_categorical": {"nb_classes": Old("num_classes"), "y": Old("x")},
    "image_dataset_from_directory": {"smart_resize": Old("crop_to_aspect_ratio")},
}
"""By class, function or method, and by old name."""

for _method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
    ARGUMENTS[_method] = {
        **ARGUMENTS[_method],
        "show_accuracy": Old(text='`metrics=["accuracy"]` of `compile`'),
    }

VALUES: dict[str, dict[str, Old]] = {
    "Loss": {"reduction": Old("reduction", {"auto": "sum_over_batch_size"})},
    "Optimizer": {"epsilon": Old("epsilon", {None: 1e-7})},
}
"""Constructor arguments that now reject some old values."""

KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def renewed(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Call | None:
    """The arguments in today's spelling, with a warning; None if none of them is old,
    or if only an outer call of the constructor can tell.

    Args:
        call, args, kwargs: the call that rejected them.

    Raises:
        TypeError: an argument in both spellings.
        ValueError: an old value without an equivalent today.
    """
    where = call.__name__
    if where == "add_weight" and len(args) > 1 and isinstance(args[1], str):
        return _named(args, kwargs)
    scopes = [where]
    if where == "__init__":
        where = type(args[0]).__name__
        scopes = [cls.__name__ for cls in type(args[0]).__mro__]
    named = [
        p for p in inspect.signature(call).parameters.values() if p.kind in KEYWORD
    ]
    names = [p.name for p in named]
    accepted = {*names, *unpacked(call)}
    old: dict[str, Old] = {}
    for name, value in kwargs.items():
        row = _row(ARGUMENTS, scopes, name) if name not in accepted else None
        if row is not None and row.today and row.today not in accepted:
            return None
        if row is None and call.__name__ == "__init__" and name in names:
            row = _row(VALUES, scopes, name)
            if row is None or not _refuses(row, value):
                continue
        if row is not None:
            old[name] = row
    if not old:
        return None
    given: Given = {k: v for k, v in kwargs.items() if k not in old}
    renamed: Given = {}
    for name, row in old.items():
        positional = names[: len(args)]
        if row.put is None and row.today and row.today in {*given, *positional}:
            raise TypeError(
                f"[{where}] {name} is {row.today} in an older spelling. Received: "
                f"both. Try {row.today} alone."
            )
        row(renamed, kwargs[name])
    args = _finished(args, given, renamed, kwargs)
    received = ", ".join(f"{name}={shown(kwargs[name])}" for name in old)
    gone = [name for name, row in old.items() if not row.today]
    fix = ", ".join(f"{name}={shown(value)}" for name, value in renamed.items())
    fix = fix or f"{where} without {' and '.join(gone)}"
    if old.keys() & {"show_accuracy"}:
        fix = "compile(metrics=['accuracy'])"
        _show_accuracy(args[0])
    args = _square(args, old, given | renamed)
    todays = {**given, **renamed}
    verb = "is a spelling" if len(old) == 1 else "are spellings"
    say(where, f"{', '.join(old)} {verb} of Keras 1 or 2", received, fix)
    return args, todays


def _named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """`add_weight("kernel", shape)` with the name as a keyword."""
    old = ("name", "shape", "dtype", "initializer", "regularizer", "trainable")
    given = {**dict(zip(old, args[1:], strict=False)), **kwargs}
    where = f"{type(args[0]).__name__}.add_weight"
    rule = "the name stood first in Keras 2"
    say(where, rule, shown(args[1]), f"add_weight(shape, name={args[1]!r})")
    return args[:1], given


def _row(
    table: Mapping[str, Mapping[str, Old]], scopes: list[str], name: str
) -> Old | None:
    for scope in scopes:
        if name in table.get(scope, {}):
            return table[scope][name]
    return None


def _refuses(row: Old, value: Any) -> bool:
    return isinstance(value, (str, type(None))) and value in row.values


def _finished(
    args: tuple[Any, ...], given: Given, renamed: Given, kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Combine arguments that belong together in `renamed`; return the others."""
    if "input_length" in kwargs and "input_length" not in given:
        features = given.pop("input_dim", None)
        length = kwargs["input_length"]
        renamed["input_shape"] = (length,) if features is None else (length, features)
    decay = renamed.pop("_decay", None)
    if decay:
        from kurve.optimizers.schedules import InverseTimeDecay

        parameters = inspect.signature(type(args[0]).__init__).parameters
        usual = args[1] if len(args) > 1 else parameters["learning_rate"].default
        rate: Any = renamed.get("learning_rate", given.pop("learning_rate", usual))
        renamed["learning_rate"] = InverseTimeDecay(float(rate), 1, float(decay))
        if len(args) > 1:
            if len(args) > 2:
                raise TypeError(
                    f"[{type(args[0]).__name__}] decay needs the other arguments by "
                    f"name. Received: {args[1:]!r}. Try learning_rate={args[1]!r}."
                )
            args = args[:1]
    return args


def _show_accuracy(model: Any) -> None:
    """Recompile an untrained model with accuracy."""
    compilation = network_of(model).compilation
    if compilation is not None and not compilation.metrics and not model.iterations:
        model.compile(compilation.optimizer, compilation.loss, metrics=["accuracy"])


# ------------------------------------------------------------ sizes of a kernel


def _square(args: tuple[Any, ...], old: Mapping[str, Old], given: Given) -> Any:
    """Keras 1's `Convolution2D(32, 3, 3)` is `Conv2D(32, (3, 3))`, not a kernel of 3
    with strides of 3; this applies to calls spelled as in Keras 1, and to all later
    calls in the program."""
    axes = _axes(args)
    if not axes or not old.keys() & KERAS_1:
        return args
    read_as_keras_1(type(args[0]), axes)
    if len(args) < 2 + axes or "kernel_size" in given:
        return args
    return (*args[:2], tuple(args[2 : 2 + axes]), *args[2 + axes :])


KERAS_1 = {
    "W_constraint",
    "W_regularizer",
    "b_constraint",
    "b_regularizer",
    "bias",
    "border_mode",
    "dim_ordering",
    "init",
    "nb_filter",
    "subsample",
    "atrous_rate",
    "nb_row",
    "nb_col",
}
"""Arguments that never occur in Keras 2 programs."""


def _axes(args: tuple[Any, ...]) -> int:
    """The number of kernel axes if this is a convolution's constructor; else 0."""
    names = [cls.__name__ for cls in type(args[0]).__mro__] if args else []
    for axes in (2, 3):
        kinds = ("Conv{}D", "Conv{}DTranspose", "SeparableConv{}D")
        if any(kind.format(axes) in names for kind in kinds):
            return axes
    return 0


def read_as_keras_1(cls: Any, axes: int) -> None:
    """From now on, kernel sizes given one by one in calls of the class are read as in
    Keras 1. Keras 3 would not run such a program anyway.
    """
    from kurve import layers

    for name in (f"Conv{axes}D", f"Conv{axes}DTranspose"):
        one: Any = getattr(layers, name, None)
        if one is not None and "_keras_1" not in vars(one.__init__):
            one.__init__ = _sizes_together(one.__init__, axes)


def _sizes_together(init: Any, axes: int) -> Any:
    import functools

    @functools.wraps(init)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        sizes = args[1 : 1 + axes]
        one_by_one = len(sizes) == axes and all(isinstance(s, int) for s in sizes)
        if one_by_one:
            say(
                type(self).__name__,
                "in a program for Keras 1, sizes one by one are those of the kernel",
                ", ".join(map(str, args)),
                f"{args[0]}, {sizes}, or strides={args[2]}",
            )
            args = (args[0], sizes, *args[1 + axes :])
        init(self, *args, **kwargs)

    constructor._keras_1 = init  # type: ignore[attr-defined]
    return constructor
