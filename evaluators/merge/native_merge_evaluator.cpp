#include "evaluators/merge/native_merge_evaluator.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/diffusion/parallel.hpp"

namespace paretod {
namespace {

constexpr std::size_t default_batch = 8;

}  // namespace

Result<std::unique_ptr<Evaluator>> NativeMergeEvaluator::create(
    MergeSetup setup, std::unique_ptr<const MergedScorer> scorer, std::size_t slots) {
  const std::vector<TensorLayout> layouts = setup.sources->layouts();
  if (auto fits = scorer->check(layouts); !fits) {
    return invalid("the scorer cannot score these models", {{"/scorer", fits.error().text()}});
  }
  const std::uint64_t one = MemoryOutput::size_of_one(layouts);
  // A batch is computed while the next one gathers.
  std::size_t batch = slots > 0
                          ? (slots + 1) / 2
                          : std::max({default_batch, setup.threads, setup.engine->usual_batch()});
  if (one > setup.memory_bytes) {
    return invalid("the merged model does not fit",
                   {{"/merge_memory_mb", "leaves no room for a merged model of " +
                                             std::to_string(one >> 20) + " MiB"}});
  }
  batch = std::min<std::uint64_t>(
      batch, std::max<std::uint64_t>(setup.memory_bytes / std::max<std::uint64_t>(one, 1), 1));

  const ScorerDescription scored = scorer->describe();
  EvaluatorDescription description;
  description.type = "merge";
  description.summary = "Models merged by " +
                        std::string(name_of(setup.space.recipe().rule.method)) +
                        ", scored natively";
  description.slots = slots > 0 ? slots : 2 * batch;
  description.version = setup.sources->version() + "/" + scored.version;
  description.space = setup.space.parameters();
  description.objectives = scored.objectives;
  description.metrics = scored.metrics;
  description.fidelity_unit = scored.fidelity_unit;
  description.default_fidelity = scored.default_fidelity;
  description.params = scored.params;
  return std::unique_ptr<Evaluator>(
      new NativeMergeEvaluator(std::move(setup), std::move(scorer), std::move(description), batch));
}

NativeMergeEvaluator::NativeMergeEvaluator(MergeSetup setup,
                                           std::unique_ptr<const MergedScorer> scorer,
                                           EvaluatorDescription description, std::size_t batch)
    : InProcessEvaluator(1),
      setup_(std::move(setup)),
      scorer_(std::move(scorer)),
      scored_(scorer_->describe()),
      description_(std::move(description)),
      batch_(batch),
      output_(setup_.sources->layouts(), batch) {}

NativeMergeEvaluator::~NativeMergeEvaluator() {
  stopping_ = true;
  stop();
}

Problems NativeMergeEvaluator::check(const EvaluationContext& context) const {
  return check_declared(description_, context);
}

Result<std::string> NativeMergeEvaluator::recipe(const EvaluationContext& context,
                                                 const Candidate& candidate) const {
  return recipe_text(setup_.space.recipe_of(context.space, candidate));
}

std::vector<Outcome> NativeMergeEvaluator::evaluate_batch(
    std::span<const EvaluationRequest> requests) {
  std::vector<Outcome> outcomes(requests.size());
  std::vector<MergeCandidate> candidates;
  std::vector<std::size_t> merged;  // which requests they are of
  const MergeRule& rule = setup_.space.recipe().rule;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    MergeCandidate candidate =
        setup_.space.numbers(requests[i].context->space, requests[i].candidate);
    const Problems problems = in_recipe(
        setup_.space.recipe(), check_candidate(rule, setup_.sources->source_count(), candidate));
    if (problems.empty()) {
      candidates.push_back(std::move(candidate));
      merged.push_back(i);
    } else {
      outcomes[i] = Outcome::failure(TrialStatus::infeasible,
                                     problems[0].pointer + " " + problems[0].message);
    }
  }
  const auto done = setup_.engine->merge(
      candidates, output_, [this](std::uint64_t, std::uint64_t) { return !stopping_; });
  if (!done) {
    for (const std::size_t i : merged) {
      outcomes[i] = Outcome::failure(TrialStatus::failed, done.error().text());
    }
    return outcomes;
  }
  parallel_for(setup_.threads, merged.size(), [&](std::size_t i, std::size_t) {
    outcomes[merged[i]] = score(requests[merged[i]], MergedWeights(output_.tensors(i)));
  });
  return outcomes;
}

Outcome NativeMergeEvaluator::score(const EvaluationRequest& request,
                                    const MergedWeights& weights) const {
  Candidate candidate = request.candidate;
  if (candidate.fidelity == 0) candidate.fidelity = scored_.default_fidelity;
  ParamValues params;
  for (const FieldInfo& field : scored_.params) params[field.name] = field.default_value;
  for (const auto& [name, value] : request.context->params) params[name] = value;
  Outcome all;
  try {
    all = scorer_->score(weights, candidate, params, stopping_);
  } catch (const std::exception& error) {
    return Outcome::failure(TrialStatus::failed, error.what());
  }
  if (all.status != TrialStatus::ok) return all;
  // Of what was measured, what the job asks for.
  Outcome asked = all;
  asked.objectives.clear();
  asked.examples.clear();
  for (const Objective& objective : request.context->objectives) {
    std::size_t i = 0;
    while (i < scored_.objectives.size() && scored_.objectives[i].name != objective.name) ++i;
    if (i >= all.objectives.size()) {
      return Outcome::failure(TrialStatus::failed, "the scorer gave no value of " + objective.name);
    }
    asked.objectives.push_back(all.objectives[i]);
    if (i < all.examples.size()) asked.examples.push_back(all.examples[i]);
  }
  return asked;
}

}  // namespace paretod
