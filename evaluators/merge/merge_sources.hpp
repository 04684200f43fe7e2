#pragma once
// The models of a merge, opened and compared: all must have the same tensors with the same shapes.
// What differs is said by name, a few examples of each kind.  Float dtypes may differ between
// models; the output takes the base's (else the first source's), or one dtype for all.  Integer and
// boolean tensors are not merged but copied from the same model.
//
// Files are mapped (model_files.hpp) and stay open as long as this object.  Immutable; any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/safetensors/model_files.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "evaluators/merge/merge_method.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// Names of sources and groups: 1 to 32 letters, digits, '_' and '-'.
bool is_merge_name(std::string_view name);

/// One model file, folder with model.safetensors, or folder of shards each.
struct MergePaths {
  struct Source {
    std::string name;
    std::string path;
    std::string importance = {};  ///< fisher: a model with the same tensors, none negative
  };
  std::string base = {};  ///< empty: none
  std::vector<Source> sources;
};

/// One tensor of the merged model and where it comes from.  The views belong to MergeSources.
struct MergedTensor {
  TensorLayout layout;                   ///< of the output
  std::size_t group = 0;                 ///< rule.groups.size(): none of the named ones
  bool copied = false;                   ///< not a number to be merged: `original` as it is
  const TensorView* original = nullptr;  ///< the base's, else the first source's
  const TensorView* base = nullptr;      ///< null where there is no base
  std::vector<const TensorView*> sources;
  std::vector<const TensorView*> importance;  ///< empty unless fisher
};

/// Of all the models, for one merge of it.
std::uint64_t bytes_read(const MergedTensor& tensor);

class MergeSources {
 public:
  /// `dtype`: of the output's floats, F32, F16 or BF16; without one each keeps its own (F64 becomes
  /// F32).  Problems point into a recipe: "/sources/1/path", "/groups/0/match".
  static Result<MergeSources> open(const MergePaths& paths, const MergeRule& rule,
                                   std::optional<DType> dtype = {});

  [[nodiscard]] const MergePaths& paths() const { return paths_; }
  /// In the order of the original's bytes on disk.
  [[nodiscard]] const std::vector<MergedTensor>& tensors() const { return tensors_; }
  [[nodiscard]] std::vector<TensorLayout> layouts() const;
  [[nodiscard]] std::size_t source_count() const { return paths_.sources.size(); }
  /// Of one merged model, and of all that is read for it once.
  [[nodiscard]] std::uint64_t output_bytes() const;
  [[nodiscard]] std::uint64_t input_bytes() const;
  /// Changes with any file's path, size, time of change or header: outcomes of other sources are
  /// not reused.
  [[nodiscard]] const std::string& version() const { return version_; }

 private:
  MergeSources() = default;

  MergePaths paths_;
  std::vector<ModelFiles> models_;
  std::vector<MergedTensor> tensors_;
  std::string version_;
};

}  // namespace paretod
