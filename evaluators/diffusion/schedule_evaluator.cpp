#include "evaluators/diffusion/schedule_evaluator.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {
namespace {

constexpr const char* no_null_class =
    "only 1 is possible: the model's description names no \"null_class\" to guide away from";

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

/// What a schedule takes, by the names that configurations and metrics have for it.
std::vector<std::pair<std::string, Measurement>> costs_of(const ScheduleCost& cost,
                                                          double seconds) {
  return {{"calls", {static_cast<double>(cost.calls), 0}},
          {"blocks", {static_cast<double>(cost.blocks), 0}},
          {"multiply_adds", {cost.multiply_adds, 0}},
          {"seconds", {seconds}}};
}

/// Everything that is not an objective.
Metrics metrics_of(const ScheduleScore& score, const ScheduleCost& cost,
                   const ScheduleConfig& config) {
  Metrics metrics = {{"fd_heldout", score.heldout}};
  if (config.kid) metrics.emplace_back("kid", score.kernel_distance.value_or(0));
  for (const auto& [name, measured] : costs_of(cost, score.seconds)) {
    if (name != config.cost) metrics.emplace_back(name, measured.value);
  }
  return metrics;
}

}  // namespace

template <>
Fields<ScheduleJobParams> describe() {
  return Fields<ScheduleJobParams>().add(
      "guidance", &ScheduleJobParams::guidance,
      "scale of classifier-free guidance; 1: none, anything else doubles the calls", 0, 100);
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
  for (const auto& [name, value] : metrics_of({}, {}, config)) description.metrics.push_back(name);
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
    if (objective.name == "cost") {
      for (const auto& [name, measured] : costs_of(cost, score.seconds)) {
        if (name == config_.cost) value = measured;
      }
    }
    value.count = request.samples;
    outcome.objectives.push_back(value);
  }
  outcome.metrics = metrics_of(score, cost, config_);
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
