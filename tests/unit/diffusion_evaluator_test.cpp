// The evaluator as the daemon sees it, on a small model that the test writes itself.

#include "evaluators/diffusion/diffusion_evaluator.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/merge_outputs.hpp"
#include "evaluators/merge/merge_recipe.hpp"
#include "optimizers/core/rng.hpp"
#include "tests/support/tiny_diffusion.hpp"

namespace paretod {
namespace {

using test::bytes_of;
using test::float_tensor;
using test::StoredTensors;
using test::write_safetensors;

class DiffusionEvaluatorTest : public testing::Test {
 protected:
  static StoredTensors checkpoint(std::uint64_t seed) {
    return test::TinyDiffusion::checkpoint(seed);
  }
  void write_checkpoint(const std::string& name, const StoredTensors& tensors) {
    tiny_.write_checkpoint(name, tensors);
  }

  Result<std::unique_ptr<Evaluator>> create(ParamValues values = {}, std::size_t threads = 2) {
    tiny_.save();
    values.try_emplace("model", std::string("model.json"));
    values.try_emplace("samples", std::int64_t{100});
    return diffusion_evaluator_type().create(values, {directory_.string(), threads});
  }
  std::string refusal(const ParamValues& values = {}) {
    const auto evaluator = create(values);
    return evaluator ? "accepted" : evaluator.error().text();
  }

  static std::shared_ptr<const EvaluationContext> context_for(const Evaluator& evaluator) {
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator.describe().space).value();
    context->objectives = evaluator.describe().objectives;
    return context;
  }
  /// The outcomes of these candidates, all handed over at once.
  static std::vector<Outcome> evaluate(Evaluator& evaluator,
                                       const std::vector<Candidate>& candidates) {
    std::mutex mutex;
    std::condition_variable done;
    std::vector<Outcome> outcomes(candidates.size());
    std::size_t answered = 0;
    const auto context = context_for(evaluator);
    std::vector<EvaluationRequest> requests;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      EvaluationRequest request;
      request.ticket = i;
      request.context = context;
      request.candidate = candidates[i];
      requests.push_back(std::move(request));
    }
    evaluator.evaluate(std::move(requests), [&](std::vector<EvaluationReply> replies) {
      const std::lock_guard lock(mutex);
      for (EvaluationReply& reply : replies) {
        outcomes[reply.ticket] = std::move(reply.outcome);
        ++answered;
      }
      done.notify_all();
    });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return answered == candidates.size(); });
    return outcomes;
  }

  test::TinyDiffusion tiny_;
  const std::filesystem::path directory_ = tiny_.path();
  nlohmann::json& model_ = tiny_.model;
};

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not contain \"" << part << "\"";
}

TEST_F(DiffusionEvaluatorTest, DeclaresItsSpaceAndObjectives) {
  const auto evaluator = create();
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  const EvaluatorDescription description = (*evaluator)->describe();
  EXPECT_EQ(description.type, "diffusion");
  EXPECT_EQ(description.slots, 2U);
  EXPECT_EQ(description.default_fidelity, 100U);
  EXPECT_EQ(description.fidelity_unit, "images");
  ASSERT_EQ(description.objectives.size(), 1U);
  EXPECT_EQ(description.objectives[0].name, "fd");
  EXPECT_EQ(description.metrics, std::vector<std::string>{"fd_heldout"});
  ASSERT_TRUE(description.space);
  ASSERT_EQ(description.space->size(), 1U);
  const Parameter& alpha = description.space->front();
  EXPECT_EQ(alpha.name, "alpha");
  EXPECT_EQ(alpha.labels, (std::vector<std::string>{"step-1", "step-2", "step-3", "ema-0.9"}));
  EXPECT_EQ(alpha.positions, (std::vector<std::optional<double>>{1.0, 2.0, 3.0, std::nullopt}));
  EXPECT_EQ(alpha.reference(), 2U);
  EXPECT_TRUE(SearchSpace::make(*description.space));
}

TEST_F(DiffusionEvaluatorTest, EmaColumnsAreOptional) {
  const auto evaluator = create({{"include_ema", false}});
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  EXPECT_EQ((*evaluator)->describe().space->front().size, 3U);
}

