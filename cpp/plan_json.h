// Operations from JSON, as kurve.engines.plan_json writes them.
#pragma once

#include "json.h"
#include "ops.h"

namespace kurve {

// The largest number of an op, a value, a variable or a register.
constexpr int64_t max_index = 100'000;

// All throw Malformed.
int index_of(const Field&, int min = 0);
std::vector<int> indices_of(const Field&);
// {"number": "inf"}, "-inf" and "nan" are the numbers that JSON lacks.
double number_of(const Field&);
Shape shape_of(const Field&);
std::vector<Shape> shapes_of(const Field&);
Attrs attrs_of(const Field&);
TapeSpec tape_of(const Field&);
std::vector<OpSpec> ops_of(const Field&);

// A list, each of whose elements `read` reads.
template <class Read>
auto all_of(const Field& field, Read&& read) {
  std::vector<decltype(read(field))> found;
  for (const Field& item : field.list()) found.push_back(read(item));
  return found;
}

}  // namespace kurve
