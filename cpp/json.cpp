#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace kurve {
namespace {

constexpr int max_depth = 32, max_digits = 20;
constexpr size_t max_signs = 100'000;

class Parser {
 public:
  Parser(std::string_view text, const std::string& name)
      : at_(text.data()), start_(at_), end_(at_ + text.size()), name_(name) {}

  Json whole() {
    Json found = value(0);
    space();
    if (at_ != end_) expected("the text to end");
    return found;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Malformed(name_ + ": " + what);
  }
  [[noreturn]] void expected(const char* what) const {
    refuse(std::string("it is not JSON: expected ") + what + " at character " +
           std::to_string(at_ - start_));
  }

  void space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r'))
      at_++;
  }
  char peek() const {
    if (at_ == end_) refuse("it ends too soon");
    return *at_;
  }
  char next() {
    char c = peek();
    at_++;
    return c;
  }
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    at_++;
    return true;
  }
  // A comma, a colon or a bracket.
  bool take_sign(char c) {
    if (!take(c)) return false;
    if (++signs_ > max_signs) refuse("it has more than 100000 values");
    return true;
  }
  void expect_sign(char c, const char* what) {
    peek();
    if (!take_sign(c)) expected(what);
  }
  void expect(std::string_view word, const char* what) {
    for (char c : word) {
      if (peek() != c) expected(what);
      at_++;
    }
  }

  // depth: the number of brackets around it
  Json value(int depth) {
    space();
    Json json;
    switch (char c = peek()) {
      case '{':
      case '[':
        take_sign(c);
        if (depth == max_depth) refuse("it is nested deeper than 32");
        json.kind = c == '{' ? Json::table : Json::list;
        c == '{' ? fields(json, depth + 1) : items(json, depth + 1);
        break;
      case '"':
        json.kind = Json::text;
        json.string = string();
        break;
      case 't':
      case 'f':
        json.kind = Json::boolean;
        json.truth = c == 't';
        expect(json.truth ? "true" : "false", "true or false");
        break;
      case 'n':
        expect("null", "null");
        break;
      default:
        if (c != '-' && (c < '0' || c > '9')) expected("a value");
        json.kind = Json::number;
        json.value = number();
    }
    return json;
  }

  void items(Json& json, int depth) {
    space();
    if (take_sign(']')) return;
    do {
      json.items.push_back(value(depth));
      space();
    } while (take_sign(','));
    expect_sign(']', "a comma or ]");
  }

  void fields(Json& json, int depth) {
    space();
    if (take_sign('}')) return;
    do {
      space();
      std::string key = string();
      space();
      expect_sign(':', "a colon");
      json.fields.emplace_back(std::move(key), value(depth));
      space();
    } while (take_sign(','));
    expect_sign('}', "a comma or }");
    std::vector<std::string_view> keys;
    for (const auto& field : json.fields) keys.push_back(field.first);
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end())
      refuse("it has a duplicate key");
  }

  std::string string() {
    expect("\"", "a quotation mark");
    std::string text;
    while (true) {
      const char* from = at_;
      while (at_ != end_ && *at_ != '"' && *at_ != '\\') {
        if (static_cast<signed char>(*at_) < 0x20)
          refuse("it has control characters in a string, or is not ASCII");
        at_++;
      }
      text.append(from, at_);
      if (next() == '"') return text;
      escape(text);
    }
  }

  void escape(std::string& text) {
    static constexpr char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (char c = peek(); c != 'u') {
      const char* found = c ? std::strchr(names, c) : nullptr;
      if (!found) expected("an escape sequence");
      text += meanings[found - names];
      at_++;
      return;
    }
    at_++;
    uint32_t code = unit();
    if (code >= 0xd800 && code < 0xdc00) {
      if (!take('\\') || !take('u')) refuse("it has a lone surrogate");
      uint32_t low = unit();
      if (low < 0xdc00 || low > 0xdfff) refuse("it has a lone surrogate");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
      refuse("it has a lone surrogate");
    }
    if (code == 0) refuse("it has a 0 in a string");
    if (code < 0x80) {
      text += char(code);
      return;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static constexpr unsigned char leads[] = {0, 0xc0, 0xe0, 0xf0};
    text += char(leads[more] | code >> (6 * more));
    while (more--) text += char(0x80 | (code >> (6 * more) & 0x3f));
  }

  uint32_t unit() {
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
      char c = peek();
      uint32_t digit = c >= '0' && c <= '9'   ? uint32_t(c - '0')
                       : c >= 'a' && c <= 'f' ? uint32_t(c - 'a' + 10)
                       : c >= 'A' && c <= 'F' ? uint32_t(c - 'A' + 10)
                                              : 16;
      if (digit == 16) expected("four hexadecimal digits");
      code = code << 4 | digit;
      at_++;
    }
    return code;
  }

  int digits() {
    const char* from = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') at_++;
    if (at_ == from) expected("a digit");
    return int(std::min<std::ptrdiff_t>(at_ - from, 1000));
  }

  double number() {
    const char* from = at_;
    take('-');
    bool zero = at_ != end_ && *at_ == '0';
    int count = digits();
    if (zero && count > 1) expected("no digits after the first 0");
    if (count > max_digits) refuse("a number has more than 20 digits");
    if (take('.')) digits();
    bool grows = false;
    if (take('e') || take('E')) {
      grows = take('+') || !take('-');
      digits();
    }
    double value = 0;
    auto [stop, error] = std::from_chars(from, at_, value);
    // A number too small for a double is 0, as in Python.
    if (error == std::errc::result_out_of_range && !grows) return 0;
    if (error != std::errc() || stop != at_) refuse("a number is out of range");
    return value;
  }

  const char *at_, *start_, *end_;
  const std::string& name_;
  size_t signs_ = 0;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& name) {
  return Parser(text, name).whole();
}

