#include "register.h"

NB_MODULE(_core, m) {
  m.doc() = "The native engine of kurve: kernels, threads and the training loop.";
  // What an interpreter still holds when it ends (a traceback's model, say) is its own
  // affair; nanobind would print about it into the user's terminal.
  nanobind::set_leak_warnings(false);
  register_runtime(m);
  register_program(m);
  register_random(m);
  register_linear(m);
}
