// Merges scored in the daemon: what a scorer is given, and what becomes of what it says.

#include "evaluators/merge/native_merge_evaluator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <thread>

#include "evaluators/merge/merge_recipe.hpp"
#include "tests/support/evaluators/reply_collector.hpp"
#include "tests/support/merge_fixture.hpp"

namespace paretod {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What the tests have the scorer do, and what it saw.
struct Seen {
  std::mutex mutex;
  std::multiset<double> sums;
  std::vector<Candidate> candidates;
  std::vector<ParamValues> params;
  std::binary_semaphore waiting{0};
  std::string refusal;
  bool holds = false;  // until it is cancelled
};

/// The sum of all weights, and of the last tensor's.
class SumScorer final : public MergedScorer {
 public:
  explicit SumScorer(std::shared_ptr<Seen> seen) : seen_(std::move(seen)) {}

  [[nodiscard]] ScorerDescription describe() const override {
    ScorerDescription description;
    description.objectives = {{"sum", Goal::minimize}, {"bias", Goal::maximize}};
    description.metrics = {"tensors"};
    description.fidelity_unit = "examples";
    description.default_fidelity = 20;
    description.version = "sums-1";
    description.params = {
        Fields<Params>().add("offset", &Params::offset, "added to the sum").infos()};
    return description;
  }
  [[nodiscard]] Result<void> check(std::span<const TensorLayout>) const override {
    if (seen_->refusal.empty()) return {};
    return Error{ErrorKind::invalid, seen_->refusal};
  }
  [[nodiscard]] Outcome score(const MergedWeights& weights, const Candidate& candidate,
                              const ParamValues& params,
                              const std::atomic<bool>& cancelled) const override {
    if (seen_->holds) {
      seen_->waiting.release();
      while (!cancelled) std::this_thread::yield();
      return Outcome::failure(TrialStatus::failed, "cancelled");
    }
    double sum = 0;
    for (const TensorView& tensor : weights.tensors()) {
      for (const float x : weights.floats(tensor.name)) sum += static_cast<double>(x);
    }
    if (candidate.point[0] == 0.99) throw std::runtime_error("out of patience");
    if (candidate.point[0] == 0.98) {
      return Outcome::failure(TrialStatus::infeasible, "not a number");
    }
    double bias = 0;
    for (const float x : weights.floats("layer.1.bias")) bias += static_cast<double>(x);
    {
      const std::lock_guard lock(seen_->mutex);
      seen_->sums.insert(sum);
      seen_->candidates.push_back(candidate);
      seen_->params.push_back(params);
    }
    Outcome outcome;
    outcome.objectives = {{.value = sum + std::get<double>(params.at("offset"))}, {.value = bias}};
    outcome.metrics = {{"tensors", static_cast<double>(weights.tensors().size())}};
    outcome.examples = {{1.0F}, {2.0F}};
    return outcome;
  }

 private:
  struct Params {
    double offset = 0.25;
  };
  std::shared_ptr<Seen> seen_;
};

class NativeMergeEvaluatorTest : public testing::Test {
 protected:
  Result<MergeSetup> set_up(std::uint64_t memory, std::size_t threads = 2) {
    auto recipe = load_recipe(models_.folder("recipe.json"));
    if (!recipe) return recipe.error();
    auto sources = MergeSources::open(recipe->paths, recipe->rule, DType::f32);
    if (!sources) return sources.error();
    const MergeRule rule = recipe->rule;
    MergeSearchSpec search;
    search.weight_low = -1;
    auto space = MergeSpace::make(std::move(*recipe), *sources, search);
    if (!space) return space.error();
    MergeSetup setup{std::move(*space), std::make_shared<const MergeSources>(std::move(*sources)),
                     nullptr, memory, threads};
    auto engine = cpu_merge_engine(setup.sources, rule, {threads, 0, 0});
    if (!engine) return engine.error();
    setup.engine = std::move(*engine);
    return setup;
  }
  Result<std::unique_ptr<Evaluator>> make(std::size_t slots = 0, std::uint64_t memory = 1 << 20) {
    auto setup = set_up(memory);
    if (!setup) return setup.error();
    return NativeMergeEvaluator::create(std::move(*setup), std::make_unique<SumScorer>(seen_),
                                        slots);
  }
  void start(std::size_t slots = 0) {
    auto made = make(slots);
    ASSERT_TRUE(made) << made.error().text();
    evaluator_ = std::move(*made);
    context_.job = "job";
    context_.space = SearchSpace::make(*evaluator_->describe().space).value();
    context_.objectives = evaluator_->describe().objectives;
  }
  EvaluationRequest request(std::uint64_t ticket, Candidate candidate) const {
    return {ticket, std::make_shared<const EvaluationContext>(context_), ticket, 1,
            std::move(candidate)};
  }
  std::vector<EvaluationReply> evaluate(std::vector<Candidate> candidates) {
    std::vector<EvaluationRequest> requests;
    for (auto& candidate : candidates) {
      requests.push_back(request(requests.size(), std::move(candidate)));
    }
    const std::size_t count = requests.size();
    evaluator_->evaluate(std::move(requests), replies_.sink());
    replies_.wait_for(count);
    return replies_.take();
  }

