#include "allocation.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> left{0};
std::atomic<bool> all_after{false}, hit{false};

bool fails() {
  if (left.load(std::memory_order_relaxed) <= 0 || left.fetch_sub(1) != 1) return false;
  if (all_after) left = 1;
  hit = true;
  return true;
}

}  // namespace

namespace allocation {

void fail(long n, bool all) {
  hit = false;
  all_after = all;
  left = n;
}

bool stop() {
  left = 0;
  return hit;
}

}  // namespace allocation

void* operator new(size_t size) {
  void* p = fails() ? nullptr : std::malloc(size ? size : 1);
  if (!p) throw std::bad_alloc();
  return p;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return fails() ? nullptr : std::malloc(size ? size : 1);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

extern "C" {
void* __real_aligned_alloc(size_t alignment, size_t size);
void* __wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? nullptr : __real_aligned_alloc(alignment, size);
}
}
