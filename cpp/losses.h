// The losses of a plan.
#pragma once

#include "ops.h"

namespace kurve {

struct Spec {
  std::string kind;
  Attrs attrs;
};

// Reads a loss; false where the kind is not one.
bool read_loss(const Spec&, Loss&);

// Targets of a row with O outputs.
int64_t targets_of(const Loss&, int64_t O);

}  // namespace kurve
