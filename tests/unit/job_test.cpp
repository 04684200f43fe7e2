// The life of jobs: verbs, limits, retries, fair shares, ownership.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <mutex>
#include <thread>

#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using testing::HasSubstr;

std::string job_text(std::size_t trials, std::size_t parallelism, const std::string& wall = "0") {
  return R"({"optimizer":"random","evaluator":"test","seed":1,)"
         R"("space":[{"name":"x","type":"real","low":-1,"high":2},)"
         R"({"name":"y","type":"real","low":-1,"high":2}],)"
         R"("objectives":[{"name":"a"},{"name":"b"}],"budget":{"trials":)" +
         std::to_string(trials) + R"(,"wall_s":)" + wall + R"(},"parallelism":)" +
         std::to_string(parallelism) + "}";
}

/// A manager over a controllable evaluator.
struct World {
  explicit World(FunctionEvaluator::Function function = two_valleys, std::size_t slots = 2,
                 bool paid = false, ManagerOptions options = {}) {
    auto owned = std::make_unique<FunctionEvaluator>(std::move(function), slots, paid);
    evaluator = owned.get();
    catalog = test_catalog(std::move(owned));
    manager = std::make_unique<JobManager>(backend, *catalog, options);
  }
  std::shared_ptr<Job> create(const std::string& text) {
    return manager->create(spec_from(text, *catalog), "", "")->job;
  }
  static std::size_t told(const std::shared_ptr<Job>& job) {
    return job->with_state([](JobState& state) { return state.told_order().size(); });
  }
  static void finish(const std::shared_ptr<Job>& job) {
    job->wait([](JobStatus) { return false; });
  }

  MemoryBackend backend;
  FunctionEvaluator* evaluator = nullptr;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<JobManager> manager;
};

TEST(Job, RunsToItsBudget) {
  World world;
  const auto job = world.create(job_text(50, 4));
  World::finish(job);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
  EXPECT_EQ(World::told(job), 50U);
  job->with_state([](JobState& state) { EXPECT_GT(state.front().size(), 2U); });
}

TEST(Job, NeverExceedsItsParallelismNorTheSlots) {
  World narrow(two_valleys, 8);
  World::finish(narrow.create(job_text(60, 3)));
  EXPECT_LE(narrow.evaluator->most_at_once(), 3U);
  World wide(two_valleys, 2);
  World::finish(wide.create(job_text(60, 9)));
  EXPECT_LE(wide.evaluator->most_at_once(), 2U);
}

TEST(Job, PauseStopsAndResumeGoesOnToTheSameSearch) {
  World reference;
  const auto undisturbed = reference.create(job_text(40, 1));
  World::finish(undisturbed);

  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(40, 1));
  world.evaluator->wait_until_held(1);
  ASSERT_TRUE(job->pause("test").ok());
  ASSERT_TRUE(job->pause("again").ok()) << "repeating is harmless";
  EXPECT_EQ(job->status(), JobStatus::paused);
  world.evaluator->release();
  // What was in flight still counts, and nothing else starts.
  ASSERT_TRUE(job->resume().ok());
  World::finish(job);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
  EXPECT_EQ(World::told(job), 40U);
  const auto points = [](const std::shared_ptr<Job>& j) {
    return j->with_state([](JobState& state) {
      std::vector<Point> all;
      for (const auto& trial : state.trials()) all.push_back(trial.candidate.point);
      return all;
    });
  };
  EXPECT_EQ(points(job), points(undisturbed));
}

TEST(Job, CancelEndsForGood) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(40, 4));
  world.evaluator->wait_until_held(2);
  ASSERT_TRUE(job->cancel().ok());
  EXPECT_EQ(job->status(), JobStatus::cancelled);
  EXPECT_EQ(world.evaluator->cancelled(), 2U);
  ASSERT_TRUE(job->cancel().ok()) << "repeating is harmless";
  const auto resumed = job->resume();
  ASSERT_FALSE(resumed.ok());
  EXPECT_EQ(resumed.error().kind, ErrorKind::conflict);
  EXPECT_THAT(resumed.error().message, HasSubstr("cancelled"));
  world.evaluator->release();
}

TEST(Job, ExtendRaisesTheBudgetOfARunningJob) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(10, 2));
  world.evaluator->wait_until_held(2);
  ASSERT_TRUE(job->extend({.trials = 25, .wall_s = {}, .parallelism = 1, .reason = "more"}).ok());
  world.evaluator->release();
  World::finish(job);
  EXPECT_EQ(World::told(job), 25U);
  // The change is part of the log, so a replay makes the same search.
  const auto copy = truncated(world.backend, job->id(), 30);
  recover_to_end(*copy, *world.catalog);
  const auto log = canonical_log(*copy, job->id());
  EXPECT_EQ(std::count_if(log.begin(), log.end(),
                          [](const auto& line) { return line.find("\"told\"") != line.npos; }),
            25);
}

