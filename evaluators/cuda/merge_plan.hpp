#pragma once
// Merges of tensors that lie in device memory: what the C interface (paretod_cuda.h) and the merge
// engine (cuda_merge_engine.hpp) are made of.  A plan knows where everything is; a run is told the
// candidates' numbers.  Results are those of the engine on the processor, bit for bit where no
// tensor cores are used, norms are not restored (combine.cuh) and no angle is measured; masks
// always are.  It has all methods but della_linear and della, which need an order within every row
// and are left to the processor.
//
// A run only puts work on its stream and does not wait for it, but for the first one of slerp,
// which measures the angles.  Sources and bases stay as they are while a plan is used: thresholds
// and angles are kept from run to run.  One thread at a time; runs on different streams follow each
// other.  Pointers stay valid as long as the plan; outputs overlap neither sources nor bases.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "evaluators/cuda/merge_launch.hpp"
#include "evaluators/merge/merge_method.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::cuda {

/// A tensor, or consecutive elements of one.
struct PlanTensor {
  std::uint64_t elements = 0;
  /// Number of the first one within the named tensor, a multiple of 4; other than 0 only for
  /// methods without thresholds and restored norms.
  std::uint64_t first_element = 0;
  std::size_t group = 0;        ///< of MergeRule
  std::uint64_t name_hash = 0;  ///< tensor_name_hash(): decides random masks
  Stored source_type = Stored::f32;
  Stored base_type = Stored::f32;
  Stored output_type = Stored::f32;
  const void* base = nullptr;        ///< where the method has a base
  std::vector<const void*> sources;  ///< device memory, aligned to their type
  std::vector<void*> outputs;        ///< one per candidate that a run may have
  /// fisher: one per source.
  std::vector<const void*> importances = {};
  Stored importance_type = Stored::f32;
};

struct PlanOptions {
  /// Sources are differences from the base already.
  bool deltas = false;
  /// Of equal magnitudes at the threshold all are kept, and the number of kept elements is rounded
  /// to nearest, halves to even, instead of down: S_alpha of Evo-Merging (research section 2).
  bool keep_ties = false;
  /// A method that has a base is run without one: it merges the sources themselves.
  bool no_base = false;
  CombinePath path = CombinePath::automatic;
  /// Of scratch memory for thresholds.
  std::size_t scratch_bytes = std::size_t{64} << 20;
};

/// Why the rule cannot be merged by on the device.
std::optional<Error> unsupported(const MergeRule& rule);
/// Whether parts of tensors can be merged one by one.
bool merges_parts(const MergeRule& rule);

class MergePlan {
 public:
  /// Uploads the tables; `capacity` candidates at most in a run.
  static Result<MergePlan> make(const MergeRule& rule, std::size_t sources, std::size_t capacity,
                                std::vector<PlanTensor> tensors, const PlanOptions& options);

  /// Bytes that the sources and bases hold, and that one candidate's outputs hold.
  [[nodiscard]] std::uint64_t input_bytes() const { return input_bytes_; }
  [[nodiscard]] std::uint64_t output_bytes() const { return output_bytes_; }
  /// Passes over the sources that a run of so many candidates takes.
  [[nodiscard]] std::size_t passes(std::size_t candidates) const;

  /// Errors are the candidates' (check_candidate), before anything is launched.  CudaError: the
  /// device failed.
  Result<void> run(std::span<const MergeCandidate> candidates, cudaStream_t stream);
  /// fisher, after a run: numbers of the tensors (of make()) of which an importance is negative or
  /// NaN.  Waits for the stream.
  [[nodiscard]] std::vector<std::size_t> wrong_importances(cudaStream_t stream) const;
  /// For the last run, before the plan or what it points to goes.
  void wait() const {
    if (ran_) finished_.synchronize();
  }

 private:
  /// Tensors whose sources are stored alike: one launch.
  struct Batch {
    Stored source = Stored::f32;
    std::uint32_t first_tensor = 0;
    std::uint32_t tensors = 0;
    std::uint64_t tiles = 0;
    std::size_t first_entry = 0;  ///< of the table of tensors
  };
  struct Question {
    std::size_t row = 0;
    std::uint64_t count = 0;
    friend bool operator==(const Question&, const Question&) = default;
  };

  MergePlan(const MergeRule& rule, std::size_t sources, std::size_t capacity,
            const PlanOptions& options);
  void build(std::vector<PlanTensor> tensors);
  void upload_weights(std::span<const MergeCandidate> candidates, cudaStream_t stream);
  void upload_slerp(std::span<const MergeCandidate> candidates, cudaStream_t stream);
  /// Between the two sources of each tensor.
  void measure_angles(cudaStream_t stream);
  void upload_sparse(std::span<const MergeCandidate> candidates, cudaStream_t stream);
  void select(std::vector<Question> questions, cudaStream_t stream);
  /// Answers `count` of them from `first` on.
  void select_some(std::size_t first, std::size_t count, cudaStream_t stream);
  void restore(std::size_t candidates, cudaStream_t stream);
  /// Candidates of a pass where it is not launch_combine's to say; else 0.
  [[nodiscard]] std::size_t pass_width() const;
  [[nodiscard]] CombineBatch batch_of(const Batch& batch) const;

  MergeRule rule_;
  MergeTraits traits_;
  std::size_t sources_ = 0;
  std::size_t capacity_ = 0;
  std::size_t stride_ = 0;
  PlanOptions options_;
  DeviceLimits limits_;
  std::uint64_t input_bytes_ = 0;
  std::uint64_t output_bytes_ = 0;

  std::vector<PlanTensor> tensors_;   ///< by type of source
  std::vector<std::size_t> numbers_;  ///< of these in make()
  std::vector<Batch> batches_;
  DeviceBuffer<CombineTensor> table_;
  DeviceBuffer<const void*> rows_;
  DeviceBuffer<void*> outputs_;
  DeviceBuffer<float> weights_;
  DeviceBuffer<float> factors_;

  DeviceBuffer<Stored> importance_types_;
  DeviceBuffer<std::uint32_t> wrong_;  ///< fisher: per tensor
  std::vector<double> cosines_;        ///< slerp: per tensor, once measured

  // Of sparsifying methods; rows and parts of slerp too.
  std::vector<std::uint64_t> first_parts_;  ///< of each row [tensor][source], in parts
  DeviceBuffer<SelectRow> select_rows_;
  DeviceBuffer<SparseRow> sparse_;
  DeviceBuffer<Threshold> thresholds_;
  std::vector<Question> answered_;  ///< what thresholds_ holds, by row
  DeviceBuffer<SelectQuestion> questions_;
  DeviceBuffer<SelectGroup> groups_;
  DeviceBuffer<std::uint32_t> histograms_;
  DeviceBuffer<std::uint32_t> ties_;
  DeviceBuffer<std::uint64_t> first_ties_;
  DeviceBuffer<std::uint32_t> tie_slots_;
  DeviceBuffer<std::uint64_t> norm_blocks_;
  DeviceBuffer<double> norms_;

  Event finished_;  ///< of the last run
  bool ran_ = false;
};

}  // namespace paretod::cuda
