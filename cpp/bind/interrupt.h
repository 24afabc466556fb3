// Long calls from Python: without the GIL, and stopped by Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include <exception>

#include "platform.h"
#include "stop_token.h"

// Releases the GIL until the end of the scope.
class GilRelease {
 public:
  GilRelease();
  ~GilRelease();
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* previous_;
};

// Calls Python from C++. Python 3.11 to 3.13 end a thread that runs Python while the
// interpreter shuts down, by unwinding its stack. It must not unwind C++ frames, so
// such a thread sleeps until the process is gone, as it does in later versions. All our
// errors are std::exceptions; anything else is that unwinding.
template <class Body>
auto call_python(Body&& body) {
  try {
    return body();
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    kurve::sleep_forever();
  }
}

// Calls Python from code that runs without the GIL.
class GilAcquire {
 public:
  GilAcquire();
  ~GilAcquire();
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;
};

// True once a signal handler has raised; checked every 20 ms, because that takes the
// GIL.
bool interrupted();

// Runs body without the GIL. Returns whether a signal handler has raised meanwhile:
// then Python's error is set, and the result of body is meaningless.
template <class Body>
bool without_gil(Body&& body) {
  GilRelease release;
  kurve::StopToken stop_token(interrupted);
  body();
  return stop_token.stopped();
}

// The same, but throws that error.
template <class Body>
void interruptible(Body&& body) {
  if (without_gil(body)) throw nanobind::python_error();
}
