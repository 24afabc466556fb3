#pragma once

#include <nanobind/nanobind.h>

#include <stdexcept>
#include <string>

// Throws the rule that an argument from Python violates.
inline void expect(bool right, const char* rule) {
  if (!right) throw std::invalid_argument(std::string("[native] ") + rule);
}

void register_runtime(nanobind::module_&);
void register_plans(nanobind::module_&);
void register_program(nanobind::module_&);
void register_random(nanobind::module_&);
void register_linear(nanobind::module_&);
