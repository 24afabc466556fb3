// Descriptions of programs from JSON; see kurve.engines.plan_json.
#pragma once

#include <memory>
#include <string>

#include "program.h"

namespace kurve {

// A Description, with the objects that it points to.
struct ParsedPlan {
  explicit ParsedPlan(const std::string& json);
  ParsedPlan(const ParsedPlan&) = delete;

  Description description;
  std::vector<std::unique_ptr<Spec>> losses;
  std::unique_ptr<Spec> optimizer;
};

}  // namespace kurve
