"""Settings of the process, with Keras's names."""

from __future__ import annotations

from kurve.core.entries import filtering


def enable_traceback_filtering() -> None:
    """Hide the frames inside Kurve from tracebacks. This is the default, unless the
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
    """Whether the frames inside Kurve are hidden from tracebacks.

    Example:
        >>> kurve.config.is_traceback_filtering_enabled()
        True
    """
    return filtering[0]
