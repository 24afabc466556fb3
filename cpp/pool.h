// A small thread pool: bounded spin, then sleep; safe after fork; never nested.
#pragma once

#include <cstdint>
#include <type_traits>

#include "platform.h"

namespace kurve {

// The default is KURVE_NUM_THREADS, else the smaller of the CPU affinity and the cgroup
// quota.
int get_threads();
void set_threads(int threads);

// Held only briefly, and never across a fork: the child finds it unlocked.
Mutex& fork_safe_mutex();

// Work below this many multiply-adds (about 5 microseconds) stays on one thread.
constexpr int64_t parallel_from = 250'000;

using Task = void (*)(void* context, int64_t task);
void run_tasks(int64_t tasks, int64_t work, Task task, void* context);

// Calls body(0) ... body(tasks - 1), each once, in any order, on the pool's threads; on
// the caller's alone if `work` is small, another thread is using the pool, or the
// threads have recently cost more time than they saved. If a task throws or the
// caller's StopToken stops, tasks not yet started are skipped; the first error is
// rethrown.
template <class Body>
void parallel(int64_t tasks, int64_t work, Body&& body) {
  if (tasks < 2 || work < parallel_from) {
    for (int64_t i = 0; i < tasks; i++) body(i);
    return;
  }
  using Plain = std::remove_reference_t<Body>;
  run_tasks(
      tasks, work, [](void* context, int64_t i) { (*static_cast<Plain*>(context))(i); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace kurve
