#pragma once
// Native code that scores merged weights in memory, behind the evaluator `merge`
// (merge_evaluator.hpp), which merges the candidates of a batch in one pass over the sources and
// calls score() for each.  A scorer knows nothing of coefficients, methods or files of the merge.
//
//   class MyScorer final : public MergedScorer { ... };
//   merged_scorer_types() in merged_scorers.cpp gets one line.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "evaluators/evaluator.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

/// The tensors of one merged model, for as long as a call of score() lasts.
class MergedWeights {
 public:
  /// `tensors` outlives this object.
  explicit MergedWeights(std::span<const TensorView> tensors) : tensors_(tensors) {}

  [[nodiscard]] std::span<const TensorView> tensors() const { return tensors_; }
  /// Null when there is none of that name.
  [[nodiscard]] const TensorView* find(std::string_view name) const;
  /// The numbers of an F32 tensor, aligned to 64 bytes; throws std::logic_error for another name or
  /// dtype, which a scorer has excluded in check().
  [[nodiscard]] std::span<const float> floats(std::string_view name) const;

 private:
  std::span<const TensorView> tensors_;
};

struct ScorerDescription {
  std::vector<Objective> objectives;  ///< all that it measures; a job may take some of them
  std::vector<std::string> metrics = {};
  /// What Candidate::fidelity counts, and the value that 0 stands for.
  std::string fidelity_unit = {};
  std::uint64_t default_fidelity = 0;
  /// What merged floats are given in: F32, or without a value as they would be stored.
  std::optional<DType> dtype = DType::f32;
  /// Of its code and data: outcomes of another version are not reused.
  std::string version = {};
  /// Per-job parameters; their values come with each request.
  std::vector<FieldInfo> params = {};
};

class MergedScorer {
 public:
  virtual ~MergedScorer() = default;

  /// Constant after construction.
  [[nodiscard]] virtual ScorerDescription describe() const = 0;
  /// Refuses models it cannot score, once, before the first score(): an error names the tensor and
  /// the shape it needs.
  [[nodiscard]] virtual Result<void> check(std::span<const TensorLayout> tensors) const = 0;
  /// Objectives in the order of describe(), all of them.  The candidate's fidelity is never 0
  /// where there is a default; equal replicates see equal noise.  Called from several threads at
  /// once.  Return soon, with anything, when `cancelled` becomes true.
  [[nodiscard]] virtual Outcome score(const MergedWeights& weights, const Candidate& candidate,
                                      const ParamValues& params,
                                      const std::atomic<bool>& cancelled) const = 0;
};

/// A kind of scorer that a configuration can name ("scorer": "classifier").
struct MergedScorerType {
  std::string name;
  std::string summary;
  /// From the file that the configuration names beside it ("scorer_file"; empty: none).  Problems
  /// point below "".
  std::function<Result<std::unique_ptr<MergedScorer>>(const std::string& file)> create;
};

/// One explicit list, sorted by name.
std::vector<MergedScorerType> merged_scorer_types();

}  // namespace paretod
