#include "watch.h"

namespace kurve {
namespace {

constinit thread_local Watch* current = nullptr;

}  // namespace

Watch* watch() { return current; }

Watch::Watch(Ask ask, int64_t every)
    : ask_(ask),
      every_(every),
      credit_(every),
      owner_(pthread_self()),
      before_(current) {
  current = this;
}

Watch::~Watch() { current = before_; }

bool ends(int64_t work) {
  Watch* w = current;
  if (!w) return false;
  if (w->ended()) return true;
  if (!pthread_equal(w->owner_, pthread_self()) || (w->credit_ -= work) > 0)
    return false;
  w->credit_ = w->every_;
  if (w->ask_()) w->ended_.store(true, std::memory_order_relaxed);
  return w->ended();
}

bool ended() { return current && current->ended(); }

Watched::Watched(Watch* watch) : before_(current) { current = watch; }

Watched::~Watched() { current = before_; }

}  // namespace kurve
