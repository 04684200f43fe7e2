#include "evaluators/cuda/denoiser_batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "evaluators/diffusion/tiles.hpp"

namespace paretod::cuda {
namespace {

/// Of noise on the device, besides what a batch needs.
constexpr std::size_t noise_cache_bytes = std::size_t{256} << 20;
constexpr std::size_t most_graphs = 16;
/// Rows of a partial sum of moments; the same for all, so that sums do not depend on the batch.
constexpr std::uint32_t moment_chunk = 512;

std::uint32_t round_up(std::size_t value, std::size_t multiple) {
  return static_cast<std::uint32_t>((value + multiple - 1) / multiple * multiple);
}

/// Of batches that differ a little, one shape.
std::uint32_t power_of_two(std::size_t value) {
  std::uint32_t power = 1;
  while (power < value) power *= 2;
  return power;
}

std::uint32_t chunks_of(std::size_t rows) {
  return static_cast<std::uint32_t>((rows + moment_chunk - 1) / moment_chunk);
}

}  // namespace

DenoiserBatch::DenoiserBatch(const DenoiserShape& shape, std::optional<std::size_t> null_class,
                             const FeatureWeights& features, std::uint64_t noise_seed)
    : shape_(shape),
      feature_hidden_(features.hidden),
      feature_outputs_(features.outputs),
      pixel_weight_(features.pixel_weight),
      labels_(shape.classes - (null_class ? 1 : 0)),
      null_class_(null_class.value_or(shape.classes)),
      // Blocks are kept on the device; on the processor only the last one.
      noise_source_(noise_seed, shape.pixels, 1) {
  lay_out();
  std::vector<float> weights;
  for (const auto* part :
       {&features.first, &features.first_bias, &features.last, &features.last_bias}) {
    weights.insert(weights.end(), part->begin(), part->end());
  }
  feature_weights_ = DeviceBuffer<float>(weights.size());
  upload(weights.data(), weights.size(), feature_weights_.data(), stream_.get());
  const std::size_t half = shape.width / 2;
  std::vector<double> frequencies(half);
  for (std::size_t i = 0; i < half; ++i) {
    frequencies[i] = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
  }
  frequencies_ = DeviceBuffer<double>(half);
  upload(frequencies.data(), half, frequencies_.data(), stream_.get());
  stream_.synchronize();
}

void DenoiserBatch::lay_out() {
  std::map<std::string, std::size_t> offsets;
  for (const TensorSpec& spec : denoiser_layout(shape_)) {
    offsets[spec.name] = parameters_;
    parameters_ += element_count(spec);
  }
  const auto layer = [&](const std::string& name, std::size_t inputs, std::size_t outputs) {
    return Layer{offsets.at(name + ".w"), offsets.at(name + ".b"),
                 static_cast<std::uint32_t>(inputs), static_cast<std::uint32_t>(outputs)};
  };
  const std::size_t width = shape_.width;
  input_ = layer("in", shape_.pixels, width);
  for (std::size_t b = 0; b < shape_.blocks; ++b) {
    const std::string block = std::to_string(b) + ".";
    norms_.push_back(layer(block + "ln", width, width));
    widen_.push_back(layer(block + "1", width, 2 * width));
    narrow_.push_back(layer(block + "2", 2 * width, width));
  }
  norms_.push_back(layer("out.ln", width, width));
  output_ = layer("out", width, shape_.pixels);
}

std::uint64_t DenoiserBatch::bytes_per_candidate(std::size_t samples) const {
  const std::size_t columns = dimension() + 1;
  const std::size_t rows = round_up(samples, 64);
  // What solvers look back at included, whether or not one does.
  const std::size_t per_row =
      (2 + 2 * solver_history) * shape_.pixels + 4 * shape_.width + feature_hidden_ + columns + 1;
  const std::size_t squares = columns * columns;
  return sizeof(float) * (rows * per_row + squares + 2 * columns) +
         sizeof(double) * squares * (1 + chunks_of(rows));
}

Matrices DenoiserBatch::matrices(const DeviceBuffer<float>& buffer, std::size_t columns) const {
  return {buffer.data(), std::size_t{rows_} * columns, static_cast<std::uint32_t>(columns)};
}

void DenoiserBatch::reserve(const Shape& shape) {
  const bool grows = shape.candidates > capacity_ || shape.rows > rows_ || shape.steps > steps_ ||
                     (shape.history && history_.size() == 0);
  if (!grows) return;
  stream_.synchronize();
  graphs_.clear();
  capacity_ = std::max(capacity_, shape.candidates);
  rows_ = std::max(rows_, shape.rows);
  steps_ = std::max(steps_, shape.steps);
  const std::size_t columns = dimension() + 1;
  const std::size_t rows = std::size_t{capacity_} * rows_;
  images_.reserve(rows * shape_.pixels);
  velocity_.reserve(rows * shape_.pixels);
  state_.reserve(rows * shape_.width);
  normal_.reserve(rows * shape_.width);
  hidden_.reserve(rows * 2 * shape_.width);
  feature_hidden_rows_.reserve(rows * feature_hidden_);
  features_.reserve(rows * columns);
  conditions_.reserve(std::size_t{capacity_} * steps_ * shape_.classes * shape_.width);
  if (shape.history || history_.size() > 0) {
    history_.reserve(2 * solver_history * rows * shape_.pixels);
  }
  partial_.reserve(capacity_ * columns * columns * chunks_of(rows_));
  products_.reserve(capacity_ * columns * columns);
  step_table_.reserve(std::size_t{capacity_} * steps_);
  skip_.reserve(std::size_t{capacity_} * steps_ * (shape_.blocks + 1));
  samples_.reserve(capacity_);
  overflowed_.reserve(capacity_);
  noise_table_.reserve(capacity_);
  influence_.reserve(rows);
  means_.reserve(capacity_ * dimension());
  gradients_.reserve(capacity_ * dimension());
  curvatures_.reserve(capacity_ * dimension() * dimension());
  products_host_.reserve(capacity_ * columns * columns);
  overflowed_host_.reserve(capacity_);
}

const float* DenoiserBatch::noise(std::uint64_t replicate, std::size_t samples,
                                  std::size_t in_batch) {
  auto found = std::find_if(noises_.begin(), noises_.end(), [replicate](const Noise& known) {
    return known.replicate == replicate;
  });
  if (found != noises_.end() && found->samples >= samples) {
    noises_.splice(noises_.begin(), noises_, found);
    return noises_.front().block.data();
  }
  const auto block = noise_source_.block(replicate, samples, 1);
  Noise fresh{replicate, tiles_for(samples) * tile_lanes, DeviceBuffer<float>(block->size())};
  upload(block->data(), block->size(), fresh.block.data(), stream_.get());
  stream_.synchronize();
  if (found != noises_.end()) noises_.erase(found);
  noises_.push_front(std::move(fresh));
  // Never what this batch already points to: at most `in_batch` of the front.
  std::size_t bytes = 0;
  std::size_t index = 0;
  for (auto known = noises_.begin(); known != noises_.end(); ++index) {
    bytes += known->block.bytes();
    known = bytes > noise_cache_bytes && index > in_batch ? noises_.erase(known) : std::next(known);
  }
  return noises_.front().block.data();
}

void DenoiserBatch::upload_tables(std::span<const BatchCandidate> candidates, const Shape& shape) {
  std::vector<StepTable> steps(std::size_t{shape.candidates} * steps_);
  std::vector<std::uint8_t> skip(steps.size() * (shape_.blocks + 1), 1);
  std::vector<std::uint32_t> samples(shape.candidates, 0);
  std::vector<const float*> noises(shape.candidates, nullptr);
  // Largest first: a block that grows would move.
  std::map<std::uint64_t, std::size_t> largest;
  for (const BatchCandidate& candidate : candidates) {
    std::size_t& most = largest[candidate.replicate];
    most = std::max(most, candidate.samples);
  }
  std::map<std::uint64_t, const float*> blocks;
  for (const auto& [replicate, most] : largest) {
    blocks[replicate] = noise(replicate, most, largest.size());
  }
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    const BatchCandidate& candidate = candidates[c];
    samples[c] = static_cast<std::uint32_t>(candidate.samples);
    noises[c] = blocks.at(candidate.replicate);
    for (std::size_t s = 0; s < candidate.steps.size(); ++s) {
      const SolverStep& step = candidate.steps[s];
      StepTable& row = steps[c * steps_ + s];
      row.time = step.time;
      row.signal = step.coefficients.signal;
      row.noise = step.coefficients.noise;
      row.next_signal = step.coefficients.next_signal;
      row.next_noise = step.coefficients.next_noise;
      std::copy(step.weights.begin(), step.weights.end(), row.weights);
      row.order = static_cast<std::uint32_t>(step.order);
      row.active = 1;
      row.kept = step.kept ? 1 : 0;
      row.combines_noise = step.solver == Solver::plms ? 1 : 0;
      std::uint8_t* flags = &skip[(c * steps_ + s) * (shape_.blocks + 1)];
      std::fill_n(flags, shape_.blocks + 1, std::uint8_t{0});
      std::copy(step.dropped.begin(), step.dropped.end(), flags);
    }
  }
  upload(steps.data(), steps.size(), step_table_.data(), stream_.get());
  upload(skip.data(), skip.size(), skip_.data(), stream_.get());
  upload(samples.data(), samples.size(), samples_.data(), stream_.get());
  upload(noises.data(), noises.size(), noise_table_.data(), stream_.get());
}

