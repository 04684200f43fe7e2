#include "adapters/safetensors/safetensors.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::uint64_t length_bytes = 8;
/// The format's own limit.
constexpr std::uint64_t header_limit = 100'000'000;
constexpr std::size_t rank_limit = 16;

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  std::size_t size;
};
constexpr std::array<DTypeInfo, 13> dtypes{{{DType::f64, "F64", 8},
                                            {DType::f32, "F32", 4},
                                            {DType::f16, "F16", 2},
                                            {DType::bf16, "BF16", 2},
                                            {DType::i64, "I64", 8},
                                            {DType::i32, "I32", 4},
                                            {DType::i16, "I16", 2},
                                            {DType::i8, "I8", 1},
                                            {DType::u64, "U64", 8},
                                            {DType::u32, "U32", 4},
                                            {DType::u16, "U16", 2},
                                            {DType::u8, "U8", 1},
                                            {DType::boolean, "BOOL", 1}}};

const DTypeInfo& info_of(DType dtype) {
  return *std::find_if(dtypes.begin(), dtypes.end(),
                       [dtype](const DTypeInfo& info) { return info.dtype == dtype; });
}

std::optional<std::uint64_t> whole(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

/// Names come from an untrusted file and go into messages: printable and short.
std::string shown(std::string_view name) {
  std::string out = "\"";
  for (const char c : name.substr(0, 100)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (name.size() > 100 ? "...\"" : "\"");
}

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

/// A mapping that unmaps itself; `descriptor` may be closed afterwards.
std::shared_ptr<const std::byte> map_file(int descriptor, std::size_t size) {
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) return nullptr;
  return {static_cast<const std::byte*>(address),
          [address, size](const std::byte*) { ::munmap(address, size); }};
}

/// One header entry, checked against `data`, the bytes behind the header.
Result<TensorView> read_entry(const std::string& name, const json& entry,
                              std::span<const std::byte> data) {
  const auto wrong = [&name](const std::string& what) {
    return invalid("tensor " + shown(name) + ": " + what);
  };
  if (!entry.is_object()) return wrong("its header entry is not an object");
  for (const auto& [key, value] : entry.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return wrong("unknown header field " + shown(key));
    }
  }
  const auto dtype_field = entry.find("dtype");
  if (dtype_field == entry.end() || !dtype_field->is_string()) return wrong("no dtype");
  const auto& dtype_name = dtype_field->get_ref<const std::string&>();
  const auto* dtype = std::find_if(dtypes.begin(), dtypes.end(),
                                   [&](const DTypeInfo& info) { return info.name == dtype_name; });
  if (dtype == dtypes.end()) return wrong("unknown dtype " + shown(dtype_name));

  const auto shape_field = entry.find("shape");
  if (shape_field == entry.end() || !shape_field->is_array()) return wrong("no shape");
  if (shape_field->size() > rank_limit) {
    return wrong("more than " + std::to_string(rank_limit) + " dimensions");
  }
  std::vector<std::uint64_t> shape;
  std::uint64_t size = dtype->size;
  for (const json& extent : *shape_field) {
    const auto count = whole(extent);
    if (!count) return wrong("a dimension is not a whole number");
    if (__builtin_mul_overflow(size, *count, &size)) return wrong("the shape overflows");
    shape.push_back(*count);
  }

  const auto range = entry.find("data_offsets");
  if (range == entry.end() || !range->is_array() || range->size() != 2) {
    return wrong("no data_offsets of two numbers");
  }
  const auto begin = whole((*range)[0]);
  const auto end = whole((*range)[1]);
  if (!begin || !end || *begin > *end) return wrong("data_offsets are not a byte range");
  if (*end > data.size()) {
    return wrong("data_offsets end at byte " + std::to_string(*end) + ", but the data has " +
                 std::to_string(data.size()));
  }
  if (*end - *begin != size) {
    return wrong(std::string(dtype->name) + " of shape " + to_string(shape) + " needs " +
                 std::to_string(size) + " bytes, data_offsets hold " +
                 std::to_string(*end - *begin));
  }
  return TensorView{name, dtype->dtype, std::move(shape), data.subspan(*begin, size)};
}

}  // namespace

