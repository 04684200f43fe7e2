// The same candidate is not evaluated twice.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

/// Four points, so that a random search soon asks for one again.
std::string job_text(std::size_t trials, std::size_t parallelism) {
  return R"({"optimizer":"random","evaluator":"test","seed":4,"space":[{"name":"x","type":)"
         R"("integer","low":0,"high":3}],"objectives":[{"name":"a"}],"budget":{"trials":)" +
         std::to_string(trials) + R"(},"parallelism":)" + std::to_string(parallelism) + "}";
}

EvaluationReply square(const EvaluationRequest& request) {
  EvaluationReply reply;
  const double x = request.candidate.point[0];
  reply.outcome.objectives = {{x * x, 0.5, 10}};
  reply.outcome.cost.seconds = 1;
  return reply;
}

struct World {
  explicit World(FunctionEvaluator::Function function, std::size_t slots = 4,
                 const std::string& version = "1") {
    EvaluatorDescription description;
    description.slots = slots;
    description.version = version;
    auto owned = std::make_unique<FunctionEvaluator>(std::move(function), description);
    evaluator = owned.get();
    catalog = test_catalog(std::move(owned));
    manager = std::make_unique<JobManager>(backend, *catalog, ManagerOptions{});
  }
  std::shared_ptr<Job> create(const std::string& text) {
    return manager->create(spec_from(text, *catalog), "", "")->job;
  }

  MemoryBackend backend;
  FunctionEvaluator* evaluator = nullptr;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<JobManager> manager;
};

/// Every trial has the outcome of its point's first, and says so.
void check_outcomes(JobState& state) {
  std::map<double, TrialNumber> first_of;
  for (TrialNumber number = 1; number <= state.trials().size(); ++number) {
    const TrialRecord& trial = state.trials()[number - 1];
    const auto [first, added] = first_of.try_emplace(trial.candidate.point[0], number);
    ASSERT_TRUE(trial.outcome.has_value());
    EXPECT_EQ(trial.outcome->same_as, added ? 0 : first->second);
    EXPECT_EQ(trial.outcome->objectives[0].value,
              trial.candidate.point[0] * trial.candidate.point[0]);
    EXPECT_EQ(trial.outcome->attempts, added ? 1U : 0U);
  }
}

TEST(SameCandidate, TakesTheRecordedOutcome) {
  std::atomic<int> calls = 0;
  World world([&](const EvaluationRequest& request) {
    ++calls;
    return square(request);
  });
  const auto job = world.create(job_text(40, 1));
  job->wait([](JobStatus) { return false; });
  EXPECT_EQ(calls, 4);
  job->with_state([](JobState& state) {
    check_outcomes(state);
    EXPECT_EQ(state.spent().seconds, 4) << "what is used again costs nothing";
    ASSERT_EQ(state.measured().size(), 4U);
    for (const MeasuredPoint& point : state.measured()) {
      EXPECT_EQ(point.replicates, 1U) << "and is no further measurement";
    }
  });
}

TEST(SameCandidate, WaitsForTheOneThatIsBeingEvaluated) {
  std::atomic<int> calls = 0;
  World world([&](const EvaluationRequest& request) {
    ++calls;
    return square(request);
  });
  world.evaluator->hold();
  const auto job = world.create(job_text(40, 20));
  world.evaluator->wait_until_held(4);
  world.evaluator->release();
  job->wait([](JobStatus) { return false; });
  EXPECT_EQ(calls, 4);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.told_order().size(), 40U);
    check_outcomes(state);
  });
}

TEST(SameCandidate, IsEvaluatedAgainWhenTheFirstFailed) {
  std::atomic<int> calls = 0;
  World world(
      [&](const EvaluationRequest& request) {
        EvaluationReply reply = square(request);
        if (++calls == 1) reply.outcome = Outcome::failure(TrialStatus::failed, "once");
        return reply;
      },
      1);
  world.evaluator->hold();
  const auto job = world.create(job_text(40, 20));
  world.evaluator->wait_until_held(1);
  world.evaluator->release();
  job->wait([](JobStatus) { return false; });
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.count(TrialStatus::failed), 1U);
    EXPECT_EQ(state.told_order().size(), 40U);
  });
  EXPECT_EQ(calls, 5) << "four points, and the one that failed again";
}

TEST(SameCandidate, SurvivesPauseAndRestartButNotANewVersionOfTheEvaluator) {
  std::atomic<int> calls = 0;
  const auto count = [&](const EvaluationRequest& request) {
    ++calls;
    return square(request);
  };
  World world(count, 1);
  const auto job = world.create(job_text(60, 2));
  job->wait([](JobStatus) { return false; });
  const std::string id = job->id();
  EXPECT_EQ(calls, 4);
  // As if the daemon had been killed in the middle.
  const auto log = raw_log(world.backend, id);
  for (const std::string version : {"1", "2"}) {
    const auto cut = truncated(world.backend, id, log.size() / 2);
    World later(count, 1, version);
    JobManager manager(*cut, *later.catalog, ManagerOptions{});
    calls = 0;
    ASSERT_TRUE(manager.recover().ok());
    const auto recovered = manager.find(id);
    recovered->wait([](JobStatus) { return false; });
    EXPECT_EQ(recovered->status(), JobStatus::succeeded);
    EXPECT_EQ(calls, version == "1" ? 0 : 4);
  }
}

}  // namespace
}  // namespace paretod
