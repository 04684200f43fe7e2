// Crash at every ordinal (DESIGN 1.3): a log cut after any event and continued by a fresh daemon
// ends up equal to the undisturbed one.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "daemon/jobs/offline_replay.hpp"
#include "optimizers/registry.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// Of suitable_jobs().
constexpr std::size_t job_count = 12;

class EveryOptimizer : public testing::TestWithParam<std::size_t> {
 protected:
  static std::pair<std::string, std::string> job(std::size_t parallelism) {
    return suitable_jobs(parallelism)[GetParam()];
  }
};

TEST_P(EveryOptimizer, CrashedAtEveryEventContinuesToTheIdenticalLog) {
  const auto catalog = test_catalog();
  const JobSpec spec = spec_from(job(1).second, *catalog);
  MemoryBackend backend;
  const std::string id = run_to_end(backend, *catalog, spec);
  const auto whole = canonical_log(backend, id);
  ASSERT_GT(whole.size(), 40U);
  ASSERT_NE(whole.back().find("succeeded"), std::string::npos) << whole.back();
  for (std::size_t events = 2; events < whole.size() + 1; ++events) {
    const auto crashed = truncated(backend, id, events);
    recover_to_end(*crashed, *catalog);
    ASSERT_EQ(canonical_log(*crashed, id), whole) << "crashed after event " << events;
  }
}

TEST_P(EveryOptimizer, ParallelRunsLoseAndDoubleNothingWhereverTheyCrash) {
  const auto catalog = test_catalog();
  const JobSpec spec = spec_from(job(5).second, *catalog);
  MemoryBackend backend;
  const std::string id = run_to_end(backend, *catalog, spec);
  const std::size_t events = raw_log(backend, id).size();
  for (std::size_t cut = 2; cut < events; cut += 3) {
    const auto crashed = truncated(backend, id, cut);
    const auto before = canonical_log(*crashed, id);
    recover_to_end(*crashed, *catalog);
    const auto after = canonical_log(*crashed, id);
    ASSERT_TRUE(std::equal(before.begin(), before.end(), after.begin())) << "a prefix stays";
    std::multiset<std::uint64_t> asked;
    std::multiset<std::uint64_t> told;
    for (const std::string& line : after) {
      const json event = json::parse(line);
      if (event["e"] == "asked") asked.insert(event["n"].get<std::uint64_t>());
      if (event["e"] == "told") told.insert(event["n"].get<std::uint64_t>());
    }
    EXPECT_EQ(asked, told);
    EXPECT_EQ(std::set<std::uint64_t>(told.begin(), told.end()).size(), told.size());
    EXPECT_NE(after.back().find("succeeded"), std::string::npos) << after.back();
  }
}

TEST_P(EveryOptimizer, ExportsReplayOffline) {
  const auto catalog = test_catalog();
  const JobSpec spec = spec_from(job(3).second, *catalog);
  MemoryBackend backend;
  const std::string id = run_to_end(backend, *catalog, spec);
  std::string text;
  std::size_t asked = 0;
  for (const auto& [event_id, event] : raw_log(backend, id)) {
    asked += event.find("\"asked\"") != event.npos ? 1 : 0;
    text += json{{"id", event_id.text()}, {"event", json::parse(event)}}.dump() + "\n";
  }
  const auto verdict = replay_export(text, builtin_optimizers());
  ASSERT_TRUE(verdict.ok()) << verdict.error().text();
  EXPECT_EQ(verdict->mismatch, "");
  EXPECT_TRUE(verdict->complete);
  EXPECT_EQ(verdict->trials, asked);
  EXPECT_GT(asked, 20U);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryOptimizer, testing::Range<std::size_t>(0, job_count),
                         [](const auto& instance) {
                           return suitable_jobs(1)[instance.param].first + "_" +
                                  std::to_string(instance.param);
                         });

TEST(Registry, EveryOptimizerHasAReplayJob) {
  std::set<std::string> covered;
  for (const auto& [name, spec] : suitable_jobs(1)) covered.insert(name);
  EXPECT_EQ(suitable_jobs(1).size(), job_count);
  for (const auto& optimizer : builtin_optimizers()) {
    EXPECT_TRUE(covered.contains(optimizer.name)) << optimizer.name;
  }
}

TEST(Replay, AChangedPointMakesTheJobDivergedAndKeepsItsResults) {
  const auto catalog = test_catalog();
  const JobSpec spec = spec_from(suitable_jobs(1)[0].second, *catalog);
  MemoryBackend backend;
  const std::string id = run_to_end(backend, *catalog, spec);
  // Half a log, in which the point of the last asked trial is another one.
  std::vector<std::string> events;
  std::size_t told = 0;
  for (const auto& [event_id, text] : raw_log(backend, id)) {
    if (events.size() == 20) break;
    json event = json::parse(text);
    if (event["e"] == "told") ++told;
    events.push_back(text);
  }
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    json j = json::parse(*event);
    if (j["e"] != "asked") continue;
    auto& point = j["p"].get_ref<std::string&>();
    point[3] = point[3] == 'A' ? 'B' : 'A';
    *event = j.dump();
    break;
  }
  MemoryBackend tampered;
  ASSERT_TRUE(tampered.create(id, events).ok());
  JobManager manager(tampered, *catalog, {});
  ASSERT_TRUE(manager.recover().ok());
  const auto job = manager.find(id);
  job->wait([](JobStatus) { return false; });
  EXPECT_EQ(job->status(), JobStatus::diverged);
  job->with_state([&](JobState& state) {
    EXPECT_EQ(state.told_order().size(), told);
    EXPECT_NE(state.status_reason().find("another point"), std::string::npos);
  });
}

}  // namespace
}  // namespace paretod
