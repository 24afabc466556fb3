// Training several programs at once, on all threads.
#pragma once

#include <exception>
#include <vector>

#include "program.h"

namespace kurve {

// The steps first..last-1 of one program.
struct TrainingJob {
  const Program* program;
  State state;  // its step is advanced
  Batches batches;
  int64_t first, last;
  double* totals;

  std::string nonfinite;     // what was not finite, or ""
  std::exception_ptr error;  // what training threw, or null
};

// Runs all jobs; stops early when the caller's StopToken does. Several jobs are spread
// over the threads; a single one may use them all. Each gets the same bits as on its
// own.
void run_jobs(std::vector<TrainingJob>& jobs);

}  // namespace kurve
