// The plan in a file of model.export("....plan.kurve"), see
// kurve.exchange.plan_files.
#pragma once

#include "container.h"
#include "program.h"

namespace kurve {

// An input or output of a model.
struct Port {
  std::string name;
  Shape shape;
};

struct Plan {
  std::vector<Port> inputs, outputs;
  Description description;
  std::vector<std::string> arrays;  // of params, then buffers
  uint64_t seed = 0;                // of its random numbers
  int64_t step = 0;
};

// A file in order, but not for this library, or not for this version of it.
struct OtherFile : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Malformed or OtherFile.
Plan read_plan(const Json& description);

}  // namespace kurve
