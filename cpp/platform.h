// What differs between operating systems: memory, threads, forks, and the processor's
// instruction sets. Only platform.cpp includes headers of a system.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#if !defined(__wasm__)
#include <mutex>
#endif

namespace kurve {

#if defined(__wasm_atomics__)
class Mutex {
 public:
  void lock() {
    while (locked_.exchange(true, std::memory_order_acquire)) {
    }
  }
  void unlock() { locked_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> locked_{false};
};
#elif defined(__wasm__)  // one thread
struct Mutex {
  void lock() {}
  void unlock() {}
};
#else
using Mutex = std::mutex;
#endif

// A multiple of `alignment` bytes, or null if memory runs out; for release.
void* allocate_aligned(size_t alignment, size_t bytes);
void release(void* memory);
// Asks for huge pages where a program may; memory is aligned to their size.
void prefer_large_pages(void* memory, size_t bytes);

struct Release {
  void operator()(void* memory) const { release(memory); }
};

// A number of its own for each running thread.
uintptr_t this_thread();
void yield_thread();
void sleep_for(std::chrono::nanoseconds);
[[noreturn]] void sleep_forever();
// Sleeps while the word is `value`, until wake_all.
void wait_while(std::atomic<uint32_t>& word, uint32_t value);
void wake_all(std::atomic<uint32_t>& word);
// Starts a detached thread that receives no signals; false if the system refuses.
bool start_thread(void* (*run)(void*), void* argument, size_t stack_size);
// The number of CPUs that this process may use, in its affinity and its quota: at
// most `limit`. Of an Apple chip the fast ones: the slow ones would hold them up.
int usable_cpus(int limit);

// Calls these around every fork of the process, where there are forks.
void on_fork(void (*before)(), void (*in_parent)(), void (*in_child)());

// Of x86-64: 2, 3 or 4 (AVX-512), or 0 if this CPU is older or another.
int x86_level();

}  // namespace kurve
