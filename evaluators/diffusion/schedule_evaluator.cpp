#include "evaluators/diffusion/schedule_evaluator.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {
namespace {

constexpr const char* parameter_name = "schedule";
constexpr const char* no_null_class =
    "only 1 is possible: the model's description names no \"null_class\" to guide away from";

std::string block_name(std::size_t block) {
  return "block-" + std::to_string(block);
}

/// An error of the model's files, as a problem of the configuration block.
Error at_configuration(const Error& error) {
  std::string text = error.message;
  for (const Problem& problem : error.problems) {
    if (problem.pointer == "/weights") return error;
    text += "; " + problem.pointer + ": " + problem.message;
  }
  return Error{error.kind,
               "the model of a diffusion-schedule evaluator cannot be used",
               {{"/model", std::move(text)}}};
}

/// The names of `wanted`, or all of `known` for the word "all".
std::vector<std::string> droppable_blocks(const std::vector<std::string>& wanted,
                                          const DenoiserShape& shape, Problems& problems) {
  std::vector<std::string> known;
  for (std::size_t b = 0; b < shape.blocks; ++b) known.push_back(block_name(b));
  if (wanted == std::vector<std::string>{"all"}) return known;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (std::find(known.begin(), known.end(), wanted[i]) == known.end()) {
      problems.push_back({"/droppable/" + std::to_string(i),
                          "the model has no block \"" + wanted[i] + "\"; it has " + known.front() +
                              " to " + known.back() + ", or say [\"all\"]"});
    }
  }
  return wanted;
}

/// The value of "cost" for one schedule; none: nothing is asked for.
std::optional<Measurement> cost_of(const std::string& kind, const ScheduleCost& cost,
                                   double seconds) {
  if (kind == "calls") return Measurement{static_cast<double>(cost.calls), 0};
  if (kind == "blocks") return Measurement{static_cast<double>(cost.blocks), 0};
  if (kind == "multiply-adds") return Measurement{cost.multiply_adds, 0};
  if (kind == "seconds") return Measurement{seconds, -1};
  return std::nullopt;
}

}  // namespace

