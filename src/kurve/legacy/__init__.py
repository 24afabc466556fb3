"""Spellings of Keras 1 and 2 that Keras 3 rejects: names of arguments, classes,
methods, modules, files and log values. Each works, with one FutureWarning that names
the current spelling.

The tables here contain all of them. Other modules only come here for unknown names, so
the tables cost nothing in programs with current names.

`arguments`    of constructors, functions and methods
`names`        of modules, and of what is in them
`calls`        removed methods and functions, implemented with today's
`files`        of files
`logs`         of values in `history` and in the logs of callbacks
"""
