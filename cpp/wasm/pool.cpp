// The pool of one thread: run the tasks one after the other.
#include "pool.h"

#include "stop_token.h"

namespace kurve {

Mutex& fork_safe_mutex() {
  static Mutex mutex;
  return mutex;
}

int get_threads() { return 1; }

void run_tasks(int64_t tasks, int64_t work, Task task, void* context) {
  for (int64_t i = 0; i < tasks && !stop_requested(work / tasks); i++) task(context, i);
}

}  // namespace kurve
