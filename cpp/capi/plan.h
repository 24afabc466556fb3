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

// Thrown for a valid file that this library, or this version of it, cannot use.
struct OtherFile : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Malformed or OtherFile.
Plan read_plan(const Json& description);

}  // namespace kurve
