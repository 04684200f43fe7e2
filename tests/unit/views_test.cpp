// The pure parts of the REST API: texts, queries, problems, views, metrics.
#include "daemon/rest/views.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemon/rest/front_view.hpp"
#include "daemon/rest/history_view.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/metrics.hpp"
#include "daemon/rest/plausible_points.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/query.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using nlohmann::json;

TEST(TimeText, IsRfc3339WithMilliseconds) {
  EXPECT_EQ(time_text(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time_text(1'709'210'096'007), "2024-02-29T12:34:56.007Z");
  EXPECT_EQ(time_text(-1), "1969-12-31T23:59:59.999Z");
}

TEST(JsonText, RepairsWhatIsNotUtf8) {
  EXPECT_EQ(to_text(json{{"reason", "bad \xff byte"}}), "{\"reason\":\"bad \xef\xbf\xbd byte\"}\n");
}

std::vector<std::string> pointers(const Error& error) {
  std::vector<std::string> found;
  for (const Problem& problem : error.problems) found.push_back(problem.pointer);
  return found;
}

TEST(Query, ReadsFlagsAndWhatMayBeRepeated) {
  QueryField where = QueryField::text("where", "");
  where.repeatable = true;
  const std::vector<QueryField> fields = {where, QueryField::flag("knee", "")};
  const auto query = read_query(fields, {{"where", "a<1"}, {"knee", ""}, {"where", "b>2"}});
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->texts("where"), (std::vector<std::string>{"a<1", "b>2"}));
  EXPECT_TRUE(query->flag("knee"));
  EXPECT_TRUE(read_query(fields, {{"knee", "true"}})->flag("knee"));
  EXPECT_FALSE(read_query(fields, {{"knee", "false"}})->flag("knee"));
  EXPECT_FALSE(read_query(fields, {})->flag("knee"));
  EXPECT_FALSE(read_query(fields, {{"knee", "maybe"}}).ok());
  EXPECT_FALSE(read_query(fields, {{"knee", ""}, {"knee", ""}}).ok());
}

TEST(Query, ReadsWhatIsDeclared) {
  std::vector<QueryField> fields = page_fields();
  fields.push_back(QueryField::choice("format", "", {"json", "csv"}));
  const auto query =
      read_query(fields, {{"page_size", "7"}, {"format", "csv"}, {"page_token", "x.y"}});
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->integer("page_size", 1), 7);
  EXPECT_EQ(query->text("format"), "csv");
  EXPECT_EQ(query->text("page_token"), "x.y");
  EXPECT_FALSE(query->text("absent"));
  EXPECT_EQ(query->integer("absent", 5), 5);
}

TEST(Query, ClampsPageSizes) {
  for (const std::string size : {"500", "501", "99999999999999999999999"}) {
    const auto query = read_query(page_fields(), {{"page_size", size}});
    ASSERT_TRUE(query.ok()) << size;
    EXPECT_EQ(query->integer("page_size", 1), 500);
  }
}

TEST(Query, NamesEveryProblem) {
  const std::vector<QueryField> fields = {QueryField::integer("limit", "", 1, 10),
                                          QueryField::choice("format", "", {"json", "csv"}),
                                          QueryField::text("after", "")};
  for (const std::string bad : {"0", "11", "-1", "+1", "1.5", " 1", "0x1", "", "one"}) {
    const auto query = read_query(fields, {{"limit", bad}});
    ASSERT_FALSE(query.ok()) << bad;
    EXPECT_EQ(pointers(query.error()), std::vector<std::string>{"/query/limit"}) << bad;
  }
  const auto query = read_query(
      fields, {{"format", "xml"}, {"limits", "1"}, {"limit", "2"}, {"limit", "3"}, {"after", ""}});
  ASSERT_FALSE(query.ok());
  EXPECT_EQ(pointers(query.error()), (std::vector<std::string>{"/query/format", "/query/limits",
                                                               "/query/limit", "/query/after"}));
  EXPECT_NE(query.error().message.find("limits"), std::string::npos);
}

