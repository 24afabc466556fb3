#include "stop_token.h"

namespace kurve {
namespace {

constinit thread_local StopToken* current = nullptr;

}  // namespace

StopToken* stop_token() { return current; }

StopToken::StopToken(Ask ask, int64_t interval)
    : ask_(ask),
      interval_(interval),
      credit_(interval),
      owner_(pthread_self()),
      previous_(current) {
  current = this;
}

StopToken::~StopToken() { current = previous_; }

bool stop_requested(int64_t work) {
  StopToken* w = current;
  if (!w) return false;
  if (w->stopped()) return true;
  if (!pthread_equal(w->owner_, pthread_self()) || (w->credit_ -= work) > 0)
    return false;
  w->credit_ = w->interval_;
  if (w->ask_()) w->ended_.store(true, std::memory_order_relaxed);
  return w->stopped();
}

bool stopped() { return current && current->stopped(); }

ScopedStopToken::ScopedStopToken(StopToken* stop_token) : previous_(current) {
  current = stop_token;
}

ScopedStopToken::~ScopedStopToken() { current = previous_; }

}  // namespace kurve
