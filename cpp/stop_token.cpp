#include "stop_token.h"

#include "platform.h"

namespace kurve {
namespace {

constinit thread_local StopToken* current = nullptr;

}  // namespace

StopToken* stop_token() { return current; }

StopToken::StopToken(Ask ask, int64_t interval)
    : ask_(ask),
      interval_(interval),
      credit_(interval),
      owner_(this_thread()),
      previous_(current) {
  current = this;
}

StopToken::~StopToken() { current = previous_; }

bool stop_requested(int64_t work) {
  StopToken* token = current;
  if (!token) return false;
  if (token->stopped()) return true;
  if (token->owner_ != this_thread() || (token->credit_ -= work) > 0) return false;
  token->credit_ = token->interval_;
  if (token->ask_()) token->stopped_.store(true, std::memory_order_relaxed);
  return token->stopped();
}

bool stopped() { return current && current->stopped(); }

ScopedStopToken::ScopedStopToken(StopToken* stop_token) : previous_(current) {
  current = stop_token;
}

ScopedStopToken::~ScopedStopToken() { current = previous_; }

}  // namespace kurve
