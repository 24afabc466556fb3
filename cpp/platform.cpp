#include "platform.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
// windows.h comes first
#include <malloc.h>
#include <process.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <new>
#elif !defined(__wasm__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#endif

#if !defined(__wasm__)
#include <thread>
#endif

namespace kurve {

#if !defined(__wasm__)

void sleep_for(std::chrono::nanoseconds time) { std::this_thread::sleep_for(time); }
void wait_while(std::atomic<uint32_t>& word, uint32_t value) { word.wait(value); }
void wake_all(std::atomic<uint32_t>& word) { word.notify_all(); }

#endif

#if defined(_WIN32)

void* allocate_aligned(size_t alignment, size_t bytes) {
  return _aligned_malloc(bytes, alignment);
}

void release(void* memory) { _aligned_free(memory); }

// Large pages need a privilege that programs do not have.
void prefer_large_pages(void*, size_t) {}

uintptr_t this_thread() { return GetCurrentThreadId(); }
void yield_thread() { SwitchToThread(); }

void sleep_forever() {
  for (;;) Sleep(INFINITE);
}

// The system reports Ctrl-C to a thread of its own.
bool start_thread(void* (*run)(void*), void* argument, size_t stack_size) {
  struct Start {
    void* (*run)(void*);
    void* argument;
  };
  auto start = std::unique_ptr<Start>(new (std::nothrow) Start{run, argument});
  if (!start) return false;
  auto enter = [](void* given) -> unsigned {
    Start start = *static_cast<Start*>(given);
    delete static_cast<Start*>(given);
    start.run(start.argument);
    return 0;
  };
  uintptr_t thread = _beginthreadex(nullptr, unsigned(stack_size), enter, start.get(),
                                    STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  if (!thread) return false;
  start.release();
  CloseHandle(HANDLE(thread));
  return true;
}

void on_fork(void (*)(), void (*)(), void (*)()) {}

int usable_cpus(int limit) {
  DWORD_PTR ours = 0, all = 0;
  int count = 1;
  // Both are 0 for a process in several groups of 64 processors.
  if (GetProcessAffinityMask(GetCurrentProcess(), &ours, &all))
    count = ours ? std::popcount(ours) : 64;
  return std::min(count, limit);
}

#elif !defined(__wasm_atomics__)

void* allocate_aligned(size_t alignment, size_t bytes) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void release(void* memory) { std::free(memory); }

#endif

#if defined(__wasm__)

void prefer_large_pages(void*, size_t) {}
void on_fork(void (*)(), void (*)(), void (*)()) {}
#if !defined(__wasm_atomics__)  // else see wasm/threads.cpp
uintptr_t this_thread() { return 0; }
void yield_thread() {}
void sleep_forever() {
  for (;;) {
  }
}
bool start_thread(void* (*)(void*), void*, size_t) { return false; }
int usable_cpus(int) { return 1; }
#endif

#elif !defined(_WIN32)  // POSIX

void prefer_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

uintptr_t this_thread() { return uintptr_t(pthread_self()); }
void yield_thread() { sched_yield(); }

void sleep_forever() {
  for (;;) pause();
}

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
#elif defined(__APPLE__)
  int fast = 0;
  size_t size = sizeof fast;
  if (sysctlbyname("hw.perflevel0.logicalcpu", &fast, &size, nullptr, 0) == 0 && fast)
    return fast;
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
