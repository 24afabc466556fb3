#pragma once

#include <nanobind/nanobind.h>

void register_runtime(nanobind::module_&);
void register_program(nanobind::module_&);
void register_random(nanobind::module_&);
void register_linear(nanobind::module_&);
