"""A process that holds one contender: reads requests, pickled, from its standard input
and answers on its standard output.

    python -m bench.worker PyTorch             served by contest.py
    python -m bench.worker PyTorch --article   the article's run as a whole program
    python -m bench.worker PyTorch --digits    an epoch of the convnet, likewise
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle
import signal
import sys
import time
import warnings
from typing import Any

from bench import cases, contenders
from bench.digits import Digits
from bench.processes import PEAK

PR_SET_PDEATHSIG = 1


def contender(name: str) -> Any:
    entry = contenders.entry(name)
    return importlib.import_module(entry.module).Contender(**entry.options)


def repeat(call: Any, times: int) -> float:
    """Seconds of so many calls."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def answer(it: Any, request: str, arguments: tuple[Any, ...]) -> Any:
    if request == "time train":
        gc.collect()
        return repeat(lambda: it.train(*arguments), 1)
    if request == "time predict":
        x, times = arguments
        return repeat(lambda: it.predict(x), times)
    if request == "versions":
        return it.versions
    if request == "keras_epsilon" and not hasattr(it, request):
        return None
    return getattr(it, request)(*arguments)


def serve(name: str) -> None:
    """Whatever a library prints goes to the standard error."""
    # A stopped process would stay when the parent is killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    it = None
    while True:
        try:
            request, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            it = it or contender(name)
            reply = True, answer(it, request, arguments)
        except Exception as error:
            reply = False, f"{type(error).__name__}: {error}"
        pickle.dump(reply, answers)
        answers.flush()


def program(name: str, case: Any, steps: int) -> None:
    """Trains and predicts 1,000 rows, or all that there are."""
    it = contender(name)
    it.prepare(case)
    it.train(steps)
    it.predict(case.data()[0][:1000])
    exec(PEAK)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if "--article" in sys.argv:
        program(sys.argv[1], cases.article(), 100)
    elif "--digits" in sys.argv:
        program(sys.argv[1], Digits(), Digits().steps)
    else:
        serve(sys.argv[1])
