// Trials that the optimizer did not ask for: their event, its fold, and the life of jobs with them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemon/jobs/offline_replay.hpp"
#include "optimizers/registry.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::string job_text(std::size_t trials, std::size_t parallelism = 1,
                     const std::string& budget = "") {
  return R"({"optimizer":"random","evaluator":"test","seed":1,)"
         R"("space":[{"name":"x","type":"real","low":-1,"high":2},)"
         R"({"name":"y","type":"real","low":-1,"high":2}],)"
         R"("objectives":[{"name":"a"},{"name":"b"}],"budget":{"trials":)" +
         std::to_string(trials) + budget + R"(},"parallelism":)" + std::to_string(parallelism) +
         "}";
}

InjectedEvent request(std::vector<Point> points, const std::string& key = "",
                      const std::string& digest = "") {
  InjectedEvent event{0, {}, key, digest};
  for (Point& point : points) event.candidates.push_back({std::move(point), 0, 0, "verify"});
  return event;
}

struct World {
  explicit World(FunctionEvaluator::Function function = two_valleys, std::size_t slots = 2,
                 bool paid = false) {
    auto owned = std::make_unique<FunctionEvaluator>(std::move(function), slots, paid);
    evaluator = owned.get();
    catalog = test_catalog(std::move(owned));
    restart();
  }
  /// As after a crash: a new manager over the same log.
  void restart() {
    manager.reset();
    manager = std::make_unique<JobManager>(backend, *catalog, ManagerOptions{});
    EXPECT_TRUE(manager->recover().ok());
  }
  std::shared_ptr<Job> create(const std::string& text) {
    return manager->create(spec_from(text, *catalog), "", "")->job;
  }
  std::shared_ptr<Job> finished(const std::string& text) {
    auto job = create(text);
    job->wait([](JobStatus) { return false; });
    return job;
  }
  std::string exported(const std::string& id) {
    std::string text;
    for (const auto& [event_id, event] : raw_log(backend, id)) {
      text += json{{"id", event_id.text()}, {"event", json::parse(event)}}.dump() + "\n";
    }
    return text;
  }

  MemoryBackend backend;
  FunctionEvaluator* evaluator = nullptr;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<JobManager> manager;
};

TEST(Injection, ItsEventReadsBackAsItWas) {
  const Event event{17,
                    InjectedEvent{7, {{{0.25, -1}, 3, 2, "verify"}, {{1, 1e-300}}}, "k-1", "abc"}};
  const std::string text = encode(event);
  const auto read = decode(text);
  ASSERT_TRUE(read.ok()) << read.error().message;
  const auto& injected = std::get<InjectedEvent>(read->body);
  EXPECT_EQ(injected.first, 7U);
  ASSERT_EQ(injected.candidates.size(), 2U);
  EXPECT_TRUE(injected.candidates[0].same_as({{0.25, -1}, 3, 2, "verify"}));
  EXPECT_TRUE(injected.candidates[1].same_as({{1, 1e-300}}));
  EXPECT_EQ(injected.key, "k-1");
  EXPECT_EQ(injected.request_digest, "abc");
  EXPECT_EQ(encode(*read), text);
}

TEST(Injection, TrialsOfAnEndedJobJoinItsFrontOnTopOfItsBudget) {
  World world;
  const auto job = world.finished(job_text(10));
  const auto injected = world.manager->inject(job, request({{0.5, 0}, {0, 0}}));
  ASSERT_TRUE(injected.ok()) << injected.error().message;
  EXPECT_EQ(injected->first, 11U);
  wait_until_told(*job, 12);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.status(), JobStatus::succeeded);
    EXPECT_EQ(state.injected(), 2U);
    EXPECT_TRUE(state.open_injections().empty());
    EXPECT_TRUE(state.trials()[11].injected);
    EXPECT_EQ(state.trials()[11].candidate.tag, "verify");
    // (0, 0) is the best there is in the first objective.
    const auto& front = state.front();
    EXPECT_EQ(state.measured()[front.id(0)].first_trial, 12U);
  });
  const auto verdict = replay_export(world.exported(job->id()), builtin_optimizers());
  ASSERT_TRUE(verdict.ok());
  EXPECT_EQ(verdict->mismatch, "");
  EXPECT_TRUE(verdict->complete);
  EXPECT_EQ(verdict->trials, 10U);
}

