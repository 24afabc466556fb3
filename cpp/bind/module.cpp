#include "register.h"

NB_MODULE(_core, m) {
  m.doc() = "The native engine of kurve: kernels, threads and the training loop.";
  // Objects that the interpreter still holds at exit (in a traceback, for instance) are
  // harmless; nanobind would print warnings about them in the terminal.
  nanobind::set_leak_warnings(false);
  register_runtime(m);
  register_plans(m);
  register_program(m);
  register_random(m);
  register_linear(m);
}
