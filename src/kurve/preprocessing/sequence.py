"""Sequences of different lengths."""

from kurve.utils import pad_sequences as pad_sequences
