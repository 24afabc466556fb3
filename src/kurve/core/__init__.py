"""The foundation of all other parts: random numbers, locks, files, registries."""
