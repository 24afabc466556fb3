#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.h"
#include "pool.h"
#include "register.h"

namespace nb = nanobind;

void register_runtime(nb::module_& m) {
  m.def("get_threads", &kurve::get_threads,
        "The number of threads that a call may use.");
  m.def("set_threads", &kurve::set_threads, nb::arg("n"),
        "Let calls use up to n threads; results have the same bits for every n.");
  m.def("isa", &kurve::isa, "The instruction set in use.");
  m.def("available_isas", &kurve::available_isas,
        "The instruction sets that this CPU supports, slowest first.");
}
