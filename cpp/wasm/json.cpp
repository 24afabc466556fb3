#include "wasm/json.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace kurve {
namespace {

constexpr int deepest = 64;

class Parser {
 public:
  explicit Parser(const std::string& text) : at_(text.c_str()), start_(at_) {}

  Json whole() {
    Json value = parse(0);
    space();
    if (*at_) fail("the text to end");
    return value;
  }

 private:
  [[noreturn]] void fail(const char* expected) const {
    throw std::invalid_argument(std::string("[plan] expected ") + expected +
                                " at character " + std::to_string(at_ - start_) +
                                " of the JSON text.");
  }
  void space() {
    while (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r') at_++;
  }
  bool take(const char* word) {
    size_t n = std::strlen(word);
    if (std::strncmp(at_, word, n) != 0) return false;
    at_ += n;
    return true;
  }
  static Json of(Json::Kind kind, double value) {
    Json json;
    json.kind = kind, json.value = value;
    return json;
  }

  Json parse(int depth) {
    if (depth > deepest) fail("at most 64 levels");
    space();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (take("null")) return {};
    if (take("true")) return of(Json::boolean, 1);
    if (take("false")) return of(Json::boolean, 0);
    if (take("NaN")) return of(Json::number, std::nan(""));
    if (take("Infinity")) return of(Json::number, infinity);
    if (take("-Infinity")) return of(Json::number, -infinity);
    if (*at_ == '"') {
      Json json = of(Json::text, 0);
      json.string = string();
      return json;
    }
    if (take("[")) {
      Json json = of(Json::list, 0);
      for (space(); !take("]"); space()) {
        if (!json.items.empty() && !take(",")) fail("a comma or ]");
        json.items.push_back(parse(depth + 1));
      }
      return json;
    }
    if (take("{")) {
      Json json = of(Json::object, 0);
      for (space(); !take("}"); space()) {
        if (!json.members.empty() && !take(",")) fail("a comma or }");
        space();
        std::string name = string();
        space();
        if (!take(":")) fail("a colon");
        json.members.emplace_back(std::move(name), parse(depth + 1));
      }
      return json;
    }
    if (*at_ != '-' && (*at_ < '0' || *at_ > '9')) fail("a value");
    char* end = nullptr;
    double value = std::strtod(at_, &end);
    at_ = end;
    return of(Json::number, value);
  }

  uint32_t code_unit() {
    uint32_t code = 0;
    for (int i = 0; i < 4; i++, at_++) {
      char c = *at_;
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0) fail("four hexadecimal digits");
      code = code * 16 + uint32_t(digit);
    }
    return code;
  }

  std::string string() {
    if (!take("\"")) fail("a string");
    std::string out;
    while (*at_ != '"') {
      if (uint8_t(*at_) < 32) fail("a closing quote");
      if (*at_ != '\\') {
        out += *at_++;
        continue;
      }
      at_++;
      const char *escapes = "\"\\/bfnrt", *meanings = "\"\\/\b\f\n\r\t";
      if (const char* found = *at_ ? std::strchr(escapes, *at_) : nullptr) {
        out += meanings[found - escapes];
        at_++;
        continue;
      }
      if (!take("u")) fail("an escape");
      uint32_t code = code_unit();
      if (code >= 0xD800 && code < 0xDC00 && take("\\u")) {
        uint32_t low = code_unit();
        if (low < 0xDC00 || low > 0xDFFF) fail("the second half of a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      append(code, out);
    }
    at_++;
    return out;
  }

  static void append(uint32_t code, std::string& out) {  // as UTF-8
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr uint32_t first[] = {0, 0xC0, 0xE0, 0xF0};
    out += char(first[more] | code >> 6 * more);
    while (more-- > 0) out += char(0x80 | (code >> 6 * more & 0x3F));
  }

  const char *at_, *start_;
};

[[noreturn]] void expected(const char* what) {
  throw std::invalid_argument(std::string("[plan] expected ") + what +
                              " in the JSON of a plan.");
}

}  // namespace

Json Json::parse(const std::string& text) { return Parser(text).whole(); }

const Json* Json::find(const char* name) const {
  for (const auto& [key, json] : members)
    if (key == name) return json.kind == null ? nullptr : &json;
  return nullptr;
}

const Json& Json::at(const char* name) const {
  if (const Json* found = find(name)) return *found;
  expected((std::string("the member ") + name).c_str());
}

double Json::as_number() const {
  if (kind != number && kind != boolean) expected("a number");
  return value;
}

int Json::as_int() const {
  double n = as_number();
  if (n != std::floor(n) || std::abs(n) > 2147483647.0) expected("a 32-bit integer");
  return int(n);
}

bool Json::as_bool() const { return as_number() != 0; }

const std::string& Json::as_text() const {
  if (kind != text) expected("a text");
  return string;
}

const std::vector<Json>& Json::as_list() const {
  if (kind != list) expected("a list");
  return items;
}

}  // namespace kurve
