#pragma once
// A linear layer in the packed form that the kernels read.  assign() writes; everything else reads,
// from any thread.

#include <cstddef>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {

class LinearLayer {
 public:
  LinearLayer(std::size_t outputs, std::size_t inputs);

  /// weights [outputs][inputs], row-major; bias [outputs].
  void assign(const float* weights, const float* bias);
  [[nodiscard]] PackedLinear packed() const {
    return {weights_.data(), bias_.data(), inputs_, outputs_};
  }
  [[nodiscard]] std::size_t outputs() const { return outputs_; }
  [[nodiscard]] std::size_t inputs() const { return inputs_; }

 private:
  std::size_t outputs_;
  std::size_t inputs_;
  AlignedVector<float> weights_;
  AlignedVector<float> bias_;
};

}  // namespace paretod
