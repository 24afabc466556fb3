// Threads of WebAssembly: workers of JavaScript that run in the same memory. The page
// starts them before the engine has work for them, since a worker that computes cannot
// start others.
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>

#include "platform.h"
#include "pool.h"

#define EXPORT(name) __attribute__((export_name(#name))) extern "C"

namespace kurve {
namespace {

constexpr size_t stack_size = 1 << 20;

// The libc's malloc is one for a single thread.
constinit Mutex memory_mutex;

struct Start {
  void* (*run)(void*);
  void* argument;
};
Start start;
constexpr uint32_t none = 0, offered = 1, taken = 2;
std::atomic<uint32_t> offer{none};  // of `start`, to one of the idle threads
std::atomic<int> idle{0};

int* address(std::atomic<uint32_t>& word) { return reinterpret_cast<int*>(&word); }

}  // namespace

void* allocate_aligned(size_t alignment, size_t bytes) {
  std::lock_guard lock(memory_mutex);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void release(void* memory) {
  std::lock_guard lock(memory_mutex);
  std::free(memory);
}

uintptr_t this_thread() {
  static thread_local char own;
  return uintptr_t(&own);
}

void yield_thread() {}

void sleep_for(std::chrono::nanoseconds time) {
  int nothing = 0;
  __builtin_wasm_memory_atomic_wait32(&nothing, 0, time.count());
}

void sleep_forever() {
  for (;;) sleep_for(std::chrono::hours(1));
}

void wait_while(std::atomic<uint32_t>& word, uint32_t value) {
  while (word.load() == value)
    __builtin_wasm_memory_atomic_wait32(address(word), int(value), -1);
}

void wake_all(std::atomic<uint32_t>& word) {
  __builtin_wasm_memory_atomic_notify(address(word), ~0u);
}

int usable_cpus(int limit) { return std::min(limit, 1 + idle.load()); }

// Called by one thread at a time: the one that has the pool.
bool start_thread(void* (*run)(void*), void* argument, size_t) {
  if (idle.load() == 0) return false;
  idle.fetch_sub(1);
  start = {run, argument};
  offer.store(offered);
  wake_all(offer);
  while (offer.load() != none) {
  }
  return true;
}

}  // namespace kurve

using namespace kurve;

void* operator new(size_t bytes) {
  void* memory = allocate_aligned(16, bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  void* memory = allocate_aligned(size_t(alignment), bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }

// Memory for a thread: where its stack, which grows down, ends and its variables begin.
// Null if there is none.
EXPORT(kurve_thread_memory) char* kurve_thread_memory() {
  auto* memory = static_cast<char*>(
      allocate_aligned(64, stack_size + __builtin_wasm_tls_size() + 64));
  return memory ? memory + stack_size : nullptr;
}

// What a worker runs once it has its memory: work of the pool, for ever.
EXPORT(kurve_thread) void kurve_thread() {
  idle.fetch_add(1);
  for (;;) {
    wait_while(offer, none);
    uint32_t expected = offered;
    if (offer.compare_exchange_strong(expected, taken)) break;
  }
  Start mine = start;
  offer.store(none);
  mine.run(mine.argument);
}

// Threads that no work has come to yet.
EXPORT(kurve_idle) int kurve_idle() { return idle.load(); }

EXPORT(kurve_set_threads) void kurve_set_threads(int threads) { set_threads(threads); }