TEST_F(DiffusionEvaluatorTest, ScoresCandidates) {
  const auto evaluator = create();
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  const Point last = {0, 0, 0};
  const auto outcomes = evaluate(**evaluator, {{.point = last},
                                               {.point = last, .fidelity = 50},
                                               {.point = last, .replicate = 1},
                                               {.point = {0.5, -0.2, 0.4}}});
  for (const Outcome& outcome : outcomes) {
    ASSERT_EQ(outcome.status, TrialStatus::ok) << outcome.reason;
    ASSERT_EQ(outcome.objectives.size(), 1U);
    EXPECT_GT(outcome.objectives[0].value, 0);
    EXPECT_GT(outcome.objectives[0].standard_error, 0);
    ASSERT_EQ(outcome.metrics.size(), 1U);
    EXPECT_EQ(outcome.metrics[0].first, "fd_heldout");
    EXPECT_GT(outcome.metrics[0].second, 0);
    EXPECT_NE(outcome.metrics[0].second, outcome.objectives[0].value);
  }
  EXPECT_EQ(outcomes[0].objectives[0].count, 100U);
  EXPECT_EQ(outcomes[1].objectives[0].count, 50U);
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_NE(outcomes[0].objectives[0].value, outcomes[i].objectives[0].value);
  }
}

TEST_F(DiffusionEvaluatorTest, ItsRecipeIsOfTheCheckpointsAndMergesToWhatWasScored) {
  const auto evaluator = create();
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  const Candidate candidate{{0.5, -0.2, 0.4}};
  const auto text = (*evaluator)->recipe(*context_for(**evaluator), candidate);
  ASSERT_TRUE(text) << text.error().text();
  const auto recipe = parse_recipe(*text, "/");
  ASSERT_TRUE(recipe) << recipe.error().text();
  ASSERT_EQ(recipe->paths.sources.size(), 4U);
  EXPECT_EQ(recipe->paths.sources[0].path, (directory_ / "step-1.safetensors").string());
  EXPECT_EQ(recipe->paths.sources[3].name, "ema-0_9");
  EXPECT_FALSE(recipe->rule.normalize);

  // Merged to a checkpoint like the others, it scores the same.
  const auto sources = MergeSources::open(recipe->paths, recipe->rule, recipe->dtype);
  ASSERT_TRUE(sources) << sources.error().text();
  auto engine = cpu_merge_engine(std::make_shared<const MergeSources>(*sources), recipe->rule);
  MemoryOutput output(sources->layouts(), 1);
  ASSERT_TRUE((*engine)->merge({&recipe->numbers, 1}, output));
  StoredTensors merged;
  for (const TensorView& tensor : output.tensors(0)) {
    merged[std::string(tensor.name)] = {
        "F32",
        tensor.shape,
        {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()}};
  }
  write_checkpoint("step-3", merged);  // alone at a point of zeros
  const auto again = create();
  ASSERT_TRUE(again) << again.error().text();
  const double searched = evaluate(**evaluator, {candidate})[0].objectives[0].value;
  const double exported = evaluate(**again, {{.point = {0, 0, 0}}})[0].objectives[0].value;
  EXPECT_NEAR(exported, searched, 1e-3 * searched);
}

TEST_F(DiffusionEvaluatorTest, NoiseSeedIsTheConfigurations) {
  const auto base = create();
  const auto same = create();
  const auto other = create({{"noise_seed", std::int64_t{1}}});
  ASSERT_TRUE(base && same && other);
  const std::vector<Candidate> candidate = {{.point = {0.1, 0.2, 0.3}}};
  const double value = evaluate(**base, candidate)[0].objectives[0].value;
  EXPECT_EQ(evaluate(**same, candidate)[0].objectives[0].value, value);
  EXPECT_NE(evaluate(**other, candidate)[0].objectives[0].value, value);
}

TEST_F(DiffusionEvaluatorTest, BitsDoNotDependOnThreadsOrCompany) {
  std::vector<Candidate> candidates;
  Rng rng(5);
  for (std::size_t i = 0; i < 11; ++i) {
    candidates.push_back({.point = {rng.normal(), rng.normal(), rng.normal()},
                          .fidelity = 90 + 20 * i,
                          .replicate = i % 3});
  }
  std::vector<Outcome> expected;
  {
    const auto evaluator = create({{"slots", std::int64_t{1}}}, 1);
    ASSERT_TRUE(evaluator) << evaluator.error().text();
    for (const Candidate& candidate : candidates) {
      expected.push_back(evaluate(**evaluator, {candidate})[0]);
    }
  }
  for (const std::size_t threads : {1, 2, 3, 7}) {
    for (const std::int64_t slots : {1, 6, 40}) {
      const auto evaluator = create({{"slots", slots}}, threads);
      ASSERT_TRUE(evaluator) << evaluator.error().text();
      const auto outcomes = evaluate(**evaluator, candidates);
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        ASSERT_EQ(outcomes[i].status, TrialStatus::ok);
        EXPECT_EQ(outcomes[i].objectives[0].value, expected[i].objectives[0].value);
        EXPECT_EQ(outcomes[i].objectives[0].standard_error,
                  expected[i].objectives[0].standard_error);
        EXPECT_EQ(outcomes[i].metrics, expected[i].metrics);
      }
    }
  }
}

