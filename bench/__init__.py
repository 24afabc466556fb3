"""Kurve beside its rivals: `make bench`, or `python -m bench` where all are installed.

cases.py       what is trained: sizes, data, first weights, operations and bytes
contenders/    one file a library: prepare, train, predict; all spell the same formulas
worker.py      a process that holds one contender and does what it is told
contest.py     lets the workers run in turn, checks their answers, keeps their times
ceilings.py    what this machine can do at all: products of matrices and copies
processes.py   whole programs: start, import, memory, size on the disk
parts.py       the parts (a) to (g): which cases, which contenders
claims.py      what is claimed, and whether the results bear it out
nist.py        `curve_fit` beside SciPy's on NIST's problems, on its own
small_network.py  Levenberg-Marquardt and L-BFGS beside SciPy's, on its own
report.py      the Markdown page; tables.py its numbers, pictures.py its pictures
"""
