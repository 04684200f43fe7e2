#pragma once
// A model as it lies on disk: one safetensors file, a folder with model.safetensors, or a folder of
// shards with model.safetensors.index.json.  All files are mapped; nothing in them is trusted
// (safetensors.hpp), and the index must name every tensor of every shard exactly where it is, by
// plain file names.  Errors name the file.
//
// Immutable after opening; any thread.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

inline constexpr std::string_view model_file_name = "model.safetensors";
inline constexpr std::string_view model_index_name = "model.safetensors.index.json";

class ModelFiles {
 public:
  static Result<ModelFiles> open(const std::string& path);

  /// As it was opened.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<SafetensorsFile>& files() const { return files_; }
  /// By name, of all files; the views live as long as this object.
  [[nodiscard]] const std::map<std::string, TensorView, std::less<>>& tensors() const {
    return tensors_;
  }
  /// Null when there is none of that name.
  [[nodiscard]] const TensorView* find(std::string_view name) const;

 private:
  ModelFiles() = default;
  Result<void> add(const std::string& file);

  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace paretod
