"""Settings of the process, with Keras's names."""

from __future__ import annotations

from kurve.core.entries import filtering


def enable_traceback_filtering() -> None:
    """Show errors without the frames inside Kurve, as at the start; the environment
    variable KURVE_TRACEBACK_FILTERING=0 starts without.

    Example:
        >>> kurve.config.enable_traceback_filtering()
        >>> kurve.config.is_traceback_filtering_enabled()
        True
    """
    filtering[0] = True


def disable_traceback_filtering() -> None:
    """Show errors with all frames.

    Example:
        >>> kurve.config.disable_traceback_filtering()
        >>> kurve.config.is_traceback_filtering_enabled()
        False
        >>> kurve.config.enable_traceback_filtering()
    """
    filtering[0] = False


def is_traceback_filtering_enabled() -> bool:
    """Whether errors are shown without the frames inside Kurve.

    Example:
        >>> kurve.config.is_traceback_filtering_enabled()
        True
    """
    return filtering[0]
