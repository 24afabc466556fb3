// Runs the engine without Python, for sanitizers, emulators and counters.
//
//   driver print THREADS           numbers to compare with those of other builds
//   driver check                   threads, jobs, errors, interrupts, the pool; exits
//   with 1 driver memory                  allocations that fail driver fork children
//   forked after use get the same bits driver steps MODEL BATCH N     up to 100
//   training steps on one thread driver time MODEL BATCH THREADS SECONDS
//                                  microseconds of a step: mean, median, p99, maximum
//   driver compiler                name and version
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <thread>

#include "allocation.h"
#include "cases.h"
#include "dispatch.h"
#include "pool.h"
#include "schedule.h"
#include "stop_token.h"

using namespace proofs;

namespace {

std::atomic<int> failures{0};

void expect(bool right, const std::string& what) {
  if (right) return;
  failures++;
  std::printf("FAILED %s\n", what.c_str());
}

// Prints the time, so a slow machine is not mistaken for a hang.
template <class Body>
void timed(const char* what, Body&& body) {
  auto start = std::chrono::steady_clock::now();
  body();
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%s: %.1f s\n", what, seconds.count());
  std::fflush(stdout);
}

template <class Check>
void for_each(const std::list<Case>& cases, Check&& check) {
  for (const Case& c : cases) check(c);
}

uint64_t hash(const void* data, size_t bytes, uint64_t h = 0xcbf29ce484222325u) {
  for (size_t i = 0; i < bytes; i++)
    h = (h ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
  return h;
}

// Trains all steps, tests and predicts, and hashes all results.
struct Result {
  std::vector<double> trained, tested;
  std::vector<float> predicted;
  uint64_t bits;
};

Result run(const Case& c, Run& r) {
  std::string what =
      c.program->train(r.state, r.batches, 0, r.batches.steps, r.totals.data());
  expect(what.empty() && r.state.step == r.batches.steps, c.name + " trains");
  Result result{r.totals, std::vector<double>(r.totals.size()),
                std::vector<float>(size_t(c.rows * c.program->output_size())), 0};
  c.program->test(r.state, r.batches, result.tested.data());
  predict(c, r.state, r.samples, c.rows, result.predicted.data());
  uint64_t h = hash(r.params.data(), size_t(r.params.size()) * 4);
  h = hash(r.buffers.data(), size_t(r.buffers.size()) * 4, h);
  h = hash(r.slots.data(), size_t(r.slots.size()) * 4, h);
  h = hash(result.trained.data(), result.trained.size() * 8, h);
  h = hash(result.tested.data(), result.tested.size() * 8, h);
  result.bits = hash(result.predicted.data(), result.predicted.size() * 4, h);
  return result;
}

Result run(const Case& c) {
  Run r(c);
  return run(c, r);
}

void print_case(const Case& c) {
  Run r(c);
  Result result = run(c, r);
  std::printf("%s bits %016llx\n", c.name.c_str(), (unsigned long long)result.bits);
  for (double v : result.trained) std::printf("%s trained %.9g\n", c.name.c_str(), v);
  for (double v : result.tested) std::printf("%s tested %.9g\n", c.name.c_str(), v);
  for (size_t i = 0; i < result.predicted.size(); i += 1 + result.predicted.size() / 20)
    std::printf("%s predicted %.9g\n", c.name.c_str(), double(result.predicted[i]));
  for (const VariableSpec& s : c.description.params)
    for (int64_t i : {int64_t(0), s.size() / 2, s.size() - 1})
      std::printf("%s %s %.9g\n", c.name.c_str(), s.name.c_str(),
                  double(r.params[s.offset + i]));
  for (const VariableSpec& s : c.description.buffers)
    std::printf("%s %s %.9g\n", c.name.c_str(), s.name.c_str(),
                double(r.buffers[s.offset + s.size() / 2]));
}

void check_threads(const Case& c) {
  set_threads(1);
  uint64_t alone = run(c).bits;
  for (int threads : {2, 3, 4, 8}) {
    set_threads(threads);
    expect(run(c).bits == alone,
           c.name + " on " + std::to_string(threads) + " threads");
  }
}

// A row has the same bits in any batch, also at the end of the allocated memory.
void check_rows(const Case& c) {
  set_threads(2);
  Run r(c);
  int64_t in = c.program->input_size(), out = c.program->output_size();
  Floats whole(c.rows * out);
  predict(c, r.state, r.samples, c.rows, whole.data());
  for (int64_t size : {1, 2, 3, 5, 13}) {
    Floats x(size * in), y(size * out);
    std::memcpy(x.data(), r.x.data(), size_t(size * in) * 4);
    std::vector<uint8_t> bytes(r.bytes.begin(),
                               r.bytes.begin() + (c.bytes ? size * in : 0));
    Inputs samples = c.bytes ? Inputs(bytes.data()) : Inputs(x.data());
    predict(c, r.state, samples, size, y.data());
    expect(!std::memcmp(y.data(), whole.data(), size_t(size * out) * 4),
           c.name + " in a batch of " + std::to_string(size));
  }
}

// Several threads call the same programs at once while the pool is in use.
void check_concurrency(const std::list<Case>& cases) {
  set_threads(3);
  std::vector<uint64_t> right;
  for (const Case& c : cases) right.push_back(run(c).bits);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      std::vector<const Case*> list;
      for (const Case& c : cases) list.push_back(&c);
      for (size_t k = 0; k < list.size(); k++) {
        size_t i = (k + 2 * t) % list.size();
        if (run(*list[i]).bits != right[i]) wrong++;
      }
    });
  for (std::thread& thread : threads) thread.join();
  expect(wrong == 0, "concurrent calls");
}

