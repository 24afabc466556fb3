// The kernels that this CPU runs, chosen at first use.
#pragma once

#include <string>
#include <vector>

#include "kernels/table.h"

namespace kurve {

// The best instruction set that the CPU has, or the one that KURVE_ISA names. Throws
// std::invalid_argument where that is unknown or not available.
const Kernels& kernels();

// Name of the instruction set in use, and of all that this CPU runs (slowest first).
std::string isa();
std::vector<std::string> available_isas();

}  // namespace kurve
