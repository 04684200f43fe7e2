#include "evaluators/merge/classifier_scorer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "evaluators/diffusion/linear_layer.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "evaluators/diffusion/tiles.hpp"
#include "evaluators/merge/classifier_data.hpp"

namespace paretod {
namespace {

struct ClassifierParams {
  bool heldout = false;
  bool examples = false;
};

}  // namespace

template <>
Fields<ClassifierParams> describe() {
  return Fields<ClassifierParams>()
      .add("heldout", &ClassifierParams::heldout,
           "also measure accuracy on the held-out examples, as metrics TASK_heldout")
      .add("examples", &ClassifierParams::examples,
           "give the values on single examples: 0 or 1 per accuracy, the cross-entropy per loss");
}

namespace {

/// Of one task, example by example.
struct TaskScores {
  std::vector<float> right;  ///< 0 or 1
  std::vector<float> loss;
  bool finite = true;
};

/// The binomial error of a share; k + 1/2 of n + 1, so that "all right" is not taken for certain.
Measurement share_of(const std::vector<float>& right) {
  const auto n = static_cast<double>(right.size());
  double k = 0;
  for (const float one : right) k += static_cast<double>(one);
  const double p = (k + 0.5) / (n + 1);
  return {k / n, std::sqrt(p * (1 - p) / n), right.size()};
}

Measurement mean_of(const std::vector<float>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  const double mean = sum / n;
  double squares = 0;
  for (const float value : values) {
    squares += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
  }
  if (values.size() < 2) return {mean, -1, values.size()};
  return {mean, std::sqrt(squares / (n - 1) / n), values.size()};
}

/// The merged network in the form that the kernels read; scratch included, so one thread at a time.
class Network {
 public:
  Network(const MergedWeights& weights, const ClassifierData& data) : activation_(data.activation) {
    std::size_t widest = 0;
    for (const std::string& name : data.layers) {
      const auto& shape = weights.find(name + ".weight")->shape;
      layers_.emplace_back(shape[0], shape[1]);
      layers_.back().assign(weights.floats(name + ".weight").data(),
                            weights.floats(name + ".bias").data());
      widest = std::max(widest, padded_rows(shape[0]));
    }
    for (auto& buffer : buffers_) buffer.resize(widest * tile_lanes);
  }

  /// Logits [classes][tile_lanes] of a tile of inputs; valid until the next call.
  const float* logits(const float* tile) {
    const float* from = tile;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      float* to = buffers_[i % 2].data();
      const bool last = i + 1 == layers_.size();
      kernels_.linear(layers_[i].packed(), from, last ? Epilogue::store : epilogue(), to);
      if (!last && activation_ == Activation::relu) {
        const std::size_t size = layers_[i].outputs() * tile_lanes;
        for (std::size_t k = 0; k < size; ++k) to[k] = std::max(to[k], 0.0F);
      }
      from = to;
    }
    return from;
  }
  [[nodiscard]] std::size_t classes() const { return layers_.back().outputs(); }

 private:
  [[nodiscard]] Epilogue epilogue() const {
    if (activation_ == Activation::tanh) return Epilogue::tanh;
    return activation_ == Activation::silu ? Epilogue::silu : Epilogue::store;
  }

  Activation activation_;
  const SimdKernels& kernels_ = simd_kernels();
  std::vector<LinearLayer> layers_;
  std::array<AlignedVector<float>, 2> buffers_;
};

/// Adds the scores of a tile's first `count` lanes.
void score_tile(const float* logits, std::size_t classes, const std::uint32_t* labels,
                std::size_t count, TaskScores& scores) {
  std::array<float, tile_lanes> best;
  std::array<std::uint32_t, tile_lanes> chosen{};
  std::copy(logits, logits + tile_lanes, best.begin());
  for (std::uint32_t c = 1; c < classes; ++c) {
    const float* row = logits + c * tile_lanes;
    for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
      if (row[lane] > best[lane]) {
        best[lane] = row[lane];
        chosen[lane] = c;
      }
    }
  }
  std::array<float, tile_lanes> sum{};
  for (std::size_t c = 0; c < classes; ++c) {
    const float* row = logits + c * tile_lanes;
    for (std::size_t lane = 0; lane < count; ++lane) sum[lane] += std::exp(row[lane] - best[lane]);
  }
  for (std::size_t lane = 0; lane < count; ++lane) {
    const float loss = std::log(sum[lane]) + best[lane] - logits[labels[lane] * tile_lanes + lane];
    scores.finite = scores.finite && std::isfinite(loss);
    scores.right.push_back(chosen[lane] == labels[lane] ? 1 : 0);
    scores.loss.push_back(loss);
  }
}

/// `count` examples from the `first` on, going round; all of them in their order if there are no
/// more.
TaskScores score_task(Network& network, const TaskExamples& examples, std::size_t first,
                      std::size_t count) {
  const bool all = count >= examples.count;
  count = std::min(count, examples.count);
  std::vector<float> gathered;
  std::vector<std::uint32_t> labels;
  AlignedVector<float> tiles;
  if (!all) {
    gathered.reserve(count * examples.width);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = (first + i) % examples.count;
      const float* row = examples.inputs.data() + place * examples.width;
      gathered.insert(gathered.end(), row, row + examples.width);
      labels.push_back(examples.labels[place]);
    }
    tiles = to_tiles(gathered.data(), count, examples.width);
  }
  const float* tile = all ? examples.tiles.data() : tiles.data();
  const std::uint32_t* label = all ? examples.labels.data() : labels.data();
  TaskScores scores;
  scores.right.reserve(count);
  scores.loss.reserve(count);
  for (std::size_t done = 0; done < count; done += tile_lanes) {
    score_tile(network.logits(tile), network.classes(), label + done,
               std::min(tile_lanes, count - done), scores);
    tile += examples.width * tile_lanes;
  }
  return scores;
}

