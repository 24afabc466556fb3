#pragma once

#include <nanobind/nanobind.h>

#include <stdexcept>
#include <string>

// What Python hands over must obey the rule.
inline void expect(bool right, const char* rule) {
  if (!right) throw std::invalid_argument(std::string("[native] ") + rule);
}

void register_runtime(nanobind::module_&);
void register_program(nanobind::module_&);
void register_random(nanobind::module_&);
void register_linear(nanobind::module_&);
