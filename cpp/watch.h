// How a long call ends early: somebody presses Ctrl-C, and what is left is left out.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace kurve {

// While one is alive, its thread asks now and then whether to end. From then on
// `parallel` leaves out the tasks that are not begun, and results are worth nothing.
class Watch {
 public:
  using Ask = bool (*)();

  // Multiply-adds between questions: half a millisecond, a few on an old CPU.
  static constexpr int64_t usual = 20'000'000;

  explicit Watch(Ask ask, int64_t every = usual);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  bool ended() const { return ended_.load(std::memory_order_relaxed); }

 private:
  friend bool ends(int64_t work);
  Ask ask_;
  int64_t every_, credit_;
  pthread_t owner_;
  Watch* before_;
  std::atomic<bool> ended_{false};
};

// The watch that this thread's work obeys, or null; tasks take over that of the thread
// that gave them.
Watch* watch();

// Whether this thread's call is to end; called every so many multiply-adds.
bool ends(int64_t work);
bool ended();  // what the last answer was

// Another watch, or none, until the end of the scope: what is done with none is done to
// the end.
class Watched {
 public:
  explicit Watched(Watch* watch);
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  Watch* before_;
};

}  // namespace kurve
