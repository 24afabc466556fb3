"""A process with one contender: reads pickled requests from standard input and answers
on standard output.

    python -m bench.worker PyTorch             driven by contest.py
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
    """Seconds that this many calls take."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def answer(model: Any, request: str, arguments: tuple[Any, ...]) -> Any:
    if request == "time train":
        gc.collect()
        return repeat(lambda: model.train(*arguments), 1)
    if request == "time predict":
        x, times = arguments
        return repeat(lambda: model.predict(x), times)
    if request == "versions":
        return model.versions
    if request == "keras_epsilon" and not hasattr(model, request):
        return None
    return getattr(model, request)(*arguments)


def serve(name: str) -> None:
    """Answer requests until standard input ends; output of libraries goes to standard
    error."""
    # Otherwise a stopped process would outlive its parent.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    model = None
    while True:
        try:
            request, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            model = model or contender(name)
            reply = True, answer(model, request, arguments)
        except Exception as error:
            reply = False, f"{type(error).__name__}: {error}"
        pickle.dump(reply, answers)
        answers.flush()


def program(name: str, case: Any, steps: int) -> None:
    """Train, then predict 1,000 rows, or all if there are fewer."""
    model = contender(name)
    model.prepare(case)
    model.train(steps)
    model.predict(case.data()[0][:1000])
    exec(PEAK)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if "--article" in sys.argv:
        program(sys.argv[1], cases.article(), 100)
    elif "--digits" in sys.argv:
        program(sys.argv[1], Digits(), Digits().steps)
    else:
        serve(sys.argv[1])
