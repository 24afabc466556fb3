#include "interrupt.h"

#include <chrono>

namespace nb = nanobind;

bool interrupted() {
  using Clock = std::chrono::steady_clock;
  static thread_local Clock::time_point looked{};
  Clock::time_point now = Clock::now();
  if (now - looked < std::chrono::milliseconds(20)) return false;
  looked = now;
  nb::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}
