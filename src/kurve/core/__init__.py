"""What every other part rests on: random numbers, locks, files, names of classes."""
