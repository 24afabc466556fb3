// Training several programs at once, on all threads.
#pragma once

#include <exception>
#include <vector>

#include "program.h"

namespace kurve {

// The steps first..last-1 of one program.
struct TrainingJob {
  const Program* program;
  State state;  // state.step is advanced
  Batches batches;
  int64_t first, last;
  double* totals;

  std::string nonfinite;     // what was not finite, or ""
  std::exception_ptr error;  // what training threw, or null
};

// Runs all jobs; returns early when the caller's StopToken stops. Several jobs are
// distributed over the threads; a single job may use all of them. Each job gets the
// same bits as when run alone.
void run_jobs(std::vector<TrainingJob>& jobs);

}  // namespace kurve
