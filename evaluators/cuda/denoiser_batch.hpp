#pragma once
// Samples with many denoisers at once: a batch of candidates, each with weights, steps and dropped
// blocks of its own, from noise to the moments of their features, without leaving the device.
// What it computes is what evaluators/diffusion computes on the processor, to rounding; the same
// batch gives the same bits again, and a candidate's results do not depend on its company.
//
// All launches of a batch are one CUDA graph, kept by the batch's shape: at some 30 small launches
// a step it would otherwise be their number that takes time.
//
// One thread at a time.  Memory on the device is reserved for the largest batch so far; CudaError
// when there is not enough, or the device fails.

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "evaluators/cuda/device.hpp"
#include "evaluators/cuda/diffusion_launch.hpp"
#include "evaluators/diffusion/denoiser.hpp"
#include "evaluators/diffusion/frechet.hpp"
#include "evaluators/diffusion/noise.hpp"
#include "evaluators/diffusion/solver.hpp"

namespace paretod::cuda {

/// The network that features are taken with, row-major.
struct FeatureWeights {
  std::size_t hidden = 0;
  std::size_t outputs = 0;
  std::vector<float> first, first_bias;  ///< [hidden][pixels]
  std::vector<float> last, last_bias;    ///< [outputs][hidden]
  float pixel_weight = 1;
};

struct BatchCandidate {
  std::vector<SolverStep> steps;  ///< noisiest first, at least one
  std::size_t samples = 0;        ///< 2 or more
  std::uint64_t replicate = 0;
};

/// Of one candidate.
struct BatchResult {
  bool finite = true;
  MomentSums sums;  ///< empty unless finite
};

class DenoiserBatch {
 public:
  DenoiserBatch(const DenoiserShape& shape, std::optional<std::size_t> null_class,
                const FeatureWeights& features, std::uint64_t noise_seed);

  /// Numbers of a candidate's weights, in layout order (denoiser.hpp).
  [[nodiscard]] std::size_t parameters() const { return parameters_; }
  [[nodiscard]] std::size_t dimension() const { return feature_outputs_ + shape_.pixels; }
  /// How many labels samples are dealt.
  [[nodiscard]] std::size_t labels() const { return labels_; }
  [[nodiscard]] cudaStream_t stream() const { return stream_.get(); }
  /// Bytes on the device that one more candidate of so many samples takes.
  [[nodiscard]] std::uint64_t bytes_per_candidate(std::size_t samples) const;

  /// Samples with weights that lie on the device, `weight_stride` numbers apart (0: all candidates
  /// have the same), and were put there on stream().
  std::vector<BatchResult> sample(std::span<const BatchCandidate> candidates, const float* weights,
                                  std::size_t weight_stride);
  /// After sample(), of candidates in its order: what each sample does to the distance
  /// (FrechetDistance::Expansion); null: not asked.
  std::vector<std::vector<float>> influences(
      std::span<const Moments> moments,
      std::span<const FrechetDistance::Expansion* const> expansions);

  /// The parts of sample(), for checks: features [samples][dimension()] of a candidate.
  std::vector<float> features(std::size_t candidate, std::size_t samples);
  /// Images [samples][pixels] likewise.
  std::vector<float> images(std::size_t candidate, std::size_t samples);

 private:
  /// What a graph is made for.
  struct Shape {
    std::uint32_t candidates = 0;
    std::uint32_t rows = 0;
    std::uint32_t steps = 0;
    bool history = false;
    const float* weights = nullptr;
    std::size_t weight_stride = 0;
    friend auto operator<=>(const Shape&, const Shape&) = default;
  };
  struct DestroyGraph {
    void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
  };
  using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;
  struct Noise {
    std::uint64_t replicate = 0;
    std::size_t samples = 0;
    DeviceBuffer<float> block;
  };
  /// Where a layer lies in a candidate's weights.
  struct Layer {
    std::size_t weights = 0;
    std::size_t bias = 0;
    std::uint32_t inputs = 0;
    std::uint32_t outputs = 0;
  };

  void lay_out();
  void reserve(const Shape& shape);
  const float* noise(std::uint64_t replicate, std::size_t samples, std::size_t in_batch);
  void upload_tables(std::span<const BatchCandidate> candidates, const Shape& shape);
  Graph capture(const Shape& shape);
  void enqueue(const Shape& shape);
  void enqueue_step(const Shape& shape, std::uint32_t step);
  void enqueue_features(const Shape& shape);
  LinearTable linear_table(const Shape& shape, const Layer& layer, const Matrices& input,
                           const Matrices& output, const Skip& skip) const;
  NormalizeTable normalize_table(const Shape& shape, const Layer& layer, const Skip& skip) const;
  [[nodiscard]] Matrices matrices(const DeviceBuffer<float>& buffer, std::size_t columns) const;

  DenoiserShape shape_;
  std::size_t feature_hidden_;
  std::size_t feature_outputs_;
  float pixel_weight_;
  std::size_t labels_;
  std::size_t null_class_;
  std::size_t parameters_ = 0;
  Layer input_, output_;
  std::vector<Layer> norms_, widen_, narrow_;

  Stream stream_;
  NoiseSource noise_source_;
  std::list<Noise> noises_;  ///< most recently used first

  DeviceBuffer<float> feature_weights_;
  DeviceBuffer<double> frequencies_;

  // Of the largest batch so far; graphs hold pointers into them.
  std::map<Shape, Graph> graphs_;
  std::uint32_t capacity_ = 0;  ///< candidates
  std::uint32_t rows_ = 0;      ///< samples of each
  std::uint32_t steps_ = 0;
  DeviceBuffer<float> images_, state_, normal_, hidden_, velocity_, feature_hidden_rows_, features_,
      conditions_, history_;
  DeviceBuffer<double> partial_, products_;
  DeviceBuffer<StepTable> step_table_;
  DeviceBuffer<std::uint8_t> skip_;
  DeviceBuffer<std::uint32_t> samples_, overflowed_;
  DeviceBuffer<const float*> noise_table_;
  DeviceBuffer<float> means_, gradients_, curvatures_, influence_;
  PinnedBuffer<double> products_host_;
  PinnedBuffer<std::uint32_t> overflowed_host_;
};

}  // namespace paretod::cuda
