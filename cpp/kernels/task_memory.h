// Memory for the copies that kernels make, which exceed many stacks: a thread's may
// have 512 KB (macOS) or less, and the main thread's cannot grow where memory runs out.
#pragma once

#include <cstddef>

namespace kurve {

constexpr size_t task_memory_size = 640 << 10;

// This thread's, while it has a TaskMemory. One kernel at a time uses it.
void* task_memory();

template <class T>
T& task_memory_as() {
  static_assert(sizeof(T) <= task_memory_size);
  return *static_cast<T*>(task_memory());
}

// Gives this thread memory until the end of the scope; one inside another, as in a
// signal handler's prediction, gives it other memory.
class TaskMemory {
 public:
  struct Block;
  static Block* allocate();  // null if memory runs out
  static void release(Block*);

  TaskMemory();  // throws std::bad_alloc
  explicit TaskMemory(Block*);
  ~TaskMemory();
  TaskMemory(const TaskMemory&) = delete;
  TaskMemory& operator=(const TaskMemory&) = delete;

 private:
  Block* block_;
  Block* previous_;
};

}  // namespace kurve
