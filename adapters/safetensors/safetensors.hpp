#pragma once
// Reader of safetensors files (the format of Hugging Face's library of that name): eight bytes of
// little-endian header length, a JSON header of tensor names, dtypes, shapes and byte ranges, then
// the tensors' bytes.
//
// The file is mapped, not read, and nothing in it is trusted: the header's length, its JSON, every
// shape and every byte range is checked before a view is given out, and the ranges must tile the
// data exactly, without overlap or gap.  Every error names the file, and the tensor where there is
// one.  A file that somebody shortens after it was opened raises SIGBUS on access, as any mapping
// does: replace checkpoints by renaming, never in place.
//
// An open file is immutable and may be read from any thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

/// As the format spells it: "F16".
std::string_view name_of(DType dtype);
/// Bytes per element.
std::size_t size_of(DType dtype);

/// One tensor; the bytes belong to the file it came from and need not be aligned to the dtype.
struct TensorView {
  std::string name;
  DType dtype;
  std::vector<std::uint64_t> shape;  ///< row-major; empty for a scalar
  std::span<const std::byte> bytes;

  [[nodiscard]] std::size_t elements() const { return bytes.size() / size_of(dtype); }
};

/// "[128, 64]"
std::string to_string(const std::vector<std::uint64_t>& shape);

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// In the order of their bytes.
  [[nodiscard]] const std::vector<TensorView>& tensors() const { return tensors_; }
  /// Null when there is none of that name.
  [[nodiscard]] const TensorView* find(std::string_view name) const;
  /// The tensor of that name; an error unless it exists with this shape.
  [[nodiscard]] Result<TensorView> get(std::string_view name,
                                       const std::vector<std::uint64_t>& shape) const;
  /// The header's free-form "__metadata__".
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;

  std::string path_;
  std::shared_ptr<const std::byte> mapping_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace paretod
