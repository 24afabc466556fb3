// Long calls from Python: without the GIL, and ended by Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include <exception>

#include "stop_token.h"

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

// A thread that runs Python while the interpreter ends is ended by Python 3.11 to 3.13,
// which unwinds its stack. Where C++ lies below, it must not come there: such a thread
// sleeps until the process is gone, as later versions let it do.
[[noreturn]] void sleep_until_exit();

// Calls Python from C++. Every error of ours is a std::exception; anything else is that
// unwinding.
template <class Body>
auto calling_python(Body&& body) {
  try {
    return body();
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    sleep_until_exit();
  }
}

// True once a signal handler has raised; looks every 20 ms, because that takes the GIL.
bool interrupted();

// Runs body without the GIL. Returns whether a signal handler has raised meanwhile:
// then Python's error is set, and what body was to compute is worth nothing.
template <class Body>
bool without_gil(Body&& body) {
  Released released;
  kurve::StopToken stop_token(interrupted);
  body();
  return stop_token.stopped();
}

// The same, and throws that error.
template <class Body>
void interruptible(Body&& body) {
  if (without_gil(body)) throw nanobind::python_error();
}
