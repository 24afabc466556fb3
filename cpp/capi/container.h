// Kurve's container of arrays with a description, as written by
// kurve.core.container.writing: a safetensors file with a SHA-256 of every part.
#pragma once

#include <memory>

#include "json.h"

namespace kurve {

// The bytes of a file, read in order.
class Source {
 public:
  virtual ~Source() = default;
  virtual void read(void* to, size_t size) = 0;  // throws Malformed if there are fewer
  virtual uint64_t size() const = 0;
};

// Throws std::system_error if there is no such file; Malformed if it is a directory,
// pipe or device, or sparse with almost no data.
std::unique_ptr<Source> open_file(const char* path);
std::unique_ptr<Source> open_memory(const void* bytes, size_t size);

// A container whose header has been checked: sizes against that of the source, and its
// checksum. The arrays are read in their order.
class Container {
 public:
  struct Entry {
    std::string name, dtype, sha256;
    std::vector<int64_t> shape;
    uint64_t bytes;
  };

  explicit Container(std::unique_ptr<Source>);  // throws Malformed

  const Json& description() const { return description_; }
  const std::vector<Entry>& entries() const { return entries_; }
  // Reads the next array, float32; throws Malformed if its checksum is wrong, or if it
  // holds NaN or infinity.
  void read(const Entry&, float* to);

 private:
  void read_header(const std::string& header);
  void read_entries(const Json& header, const Json& metadata);

  std::unique_ptr<Source> source_;
  uint64_t data_ = 0;  // bytes
  Json description_;
  std::vector<Entry> entries_;
};

}  // namespace kurve
