"""Spellings of Keras 1 and 2 that Keras 3 refuses: names of arguments, classes,
methods, modules, files and log values. Each works, with one FutureWarning that names
today's.

All of them are in the tables here. Other modules come here only where a name is unknown
to them, so the tables cost nothing to programs that use today's names.

`arguments`    of constructors, functions and methods
`names`        of modules, and of what is in them
`calls`        methods and functions that are no longer there, by today's
`files`        of files
`logs`         of values in `history` and in the logs of callbacks
"""
