#pragma once
// Merges models for several candidates at once, so that each source is read once per batch
// (research: bytes moved fall from (K + 1) N s per candidate to (K + P) N s per P candidates).  The
// CPU engine is here; one on a GPU implements the same class.
//
// Results depend on the sources, the rule and the candidate alone: not on the number of threads,
// the memory cap, the size of blocks or the other candidates of the batch, bit for bit (on one kind
// of processor: those with fused multiply-add agree with each other).
//
//   auto sources = MergeSources::open(paths, rule);
//   auto engine = cpu_merge_engine(std::make_shared<const MergeSources>(std::move(*sources)),
//   rule); auto output = MemoryOutput::...; engine->merge(candidates, output);

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "evaluators/merge/merge_method.hpp"
#include "evaluators/merge/merge_sources.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// Where merged tensors go.  Numbers of candidates are those within the batch, numbers of tensors
/// those of MergeSources::tensors().
class MergeOutput {
 public:
  virtual ~MergeOutput() = default;
  /// Memory of the tensor's layout that merged bytes are put into, or null: then write() gets them.
  /// Called from any thread; constant during a merge.
  [[nodiscard]] virtual std::byte* memory(std::size_t candidate, std::size_t tensor) = 0;
  /// Bytes of the tensor from `offset` on; from several threads at once, for parts that do not
  /// overlap.  An error ends the merge.
  virtual Result<void> write(std::size_t candidate, std::size_t tensor, std::uint64_t offset,
                             std::span<const std::byte> bytes) = 0;
};

/// Source bytes that are done with, of all; false stops the merge.  Called by the thread that
/// called merge().
using MergeProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

class MergeEngine {
 public:
  virtual ~MergeEngine() = default;

  /// "cpu avx512"
  [[nodiscard]] virtual std::string name() const = 0;
  /// Candidates that one pass over the sources can take; merge() splits larger batches.
  [[nodiscard]] virtual std::size_t candidates_per_pass() const = 0;
  /// Candidates that are best merged together; 0: as many as are scored together.
  [[nodiscard]] virtual std::size_t usual_batch() const { return 0; }
  /// One thread at a time.  Problems of a candidate (check_candidate) are errors of the whole call.
  virtual Result<void> merge(std::span<const MergeCandidate> candidates, MergeOutput& output,
                             const MergeProgress& progress = {}) = 0;
};

/// A quarter of the machine's memory, at most 4 GiB.
std::uint64_t default_merge_memory();

struct MergeLimits {
  std::size_t threads = 1;
  /// What the engine may keep resident: its buffers and the mapped source pages it is working on.
  /// The output is not counted.  0: default_merge_memory().
  std::uint64_t memory_bytes = 0;
  /// Elements of one unit of work; 0 chooses.  For tests: results do not depend on it.
  std::size_t block_elements = 0;
};

/// An error when the cap is too small for the method, saying what it needs.
Result<std::unique_ptr<MergeEngine>> cpu_merge_engine(std::shared_ptr<const MergeSources> sources,
                                                      const MergeRule& rule,
                                                      const MergeLimits& limits = {});

}  // namespace paretod