TEST_F(DiffusionEvaluatorTest, StandardErrorIsTheSpreadOverBlocks) {
  const auto evaluator = create({{"samples", std::int64_t{400}}});
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  std::vector<Candidate> candidates;
  for (std::uint64_t r = 0; r < 200; ++r) {
    candidates.push_back({.point = {0, 0, 0}, .replicate = r});
  }
  std::vector<double> values;
  double stated = 0;
  for (const Outcome& outcome : evaluate(**evaluator, candidates)) {
    values.push_back(outcome.objectives[0].value);
    stated += outcome.objectives[0].standard_error / 200;
  }
  double mean = 0;
  double variance = 0;
  for (const double value : values) mean += value / 200;
  for (const double value : values) variance += (value - mean) * (value - mean) / 199;
  // The spread itself is known to 5 %.
  EXPECT_NEAR(stated / std::sqrt(variance), 1, 0.2);
}

TEST_F(DiffusionEvaluatorTest, OverflowIsInfeasibleAndLeavesOthersAlone) {
  const auto evaluator = create({{"slots", std::int64_t{8}}});
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  const auto alone = evaluate(**evaluator, {{.point = {0.1, 0.1, 0.1}}});
  const auto outcomes =
      evaluate(**evaluator,
               {{.point = {1e30, -1e30, 0}}, {.point = {0.1, 0.1, 0.1}}, {.point = {1e300, 0, 0}}});
  for (const std::size_t i : {0, 2}) {
    EXPECT_EQ(outcomes[i].status, TrialStatus::infeasible);
    EXPECT_TRUE(contains(outcomes[i].reason, "not finite"));
  }
  ASSERT_EQ(outcomes[1].status, TrialStatus::ok);
  EXPECT_EQ(outcomes[1].objectives[0].value, alone[0].objectives[0].value);
}

TEST_F(DiffusionEvaluatorTest, ImpossibleFidelityFailsWithAReason) {
  const auto evaluator = create();
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  const auto outcomes =
      evaluate(**evaluator, {{.point = {0, 0, 0}, .fidelity = 1},
                             {.point = {0, 0, 0}, .fidelity = std::uint64_t{1} << 40},
                             {.point = {0, 0, 0}, .fidelity = 2}});
  EXPECT_EQ(outcomes[0].status, TrialStatus::failed);
  EXPECT_TRUE(contains(outcomes[1].reason, "between 2 and"));
  EXPECT_EQ(outcomes[2].status, TrialStatus::ok);
}

