#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace kurve {
namespace {

constexpr int max_depth = 32, max_digits = 20;
constexpr size_t max_values = 100'000;

class Parser {
 public:
  explicit Parser(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {}

  Json whole() {
    Json found = value(0);
    space();
    if (at_ != end_) refuse("there is more after the value");
    return found;
  }

 private:
  [[noreturn]] static void refuse(const char* what) {
    throw std::invalid_argument(what);
  }

  void space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r'))
      at_++;
  }
  char next() {
    if (at_ == end_) refuse("it ends too soon");
    return *at_++;
  }
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    at_++;
    return true;
  }
  void expect(std::string_view word) {
    for (char c : word)
      if (next() != c) refuse("it is not JSON");
  }

  Json value(int depth) {
    if (depth > max_depth) refuse("it is nested deeper than 32");
    if (++values_ > max_values) refuse("it has more than 100000 values");
    space();
    Json json;
    switch (char c = next()) {
      case '{':
        json.kind = Json::table;
        fields(json, depth);
        break;
      case '[':
        json.kind = Json::list;
        items(json, depth);
        break;
      case '"':
        json.kind = Json::text;
        json.string = string();
        break;
      case 't':
      case 'f':
        json.kind = Json::boolean;
        json.truth = c == 't';
        expect(json.truth ? "rue" : "alse");
        break;
      case 'n':
        expect("ull");
        break;
      default:
        at_--;
        json.kind = Json::number;
        json.value = number();
    }
    return json;
  }

  void items(Json& json, int depth) {
    space();
    if (take(']')) return;
    do {
      json.items.push_back(value(depth + 1));
      space();
    } while (take(','));
    expect("]");
  }

  void fields(Json& json, int depth) {
    space();
    if (take('}')) return;
    do {
      space();
      expect("\"");
      std::string key = string();
      space();
      expect(":");
      json.fields.emplace_back(std::move(key), value(depth + 1));
      space();
    } while (take(','));
    expect("}");
    std::vector<std::string_view> keys;
    for (const auto& field : json.fields) keys.push_back(field.first);
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end())
      refuse("it has a duplicate key");
  }

  std::string string() {
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
    char c = next();
    if (c != 'u') {
      const char* found = c ? std::strchr(names, c) : nullptr;
      if (!found) refuse("it is not JSON");
      text += meanings[found - names];
      return;
    }
    uint32_t code = unit();
    if (code >= 0xd800 && code < 0xdc00) {
      expect("\\u");
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
      char c = next();
      uint32_t digit = c >= '0' && c <= '9'   ? uint32_t(c - '0')
                       : c >= 'a' && c <= 'f' ? uint32_t(c - 'a' + 10)
                       : c >= 'A' && c <= 'F' ? uint32_t(c - 'A' + 10)
                                              : 16;
      if (digit == 16) refuse("it is not JSON");
      code = code << 4 | digit;
    }
    return code;
  }

  int digits() {
    const char* from = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') at_++;
    if (at_ == from) refuse("it is not JSON");
    return int(std::min<std::ptrdiff_t>(at_ - from, 1000));
  }

  double number() {
    const char* from = at_;
    take('-');
    bool zero = at_ != end_ && *at_ == '0';
    int count = digits();
    if (zero && count > 1) refuse("it is not JSON");
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

  const char *at_, *end_;
  size_t values_ = 0;
};

}  // namespace

Json parse_json(std::string_view text) { return Parser(text).whole(); }

void Field::refuse(const std::string& what) const {
  throw BadFile(name_.substr(0, 120) + ": " + what);
}

const Json* Field::find(const char* key) const {
  for (const auto& [name, value] : json_->fields)
    if (name == key) return &value;
  return nullptr;
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