// A hash of everything that training changes.
uint64_t bits_of(const Run& r) {
  uint64_t h = hash(r.params.data(), size_t(r.params.size()) * 4);
  h = hash(r.buffers.data(), size_t(r.buffers.size()) * 4, h);
  h = hash(r.slots.data(), size_t(r.slots.size()) * 4, h);
  h = hash(r.scalars.data(), r.scalars.size() * 8, h);
  return hash(r.totals.data(), r.totals.size() * 8, h);
}

// Jobs that are trained together have the same bits as when trained alone, and an error
// in one does not affect the others.
void check_jobs(const std::list<Case>& cases) {
  set_threads(1);
  std::vector<uint64_t> alone;
  for (const Case& c : cases) {
    Run r(c);
    c.program->train(r.state, r.batches, 0, r.batches.steps, r.totals.data());
    alone.push_back(bits_of(r));
  }
  for (int threads : {1, 2, 3, 8}) {
    set_threads(threads);
    std::list<Run> runs;
    std::vector<TrainingJob> jobs;
    for (const Case& c : cases) {
      Run& r = runs.emplace_back(c);
      jobs.push_back({c.program.get(), r.state, r.batches, 0, r.batches.steps,
                      r.totals.data(), "", nullptr});
    }
    Run& wrong = runs.emplace_back(cases.front());
    jobs.push_back({cases.front().program.get(), wrong.state, wrong.batches, 0,
                    wrong.batches.steps + 1, wrong.totals.data(), "", nullptr});
    run_jobs(jobs);
    auto run = runs.begin();
    for (size_t i = 0; i < alone.size(); i++, run++)
      expect(
          !jobs[i].error && jobs[i].nonfinite.empty() && bits_of(*run) == alone[i],
          "job " + std::to_string(i) + " on " + std::to_string(threads) + " threads");
    expect(jobs.back().error != nullptr, "a job with wrong steps");
  }
}

// Each task runs exactly once, for any number of tasks, threads and callers, and in
// nested jobs.
void check_pool() {
  auto sweep = [](uint64_t seed) {
    Random random(seed);
    for (int job = 0; job < 300; job++) {
      int64_t tasks = 1 + int64_t(random.word() % 200);
      std::vector<int> done(size_t(tasks), 0);
      if (job % 16 == 0) set_threads(1 + int(random.word() % 8));
      parallel(tasks, parallel_from, [&](int64_t i) {
        done[size_t(i)]++;
        if (i == 3) parallel(4, parallel_from, [&](int64_t) { done[3]++; });
      });
      for (int64_t i = 0; i < tasks; i++)
        expect(done[size_t(i)] == (i == 3 ? 5 : 1), "each task once");
      if (job % 50 == 49) usleep(2000);  // long enough for workers to fall asleep
    }
  };
  sweep(1);
  std::vector<std::thread> threads;
  for (uint64_t seed = 2; seed < 6; seed++) threads.emplace_back(sweep, seed);
  for (std::thread& thread : threads) thread.join();
}

