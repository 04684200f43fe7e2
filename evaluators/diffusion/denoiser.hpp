#pragma once
// The residual MLP denoiser: one set of weights, ready to predict v and to sample with DDIM.
//
//   e = [sin(t f_i), cos(t f_i)], f_i = 10000^(-i / (width/2))
//   c = W2 silu(W1 e + b1) + b2 + class_row[label];   h = W_in x + b_in
//   each block: u = LN(h) + c;  h += P2 silu(P1 u + q1) + q2      (width -> 2 width -> width)
//   v = W_out LN(h) + b_out
//
// A dropped block leaves h as it is.
//
// float32 throughout, on tiles of samples (simd.hpp).  assign() writes; the const functions may be
// called from many threads, each with its own Scratch.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/linear_layer.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {

struct DenoiserShape {
  std::size_t width = 64;  ///< even
  std::size_t blocks = 8;
  std::size_t classes = 10;
  std::size_t pixels = 64;
};

struct TensorSpec {
  std::string name;
  std::vector<std::uint64_t> shape;  ///< row-major; matrices are [out, in]
};

/// Every tensor of the network, in the order of the flat parameter vector.
std::vector<TensorSpec> denoiser_layout(const DenoiserShape& shape);
std::size_t element_count(const TensorSpec& tensor);

class Denoiser {
 public:
  Denoiser(const DenoiserShape& shape, const SimdKernels& kernels);

  /// Takes the weights, in layout order.
  void assign(const float* parameters);
  /// The same, and the steps that predict(step, ...) and sample() will be asked for.
  void assign(const float* parameters, std::span<const DdimStep> steps);

  /// c of every class at a time between 0 and timesteps - 1, whole or not: [classes][width].
  [[nodiscard]] std::vector<float> conditions(double time) const;

  /// Working memory of one thread.
  class Scratch {
   public:
    explicit Scratch(const DenoiserShape& shape);

   private:
    friend class Denoiser;
    AlignedVector<float> state, normal, hidden, condition, velocity;
  };

  /// v of one tile under the conditions() of a time: x and v are [pixels][tile_lanes], v padded to
  /// padded_rows(pixels); labels [tile_lanes]; dropped is empty or one flag per block.
  void predict(const float* conditions, std::span<const std::uint8_t> dropped, const float* x,
               const std::size_t* labels, float* v, Scratch& scratch) const;
  /// The same at one of the assigned steps, with all blocks.
  void predict(std::size_t step, const float* x, const std::size_t* labels, float* v,
               Scratch& scratch) const;
  /// Runs all steps on one tile in place, from noise to images [pixels][tile_lanes]; false when any
  /// prediction was not finite.
  bool sample(float* x, const std::size_t* labels, Scratch& scratch) const;

  /// Floating-point operations (two per multiply-add) of one sample at one step.
  static double flops(const DenoiserShape& shape);
  /// The same with `blocks` of its blocks.
  static double flops(const DenoiserShape& shape, std::size_t blocks);

 private:
  struct Normalization {
    std::vector<float> scale, shift;
  };

  DenoiserShape shape_;
  const SimdKernels* kernels_;
  std::vector<DdimStep> steps_;
  std::vector<float> embedding_;   // t1.w to cls, as in the layout
  std::vector<float> conditions_;  // [steps][classes][width]: c above
  LinearLayer input_;
  std::vector<Normalization> norms_;  // one per block, then the output's
  std::vector<LinearLayer> widen_, narrow_;
  LinearLayer output_;
};

}  // namespace paretod