void Field::refuse(const std::string& what) const {
  throw Malformed(name_.substr(0, 120) + ": " + what);
}

const Json* Field::find(const char* key) const {
  for (const auto& [name, value] : json_->fields)
    if (name == key) return &value;
  return nullptr;
}

bool Field::has(const char* key) const {
  const Json* found = find(key);
  return found && found->kind != Json::null;
}

Field Field::at(const char* key) const {
  table();
  const Json* found = find(key);
  if (!found) refuse(std::string(key) + " is missing");
  return Field(*found, name_ + "." + key);
}

const std::vector<std::pair<std::string, Json>>& Field::table() const {
  if (json_->kind != Json::table) refuse("it must be an object");
  return json_->fields;
}

void Field::expect_keys(std::initializer_list<const char*> keys,
                        std::initializer_list<const char*> more) const {
  for (const char* key : keys) at(key);
  auto among = [](std::initializer_list<const char*> names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& field : table())
    if (!among(keys, field.first) && !among(more, field.first))
      refuse(field.first.substr(0, 80) + " is unknown");
}

std::vector<Field> Field::list(size_t most) const {
  if (json_->kind != Json::list) refuse("it must be a list");
  if (json_->items.size() > most)
    refuse("it has more elements than " + std::to_string(most));
  std::vector<Field> found;
  for (const Json& item : json_->items)
    found.emplace_back(item, name_ + "." + std::to_string(found.size()));
  return found;
}

const std::string& Field::text() const {
  if (json_->kind != Json::text) refuse("it must be text");
  return json_->string;
}

bool Field::boolean() const {
  if (json_->kind != Json::boolean) refuse("it must be true or false");
  return json_->truth;
}

double Field::number() const {
  if (json_->kind != Json::number) refuse("it must be a number");
  return json_->value;
}

int64_t Field::integer(int64_t min, int64_t max) const {
  double value = number();
  if (!(value >= double(min) && value <= double(max)) || value != std::floor(value))
    refuse("it must be an integer from " + std::to_string(min) + " to " +
           std::to_string(max));
  return int64_t(value);
}

std::vector<int64_t> Field::integers(int64_t min, int64_t max) const {
  std::vector<int64_t> found;
  for (const Field& item : list()) found.push_back(item.integer(min, max));
  return found;
}

uint64_t Field::digits() const {
  const std::string& from = text();
  uint64_t value = 0;
  auto [stop, error] = std::from_chars(from.data(), from.data() + from.size(), value);
  if (error != std::errc() || stop != from.data() + from.size())
    refuse("it must be the digits of a number below 2^64");
  return value;
}

}  // namespace kurve