template <>
Fields<ScheduleConfig> describe() {
  return Fields<ScheduleConfig>()
      .add("model", &ScheduleConfig::model, "model.json of a denoiser", std::vector<std::string>{})
      .add("weights", &ScheduleConfig::weights,
           "which of the model's files, without .safetensors; default: its last EMA, else its "
           "newest checkpoint",
           std::vector<std::string>{})
      .add("least_steps", &ScheduleConfig::least_steps, "fewest network calls of a schedule", 1,
           10'000)
      .add("most_steps", &ScheduleConfig::most_steps, "most network calls of a schedule", 1, 10'000)
      .add("nodes", &ScheduleConfig::nodes,
           "where the calls are: at whole time steps from 0, or at real times in (0, 1], where 1 "
           "is the noisiest",
           {"whole", "real"})
      .add("solvers", &ScheduleConfig::solvers,
           "ddim, dpm-solver, plms; of several, each step chooses one")
      .add("droppable", &ScheduleConfig::droppable,
           "blocks that a step may leave out: block-0, block-1, ... or [\"all\"]; empty: none")
      .add("cost", &ScheduleConfig::cost,
           "the second objective, per image: network calls, blocks run in them, multiply-adds, or "
           "measured seconds of processor time",
           {"none", "calls", "blocks", "multiply-adds", "seconds"})
      .add("samples", &ScheduleConfig::samples,
           "images per evaluation, unless the candidate says more", 2,
           static_cast<double>(ScheduleScorer::most_samples))
      .add("noise_seed", &ScheduleConfig::noise_seed,
           "seed of the noise; evaluators with equal seeds give comparable scores", 0)
      .add("kid", &ScheduleConfig::kid, "measure the kernel distance too, as the metric \"kid\"")
      .add("cache_mb", &ScheduleConfig::cache_mb,
           "memory for what schedules had, so that more images extend it", 0, 1'000'000)
      .add("slots", &ScheduleConfig::slots,
           "evaluations accepted at once, half of them computed together; 0 chooses by the number "
           "of threads",
           0, 1024);
}

template <>
Fields<ScheduleJobParams> describe() {
  return Fields<ScheduleJobParams>().add(
      "guidance", &ScheduleJobParams::guidance,
      "scale of classifier-free guidance; 1: none, anything else doubles the calls", 0, 100);
}

Result<Parameter> schedule_parameter(const ScheduleConfig& config, const ModelDescription& model) {
  Problems problems;
  Parameter schedule;
  schedule.name = parameter_name;
  schedule.type = ParameterType::schedule;
  const auto timesteps = static_cast<double>(model.timesteps);
  schedule.whole = config.nodes == "whole";
  schedule.low = schedule.whole ? 0 : 1 / timesteps;
  schedule.high = schedule.whole ? timesteps - 1 : 1;
  schedule.least = static_cast<std::size_t>(config.least_steps);
  schedule.most = static_cast<std::size_t>(config.most_steps);
  if (config.least_steps > config.most_steps) {
    problems.push_back({"/least_steps", "must not be above most_steps"});
  }
  if (schedule.most > model.timesteps) {
    problems.push_back(
        {"/most_steps", "the model has only " + std::to_string(model.timesteps) + " time steps"});
  }
  if (config.solvers.empty()) problems.push_back({"/solvers", "must name at least one"});
  for (std::size_t i = 0; i < config.solvers.size(); ++i) {
    const std::string at = "/solvers/" + std::to_string(i);
    if (!solver_named(config.solvers[i])) {
      problems.push_back({at, "must be one of ddim, dpm-solver, plms"});
    }
    const auto here = config.solvers.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(config.solvers.begin(), here, *here) != here) {
      problems.push_back({at, "is named twice"});
    }
  }
  if (config.solvers.size() > 1) schedule.choices = config.solvers;
  if (!config.droppable.empty()) {
    if (model.shape.blocks == 0) {
      problems.push_back({"/droppable", "the model has no blocks"});
    } else {
      schedule.mask = droppable_blocks(config.droppable, model.shape, problems);
    }
  }
  if (!problems.empty()) {
    return invalid("a diffusion-schedule evaluator cannot be set up so", std::move(problems));
  }
  // What is left: blocks named twice, schedules too long for a point.
  if (const auto space = SearchSpace::make({schedule}); !space) return space.error();
  return schedule;
}

Result<std::vector<ScheduleNode>> schedule_nodes(const SearchSpace& space, const Point& point,
                                                 const ScheduleConfig& config,
                                                 const ModelDescription& model) {
  std::size_t index = 0;
  while (space.parameters()[index].name != parameter_name) ++index;
  const Parameter& schedule = space.parameters()[index];
  const double* at = point.data() + space.offset(index);
  const auto count = static_cast<std::size_t>(*at++);
  std::vector<ScheduleNode> nodes;
  for (std::size_t s = 0; s < count; ++s) {
    ScheduleNode node;
    const double place = *at++;
    const auto timesteps = static_cast<double>(model.timesteps);
    node.time = schedule.whole ? place : std::max(0.0, timesteps * place - 1);
    if (!(node.time >= 0 && node.time <= timesteps - 1)) {
      return invalid("step " + std::to_string(s) + " lies outside the " +
                     std::to_string(model.timesteps) + " time steps of the model");
    }
    const std::string& solver = schedule.choices.empty()
                                    ? config.solvers.front()
                                    : schedule.choices[static_cast<std::size_t>(*at++)];
    node.solver = solver_named(solver).value();
    if (!schedule.mask.empty()) node.dropped.resize(model.shape.blocks);
    for (const std::string& name : schedule.mask) {
      const bool drop = *at++ != 0;
      for (std::size_t b = 0; drop && b < model.shape.blocks; ++b) {
        if (block_name(b) == name) node.dropped[b] = 1;
      }
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

Result<std::unique_ptr<Evaluator>> ScheduleEvaluator::create(
    const ScheduleConfig& config, const EvaluatorEnvironment& environment) {
  if (config.model.empty()) {
    return invalid("a diffusion-schedule evaluator needs a model",
                   {{"/model", "must name the model.json of a denoiser"}});
  }
  ScheduleScorerOptions options;
  options.weights = config.weights;
  options.noise_seed = static_cast<std::uint64_t>(config.noise_seed);
  options.kernel_distance = config.kid;
  options.cache_bytes = static_cast<std::size_t>(config.cache_mb) << 20;
  const auto path = std::filesystem::path(environment.base_directory) / config.model;
  auto scorer = ScheduleScorer::load(path.lexically_normal().string(), options, simd_kernels());
  if (!scorer) return at_configuration(scorer.error());
  auto parameter = schedule_parameter(config, scorer->model());
  if (!parameter) return parameter.error();

  const std::size_t threads = std::max<std::size_t>(environment.threads, 1);
  // As of the checkpoint evaluator: one evaluation alone keeps about eight threads busy.
  const std::size_t slots =
      config.slots > 0 ? static_cast<std::size_t>(config.slots) : 2 * ((threads + 7) / 8);

  EvaluatorDescription description;
  description.type = "diffusion-schedule";
  description.summary = "Frechet distance of samples along a schedule of network calls, from \"" +
                        scorer->weights() + "\"";
  description.slots = slots;
  description.space = {std::move(*parameter)};
  description.objectives = {{"fd", Goal::minimize}};
  if (config.cost != "none") description.objectives.push_back({"cost", Goal::minimize});
  description.metrics = {"fd_heldout", "calls", "blocks", "multiply_adds", "seconds"};
  if (config.kid) description.metrics.insert(description.metrics.begin() + 1, "kid");
  description.fidelity_unit = "images";
  description.default_fidelity = static_cast<std::uint64_t>(config.samples);
  description.params = paretod::describe<ScheduleJobParams>().infos();
  return std::unique_ptr<Evaluator>(new ScheduleEvaluator(
      std::move(*scorer), config, std::move(description), threads, (slots + 1) / 2));
}

ScheduleEvaluator::ScheduleEvaluator(ScheduleScorer scorer, ScheduleConfig config,
                                     EvaluatorDescription description, std::size_t threads,
                                     std::size_t batch)
    : InProcessEvaluator(1),
      config_(std::move(config)),
      description_(std::move(description)),
      threads_(threads),
      batch_(batch),
      scorer_(std::move(scorer)) {}

ScheduleEvaluator::~ScheduleEvaluator() {
  stopping_ = true;
  stop();
}

Problems ScheduleEvaluator::check(const EvaluationContext& context) const {
  Problems problems = check_declared(description_, context);
  const auto params =
      paretod::describe<ScheduleJobParams>().bind(context.params, "/evaluator/params");
  if (params && params->guidance != 1 && !scorer_.model().null_class) {
    problems.push_back({"/evaluator/params/guidance", no_null_class});
  }
  return problems;
}

Result<ScheduleRequest> ScheduleEvaluator::request_for(const EvaluationRequest& request) const {
  const Candidate& candidate = request.candidate;
  ScheduleRequest out;
  out.samples = candidate.fidelity > 0 ? candidate.fidelity : description_.default_fidelity;
  if (out.samples < 2 || out.samples > ScheduleScorer::most_samples) {
    return invalid("a fidelity of " + std::to_string(out.samples) +
                   " images is not between 2 and " + std::to_string(ScheduleScorer::most_samples));
  }
  out.replicate = candidate.replicate;
  out.guidance = paretod::describe<ScheduleJobParams>().bind(request.context->params)->guidance;
  auto nodes = schedule_nodes(request.context->space, candidate.point, config_, scorer_.model());
  if (!nodes) return nodes.error();
  out.nodes = std::move(*nodes);
  return out;
}

Outcome ScheduleEvaluator::outcome_of(const ScheduleRequest& request, const ScheduleScore& score,
                                      const std::vector<Objective>& objectives) const {
  switch (score.status) {
    case ScheduleScore::Status::not_finite:
      return Outcome::failure(TrialStatus::infeasible, "the samples are not finite");
    case ScheduleScore::Status::cancelled:
      return Outcome::failure(TrialStatus::failed, "cancelled");
    case ScheduleScore::Status::ok:
      break;
  }
  const ScheduleCost cost = scorer_.cost(request);
  Outcome outcome;
  for (const Objective& objective : objectives) {
    Measurement value{score.distance, score.standard_error};
    if (objective.name == "cost") value = cost_of(config_.cost, cost, score.seconds).value();
    value.count = request.samples;
    outcome.objectives.push_back(value);
  }
  outcome.metrics = {{"fd_heldout", score.heldout}};
  if (score.kernel_distance) outcome.metrics.emplace_back("kid", *score.kernel_distance);
  outcome.metrics.emplace_back("calls", static_cast<double>(cost.calls));
  outcome.metrics.emplace_back("blocks", static_cast<double>(cost.blocks));
  outcome.metrics.emplace_back("multiply_adds", cost.multiply_adds);
  outcome.metrics.emplace_back("seconds", score.seconds);
  return outcome;
}

std::vector<Outcome> ScheduleEvaluator::evaluate_batch(
    std::span<const EvaluationRequest> requests) {
  std::vector<std::optional<Outcome>> outcomes(requests.size());
  std::vector<ScheduleRequest> scored;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto request = request_for(requests[i]);
    if (request) {
      scored.push_back(std::move(*request));
    } else {
      outcomes[i] = Outcome::failure(TrialStatus::infeasible, request.error().message);
    }
  }
  const auto scores = scorer_.score(scored, threads_, stopping_);
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

EvaluatorType schedule_evaluator_type() {
  const auto create =
      [](const ParamValues& values,
         const EvaluatorEnvironment& environment) -> Result<std::unique_ptr<Evaluator>> {
    const auto config = paretod::describe<ScheduleConfig>().bind(values, "");
    if (!config) return config.error();
    return ScheduleEvaluator::create(*config, environment);
  };
  return {"diffusion-schedule", "time steps and dropped blocks of a diffusion model",
          describe<ScheduleConfig>().infos(), create};
}

}  // namespace paretod