TEST(Job, AWallBudgetEndsTheSearch) {
  World world;
  const auto job = world.create(job_text(1'000'000, 2, "0.05"));
  World::finish(job);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
  EXPECT_GT(World::told(job), 0U);
  EXPECT_LT(World::told(job), 1'000'000U);
}

TEST(Job, TransientFailuresAreRetriedFinalOnesAreNot) {
  std::atomic<int> transient_calls = 0;
  World world([&](const EvaluationRequest& request) {
    EvaluationReply reply = two_valleys(request);
    if (request.trial == 1 && request.attempt < 3) {
      ++transient_calls;
      reply.kind = ReplyKind::transient;
      reply.outcome = Outcome::failure(TrialStatus::failed, "the network hiccuped");
    }
    if (request.trial == 2) {
      reply.outcome = Outcome::failure(TrialStatus::infeasible, "no such layer");
    }
    if (request.trial == 3) {
      reply.kind = ReplyKind::transient;
      reply.outcome = Outcome::failure(TrialStatus::failed, "always down");
    }
    if (request.trial == 4) {
      reply.outcome.objectives[1].value = std::numeric_limits<double>::quiet_NaN();
    }
    return reply;
  });
  const auto job = world.create(job_text(6, 6));
  World::finish(job);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
  EXPECT_EQ(transient_calls, 2);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.trials()[0].outcome->status, TrialStatus::ok);
    EXPECT_EQ(state.trials()[0].outcome->attempts, 3U);
    EXPECT_EQ(state.trials()[1].outcome->status, TrialStatus::infeasible);
    EXPECT_EQ(state.trials()[1].outcome->attempts, 1U);
    EXPECT_EQ(state.trials()[2].outcome->status, TrialStatus::failed);
    EXPECT_EQ(state.trials()[2].outcome->attempts, 3U);
    EXPECT_THAT(state.trials()[2].outcome->reason, HasSubstr("always down"));
    EXPECT_EQ(state.trials()[3].outcome->status, TrialStatus::failed);
    EXPECT_THAT(state.trials()[3].outcome->reason, HasSubstr("\"b\""));
  });
}

TEST(Job, ASecondFaultPoisonsATrialAndAnotherWorkerIsAskedFirst) {
  std::mutex mutex;
  std::vector<std::string> avoided;  // by the attempts at trial 2
  World world([&](const EvaluationRequest& request) {
    EvaluationReply reply = two_valleys(request);
    const std::lock_guard lock(mutex);
    if (request.trial == 1 && request.attempt == 1) {
      reply.kind = ReplyKind::fault;
      reply.outcome = Outcome::failure(TrialStatus::failed, "crashed once");
    }
    if (request.trial == 2) {
      avoided.push_back(request.avoid);
      reply.kind = ReplyKind::fault;
      reply.worker = "worker " + std::to_string(request.attempt);
      reply.outcome = Outcome::failure(TrialStatus::failed, "crashed again");
    }
    return reply;
  });
  const auto job = world.create(job_text(6, 2));
  World::finish(job);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
  EXPECT_EQ(avoided, (std::vector<std::string>{"", "worker 1"}));
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.trials()[0].outcome->status, TrialStatus::ok);
    EXPECT_EQ(state.trials()[0].outcome->attempts, 2U);
    EXPECT_EQ(state.trials()[1].outcome->status, TrialStatus::failed);
    EXPECT_THAT(state.trials()[1].outcome->reason, HasSubstr("poison"));
    EXPECT_THAT(state.trials()[1].outcome->reason, HasSubstr("crashed again"));
  });
}

TEST(Job, PausesWhenMostEvaluationsFailAndResumesWhenMended) {
  std::atomic<bool> broken = true;
  World world([&](const EvaluationRequest& request) {
    EvaluationReply reply = two_valleys(request);
    if (broken) reply.outcome = Outcome::failure(TrialStatus::failed, "no such file");
    return reply;
  });
  const auto job = world.create(job_text(100, 1));
  job->wait([](JobStatus status) { return status == JobStatus::paused; });
  EXPECT_EQ(job->status(), JobStatus::paused);
  // More than 20 % of 50; what was already dispatched may still be told before the run unwinds.
  EXPECT_GE(World::told(job), 11U);
  EXPECT_LT(World::told(job), 50U);
  job->with_state([](JobState& state) {
    EXPECT_THAT(state.status_reason(), HasSubstr("11 of the last 11 trials failed"));
  });
  broken = false;
  ASSERT_TRUE(job->resume().ok());
  World::finish(job);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
  EXPECT_EQ(World::told(job), 100U);
}

TEST(Jobs, ShareAnEvaluatorFairly) {
  std::mutex mutex;
  std::vector<std::string> order;  // whose evaluations ran, one slot
  World world(
      [&](const EvaluationRequest& request) {
        const std::lock_guard lock(mutex);
        order.push_back(request.context->job);
        return two_valleys(request);
      },
      1);
  const auto queued = [&world] {
    for (const LaneStatus& lane : world.manager->lanes()) {
      if (lane.evaluator == "test") return lane.queued;
    }
    return std::size_t{0};
  };
  world.evaluator->hold();
  const auto greedy = world.create(job_text(400, 100));
  while (queued() < 99) std::this_thread::yield();
  const auto late = world.create(job_text(20, 20));
  while (queued() < 119) std::this_thread::yield();
  world.evaluator->release();
  World::finish(late);
  World::finish(greedy);
  const auto last = std::find(order.rbegin(), order.rend(), late->id());
  EXPECT_LT(order.rend() - last, 60) << "the jobs take turns";
}

