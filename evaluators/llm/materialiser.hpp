#pragma once
// Merged adapters as folders, for servers that load one adapter at a time by its name.  Reads the
// pool once; writes a folder per candidate, in single precision, stored in the pool's own dtype:
// <merge.folder>/<folder of this process>/<name>.  The folder of a process goes with it, and after
// a kill -9 with the next one that opens the same merge.folder (weights_directory.hpp).
// Thread-safe.

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/llm/genome.hpp"
#include "evaluators/llm/peft_files.hpp"
#include "evaluators/merge/weights_directory.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

class Materialiser {
 public:
  static Result<std::unique_ptr<Materialiser>> open(const MergeConfig& config);

  /// Writes a folder `name`, and returns where the server sees it.
  Result<std::string> write(const Genome& genome, const std::string& name) const;
  void remove(const std::string& name) const;
  /// Whether what a server loaded from `path`, as the server sees it, was written by a process with
  /// this merge.folder that is no more.
  [[nodiscard]] bool orphaned(const std::string& path) const;

 private:
  Materialiser(const MergeConfig& config, WeightsDirectory directory)
      : config_(config), directory_(std::move(directory)) {}

  const MergeConfig& config_;
  const WeightsDirectory directory_;
  std::vector<LoraAdapter> pool_;
  PeftAdapter first_;  ///< without its tensors
};

}  // namespace paretod::llm
