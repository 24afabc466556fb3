"""Models of and for other programs."""