std::vector<BatchResult> DenoiserBatch::sample(std::span<const BatchCandidate> candidates,
                                               const float* weights, std::size_t weight_stride) {
  std::vector<BatchResult> results(candidates.size());
  if (candidates.empty()) return results;
  Shape shape{power_of_two(candidates.size()), 0, 0, false, weights, weight_stride};
  // Weights there are only for real ones; launches skip those without samples before they look.
  for (const BatchCandidate& candidate : candidates) {
    shape.rows = std::max(shape.rows, round_up(candidate.samples, 64));
    shape.steps = std::max(shape.steps, static_cast<std::uint32_t>(candidate.steps.size()));
    for (const SolverStep& step : candidate.steps) {
      shape.history = shape.history || step.order > 1;
    }
  }
  reserve(shape);
  upload_tables(candidates, shape);
  if (!graphs_.contains(shape)) {
    if (graphs_.size() >= most_graphs) graphs_.clear();
    graphs_.emplace(shape, capture(shape));
  }
  check(cudaGraphLaunch(graphs_.at(shape).get(), stream_.get()), "launching a graph");
  const std::size_t columns = dimension() + 1;
  const std::size_t size = columns * columns;
  download(products_.data(), candidates.size() * size, products_host_.data(), stream_.get());
  download(overflowed_.data(), candidates.size(), overflowed_host_.data(), stream_.get());
  stream_.synchronize();
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    results[c].finite = overflowed_host_.data()[c] == 0;
    if (!results[c].finite) continue;
    const double* products = products_host_.data() + c * size;
    MomentSums& sums = results[c].sums;
    sums.count = candidates[c].samples;
    sums.stride = dimension();
    sums.products.resize(dimension() * dimension());
    sums.sum.resize(dimension());
    for (std::size_t i = 0; i < dimension(); ++i) {
      // The last column is of ones.
      sums.sum[i] = products[i * columns + dimension()];
      std::copy(products + i * columns + i, products + i * columns + dimension(),
                sums.products.begin() + static_cast<std::ptrdiff_t>(i * dimension() + i));
    }
  }
  return results;
}

