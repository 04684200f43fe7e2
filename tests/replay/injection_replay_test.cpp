// Injected trials and crashes: wherever the log is cut, what was in it stays, every trial is told
// once, and an optimizer that takes injected trials meets them at the same place again.

#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <nlohmann/json.hpp>
#include <set>

#include "daemon/jobs/offline_replay.hpp"
#include "evaluators/registry.hpp"
#include "optimizers/registry.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using nlohmann::json;

struct ListenerParams {};

}  // namespace

template <>
Fields<ListenerParams> describe() {
  return {};
}

namespace {

/// Asks for points that depend on everything it was told, injected trials above all.
Report listen(const SearchProblem& problem, const ListenerParams&, Evaluations& evaluations) {
  double sum = 0;
  std::uint64_t drawn = 0;
  while (true) {
    while (evaluations.slot_free()) {
      Rng rng(problem.seed, ++drawn);
      evaluations.submit({{rng.uniform(), 0.5 + 0.5 * std::sin(sum)}});
    }
    if (evaluations.in_flight() == 0) return {"budget", {}, {}};
    sum += evaluations.next().objectives[0];
    for (const Trial& trial : evaluations.injected()) {
      sum += 100 * trial.objectives[1] + static_cast<double>(trial.number);
    }
  }
}

std::vector<Optimizer> optimizers() {
  auto all = builtin_optimizers();
  all.push_back(make_optimizer<ListenerParams>(
      "listener", 1, "test", "test",
      [](const SearchProblem&, const ListenerParams&) { return Problems(); }, listen));
  return all;
}

std::unique_ptr<Catalog> catalog(std::size_t slots,
                                 FunctionEvaluator::Function function = two_valleys) {
  std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> evaluators;
  evaluators.emplace_back("test", std::make_unique<FunctionEvaluator>(std::move(function), slots));
  return std::move(Catalog::make(optimizers(), std::move(evaluators)).value());
}

std::string job_text(const std::string& optimizer, std::size_t parallelism) {
  const std::string params = optimizer == "nsga2" ? R"(,"params":{"population":8})"
                             : optimizer == "map" ? R"(,"params":{"tolerance":0})"
                                                  : "";
  return R"({"optimizer":{"name":")" + optimizer + "\"" + params +
         R"(},"evaluator":"test","seed":5,)" +
         R"("space":[{"name":"x","type":"real","low":0,"high":1},)"
         R"({"name":"y","type":"real","low":0,"high":1}],)"
         R"("objectives":[{"name":"a"},{"name":"b"}],"budget":{"trials":24},"parallelism":)" +
         std::to_string(parallelism) + "}";
}

InjectedEvent three_points() {
  return {
      0,
      {{{0.1, 0.9}, 0, 0, "verify"}, {{0.2, 0.8}, 0, 0, "verify"}, {{0.3, 0.7}, 0, 0, "verify"}},
      "key",
      "digest"};
}

struct Case {
  std::string optimizer;
  std::size_t parallelism;
};

class Injected : public testing::TestWithParam<Case> {};

/// A job with three trials injected while it runs and three when it has ended.
std::string run_with_injections(MemoryBackend& backend, const Case& how) {
  std::promise<void> reached;
  std::promise<void> open;
  const auto gate = [&](const EvaluationRequest& request) {
    if (request.trial == 5) {
      reached.set_value();
      open.get_future().wait();
    }
    return two_valleys(request);
  };
  const auto catalog_of_it = catalog(how.parallelism, gate);
  JobManager manager(backend, *catalog_of_it, {});
  const JobSpec spec = spec_from(job_text(how.optimizer, how.parallelism), *catalog_of_it);
  const auto job = manager.create(spec, "", "")->job;
  reached.get_future().wait();
  EXPECT_TRUE(manager.inject(job, three_points()).ok());
  open.set_value();
  job->wait([](JobStatus) { return false; });
  InjectedEvent later = three_points();
  later.key = "later";
  for (Candidate& candidate : later.candidates) candidate.replicate = 1;
  EXPECT_TRUE(manager.inject(job, later).ok());
  wait_until_told(*job, 30);
  return job->id();
}

TEST_P(Injected, TrialsSurviveACrashAtEveryEvent) {
  MemoryBackend backend;
  const std::string id = run_with_injections(backend, GetParam());
  const std::size_t events = raw_log(backend, id).size();
  for (std::size_t cut = 2; cut <= events; ++cut) {
    const auto crashed = truncated(backend, id, cut);
    const auto before = canonical_log(*crashed, id);
    const auto catalog_of_it = catalog(GetParam().parallelism);
    JobManager manager(*crashed, *catalog_of_it, {});
    ASSERT_TRUE(manager.recover().ok());
    const auto job = manager.find(id);
    // Whoever asked for them asks again until there is an answer.
    ASSERT_TRUE(manager.inject(job, three_points()).ok()) << "crashed after event " << cut;
    job->wait([](JobStatus) { return false; });
    ASSERT_EQ(job->status(), JobStatus::succeeded) << "crashed after event " << cut;
    wait_until_told(*job, 27);
    const auto asked = job->with_state([](JobState& state) { return state.trials().size(); });
    wait_until_told(*job, asked);
    const auto after = canonical_log(*crashed, id);
    ASSERT_TRUE(std::equal(before.begin(), before.end(), after.begin())) << "a prefix stays";
    job->with_state([&](JobState& state) {
      EXPECT_EQ(state.injected(), asked - 24);
      EXPECT_TRUE(state.open_injections().empty());
      const std::set<TrialNumber> told(state.told_order().begin(), state.told_order().end());
      EXPECT_EQ(told.size(), asked);
    });
    std::string text;
    for (const auto& [event_id, event] : raw_log(*crashed, id)) {
      text += json{{"id", event_id.text()}, {"event", json::parse(event)}}.dump() + "\n";
    }
    const auto verdict = replay_export(text, optimizers());
    ASSERT_TRUE(verdict.ok());
    ASSERT_EQ(verdict->mismatch, "") << "crashed after event " << cut;
    EXPECT_EQ(verdict->trials, 24U);
  }
}

INSTANTIATE_TEST_SUITE_P(Searches, Injected,
                         testing::Values(Case{"listener", 1}, Case{"listener", 4}, Case{"map", 1},
                                         Case{"map", 3}, Case{"random", 3}, Case{"nsga2", 3},
                                         Case{"sobol", 1}),
                         [](const auto& instance) {
                           return instance.param.optimizer + "_" +
                                  std::to_string(instance.param.parallelism);
                         });

TEST(InjectedOnce, AListenersSearchDependsOnThem) {
  MemoryBackend with;
  const auto canonical = [](MemoryBackend& backend, const std::string& id) {
    std::vector<std::string> points;
    for (const std::string& line : canonical_log(backend, id)) {
      const json event = json::parse(line);
      if (event["e"] == "asked") points.push_back(event["p"]);
    }
    return points;
  };
  const auto disturbed = canonical(with, run_with_injections(with, {"listener", 1}));
  MemoryBackend without;
  const auto catalog_of_it = catalog(1);
  const std::string id =
      run_to_end(without, *catalog_of_it, spec_from(job_text("listener", 1), *catalog_of_it));
  const auto plain = canonical(without, id);
  ASSERT_EQ(plain.size(), disturbed.size());
  EXPECT_NE(plain, disturbed);
  EXPECT_TRUE(std::equal(plain.begin(), plain.begin() + 4, disturbed.begin()));
}

}  // namespace
}  // namespace paretod