  const std::shared_ptr<Seen> seen_ = std::make_shared<Seen>();
  test::MergeFixture models_;
  ReplyCollector replies_;
  std::unique_ptr<Evaluator> evaluator_;
  EvaluationContext context_;
};

TEST_F(NativeMergeEvaluatorTest, DescribesWhatItMergesAndHowItScores) {
  start(6);
  const EvaluatorDescription description = evaluator_->describe();
  EXPECT_EQ(description.type, "merge");
  EXPECT_THAT(description.summary, HasSubstr("task_arithmetic"));
  EXPECT_EQ(description.slots, 6U);
  EXPECT_THAT(description.version, HasSubstr("/sums-1"));
  ASSERT_EQ(description.space->size(), 2U);
  EXPECT_EQ(description.space->at(1).name, "weight.code");
  EXPECT_EQ(description.fidelity_unit, "examples");
  EXPECT_EQ(description.default_fidelity, 20U);
  EXPECT_TRUE(evaluator_->check(context_).empty());
  context_.objectives = {{"speed", Goal::minimize}};
  EXPECT_FALSE(evaluator_->check(context_).empty());
}

TEST_F(NativeMergeEvaluatorTest, ScoresEveryCandidateWithItsOwnWeights) {
  start(4);  // batches of two
  const TensorValues base = read_model(models_.folder("base"));
  const TensorValues math = read_model(models_.folder("math"));
  const TensorValues code = read_model(models_.folder("code"));
  std::vector<Candidate> candidates;
  for (int i = 0; i < 23; ++i) candidates.push_back({{0.04 * i, 0.5 - 0.06 * i}});
  const auto replies = evaluate(candidates);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Point& w = candidates[i].point;
    double sum = 0.25;
    double bias = 0;
    for (const auto& [name, values] : base) {
      for (std::size_t e = 0; e < values.size(); ++e) {
        const double merged = values[e] + w[0] * (math.at(name)[e] - values[e]) +
                              w[1] * (code.at(name)[e] - values[e]);
        sum += merged;
        if (name == "layer.1.bias") bias += merged;
      }
    }
    const Outcome& outcome = replies[i].outcome;
    ASSERT_EQ(outcome.status, TrialStatus::ok) << outcome.reason;
    ASSERT_EQ(outcome.objectives.size(), 2U);
    EXPECT_NEAR(outcome.objectives[0].value, sum, 1e-4);
    EXPECT_NEAR(outcome.objectives[1].value, bias, 1e-5);
    EXPECT_THAT(outcome.metrics, ElementsAre(std::pair<std::string, double>("tensors", 3)));
  }
}

TEST_F(NativeMergeEvaluatorTest, AnOutcomeDoesNotDependOnItsCompany) {
  start(16);
  const auto together = evaluate({{{0.3, 0.4}}, {{0.3, 0.5}}, {{0.9, -0.4}}});
  for (std::size_t i = 0; i < 3; ++i) {
    const Point point = i == 0 ? Point{0.3, 0.4} : i == 1 ? Point{0.3, 0.5} : Point{0.9, -0.4};
    const auto alone = evaluate({{point}});
    EXPECT_EQ(alone[0].outcome.objectives[0].value, together[i].outcome.objectives[0].value);
  }
}

TEST_F(NativeMergeEvaluatorTest, GivesFidelityReplicateAndParamsTheirDefaults) {
  start();
  context_.params = {{"offset", 1.5}};
  const auto changed = evaluate({{.point = {0.5, 0.5}, .fidelity = 7, .replicate = 3}});
  context_.params = {};
  const auto usual = evaluate({{.point = {0.5, 0.5}}});
  ASSERT_EQ(seen_->candidates.size(), 2U);
  EXPECT_EQ(seen_->candidates[0].fidelity, 7U);
  EXPECT_EQ(seen_->candidates[0].replicate, 3U);
  EXPECT_EQ(seen_->candidates[1].fidelity, 20U);
  EXPECT_NEAR(changed[0].outcome.objectives[0].value, usual[0].outcome.objectives[0].value + 1.25,
              1e-9);
}

TEST_F(NativeMergeEvaluatorTest, GivesTheObjectivesThatTheJobAsksForInItsOrder) {
  start();
  const auto both = evaluate({{{0.2, 0.1}}});
  context_.objectives = {{"bias", Goal::maximize}, {"sum", Goal::minimize}};
  const auto swapped = evaluate({{{0.2, 0.1}}});
  context_.objectives = {{"bias", Goal::maximize}};
  const auto one = evaluate({{{0.2, 0.1}}});
  ASSERT_EQ(one[0].outcome.objectives.size(), 1U);
  EXPECT_EQ(one[0].outcome.objectives[0].value, both[0].outcome.objectives[1].value);
  EXPECT_EQ(swapped[0].outcome.objectives[1].value, both[0].outcome.objectives[0].value);
  EXPECT_THAT(swapped[0].outcome.examples,
              ElementsAre(std::vector<float>{2.0F}, std::vector<float>{1.0F}));
}

