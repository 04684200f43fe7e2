#include "daemon/jobs/event.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

JobSpec small_spec() {
  JobSpec spec;
  spec.name = "small";
  spec.space =
      *SearchSpace::make({{.name = "x", .type = ParameterType::real, .low = -1, .high = 1}});
  spec.objectives = {{"loss", Goal::minimize}, {"accuracy", Goal::maximize}};
  spec.optimizer = "random";
  spec.optimizer_revision = 3;
  spec.optimizer_params = {{"batch", std::int64_t{4}}, {"rate", 1.0}};
  spec.evaluator = "zdt1";
  spec.budget = {.trials = 50, .wall_s = 2.5};
  spec.parallelism = 4;
  spec.seed = (std::uint64_t{1} << 53) - 1;
  return spec;
}

template <class Body>
Body round_trip(const Body& body) {
  const auto event = decode(encode({1234567890123, body}));
  EXPECT_TRUE(event.ok()) << event.error().text();
  EXPECT_EQ(event->time_ms, 1234567890123);
  return std::get<Body>(event->body);
}

TEST(Event, AttemptsBudgetsAndPausesReadBack) {
  const Spend spend{1.5, 900, 12'345};
  const StartedEvent started = round_trip(StartedEvent{7, 2, "host-1", spend});
  EXPECT_EQ(started.number, 7U);
  EXPECT_EQ(started.attempt, 2U);
  EXPECT_EQ(started.worker, "host-1");
  EXPECT_EQ(started.hold, spend);
  for (const AttemptEnd end : {AttemptEnd::transient, AttemptEnd::fault, AttemptEnd::lost,
                               AttemptEnd::released, AttemptEnd::surplus}) {
    const EndedEvent ended = round_trip(EndedEvent{7, 2, end, "host-1", "so it is", spend});
    EXPECT_EQ(ended.end, end);
    EXPECT_EQ(ended.reason, "so it is");
    EXPECT_EQ(ended.cost, spend);
  }
  for (const Resource resource : all_resources) {
    EXPECT_EQ(round_trip(BudgetEvent{resource, 80}).resource, resource);
  }
  EXPECT_EQ(round_trip(EvaluatorEvent{"weights 7"}).version, "weights 7");
  EXPECT_EQ(round_trip(PausedEvent{"no money", PauseCause::budget}).cause, PauseCause::budget);
  ExtendedEvent extended;
  extended.money_micros = 5;
  extended.tokens = 6;
  extended.evaluation_s = 7.5;
  const ExtendedEvent back = round_trip(extended);
  EXPECT_EQ(back.money_micros, 5);
  EXPECT_EQ(back.tokens, 6U);
  EXPECT_EQ(back.evaluation_s, 7.5);
  EXPECT_FALSE(back.trials);
  ToldEvent told{9, {}};
  told.outcome.same_as = 3;
  EXPECT_EQ(round_trip(told).outcome.same_as, 3U);
}

TEST(Event, PointsAreExactToTheBit) {
  Rng rng(5);
  for (std::size_t dimension = 0; dimension < 20; ++dimension) {
    AskedEvent asked{dimension + 1, {}};
    for (std::size_t i = 0; i < dimension; ++i) {
      asked.candidate.point.push_back(rng.normal() * std::pow(10, rng.uniform(-300, 300)));
    }
    if (dimension > 2) asked.candidate.point[1] = -0.0;
    asked.candidate.replicate = dimension * 7;
    asked.candidate.fidelity = dimension * 1000;
    asked.candidate.tag = dimension % 2 == 0 ? "" : "baseline:\"last\"\n";
    const AskedEvent back = round_trip(asked);
    EXPECT_TRUE(back.candidate.same_as(asked.candidate));
    EXPECT_EQ(back.number, asked.number);
  }
}

TEST(Event, OutcomesAreExactToTheBit) {
  ToldEvent told{17, {}};
  told.outcome.objectives = {{0.1 + 0.2}, {-0.0}, {1e300, 1e-17, 2000}, {5, -1, 3}};
  told.outcome.metrics = {{"fd_heldout", 1.0 / 3}, {"odd \"name\"", -2}};
  told.outcome.constraints = {-1.5, 0};
  told.outcome.attempts = 3;
  told.outcome.cost = {0, 1'234'567'890'123, 5'000'001};
  told.outcome.examples = {{0.1F, -0.0F, 3e38F}, {}, {1}, {}};
  const Outcome back = round_trip(told).outcome;
  ASSERT_EQ(back.objectives.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const Measurement& a = back.objectives[i];
    const Measurement& b = told.outcome.objectives[i];
    EXPECT_EQ(a.value, b.value);
    EXPECT_EQ(std::signbit(a.value), std::signbit(b.value));
    EXPECT_EQ(a.standard_error, b.standard_error);
    EXPECT_EQ(a.count, b.count);
  }
  EXPECT_EQ(back.metrics, told.outcome.metrics);
  EXPECT_EQ(back.constraints, told.outcome.constraints);
  EXPECT_EQ(back.attempts, 3U);
  EXPECT_EQ(back.cost, told.outcome.cost);
  EXPECT_EQ(back.examples, told.outcome.examples);
}

TEST(Event, FailuresKeepTheirReason) {
  const ToldEvent told{2, Outcome::failure(TrialStatus::infeasible, "no \xff such layer")};
  const Outcome back = round_trip(told).outcome;
  EXPECT_EQ(back.status, TrialStatus::infeasible);
  EXPECT_NE(back.reason.find("such layer"), std::string::npos);
}

TEST(Event, TheSpecComesBackWhole) {
  const JobSpec spec = small_spec();
  const JobSpec back = round_trip(CreatedEvent{spec, "digest"}).spec;
  EXPECT_EQ(back.name, spec.name);
  EXPECT_EQ(back.seed, spec.seed);
  EXPECT_EQ(back.optimizer_params, spec.optimizer_params);
  EXPECT_EQ(back.optimizer_revision, 3U);
  EXPECT_EQ(back.budget.trials, 50U);
  EXPECT_EQ(back.budget.wall_s, 2.5);
  EXPECT_EQ(back.parallelism, 4U);
  EXPECT_EQ(back.objectives[1].goal, Goal::maximize);
  EXPECT_EQ(back.space.parameters()[0].low, -1);
}

TEST(Event, ReportsComeBackWhole) {
  FinishedEvent finished{JobStatus::diverged, "why", {}};
  finished.report = {"budget", {"fd"}, {{"found", {0.5}, 9, {{0.4, 0.01, 10}}, {{0, -1, 1}}}}};
  const FinishedEvent back = round_trip(finished);
  EXPECT_EQ(back.status, JobStatus::diverged);
  ASSERT_EQ(back.report.rows.size(), 1U);
  EXPECT_EQ(back.report.rows[0].point, Point{0.5});
  EXPECT_EQ(back.report.rows[0].estimates[0].standard_error, 0.01);
  EXPECT_EQ(back.report.rows[0].difference[0].standard_error, -1);
}

TEST(Event, DamageIsAnErrorNotACrash) {
  const std::string good = encode({1, AskedEvent{1, {.point = {1, 2, 3}}}});
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_FALSE(decode(good.substr(0, cut)).ok()) << cut;
  }
  for (const char* text : {"", "null", "[]", "{}", R"({"e":"asked","t":1,"n":1,"p":"!!!!"})",
                           R"({"e":"asked","t":1,"n":1,"p":"AAAA"})", R"({"e":"dance","t":1})",
                           R"({"e":"told","t":1,"n":1,"o":[[1]]})"}) {
    const auto event = decode(text);
    ASSERT_FALSE(event.ok()) << text;
    EXPECT_EQ(event.error().kind, ErrorKind::corrupt);
  }
}

TEST(Event, PointsCostHalfOfDecimals) {
  AskedEvent asked{1, {}};
  Rng rng(1);
  for (int i = 0; i < 200; ++i) asked.candidate.point.push_back(rng.normal());
  EXPECT_LT(encode({1, asked}).size(), 2300U);
}

}  // namespace
}  // namespace paretod
