// What a job spec may not be, each with the field that the answer has to name; and jobs that start
// from what is known.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "adapters/json/parse.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* good = R"({
  "optimizer": {"name": "nsga2", "params": {"population": 8}},
  "evaluator": "zdt1",
  "space": [{"name": "x1", "type": "real", "low": 0, "high": 1},
            {"name": "x2", "type": "real", "low": 0, "high": 1}],
  "budget": {"trials": 40}, "parallelism": 2, "seed": 3
})";

struct BadJob {
  const char* what;
  const char* patch;  ///< merged into the good one (RFC 7396)
  const char* pointer;
  const char* says;
};

class JobSpecRefuses : public testing::TestWithParam<BadJob> {};

TEST_P(JobSpecRefuses, AndNamesTheField) {
  const auto catalog = test_catalog();
  json document = json::parse(good);
  document.merge_patch(json::parse(GetParam().patch));
  const auto spec = job_spec_from_json(document, *catalog);
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.error().kind, ErrorKind::invalid);
  EXPECT_THAT(spec.error().text(), HasSubstr(std::string(GetParam().pointer) + ": "));
  EXPECT_THAT(spec.error().text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Each, JobSpecRefuses,
    testing::Values(
        BadJob{"unknown optimizer", R"({"optimizer":"nsga9"})", "/optimizer",
               "known: autodiffusion, cmaes"},
        BadJob{"unknown evaluator", R"({"evaluator":"zdt9"})", "/evaluator", "configured:"},
        BadJob{"one objective for nsga3", R"({"optimizer":"nsga3","evaluator":"sphere"})",
               "/objectives", "at least two"},
        BadJob{"population beyond the budget", R"({"optimizer":{"params":{"population":50}}})",
               "/optimizer/params/population", "larger than the budget"},
        BadJob{"population too small", R"({"optimizer":{"params":{"population":2}}})",
               "/optimizer/params/population", "4"},
        BadJob{"population not a multiple of four for pagmo",
               R"({"optimizer":{"name":"pagmo","params":{"algorithm":"nsga2","population":10}}})",
               "/optimizer/params/population", "multiple of 4"},
        BadJob{"unknown parameter", R"({"optimizer":{"params":{"popsize":8}}})",
               "/optimizer/params/popsize", "known: population"},
        BadJob{"empty space", R"({"space":[]})", "/space", "at least one parameter"},
        BadJob{"low above high", R"({"space":[{"name":"x1","type":"real","low":2,"high":1}]})",
               "/space/0/low", "not be greater"},
        BadJob{"bound that is no number",
               R"({"space":[{"name":"x1","type":"real","low":"NaN","high":1}]})", "/space/0/low",
               "number"},
        BadJob{"duplicate name",
               R"({"space":[{"name":"x1","type":"boolean"},{"name":"x1","type":"boolean"}]})",
               "/space/1/name", "already called"},
        BadJob{"condition that cannot hold",
               R"({"space":[{"name":"a","type":"integer","low":0,"high":3},
                            {"name":"b","type":"boolean","when":{"a":[7]}}]})",
               "/space/1/when/a/0", "never"},
        BadJob{"condition on nothing",
               R"({"space":[{"name":"b","type":"boolean","when":{"a":[7]}}]})", "/space/0/when",
               "no parameter before"},
        BadJob{"categorical for cmaes",
               R"({"optimizer":"cmaes","evaluator":"sphere",
                   "space":[{"name":"c","type":"categorical","choices":["a","b"]}]})",
               "/space/0", "nsga2"},
        BadJob{"confidence", R"({"noise":{"confidence":0.3}})", "/noise/confidence",
               "at least 0.5"},
        BadJob{"replicates", R"({"noise":{"replicates":0}})", "/noise/replicates", "1 to 10000"},
        BadJob{"tolerance", R"({"stagnation":{"trials":9,"tolerance":0}})", "/stagnation/tolerance",
               "greater than 0"},
        BadJob{"stagnation without trials", R"({"stagnation":{}})", "/stagnation/trials",
               "required"},
        BadJob{"initial point out of bounds", R"({"initial":[{"x1":0,"x2":7}]})", "/initial/0/x2",
               "[0, 1]"},
        BadJob{"initial point twice", R"({"initial":[{"x1":0,"x2":1},{"x1":0,"x2":1}]})",
               "/initial/1", "same as an earlier"},
        BadJob{"import without a job", R"({"import":{"trials":5}})", "/import/job", "required"},
        BadJob{"too many imports", R"({"import":{"job":"a","trials":5000}})", "/import/trials",
               "between 1 and 1000"},
        BadJob{"unknown field", R"({"warmstart":[]})", "/warmstart", "no such field"}),
    [](const auto& instance) {
      std::string name;
      for (const char c : std::string(instance.param.what)) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
      }
      return name;
    });

