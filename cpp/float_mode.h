// The control register of a thread's floating-point unit: rounding, and the treatment
// of subnormal numbers.
#pragma once

#include <cstdint>

namespace kurve {

#if defined(__x86_64__)
constexpr uint64_t flushes_subnormals = 0x8040;  // results; operands
inline uint64_t float_mode() { return __builtin_ia32_stmxcsr() & ~0x3fu; }
inline void set_float_mode(uint64_t mode) { __builtin_ia32_ldmxcsr(uint32_t(mode)); }
#elif defined(__aarch64__)
constexpr uint64_t flushes_subnormals = 1 << 24;
inline uint64_t float_mode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#elif defined(__wasm__)  // has one mode, which flushes nothing
constexpr uint64_t flushes_subnormals = 0;
inline uint64_t float_mode() { return 0; }
inline void set_float_mode(uint64_t) {}
#endif

// Within its scope, this thread and its tasks flush numbers below 1.2e-38 to zero, or
// do not. The momentum of a weight that no longer gets a gradient decays to such
// numbers within a thousand steps, and processors are several times slower on them.
class FlushSubnormals {
 public:
  explicit FlushSubnormals(bool flush) : previous_(float_mode()) {
    set_float_mode(flush ? previous_ | flushes_subnormals
                         : previous_ & ~flushes_subnormals);
  }
  ~FlushSubnormals() { set_float_mode(previous_); }
  FlushSubnormals(const FlushSubnormals&) = delete;

 private:
  uint64_t previous_;
};

}  // namespace kurve