DenoiserBatch::Graph DenoiserBatch::capture(const Shape& shape) {
  check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal),
        "capturing a graph");
  cudaGraph_t graph = nullptr;
  try {
    enqueue(shape);
  } catch (...) {
    if (cudaStreamEndCapture(stream_.get(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(stream_.get(), &graph), "capturing a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(made, "making a graph");
  return Graph(executable);
}

void DenoiserBatch::enqueue(const Shape& shape) {
  const BatchSize size{shape.candidates, shape.rows};
  check(cudaMemsetAsync(overflowed_.data(), 0, shape.candidates * sizeof(std::uint32_t),
                        stream_.get()),
        "clearing flags");
  launch_conditions({shape.weights, shape.weight_stride, frequencies_.data(), step_table_.data(),
                     steps_, static_cast<std::uint32_t>(shape_.width),
                     static_cast<std::uint32_t>(shape_.classes), conditions_.data()},
                    size, shape.steps, stream_.get());
  launch_start({noise_table_.data(), matrices(images_, shape_.pixels),
                static_cast<std::uint32_t>(shape_.pixels), samples_.data()},
               size, stream_.get());
  for (std::uint32_t step = 0; step < shape.steps; ++step) enqueue_step(shape, step);
  enqueue_features(shape);
}

LinearTable DenoiserBatch::linear_table(const Shape& shape, const Layer& layer,
                                        const Matrices& input, const Matrices& output,
                                        const Skip& skip) const {
  return {input,
          shape.weights + layer.weights,
          shape.weights + layer.bias,
          shape.weight_stride,
          output,
          layer.inputs,
          layer.outputs,
          samples_.data(),
          skip};
}

NormalizeTable DenoiserBatch::normalize_table(const Shape& shape, const Layer& layer,
                                              const Skip& skip) const {
  NormalizeTable table = {};
  table.input = matrices(state_, shape_.width);
  table.scale = shape.weights + layer.weights;
  table.shift = shape.weights + layer.bias;
  table.weight_stride = shape.weight_stride;
  table.condition_stride = std::size_t{steps_} * shape_.classes * shape_.width;
  table.labels = static_cast<std::uint32_t>(labels_);
  table.null_class = static_cast<std::uint32_t>(null_class_);
  table.output = matrices(normal_, shape_.width);
  table.width = static_cast<std::uint32_t>(shape_.width);
  table.samples = samples_.data();
  table.skip = skip;
  return table;
}

void DenoiserBatch::enqueue_step(const Shape& shape, std::uint32_t step) {
  const BatchSize size{shape.candidates, shape.rows};
  const std::size_t flags = shape_.blocks + 1;
  const auto skip = [&](std::size_t block) {
    return Skip{skip_.data(), steps_ * flags, step * flags + block};
  };
  const Skip idle = skip(shape_.blocks);
  const Matrices images = matrices(images_, shape_.pixels);
  const Matrices state = matrices(state_, shape_.width);
  const Matrices normal = matrices(normal_, shape_.width);
  const Matrices hidden = matrices(hidden_, 2 * shape_.width);
  const Matrices velocity = matrices(velocity_, shape_.pixels);
  launch_linear(Apply::store, linear_table(shape, input_, images, state, idle), size,
                stream_.get());
  for (std::size_t b = 0; b < shape_.blocks; ++b) {
    NormalizeTable norm = normalize_table(shape, norms_[b], skip(b));
    norm.conditions = conditions_.data() + std::size_t{step} * shape_.classes * shape_.width;
    launch_normalize(norm, size, stream_.get());
    launch_linear(Apply::silu, linear_table(shape, widen_[b], normal, hidden, skip(b)), size,
                  stream_.get());
    launch_linear(Apply::add, linear_table(shape, narrow_[b], hidden, state, skip(b)), size,
                  stream_.get());
  }
  launch_normalize(normalize_table(shape, norms_[shape_.blocks], idle), size, stream_.get());
  launch_linear(Apply::store, linear_table(shape, output_, normal, velocity, idle), size,
                stream_.get());
  AdvanceTable advance = {};
  advance.images = images;
  advance.velocity = velocity;
  advance.steps = step_table_.data();
  advance.step_stride = steps_;
  advance.step = step;
  advance.history_stride = std::size_t{rows_} * shape_.pixels;
  if (shape.history) {
    advance.predicted_images = history_.data();
    advance.predicted_noises =
        history_.data() + std::size_t{capacity_} * solver_history * advance.history_stride;
  }
  advance.pixels = static_cast<std::uint32_t>(shape_.pixels);
  advance.samples = samples_.data();
  advance.overflowed = overflowed_.data();
  launch_advance(advance, size, stream_.get());
}

void DenoiserBatch::enqueue_features(const Shape& shape) {
  const BatchSize size{shape.candidates, shape.rows};
  const auto pixels = static_cast<std::uint32_t>(shape_.pixels);
  const std::size_t columns = dimension() + 1;
  const Matrices images = matrices(images_, shape_.pixels);
  const Matrices hidden = matrices(feature_hidden_rows_, feature_hidden_);
  const Matrices features = matrices(features_, columns);
  const float* first = feature_weights_.data();
  const float* first_bias = first + feature_hidden_ * shape_.pixels;
  const float* last = first_bias + feature_hidden_;
  const float* last_bias = last + feature_outputs_ * feature_hidden_;
  launch_linear(Apply::tanh,
                {images,
                 first,
                 first_bias,
                 0,
                 hidden,
                 pixels,
                 static_cast<std::uint32_t>(feature_hidden_),
                 samples_.data(),
                 {}},
                size, stream_.get());
  launch_linear(Apply::tanh,
                {hidden,
                 last,
                 last_bias,
                 0,
                 features,
                 static_cast<std::uint32_t>(feature_hidden_),
                 static_cast<std::uint32_t>(feature_outputs_),
                 samples_.data(),
                 {}},
                size, stream_.get());
  launch_complete_features({images, features, static_cast<std::uint32_t>(feature_outputs_), pixels,
                            pixel_weight_, samples_.data()},
                           size, stream_.get());
  launch_moments({features, static_cast<std::uint32_t>(columns), moment_chunk,
                  chunks_of(shape.rows), partial_.data(), products_.data(), samples_.data()},
                 size, stream_.get());
}

std::vector<std::vector<float>> DenoiserBatch::influences(
    std::span<const Moments> moments,
    std::span<const FrechetDistance::Expansion* const> expansions) {
  const std::size_t d = dimension();
  const std::size_t count = moments.size();
  std::vector<float> means(count * d);
  std::vector<float> gradients(count * d);
  std::vector<float> curvatures(count * d * d);
  std::size_t rows = 0;
  for (std::size_t c = 0; c < count; ++c) {
    if (expansions[c] == nullptr) continue;
    rows = std::max<std::size_t>(rows, moments[c].count);
    const auto put = [](const std::vector<double>& from, float* to) {
      std::transform(from.begin(), from.end(), to, [](double x) { return static_cast<float>(x); });
    };
    put(moments[c].mean, &means[c * d]);
    put(expansions[c]->gradient, &gradients[c * d]);
    put(expansions[c]->curvature, &curvatures[c * d * d]);
  }
  std::vector<std::vector<float>> out(count);
  if (rows == 0) return out;
  upload(means.data(), means.size(), means_.data(), stream_.get());
  upload(gradients.data(), gradients.size(), gradients_.data(), stream_.get());
  upload(curvatures.data(), curvatures.size(), curvatures_.data(), stream_.get());
  launch_influences(
      {matrices(features_, d + 1), static_cast<std::uint32_t>(d), means_.data(), gradients_.data(),
       curvatures_.data(), influence_.data(), rows_, samples_.data()},
      {static_cast<std::uint32_t>(count), round_up(rows, 8)}, stream_.get());
  for (std::size_t c = 0; c < count; ++c) {
    if (expansions[c] == nullptr) continue;
    out[c].resize(moments[c].count);
    download(influence_.data() + c * rows_, out[c].size(), out[c].data(), stream_.get());
  }
  stream_.synchronize();
  return out;
}

std::vector<float> DenoiserBatch::features(std::size_t candidate, std::size_t samples) {
  const std::size_t columns = dimension() + 1;
  std::vector<float> rows(samples * columns);
  download(features_.data() + candidate * rows_ * columns, rows.size(), rows.data(), stream_.get());
  stream_.synchronize();
  std::vector<float> out;
  for (std::size_t i = 0; i < samples; ++i) {
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>(i * columns);
    out.insert(out.end(), row, row + static_cast<std::ptrdiff_t>(dimension()));
  }
  return out;
}

std::vector<float> DenoiserBatch::images(std::size_t candidate, std::size_t samples) {
  std::vector<float> out(samples * shape_.pixels);
  download(images_.data() + candidate * rows_ * shape_.pixels, out.size(), out.data(),
           stream_.get());
  stream_.synchronize();
  return out;
}

}  // namespace paretod::cuda
