"""Keras's older place for helpers that prepare data."""

from kurve.preprocessing import sequence as sequence
