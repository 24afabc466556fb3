#include "container.h"

#include <sys/stat.h>
#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>

#include "sha256.h"

namespace kurve {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr uint64_t max_header = 1 << 24;
constexpr size_t max_tensors = 10'000, max_name = 512, max_rank = 8, digits = 64;
constexpr int64_t max_size = int64_t(1) << 48;
constexpr std::string_view prefix = "{\"__metadata__\":{\"sha256\":\"",
                           not_ours =
                               "it is not a file of Kurve. Try model.export("
                               "'model.plan.kurve') in Python";

[[noreturn]] void refuse(const std::string& field, const std::string& what) {
  throw Malformed(field.substr(0, 100) + ": " + what);
}

class Memory : public Source {
 public:
  Memory(const void* bytes, size_t size)
      : at_(static_cast<const char*>(bytes)), left_(size), size_(size) {}

  void read(void* to, size_t size) override {
    if (size > left_) refuse("file", "it is truncated");
    if (size) std::memcpy(to, at_, size);
    at_ += size, left_ -= size;
  }
  uint64_t size() const override { return size_; }

 private:
  const char* at_;
  size_t left_, size_;
};

class OpenFile : public Source {
 public:
  OpenFile(const std::filesystem::path& path, uint64_t size)
      : file_(path, std::ios::binary), size_(size) {
    if (!file_) throw std::system_error(errno, std::generic_category());
  }

  void read(void* to, size_t size) override {
    if (!file_.read(static_cast<char*>(to), std::streamsize(size)))
      refuse("file", "it is truncated");
  }
  uint64_t size() const override { return size_; }

 private:
  std::ifstream file_;
  uint64_t size_;
};

// A sparse file with almost no data could claim terabytes.
void check_holes([[maybe_unused]] const char* path, [[maybe_unused]] uint64_t size) {
#if defined(SEEK_DATA) && defined(SEEK_HOLE)
  constexpr uint64_t checked_from = 1 << 20, most = 64;
  if (size <= checked_from) return;
  int handle = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (handle < 0) throw std::system_error(errno, std::generic_category());
  uint64_t data = 0;
  off_t position = 0;
  for (int i = 0; i < 10'000 && data * most < size; i++) {
    off_t start = lseek(handle, position, SEEK_DATA);
    if (start < 0) break;  // no more data
    position = lseek(handle, start, SEEK_HOLE);
    if (position < 0) break;
    data += uint64_t(position - start);
  }
  close(handle);
  if (0 < data && data * most < size) refuse("file", "almost all of it is a hole");
#endif
}

}  // namespace

std::unique_ptr<Source> open_file(const char* name) {
#if defined(_WIN32)
  std::filesystem::path path(reinterpret_cast<const char8_t*>(name));
#else
  std::filesystem::path path(name);
#endif
  auto status = std::filesystem::status(path);  // throws a std::system_error
  if (!std::filesystem::exists(status))
    throw std::system_error(ENOENT, std::generic_category());
  if (!std::filesystem::is_regular_file(status))
    refuse("file", "it is a directory, pipe or device");
  uint64_t size = std::filesystem::file_size(path);
  check_holes(name, size);
  return std::make_unique<OpenFile>(path, size);
}

std::unique_ptr<Source> open_memory(const void* bytes, size_t size) {
  return std::make_unique<Memory>(bytes, size);
}

Container::Container(std::unique_ptr<Source> source) : source_(std::move(source)) {
  uint64_t size = source_->size(), length = 0;
  if (size < 8) refuse("header", std::string(not_ours));
  source_->read(&length, 8);
  if (length < prefix.size() + digits || length > std::min(max_header, size - 8))
    refuse("header", std::string(not_ours));
  data_ = size - 8 - length;
  std::string header(size_t(length), ' ');
  source_->read(header.data(), header.size());
  if (!header.starts_with(prefix)) refuse("header", std::string(not_ours));
  Sha256 sum;
  sum.add(&length, 8);
  sum.add(prefix.data(), prefix.size());
  sum.add(std::string(digits, '0').data(), digits);
  size_t rest = prefix.size() + digits;
  sum.add(header.data() + rest, header.size() - rest);
  if (sum.hex() != header.substr(prefix.size(), digits))
    refuse("header", "its SHA-256 does not match: the file is damaged");
  read_header(header);
}