std::string_view name_of(DType dtype) {
  return info_of(dtype).name;
}

std::size_t size_of(DType dtype) {
  return info_of(dtype).size;
}

std::string to_string(const std::vector<std::uint64_t>& shape) {
  std::string out = "[";
  for (const std::uint64_t extent : shape) {
    out += (out.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return out + "]";
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const auto wrong = [&path](const std::string& what) { return invalid(path + ": " + what); };

  // Without blocking, or a pipe of that name would wait for its writer.
  const Descriptor descriptor{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (descriptor.value < 0) {
    const int code = errno;
    Error error = wrong(std::strerror(code));
    if (code == ENOENT) error.kind = ErrorKind::not_found;
    return error;
  }
  struct stat status {};
  if (::fstat(descriptor.value, &status) != 0) return wrong(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return wrong("not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < length_bytes) {
    return wrong("not a safetensors file: " + std::to_string(size) + " bytes");
  }

  SafetensorsFile file;
  file.path_ = path;
  file.mapping_ = map_file(descriptor.value, size);
  if (!file.mapping_) return wrong(std::string("cannot be mapped: ") + std::strerror(errno));
  const std::span<const std::byte> bytes(file.mapping_.get(), size);

  std::uint64_t header_size = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    header_size |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  if (header_size > header_limit || header_size > size - length_bytes) {
    return wrong("not a safetensors file, or cut short: it claims a header of " +
                 std::to_string(header_size) + " bytes in a file of " + std::to_string(size));
  }
  const auto header_bytes = bytes.subspan(length_bytes, header_size);
  const std::string_view text(reinterpret_cast<const char*>(header_bytes.data()),
                              header_bytes.size());
  if (!text.starts_with('{')) return wrong("the header does not start with '{'");

  JsonLimits limits;
  limits.depth = 4;
  limits.nodes = 4'000'000;
  const auto header = parse_json(text, limits);
  if (!header) return wrong("header: " + header.error().text());
  if (!header->is_object()) return wrong("the header is not an object");

  const auto data = bytes.subspan(length_bytes + header_size);
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) return wrong("__metadata__ is not an object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) return wrong("__metadata__: " + shown(key) + " is not a string");
        file.metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    auto tensor = read_entry(name, entry, data);
    if (!tensor) return wrong(tensor.error().message);
    file.tensors_.push_back(std::move(*tensor));
  }

  // Empty tensors sort before the one that starts at the same byte.
  std::sort(file.tensors_.begin(), file.tensors_.end(),
            [](const TensorView& a, const TensorView& b) {
              return std::pair(a.bytes.data(), a.bytes.size()) <
                     std::pair(b.bytes.data(), b.bytes.size());
            });
  const std::byte* at = data.data();
  for (const TensorView& tensor : file.tensors_) {
    if (tensor.bytes.data() < at) {
      return wrong("tensor " + shown(tensor.name) + ": its bytes overlap another tensor's");
    }
    if (tensor.bytes.data() > at) {
      return wrong("tensor " + shown(tensor.name) + ": unclaimed bytes before it");
    }
    at += tensor.bytes.size();
  }
  if (at != data.data() + data.size()) return wrong("unclaimed bytes after the last tensor");

  for (std::size_t i = 0; i < file.tensors_.size(); ++i) {
    file.index_.emplace(file.tensors_[i].name, i);
  }
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

Result<TensorView> SafetensorsFile::get(std::string_view name,
                                        const std::vector<std::uint64_t>& shape) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) return invalid(path_ + ": no tensor is called " + shown(name));
  if (tensor->shape != shape) {
    return invalid(path_ + ": tensor " + shown(name) + " has shape " + to_string(tensor->shape) +
                   ", " + to_string(shape) + " is needed");
  }
  return *tensor;
}

}  // namespace paretod
