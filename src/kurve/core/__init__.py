"""The base of all other packages: random numbers, locks, files, registries."""
