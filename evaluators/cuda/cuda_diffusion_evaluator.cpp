#include "evaluators/cuda/cuda_diffusion_evaluator.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <thread>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/diffusion/schedule.hpp"

namespace paretod {

template <>
Fields<cuda::CudaDiffusionConfig> describe() {
  using Config = cuda::CudaDiffusionConfig;
  return Fields<Config>()
      .add("model", &Config::model, "model.json of a folder of checkpoints",
           std::vector<std::string>{})
      .add("search", &Config::search,
           "what is searched: the coefficients that combine the model's checkpoints, or a schedule "
           "of network calls",
           {"checkpoints", "schedule"})
      .add("steps", &Config::steps, "checkpoints: DDIM steps, evenly spaced", 1, 1000)
      .add("include_ema", &Config::include_ema,
           "checkpoints: search over the model's EMA weights too, as further columns")
      .add("weights", &Config::weights,
           "schedule: which of the model's files, without .safetensors; default: its last EMA, "
           "else its newest checkpoint",
           std::vector<std::string>{})
      .add("least_steps", &Config::least_steps, "schedule: fewest network calls", 1, 10'000)
      .add("most_steps", &Config::most_steps, "schedule: most network calls", 1, 10'000)
      .add("nodes", &Config::nodes,
           "schedule: calls at whole time steps from 0, or at real times in (0, 1]",
           {"whole", "real"})
      .add("solvers", &Config::solvers,
           "schedule: ddim, dpm-solver, plms; of several, each step chooses one")
      .add("droppable", &Config::droppable,
           "schedule: blocks that a step may leave out: block-0, ... or [\"all\"]; empty: none")
      .add("cost", &Config::cost, "schedule: the second objective, per image",
           {"none", "calls", "blocks", "multiply-adds"})
      .add("samples", &Config::samples, "images per evaluation, unless the job says more", 2,
           static_cast<double>(cuda::DiffusionScorer::most_samples))
      .add("noise_seed", &Config::noise_seed,
           "seed of the noise; evaluators with equal seeds give comparable scores", 0)
      .add("devices", &Config::devices,
           "numbers of the GPUs; process n takes the n-th of them, round and round")
      .add("memory_mb", &Config::memory_mb,
           "MiB of device memory that the process may use; 0: what is free when it starts", 0, 1e9)
      .add("batch", &Config::batch,
           "candidates worked on together; 0: by the device memory, at most 32", 0,
           static_cast<double>(cuda::DiffusionScorer::most_candidates))
      .add("batches", &Config::batches, "batches under way at once", 1, 8)
      .add("threads", &Config::threads,
           "threads for eigenproblems, of all batches together; 0: one per processor", 0, 1024);
}

namespace cuda {
namespace {

constexpr std::size_t usual_batch = 32;

Parameter alpha_parameter(const std::vector<CheckpointFile>& columns) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Parameter alpha;
  alpha.name = "alpha";
  alpha.type = ParameterType::affine;
  alpha.low = -infinity;
  alpha.high = infinity;
  alpha.size = columns.size();
  for (const CheckpointFile& column : columns) {
    alpha.labels.push_back(column.label);
    alpha.positions.push_back(column.iteration);
  }
  return alpha;
}

ScheduleConfig schedule_config(const CudaDiffusionConfig& config) {
  ScheduleConfig schedule;
  schedule.model = config.model;
  schedule.weights = config.weights;
  schedule.least_steps = config.least_steps;
  schedule.most_steps = config.most_steps;
  schedule.nodes = config.nodes;
  schedule.solvers = config.solvers;
  schedule.droppable = config.droppable;
  schedule.cost = config.cost;
  return schedule;
}

/// Coefficients that stand for one of the model's files.
Result<std::vector<double>> one_hot(const DiffusionModel& model, const std::string& label) {
  std::vector<double> out(model.columns.size());
  if (label.empty()) {
    out.back() = 1;
    return out;
  }
  std::string known;
  for (std::size_t k = 0; k < model.columns.size(); ++k) {
    if (model.columns[k].label == label) {
      out[k] = 1;
      return out;
    }
    known += (known.empty() ? "" : ", ") + model.columns[k].label;
  }
  return invalid("the model has no weights \"" + label + "\"",
                 {{"/weights", "must be one of the model's files: " + known}});
}

/// How many candidates a batch can have in the memory that is left for it.
Result<std::size_t> batch_size(const CudaDiffusionConfig& config, const DiffusionModel& model) {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  // The checkpoints are there already.
  std::uint64_t room = free - free / 10;
  if (config.memory_mb > 0) {
    const std::uint64_t cap = static_cast<std::uint64_t>(config.memory_mb) << 20;
    room = std::min<std::uint64_t>(room,
                                   cap - std::min<std::uint64_t>(cap, model.checkpoints.bytes()));
  }
  const auto samples = static_cast<std::size_t>(config.samples);
  const std::uint64_t each = DiffusionScorer::bytes_per_candidate(model, samples);
  const std::uint64_t fits = room / static_cast<std::uint64_t>(config.batches) / each;
  const auto wanted = static_cast<std::size_t>(config.batch);
  if (fits < std::max<std::size_t>(wanted, 1)) {
    const auto needed =
        static_cast<std::uint64_t>(config.batches) * each * std::max<std::size_t>(wanted, 1) +
        model.checkpoints.bytes();
    return Error{ErrorKind::exhausted,
                 "the device memory is too small",
                 {{"/memory_mb", std::to_string((needed >> 20) + 1) + " MiB are needed for " +
                                     std::to_string(config.batches) + " batches of " +
                                     std::to_string(std::max<std::size_t>(wanted, 1)) +
                                     " candidates; take fewer batches, or fewer samples"}}};
  }
  return wanted > 0 ? wanted : std::min<std::size_t>(fits, usual_batch);
}

}  // namespace

Result<std::unique_ptr<Evaluator>> CudaDiffusionEvaluator::create(const CudaDiffusionConfig& config,
                                                                  int device) {
  if (config.model.empty()) {
    return invalid("a model is needed",
                   {{"/model", "must name the model.json of a folder of checkpoints"}});
  }
  const bool searches_schedule = config.search == "schedule";
  auto model = DiffusionModel::load(config.model, searches_schedule || config.include_ema);
  if (!model) return model.error();
  const DiffusionModel& loaded = **model;

  EvaluatorDescription description;
  description.type = "cuda-diffusion";
  description.summary = "Frechet distance of samples of a diffusion model, on a GPU";
  description.objectives = {{"fd", Goal::minimize}};
  description.metrics = {"fd_heldout"};
  description.fidelity_unit = "images";
  description.default_fidelity = static_cast<std::uint64_t>(config.samples);
  std::vector<double> coefficients;
  if (searches_schedule) {
    auto parameter = schedule_parameter(schedule_config(config), loaded.description);
    if (!parameter) return parameter.error();
    description.space = {std::move(*parameter)};
    if (config.cost != "none") description.objectives.push_back({"cost", Goal::minimize});
    description.metrics.insert(description.metrics.end(), {"calls", "blocks", "multiply_adds"});
    auto named = one_hot(loaded, config.weights);
    if (!named) return named.error();
    coefficients = std::move(*named);
  } else {
    if (loaded.columns.size() < 2) {
      return invalid(config.model + ": one checkpoint; a combination needs at least 2");
    }
    if (static_cast<std::size_t>(config.steps) > loaded.description.timesteps) {
      return invalid(
          "the steps do not fit the model's schedule",
          {{"/steps", "must lie between 1 and " + std::to_string(loaded.description.timesteps)}});
    }
    description.space = {alpha_parameter(loaded.columns)};
  }
  const auto batch = batch_size(config, loaded);
  if (!batch) return batch.error();
  const auto batches = static_cast<std::size_t>(config.batches);
  // As many again wait their turn, so that the device does not idle while results travel.
  description.slots = 2 * *batch * batches;
  const std::size_t threads = config.threads > 0 ? static_cast<std::size_t>(config.threads)
                                                 : std::thread::hardware_concurrency();
  return std::unique_ptr<Evaluator>(new CudaDiffusionEvaluator(
      std::move(*model), config, std::move(description), std::move(coefficients), device, *batch,
      std::max<std::size_t>(threads / batches, 1)));
}

CudaDiffusionEvaluator::CudaDiffusionEvaluator(std::shared_ptr<const DiffusionModel> model,
                                               CudaDiffusionConfig config,
                                               EvaluatorDescription description,
                                               std::vector<double> one_hot, int device,
                                               std::size_t batch, std::size_t threads)
    : InProcessEvaluator(static_cast<std::size_t>(config.batches)),
      model_(std::move(model)),
      config_(std::move(config)),
      schedule_(schedule_config(config_)),
      one_hot_(std::move(one_hot)),
      description_(std::move(description)),
      device_(device),
      batch_(batch),
      threads_(threads) {}

CudaDiffusionEvaluator::~CudaDiffusionEvaluator() {
  stop();
}

Problems CudaDiffusionEvaluator::check(const EvaluationContext& context) const {
  return check_declared(description_, context);
}

Result<DiffusionRequest> CudaDiffusionEvaluator::request_for(
    const EvaluationRequest& request) const {
  const Candidate& candidate = request.candidate;
  const SearchSpace& space = request.context->space;
  DiffusionRequest out;
  out.samples = candidate.fidelity > 0 ? candidate.fidelity : description_.default_fidelity;
  if (out.samples < 2 || out.samples > DiffusionScorer::most_samples) {
    return invalid("a fidelity of " + std::to_string(out.samples) +
                   " images is not between 2 and " + std::to_string(DiffusionScorer::most_samples));
  }
  out.replicate = candidate.replicate;
  if (config_.search == "schedule") {
    auto nodes = schedule_nodes(space, candidate.point, schedule_, model_->description);
    if (!nodes) return nodes.error();
    out.nodes = std::move(*nodes);
    out.coefficients = one_hot_;
    return out;
  }
  out.coefficients = space.coefficients(0, candidate.point);
  for (const std::size_t time :
       uniform_times(model_->description.timesteps, static_cast<std::size_t>(config_.steps))) {
    out.nodes.push_back({static_cast<double>(time), Solver::ddim, {}});
  }
  return out;
}

Outcome CudaDiffusionEvaluator::outcome_of(const DiffusionRequest& request,
                                           const DiffusionScore& score,
                                           const std::vector<Objective>& objectives) const {
  if (!score.finite) {
    return Outcome::failure(TrialStatus::infeasible, "the network's output is not finite");
  }
  double blocks = 0;
  double multiply_adds = 0;
  const auto calls = static_cast<double>(request.nodes.size());
  for (const ScheduleNode& node : request.nodes) {
    const auto dropped =
        static_cast<std::size_t>(std::count(node.dropped.begin(), node.dropped.end(), 1));
    const std::size_t run = model_->description.shape.blocks - dropped;
    blocks += static_cast<double>(run);
    multiply_adds += Denoiser::flops(model_->description.shape, run) / 2;
  }
  Outcome outcome;
  for (const Objective& objective : objectives) {
    Measurement value{score.distance, score.standard_error};
    if (objective.name == "cost") {
      value = {config_.cost == "calls"    ? calls
               : config_.cost == "blocks" ? blocks
                                          : multiply_adds,
               0};
    }
    value.count = request.samples;
    outcome.objectives.push_back(value);
  }
  outcome.metrics = {{"fd_heldout", score.heldout}};
  if (config_.search == "schedule") {
    outcome.metrics.emplace_back("calls", calls);
    outcome.metrics.emplace_back("blocks", blocks);
    outcome.metrics.emplace_back("multiply_adds", multiply_adds);
  }
  return outcome;
}

std::unique_ptr<DiffusionScorer> CudaDiffusionEvaluator::take_scorer() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto scorer = std::move(idle_.back());
      idle_.pop_back();
      return scorer;
    }
  }
  return std::make_unique<DiffusionScorer>(model_, static_cast<std::uint64_t>(config_.noise_seed),
                                           batch_, threads_);
}

std::vector<Outcome> CudaDiffusionEvaluator::evaluate_batch(
    std::span<const EvaluationRequest> requests) {
  std::vector<std::optional<Outcome>> outcomes(requests.size());
  std::vector<DiffusionRequest> scored;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto request = request_for(requests[i]);
    if (request) {
      scored.push_back(std::move(*request));
    } else {
      outcomes[i] = Outcome::failure(TrialStatus::failed, request.error().message);
    }
  }
  std::vector<DiffusionScore> scores;
  try {
    cuda::check(cudaSetDevice(device_), "choosing the device");
    auto scorer = take_scorer();
    scores = scorer->score(scored);
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scorer));
  } catch (const CudaError& error) {
    end_process(error);
  }
  std::vector<Outcome> result;
  std::size_t next = 0;
  for (auto& outcome : outcomes) {
    if (!outcome) {
      outcome = outcome_of(scored[next], scores[next], requests.front().context->objectives);
      ++next;
    }
    result.push_back(std::move(*outcome));
  }
  return result;
}

}  // namespace cuda
}  // namespace paretod
