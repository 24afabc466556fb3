// The source of a layer's random numbers.
#pragma once

#include "ops.h"
#include "philox.h"

namespace kurve {

// The words of (key, purpose, step): the key is the layer's own seed, or the model's.
struct Stream {
  explicit Stream(const Attrs& attrs)
      : purpose(layer_purpose + uint32_t(integer(attrs, "stream", 0))),
        has_seed(attrs.count("seed") > 0),
        seed(has_seed ? uint64_t(integer(attrs, "seed", 0, 0x1p53)) : 0) {}
  uint64_t key(const ExecContext& ctx) const { return has_seed ? seed : ctx.seed; }

  uint32_t purpose;
  bool has_seed;
  uint64_t seed;
};

}  // namespace kurve