// A thread that is delayed during a task delays that job, but not later ones.
void check_held_up() {
  set_threads(2);
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> others{0}, hold{0};
  auto job = [&] {
    parallel(8, parallel_from, [&](int64_t) {
      if (std::this_thread::get_id() == caller) {
        usleep(100);
      } else {
        others++;
        usleep(unsigned(hold));
      }
    });
    return others.exchange(0) > 0;
  };
  auto shared_soon = [&] {
    for (int i = 0; i < 30'000; i++)
      if (job()) return true;
    return false;
  };
  hold = 20'000;
  expect(shared_soon(), "a job for two threads");
  hold = 0;
  int shared = 0;
  for (int i = 0; i < 20; i++) shared += job();
  expect(shared == 0, "the caller alone while a thread is held up");
  expect(shared_soon(), "two threads again");
}

void check_errors(const std::list<Case>& cases) {
  set_threads(2);
  for (const Case& c : cases) {
    Run r(c);
    Floats before(r.params.size());
    std::memcpy(before.data(), r.params.data(), size_t(before.size()) * 4);
    if (c.loss.kind == "mean_squared_error") {
      r.y[0] = INFINITY;
      r.batches.order = nullptr;
      std::string what = c.program->train(r.state, r.batches, 0, 1, r.totals.data());
      expect(!what.empty(), c.name + " notices infinity");
      expect(!std::memcmp(before.data(), r.params.data(), size_t(before.size()) * 4),
             c.name + " keeps its last finite weights");
    }
    auto refused = [&](auto&& spoil, const char* what) {
      Run spoilt(c);
      spoil(spoilt);
      try {
        c.program->train(spoilt.state, spoilt.batches, 0, spoilt.batches.steps,
                         spoilt.totals.data());
        expect(false, c.name + what);
      } catch (const std::invalid_argument&) {
      }
    };
    refused([](Run& s) { s.bounds[1] = s.bounds[0]; }, " refuses empty batches");
    refused([](Run& s) { s.bounds.back()++; }, " refuses bounds beyond the rows");
    refused(
        [](Run& s) {
          s.order[0] = s.batches.n;
          s.batches.order = s.order.data();
        },
        " refuses rows that are not there");
  }
  try {
    Builder b({2});
    b.dense(3, "relu6");
    Description d = b.description();
    Program program(d);
    expect(false, "an unknown activation");
  } catch (const Unsupported&) {
  }
}

// The step between interrupt positions is 1 / this of the work.
#if defined(__SANITIZE_THREAD__)
constexpr int finer = 1;  // training is 10 times slower
#else
constexpr int finer = 8;
#endif

// Wherever a call is stopped, it leaves the state after a whole number of steps.
void check_interrupts(const Case& c) {
  static std::atomic<int> asked, last;
  auto ask = [] { return ++asked >= last; };
  for (int threads : {1, 3}) {
    set_threads(threads);
    std::vector<uint64_t> whole;  // after 0, 1, ... steps
    Run steps(c);
    whole.push_back(bits_of(steps));
    for (int64_t s = 0; s < steps.batches.steps; s++) {
      c.program->train(steps.state, steps.batches, s, s + 1, steps.totals.data());
      whole.push_back(bits_of(steps));
    }
    int within = 0;
    for (last = 1;; last += 1 + last / finer) {
      asked = 0;
      Run r(c);
      bool ended;
      {
        StopToken stop_token(ask, 0);
        c.program->train(r.state, r.batches, 0, r.batches.steps, r.totals.data());
        ended = stop_token.stopped();
      }
      expect(bits_of(r) == whole[size_t(r.state.step)],
             c.name + " has the state of whole steps");
      if (!ended) break;
      within += r.state.step < r.batches.steps;
      c.program->train(r.state, r.batches, r.state.step, r.batches.steps,
                       r.totals.data());
      expect(bits_of(r) == whole.back(), c.name + " continues with the same bits");
    }
    expect(within > 1, c.name + " was interrupted");
    Run r(c);
    Floats y(c.rows * c.program->output_size());
    StopToken stop_token([] { return true; }, 0);
    predict(c, r.state, r.samples, c.rows, y.data());
    c.program->test(r.state, r.batches, r.totals.data());
  }
}

// Lets the n-th allocation fail, or all from the n-th on, until every call succeeds.
void check_memory() {
  set_threads(3);
  std::list<Case> models = all_cases();
  std::vector<uint64_t> right;
  for (const Case& c : models) right.push_back(run(c).bits);
  for (bool all : {false, true})
    for (int call = 0; call < 6; call++) {
      int failed = 0, n = 0;
      for (bool clean = false; !clean && n < 10'000;) {
        n++;
        std::list<Case> cases = all_cases();
        size_t i = 0;
        clean = true;
        for (Case& c : cases) {
          Run r(c);
          uint64_t before = bits_of(r);
          Floats y(c.rows * c.program->output_size());
          Floats out(c.program->params_size());
          Floats jacobian(
              call == 4 ? 8 * c.program->output_size() * c.program->params_size() : 0);
          allocation::fail(n, all);
          try {
            switch (call) {
              case 0:
                c.program->train(r.state, r.batches, 0, r.batches.steps,
                                 r.totals.data());
                break;
              case 1:
                c.program->test(r.state, r.batches, r.totals.data());
                break;
              case 2:
                predict(c, r.state, r.samples, c.rows, y.data());
                break;
              case 3:
                c.program->gradient(r.state, r.batches, 0, out.data());
                break;
              case 4:
                c.program->jacobian(r.state, &r.samples, 8, y.data(), jacobian.data());
                break;
              default:
                c.program = std::make_unique<Program>(c.description);
            }
            if (allocation::stop()) clean = false;
          } catch (const std::bad_alloc&) {
            allocation::stop();
            clean = false;
            failed++;
            if (call != 1)
              expect(bits_of(r) == before && r.state.step == 0,
                     c.name + " is changed by a failed allocation");
          }
          if (n % 7 == 1)
            expect(run(c).bits == right[i], c.name + " after a failed allocation");
          i++;
        }
      }
      expect(failed > 0, "allocations of call " + std::to_string(call));
      std::printf("call %d: %d allocations failed, %d in turn%s\n", call, failed, n,
                  all ? " and all after" : "");
    }
}

void check_fork(const std::list<Case>& cases) {
  set_threads(3);
  const Case& c = cases.front();
  uint64_t right = run(c).bits;
  std::fflush(stdout);
  std::atomic<bool> stop{false};
  std::thread background([&] {  // holds the locks and the pool at times
    while (!stop) run(cases.back());
  });
  for (int i = 0; i < 20; i++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(60);
      _exit(run(c).bits == right && failures == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    expect(status == 0, "child " + std::to_string(i));
  }
  stop = true;
  background.join();
  expect(run(c).bits == right, "the parent after its children");
}

// The same model and data for every command: 100 batches.
Case stepped(const std::string& model, int64_t batch) {
  Builder b = model == "article"   ? article()
              : model == "convnet" ? convnet(28, 32, 64)
                                   : small();
  bool classes = model == "convnet";
  Spec keras = adam({{"epsilon", 1e-7}});
  return Case(model, b, classes ? sparse_labels() : Spec{"mean_squared_error", {}},
              keras, {}, 100 * batch, batch, false, true, classes);
}

// The difference between two runs is due to their steps.
int steps(const std::string& model, int64_t batch, int64_t n) {
  set_threads(1);
  Case c = stepped(model, batch);
  Run r(c);
  c.program->train(r.state, r.batches, 0, n, r.totals.data());
  std::printf("%s, batch %lld: loss %.6g after %lld steps\n", model.c_str(),
              (long long)batch, r.totals[0] / r.totals[1], (long long)r.state.step);
  return 0;
}

int time_steps(const std::string& model, int64_t batch, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  set_threads(threads);
  Case c = stepped(model, batch);
  Run r(c);
  std::vector<double> times;
  std::string what;
  auto step = [&](int64_t i) {
    what += c.program->train(r.state, r.batches, i % 100, i % 100 + 1, r.totals.data());
  };
  for (int64_t i = 0; i < 100; i++) step(i);
  std::chrono::duration<double> all(0);
  for (int64_t i = 0; all.count() < seconds; i++) {
    Clock::time_point start = Clock::now();
    step(i);
    std::chrono::duration<double> time = Clock::now() - start;
    times.push_back(1e6 * time.count());
    all += time;
  }
  std::sort(times.begin(), times.end());
  size_t n = times.size();
  std::printf("%.1f %.1f %.1f %.1f\n", 1e6 * all.count() / double(n), times[n / 2],
              times[n * 99 / 100], times[n - 1]);
  return what.empty() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  std::string_view what = count > 1 ? arguments[1] : "";
  if (what == "steps" && count == 5)
    return steps(arguments[2], std::atoll(arguments[3]), std::atoll(arguments[4]));
  if (what == "time" && count == 6)
    return time_steps(arguments[2], std::atoll(arguments[3]), std::atoi(arguments[4]),
                      std::atof(arguments[5]));
  if (what == "compiler") {
#if defined(__clang__)
    std::printf("Clang %s\n", __clang_version__);
#else
    std::printf("GCC %s\n", __VERSION__);
#endif
    return 0;
  }
  std::list<Case> cases = all_cases();
  if (what == "print" && count == 3) {
    set_threads(std::atoi(arguments[2]));
    for (const Case& c : cases) print_case(c);
  } else if (what == "check") {
    timed("threads", [&] { for_each(cases, check_threads); });
    timed("rows", [&] { for_each(cases, check_rows); });
    timed("jobs", [&] { check_jobs(cases); });
    timed("errors", [&] { check_errors(cases); });
    timed("interrupts", [&] { for_each(cases, check_interrupts); });
    timed("pool", [] { check_pool(); });
    timed("held up", [] { check_held_up(); });
    timed("concurrency", [&] { check_concurrency(cases); });
  } else if (what == "memory") {
    check_memory();
  } else if (what == "fork") {
    check_fork(cases);
  } else {
    std::printf(
        "usage: driver print | check | memory | fork | compiler | steps MODEL BATCH "
        "N | time MODEL BATCH THREADS SECONDS\n");
    return 2;
  }
  if (what != "print")
    std::printf("%.*s on %s: %s\n", int(what.size()), what.data(), isa().c_str(),
                failures ? "FAILED" : "good");
  return failures ? 1 : 0;
}
