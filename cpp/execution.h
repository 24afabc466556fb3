// Shared by the calls of a Program: workspaces, and the rows of a batch.
#pragma once

#include <optional>

#include "kernels/task_memory.h"
#include "program.h"
#include "workspace.h"

namespace kurve {

// A workspace for exclusive use, returned at the end of the scope.
class Program::WorkspaceLease {
 public:
  WorkspaceLease(const Program& program, int64_t batch, bool training);
  ~WorkspaceLease();
  WorkspaceLease(const WorkspaceLease&) = delete;
  WorkspaceLease& operator=(const WorkspaceLease&) = delete;
  Workspace& operator*() const { return *workspace_; }
  Workspace* operator->() const { return workspace_.get(); }

 private:
  const Program& program_;
  std::unique_ptr<Workspace> workspace_;
  std::optional<TaskMemory> task_memory_;
};

// Floats of a sample above which its work is divided by checks of the stop token.
constexpr int64_t large_sample = 1 << 18;

// Throws unless the steps first..last-1 lie within the bounds, and these within the
// rows.
void check_bounds(const Batches&, int64_t first, int64_t last);
// The number of rows of the largest batch in these steps.
int64_t largest_batch(const Batches&, int64_t first, int64_t last);

}  // namespace kurve
