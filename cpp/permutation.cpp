#include "permutation.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "philox.h"
#include "stop_token.h"

namespace kurve {
namespace {

// Calls body(first, last) for pieces of 0..n-1 until asked to stop.
template <class Body>
void in_pieces(size_t n, Body&& body) {
  constexpr size_t piece = 1 << 18;  // a few milliseconds
  for (size_t i = 0; i < n && !stop_requested(kurve::StopToken::default_interval);
       i += piece)
    body(i, std::min(i + piece, n));
}

struct Row {
  uint64_t key;
  int64_t number;
};

// Not zeroed first, which alone would take half a second for many rows.
using Memory = std::unique_ptr<Row[]>;
Memory memory(size_t n) { return std::make_unique_for_overwrite<Row[]>(n); }

// By key; rows of equal keys stay in order.
void sort(Memory& rows, size_t n) {
  if (n < 4096)
    return std::sort(rows.get(), rows.get() + n, [](const Row& a, const Row& b) {
      return a.key != b.key ? a.key < b.key : a.number < b.number;
    });
  // Radix sort, the least significant 11 bits first: stable, and linear in n.
  constexpr int bits = 11, digits = 1 << bits;
  Memory other = memory(n);
  for (int shift = 0; shift < 64; shift += bits) {
    std::vector<size_t> start(digits + 1, 0);
    in_pieces(n, [&](size_t first, size_t last) {
      for (size_t i = first; i < last; i++)
        start[(rows[i].key >> shift & (digits - 1)) + 1]++;
    });
    for (int d = 0; d < digits; d++) start[size_t(d) + 1] += start[size_t(d)];
    in_pieces(n, [&](size_t first, size_t last) {
      for (size_t i = first; i < last; i++)
        other[start[rows[i].key >> shift & (digits - 1)]++] = rows[i];
    });
    if (stopped()) return;
    std::swap(rows, other);
  }
}

}  // namespace

void permute(uint64_t seed, uint32_t purpose, uint64_t stream, int64_t* out, size_t n) {
  Memory rows = memory(n);
  in_pieces(n, [&](size_t first, size_t last) {
    for (size_t i = first; i < last; i += 2) {
      uint32_t word[4];
      philox(seed, purpose, stream, uint32_t(i / 2), word);
      for (size_t k = 0; k < 2 && i + k < last; k++)
        rows[i + k] = {uint64_t(word[2 * k]) << 32 | word[2 * k + 1], int64_t(i + k)};
    }
  });
  sort(rows, n);
  in_pieces(n, [&](size_t first, size_t last) {
    for (size_t i = first; i < last; i++) out[i] = rows[i].number;
  });
}

}  // namespace kurve
