"""Benchmarks of Kurve and its rivals: `make bench`, or `python -m bench` if all are
installed.

cases.py       what is trained: sizes, data, initial weights, operations and bytes
contenders/    one file per library: prepare, train, predict; all compute the same
formulas worker.py      a process with one contender, which answers requests
contest.py     runs the workers in turn, checks their answers, records their times
ceilings.py    the limits of this machine: rates of matrix products and copies
processes.py   whole programs: start, import, memory, size on disk
parts.py       the parts (a) to (g): which cases, which contenders
claims.py      what is claimed, and whether the results support it
nist.py        `curve_fit` and SciPy's on NIST's problems, a separate program
small_network.py  Levenberg-Marquardt, L-BFGS and SciPy's, a separate program
two_heads.py   a model with two inputs and two outputs, a separate program
formulas.py    custom losses, layers and loops, a separate program
recurrence.py  LSTM and GRU, a separate program
attention.py   multi-head attention, a separate program
report.py      the Markdown page; tables.py its numbers, pictures.py its plots
"""