class ClassifierScorer final : public MergedScorer {
 public:
  explicit ClassifierScorer(ClassifierData data) : data_(std::move(data)) {}

  [[nodiscard]] ScorerDescription describe() const override {
    ScorerDescription description;
    for (const auto& task : data_.tasks) {
      description.default_fidelity =
          std::max<std::uint64_t>(description.default_fidelity, task.search.count);
      if (data_.accuracy_objectives) {
        description.objectives.push_back({task.name, Goal::maximize});
      } else {
        description.metrics.push_back(task.name);
      }
    }
    for (const auto& task : data_.tasks) {
      if (data_.loss_objectives) {
        description.objectives.push_back({task.name + "_loss", Goal::minimize});
      } else {
        description.metrics.push_back(task.name + "_loss");
      }
    }
    for (const auto& task : data_.tasks) {
      if (data_.has_heldout) description.metrics.push_back(task.name + "_heldout");
    }
    description.fidelity_unit = "examples";
    description.version = data_.version;
    description.params = paretod::describe<ClassifierParams>().infos();
    return description;
  }

  [[nodiscard]] Result<void> check(std::span<const TensorLayout> tensors) const override;
  [[nodiscard]] Outcome score(const MergedWeights& weights, const Candidate& candidate,
                              const ParamValues& params,
                              const std::atomic<bool>& cancelled) const override;

 private:
  ClassifierData data_;
};

Result<void> ClassifierScorer::check(std::span<const TensorLayout> tensors) const {
  const auto find = [&](const std::string& name) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const auto& tensor) { return tensor.name == name; });
    return found == tensors.end() ? nullptr : &*found;
  };
  const auto needed = [](const std::string& name, const std::string& shape,
                         const TensorLayout* found) {
    return invalid("the classifier needs a tensor \"" + name + "\" of shape " + shape +
                   (found == nullptr ? "; the merged model has none of that name"
                                     : ", not " + to_string(found->shape)));
  };
  std::size_t width = data_.tasks.front().search.width;
  for (const auto& task : data_.tasks) {
    if (task.search.width != width) {
      return invalid("examples of task \"" + task.name + "\" have " +
                     std::to_string(task.search.width) + " numbers, those of \"" +
                     data_.tasks.front().name + "\" " + std::to_string(width));
    }
  }
  for (const std::string& layer : data_.layers) {
    const TensorLayout* weight = find(layer + ".weight");
    if (weight == nullptr || weight->shape.size() != 2 || weight->shape[0] == 0 ||
        weight->shape[1] != width) {
      return needed(layer + ".weight", "[n, " + std::to_string(width) + "]", weight);
    }
    width = weight->shape[0];
    const TensorLayout* bias = find(layer + ".bias");
    if (bias == nullptr || bias->shape.size() != 1 || bias->shape[0] != width) {
      return needed(layer + ".bias", "[" + std::to_string(width) + "]", bias);
    }
  }
  const auto has_class = [&](const TaskExamples& examples) {
    return *std::max_element(examples.labels.begin(), examples.labels.end()) < width;
  };
  for (const auto& task : data_.tasks) {
    if (has_class(task.search) && (!task.heldout || has_class(*task.heldout))) continue;
    return invalid("task \"" + task.name + "\" has labels that are not among the " +
                   std::to_string(width) + " classes of layer \"" + data_.layers.back() + "\"");
  }
  return {};
}

Outcome ClassifierScorer::score(const MergedWeights& weights, const Candidate& candidate,
                                const ParamValues& values,
                                const std::atomic<bool>& cancelled) const {
  const auto params = paretod::describe<ClassifierParams>().bind(values);
  if (!params) return Outcome::failure(TrialStatus::failed, params.error().text());
  Network network(weights, data_);
  std::vector<TaskScores> scores;
  for (const auto& task : data_.tasks) {
    if (cancelled) return Outcome::failure(TrialStatus::failed, "cancelled");
    const std::size_t size = task.search.count;
    const std::size_t count = std::min<std::uint64_t>(candidate.fidelity, size);
    const std::size_t first = candidate.replicate % size * count % size;
    scores.push_back(score_task(network, task.search, first, count));
    if (scores.back().finite) continue;
    return Outcome::failure(TrialStatus::infeasible, "the merged network's outputs for task \"" +
                                                         task.name + "\" are not finite");
  }
  Outcome outcome;
  const auto take = [&](bool objective, const std::string& name, const Measurement& measured,
                        std::vector<float>& each) {
    if (!objective) {
      outcome.metrics.emplace_back(name, measured.value);
      return;
    }
    outcome.objectives.push_back(measured);
    if (params->examples) outcome.examples.push_back(std::move(each));
  };
  for (std::size_t i = 0; i < scores.size(); ++i) {
    take(data_.accuracy_objectives, data_.tasks[i].name, share_of(scores[i].right),
         scores[i].right);
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    take(data_.loss_objectives, data_.tasks[i].name + "_loss", mean_of(scores[i].loss),
         scores[i].loss);
  }
  if (params->heldout) {
    for (const auto& task : data_.tasks) {
      if (!task.heldout) continue;
      const auto others = score_task(network, *task.heldout, 0, task.heldout->count);
      outcome.metrics.emplace_back(task.name + "_heldout", share_of(others.right).value);
    }
  }
  return outcome;
}

}  // namespace

Result<std::unique_ptr<MergedScorer>> classifier_scorer(const std::string& file) {
  auto data = load_classifier_data(file);
  if (!data) return data.error();
  return std::unique_ptr<MergedScorer>(std::make_unique<ClassifierScorer>(std::move(*data)));
}

}  // namespace paretod
