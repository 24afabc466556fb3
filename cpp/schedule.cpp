#include "schedule.h"

#include <algorithm>
#include <deque>
#include <mutex>

#include "pool.h"
#include "stop_token.h"

namespace kurve {
namespace {

// Jobs run a few steps at a time, so that the threads finish together however many jobs
// there are, and a delayed thread leaves more work to the others.
class WorkQueue {
 public:
  struct Slice {
    size_t job;
    int64_t first, last;  // the remaining steps
    int64_t steps;        // how many to run at a time
  };
  void add(const Slice& slice) {
    std::lock_guard lock(mutex_);
    waiting_.push_back(slice);
  }
  // Takes the slice of this job if it is waiting, otherwise the next one; false if
  // there is none.
  bool take(Slice& slice, size_t job) {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) return false;
    auto next = std::find_if(waiting_.begin(), waiting_.end(),
                             [&](const Slice& s) { return s.job == job; });
    if (next == waiting_.end()) next = waiting_.begin();
    slice = *next;
    waiting_.erase(next);
    return true;
  }

 private:
  Mutex mutex_;
  std::deque<Slice> waiting_;
};

// Returns whether the job can continue.
bool run_steps(TrainingJob& job, int64_t first, int64_t last) {
  try {
    job.nonfinite = job.program->train(job.state, job.batches, first, last, job.totals);
    return job.nonfinite.empty() && !stopped();
  } catch (...) {
    job.error = std::current_exception();
    return false;
  }
}

int64_t work_of(const TrainingJob& job) {
  int64_t all = std::max<int64_t>(job.batches.steps, 1);
  int64_t steps = std::clamp<int64_t>(job.last - job.first, 0, all);
  return job.program->work_of(job.batches.n * steps / all);
}

}  // namespace

void run_jobs(std::vector<TrainingJob>& jobs) {
  int64_t count = int64_t(jobs.size()), threads = get_threads(), work = 0;
  for (const TrainingJob& job : jobs) work += work_of(job);
  // `parallel` gives each thread a range of the jobs, the same ones in every epoch, so
  // they stay in its cache. All but the last one or two of a range run without a break.
  auto unbroken = [&](int64_t i) {
    int64_t range = ((i + 1) * threads - 1) / count;
    return count == 1 || i - count * range / threads < count / threads - 1;
  };
  WorkQueue queue;
  for (int64_t i = 0; i < count; i++)
    if (const TrainingJob& job = jobs[size_t(i)]; !unbroken(i))
      queue.add({size_t(i), job.first, job.last,
                 std::max<int64_t>(8, (job.last - job.first) / 8)});
  parallel(count, work, [&](int64_t i) {
    TrainingJob& job = jobs[size_t(i)];
    if (unbroken(i)) return void(run_steps(job, job.first, job.last));
    size_t preferred = size_t(i);
    for (WorkQueue::Slice slice; queue.take(slice, preferred);
         preferred = jobs.size()) {
      int64_t end = std::min(slice.last, slice.first + slice.steps);
      if (!run_steps(jobs[slice.job], slice.first, end) || end == slice.last) continue;
      slice.first = end;
      queue.add(slice);
    }
  });
}

}  // namespace kurve
