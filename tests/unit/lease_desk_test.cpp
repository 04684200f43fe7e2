// Attempts that workers lease: what the log says of them, late and repeated results, silence,
// restarts.

#include "daemon/jobs/lease_desk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "daemon/jobs/job_manager.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::string job_text(std::size_t trials, std::size_t parallelism) {
  return R"({"optimizer":"random","evaluator":"external","seed":1,"space":[{"name":"x",)"
         R"("type":"real","low":0,"high":1}],"objectives":[{"name":"y"}],"budget":{"trials":)" +
         std::to_string(trials) + R"(},"parallelism":)" + std::to_string(parallelism) + "}";
}

EvaluationReply measured(double value) {
  EvaluationReply reply;
  reply.outcome.objectives = {{value}};
  reply.outcome.cost.seconds = -1;  // as of a worker that does not say
  return reply;
}

EvaluationReply failed(ReplyKind kind) {
  EvaluationReply reply;
  reply.kind = kind;
  reply.outcome = Outcome::failure(TrialStatus::failed, "broke");
  return reply;
}

/// A manager whose jobs are evaluated by the test.
struct World {
  World() { restart(); }
  void restart() {
    manager.reset();
    manager = std::make_unique<JobManager>(backend, *catalog, ManagerOptions{});
    ASSERT_TRUE(manager->recover().ok());
  }
  std::shared_ptr<Job> create(const std::string& text) {
    return manager->create(spec_from(text, *catalog), "", "")->job;
  }
  LeaseDesk& desk() { return manager->lease_desk(); }

  std::future<std::vector<Lease>> lease_later(const std::string& worker, std::size_t count,
                                              const std::string& request = "",
                                              std::chrono::milliseconds ttl = 1h,
                                              std::chrono::milliseconds patience = 1h) {
    auto promise = std::make_shared<std::promise<std::vector<Lease>>>();
    desk().lease({.worker = worker,
                  .evaluator = "external",
                  .job = "",
                  .count = count,
                  .patience = patience,
                  .ttl = ttl},
                 request, [promise](const LeaseDesk::Leases& leases) { promise->set_value(*leases); });
    return promise->get_future();
  }
  std::vector<Lease> lease(const std::string& worker, std::size_t count,
                           const std::string& request = "", std::chrono::milliseconds ttl = 1h) {
    return lease_later(worker, count, request, ttl).get();
  }
  ResultStatus finish(const std::string& lease, EvaluationReply reply) {
    std::promise<ResultStatus> promise;
    std::vector<std::pair<std::string, EvaluationReply>> replies;
    replies.emplace_back(lease, std::move(reply));
    desk().finish(std::move(replies), [&](const auto& statuses) {
      ASSERT_TRUE(statuses.has_value());
      promise.set_value(statuses->front());
    });
    return promise.get_future().get();
  }
  std::vector<std::string> kinds(const std::string& job) {
    std::vector<std::string> names;
    for (const auto& [id, text] : raw_log(backend, job)) {
      names.emplace_back(name_of(decode(text)->body));
    }
    return names;
  }

  MemoryBackend backend;
  std::unique_ptr<Catalog> catalog = test_catalog();
  std::unique_ptr<JobManager> manager;
};

/// Waits for an event of this kind in a job's log.
class EventWatch {
 public:
  EventWatch(std::shared_ptr<Job> job, std::string kind) : job_(std::move(job)) {
    token_ = job_->follow([this, kind = std::move(kind)](EventId, const Event& event) {
      if (name_of(event.body) != kind) return;
      const std::lock_guard lock(mutex_);
      seen_ = true;
      changed_.notify_all();
    });
  }
  ~EventWatch() { job_->unfollow(token_); }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return seen_; });
  }

 private:
  std::shared_ptr<Job> job_;
  std::uint64_t token_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool seen_ = false;
};

TEST(LeaseDesk, AnAttemptIsDurableBeforeItIsGivenOutAndItsResultBeforeItIsAccepted) {
  World world;
  const auto job = world.create(job_text(1, 1));
  const auto leases = world.lease("w", 4);
  ASSERT_EQ(leases.size(), 1U);
  EXPECT_THAT(leases[0].name, HasSubstr(job->id() + ":1:1:"));
  EXPECT_EQ(world.kinds(job->id()),
            (std::vector<std::string>{"owner", "created", "asked", "started"}));
  EXPECT_EQ(world.finish(leases[0].name, measured(0.5)), ResultStatus::accepted);
  EXPECT_EQ(world.kinds(job->id())[4], "told");
  job->wait([](JobStatus) { return false; });
  EXPECT_EQ(job->status(), JobStatus::succeeded);
}

