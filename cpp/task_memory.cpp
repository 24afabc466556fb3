#include "kernels/task_memory.h"

#include <mutex>
#include <new>

#include "pool.h"

namespace kurve {

struct TaskMemory::Block {
  alignas(64) char memory[task_memory_size];
  Block* next;
};

namespace {

constinit thread_local TaskMemory::Block* current = nullptr;
TaskMemory::Block* unused = nullptr;  // the last one released is likely in the cache

}  // namespace

void* task_memory() { return current->memory; }

TaskMemory::Block* TaskMemory::allocate() {
  {
    std::lock_guard lock(fork_safe_mutex());
    if (Block* block = unused) {
      unused = block->next;
      return block;
    }
  }
  return static_cast<Block*>(allocate_aligned(64, sizeof(Block)));
}

void TaskMemory::release(Block* block) {
  std::lock_guard lock(fork_safe_mutex());
  block->next = unused;
  unused = block;
}

TaskMemory::TaskMemory() : TaskMemory(allocate()) {
  if (!block_) throw std::bad_alloc();
}

TaskMemory::TaskMemory(Block* block) : block_(block), previous_(current) {
  current = block;
}

TaskMemory::~TaskMemory() {
  current = previous_;
  if (block_) release(block_);
}

}  // namespace kurve
