// The losses of a plan.
#pragma once

#include "ops.h"

namespace kurve {

struct Spec {
  std::string kind;
  Attrs attrs;
};

// Reads a loss; false if the kind is not a loss.
bool read_loss(const Spec&, Loss&);

// The number of targets for a row with O outputs.
int64_t targets_of(const Loss&, int64_t O);

}  // namespace kurve
