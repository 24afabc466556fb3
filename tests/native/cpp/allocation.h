// Allocations that fail when a test wants them to: `operator new`, and aligned_alloc,
// which the linker leads to allocation.cpp (--wrap).
#pragma once

namespace allocation {

// From now on the n-th allocation fails, or all from the n-th on.
void fail(long n, bool all);

// No more; returns whether one has failed.
bool stop();

}  // namespace allocation
