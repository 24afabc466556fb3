#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "float_mode.h"
#include "kernels/task_memory.h"
#include "platform.h"
#include "stop_token.h"

namespace kurve {
namespace {

constexpr int max_threads = 64;
constexpr size_t stack_size = 1 << 20;
// about 40 microseconds, less than a sleep and a wake-up
constexpr int spins = 4000;

using Clock = std::chrono::steady_clock;
constexpr int64_t speed = 40;  // multiply-adds per nanosecond, as in StopToken
constexpr std::chrono::microseconds min_sleep{50}, max_sleep{10'000};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// One job at a time, in its caller's float mode. Each participant owns a range of the
// tasks, claims them one by one, and then claims what is left of the other ranges. The
// claim word holds the job's number in its upper half and the next task in its lower
// half, so a thread that wakes late cannot claim a task of a later job by mistake.
class Pool {
 public:
  void run(int64_t tasks, int64_t work, Task task, void* context, int threads) {
    const int limit = threads;
    threads = int(std::min<int64_t>(threads, tasks));
    if (threads < 2 || tasks > UINT32_MAX || busy_.exchange(true)) {
      for (int64_t i = 0; i < tasks; i++) task(context, i);
      return;
    }
    Clock::time_point start = Clock::now();
    const std::chrono::nanoseconds usual(work / speed);
    threads = backoff_.limit(threads, start, usual);
    if (threads < 2) {
      busy_.store(false);
      for (int64_t i = 0; i < tasks; i++) task(context, i);
      return;
    }
    if (limit_.exchange(uint32_t(limit)) != uint32_t(limit)) wake_all(limit_);
    while (workers_ < threads - 1 && start_worker()) {
    }
    threads = std::min(threads, workers_ + 1);
    publish(tasks, task, context, threads);
    int64_t own = this->work(0);
    if (!all_done(tasks)) {
      Clock::duration saved = wait(tasks, own, start);
      backoff_.record(std::min<Clock::duration>(saved, usual), threads);
    }
    busy_.store(false);
  }

 private:
  struct alignas(64) Range {
    std::atomic<uint64_t> claim{0};  // job << 32 | next task
    std::atomic<uint32_t> end{0};
  };

  // A thread that loses its core in the middle of a task holds up the whole job, since
  // no other thread can take over a started task. So the pool records the time that
  // threads save compared with running alone. Once they have recently cost more than
  // they saved, jobs get half as many threads for a multiple of the time lost, which
  // keeps that loss a small part of the total.
  class Backoff {
   public:
    int limit(int threads, Clock::time_point now, Clock::duration job) const {
      // A job longer than the pause is worth a try.
      return now < until_ && job < until_ - now ? std::min(threads, fewer_) : threads;
    }
    void record(Clock::duration saved, int threads) {
      saved_ = std::min<Clock::duration>(saved_ + saved, max_saved);
      if (saved_ == max_saved) factor_ = min_factor;
      if (saved_ > -min_lost) return;
      fewer_ = std::max(1, threads / 2);
      until_ = Clock::now() + factor_ * std::min<Clock::duration>(-saved_, max_lost);
      factor_ = std::min(2 * factor_, max_factor);
      saved_ = Clock::duration::zero();
    }

   private:
    static constexpr int min_factor = 16,
                         max_factor = 128;  // length of a pause / time lost
    static constexpr std::chrono::milliseconds max_saved{10}, max_lost{1000};
    static constexpr std::chrono::microseconds min_lost{50};
    Clock::duration saved_{0};
    Clock::time_point until_{};
    int fewer_ = 1, factor_ = min_factor;
  };

  bool all_done(int64_t tasks) const {
    return done_.load(std::memory_order_acquire) == tasks;
  }

  // Waits for the others after this thread has done `own` of the tasks. Returns the
  // estimated time saved compared with this thread doing all of them.
  Clock::duration wait(int64_t tasks, int64_t own, Clock::time_point start) {
    Clock::time_point now = Clock::now();
    Clock::time_point alone =
        now + (now - start) / std::max<int64_t>(own, 1) * (tasks - own);
    for (int i = 0; !all_done(tasks); i++) {
      if (i < spins) {
        pause();
        continue;
      }
      stop_requested(StopToken::default_interval);  // lets the others skip the rest
      Clock::duration late = Clock::now() - alone;
      if (late < Clock::duration::zero())
        yield_thread();
      else  // another thread may need this core
        sleep_for(std::clamp<Clock::duration>(late / 4, min_sleep, max_sleep));
    }
    return alone - Clock::now();
  }

  void publish(int64_t tasks, Task task, void* context, int threads) {
    // All ranges are closed before anything of the last job is overwritten, so a late
    // thread that reads a word of the new job fails to claim under the old job's
    // number.
    for (int t = 0; t <= workers_; t++)
      ranges_[t].claim.store(UINT32_MAX, std::memory_order_relaxed);
    task_.store(task, std::memory_order_release);
    context_.store(context, std::memory_order_release);
    mode_.store(float_mode(), std::memory_order_release);
    threads_.store(threads, std::memory_order_release);
    done_.store(0, std::memory_order_relaxed);
    uint64_t job = uint64_t(job_.load(std::memory_order_relaxed) + 1) << 32;
    for (int t = 0; t < threads; t++) {
      ranges_[t].end.store(uint32_t(tasks * (t + 1) / threads),
                           std::memory_order_release);
      ranges_[t].claim.store(job | uint64_t(tasks * t / threads),
                             std::memory_order_release);
    }
    job_.store(uint32_t(job >> 32));
    if (sleepers_.load() > 0) wake_all(job_);
  }

  // Returns the number of tasks done.
  int64_t work(int self) {
    uint32_t job = job_.load(std::memory_order_acquire);
    int64_t done = 0;
    int threads = threads_.load(std::memory_order_acquire);
    for (int i = 0; i < threads; i++) {
      Range& range = ranges_[(self + i) % threads];
      uint64_t claim = range.claim.load(std::memory_order_acquire);
      for (;;) {
        uint32_t next = uint32_t(claim);
        if (uint32_t(claim >> 32) != job ||
            next >= range.end.load(std::memory_order_acquire))
          break;
        // Read before the claim: if the claim succeeds, they belong to this job.
        Task task = task_.load(std::memory_order_acquire);
        void* context = context_.load(std::memory_order_acquire);
        uint64_t mode = mode_.load(std::memory_order_acquire);
        if (range.claim.compare_exchange_weak(claim, claim + 1,
                                              std::memory_order_acq_rel)) {
          if (mode != float_mode()) set_float_mode(mode);
          task(context, next);
          done++;
          claim = range.claim.load(std::memory_order_acquire);
        }
      }
    }
    if (done) done_.fetch_add(done, std::memory_order_release);
    return done;
  }

  void serve(int self) {
    uint32_t seen = 0;
    for (;;) {
      // Threads beyond the current limit do not wait for jobs.
      for (uint32_t limit; uint32_t(self) >= (limit = limit_.load());)
        wait_while(limit_, limit);
      for (int i = 0; i < spins && job_.load(std::memory_order_relaxed) == seen; i++)
        pause();
      if (job_.load() == seen) {
        sleepers_.fetch_add(1);
        wait_while(job_, seen);
        sleepers_.fetch_sub(1);
      }
      seen = job_.load(std::memory_order_acquire);
      if (self < threads_.load(std::memory_order_relaxed)) work(self);
    }
  }

  // The pool is never destroyed, so neither are its threads.
  bool start_worker() {
    TaskMemory::Block* memory = TaskMemory::allocate();
    auto* start = new (std::nothrow) Start{this, workers_ + 1, memory};
    bool started = memory && start && start_thread(&Pool::enter, start, stack_size);
    if (started) {
      workers_++;
    } else {  // fewer threads give the same bits
      delete start;
      if (memory) TaskMemory::release(memory);
    }
    return started;
  }

  struct Start {
    Pool* pool;
    int self;
    TaskMemory::Block* memory;
  };
  static void* enter(void* argument) {
    Start start = *static_cast<Start*>(argument);
    delete static_cast<Start*>(argument);
    TaskMemory memory(start.memory);
    start.pool->serve(start.self);
    return nullptr;
  }

  std::atomic<bool> busy_{false};
  // Accessed only by the thread that holds busy_.
  int workers_ = 0;
  Backoff backoff_;

  std::atomic<int> threads_{0};
  std::atomic<uint32_t> limit_{0};
  std::atomic<Task> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<uint64_t> mode_{0};
  alignas(64) std::atomic<uint32_t> job_{0};
  std::atomic<int> sleepers_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  Range ranges_[max_threads];
};

int default_threads() {
  int threads = usable_cpus(max_threads);
  const char* text = std::getenv("KURVE_NUM_THREADS");
  if (!text || !*text) return threads;
  char* end = nullptr;
  long requested = std::strtol(text, &end, 10);
  if (*end || requested < 1 || requested > max_threads)
    throw std::invalid_argument(
        "[kurve] the environment variable KURVE_NUM_THREADS must be an integer in "
        "[1, 64]. Received: '" +
        std::string(text) + "'. Try KURVE_NUM_THREADS=" + std::to_string(threads) +
        ".");
  return int(requested);
}

std::atomic<int> threads_limit{0};  // 0: not read yet
std::atomic<Pool*> the_pool{nullptr};

// The parent's threads do not exist in the child, which abandons the inherited pool.
[[maybe_unused]] const bool forks = [] {
  on_fork([] { fork_safe_mutex().lock(); }, [] { fork_safe_mutex().unlock(); },
          [] {
            the_pool.store(nullptr);
            fork_safe_mutex().unlock();
          });
  return true;
}();

// Null if there is no memory for one.
Pool* make_pool() {
  std::lock_guard lock(fork_safe_mutex());
  if (!the_pool.load()) the_pool.store(new (std::nothrow) Pool);
  return the_pool.load();
}

// The tasks of one call of `parallel`, and what may stop it early.
struct Call {
  Task task;
  void* context;
  int64_t work;  // multiply-adds of one task
  StopToken* stop_token;
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  static void run(void* call, int64_t i) { static_cast<Call*>(call)->run(i); }

  void run(int64_t i) {
    ScopedStopToken scope(stop_token);
    if (failed.load(std::memory_order_relaxed) || stop_requested(work)) return;
    try {
      task(context, i);
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
};

}  // namespace

Mutex& fork_safe_mutex() {
  static Mutex* mutex = new Mutex;  // outlives all destructors of statics
  return *mutex;
}

int get_threads() {
  int threads = threads_limit.load(std::memory_order_relaxed);
  if (threads == 0) {
    threads = default_threads();
    threads_limit.store(threads);
  }
  return threads;
}

void set_threads(int threads) {
  if (threads < 1 || threads > max_threads)
    throw std::invalid_argument(
        "[set_threads] n must be in [1, 64]. Received: " + std::to_string(threads) +
        ". Try set_threads(" + std::to_string(std::clamp(threads, 1, max_threads)) +
        ").");
  threads_limit.store(threads);
}

void run_tasks(int64_t tasks, int64_t work, Task task, void* context) {
  int threads = get_threads();
  Call call{task, context, work / tasks, stop_token(), false, nullptr};
  Pool* pool = the_pool.load(std::memory_order_acquire);
  if (!pool) pool = make_pool();
  if (pool)
    pool->run(tasks, work, &Call::run, &call, threads);
  else
    for (int64_t i = 0; i < tasks; i++) call.run(i);
  if (call.error) std::rethrow_exception(call.error);
}

}  // namespace kurve
