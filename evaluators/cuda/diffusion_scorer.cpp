#include "evaluators/cuda/diffusion_scorer.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "adapters/safetensors/safetensors.hpp"
#include "adapters/safetensors/widen.hpp"
#include "evaluators/diffusion/checkpoint_set.hpp"
#include "evaluators/diffusion/feature_network.hpp"
#include "evaluators/diffusion/influence.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/diffusion/reference_images.hpp"
#include "evaluators/diffusion/schedule.hpp"

namespace paretod::cuda {
namespace {

constexpr std::size_t row_alignment = 256;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// One checkpoint's numbers in the order of the layout.
std::vector<std::uint8_t> flat(const SafetensorsFile& file, const std::vector<TensorSpec>& layout,
                               Stored stored) {
  std::vector<std::uint8_t> bytes;
  for (const TensorSpec& spec : layout) {
    const TensorView& tensor = *file.find(spec.name);
    if (stored == Stored::f16) {
      const auto* from = reinterpret_cast<const std::uint8_t*>(tensor.bytes.data());
      bytes.insert(bytes.end(), from, from + tensor.bytes.size());
      continue;
    }
    const std::vector<float> values = to_floats(tensor).value();
    const auto* from = reinterpret_cast<const std::uint8_t*>(values.data());
    bytes.insert(bytes.end(), from, from + values.size() * sizeof(float));
  }
  return bytes;
}

Result<void> load_checkpoints(DiffusionModel& model) {
  const auto layout = denoiser_layout(model.description.shape);
  for (const TensorSpec& spec : layout) model.parameters += element_count(spec);
  std::vector<std::string> paths;
  for (const CheckpointFile& column : model.columns) paths.push_back(column.path);
  // It checks the files as they have to be; what it loads is not kept.
  if (const auto checked = CheckpointSet::load(paths, layout, model.reference); !checked) {
    return checked.error();
  }
  const Stream stream;
  for (std::size_t k = 0; k < paths.size(); ++k) {
    const auto file = SafetensorsFile::open(paths[k]);
    if (!file) return file.error();
    if (k == 0) {
      const bool halves = std::all_of(file->tensors().begin(), file->tensors().end(),
                                      [](const TensorView& t) { return t.dtype == DType::f16; });
      model.stored = halves ? Stored::f16 : Stored::f32;
      model.row_bytes = round_up(model.parameters * size_of(model.stored), row_alignment);
      model.checkpoints = DeviceBuffer<std::uint8_t>(model.row_bytes * paths.size());
    }
    const auto bytes = flat(*file, layout, model.stored);
    upload(bytes.data(), bytes.size(), model.checkpoints.data() + k * model.row_bytes,
           stream.get());
    stream.synchronize();
  }
  return {};
}

Result<std::vector<float>> floats_of(const SafetensorsFile& file, const std::string& name) {
  const TensorView* tensor = file.find(name);
  if (tensor == nullptr) return invalid(file.path() + ": a tensor \"" + name + "\" is needed");
  return to_floats(*tensor);
}

Result<void> load_features(DiffusionModel& model) {
  const auto& description = model.description;
  const auto file = SafetensorsFile::open(description.features);
  if (!file) return file.error();
  // The processor's network checks the shapes, and measures the real images.
  const auto network =
      FeatureNetwork::load(*file, description.shape.pixels,
                           static_cast<float>(description.pixel_weight), simd_kernels());
  if (!network) return network.error();
  const auto images = SafetensorsFile::open(description.reference);
  if (!images) return images.error();
  for (auto* distance : {&model.searched, &model.heldout}) {
    const char* set = distance == &model.searched ? "a" : "b";
    const auto features = reference_features(*images, set, *network, description.shape.pixels);
    if (!features) return features.error();
    distance->emplace(moments_of(simd_kernels(), *features, network->dimension(), network->rows()));
  }
  FeatureWeights& weights = model.features;
  for (const auto& [name, to] : {std::pair{"f1.w", &weights.first},
                                 {"f1.b", &weights.first_bias},
                                 {"f2.w", &weights.last},
                                 {"f2.b", &weights.last_bias}}) {
    auto values = floats_of(*file, name);
    if (!values) return values.error();
    *to = std::move(*values);
  }
  weights.hidden = weights.first_bias.size();
  weights.outputs = weights.last_bias.size();
  weights.pixel_weight = static_cast<float>(description.pixel_weight);
  return {};
}

}  // namespace

Result<std::shared_ptr<const DiffusionModel>> DiffusionModel::load(const std::string& path,
                                                                   bool include_ema) {
  auto description = read_model_description(path);
  if (!description) return description.error();
  auto model = std::make_shared<DiffusionModel>();
  model->description = std::move(*description);
  model->columns = model->description.checkpoints;
  if (include_ema) {
    model->columns.insert(model->columns.end(), model->description.ema.begin(),
                          model->description.ema.end());
  }
  if (model->columns.empty()) return invalid(path + ": names no file with weights");
  model->reference = model->columns.size() - 1;
  if (!model->description.checkpoints.empty()) {
    model->reference = model->description.checkpoints.size() - 1;
  }
  if (const auto loaded = load_checkpoints(*model); !loaded) return loaded.error();
  if (const auto loaded = load_features(*model); !loaded) return loaded.error();
  model->alpha_bar = cosine_alpha_bar(model->description.timesteps);
  return std::shared_ptr<const DiffusionModel>(std::move(model));
}

std::uint64_t DiffusionScorer::bytes_per_candidate(const DiffusionModel& model,
                                                   std::size_t samples) {
  const DenoiserBatch batch(model.description.shape, model.description.null_class, model.features,
                            0);
  return batch.bytes_per_candidate(samples) + round_up(model.parameters, 64) * sizeof(float);
}

DiffusionScorer::DiffusionScorer(std::shared_ptr<const DiffusionModel> model,
                                 std::uint64_t noise_seed, std::size_t batch, std::size_t threads)
    : model_(std::move(model)),
      batch_(std::clamp<std::size_t>(batch, 1, most_candidates)),
      threads_(threads),
      denoisers_(model_->description.shape, model_->description.null_class, model_->features,
                 noise_seed),
      stride_(round_up(model_->parameters, 64)),
      merged_(batch_ * stride_) {
  // alpha names deltas from the reference: a merge that names one source gives it exactly.
  MergeRule rule = MergeRule::of(MergeMethod::task_arithmetic);
  rule.normalize = false;
  PlanTensor tensor;
  tensor.elements = model_->parameters;
  tensor.source_type = tensor.base_type = model_->stored;
  tensor.base = model_->row(model_->reference);
  for (std::size_t k = 0; k < model_->columns.size(); ++k) {
    tensor.sources.push_back(model_->row(k));
  }
  for (std::size_t p = 0; p < batch_; ++p) tensor.outputs.push_back(merged_.data() + p * stride_);
  auto plan = MergePlan::make(rule, model_->columns.size(), batch_, {std::move(tensor)}, {});
  if (!plan) throw std::logic_error(plan.error().text());
  plan_.emplace(std::move(*plan));
}

std::vector<DiffusionScore> DiffusionScorer::score(std::span<const DiffusionRequest> requests) {
  std::vector<DiffusionScore> scores(requests.size());
  for (std::size_t first = 0; first < requests.size(); first += batch_) {
    const std::size_t count = std::min(batch_, requests.size() - first);
    score_batch(requests.subspan(first, count), std::span(scores).subspan(first, count));
  }
  return scores;
}

void DiffusionScorer::score_batch(std::span<const DiffusionRequest> requests,
                                  std::span<DiffusionScore> scores) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<MergeCandidate> merges;
  std::vector<BatchCandidate> candidates;
  for (const DiffusionRequest& request : requests) {
    GroupCoefficients group;
    group.weights = request.coefficients;
    merges.push_back({{std::move(group)}, 0});
    candidates.push_back(
        {solver_steps(model_->alpha_bar, request.nodes), request.samples, request.replicate});
  }
  if (const auto merged = plan_->run(merges, denoisers_.stream()); !merged) {
    throw std::logic_error(merged.error().text());
  }
  const auto results = denoisers_.sample(candidates, merged_.data(), stride_);
  times_.device += seconds_since(start);