TEST(Injection, ARunningSearchGoesOnAsIfNothingHappened) {
  World reference;
  const auto undisturbed = reference.finished(job_text(20));

  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(20));
  world.evaluator->wait_until_held(1);
  const auto injected = world.manager->inject(job, request({{0.5, 0}, {0.25, 0}, {0.75, 0}}));
  ASSERT_TRUE(injected.ok());
  EXPECT_EQ(injected->first, 2U);  // one trial is in flight
  world.evaluator->release();
  job->wait([](JobStatus) { return false; });
  wait_until_told(*job, 23);
  std::vector<Point> own;
  job->with_state([&](JobState& state) {
    EXPECT_EQ(state.trials().size(), 23U);
    for (const TrialRecord& record : state.trials()) {
      if (!record.injected) own.push_back(record.candidate.point);
    }
  });
  std::vector<Point> wanted;
  undisturbed->with_state([&](JobState& state) {
    for (const TrialRecord& record : state.trials()) wanted.push_back(record.candidate.point);
  });
  EXPECT_EQ(own, wanted);
}

TEST(Injection, WhatACrashLeftOpenIsMeasuredAfterwards) {
  World world;
  const auto id = world.finished(job_text(5))->id();
  world.evaluator->hold();
  ASSERT_TRUE(world.manager->inject(world.manager->find(id), request({{0.5, 0}, {0, 0}})).ok());
  world.evaluator->wait_until_held(1);
  // Only what was durable is left.
  auto crashed = truncated(world.backend, id, raw_log(world.backend, id).size());
  world.evaluator->release();
  JobManager manager(*crashed, *world.catalog, {});
  ASSERT_TRUE(manager.recover().ok());
  const auto job = manager.find(id);
  wait_until_told(*job, 7);
  EXPECT_EQ(job->status(), JobStatus::succeeded);
}

TEST(Injection, AnEndedJobOfAnEarlierProcessTakesThem) {
  World world;
  const auto id = world.finished(job_text(5))->id();
  world.restart();
  const auto job = world.manager->find(id);
  ASSERT_TRUE(job->needs_log());
  ASSERT_TRUE(world.manager->inject(job, request({{0.5, 0}})).ok());
  wait_until_told(*job, 6);
  world.restart();
  const auto again = world.manager->find(id);
  again->with_state([](JobState& state) {
    EXPECT_EQ(state.told_order().size(), 6U);
    EXPECT_EQ(state.injected_told(), 1U);
  });
  ASSERT_TRUE(world.manager->inject(again, request({{0.25, 0}})).ok());
  wait_until_told(*again, 7);
}

TEST(Injection, ARepeatedRequestAsksForNothingMore) {
  World world;
  const auto job = world.finished(job_text(5));
  const auto first = world.manager->inject(job, request({{0.5, 0}, {0, 0}}, "key", "digest"));
  ASSERT_TRUE(first.ok());
  world.restart();
  const auto same = world.manager->find(job->id());
  const auto second = world.manager->inject(same, request({{0.5, 0}, {0, 0}}, "key", "digest"));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->first, first->first);
  EXPECT_EQ(second->count, 2U);
  const auto other = world.manager->inject(same, request({{1, 0}}, "key", "another"));
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message, HasSubstr("Idempotency-Key"));
  wait_until_told(*same, 7);
  same->with_state([](JobState& state) { EXPECT_EQ(state.trials().size(), 7U); });
}

