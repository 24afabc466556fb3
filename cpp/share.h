// A step whose rows several processes divide among them: each computes with its own,
// and sums over all rows are added up between them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace kurve {

struct Share {
  int rank, processes;
  // Replaces numbers by their sum over all processes, the same bits in each. Throws
  // where the step is to end.
  std::function<void(double*, int64_t)> add;
  std::function<void(double*, int64_t, float*, int64_t)> add_gradient;

  // Of the step at work.
  int64_t batch = 0, first = 0, rows = 0;  // rows in all, and this process's
  std::vector<double> weights{};           // the sum of each head's

  // Whole blocks of four rows, so that random words are those of the undivided batch.
  int64_t start(int process) const {
    int64_t blocks = (batch + 3) / 4;
    return std::min(batch, 4 * (blocks * process / processes));
  }
  // Whether each process gets rows; else all of them compute the whole step.
  bool divides() const { return (batch + 3) / 4 >= processes; }
  void begin(int64_t size) {
    batch = size, first = start(rank), rows = start(rank + 1) - first;
  }
};

}  // namespace kurve