  const auto eigen_start = std::chrono::steady_clock::now();
  std::vector<Moments> moments(requests.size());
  std::vector<FrechetDistance::Expansion> expansions(requests.size());
  parallel_for(threads_, 2 * requests.size(), [&](std::size_t i, std::size_t) {
    const std::size_t c = i / 2;
    if (!results[c].finite) return;
    if (i % 2 != 0) {
      scores[c].heldout = model_->heldout->to(paretod::moments_of(results[c].sums));
      return;
    }
    moments[c] = paretod::moments_of(results[c].sums);
    expansions[c] = model_->searched->expand(moments[c]);
    scores[c].distance = expansions[c].distance;
  });
  times_.eigen += seconds_since(eigen_start);

  const auto influence_start = std::chrono::steady_clock::now();
  std::vector<const FrechetDistance::Expansion*> asked(requests.size());
  for (std::size_t c = 0; c < requests.size(); ++c) {
    scores[c].finite = results[c].finite;
    if (results[c].finite) asked[c] = &expansions[c];
  }
  const auto influences = denoisers_.influences(moments, asked);
  for (std::size_t c = 0; c < requests.size(); ++c) {
    if (!results[c].finite) continue;
    scores[c].standard_error = stratified_error(influences[c], denoisers_.labels());
  }
  times_.device += seconds_since(influence_start);
  times_.candidates += requests.size();
}

}  // namespace paretod::cuda