TEST(Problem, HasOneStatusPerKind) {
  const std::vector<std::pair<ErrorKind, int>> expected = {
      {ErrorKind::invalid, 422},     {ErrorKind::not_found, 404}, {ErrorKind::conflict, 409},
      {ErrorKind::unavailable, 503}, {ErrorKind::denied, 403},    {ErrorKind::exhausted, 429},
      {ErrorKind::corrupt, 500},     {ErrorKind::internal, 500}};
  for (const auto& [kind, status] : expected) {
    const HttpResponse response = problem_response(Error{kind, "why", {{"/a", "bad"}}});
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.content_type, "application/problem+json");
    const json document = json::parse(response.body);
    EXPECT_EQ(document["status"], status);
    EXPECT_EQ(document["detail"], "why");
    EXPECT_EQ(document["type"].get<std::string>().rfind("/problems/", 0), 0U);
    EXPECT_EQ(document["problems"], json::parse(R"([{"pointer":"/a","message":"bad"}])"));
    const bool retry = status == 503 || status == 429;
    EXPECT_EQ(response.headers.size(), retry ? 1U : 0U);
  }
}

TEST(Problem, LeavesOtherKindsTheirType) {
  const Error conflict{ErrorKind::conflict, "no"};
  EXPECT_EQ(problem_response(conflict, problem_types::invalid_spec).status, 409);
  EXPECT_EQ(problem_response(invalid("no"), problem_types::malformed_json).status, 400);
}