TEST(JobSpec, RoundTripsWithEverythingThatStartsASearch) {
  const auto catalog = test_catalog();
  json document = json::parse(good);
  document.merge_patch(json::parse(R"({
    "initial":[{"x1":0.25,"x2":0},{"x1":1,"x2":0.5}], "import":{"job":"other","trials":7},
    "noise":{"confidence":0.9,"replicates":4}, "stagnation":{"trials":20,"tolerance":0.01}})"));
  const auto spec = job_spec_from_json(document, *catalog);
  ASSERT_TRUE(spec.ok()) << spec.error().text();
  const json stored = to_json(*spec);
  const auto back = stored_job_spec(stored);
  ASSERT_TRUE(back.ok()) << back.error().text();
  EXPECT_EQ(to_json(*back), stored);
  EXPECT_EQ(back->problem().initial.size(), 2U);
  EXPECT_EQ(back->problem().noise.confidence, 0.9);
}

// ---- importing ---------------------------------------------------------------------------------

struct Imports : testing::Test {
  std::unique_ptr<Catalog> catalog = test_catalog();
  MemoryBackend backend;
  std::string first = run_to_end(backend, *catalog, spec_from(good, *catalog));

  std::string text(const std::string& patch) const {
    json document = json::parse(good);
    document.merge_patch(json::parse(patch));
    return document.dump();
  }
  std::string importing(std::size_t parallelism) const {
    return text(R"({"import":{"job":")" + first + R"(","trials":20},"seed":4,"parallelism":)" +
                std::to_string(parallelism) + "}");
  }
  std::unique_ptr<JobManager> manager() {
    auto made = std::make_unique<JobManager>(backend, *catalog, ManagerOptions{});
    EXPECT_TRUE(made->recover().ok());
    return made;
  }
};

TEST_F(Imports, TrialsOfAnotherJobAreKnownAndCostNoBudget) {
  const auto jobs = manager();
  const auto created = jobs->create(spec_from(importing(2), *catalog), "", "");
  ASSERT_TRUE(created.ok()) << created.error().text();
  created->job->wait([](JobStatus) { return false; });
  created->job->with_state([&](JobState& state) {
    EXPECT_EQ(state.status(), JobStatus::succeeded);
    EXPECT_EQ(state.imported(), 20U);
    EXPECT_EQ(state.told_order().size(), 60U) << "twenty known, forty evaluated";
    EXPECT_THAT(state.trials()[0].candidate.tag, HasSubstr("import:" + first + ":"));
    std::set<Point> points;
    for (const TrialRecord& trial : state.trials()) points.insert(trial.candidate.point);
    EXPECT_EQ(points.size(), 60U) << "nothing known is evaluated again";
  });
}

TEST_F(Imports, ACrashAnywhereLeavesNoTrace) {
  const auto spec = spec_from(importing(1), *catalog);
  std::string id;
  {
    const auto jobs = manager();
    const auto created = jobs->create(spec, "", "");
    ASSERT_TRUE(created.ok());
    created->job->wait([](JobStatus) { return false; });
    id = created->job->id();
  }
  const auto whole = canonical_log(backend, id);
  for (std::size_t events = 2; events <= whole.size(); events += 3) {
    const auto crashed = truncated(backend, id, events);
    recover_to_end(*crashed, *catalog);  // without the job it imported from
    ASSERT_EQ(canonical_log(*crashed, id), whole) << events;
  }
}

TEST_F(Imports, CountWhereAnOptimizerNeedsTrials) {
  const auto jobs = manager();
  const auto answer = [&](std::uint64_t imported, std::uint64_t trials) {
    json document = json::parse(text(R"({"optimizer":"map"})"));
    document["import"] = {{"job", first}, {"trials", imported}};
    document["budget"]["trials"] = trials;
    const auto created = jobs->create(spec_from(document.dump(), *catalog), "", "");
    if (!created) return created.error().text();
    created->job->wait([](JobStatus) { return false; });
    return created->job->with_state([](JobState& state) {
      return std::string(name_of(state.status())) + " with " +
             std::to_string(state.told_order().size() - state.imported());
    });
  };
  // Six coefficients and three points to judge them by.
  EXPECT_EQ(answer(8, 4), "succeeded with 4");
  const std::string few = answer(3, 4);
  EXPECT_THAT(few, HasSubstr("/budget/trials: map fits 6 coefficients"));
  EXPECT_THAT(few, HasSubstr("at least 6 trials"));
}

TEST_F(Imports, AreRefusedFromUnknownOrDifferentJobs) {
  const auto jobs = manager();
  const auto refusal = [&](const std::string& patch) {
    const auto created = jobs->create(spec_from(text(patch), *catalog), "", "");
    return created ? std::string("accepted") : created.error().text();
  };
  EXPECT_THAT(refusal(R"({"import":{"job":"nobody"}})"), HasSubstr("/import/job: there is no job"));
  EXPECT_THAT(refusal(R"({"import":{"job":")" + first + R"("},"evaluator":"zdt2","space":[
                {"name":"x1","type":"real","low":0,"high":0.5},
                {"name":"x2","type":"real","low":0,"high":1}]})"),
              HasSubstr("/import/job: its search space or objectives"));
}

}  // namespace
}  // namespace paretod