void Container::read_header(const std::string& header) {
  Json parsed = parse_json(header, "header");
  Field top(parsed, "header"), metadata = top.at("__metadata__");
  if (metadata.at("format").text() != "kurve 2")
    metadata.at("format").refuse(
        "it is not 'kurve 2'. Try the version of the library that belongs to the "
        "Kurve that wrote it");
  description_ = parse_json(metadata.at("kurve").text(), "kurve");
  read_entries(parsed, metadata.json());
}

void Container::read_entries(const Json& header, const Json& metadata) {
  std::map<std::string, std::string> sums;
  for (const auto& [key, value] : metadata.fields) {
    if (key == "sha256" || key == "format" || key == "kurve") continue;
    if (!key.starts_with("sha256:")) refuse("__metadata__", "a key is unknown");
    sums[key.substr(7)] = Field(value, key).text();
  }
  // The first is __metadata__ itself.
  if (header.fields.size() - 1 > max_tensors || sums.size() != header.fields.size() - 1)
    refuse("tensors", "their checksums do not fit, or there are too many");
  uint64_t at = 0;
  for (const auto& [name, value] : header.fields) {
    if (name == "__metadata__") continue;
    Field field(value, "tensors." + name.substr(0, 80));
    field.expect_keys({"dtype", "shape", "data_offsets"});
    auto sum = sums.find(name);
    if (sum == sums.end() || name.empty() || name.size() > 4 * max_name)
      field.refuse("it has no checksum, or no name");
    Entry entry{name, field.at("dtype").text(), sum->second,
                field.at("shape").integers(0, max_size), 0};
    static const std::map<std::string, uint64_t> dtypes = {
        {"F32", 4}, {"F64", 8}, {"I64", 8}, {"U8", 1}};
    auto width = dtypes.find(entry.dtype);
    if (width == dtypes.end() || entry.shape.size() > max_rank)
      field.refuse("its dtype or shape is unknown");
    entry.bytes = width->second;
    for (int64_t axis : entry.shape) {
      if (axis && entry.bytes > uint64_t(max_size) / uint64_t(axis))
        field.refuse("it is larger than the file");
      entry.bytes *= uint64_t(axis);
    }
    auto offsets = field.at("data_offsets").integers(0, max_size);
    if (offsets.size() != 2 || uint64_t(offsets[0]) != at ||
        uint64_t(offsets[1]) != at + entry.bytes)
      field.refuse("its offsets do not fit, overlap or leave a gap");
    at += entry.bytes;
    if (at > data_) field.refuse("it ends after the end of the file");
    entries_.push_back(std::move(entry));
  }
  if (at != data_) refuse("tensors", "there are bytes after the last one");
}

void Container::read(const Entry& entry, float* to) {
  constexpr uint64_t piece = 1 << 20;
  Sha256 sum;
  char* bytes = reinterpret_cast<char*>(to);
  for (uint64_t done = 0; done < entry.bytes; done += piece) {
    size_t count = size_t(std::min(piece, entry.bytes - done));
    source_->read(bytes + done, count);
    sum.add(bytes + done, count);
  }
  std::string field = "tensors." + entry.name.substr(0, 80);
  if (sum.hex() != entry.sha256)
    refuse(field, "its SHA-256 does not match: the file is damaged");
  for (uint64_t i = 0; i < entry.bytes / 4; i++)
    if (!std::isfinite(to[i])) refuse(field, "it contains NaN or infinity");
}

}  // namespace kurve
