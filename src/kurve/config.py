"""Process-wide settings, with Keras's names.

Engines compute in float32 with channels last, and with 1e-7 where Keras uses its
epsilon. Setting anything else is refused or triggers a warning.
"""

from __future__ import annotations

from typing import Any

from kurve.core.arguments import is_number
from kurve.core.dtypes import check_dtype, name_of_dtype
from kurve.core.entries import entry, filtering
from kurve.core.later import absent as _absent
from kurve.core.progress import interactive

EPSILON = 1e-7


def enable_traceback_filtering() -> None:
    """Hide Kurve's internal frames in tracebacks. This is the default, unless the
    environment variable KURVE_TRACEBACK_FILTERING is 0.

    Example:
        >>> kurve.config.enable_traceback_filtering()
        >>> kurve.config.is_traceback_filtering_enabled()
        True
    """
    filtering[0] = True


def disable_traceback_filtering() -> None:
    """Show all frames in tracebacks.

    Example:
        >>> kurve.config.disable_traceback_filtering()
        >>> kurve.config.is_traceback_filtering_enabled()
        False
        >>> kurve.config.enable_traceback_filtering()
    """
    filtering[0] = False


def is_traceback_filtering_enabled() -> bool:
    """Whether Kurve's internal frames are hidden in tracebacks.

    Example:
        >>> kurve.config.is_traceback_filtering_enabled()
        True
    """
    return filtering[0]


def enable_interactive_logging() -> None:
    """Print the progress of `fit`, `evaluate` and `predict`. This is the default.

    Example:
        >>> kurve.config.enable_interactive_logging()
        >>> kurve.config.is_interactive_logging_enabled()
        True
    """
    interactive[0] = True


def disable_interactive_logging() -> None:
    """Print no progress: each finished line is a message of the log "kurve" of Python's
    `logging`, of level INFO, which shows nothing unless it is set up.

    Example:
        >>> kurve.config.disable_interactive_logging()
        >>> model = kurve.Sequential([kurve.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit([[1.0]], [[2.0]])
        >>> kurve.config.enable_interactive_logging()
    """
    interactive[0] = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress is printed.

    Example:
        >>> kurve.config.is_interactive_logging_enabled()
        True
    """
    return interactive[0]


def backend() -> str:
    """The name of the backend.

    Example:
        >>> kurve.config.backend()
        'kurve'
    """
    return "kurve"


def floatx() -> str:
    """The dtype that engines compute in.

    Example:
        >>> kurve.config.floatx()
        'float32'
    """
    return "float32"


@entry
def set_floatx(value: Any) -> None:
    """Set the default dtype; only "float32" is accepted.

    Args:
        value: name of a dtype.

    Raises:
        ValueError: another dtype.

    Example:
        >>> kurve.config.set_floatx("float32")
    """
    if name_of_dtype(value) != "float32":
        raise ValueError(
            "[set_floatx] engines compute in float32. "
            f"Received: {value!r}. Try set_floatx('float32')."
        )


def epsilon() -> float:
    """The small constant in losses and metrics, for example to clip probabilities away
    from 0 and 1.

    Example:
        >>> kurve.config.epsilon()
        1e-07
    """
    return EPSILON


@entry
def set_epsilon(value: float) -> None:
    """Set the small constant; only 1e-7 is accepted.

    Args:
        value: a number.

    Raises:
        ValueError: another number.

    Example:
        >>> kurve.config.set_epsilon(1e-7)
    """
    if not is_number(value) or value != EPSILON:
        raise ValueError(
            "[set_epsilon] engines compute with 1e-7. "
            f"Received: {value!r}. Try set_epsilon(1e-7)."
        )


def image_data_format() -> str:
    """The order of image axes.

    Example:
        >>> kurve.config.image_data_format()
        'channels_last'
    """
    return "channels_last"


@entry
def set_image_data_format(data_format: str) -> None:
    """Set the order of image axes; only "channels_last" is accepted.

    Args:
        data_format: the order of image axes.

    Raises:
        ValueError: another order.

    Example:
        >>> kurve.config.set_image_data_format("channels_last")
    """
    if data_format != "channels_last":
        raise ValueError(
            "[set_image_data_format] data_format must be 'channels_last'. "
            f"Received: {data_format!r}. Try channels-last arrays: "
            "x.transpose(0, 2, 3, 1) converts channels-first images."
        )


class DTypePolicy:
    """The dtype that a layer computes in, which is always float32.

    Args:
        name: "float32"; other floating-point types trigger a warning.

    Raises:
        ValueError: not a floating-point type.

    Example:
        >>> kurve.config.DTypePolicy("float32").compute_dtype
        'float32'
    """

    compute_dtype = variable_dtype = name = "float32"

    def __init__(self, name: Any = "float32") -> None:
        check_dtype("DTypePolicy", name)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


def dtype_policy() -> DTypePolicy:
    """The dtype policy of layers.

    Example:
        >>> kurve.config.dtype_policy()
        <DTypePolicy "float32">
    """
    return DTypePolicy()


@entry
def set_dtype_policy(policy: Any) -> None:
    """Set the dtype policy; others than "float32" change nothing and trigger a warning.

    Args:
        policy: a name or a policy.

    Raises:
        ValueError: not a floating-point type.

    Example:
        >>> kurve.config.set_dtype_policy("float32")
    """
    check_dtype("set_dtype_policy", policy)


_flash_attention = [False]


def enable_flash_attention() -> None:
    """Build attention layers as with flash_attention=True, see
    `kurve.layers.MultiHeadAttention`.

    Example:
        >>> kurve.config.enable_flash_attention()
        >>> kurve.config.is_flash_attention_enabled()
        True
        >>> kurve.config.disable_flash_attention()
    """
    _flash_attention[0] = True


def disable_flash_attention() -> None:
    """Undo `enable_flash_attention`.

    Example:
        >>> kurve.config.disable_flash_attention()
    """
    _flash_attention[0] = False


def is_flash_attention_enabled() -> bool:
    """Whether `enable_flash_attention` was called.

    Example:
        >>> kurve.config.is_flash_attention_enabled()
        False
    """
    return _flash_attention[0]


@entry
def enable_unsafe_deserialization() -> None:
    """Always refused: files never make Kurve run code.

    Raises:
        NotImplementedError: always.

    Example:
        >>> try:
        ...     kurve.config.enable_unsafe_deserialization()
        ... except NotImplementedError:
        ...     print("no")
        no
    """
    raise NotImplementedError(
        "[enable_unsafe_deserialization] code in a model file is never run. "
        "Received: a call. Try load_model(file, custom_objects={'MyLayer': MyLayer})."
    )


__getattr__ = _absent(__name__)