TEST(Jobs, BeyondTheLimitWaitTheirTurn) {
  World world(two_valleys, 2, false, {.max_active_jobs = 1});
  world.evaluator->hold();
  const auto first = world.create(job_text(5, 1));
  world.evaluator->wait_until_held(1);
  const auto second = world.create(job_text(5, 1));
  EXPECT_EQ(second->status(), JobStatus::queued);
  world.evaluator->release();
  World::finish(first);
  World::finish(second);
  EXPECT_EQ(second->status(), JobStatus::succeeded);
}

TEST(Jobs, AnIdempotencyKeyNamesOneJob) {
  World world;
  const JobSpec spec = spec_from(job_text(5, 1), *world.catalog);
  const auto first = world.manager->create(spec, "my-key", "digest-1");
  const auto again = world.manager->create(spec, "my-key", "digest-1");
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_TRUE(first->created);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(first->job->id(), again->job->id());
  const auto other = world.manager->create(spec, "my-key", "digest-2");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().kind, ErrorKind::conflict);
}

TEST(Jobs, ACreationCutShortIsCompletedByTheNextRequest) {
  World world;
  const JobSpec spec = spec_from(job_text(5, 1), *world.catalog);
  std::string id;
  {
    World other;
    id = other.manager->create(spec, "my-key", "digest")->job->id();
  }
  ASSERT_TRUE(world.backend.create(id, {R"({"e":"owner","t":1,"nonce":"n","build":"b"})"}).ok());
  ASSERT_TRUE(world.manager->recover().ok());
  EXPECT_EQ(world.manager->find(id), nullptr);
  EXPECT_TRUE(world.manager->unreadable().empty());
  const auto created = world.manager->create(spec, "my-key", "digest");
  ASSERT_TRUE(created.ok()) << created.error().text();
  EXPECT_EQ(created->job->id(), id);
  World::finish(created->job);
  EXPECT_EQ(created->job->status(), JobStatus::succeeded);
}

TEST(Jobs, ASecondOwnerTakesOverAndTheFirstStops) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(30, 2));
  world.evaluator->wait_until_held(2);
  {
    auto other_catalog = test_catalog(std::make_unique<FunctionEvaluator>(two_valleys, 2));
    recover_to_end(world.backend, *other_catalog);
  }
  world.evaluator->release();
  World::finish(job);  // ends with trouble, not with results of its own
  EXPECT_NE(job->trouble(), "");
  const auto log = canonical_log(world.backend, job->id());
  EXPECT_NE(log.back().find("succeeded"), std::string::npos);
}

TEST(Jobs, PaidAttemptsAreInTheLogBeforeTheyStart) {
  MemoryBackend* log = nullptr;
  std::atomic<bool> early = false;
  World world(
      [&](const EvaluationRequest& request) {
        bool found = false;
        for (const auto& line : canonical_log(*log, request.context->job)) {
          found = found || (line.find("\"asked\"") != line.npos &&
                            line.find("\"n\":" + std::to_string(request.trial) + ",") != line.npos);
        }
        if (!found) early = true;
        return two_valleys(request);
      },
      2, /*paid=*/true);
  log = &world.backend;
  World::finish(world.create(job_text(30, 4)));
  EXPECT_FALSE(early);
}

TEST(Jobs, DrainLetsFlightsLandAndLosesNothing) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(1000, 2));
  world.evaluator->wait_until_held(2);
  auto drained = std::async(std::launch::async, [&] { world.manager->drain(60); });
  world.evaluator->release();
  drained.get();
  world.manager.reset();
  const std::size_t told = World::told(job);
  EXPECT_GE(told, 2U);
  const auto log = canonical_log(world.backend, job->id());
  EXPECT_EQ(std::count_if(log.begin(), log.end(),
                          [](const auto& line) { return line.find("\"told\"") != line.npos; }),
            static_cast<std::ptrdiff_t>(told));
}

TEST(Jobs, AMissingEvaluatorIsSaidNotFatal) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(30, 2));
  world.evaluator->wait_until_held(2);
  const auto copy = truncated(world.backend, job->id(), 3);
  const auto without = test_catalog();
  JobManager manager(*copy, *without, {});
  ASSERT_TRUE(manager.recover().ok());
  const auto recovered = manager.find(job->id());
  recovered->wait([](JobStatus) { return false; });
  EXPECT_THAT(recovered->trouble(), HasSubstr("\"test\" is not configured"));
  ASSERT_TRUE(job->cancel().ok());
  world.evaluator->release();
}

}  // namespace
}  // namespace paretod