TEST(Injection, APausedJobIsResumedFirst) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(10));
  world.evaluator->wait_until_held(1);
  ASSERT_TRUE(job->pause("").ok());
  const auto refused = world.manager->inject(job, request({{0.5, 0}}));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("resume"));
  world.evaluator->release();
  ASSERT_TRUE(job->resume().ok());
  // One that is paused with them in flight, and resumed, has them measured.
  world.evaluator->hold();
  ASSERT_TRUE(world.manager->inject(job, request({{0.5, 0}, {0, 0}})).ok());
  ASSERT_TRUE(job->pause("").ok());
  world.evaluator->release();
  ASSERT_TRUE(job->resume().ok());
  job->wait([](JobStatus) { return false; });
  wait_until_told(*job, 12);
}

TEST(Injection, CancellingDropsThemAndTheEndedJobTakesNewOnes) {
  World world;
  world.evaluator->hold();
  const auto job = world.create(job_text(10));
  world.evaluator->wait_until_held(1);
  ASSERT_TRUE(world.manager->inject(job, request({{0.5, 0}, {0, 0}})).ok());
  ASSERT_TRUE(job->cancel().ok());
  job->with_state([](JobState& state) { EXPECT_TRUE(state.open_injections().empty()); });
  world.evaluator->release();
  const auto again = world.manager->inject(job, request({{1, 0}}));
  ASSERT_TRUE(again.ok());
  wait_until_told(*job, 1);
  job->with_state(
      [&](JobState& state) { EXPECT_THAT(state.told_order(), ElementsAre(again->first)); });
}

TEST(Injection, CapsHoldForThemToo) {
  const auto costly = [](const EvaluationRequest& request) {
    EvaluationReply reply = two_valleys(request);
    reply.outcome.cost.seconds = 2;
    return reply;
  };
  World world(costly);
  // Five trials of two seconds leave room for one more to begin, and then for none.
  const auto job = world.finished(job_text(5, 1, R"(,"evaluation_s":11)"));
  const auto injected = world.manager->inject(job, request({{0.5, 0}, {0, 0}}));
  ASSERT_TRUE(injected.ok()) << injected.error().message;
  wait_until_told(*job, 7);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.count(TrialStatus::ok), 6U);
    const Outcome& refused = *state.trials()[6].outcome;
    EXPECT_EQ(refused.status, TrialStatus::failed);
    EXPECT_THAT(refused.reason, HasSubstr("evaluation_s"));
    EXPECT_EQ(refused.attempts, 0U);
  });
  const auto refused = world.manager->inject(job, request({{1, 0}}));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("has no room for another evaluation"));
}

TEST(Injection, PaidOnesAreInTheLogBeforeTheyBegin) {
  World world(two_valleys, 1, /*paid=*/true);
  const auto job = world.finished(job_text(3));
  ASSERT_TRUE(world.manager->inject(job, request({{0.5, 0}})).ok());
  wait_until_told(*job, 4);
  std::vector<std::string> kinds;
  for (const auto& [id, text] : raw_log(world.backend, job->id())) {
    kinds.push_back(json::parse(text)["e"]);
  }
  ASSERT_GE(kinds.size(), 4U);
  kinds.erase(kinds.begin(), kinds.end() - 4);
  EXPECT_THAT(kinds, ElementsAre("finished", "injected", "started", "told"));
}

TEST(Injection, NothingElseFollowsTheEndOfAJob) {
  World world;
  const auto job = world.finished(job_text(3));
  job->with_state([](JobState& state) {
    EXPECT_FALSE(state.may_follow(AskedEvent{4, {{0, 0}}}));
    EXPECT_FALSE(state.may_follow(ToldEvent{3, {}}));
    EXPECT_FALSE(state.may_follow(ExtendedEvent{}));
    EXPECT_FALSE(state.may_follow(FinishedEvent{}));
    EXPECT_TRUE(state.may_follow(InjectedEvent{4, {{{0, 0}}}}));
  });
}

}  // namespace
}  // namespace paretod
