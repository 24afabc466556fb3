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

// Runs all jobs, and ends early where the caller's stop_token does. Several are spread
// over the threads; a lone one may use them all. Each has the same bits as by itself.
void run_jobs(std::vector<TrainingJob>& jobs);

}  // namespace kurve
