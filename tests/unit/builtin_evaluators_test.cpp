#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>

#include "evaluators/builtin/ddim.hpp"
#include "evaluators/builtin/evo_pool.hpp"
#include "evaluators/builtin/functions.hpp"
#include "evaluators/builtin/lcsc_toy.hpp"
#include "evaluators/builtin/problems.hpp"
#include "optimizers/core/rng.hpp"
#include "tests/support/evaluators/reply_collector.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;

std::vector<double> value_of(const std::string& name, const std::vector<double>& x) {
  for (const TestFunction& function : test_functions()) {
    if (function.name != name) continue;
    std::vector<double> f(function.objectives);
    function.value(x, f);
    return f;
  }
  ADD_FAILURE() << "no function " << name;
  return {};
}

TEST(TestFunctions, KnownValues) {
  EXPECT_DOUBLE_EQ(value_of("sphere", {1, 2, 3})[0], 14);
  EXPECT_DOUBLE_EQ(value_of("rosenbrock", {1, 1, 1, 1})[0], 0);
  EXPECT_DOUBLE_EQ(value_of("rosenbrock", {-1, 1, 2})[0], 4 + 100);
  EXPECT_DOUBLE_EQ(value_of("zdt1", {0.25, 0, 0})[1], 0.5);
  EXPECT_DOUBLE_EQ(value_of("zdt1", {0.4, 1, 1})[1], 10 * (1 - std::sqrt(0.04)));
  EXPECT_DOUBLE_EQ(value_of("zdt2", {0.5, 0, 0})[1], 0.75);
  EXPECT_DOUBLE_EQ(value_of("zdt3", {0.25, 0})[1], 0.5 - 0.25 * std::sin(2.5 * M_PI));
  EXPECT_DOUBLE_EQ(value_of("zdt4", {0.25, 0, 0, 0})[1], 0.5);
  EXPECT_DOUBLE_EQ(value_of("zdt4", {0, 0.5, 0})[1], 1 + 20 + (0.25 - 10) - 10);
  EXPECT_DOUBLE_EQ(value_of("zdt6", {0, 0, 0})[0], 1);
  EXPECT_DOUBLE_EQ(value_of("zdt6", {0, 0, 0})[1], 0);
}

TEST(TestFunctions, DtlzFrontsHaveTheirShapes) {
  Rng rng(3);
  for (int i = 0; i < 100; ++i) {
    std::vector<double> x(8, 0.5);
    x[0] = rng.uniform();
    x[1] = rng.uniform();
    const auto flat = value_of("dtlz1", x);
    EXPECT_NEAR(std::accumulate(flat.begin(), flat.end(), 0.0), 0.5, 1e-12);
    const auto sphere = value_of("dtlz2", x);
    EXPECT_NEAR(std::inner_product(sphere.begin(), sphere.end(), sphere.begin(), 0.0), 1, 1e-12);
  }
  // g = 1 at the front of DTLZ7.
  const auto corner = value_of("dtlz7", {0, 0, 0, 0, 0});
  EXPECT_DOUBLE_EQ(corner[2], 2 * 3);
}

TEST(Ddim, MatchesTheClosedForm) {
  const DdimProblem linear(NoiseSchedule::linear);
  EXPECT_NEAR(linear.distance({0, 250, 500, 750}), 1.114151, 5e-7);
  EXPECT_NEAR(linear.distance({500}), 2.842367, 5e-7);
  EXPECT_NEAR(linear.distance({43, 157, 305, 448}), 0.3956, 5e-5);
  EXPECT_NE(DdimProblem(NoiseSchedule::cosine).distance({500}), linear.distance({500}));
}

TEST(Ddim, OrderAndRepetitionDoNotMatter) {
  EXPECT_EQ(distinct_steps({500, 3, 500, 0}), (std::vector<int>{0, 3, 500}));
}

