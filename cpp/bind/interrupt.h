// Long calls from Python: without the GIL, and ended by Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include "watch.h"

// Gives the GIL away until the end of the scope.
class Released {
 public:
  Released();
  ~Released();
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  PyThreadState* before_;
};

// True once a signal handler has raised; looks every 20 ms, because that takes the GIL.
bool interrupted();

// Runs body without the GIL. Returns whether a signal handler has raised meanwhile:
// then Python's error is set, and what body was to compute is worth nothing.
template <class Body>
bool without_gil(Body&& body) {
  Released released;
  kurve::Watch watch(interrupted);
  body();
  return watch.ended();
}

// The same, and throws that error.
template <class Body>
void interruptible(Body&& body) {
  if (without_gil(body)) throw nanobind::python_error();
}
