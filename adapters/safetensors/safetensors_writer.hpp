#pragma once
// Writer of a model's folder: model.safetensors, or shards with model.safetensors.index.json when
// the tensors need more than one file's worth.  Every file is created at its full size under a
// temporary name, filled in any order, and renamed when all is on disk; until commit() the folder
// shows no file of the new model, and without commit() the temporary files are removed.  The index
// comes last, so that an interrupted commit of shards is never taken for a model.
//
// write() may be called from any thread at once, for bytes that do not overlap; the rest from one.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct TensorLayout {
  std::string name;
  DType dtype;
  std::vector<std::uint64_t> shape;  ///< row-major; empty for a scalar

  [[nodiscard]] std::uint64_t elements() const;
  [[nodiscard]] std::uint64_t bytes() const { return elements() * size_of(dtype); }
};

class SafetensorsWriter {
 public:
  /// The folder must exist and hold no model yet: the files of another one are replaced only where
  /// the names are the same.  A file holds at most `shard_bytes` of data, or one larger tensor.
  /// Files are cut in the order of `tensors`, whose names must differ.
  static Result<SafetensorsWriter> create(const std::string& folder,
                                          std::vector<TensorLayout> tensors,
                                          std::uint64_t shard_bytes,
                                          const std::map<std::string, std::string>& metadata);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();

  [[nodiscard]] const std::vector<TensorLayout>& tensors() const;
  /// Bytes of tensors()[tensor] from `offset` on; errors name the file.
  Result<void> write(std::size_t tensor, std::uint64_t offset, std::span<const std::byte> bytes);
  /// Once.  Bytes that were never written are zero.
  Result<void> commit();
  /// Names in the folder that commit() makes, the index included.
  [[nodiscard]] std::vector<std::string> file_names() const;

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace paretod
