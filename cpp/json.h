// JSON from an untrusted source, parsed with limits, and values read with checks. The
// same rules as kurve.core.container.safe_json.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kurve {

struct Json {
  enum Kind { null, boolean, number, text, list, table };
  Kind kind = null;
  bool truth = false;
  double value = 0;
  std::string string;  // UTF-8, without a 0
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> fields;
};

// Thrown if something in a file or text is invalid; the message names the field.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Malformed, with the text's name: not JSON in ASCII; nested deeper than 32;
// more than 100,000 commas, colons and brackets; a duplicate key; a number that is not
// finite or has more than 20 digits before the decimal point; a lone surrogate; a 0 in
// a string.
Json parse_json(std::string_view text, const std::string& name);

// A value and its name, for messages. Every method throws Malformed unless
// the value is what it asks for.
class Field {
 public:
  Field(const Json& json, std::string name) : json_(&json), name_(std::move(name)) {}

  [[noreturn]] void refuse(const std::string& what) const;

  const Json& json() const { return *json_; }
  // A table with exactly these keys, and perhaps some of `more`.
  void expect_keys(std::initializer_list<const char*> keys,
                   std::initializer_list<const char*> more = {}) const;
  bool has(const char* key) const;  // and it is not null
  Field at(const char* key) const;
  std::vector<Field> list(size_t most = 100'000) const;
  const std::vector<std::pair<std::string, Json>>& table() const;
  Field inner(const std::string& key, const Json& value) const {
    return Field(value, name_ + "." + key);
  }

  const std::string& text() const;
  bool boolean() const;
  double number() const;
  int64_t integer(int64_t min, int64_t max) const;
  std::vector<int64_t> integers(int64_t min, int64_t max) const;
  uint64_t digits() const;  // a number below 2^64, as text

 private:
  const Json* find(const char* key) const;

  const Json* json_;
  std::string name_;
};

}  // namespace kurve