TEST(Spread, KeepsBothEnds) {
  EXPECT_EQ(spread(0, 5), std::vector<std::size_t>{});
  EXPECT_EQ(spread(3, 5), (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(spread(101, 3), (std::vector<std::size_t>{0, 50, 100}));
  EXPECT_EQ(spread(10, 1), std::vector<std::size_t>{0});
}

struct SmallJob {
  JobSpec spec;
  JobSnapshot snapshot;

  SmallJob() {
    spec.name = "small";
    Parameter x;
    x.name = "x";
    spec.space = std::move(*SearchSpace::make({x}));
    spec.objectives = {{"f", Goal::minimize}, {"acc", Goal::maximize}};
    spec.optimizer = "random";
    spec.evaluator = "test";
    snapshot.id = "small-1";
    snapshot.status = JobStatus::running;
    snapshot.spec = &spec;
    snapshot.running_ms = 10'000;
    snapshot.budget.trials = 100;
    snapshot.asked = 22;
    snapshot.told = 20;
    snapshot.in_flight = 2;
    snapshot.counts = {17, 1, 2, 0};
  }
};

TEST(JobView, ShowsProgress) {
  const SmallJob job;
  const json progress = job_view(job.snapshot)["progress"];
  EXPECT_EQ(progress["told"], 20);
  EXPECT_EQ(progress["ok"], 17);
  EXPECT_EQ(progress["infeasible"], 1);
  EXPECT_EQ(progress["failed"], 2);
  EXPECT_EQ(progress["trials_per_second"], 2.0);
  EXPECT_EQ(progress["seconds_left"], 40.0);
  EXPECT_TRUE(progress["best"].is_null());
  EXPECT_TRUE(progress["hypervolume"].is_null());
}

TEST(JobView, TimeLeftEndsWithTheWallBudgetAndWithTheRun) {
  SmallJob job;
  job.snapshot.budget.wall_s = 15;
  EXPECT_EQ(job_view(job.snapshot)["progress"]["seconds_left"], 5.0);
  job.snapshot.budget.wall_s = 5;
  EXPECT_EQ(job_view(job.snapshot)["progress"]["seconds_left"], 0.0);
  job.snapshot.status = JobStatus::paused;
  EXPECT_TRUE(job_view(job.snapshot)["progress"]["seconds_left"].is_null());
}

TEST(JobView, ShowsAnExtendedBudgetThatIsAlreadySpent) {
  SmallJob job;
  job.snapshot.budget.trials = 5;
  EXPECT_EQ(job_view(job.snapshot)["progress"]["seconds_left"], 0.0);
}

TEST(JobView, SummaryLacksSpecAndReport) {
  const SmallJob job;
  const json full = job_view(job.snapshot);
  const json summary = job_summary(job.snapshot);
  EXPECT_EQ(full["spec"]["name"], "small");
  EXPECT_TRUE(full["report"].is_null());
  EXPECT_FALSE(summary.contains("spec"));
  EXPECT_FALSE(summary.contains("report"));
  EXPECT_EQ(summary["id"], "small-1");
}

TEST(JobView, SaysWhatAJobSuffersFrom) {
  SmallJob job;
  json condition = job_view(job.snapshot)["conditions"][0];
  EXPECT_EQ(condition["status"], true);
  EXPECT_EQ(condition["reason"], "Running");
  job.snapshot.trouble = "evaluator \"x\" is not configured here";
  condition = job_view(job.snapshot)["conditions"][0];
  EXPECT_EQ(condition["status"], false);
  EXPECT_EQ(condition["message"], job.snapshot.trouble);
  job.snapshot.trouble.clear();
  job.snapshot.status = JobStatus::diverged;
  EXPECT_EQ(job_view(job.snapshot)["conditions"][0]["status"], false);
}

TEST(JobView, GivesHypervolumeInTheUsersSign) {
  SmallJob job;
  job.snapshot.hypervolume = Hypervolume{2.5, {4, 0.25}};
  const json volume = job_view(job.snapshot)["progress"]["hypervolume"];
  EXPECT_EQ(volume["value"], 2.5);
  EXPECT_EQ(volume["reference_point"], json::parse(R"({"f":4.0,"acc":0.25})"));
}

TEST(EventView, ShowsLimitsThatChanged) {
  const SmallJob job;
  const json view = event_view(
      {1000, ExtendedEvent{.trials = 7, .wall_s = {}, .parallelism = 3, .reason = "asked"}},
      job.spec);
  EXPECT_EQ(view, json::parse(R"({"budget":{"trials":7},"parallelism":3,"reason":"asked",
                                  "time":"1970-01-01T00:00:01.000Z"})"));
}

// ---- history -----------------------------------------------------------------------------------

/// One trial per point, a second apart, half a second of evaluation each.
ToldColumns samples(const std::vector<std::vector<double>>& objectives) {
  ToldColumns told;
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    TrialRecord record;
    record.told_ms = static_cast<std::int64_t>(1000 * (i + 1));
    record.outcome = Outcome{};
    record.outcome->cost = {.seconds = 0.5, .tokens = 100, .money_micros = 250'000};
    for (const double value : objectives[i]) record.outcome->objectives.push_back({value});
    told.add(i + 1, record, static_cast<std::uint32_t>(i),
             std::vector<Objective>(objectives[i].size()));
  }
  return told;
}

HistoryRequest rows(bool final, std::size_t points) {
  return {.created_ms = 0, .final = final, .points = points};
}

TEST(History, OfOneObjectiveHasARowPerImprovementAndTheLast) {
  const json view = history_view(samples({{5}, {7}, {3}, {4}, {1}, {2}}), {{"f"}}, rows(true, 200));
  std::vector<std::pair<int, double>> rows;
  for (const json& row : view["history"]) rows.emplace_back(row["trial"], row["best"]["f"]);
  EXPECT_EQ(rows, (std::vector<std::pair<int, double>>{{1, 5}, {3, 3}, {5, 1}, {6, 1}}));
  EXPECT_EQ(view["history"][1]["seconds"], 3.0);
}

TEST(History, OfAMaximisedObjectiveHasTheUsersSign) {
  const json view = history_view(samples({{-5}, {-7}}), {{"acc", Goal::maximize}}, rows(true, 200));
  EXPECT_EQ(view["history"][1]["best"]["acc"], 7.0);
}

TEST(History, PoolsReplicates) {
  auto list = samples({{1}, {5}, {3}});
  list.points[2] = list.points[0];  // mean 2
  const json view = history_view(list, {{"f"}}, rows(true, 200));
  EXPECT_EQ(view["history"].back()["best"]["f"], 2.0);
}

TEST(History, IsThinnedWithBothEnds) {
  std::vector<std::vector<double>> falling;
  for (int i = 0; i < 1000; ++i) falling.push_back({1000.0 - i});
  const json view = history_view(samples(falling), {{"f"}}, rows(true, 10));
  ASSERT_EQ(view["history"].size(), 10U);
  EXPECT_EQ(view["history"].front()["trial"], 1);
  EXPECT_EQ(view["history"].back()["trial"], 1000);
}

TEST(History, OfSeveralObjectivesGrowsInHypervolume) {
  std::vector<std::vector<double>> points(20, {10, 10});
  points.push_back({5, 5});
  points.push_back({2, 8});
  const json view = history_view(samples(points), {{"a"}, {"b"}}, rows(false, 100));
  EXPECT_EQ(view["reference_point"], json::parse(R"({"a":10.0,"b":10.0})"));
  ASSERT_EQ(view["history"].size(), 22U);
  EXPECT_EQ(view["history"][19]["hypervolume"], 0.0);
  EXPECT_EQ(view["history"][20]["hypervolume"], 25.0);
  EXPECT_EQ(view["history"][21]["hypervolume"], 31.0);
  EXPECT_EQ(view["history"][21]["front_size"], 2);
}

TEST(History, FrontLosesAPointThatProvesWorse) {
  std::vector<std::vector<double>> points(20, {10, 10});
  points.push_back({1, 1});
  points.push_back({5, 5});
  points.push_back({17, 17});  // again the point at (1, 1): mean (9, 9)
  auto list = samples(points);
  list.points[22] = list.points[20];
  const json view = history_view(list, {{"a"}, {"b"}}, rows(false, 100));
  EXPECT_EQ(view["history"][21]["hypervolume"], 81.0);
  EXPECT_EQ(view["history"][22]["hypervolume"], 25.0);
}

TEST(History, HasNoReferencePointBeforeTwentyTrials) {
  const json view = history_view(samples({{1, 2}, {2, 1}}), {{"a"}, {"b"}}, rows(false, 100));
  EXPECT_TRUE(view["reference_point"].is_null());
  EXPECT_TRUE(view["history"][1]["hypervolume"].is_null());
  EXPECT_FALSE(
      history_view(samples({{1, 2}, {2, 1}}), {{"a"}, {"b"}}, rows(true, 100))["reference_point"]
          .is_null());
}

TEST(History, LeavesOutWhatViolatesAConstraint) {
  auto list = samples({{5}, {1}, {4}});
  list.feasible[1] = 0;
  const json view = history_view(list, {{"f"}}, rows(true, 200));
  ASSERT_EQ(view["history"].size(), 2U);
  EXPECT_EQ(view["history"][1]["trial"], 3);
  EXPECT_EQ(view["history"][1]["best"]["f"], 4.0);

  auto pairs = samples({{5, 5}, {1, 1}, {4, 6}});
  pairs.feasible[1] = 0;
  const json front = history_view(pairs, {{"a"}, {"b"}}, rows(true, 200))["history"].back();
  EXPECT_EQ(front["front_size"], 2);
  EXPECT_EQ(front["best"], json::parse(R"({"a":4.0,"b":5.0})"));
}

TEST(History, TakesBackABestThatProvesInfeasible) {
  auto list = samples({{5}, {1}, {1}});
  list.points[2] = list.points[1];
  list.feasible[2] = 0;
  const json view = history_view(list, {{"f"}}, rows(true, 200));
  ASSERT_EQ(view["history"].size(), 3U);
  EXPECT_EQ(view["history"][1]["best"]["f"], 1.0);
  EXPECT_EQ(view["history"][2]["best"]["f"], 5.0);
}

TEST(History, CountsWhatWasSpent) {
  const json view = history_view(samples({{5}, {7}, {3}}), {{"f"}}, rows(true, 200));
  EXPECT_EQ(view["history"].back()["evaluation_seconds"], 1.5);
  HistoryRequest request = rows(true, 200);
  request.currency = "EUR";
  EXPECT_EQ(history_view(samples({{5}, {7}, {3}}), {{"f"}}, request)["history"].back()["spent"],
            json::parse(R"({"seconds":1.5,"tokens":300,"money":"0.75 EUR"})"));
}

TEST(History, TakesAReferencePoint) {
  HistoryRequest request = rows(false, 100);
  request.reference = {3.0, 4.0};
  const json view = history_view(samples({{1, 2}, {2, 1}}), {{"a"}, {"b"}}, request);
  EXPECT_EQ(view["reference_point"], json::parse(R"({"a":3.0,"b":4.0})"));
  EXPECT_EQ(view["history"][0]["hypervolume"], 4.0);
  EXPECT_EQ(view["history"][1]["hypervolume"], 5.0);
}

TEST(ToldColumns, OnlyTheHighestFidelitySoFarCompetes) {
  ToldColumns told;
  const auto add = [&](double f1, double f2, std::uint64_t fidelity, bool own = true) {
    const auto row = static_cast<std::uint32_t>(told.size());
    TrialRecord record;
    record.candidate.fidelity = fidelity;
    record.outcome = Outcome{};
    record.outcome->objectives = {{f1}, {f2}};
    told.add(row + 1, record, row, std::vector<Objective>(2), own);
  };
  add(1, 1, 10);  // lucky on few examples
  add(2, 3, 10);
  add(0, 9, 50, false);  // injected: it may compete, and raises nothing
  add(3, 4, 20);
  add(4, 3, 20);
  add(0.5, 0.5, 10);
  const auto front_at = [&](std::size_t rows) {
    std::vector<TrialNumber> trials = slice_of(pooled_for_front(told, rows))->trials;
    std::sort(trials.begin(), trials.end());
    return trials;
  };
  using Trials = std::vector<TrialNumber>;
  EXPECT_EQ(front_at(2), (Trials{1}));
  EXPECT_EQ(front_at(3), (Trials{1, 3}));
  EXPECT_EQ(front_at(4), (Trials{3, 4}));
  EXPECT_EQ(front_at(6), (Trials{3, 4, 5}));
  const json view = history_view(told, {{"a"}, {"b"}}, rows(true, 100));
  std::vector<int> sizes;
  for (const json& row : view["history"]) sizes.push_back(row["front_size"]);
  EXPECT_EQ(sizes, (std::vector<int>{1, 1, 2, 2, 3, 3}));
  told.objectives = 1;
  for (std::vector<double>* values : {&told.values, &told.errors}) {
    std::vector<double> first;
    for (std::size_t i = 0; i < values->size(); i += 2) first.push_back((*values)[i]);
    *values = first;
  }
  told.values[2] = 7;
  const json best = history_view(told, {{"a"}}, rows(true, 100));
  std::vector<double> bests;
  for (const json& row : best["history"]) bests.push_back(row["best"]["a"]);
  EXPECT_EQ(bests, (std::vector<double>{1, 3, 3}));
}

TEST(ToldColumns, KnowWhatEnteredTheFrontUntilAPointIsMeasuredAgain) {
  ToldColumns told = samples({{3, 3}, {4, 4}, {1, 5}, {2, 2}});
  EXPECT_EQ(told.entries, (std::vector<std::size_t>{0, 2, 3}));
  EXPECT_EQ(told.first_repeat, 4U);
  EXPECT_EQ(pooled_for_front(told, 3).first_trials, (std::vector<TrialNumber>{1, 3}));
  TrialRecord record;
  record.outcome = Outcome{};
  record.outcome->objectives = {{9}, {9}};
  told.add(5, record, 2, std::vector<Objective>(2));
  told.add(6, record, 4, std::vector<Objective>(2));
  EXPECT_EQ(told.first_repeat, 4U);
  EXPECT_EQ(pooled_for_front(told, 4).first_trials, (std::vector<TrialNumber>{1, 3, 4}));
  const PooledPoints pool = pooled_for_front(told, 6);
  EXPECT_EQ(pool.first_trials, (std::vector<TrialNumber>{1, 2, 3, 4, 6}));
  EXPECT_EQ(pool.mean(2)[0], 5.0);
}

/// What the rows must be, from all the trials before each of them.
TEST(History, AgreesWithFoldingEveryPrefix) {
  std::uint32_t state = 12345;
  const auto next = [&] { return (state = state * 1'664'525U + 1'013'904'223U) >> 8; };
  std::vector<std::vector<double>> values;
  for (int i = 0; i < 120; ++i) {
    values.push_back({next() % 1000 / 1000.0, next() % 1000 / 1000.0});
  }
  ToldColumns told = samples(values);
  std::uint32_t points = 0;
  for (std::size_t i = 0; i < told.size(); ++i) {
    told.points[i] = points > 0 && next() % 3 == 0 ? next() % points : points++;
    told.feasible[i] = next() % 5 == 0 ? 0 : 1;
  }
  const json view = history_view(told, {{"a"}, {"b"}}, rows(true, 1000));
  ASSERT_EQ(view["history"].size(), told.size());
  for (std::size_t row = 0; row < told.size(); ++row) {
    PooledPoints pool;
    pool.extend(told, row + 1);
    ParetoArchive archive;
    for (std::size_t point = 0; point < pool.size(); ++point) {
      if (pool.feasible[point] != 0) archive.insert(point, {pool.mean(point), 2});
    }
    EXPECT_EQ(view["history"][row]["front_size"], archive.size()) << row;
  }
}

TEST(PlausiblePoints, AreThoseThatNoMemberSurelyDominatesWhateverWasAskedBefore) {
  std::uint32_t state = 777;
  const auto next = [&] { return (state = state * 1'664'525U + 1'013'904'223U) >> 8; };
  std::vector<std::vector<double>> values;
  for (int i = 0; i < 300; ++i) values.push_back({next() % 100 / 100.0, next() % 100 / 100.0});
  ToldColumns told = samples(values);
  std::uint32_t points = 0;
  for (std::size_t i = 0; i < told.size(); ++i) {
    told.points[i] = points > 0 && next() % 3 == 0 ? next() % points : points++;
    told.feasible[i] = next() % 9 == 0 ? 0 : 1;
    for (std::size_t k = 0; k < 2; ++k) told.errors[2 * i + k] = next() % 30 / 100.0;
  }
  PlausiblePoints remembering;
  std::size_t found = 0;
  for (std::size_t rows = 1; rows <= told.size(); rows += 1 + next() % 4) {
    PooledPoints pool;
    pool.extend(told, rows);
    const auto front = slice_of(pool);
    const double confidence = next() % 8 == 0 ? 0.8 : 0.95;
    const double z = normal_quantile(confidence);
    std::vector<TrialNumber> expected;
    for (std::size_t point = 0; point < pool.size(); ++point) {
      bool out = pool.feasible[point] == 0;
      for (std::size_t k = 0; k < front->trials.size(); ++k) {
        out = out || front->trials[k] == pool.first_trials[point] ||
              dominates_surely(front->points[k].data(), &front->errors[2 * k], pool.mean(point),
                               pool.error(point), 2, z);
      }
      if (!out) expected.push_back(pool.first_trials[point]);
    }
    std::vector<TrialNumber> trials = remembering.find(pool, *front, confidence).trials;
    std::sort(trials.begin(), trials.end());
    ASSERT_EQ(trials, expected) << rows;
    found += trials.size();
  }
  EXPECT_GT(found, 100U);
}

TEST(History, OfNothingIsEmpty) {
  EXPECT_TRUE(history_view(samples({}), {{"a"}}, rows(true, 100))["history"].empty());
  EXPECT_TRUE(history_view(samples({}), {{"a"}, {"b"}}, rows(true, 100))["history"].empty());
}

TEST(HypervolumeInPassing, IsRefusedForLargeFrontsOfManyObjectives) {
  std::vector<std::vector<double>> front(400, std::vector<double>(5, 0.5));
  EXPECT_FALSE(affordable_hypervolume(front, std::vector<double>(5, 1)));
  front.resize(1);
  EXPECT_EQ(affordable_hypervolume(front, std::vector<double>(5, 1)), 0.03125);
  EXPECT_TRUE(affordable_hypervolume(ObjectiveVectors(10'000, {0.5, 0.5, 0.5}), {1, 1, 1}));
}

// ---- metrics -----------------------------------------------------------------------------------

TEST(Metrics, EscapesLabelsAndHelp) {
  MetricsText text;
  text.gauge("m", "one\\two\nthree");
  text.sample(1.5, {{"a", "quo\"te"}, {"b", "back\\slash\nline"}});
  text.sample(2);
  EXPECT_EQ(text.take(),
            "# HELP m one\\\\two\\nthree\n# TYPE m gauge\n"
            "m{a=\"quo\\\"te\",b=\"back\\\\slash\\nline\"} 1.5\nm 2\n");
}

TEST(Metrics, CountsByStatus) {
  MetricsInput input;
  input.jobs[static_cast<std::size_t>(JobStatus::paused)] = 3;
  input.trials[static_cast<std::size_t>(TrialStatus::failed)] = 4;
  input.lanes = {
      {.evaluator = "zdt1", .slots = 2, .busy = 1, .queued = 5, .completed = 9, .retried = 1}};
  input.http.responses = {0, 10, 0, 2, 1};
  input.http.responses_429 = 7;
  input.durability = "strict";
  const std::string text = metrics_text(input);
  for (const std::string line :
       {"paretod_jobs{status=\"paused\"} 3\n", "paretod_trials{status=\"failed\"} 4\n",
        "paretod_evaluator_busy{evaluator=\"zdt1\"} 1\n",
        "paretod_evaluator_queued{evaluator=\"zdt1\"} 5\n",
        "paretod_http_responses_total{class=\"4xx\"} 2\n",
        "paretod_http_too_many_requests_total 7\n",
        "paretod_store_info{durability=\"strict\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST(Metrics, KnowsItsMemory) {
  EXPECT_GT(resident_bytes(), 100'000U);
}

}  // namespace
}  // namespace paretod
