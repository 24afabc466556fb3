"""What every other package builds on: random numbers, locks, files, registries."""
