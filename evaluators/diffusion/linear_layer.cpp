#include "evaluators/diffusion/linear_layer.hpp"

#include <algorithm>

namespace paretod {

LinearLayer::LinearLayer(std::size_t outputs, std::size_t inputs)
    : outputs_(outputs),
      inputs_(inputs),
      weights_(padded_rows(outputs) * inputs),
      bias_(padded_rows(outputs)) {}

void LinearLayer::assign(const float* weights, const float* bias) {
  for (std::size_t row = 0; row < outputs_; ++row) {
    float* block = weights_.data() + row / row_block * row_block * inputs_ + row % row_block;
    for (std::size_t column = 0; column < inputs_; ++column) {
      block[column * row_block] = weights[row * inputs_ + column];
    }
  }
  std::copy(bias, bias + outputs_, bias_.begin());
}

}  // namespace paretod
