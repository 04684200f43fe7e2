// Attempts that are stopped because what they have measured is clearly dominated.

#include "daemon/jobs/racing.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

const std::string job_json =
    R"({"optimizer":"random","evaluator":"external","seed":1,"space":[{"name":"x","type":"real",)"
    R"("low":0,"high":1}],"objectives":[{"name":"a"},{"name":"b","goal":"maximize"}],)"
    R"("racing":{"confidence":0.99,"minimum":20}})";

/// One told trial: a = 1 +- 0.1, b = 5 +- 0.1.
JobState with_one_trial(std::vector<std::vector<float>> examples = {}) {
  const auto catalog = test_catalog();
  JobState state;
  EXPECT_TRUE(state.apply({1, 1}, {1, OwnerEvent{"nonce", ""}}).ok());
  EXPECT_TRUE(state.apply({1, 2}, {1, CreatedEvent{spec_from(job_json, *catalog), "", {}}}).ok());
  EXPECT_TRUE(state.apply({1, 3}, {1, AskedEvent{1, {{0.5}}}}).ok());
  ToldEvent told{1, {}};
  told.outcome.objectives = {{1, 0.1, 100}, {5, 0.1, 100}};
  told.outcome.examples = std::move(examples);
  EXPECT_TRUE(state.apply({1, 4}, {1, told}).ok());
  return state;
}

Outcome partial(double a, double b, double error, std::uint64_t count) {
  Outcome outcome;
  outcome.objectives = {{a, error, count}, {b, error, count}};
  return outcome;
}

TEST(Racing, StopsOnlyWhatIsWorseInEveryObjectiveForSure) {
  JobState state = with_one_trial();
  const RacingPolicy policy = state.spec().racing;
  EXPECT_TRUE(clearly_dominated(partial(2, 4, 0.1, 20), state, policy));
  EXPECT_FALSE(clearly_dominated(partial(2, 6, 0.1, 20), state, policy)) << "better in b";
  EXPECT_FALSE(clearly_dominated(partial(0.5, 4, 0.1, 20), state, policy)) << "better in a";
  EXPECT_FALSE(clearly_dominated(partial(1.1, 4, 0.1, 20), state, policy)) << "not for sure";
  EXPECT_FALSE(clearly_dominated(partial(2, 4, 0.1, 19), state, policy)) << "too few";
  EXPECT_FALSE(clearly_dominated(partial(2, 4, -1, 20), state, policy)) << "no standard error";
  Outcome unknown = partial(2, 4, 0.1, 20);
  unknown.objectives[1].value = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(clearly_dominated(unknown, state, policy));
  EXPECT_FALSE(clearly_dominated(partial(2, 4, 0.1, 20), state, RacingPolicy{}));
}

TEST(Racing, ComparesTheSameExamplesWherePresent) {
  // Examples vary far more than the two trials differ; on each example ours is a little worse.
  std::vector<float> a;
  std::vector<float> b;
  for (int i = 0; i < 100; ++i) {
    a.push_back(static_cast<float>(i % 10));
    b.push_back(static_cast<float>(i % 7));
  }
  JobState state = with_one_trial({a, b});
  Outcome ours = partial(1.2, 4.9, 3.0, 40);
  for (const auto& theirs : {a, b}) {
    ours.examples.emplace_back(theirs.begin(), theirs.begin() + 40);
  }
  for (int i = 0; i < 40; ++i) {
    ours.examples[0][i] += 0.1F + 0.01F * static_cast<float>(i % 3);
    ours.examples[1][i] -= 0.1F + 0.01F * static_cast<float>(i % 3);
  }
  EXPECT_TRUE(clearly_dominated(ours, state, state.spec().racing));
  ours.examples[0].resize(10);
  EXPECT_FALSE(clearly_dominated(ours, state, state.spec().racing)) << "too few pairs";
  ours.examples.clear();
  EXPECT_FALSE(clearly_dominated(ours, state, state.spec().racing)) << "unpaired, far from sure";
}

}  // namespace
}  // namespace paretod
