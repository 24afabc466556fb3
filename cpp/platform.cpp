#include "platform.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if !defined(__wasm__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#endif

namespace kurve {

void* allocate_aligned(size_t alignment, size_t bytes) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void release(void* memory) { std::free(memory); }

#if defined(__wasm__)

void prefer_large_pages(void*, size_t) {}
uintptr_t this_thread() { return 0; }
void yield_thread() {}
bool start_thread(void* (*)(void*), void*, size_t) { return false; }
int usable_cpus(int) { return 1; }
void on_fork(void (*)(), void (*)(), void (*)()) {}

#else  // POSIX

void prefer_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

uintptr_t this_thread() { return uintptr_t(pthread_self()); }
void yield_thread() { sched_yield(); }

// Signals belong to the main thread.
bool start_thread(void* (*run)(void*), void* argument, size_t stack_size) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_size);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  bool started = pthread_create(&thread, &attributes, run, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  return started;
}

void on_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  pthread_atfork(before, in_parent, in_child);
}

namespace {

std::string first_word(const std::string& path, double* second = nullptr) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  if (second) file >> *second;
  return word;
}

// The number of CPUs in the cgroup quota of this process or of a parent group, rounded:
// two threads on 1.2 CPUs are throttled so often that one is faster.
int quota(int most) {
  double limit = most;
  auto consider = [&](const std::string& text, double period) {
    // "max", "-1" and an empty string mean no limit
    double q = std::atof(text.c_str());
    if (q > 0 && period > 0) limit = std::min(limit, std::round(q / period));
  };
  // Lines are number:controllers:path; version 2 lists no controllers.
  std::string line;
  for (std::ifstream file("/proc/self/cgroup"); std::getline(file, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    std::istringstream names(line.substr(first + 1, second - first - 1));
    const bool v2 = second == first + 1;
    bool ours = v2;
    for (std::string name; std::getline(names, name, ',');) ours |= name == "cpu";
    if (!ours) continue;
    for (;;) {
      double period = 0;
      if (v2) {
        std::string text = first_word("/sys/fs/cgroup" + path + "/cpu.max", &period);
        consider(text, period);
      } else {
        const std::string start = "/sys/fs/cgroup/cpu" + path + "/cpu.cfs_";
        period = std::atof(first_word(start + "period_us").c_str());
        consider(first_word(start + "quota_us"), period);
      }
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return std::max(1, int(limit));
}

int affinity() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return int(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

int usable_cpus(int limit) { return std::min({affinity(), quota(limit), limit}); }

#endif

#if defined(__x86_64__)

// __builtin_cpu_supports needs a run-time library that not every Clang has.
int x86_level() {
  uint32_t a, b, c, d, c1 = 0, b7 = 0, states = 0;
  if (__get_cpuid(1, &a, &b, &c, &d)) c1 = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) b7 = b;
  // The registers that the system saves: AVX's are 6, with those of AVX-512 0xe6.
  if (c1 & bit_OSXSAVE) asm volatile("xgetbv" : "=a"(states), "=d"(d) : "c"(0));
  auto has = [&](uint32_t of_c1, uint32_t of_b7, uint32_t saved) {
    return (c1 & of_c1) == of_c1 && (b7 & of_b7) == of_b7 && (states & saved) == saved;
  };
  if (!has(bit_SSE4_2 | bit_SSSE3 | bit_POPCNT, 0, 0)) return 0;
  if (!has(bit_AVX | bit_FMA, bit_AVX2 | bit_BMI | bit_BMI2, 6)) return 2;
  constexpr uint32_t avx512 =
      bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  return has(0, avx512, 0xe6) ? 4 : 3;
}

#else

int x86_level() { return 0; }

#endif

}  // namespace kurve