TEST(LcscToy, NoCombinationBeatsTheOptimum) {
  const LcscToy toy(10, 1);
  EXPECT_GT(toy.optimum(), 0);
  EXPECT_LT(toy.optimum(), toy.best_seed());
  EXPECT_DOUBLE_EQ(toy.gap_closed(toy.optimum()), 1);
  EXPECT_DOUBLE_EQ(toy.gap_closed(toy.best_seed()), 0);
  Rng rng(5);
  for (int i = 0; i < 1000; ++i) {
    std::vector<double> alpha(10);
    double sum = 0;
    for (double& a : alpha) sum += a = rng.normal();
    alpha[0] += 1 - sum;
    ASSERT_GE(toy.loss(alpha), toy.optimum());
  }
}

TEST(LcscToy, DescentReachesTheOptimum) {
  // Coordinate descent on the K-1 free coefficients of a convex quadratic.
  const LcscToy toy(4, 2);
  std::vector<double> alpha{0, 0, 0, 1};
  for (int sweep = 0; sweep < 5000; ++sweep) {
    for (std::size_t k = 0; k < 3; ++k) {
      const auto at = [&](double step) {
        auto moved = alpha;
        moved[k] += step;
        moved[3] -= step;
        return toy.loss(moved);
      };
      const double curvature = at(1) - 2 * at(0) + at(-1);
      const double step = -(at(1) - at(-1)) / 2 / curvature;
      alpha[k] += step;
      alpha[3] -= step;
    }
  }
  EXPECT_NEAR(toy.loss(alpha) / toy.optimum(), 1, 1e-6);
}

TEST(LcscToy, SeedsDiffer) {
  EXPECT_EQ(LcscToy(5, 1).optimum(), LcscToy(5, 1).optimum());
  EXPECT_NE(LcscToy(5, 1).optimum(), LcscToy(5, 2).optimum());
}

// ---- as evaluators -----------------------------------------------------------------------------

struct Fixture {
  explicit Fixture(const std::string& name) {
    for (TestProblem& problem : builtin_problems()) {
      if (problem.name == name) evaluator = std::make_unique<TestEvaluator>(std::move(problem), 2);
    }
    context.job = "j";
    context.seed = 11;
    context.space = SearchSpace::make(*evaluator->describe().space).value();
    context.objectives = evaluator->describe().objectives;
  }

  std::vector<Outcome> evaluate(const std::vector<Candidate>& candidates) {
    const auto shared = std::make_shared<const EvaluationContext>(context);
    std::vector<EvaluationRequest> requests;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      requests.push_back({i, shared, i + 1, 1, candidates[i]});
    }
    evaluator->evaluate(std::move(requests), replies.sink());
    replies.wait_for(candidates.size());
    std::vector<Outcome> outcomes;
    for (EvaluationReply& reply : replies.take()) outcomes.push_back(std::move(reply.outcome));
    return outcomes;
  }
  Outcome evaluate(const Candidate& candidate) { return evaluate(std::vector{candidate})[0]; }

  ReplyCollector replies;  // outlives the evaluator
  std::unique_ptr<TestEvaluator> evaluator;
  EvaluationContext context;
};

TEST(BuiltinEvaluators, NamesAreSortedAndComplete) {
  std::vector<std::string> names;
  for (const TestProblem& problem : builtin_problems()) names.push_back(problem.name);
  EXPECT_THAT(names, ::testing::ElementsAre("ddim", "dtlz1", "dtlz2", "dtlz7", "evo-pool",
                                            "evo-pool-tasks", "lcsc-toy", "rosenbrock", "sphere",
                                            "zdt1", "zdt2", "zdt3", "zdt4", "zdt6"));
}

TEST(BuiltinEvaluators, WithoutNoiseValuesAreExact) {
  Fixture zdt1("zdt1");
  Point x(30, 0.0);
  x[0] = 0.25;
  const Outcome outcome = zdt1.evaluate(Candidate{x});
  ASSERT_EQ(outcome.status, TrialStatus::ok);
  EXPECT_EQ(outcome.objectives[0].value, 0.25);
  EXPECT_EQ(outcome.objectives[1].value, 0.5);
  EXPECT_EQ(outcome.objectives[1].standard_error, 0);
}

