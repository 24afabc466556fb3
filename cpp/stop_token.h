// Cancellation of long calls, by Ctrl-C for instance.
#pragma once

#include <atomic>
#include <cstdint>

namespace kurve {

// While a token is alive, its thread checks at intervals whether to stop. Once it
// stops, `parallel` skips the tasks that have not started, and results are meaningless.
class StopToken {
 public:
  using Ask = bool (*)();

  // Multiply-adds between two checks: half a millisecond, or several on an old CPU.
  static constexpr int64_t default_interval = 20'000'000;

  explicit StopToken(Ask ask, int64_t interval = default_interval);
  ~StopToken();
  StopToken(const StopToken&) = delete;
  StopToken& operator=(const StopToken&) = delete;

  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  friend bool stop_requested(int64_t work);
  Ask ask_;
  int64_t interval_, credit_;
  uintptr_t owner_;
  StopToken* previous_;
  std::atomic<bool> stopped_{false};
};

// The token that this thread's work obeys, or null; tasks inherit that of the thread
// that started them.
StopToken* stop_token();

// Whether this thread's call should stop; `work` is the work since the last check.
bool stop_requested(int64_t work);
bool stopped();  // the last answer, without checking again

// Replaces the token until the end of the scope. With null, the work in the scope is
// always completed.
class ScopedStopToken {
 public:
  explicit ScopedStopToken(StopToken* stop_token);
  ~ScopedStopToken();
  ScopedStopToken(const ScopedStopToken&) = delete;
  ScopedStopToken& operator=(const ScopedStopToken&) = delete;

 private:
  StopToken* previous_;
};

}  // namespace kurve