TEST(LeaseDesk, ASecondResultIsADuplicateAndAStrangeOneUnknown) {
  World world;
  const auto job = world.create(job_text(5, 2));
  const auto leases = world.lease("w", 1);
  ASSERT_EQ(leases.size(), 1U);
  EXPECT_EQ(world.finish(leases[0].name, measured(0.5)), ResultStatus::accepted);
  EXPECT_EQ(world.finish(leases[0].name, measured(0.7)), ResultStatus::duplicate);
  EXPECT_EQ(world.finish(leases[0].name + "x", measured(0.7)), ResultStatus::unknown);
  EXPECT_EQ(world.finish("no-job:1:1:abc", measured(0.7)), ResultStatus::unknown);
  EXPECT_EQ(world.finish("", measured(0.7)), ResultStatus::unknown);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.told_order().size(), 1U);
    EXPECT_EQ(state.trials()[0].outcome->objectives[0].value, 0.5);
  });
}

TEST(LeaseDesk, SilenceEndsALeaseAndALateFirstResultStillCounts) {
  World world;
  const auto job = world.create(job_text(2, 1));
  EventWatch lost(job, "ended");
  const auto leases = world.lease("w", 1, "", 20ms);
  ASSERT_EQ(leases.size(), 1U);
  EXPECT_EQ(world.desk().beat(leases[0].name), Dispatcher::Beat::held);
  lost.wait();
  EXPECT_EQ(world.desk().beat(leases[0].name), Dispatcher::Beat::gone);
  EXPECT_EQ(world.finish(leases[0].name, measured(0.5)), ResultStatus::accepted);
  // Its second attempt is not given out any more.
  const auto next = world.lease("w", 4);
  ASSERT_EQ(next.size(), 1U);
  EXPECT_EQ(next[0].request.trial, 2U);
  EXPECT_EQ(world.finish(next[0].name, measured(0.4)), ResultStatus::accepted);
  job->wait([](JobStatus) { return false; });
  EXPECT_EQ(job->status(), JobStatus::succeeded);
}

TEST(LeaseDesk, TheSecondOfTwoAttemptsIsADuplicate) {
  World world;
  const auto job = world.create(job_text(2, 1));
  const auto first = world.lease("a", 1, "", 20ms);
  ASSERT_EQ(first.size(), 1U);
  const auto second = world.lease("b", 1);  // comes when the first is lost
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].request.trial, 1U);
  EXPECT_EQ(second[0].request.attempt, 2U);
  EXPECT_EQ(world.finish(first[0].name, measured(0.5)), ResultStatus::accepted);
  EXPECT_EQ(world.desk().beat(second[0].name), Dispatcher::Beat::cancelled);
  EXPECT_EQ(world.finish(second[0].name, measured(0.6)), ResultStatus::duplicate);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.told_order().size(), 1U);
    EXPECT_EQ(state.trials()[0].outcome->objectives[0].value, 0.5);
    EXPECT_EQ(state.trials()[0].outcome->attempts, 1U);
  });
}

TEST(LeaseDesk, ARestartLeavesLeasesToTheirWorkers) {
  World world;
  const std::string id = world.create(job_text(4, 2))->id();
  const auto leases = world.lease("w", 2);
  ASSERT_EQ(leases.size(), 2U);
  world.restart();
  EXPECT_EQ(world.desk().beat(leases[0].name), Dispatcher::Beat::held);
  EXPECT_EQ(world.finish(leases[0].name, measured(0.5)), ResultStatus::accepted);
  const auto next = world.lease("v", 4);
  ASSERT_EQ(next.size(), 1U) << "the other slot is still the old worker's";
  EXPECT_EQ(next[0].request.trial, 3U);
  EXPECT_EQ(world.finish(leases[1].name, measured(0.5)), ResultStatus::accepted);
  const auto job = world.manager->find(id);
  EXPECT_EQ(world.finish(next[0].name, measured(0.5)), ResultStatus::accepted);
  const auto last = world.lease("v", 4);
  ASSERT_EQ(last.size(), 1U);
  EXPECT_EQ(world.finish(last[0].name, measured(0.5)), ResultStatus::accepted);
  job->wait([](JobStatus) { return false; });
  job->with_state([](JobState& state) {
    for (const auto& trial : state.trials()) EXPECT_EQ(trial.outcome->attempts, 1U);
  });
}

