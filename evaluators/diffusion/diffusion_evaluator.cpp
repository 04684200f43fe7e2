#include "evaluators/diffusion/diffusion_evaluator.hpp"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "evaluators/merge/merge_recipe.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Parameter declared_parameter(const std::vector<CheckpointFile>& columns) {
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

/// An error of the model's files, as a problem of the configuration block; "/steps" is already one.
Error at_configuration(const Error& error) {
  std::string text = error.message;
  for (const Problem& problem : error.problems) {
    if (problem.pointer == "/steps") return error;
    text += "; " + problem.pointer + ": " + problem.message;
  }
  return Error{error.kind,
               "the model of a diffusion evaluator cannot be used",
               {{"/model", std::move(text)}}};
}

/// A file's name where a recipe can take it ("ema-0.98" is ema-0_98), else one by its place.
std::string source_name(std::string label, std::set<std::string>& taken) {
  std::replace(label.begin(), label.end(), '.', '_');
  if (!is_merge_name(label) || taken.contains(label)) {
    label = "checkpoint-" + std::to_string(taken.size() + 1);
  }
  return *taken.insert(std::move(label)).first;
}

Outcome outcome_of(const Score& score, std::uint64_t samples) {
  switch (score.status) {
    case Score::Status::not_finite:
      return Outcome::failure(TrialStatus::infeasible, "the merged network's output is not finite");
    case Score::Status::cancelled:
      return Outcome::failure(TrialStatus::failed, "cancelled");
    case Score::Status::ok:
      break;
  }
  Outcome outcome;
  outcome.objectives = {{score.distance, score.standard_error, samples}};
  outcome.metrics = {{"fd_heldout", score.heldout}};
  return outcome;
}

}  // namespace

template <>
Fields<DiffusionConfig> describe() {
  return Fields<DiffusionConfig>()
      .add("model", &DiffusionConfig::model, "model.json of a folder of checkpoints",
           std::vector<std::string>{})
      .add("steps", &DiffusionConfig::steps, "DDIM steps, evenly spaced", 1, 1000)
      .add("samples", &DiffusionConfig::samples, "images per evaluation, unless the job says more",
           2, static_cast<double>(CheckpointScorer::most_samples))
      .add("noise_seed", &DiffusionConfig::noise_seed,
           "seed of the noise; evaluators with equal seeds give comparable scores", 0)
      .add("include_ema", &DiffusionConfig::include_ema,
           "search over the model's EMA weights too, as further columns")
      .add("slots", &DiffusionConfig::slots,
           "evaluations accepted at once, half of them computed together; 0 chooses by the number "
           "of threads",
           0, 1024);
}

Result<std::unique_ptr<Evaluator>> DiffusionEvaluator::create(
    const DiffusionConfig& config, const EvaluatorEnvironment& environment) {
  if (config.model.empty()) {
    return invalid("a diffusion evaluator needs a model",
                   {{"/model", "must name the model.json of a folder of checkpoints"}});
  }
  ScorerOptions options;
  options.steps = static_cast<std::size_t>(config.steps);
  options.noise_seed = static_cast<std::uint64_t>(config.noise_seed);
  options.include_ema = config.include_ema;
  const auto path = std::filesystem::path(environment.base_directory) / config.model;
  auto scorer = CheckpointScorer::load(path.lexically_normal().string(), options, simd_kernels());
  if (!scorer) {
    return at_configuration(scorer.error());
  }

  const std::size_t threads = std::max<std::size_t>(environment.threads, 1);
  // One evaluation alone keeps about eight threads busy; as many again wait their turn, so that
  // no thread idles while results travel.
  const std::size_t slots =
      config.slots > 0 ? static_cast<std::size_t>(config.slots) : 2 * ((threads + 7) / 8);

  EvaluatorDescription description;
  description.type = "diffusion";
  description.summary = "Frechet distance of few-step samples from merged diffusion checkpoints";
  description.slots = slots;
  description.space = {declared_parameter(scorer->columns())};
  description.objectives = {{"fd", Goal::minimize}};
  description.metrics = {"fd_heldout"};
  description.fidelity_unit = "images";
  description.default_fidelity = static_cast<std::uint64_t>(config.samples);
  return std::unique_ptr<Evaluator>(
      new DiffusionEvaluator(std::move(*scorer), std::move(description), threads, (slots + 1) / 2));
}

DiffusionEvaluator::DiffusionEvaluator(CheckpointScorer scorer, EvaluatorDescription description,
                                       std::size_t threads, std::size_t batch)
    : InProcessEvaluator(1),
      description_(std::move(description)),
      threads_(threads),
      batch_(batch),
      scorer_(std::move(scorer)) {}

DiffusionEvaluator::~DiffusionEvaluator() {
  stopping_ = true;
  stop();
}

Problems DiffusionEvaluator::check(const EvaluationContext& context) const {
  Problems problems = check_objectives(description_.objectives, context.objectives);
  for (const Problems& found : {check_space(*description_.space, context.space.parameters()),
                                check_params(description_.params, context.params)}) {
    problems.insert(problems.end(), found.begin(), found.end());
  }
  return problems;
}

Result<std::string> DiffusionEvaluator::recipe(const EvaluationContext& context,
                                               const Candidate& candidate) const {
  MergeRecipe recipe;
  recipe.rule = MergeRule::of(MergeMethod::linear);
  recipe.rule.normalize = false;  // coefficients sum to one as they are
  recipe.dtype = DType::f32;
  GroupCoefficients numbers;
  numbers.weights = context.space.coefficients(0, candidate.point);
  numbers.densities.assign(numbers.weights.size(), 1);
  std::set<std::string> names;
  for (const CheckpointFile& column : scorer_.columns()) {
    recipe.paths.sources.push_back(
        {source_name(column.label, names), std::filesystem::absolute(column.path).string()});
  }
  recipe.numbers.groups = {std::move(numbers)};
  return recipe_text(recipe);
}

std::vector<Outcome> DiffusionEvaluator::evaluate_batch(
    std::span<const EvaluationRequest> requests) {
  std::vector<std::optional<Outcome>> outcomes(requests.size());
  std::vector<ScoreRequest> scored;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Candidate& candidate = requests[i].candidate;
    const std::uint64_t samples =
        candidate.fidelity > 0 ? candidate.fidelity : description_.default_fidelity;
    if (samples < 2 || samples > CheckpointScorer::most_samples) {
      outcomes[i] =
          Outcome::failure(TrialStatus::failed, "a fidelity of " + std::to_string(samples) +
                                                    " images is not between 2 and " +
                                                    std::to_string(CheckpointScorer::most_samples));
    } else {
      scored.push_back({requests[i].context->space.coefficients(0, candidate.point), samples,
                        candidate.replicate});
    }
  }
  const std::vector<Score> scores = scorer_.score(scored, threads_, stopping_);
  std::vector<Outcome> result;
  std::size_t next = 0;
  for (auto& outcome : outcomes) {
    if (!outcome) {
      outcome = outcome_of(scores[next], scored[next].samples);
      ++next;
    }
    result.push_back(std::move(*outcome));
  }
  return result;
}

EvaluatorType diffusion_evaluator_type() {
  const auto create =
      [](const ParamValues& values,
         const EvaluatorEnvironment& environment) -> Result<std::unique_ptr<Evaluator>> {
    const auto config = paretod::describe<DiffusionConfig>().bind(values, "");
    if (!config) return config.error();
    return DiffusionEvaluator::create(*config, environment);
  };
  return {"diffusion", "merges of diffusion checkpoints, scored natively",
          describe<DiffusionConfig>().infos(), create};
}

}  // namespace paretod