TEST_F(DiffusionEvaluatorTest, DestructionCancelsWhatRuns) {
  auto evaluator = create({{"samples", std::int64_t{200'000}}, {"slots", std::int64_t{1}}}, 1);
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  std::atomic<std::size_t> replies{0};
  EvaluationRequest request;
  request.context = context_for(**evaluator);
  request.candidate.point = {0, 0, 0};
  (*evaluator)
      ->evaluate({request, request, request},
                 [&](const std::vector<EvaluationReply>& some) { replies += some.size(); });
  evaluator->reset();
  const std::size_t after = replies;
  EXPECT_LE(after, 1u);  // what was queued is dropped; what ran may still answer before the end
}

TEST_F(DiffusionEvaluatorTest, ChecksTheJob) {
  const auto evaluator = create();
  ASSERT_TRUE(evaluator) << evaluator.error().text();
  EvaluationContext context = *context_for(**evaluator);
  EXPECT_TRUE((*evaluator)->check(context).empty());

  Parameter smaller = evaluator.value()->describe().space->front();
  smaller.size = 3;
  smaller.labels.pop_back();
  smaller.positions.pop_back();
  context.space = SearchSpace::make({smaller}).value();
  context.objectives = {{"fid", Goal::minimize}};
  context.params = {{"steps", std::int64_t{3}}};
  std::string text;
  for (const Problem& problem : (*evaluator)->check(context)) text += problem.pointer + " ";
  EXPECT_TRUE(contains(text, "/space/0/size"));
  EXPECT_TRUE(contains(text, "/objectives/0/name"));
  EXPECT_TRUE(contains(text, "/evaluator/params/steps"));
}

TEST_F(DiffusionEvaluatorTest, RefusesBadConfigurations) {
  EXPECT_TRUE(contains(refusal({{"model", std::string()}}), "/model"));
  EXPECT_TRUE(contains(refusal({{"model", std::string("none.json")}}), "none.json: no such file"));
  EXPECT_TRUE(contains(refusal({{"steps", std::int64_t{0}}}), "/steps"));
  EXPECT_TRUE(
      contains(refusal({{"steps", std::int64_t{101}}}), "/steps: must lie between 1 and 100"));
  EXPECT_TRUE(contains(refusal({{"samples", std::int64_t{1}}}), "/samples"));
  EXPECT_TRUE(contains(refusal({{"step", std::int64_t{1}}}), "/step"));
}

TEST_F(DiffusionEvaluatorTest, RefusesBadModelDescriptions) {
  const nlohmann::json good = model_;
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    model_ = good;
    model_[nlohmann::json::json_pointer(pointer)] = value;
    return refusal();
  };
  EXPECT_TRUE(contains(with("/architecture", "unet"), "\"unet\" is not supported"));
  EXPECT_TRUE(contains(with("/width", 7), "/width: must be even"));
  EXPECT_TRUE(contains(with("/width", 1'000'000), "/width"));
  EXPECT_TRUE(contains(with("/pixels", -1), "/pixels"));
  EXPECT_TRUE(contains(with("/timesteps", 0), "/timesteps"));
  EXPECT_TRUE(contains(with("/surprise", 1), "/surprise"));
  EXPECT_TRUE(contains(with("/checkpoints/1/iteration", 1), "/checkpoints/1/iteration"));
  EXPECT_TRUE(contains(with("/checkpoints/1/file", ""), "/checkpoints/1/file"));
  EXPECT_TRUE(contains(with("/checkpoints", "all"), "/checkpoints: must be an array"));
  EXPECT_TRUE(contains(with("/ema/0/decay", 2), "/ema/0/decay"));
  EXPECT_TRUE(contains(with("/feature_pixel_weight", "x"), "/feature_pixel_weight"));
  model_ = nlohmann::json::array();
  EXPECT_NE(refusal(), "accepted");
}

TEST_F(DiffusionEvaluatorTest, RefusesASingleCheckpoint) {
  model_["checkpoints"].erase(1);
  model_["checkpoints"].erase(1);
  EXPECT_TRUE(contains(refusal({{"include_ema", false}}), "needs at least 2"));
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(DiffusionEvaluatorTest, NamesTheCheckpointThatDiffers) {
  const StoredTensors good = checkpoint(2);
  const auto with = [&](const std::function<void(StoredTensors&)>& change) {
    StoredTensors tensors = good;
    change(tensors);
    write_checkpoint("step-2", tensors);
    return refusal();
  };
  Rng rng(1);
  const std::string shape = with([&](StoredTensors& t) {
    t["1.1.w"] = float_tensor({6, 12}, rng, 1);
  });
  EXPECT_TRUE(contains(shape, "step-2.safetensors: tensor \"1.1.w\" has shape [6, 12], in "));
  EXPECT_TRUE(contains(shape, "step-1.safetensors it is [12, 6]"));
  EXPECT_TRUE(contains(with([](StoredTensors& t) { t.erase("cls"); }),
                       "step-2.safetensors: tensor \"cls\" is missing"));
  EXPECT_TRUE(contains(with([&](StoredTensors& t) { t["new"] = float_tensor({1}, rng, 1); }),
                       "step-2.safetensors: tensor \"new\" is not in"));
  EXPECT_TRUE(contains(with([](StoredTensors& t) {
                         t["t1.b"] = {"F16", {6}, std::string(12, '\0')};
                       }),
                       "step-2.safetensors: tensor \"t1.b\" has dtype F16, in "));
  EXPECT_TRUE(contains(with([](StoredTensors& t) {
                         t["t1.b"] = {"I32", {6}, std::string(24, '\0')};
                       }),
                       "F16, BF16 or F32 is needed"));
  EXPECT_TRUE(contains(with([](StoredTensors& t) {
                         std::vector<float> values(6, 0.0F);
                         values[3] = std::numeric_limits<float>::infinity();
                         t["t1.b"].bytes = bytes_of(values);
                       }),
                       "step-2.safetensors: tensor \"t1.b\" has a value that is not finite"));
  write_checkpoint("step-2", good);
  EXPECT_EQ(refusal(), "accepted");
  std::filesystem::remove(directory_ / "step-3.safetensors");
  EXPECT_TRUE(contains(refusal(), "step-3.safetensors: No such file"));
}

TEST_F(DiffusionEvaluatorTest, NamesWhatIsWrongWithFeaturesAndReferences) {
  Rng rng(1);
  write_safetensors(directory_ / "features.safetensors", {{"f1.w", float_tensor({7, 6}, rng, 1)}});
  EXPECT_TRUE(contains(refusal(), "features.safetensors: a tensor \"f1.w\" of shape [n, 5]"));
  write_safetensors(directory_ / "features.safetensors", {{"f1.w", float_tensor({7, 5}, rng, 1)},
                                                          {"f1.b", float_tensor({7}, rng, 1)},
                                                          {"f2.w", float_tensor({3, 7}, rng, 1)},
                                                          {"f2.b", float_tensor({3}, rng, 1)}});
  write_safetensors(directory_ / "reference.safetensors",
                    {{"a.images", {"U8", {2, 5}, std::string(10, '\1')}}});
  EXPECT_TRUE(contains(refusal(), "reference.safetensors: a U8 tensor \"b.images\""));
}

}  // namespace
}  // namespace paretod
