// How a long call ends early: somebody presses Ctrl-C, and what is left is left out.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace kurve {

// While one is alive, its thread asks now and then whether to end. From then on
// `parallel` leaves out the tasks that are not begun, and results are worth nothing.
class StopToken {
 public:
  using Ask = bool (*)();

  // Multiply-adds between questions: half a millisecond, a few on an old CPU.
  static constexpr int64_t usual = 20'000'000;

  explicit StopToken(Ask ask, int64_t every = usual);
  ~StopToken();
  StopToken(const StopToken&) = delete;
  StopToken& operator=(const StopToken&) = delete;

  bool stopped() const { return ended_.load(std::memory_order_relaxed); }

 private:
  friend bool stop_requested(int64_t work);
  Ask ask_;
  int64_t every_, credit_;
  pthread_t owner_;
  StopToken* before_;
  std::atomic<bool> ended_{false};
};

// The stop_token that this thread's work obeys, or null; tasks take over that of the
// thread that gave them.
StopToken* stop_token();

// Whether this thread's call is to end; called every so many multiply-adds.
bool stop_requested(int64_t work);
bool stopped();  // what the last answer was

// Another stop_token, or none, until the end of the scope: what is done with none is
// done to the end.
class ScopedStopToken {
 public:
  explicit ScopedStopToken(StopToken* stop_token);
  ~ScopedStopToken();
  ScopedStopToken(const ScopedStopToken&) = delete;
  ScopedStopToken& operator=(const ScopedStopToken&) = delete;

 private:
  StopToken* before_;
};

}  // namespace kurve
