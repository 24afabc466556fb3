// Values of a JSON text, with Python's Infinity, -Infinity and NaN.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace kurve {

struct Json {
  enum Kind { null, boolean, number, text, list, object } kind = null;
  double value = 0;  // of a number; of a boolean, 0 or 1
  std::string string;
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> members;

  // Throws std::invalid_argument, as do the functions below.
  static Json parse(const std::string& text);

  const Json* find(const char* name) const;  // null if absent or null
  const Json& at(const char* name) const;
  double as_number() const;
  int as_int() const;
  bool as_bool() const;
  const std::string& as_text() const;
  const std::vector<Json>& as_list() const;
};

}  // namespace kurve