TEST(BuiltinEvaluators, AJobMayTakeSomeObjectivesInItsOwnOrder) {
  Fixture zdt1("zdt1");
  zdt1.context.objectives = {{"f2"}, {"f1"}};
  EXPECT_TRUE(zdt1.evaluator->check(zdt1.context).empty());
  Point x(30, 0.0);
  x[0] = 0.25;
  const Outcome outcome = zdt1.evaluate(Candidate{x});
  EXPECT_EQ(outcome.objectives[0].value, 0.5);
  EXPECT_EQ(outcome.objectives[1].value, 0.25);
}

TEST(BuiltinEvaluators, NoiseIsKeyedByReplicatePointAndSeed) {
  Fixture sphere("sphere");
  sphere.context.params = {{"noise", 2.0}};
  const Point x(10, 1.0);
  const Point y(10, -1.0);
  const auto value = [&](const Point& point, std::uint64_t replicate) {
    return sphere.evaluate(Candidate{point, 0, replicate}).objectives[0].value;
  };
  EXPECT_EQ(value(x, 0), value(x, 0));
  EXPECT_NE(value(x, 0), value(x, 1));
  EXPECT_NE(value(x, 0), value(y, 0));
  const double before = value(x, 0);
  sphere.context.seed = 12;
  EXPECT_NE(value(x, 0), before);
}

TEST(BuiltinEvaluators, NoiseHasItsDeclaredSpreadAndFidelityAverages) {
  Fixture sphere("sphere");
  sphere.context.params = {{"noise", 2.0}};
  for (const std::uint64_t samples : {1U, 16U}) {
    std::vector<Candidate> candidates;
    for (std::uint64_t r = 0; r < 4000; ++r) candidates.push_back({Point(10, 1.0), samples, r});
    double sum = 0;
    double squares = 0;
    const double error = 2.0 / std::sqrt(static_cast<double>(samples));
    for (const Outcome& outcome : sphere.evaluate(candidates)) {
      EXPECT_DOUBLE_EQ(outcome.objectives[0].standard_error, error);
      EXPECT_EQ(outcome.objectives[0].count, samples);
      sum += outcome.objectives[0].value - 10;
      squares += std::pow(outcome.objectives[0].value - 10, 2);
    }
    EXPECT_NEAR(sum / 4000, 0, 4 * error / std::sqrt(4000));
    EXPECT_NEAR(std::sqrt(squares / 4000), error, 0.05 * error);
  }
}

TEST(BuiltinEvaluators, DdimCollapsesRepeatedSteps) {
  Fixture ddim("ddim");
  const Outcome outcome = ddim.evaluate(Candidate{{500, 500, 500, 500}});
  EXPECT_NEAR(outcome.objectives[0].value, 2.842367, 5e-7);
  EXPECT_EQ(outcome.metrics, (Metrics{{"steps", 1}}));
  ddim.context.params = {{"schedule", std::string("cosine")}};
  EXPECT_NE(ddim.evaluate(Candidate{{500, 500, 500, 500}}).objectives[0].value,
            outcome.objectives[0].value);
}

