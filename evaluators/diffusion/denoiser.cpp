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

std::vector<double> time_embedding(double time, std::size_t width) {
  const std::size_t half = width / 2;
  std::vector<double> embedding(width);
  for (std::size_t i = 0; i < half; ++i) {
    const double frequency = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
    embedding[i] = std::sin(time * frequency);
    embedding[half + i] = std::cos(time * frequency);
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
  assign(parameters);
  steps_.assign(steps.begin(), steps.end());
  conditions_.clear();
  for (const DdimStep& step : steps_) {
    const std::vector<float> at_step = conditions(static_cast<double>(step.time));
    conditions_.insert(conditions_.end(), at_step.begin(), at_step.end());
  }
}

void Denoiser::assign(const float* parameters) {
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

  const std::size_t embedding = 2 * width * (width + 1) + shape_.classes * width;
  const float* from = take(embedding);
  embedding_.assign(from, from + embedding);
  take_layer(input_);
  for (std::size_t b = 0; b < shape_.blocks; ++b) {
    take_norm(norms_[b]);
    take_layer(widen_[b]);
    take_layer(narrow_[b]);
  }
  take_norm(norms_[shape_.blocks]);
  take_layer(output_);
}

std::vector<float> Denoiser::conditions(double time) const {
  const std::size_t width = shape_.width;
  const float* first = embedding_.data();
  const float* second = first + width * (width + 1);
  const float* class_rows = second + width * (width + 1);
  std::vector<double> hidden =
      apply(first, first + width * width, width, time_embedding(time, width));
  for (double& z : hidden) z /= 1 + std::exp(-z);
  const std::vector<double> embedded = apply(second, second + width * width, width, hidden);
  std::vector<float> out(shape_.classes * width);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(embedded[i % width] + class_rows[i]);
  }
  return out;
}

Denoiser::Scratch::Scratch(const DenoiserShape& shape)
    : state(padded_rows(shape.width) * tile_lanes),
      normal(shape.width * tile_lanes),
      hidden(padded_rows(2 * shape.width) * tile_lanes),
      condition(shape.width * tile_lanes),
      velocity(padded_rows(shape.pixels) * tile_lanes) {}

void Denoiser::predict(std::size_t step, const float* x, const std::size_t* labels, float* v,
                       Scratch& scratch) const {
  predict(conditions_.data() + step * shape_.classes * shape_.width, {}, x, labels, v, scratch);
}

void Denoiser::predict(const float* conditions, std::span<const std::uint8_t> dropped,
                       const float* x, const std::size_t* labels, float* v,
                       Scratch& scratch) const {
  const std::size_t width = shape_.width;
  for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
    const float* row = conditions + labels[lane] * width;
    for (std::size_t i = 0; i < width; ++i) scratch.condition[i * tile_lanes + lane] = row[i];
  }

  float* state = scratch.state.data();
  float* normal = scratch.normal.data();
  float* hidden = scratch.hidden.data();
  kernels_->linear(input_.packed(), x, Epilogue::store, state);
  for (std::size_t b = 0; b < shape_.blocks; ++b) {
    if (!dropped.empty() && dropped[b] != 0) continue;
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
  return flops(shape, shape.blocks);
}

double Denoiser::flops(const DenoiserShape& shape, std::size_t blocks) {
  const double multiply_adds =
      static_cast<double>(2 * shape.width * shape.pixels + 4 * shape.width * shape.width * blocks);
  return 2 * multiply_adds;
}

}  // namespace paretod
