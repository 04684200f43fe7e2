#include "daemon/jobs/job_state.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "optimizers/core/replicates.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

class JobStateTest : public testing::Test {
 protected:
  JobStateTest() {
    JobSpec spec;
    spec.name = "fold";
    spec.space = *SearchSpace::make({{.name = "x", .type = ParameterType::real}});
    spec.objectives = {{"loss", Goal::minimize}, {"accuracy", Goal::maximize}};
    spec.optimizer = "random";
    spec.evaluator = "e";
    spec.budget.trials = 10;
    must_apply(OwnerEvent{"n", "b"});
    must_apply(CreatedEvent{spec, ""});
  }
  Result<void> apply(EventBody body) {
    return state_.apply({1, ++number_}, {clock_ += 100, std::move(body)});
  }
  void must_apply(EventBody body) { ASSERT_TRUE(apply(std::move(body)).ok()); }
  void ask(TrialNumber n, double x, std::uint64_t replicate = 0) {
    ASSERT_TRUE(apply(AskedEvent{n, {.point = {x}, .replicate = replicate}}).ok());
  }
  void tell(TrialNumber n, double loss, double accuracy) {
    Outcome outcome;
    outcome.objectives = {{loss}, {accuracy}};
    ASSERT_TRUE(apply(ToldEvent{n, outcome}).ok());
  }
  std::vector<TrialNumber> front() {
    std::vector<TrialNumber> trials;
    const ParetoArchive& front = state_.front();
    for (std::size_t i = 0; i < front.size(); ++i) {
      trials.push_back(state_.measured()[front.id(i)].first_trial);
    }
    return trials;
  }

  JobState state_;
  std::uint64_t number_ = 0;
  std::int64_t clock_ = 1'000'000;
};

TEST_F(JobStateTest, TheFrontKnowsGoals) {
  ask(1, 0.1);
  ask(2, 0.2);
  ask(3, 0.3);
  tell(2, 1.0, 0.5);
  tell(1, 2.0, 0.9);
  tell(3, 2.5, 0.8);  // dominated by trial 1
  EXPECT_EQ(front(), (std::vector<TrialNumber>{2, 1}));
  EXPECT_EQ(state_.told_order(), (std::vector<TrialNumber>{2, 1, 3}));
  EXPECT_EQ(state_.count(TrialStatus::ok), 3U);
}

TEST_F(JobStateTest, ReplicatesPoolIntoOnePointAndCanLeaveTheFront) {
  ask(1, 0.1);
  ask(2, 0.2);
  ask(3, 0.1, 1);
  tell(1, 1.0, 0.5);  // lucky
  tell(2, 1.5, 0.5);
  EXPECT_EQ(front(), std::vector<TrialNumber>{1});
  tell(3, 3.0, 0.5);  // the same point again: its mean is 2.0
  EXPECT_EQ(front(), std::vector<TrialNumber>{2});
  const MeasuredPoint& point = state_.measured()[0];
  EXPECT_EQ(point.replicates, 2U);
  EXPECT_DOUBLE_EQ(point.mean[0], 2.0);
  EXPECT_NEAR(point.standard_error(0, *state_.trials()[0].outcome), 3.8385, 1e-4)
      << "the spread of two, widened";
}

TEST_F(JobStateTest, OnlyTheHighestFidelitySoFarIsOnTheFront) {
  const auto ask_at = [&](TrialNumber n, double x, std::uint64_t fidelity) {
    ASSERT_TRUE(apply(AskedEvent{n, {.point = {x}, .fidelity = fidelity}}).ok());
  };
  ask_at(1, 0.1, 20);
  ask_at(2, 0.2, 20);
  tell(1, 0.1, 0.5);  // lucky on few examples
  tell(2, 0.3, 0.9);
  EXPECT_EQ(front(), (std::vector<TrialNumber>{1, 2}));
  const std::uint64_t version = state_.front_version();
  ask_at(3, 0.1, 100);
  tell(3, 2.0, 0.5);
  EXPECT_EQ(front(), std::vector<TrialNumber>{3});
  EXPECT_NE(state_.front_version(), version);
  ask_at(4, 0.3, 20);
  tell(4, 0.0, 1.0);
  EXPECT_EQ(front(), std::vector<TrialNumber>{3});
  must_apply(InjectedEvent{5, {{.point = {0.4}, .fidelity = 500}}});
  tell(5, 1.0, 0.6);
  ask_at(6, 0.2, 100);
  tell(6, 0.5, 0.4);
  EXPECT_EQ(front(), (std::vector<TrialNumber>{6, 5})) << "injected trials raise nothing";
}

