#include "evaluators/diffusion/denoiser.hpp"

#include <algorithm>
#include <cmath>

namespace paretod {
namespace {

/// sums = W x + b with W [bias.size()][x.size()].
std::vector<double> apply(const float* weights, const float* bias, std::size_t outputs,
                          const std::vector<double>& x) {
  std::vector<double> sums(bias, bias + outputs);
  for (std::size_t row = 0; row < outputs; ++row) {
    for (std::size_t i = 0; i < x.size(); ++i) sums[row] += weights[row * x.size() + i] * x[i];
  }
  return sums;
}

std::vector<double> time_embedding(std::size_t time, std::size_t width) {
  const std::size_t half = width / 2;
  std::vector<double> embedding(width);
  for (std::size_t i = 0; i < half; ++i) {
    const double frequency = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
    embedding[i] = std::sin(static_cast<double>(time) * frequency);
    embedding[half + i] = std::cos(static_cast<double>(time) * frequency);
  }
  return embedding;
}

}  // namespace

std::vector<TensorSpec> denoiser_layout(const DenoiserShape& shape) {
  const std::uint64_t w = shape.width;
  std::vector<TensorSpec> layout = {{"t1.w", {w, w}},
                                    {"t1.b", {w}},
                                    {"t2.w", {w, w}},
                                    {"t2.b", {w}},
                                    {"cls", {shape.classes, w}},
                                    {"in.w", {w, shape.pixels}},
                                    {"in.b", {w}}};
  for (std::size_t b = 0; b < shape.blocks; ++b) {
    const std::string block = std::to_string(b) + ".";
    layout.push_back({block + "ln.w", {w}});
    layout.push_back({block + "ln.b", {w}});
    layout.push_back({block + "1.w", {2 * w, w}});
    layout.push_back({block + "1.b", {2 * w}});
    layout.push_back({block + "2.w", {w, 2 * w}});
    layout.push_back({block + "2.b", {w}});
  }
  layout.push_back({"out.ln.w", {w}});
  layout.push_back({"out.ln.b", {w}});
  layout.push_back({"out.w", {shape.pixels, w}});
  layout.push_back({"out.b", {shape.pixels}});
  return layout;
}

std::size_t element_count(const TensorSpec& tensor) {
  std::size_t count = 1;
  for (const std::uint64_t extent : tensor.shape) count *= extent;
  return count;
}

Denoiser::Denoiser(const DenoiserShape& shape, const SimdKernels& kernels)
    : shape_(shape),
      kernels_(&kernels),
      input_(shape.width, shape.pixels),
      norms_(shape.blocks + 1),
      widen_(shape.blocks, LinearLayer(2 * shape.width, shape.width)),
      narrow_(shape.blocks, LinearLayer(shape.width, 2 * shape.width)),
      output_(shape.pixels, shape.width) {}

void Denoiser::assign(const float* parameters, std::span<const DdimStep> steps) {
  const std::size_t width = shape_.width;
  const float* at = parameters;
  const auto take = [&at](std::size_t count) {
    const float* from = at;
    at += count;
    return from;
  };
  const auto take_layer = [&take](LinearLayer& layer) {
    const float* weights = take(layer.outputs() * layer.inputs());
    layer.assign(weights, take(layer.outputs()));
  };
  const auto take_norm = [&take, width](Normalization& norm) {
    const float* scale = take(width);
    norm.scale.assign(scale, scale + width);
    const float* shift = take(width);
    norm.shift.assign(shift, shift + width);
  };

  const float* first_weights = take(width * width);
  const float* first_bias = take(width);
  const float* second_weights = take(width * width);
  const float* second_bias = take(width);
  const float* class_rows = take(shape_.classes * width);
  steps_.assign(steps.begin(), steps.end());
  compute_conditions(first_weights, first_bias, second_weights, second_bias, class_rows);

  take_layer(input_);
  for (std::size_t b = 0; b < shape_.blocks; ++b) {
    take_norm(norms_[b]);
    take_layer(widen_[b]);
    take_layer(narrow_[b]);
  }
  take_norm(norms_[shape_.blocks]);
  take_layer(output_);
}

void Denoiser::compute_conditions(const float* first_weights, const float* first_bias,
                                  const float* second_weights, const float* second_bias,
                                  const float* class_rows) {
  const std::size_t width = shape_.width;
  conditions_.resize(steps_.size() * shape_.classes * width);
  float* out = conditions_.data();
  for (const DdimStep& step : steps_) {
    std::vector<double> hidden =
        apply(first_weights, first_bias, width, time_embedding(step.time, width));
    for (double& z : hidden) z /= 1 + std::exp(-z);
    const std::vector<double> time = apply(second_weights, second_bias, width, hidden);
    for (std::size_t i = 0; i < shape_.classes * width; ++i) {
      *out++ = static_cast<float>(time[i % width] + class_rows[i]);
    }
  }
}

Denoiser::Scratch::Scratch(const DenoiserShape& shape)
    : state(padded_rows(shape.width) * tile_lanes),
      normal(shape.width * tile_lanes),
      hidden(padded_rows(2 * shape.width) * tile_lanes),
      condition(shape.width * tile_lanes),
      velocity(padded_rows(shape.pixels) * tile_lanes) {}

void Denoiser::predict(std::size_t step, const float* x, const std::size_t* labels, float* v,
                       Scratch& scratch) const {
  const std::size_t width = shape_.width;
  const float* conditions = conditions_.data() + step * shape_.classes * width;
  for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
    const float* row = conditions + labels[lane] * width;
    for (std::size_t i = 0; i < width; ++i) scratch.condition[i * tile_lanes + lane] = row[i];
  }

  float* state = scratch.state.data();
  float* normal = scratch.normal.data();
  float* hidden = scratch.hidden.data();
  kernels_->linear(input_.packed(), x, Epilogue::store, state);
  for (std::size_t b = 0; b < shape_.blocks; ++b) {
    kernels_->normalize(state, width, norms_[b].scale.data(), norms_[b].shift.data(),
                        scratch.condition.data(), normal);
    kernels_->linear(widen_[b].packed(), normal, Epilogue::silu, hidden);
    kernels_->linear(narrow_[b].packed(), hidden, Epilogue::add, state);
  }
  const Normalization& last = norms_[shape_.blocks];
  kernels_->normalize(state, width, last.scale.data(), last.shift.data(), nullptr, normal);
  kernels_->linear(output_.packed(), normal, Epilogue::store, v);
}

bool Denoiser::sample(float* x, const std::size_t* labels, Scratch& scratch) const {
  bool finite = true;
  for (std::size_t i = 0; i < steps_.size() && finite; ++i) {
    predict(i, x, labels, scratch.velocity.data(), scratch);
    finite =
        kernels_->ddim_update(x, scratch.velocity.data(), shape_.pixels, steps_[i].coefficients);
  }
  return finite;
}

double Denoiser::flops(const DenoiserShape& shape) {
  const double multiply_adds = static_cast<double>(2 * shape.width * shape.pixels +
                                                   4 * shape.width * shape.width * shape.blocks);
  return 2 * multiply_adds;
}

}  // namespace paretod
