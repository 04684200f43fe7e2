#pragma once
// Merged adapters as folders, for servers that load one adapter at a time by its name.  Reads the
// pool once; writes a folder per candidate, in single precision, stored in the pool's own dtype.
// Thread-safe.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/llm/genome.hpp"
#include "evaluators/llm/peft_files.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

class Materialiser {
 public:
  static Result<std::unique_ptr<Materialiser>> open(const MergeConfig& config);

  /// Writes `folder`/`name`, of which the server sees the result.
  Result<std::string> write(const Genome& genome, const std::string& name) const;
  void remove(const std::string& name) const;

 private:
  explicit Materialiser(const MergeConfig& config) : config_(config) {}

  const MergeConfig& config_;
  std::vector<LoraAdapter> pool_;
  PeftAdapter first_;  ///< without its tensors
};

}  // namespace paretod::llm
