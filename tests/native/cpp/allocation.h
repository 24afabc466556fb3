// Allocations that fail on demand: `operator new`, and aligned_alloc, which the linker
// redirects to allocation.cpp (--wrap).
#pragma once

namespace allocation {

// From now on the n-th allocation fails, or all from the n-th on.
void fail(long n, bool all);

// Ends that; returns whether one has failed.
bool stop();

}  // namespace allocation
