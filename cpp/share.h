// A step whose rows are divided among several processes: each computes on its own rows,
// and sums over all rows are added across the processes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace kurve {

struct Share {
  int rank, processes;
  // Replaces numbers by their sums over all processes, with the same bits in each.
  // Throws to end the step.
  std::function<void(double*, int64_t)> add;
  std::function<void(double*, int64_t, float*, int64_t)> add_gradient;

  // The current step.
  int64_t batch = 0, first = 0, rows = 0;  // all rows, and this process's
  std::vector<double> weights{};           // the sum of each head's

  // Shares are multiples of four rows, so random words are those of the undivided
  // batch.
  int64_t start(int process) const {
    int64_t blocks = (batch + 3) / 4;
    return std::min(batch, 4 * (blocks * process / processes));
  }
  // Whether each process gets rows; otherwise all of them compute the whole step.
  bool divides() const { return (batch + 3) / 4 >= processes; }
  void begin(int64_t size) {
    batch = size, first = start(rank), rows = start(rank + 1) - first;
  }
};

}  // namespace kurve