TEST(BuiltinEvaluators, LcscToyTakesItsSizeFromTheSpace) {
  Fixture toy("lcsc-toy");
  Parameter alpha;
  alpha.name = "w";
  alpha.type = ParameterType::affine;
  alpha.size = 6;
  alpha.low = -2;
  alpha.high = 2;
  toy.context.space = SearchSpace::make({alpha}).value();
  toy.context.params = {{"noise", 0.5}, {"toy_seed", std::int64_t{9}}};
  ASSERT_TRUE(toy.evaluator->check(toy.context).empty());
  Point point(5, 0.0);
  const Outcome outcome = toy.evaluate(Candidate{point});
  ASSERT_EQ(outcome.status, TrialStatus::ok);
  std::map<std::string, double> metrics(outcome.metrics.begin(), outcome.metrics.end());
  const LcscToy exact(6, 9);
  EXPECT_EQ(metrics.at("exact"), exact.loss(std::vector<double>{0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(metrics.at("optimum"), exact.optimum());
  EXPECT_EQ(metrics.at("gap_closed"), exact.gap_closed(metrics.at("exact")));
  EXPECT_DOUBLE_EQ(outcome.objectives[0].standard_error,
                   0.5 * (exact.best_seed() - exact.optimum()));
  EXPECT_NE(outcome.objectives[0].value, metrics.at("exact"));
}

TEST(BuiltinEvaluators, EvoPoolEvaluatesSplitsBlocksAndPrefixes) {
  Fixture fixture("evo-pool-tasks");
  const EvoPool pool(7, 3, 1, 1);
  Point point(14, 0.0);
  for (std::size_t i = 0; i < 7; ++i) point[i] = 0.3 + 0.1 * static_cast<double>(i);
  point[8] = 0.5;
  point[11] = -0.4;
  std::vector<MergeTerm> terms;
  for (std::size_t i = 0; i < 7; ++i) terms.push_back({point[i], point[7 + i]});
  const auto losses = [&](std::size_t task, std::size_t split, std::size_t first,
                          std::size_t count) {
    std::vector<float> values(count);
    pool.losses(terms, true, task, split, first, values);
    return values;
  };
  const auto outcomes = fixture.evaluate({Candidate{point, 0, 2}, Candidate{point, 60, 0},
                                          Candidate{point, 70, 3 * 4}, Candidate{point, 9999, 1}});
  ASSERT_EQ(outcomes[0].status, TrialStatus::ok);
  for (std::size_t task = 0; task < 2; ++task) {
    EXPECT_EQ(outcomes[0].examples[task], losses(task, 2, 0, 1000));
    EXPECT_EQ(outcomes[1].examples[task], losses(task, 0, 0, 60));
    EXPECT_EQ(outcomes[2].examples[task], losses(task, 0, 280, 70)) << "wraps around";
    EXPECT_EQ(outcomes[3].examples[task], losses(task, 1, 0, 300)) << "the whole split";
    EXPECT_EQ(outcomes[2].objectives[task].count, 70U);
  }
  std::vector<float> wrapped = losses(0, 0, 280, 20);
  const std::vector<float> start = losses(0, 0, 0, 50);
  wrapped.insert(wrapped.end(), start.begin(), start.end());
  EXPECT_EQ(wrapped, losses(0, 0, 280, 70));
  const double mean =
      std::accumulate(wrapped.begin(), wrapped.end(), 0.0) / static_cast<double>(wrapped.size());
  EXPECT_NEAR(outcomes[2].objectives[0].value, mean, 1e-6);
}

TEST(BuiltinEvaluators, EvoPoolIsWhatItClaims) {
  const EvoPool pool(20, 5, 4, 3);
  std::array<std::size_t, 3> counts{};
  std::array<double, 3> sums{};
  for (std::size_t i = 0; i < pool.adapters(); ++i) {
    std::vector<MergeTerm> alone(pool.adapters());
    alone[i].weight = 1;
    std::vector<float> losses(1000);
    pool.losses(alone, true, 0, 2, 0, losses);
    const auto kind = static_cast<std::size_t>(pool.kind(i));
    ++counts[kind];
    sums[kind] += std::accumulate(losses.begin(), losses.end(), 0.0) / 1000;
  }
  EXPECT_EQ(counts, (std::array<std::size_t, 3>{5, 4, 11}));
  const auto mean = [&](EvoPool::Kind kind) {
    const auto i = static_cast<std::size_t>(kind);
    return sums[i] / static_cast<double>(counts[i]);
  };
  EXPECT_LT(mean(EvoPool::Kind::informative), mean(EvoPool::Kind::useless) - 0.3);
  EXPECT_LT(mean(EvoPool::Kind::useless), mean(EvoPool::Kind::harmful));
  EXPECT_LT(pool.true_loss(0, 2), pool.base_loss(0, 2) - 0.5);
  std::vector<float> base(1000);
  pool.losses(std::vector<MergeTerm>(20), true, 0, 2, 0, base);
  EXPECT_NEAR(std::accumulate(base.begin(), base.end(), 0.0) / 1000, pool.base_loss(0, 2), 1e-6);
}

std::string problems_of(const Fixture& fixture) {
  return invalid("", fixture.evaluator->check(fixture.context)).text();
}

TEST(BuiltinEvaluators, DdimTakesASchedule) {
  Fixture ddim("ddim");
  Parameter schedule;
  schedule.name = "schedule";
  schedule.type = ParameterType::schedule;
  schedule.high = 999;
  schedule.whole = true;
  schedule.least = 1;
  schedule.most = 5;
  ddim.context.space = SearchSpace::make({schedule}).value();
  EXPECT_EQ(problems_of(ddim), "");
  const Outcome outcome = ddim.evaluate(Candidate{{4, 0, 250, 500, 750, 0}});
  EXPECT_NEAR(outcome.objectives[0].value, 1.114151, 5e-7);
  EXPECT_EQ(outcome.metrics, (Metrics{{"steps", 4}}));
  schedule.mask = {"down", "up"};
  ddim.context.space = SearchSpace::make({schedule}).value();
  EXPECT_THAT(problems_of(ddim), HasSubstr("/space/0: has to be a schedule of whole nodes"));
}

TEST(BuiltinEvaluators, UnsuitableJobsAreRefused) {
  Parameter x;
  x.name = "x";
  x.low = -1;
  Fixture zdt1("zdt1");
  zdt1.context.space = SearchSpace::make({x}).value();
  zdt1.context.params = {{"noise", -1.0}, {"nosie", 1.0}};
  zdt1.context.objectives = {{"f1", Goal::maximize}, {"f3"}};
  const std::string text = problems_of(zdt1);
  EXPECT_THAT(text, HasSubstr("/space: needs at least 2"));
  EXPECT_THAT(text, HasSubstr("/space/0: has to stay within [0, 1]"));
  EXPECT_THAT(text, HasSubstr("/evaluator/params/noise: "));
  EXPECT_THAT(text, HasSubstr("/evaluator/params/nosie: no parameter"));
  EXPECT_THAT(text, HasSubstr("/objectives/0/goal"));
  EXPECT_THAT(text, HasSubstr("/objectives/1/name"));

  Fixture ddim("ddim");
  ddim.context.space = SearchSpace::make({x}).value();
  EXPECT_THAT(problems_of(ddim), HasSubstr("/space/0: has to be an integer"));

  Fixture toy("lcsc-toy");
  toy.context.space = SearchSpace::make({x}).value();
  EXPECT_THAT(problems_of(toy), HasSubstr("/space: has to be one affine parameter"));
  Parameter large;
  large.name = "alpha";
  large.type = ParameterType::affine;
  large.size = 301;
  toy.context.space = SearchSpace::make({large}).value();
  EXPECT_THAT(problems_of(toy), HasSubstr("/space/0/size"));
}

TEST(BuiltinEvaluators, AnEndingEvaluatorInterruptsItsDelay) {
  // An hour's delay: the test would time out if the destructor waited for it.
  auto sphere = std::make_unique<Fixture>("sphere");
  sphere->context.params = {{"delay_ms", std::int64_t{3'600'000}}};
  const auto context = std::make_shared<const EvaluationContext>(sphere->context);
  sphere->evaluator->evaluate({{1, context, 1, 1, {Point(10, 0.0)}}}, [](const auto&) {});
  sphere.reset();
}

TEST(BuiltinEvaluators, AValueBeyondDoubleFails) {
  Fixture sphere("sphere");
  Parameter x;
  x.name = "x";
  x.low = -1e300;
  x.high = 1e300;
  sphere.context.space = SearchSpace::make({x}).value();
  const Outcome outcome = sphere.evaluate(Candidate{{1e200}});
  EXPECT_EQ(outcome.status, TrialStatus::failed);
  EXPECT_THAT(outcome.reason, HasSubstr("\"f\" is not finite"));
}

}  // namespace
}  // namespace paretod
