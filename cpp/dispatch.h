// The kernels for this CPU, chosen at first use.
#pragma once

#include <string>
#include <vector>

#include "kernels/table.h"

namespace kurve {

// The best instruction set of the CPU, or the one named by KURVE_ISA. Throws
// std::invalid_argument if that is unknown or not available.
const Kernels& kernels();

// The name of the instruction set in use, and those of all that this CPU supports
// (slowest first).
std::string isa();
std::vector<std::string> available_isas();

}  // namespace kurve