TEST(ReplicateError, IsNotFooledByTwoCloseValues) {
  EXPECT_DOUBLE_EQ(add_reported(add_reported(0, 3), 4), 25);
  EXPECT_LT(add_reported(add_reported(-1, 3), 4), 0);
  EXPECT_LT(add_reported(9, 0), 0);
  // Errors of 0.1 each: the mean of two is known to 0.0707 at best, however close they fall.
  EXPECT_NEAR(replicate_error(2, 0, 0.02), 0.0707, 1e-4);
  EXPECT_NEAR(replicate_error(2, 0.18, 0.02), std::sqrt((0.08 + 0.18) / 9 / 2), 1e-12);
  // Without errors: the intervals of 90 % hold it nine times in ten, whatever the count.
  Rng rng(3, 1);
  for (const std::uint32_t count : {2U, 3U, 4U, 8U, 30U}) {
    int inside = 0;
    for (int run = 0; run < 4000; ++run) {
      double mean = 0, squares = 0;
      for (std::uint32_t k = 1; k <= count; ++k) {
        const double y = rng.normal();
        const double delta = y - mean;
        mean += delta / k;
        squares += delta * (y - mean);
      }
      inside += std::abs(mean) <= 1.6449 * replicate_error(count, squares, -1) ? 1 : 0;
    }
    EXPECT_NEAR(inside, 3600, 76) << count;
  }
}

TEST_F(JobStateTest, LogsThatDoNotAddUpAreRefused) {
  EXPECT_FALSE(apply(AskedEvent{2, {.point = {0.5}}}).ok()) << "trial 1 comes first";
  EXPECT_FALSE(apply(AskedEvent{1, {.point = {0.5, 0.5}}}).ok()) << "one coordinate too many";
  EXPECT_FALSE(apply(ToldEvent{1, Outcome::failure(TrialStatus::failed, "x")}).ok()) << "not asked";
  ask(1, 0.5);
  tell(1, 1, 1);
  Outcome outcome;
  outcome.objectives = {{1}, {1}};
  EXPECT_FALSE(apply(ToldEvent{1, outcome}).ok()) << "told twice";
  ASSERT_TRUE(apply(FinishedEvent{JobStatus::succeeded, "budget", {}}).ok());
  EXPECT_FALSE(apply(AskedEvent{2, {.point = {0.5}}}).ok()) << "after the end";
  JobState empty;
  EXPECT_FALSE(empty.apply({1, 1}, {0, AskedEvent{1, {}}}).ok()) << "no spec";
}

TEST_F(JobStateTest, PausedTimeIsNotRunningTime) {
  ask(1, 0.5);
  must_apply(PausedEvent{"lunch"});
  const auto before = state_.running_ms();
  clock_ += 3'600'000;
  must_apply(ResumedEvent{});
  tell(1, 1, 1);
  EXPECT_EQ(state_.running_ms(), before + 100);
  EXPECT_EQ(state_.status(), JobStatus::running);
}

TEST_F(JobStateTest, LimitsChangeAtTheirPlace) {
  ask(1, 0.5);
  tell(1, 1, 1);
  must_apply(ExtendedEvent{.trials = 20, .wall_s = {}, .parallelism = 3, .reason = ""});
  ASSERT_EQ(state_.limit_changes().size(), 1U);
  EXPECT_EQ(state_.limit_changes()[0].told_before, 1U);
  EXPECT_EQ(state_.limit_changes()[0].trials, 20U);
  EXPECT_EQ(state_.parallelism(), 3U);
}

}  // namespace
}  // namespace paretod
