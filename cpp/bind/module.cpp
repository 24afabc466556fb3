#include "register.h"

NB_MODULE(_core, m) {
  m.doc() = "The native engine of kurve: kernels, threads and the training loop.";
  register_runtime(m);
  register_program(m);
  register_random(m);
}