TEST(LeaseDesk, ResultsCountWhileTheJobIsPaused) {
  World world;
  const auto job = world.create(job_text(2, 1));
  const auto leases = world.lease("w", 1);
  ASSERT_TRUE(job->pause("test").ok());
  EXPECT_EQ(world.desk().beat(leases[0].name), Dispatcher::Beat::held);
  world.restart();
  EXPECT_EQ(world.desk().beat(leases[0].name), Dispatcher::Beat::held)
      << "known from the log, though the job does not run";
  EXPECT_EQ(world.finish(leases[0].name, measured(0.5)), ResultStatus::accepted);
  EXPECT_EQ(world.finish(leases[0].name, measured(0.5)), ResultStatus::duplicate);
}

TEST(LeaseDesk, WhatIsReleasedIsGivenToAnother) {
  World world;
  const auto job = world.create(job_text(1, 1));
  const auto leases = world.lease("w", 1);
  EXPECT_TRUE(world.desk().release(leases[0].name));
  EXPECT_FALSE(world.desk().release(leases[0].name)) << "it is not open any more";
  const auto again = world.lease("v", 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].request.attempt, 2U);
  job->with_state([](JobState& state) { EXPECT_EQ(state.attempts().at(1).failures, 0U); });
}

TEST(LeaseDesk, ARepeatedRequestGetsTheSameAnswer) {
  World world;
  world.create(job_text(10, 10));
  const auto first = world.lease("w", 2, "r1");
  const auto repeat = world.lease("w", 2, "r1");
  ASSERT_EQ(first.size(), 2U);
  ASSERT_EQ(repeat.size(), 2U);
  EXPECT_EQ(first[0].name, repeat[0].name);
  EXPECT_NE(world.lease("w", 2, "r2")[0].name, first[0].name);
  EXPECT_NE(world.lease("v", 2, "r1")[0].name, first[0].name) << "another worker's";
}

TEST(LeaseDesk, WaitsForWorkAndANewRequestEndsTheWaitBefore) {
  World world;
  auto abandoned = world.lease_later("w", 1, "r1");
  auto waiting = world.lease_later("w", 1, "r2");
  EXPECT_TRUE(abandoned.get().empty());
  auto repeated = world.lease_later("w", 1, "r2");
  world.create(job_text(1, 1));
  const auto leases = waiting.get();
  ASSERT_EQ(leases.size(), 1U);
  EXPECT_EQ(repeated.get()[0].name, leases[0].name);
  EXPECT_TRUE(world.lease_later("v", 1, "", 1h, 0ms).get().empty()) << "no patience";
}

TEST(LeaseDesk, ACancelledJobTellsItsWorkers) {
  World world;
  const auto job = world.create(job_text(2, 1));
  const auto leases = world.lease("w", 1);
  ASSERT_TRUE(job->cancel().ok());
  EXPECT_EQ(world.desk().beat(leases[0].name), Dispatcher::Beat::cancelled);
}

TEST(LeaseDesk, AWorkerThatBrokeATrialIsNotGivenItAgainAtOnce) {
  World world;
  const auto job = world.create(job_text(2, 2));
  const auto both = world.lease("a", 2);
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(world.finish(both[0].name, failed(ReplyKind::fault)), ResultStatus::accepted);
  auto same = world.lease_later("a", 1);
  auto other = world.lease_later("b", 1);
  const auto got = other.get();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].request.trial, both[0].request.trial);
  EXPECT_EQ(world.finish(got[0].name, failed(ReplyKind::fault)), ResultStatus::accepted);
  EXPECT_EQ(world.finish(both[1].name, measured(1)), ResultStatus::accepted);
  job->wait([](JobStatus) { return false; });
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.trials()[0].outcome->status, TrialStatus::failed);
    EXPECT_THAT(state.trials()[0].outcome->reason, HasSubstr("poison"));
  });
  world.manager.reset();
  EXPECT_TRUE(same.get().empty()) << "waited to the end";
}

TEST(LeaseDesk, OnlyOneJobsWorkOnRequest) {
  World world;
  const auto first = world.create(job_text(5, 5));
  const auto second = world.create(job_text(5, 5));
  std::promise<std::vector<Lease>> promise;
  world.desk().lease({.worker = "w",
                      .evaluator = "external",
                      .job = second->id(),
                      .count = 3,
                      .patience = 1h},
                     "", [&](const LeaseDesk::Leases& leases) { promise.set_value(*leases); });
  for (const Lease& lease : promise.get_future().get()) {
    EXPECT_EQ(lease.request.context->job, second->id());
  }
}

}  // namespace
}  // namespace paretod