TEST_F(NativeMergeEvaluatorTest, WhatFailsFailsAlone) {
  models_.write("recipe.json", R"({"method": "linear", "sources":
      [{"name": "math", "path": "math"}, {"name": "code", "path": "code"}]})");
  start(16);
  const auto replies =
      evaluate({{{0.5, 0.5}}, {{0.4, -0.4}}, {{0.99, 0.1}}, {{0.98, 0.1}}, {{0.2, 0.7}}});
  EXPECT_EQ(replies[0].outcome.status, TrialStatus::ok);
  EXPECT_EQ(replies[1].outcome.status, TrialStatus::infeasible);
  EXPECT_THAT(replies[1].outcome.reason, HasSubstr("normalize divides by their sum"));
  EXPECT_EQ(replies[2].outcome.status, TrialStatus::failed);
  EXPECT_EQ(replies[2].outcome.reason, "out of patience");
  EXPECT_EQ(replies[3].outcome.status, TrialStatus::infeasible);
  EXPECT_EQ(replies[3].outcome.reason, "not a number");
  EXPECT_EQ(replies[4].outcome.status, TrialStatus::ok);
}

TEST_F(NativeMergeEvaluatorTest, AMergedModelHasToFit) {
  const auto small = make(0, 100);
  ASSERT_FALSE(small);
  ASSERT_EQ(small.error().problems.size(), 1U);
  EXPECT_EQ(small.error().problems[0].pointer, "/merge_memory_mb");
  // Room for two of them, whatever the slots: the rest waits.
  const std::uint64_t one = 4 * (11 * 7 + 5 * 11 + 5) + 3 * 64;
  auto made = make(64, 2 * one);
  ASSERT_TRUE(made) << made.error().text();
  evaluator_ = std::move(*made);
  context_.space = SearchSpace::make(*evaluator_->describe().space).value();
  context_.objectives = evaluator_->describe().objectives;
  const auto replies = evaluate(std::vector<Candidate>(40, {{0.5, 0.5}}));
  for (const EvaluationReply& reply : replies) EXPECT_EQ(reply.outcome.status, TrialStatus::ok);
  EXPECT_EQ(seen_->sums.count(*seen_->sums.begin()), 40U);
}

TEST_F(NativeMergeEvaluatorTest, AScorerCanRefuseTheModels) {
  seen_->refusal = "tensor \"head\" is missing";
  const auto made = make();
  ASSERT_FALSE(made);
  ASSERT_EQ(made.error().problems.size(), 1U);
  EXPECT_EQ(made.error().problems[0].pointer, "/scorer");
  EXPECT_THAT(made.error().problems[0].message, HasSubstr("\"head\" is missing"));
}

TEST_F(NativeMergeEvaluatorTest, ItsEndDoesNotWaitForAScore) {
  seen_->holds = true;
  start(1);
  evaluator_->evaluate({request(1, {{0.5, 0.5}})}, replies_.sink());
  seen_->waiting.acquire();
  evaluator_.reset();
  const auto replies = replies_.take();
  for (const EvaluationReply& reply : replies) EXPECT_NE(reply.outcome.status, TrialStatus::ok);
}

TEST_F(NativeMergeEvaluatorTest, ItsRecipeMergesToWhatWasScored) {
  start();
  const auto text = evaluator_->recipe(context_, {{0.25, -0.5}});
  ASSERT_TRUE(text) << text.error().text();
  const auto recipe = parse_recipe(*text, "/");
  ASSERT_TRUE(recipe) << recipe.error().text();
  EXPECT_EQ(recipe->numbers.groups[0].weights, (std::vector<double>{0.25, -0.5}));
  const auto sources = MergeSources::open(recipe->paths, recipe->rule, DType::f32);
  ASSERT_TRUE(sources) << sources.error().text();
  auto engine = cpu_merge_engine(std::make_shared<const MergeSources>(*sources), recipe->rule);
  MemoryOutput output(sources->layouts(), 1);
  ASSERT_TRUE((*engine)->merge({&recipe->numbers, 1}, output));
  evaluate({{{0.25, -0.5}}});
  double sum = 0;
  const MergedWeights weights(output.tensors(0));
  for (const TensorView& tensor : weights.tensors()) {
    for (const float x : weights.floats(tensor.name)) sum += static_cast<double>(x);
  }
  EXPECT_EQ(*seen_->sums.begin(), sum);
}

}  // namespace
}  // namespace paretod
