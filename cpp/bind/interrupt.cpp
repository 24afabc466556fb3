#include "interrupt.h"

#include <chrono>

#include "float_mode.h"

namespace {

// Belongs to the innermost call of this thread that has released the GIL.
constinit thread_local PyThreadState* state = nullptr;

}  // namespace

GilRelease::GilRelease() : previous_(state) { state = PyEval_SaveThread(); }

GilRelease::~GilRelease() {
  call_python([] { PyEval_RestoreThread(state); });
  state = previous_;
}

GilAcquire::GilAcquire() {
  call_python([] { PyEval_RestoreThread(state); });
}

GilAcquire::~GilAcquire() { state = PyEval_SaveThread(); }

bool interrupted() {
  using Clock = std::chrono::steady_clock;
  static thread_local Clock::time_point looked{};
  Clock::time_point now = Clock::now();
  if (now - looked < std::chrono::milliseconds(20)) return false;
  looked = now;
  kurve::FlushSubnormals flush(false);  // a handler may run any Python code
  bool raised = false;
  call_python([&] {
    PyEval_RestoreThread(state);
    raised = PyErr_CheckSignals() != 0;
    state = PyEval_SaveThread();
  });
  return raised;
}
