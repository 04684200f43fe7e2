#pragma once
// What samples are worth: the Frechet and kernel distances of their features to real images, with
// the error over noise.  Samples are judged from mergeable statistics of blocks of 480, so that
// more of them add blocks and leave the others as they are.  Immutable; any thread.

#include <cstddef>
#include <optional>
#include <span>

#include "evaluators/diffusion/feature_network.hpp"
#include "evaluators/diffusion/frechet.hpp"
#include "evaluators/diffusion/kernel_distance.hpp"
#include "evaluators/diffusion/model_description.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// Number, sum and outer products of the features of up to block_samples samples, and what they
/// contribute to the kernel distance.
struct SampleBlock {
  MomentSums sums;
  KernelDistance::Block kernel;
};

struct SampleDistances {
  double distance = 0;                    ///< Frechet, to A
  double standard_error = 0;              ///< of `distance`, over noise (influence.hpp)
  double heldout = 0;                     ///< Frechet, to B
  std::optional<double> kernel_distance;  ///< to A, if wanted
};

class SampleJudge {
 public:
  /// Reads the model's feature network and reference images.
  static Result<SampleJudge> load(const ModelDescription& model, bool kernel_distance,
                                  const SimdKernels& kernels);

  [[nodiscard]] const FeatureNetwork& features() const { return features_; }

  /// Of samples [first, first + samples), whose features begin at `tiles`; lanes beyond them are
  /// ignored.
  [[nodiscard]] SampleBlock block(const float* tiles, std::size_t first, std::size_t samples) const;
  /// Of two or more samples: their features, [tiles][rows][tile_lanes], and the blocks that they
  /// are in, in order.  The result does not depend on the number of threads.
  [[nodiscard]] SampleDistances judge(const float* tiles, std::size_t samples,
                                      std::span<const SampleBlock* const> blocks,
                                      std::size_t threads) const;

 private:
  SampleJudge(const ModelDescription& model, FeatureNetwork features, FrechetDistance searched,
              FrechetDistance heldout, std::optional<KernelDistance> kernel,
              const SimdKernels& kernels);
  void judge_few(const float* tiles, SampleDistances& out, std::span<float> influence) const;
  void judge_many(const float* tiles, std::span<const SampleBlock* const> blocks,
                  std::size_t threads, SampleDistances& out, std::span<float> influence) const;

  ModelDescription model_;
  FeatureNetwork features_;
  FrechetDistance searched_;
  FrechetDistance heldout_;
  std::optional<KernelDistance> kernel_;
  const SimdKernels* kernels_;
};

}  // namespace paretod
