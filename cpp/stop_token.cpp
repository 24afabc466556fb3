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
  StopToken* token = current;
  if (!token) return false;
  if (token->stopped()) return true;
  if (!pthread_equal(token->owner_, pthread_self()) || (token->credit_ -= work) > 0)
    return false;
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
