#include "optimizers/lcsc.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "evaluators/builtin/lcsc_toy.hpp"
#include "optimizers/lcsc_archive.hpp"
#include "optimizers/lcsc_final.hpp"
#include "optimizers/lcsc_seeds.hpp"
#include "optimizers/paired_report.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

SearchProblem combination(std::size_t size, std::uint64_t trials, std::uint64_t seed,
                          double low = -infinity, double high = infinity) {
  Parameter alpha;
  alpha.name = "alpha";
  alpha.type = ParameterType::affine;
  alpha.low = low;
  alpha.high = high;
  alpha.size = size;
  return {SearchSpace::make({alpha}).value(), {{"loss", Goal::minimize}}, seed, trials};
}

/// Least at coefficients (0.5, -0.5, 0.5, -0.5, ..., implied), with distinct curvatures.
double bowl(const Point& point) {
  double sum = 0;
  for (std::size_t i = 0; i < point.size(); ++i) {
    const double target = i % 2 == 0 ? 0.5 : -0.5;
    sum += (1 + static_cast<double>(i)) * (point[i] - target) * (point[i] - target);
  }
  return sum;
}

Script script_for(const SearchProblem& problem, std::function<Outcome(const Candidate&)> outcome,
                  std::size_t parallelism = 1) {
  Script script;
  script.outcome = std::move(outcome);
  script.budget = problem.trials;
  script.parallelism = parallelism;
  return script;
}

ScriptedRun run_lcsc(const SearchProblem& problem, const ParamValues& params,
                     const Script& script) {
  const Optimizer lcsc = lcsc_optimizer();
  const Problems problems = lcsc.check(problem, params);
  EXPECT_TRUE(problems.empty()) << problems.front().pointer << " " << problems.front().message;
  return run_scripted(lcsc, problem, params, script);
}

/// Noise that depends on point and replicate, as an evaluator's would.
double noise(const Candidate& candidate, std::uint64_t stream) {
  std::uint64_t key = candidate.replicate;
  for (const double x : candidate.point) key = mix64(key, std::bit_cast<std::uint64_t>(x));
  return Rng(key, stream).normal();
}

/// Median share of the gap between best seed and optimum that 11 runs close (lcsc.md, 2c); noise
/// and offset are standard deviations in units of the gap.
double median_closed(const std::string& search, double noise_sd, double offset_sd,
                     std::size_t size = 50) {
  std::vector<double> closed;
  for (std::uint64_t run = 1; run <= 11; ++run) {
    const LcscToy toy(size, run);
    const double gap = toy.best_seed() - toy.optimum();
    const SearchProblem problem = combination(size, 2000, 100 + run);
    const auto loss = [&](const Point& point) {
      return toy.loss(problem.space.coefficients(0, point));
    };
    const Script script = script_for(problem, [&](const Candidate& candidate) {
      return scalar_outcome(loss(candidate.point) + gap * noise_sd * noise(candidate, run) +
                            gap * offset_sd * Rng(run, candidate.replicate).normal());
    });
    const ScriptedRun result = run_lcsc(problem, {{"search", search}}, script);
    EXPECT_LE(result.evaluated, 2000U);
    EXPECT_GE(result.evaluated, 1950U);
    closed.push_back(toy.gap_closed(loss(result.report.rows.at(0).point)));
  }
  std::sort(closed.begin(), closed.end());
  return closed[closed.size() / 2];
}

TEST(LcscToySearch, ClosesTheGapOnAnExactMetric) {
  EXPECT_GE(median_closed("steady_state", 0, 0), 0.95);
}

TEST(LcscToySearch, ClosesMuchOfTheGapUnderNoise) {
  EXPECT_GE(median_closed("steady_state", 0.2, 0), 0.37);
}

TEST(LcscToySearch, IsNotMisledByReplicatesThatAreEasierForAll) {
  EXPECT_GE(median_closed("steady_state", 0.2, 1), 0.37);
}

TEST(LcscToySearch, CmaEsIsAWorthyRival) {
  EXPECT_GE(median_closed("cma_es", 0, 0), 0.9);
  EXPECT_GE(median_closed("cma_es", 0.2, 0), 0.37);
}

TEST(Lcsc, ReportsFoundBesideTheBaselinesOnUntouchedReplicates) {
  const SearchProblem problem = combination(12, 1500, 3);
  std::set<std::uint64_t> searched;
  std::map<std::string, std::set<std::uint64_t>> reported;
  const Script script = script_for(problem, [&](const Candidate& c) {
    (c.tag.starts_with("report:") ? reported[c.tag] : searched).insert(c.replicate);
    Outcome outcome = scalar_outcome(bowl(c.point) + 0.1 * noise(c, 0));
    outcome.metrics = {{"held_out", 2 * bowl(c.point)}};
    return outcome;
  });
  const ScriptedRun run = run_lcsc(problem, {}, script);
  const Report& report = run.report;
  EXPECT_EQ(report.stop_reason, "budget");
  EXPECT_EQ(report.quantities, (std::vector<std::string>{"loss", "held_out"}));
  ASSERT_EQ(report.rows.size(), 4U);
  const std::vector<std::string> names{"found", "best_ema", "uniform", "last"};
  for (std::size_t i = 0; i < 4; ++i) {
    const ReportRow& row = report.rows[i];
    EXPECT_EQ(row.name, names[i]);
    ASSERT_EQ(row.estimates.size(), 2U);
    EXPECT_EQ(row.estimates[0].count, 10U);
    EXPECT_NEAR(row.estimates[0].mean, bowl(row.point), 0.2);
    EXPECT_NEAR(row.estimates[1].mean, 2 * bowl(row.point), 1e-9);
    EXPECT_NEAR(row.difference[0].mean, row.estimates[0].mean - report.rows[0].estimates[0].mean,
                1e-9);
    EXPECT_EQ(reported["report:" + names[i]].size(), 10U);
    for (const auto replicate : reported["report:" + names[i]]) {
      EXPECT_FALSE(searched.contains(replicate));
    }
  }
  EXPECT_LT(report.rows[0].estimates[0].mean, report.rows[1].estimates[0].mean);
  EXPECT_GT(report.rows[1].difference[0].mean, 2 * report.rows[1].difference[0].standard_error);
  EXPECT_LT(bowl(report.rows[0].point), 0.05 * bowl(report.rows[1].point));
}

TEST(Lcsc, TellsWhichTrialMeasuredARow) {
  const SearchProblem problem = combination(5, 200, 3);
  const Script script =
      script_for(problem, [](const Candidate& c) { return scalar_outcome(bowl(c.point)); });
  const ScriptedRun run = run_lcsc(problem, {}, script);
  for (const ReportRow& row : run.report.rows) {
    const auto asked = std::find_if(run.log.begin(), run.log.end(), [&](const auto& event) {
      return event.kind == ScriptedEvent::Kind::asked && event.number == row.trial;
    });
    ASSERT_NE(asked, run.log.end());
    EXPECT_EQ(asked->candidate.tag, "report:" + row.name);
    EXPECT_EQ(asked->candidate.point, row.point);
  }
}

TEST(Lcsc, MaximisesInTheUsersSign) {
  SearchProblem problem = combination(6, 400, 4);
  problem.objectives[0].goal = Goal::maximize;
  const Script script =
      script_for(problem, [](const Candidate& c) { return scalar_outcome(-bowl(c.point)); });
  const ScriptedRun run = run_lcsc(problem, {}, script);
  EXPECT_NEAR(run.report.rows[0].estimates[0].mean, 0, 0.05);
  EXPECT_LT(run.report.rows[0].estimates[0].mean, 0);
  EXPECT_LT(run.report.rows[1].difference[0].mean, 0) << "the baseline is lower";
}

TEST(Lcsc, FailedTrialsAreTriedOnceMoreAndAreNeverParents) {
  for (const std::string search : {"steady_state", "cma_es"}) {
    const SearchProblem problem = combination(8, 600, 5);
    std::map<std::pair<Point, std::uint64_t>, int> tries;
    const Script script = script_for(
        problem,
        [&](const Candidate& c) {
          ++tries[{c.point, c.replicate}];
          // A forbidden half-space, attractive if its failures were taken for scores.
          if (c.point[0] > 0.3) return Outcome::failure(TrialStatus::failed, "forbidden");
          return scalar_outcome(bowl(c.point));
        },
        4);
    const ScriptedRun run = run_lcsc(problem, {{"search", search}}, script);
    int failed = 0;
    for (const auto& [asked, count] : tries) {
      if (asked.second >= selection_replicate) continue;
      EXPECT_LE(count, 2);
      if (asked.first[0] <= 0.3) {
        EXPECT_EQ(count, 1);
      }
      if (count == 2) ++failed;
    }
    EXPECT_GT(failed, 5);
    EXPECT_LE(run.report.rows[0].point[0], 0.3);
    EXPECT_NEAR(run.report.rows[0].point[0], 0.3, 0.05) << "the border is best";
  }
}

TEST(Lcsc, EndsWhenNoSeedCanBeEvaluated) {
  const SearchProblem problem = combination(5, 300, 5);
  const Script script = script_for(problem, [](const Candidate&) {
    return Outcome::failure(TrialStatus::infeasible, "no model");
  });
  const ScriptedRun run = run_lcsc(problem, {}, script);
  EXPECT_EQ(run.report.stop_reason, "no seed could be evaluated");
  EXPECT_TRUE(run.report.rows.empty());
}

TEST(Lcsc, NeverReportsAWorseResultThanItsBestSeed) {
  // The last checkpoint is the optimum, so every change is for the worse.
  for (const std::string search : {"steady_state", "cma_es"}) {
    const SearchProblem problem = combination(6, 300, 6);
    const Script script = script_for(problem, [](const Candidate& c) {
      double sum = 0;
      for (const double x : c.point) sum += std::abs(x);
      return scalar_outcome(sum);
    });
    const ScriptedRun run = run_lcsc(problem, {{"search", search}}, script);
    EXPECT_EQ(run.report.rows[0].point, Point(5, 0.0));
    EXPECT_EQ(run.report.rows[0].estimates[0].mean, 0);
  }
}

TEST(Lcsc, DoesNotRepeatPointsAndSpendsNothingOnReplicatesOfADeterministicMetric) {
  const SearchProblem problem = combination(10, 800, 7);
  std::map<Point, int> searched;
  const Script script = script_for(problem, [&](const Candidate& c) {
    if (c.replicate < selection_replicate) ++searched[c.point];
    return scalar_outcome(bowl(c.point));
  });
  run_lcsc(problem, {{"deterministic", true}}, script);
  for (const auto& [point, count] : searched) EXPECT_EQ(count, 1);
  EXPECT_GT(searched.size(), 750U);
  // Not told so, it finds out from the anchors.
  searched.clear();
  run_lcsc(problem, {}, script);
  EXPECT_GT(searched.size(), 680U);
}

TEST(Lcsc, ReScoresLeadersOnNewReplicatesOnly) {
  const SearchProblem problem = combination(10, 1000, 8);
  std::map<Point, std::multiset<std::uint64_t>> replicates;
  const Script script = script_for(
      problem,
      [&](const Candidate& c) {
        if (c.replicate < selection_replicate) replicates[c.point].insert(c.replicate);
        return scalar_outcome(bowl(c.point) + noise(c, 0));
      },
      6);
  run_lcsc(problem, {{"replicates_per_elite", std::int64_t{4}}}, script);
  std::size_t most = 0;
  for (const auto& [point, seen] : replicates) {
    EXPECT_EQ(std::set<std::uint64_t>(seen.begin(), seen.end()).size(), seen.size());
    EXPECT_EQ(*seen.begin(), 0U) << "everyone starts on the common replicate";
    most = std::max(most, seen.size());
  }
  EXPECT_EQ(most, 4U);
}

TEST(Lcsc, ReScoresWidelyOnlyWhereNoiseMisleads) {
  const SearchProblem problem = combination(10, 1500, 8);
  const auto rescores = [&](const std::function<double(const Candidate&)>& noise_of) {
    int count = 0;
    const Script script = script_for(problem, [&](const Candidate& c) {
      if (c.tag.empty() && c.replicate > 1) ++count;
      return scalar_outcome(bowl(c.point) + noise_of(c));
    });
    run_lcsc(problem, {}, script);
    return count;
  };
  const auto none_in_common = [](const Candidate& c) { return 0.5 * noise(c, 0); };
  // The block of noise adds the same to all points, and a little that varies slowly with them.
  const auto much_in_common = [](const Candidate& c) {
    Rng rng(c.replicate, 5);
    double sum = rng.normal();
    for (const double x : c.point) sum += 1e-4 * rng.normal() * x;
    return sum;
  };
  EXPECT_GT(rescores(none_in_common), 200);
  EXPECT_LT(rescores(much_in_common), 20);
}

TEST(Lcsc, StaysWithinBoundsAndNorm) {
  for (const std::string search : {"steady_state", "cma_es"}) {
    const SearchProblem problem = combination(6, 500, 9, -0.2, 1);
    double low = 0;
    double length = 0;
    const Script script = script_for(problem, [&](const Candidate& c) {
      low = std::min(low, *std::min_element(c.point.begin(), c.point.end()));
      length = std::max(length, coefficient_norm(c.point));
      return scalar_outcome(-c.point[0] + c.point[1]);  // pulls out of any bound
    });
    const ScriptedRun run =
        run_lcsc(problem, {{"search", search}, {"norm_cap", 1.1}, {"initial_step", 0.5}}, script);
    EXPECT_EQ(low, -0.2);
    EXPECT_LE(length, 1.1);
    EXPECT_GT(length, 1.05);
    EXPECT_LT(run.report.rows[0].estimates[0].mean, -1);
  }
}

TEST(Lcsc, ThePenaltyKeepsTheResultNearTheBestEma) {
  const SearchProblem problem = combination(10, 600, 10);
  const Script script =
      script_for(problem, [](const Candidate& c) { return scalar_outcome(bowl(c.point)); });
  const auto distance = [&](double weight) {
    const ScriptedRun run = run_lcsc(problem, {{"ema_penalty", weight}}, script);
    return squared_distance(run.report.rows[0].point, run.report.rows[1].point);
  };
  const double free = distance(0);
  EXPECT_LT(distance(10), 0.5 * free);
  EXPECT_LT(distance(1e6), 1e-2 * free);
}

TEST(Lcsc, ShrinksItsLastStageToASmallBudget) {
  const std::uint64_t least = lcsc_least_trials(lcsc_seeds(combination(6, 0, 1).space).all.size());
  for (const std::uint64_t trials : {least, least + 1, 2 * least, 3 * least, 200UL, 333UL}) {
    for (const std::string search : {"steady_state", "cma_es"}) {
      const SearchProblem problem = combination(6, trials, 11);
      const Script script = script_for(
          problem, [](const Candidate& c) { return scalar_outcome(bowl(c.point) + noise(c, 1)); },
          3);
      const ScriptedRun run = run_lcsc(problem, {{"search", search}}, script);
      ASSERT_EQ(run.report.rows.size(), 4U);
      for (const ReportRow& row : run.report.rows) EXPECT_GE(row.estimates.at(0).count, 1U);
      EXPECT_LE(run.evaluated, trials);
      EXPECT_GE(run.evaluated + run.evaluated / 4 + 12, trials) << "most of it is used";
    }
  }
}

TEST(Lcsc, PlansWhatTheParametersAskWhenTheBudgetAllows) {
  const LcscPlan plan = lcsc_plan({}, 2000);
  EXPECT_EQ(plan.anchors, 8U);
  EXPECT_EQ(plan.replicates, 10U);
  EXPECT_EQ(plan.candidates, 20U);
  EXPECT_EQ(plan.selection_replicates, 4U);
  EXPECT_EQ(plan.report_replicates, 10U);
  EXPECT_EQ(plan.final_cost(), 4U * (20 + 3 + 5 + 2) + 4 * 10);
  const LcscPlan small = lcsc_plan({}, 100);
  EXPECT_LE(small.final_cost(), 25U);
  EXPECT_LE(small.anchors * (small.replicates - 1), 10U);
}

TEST(Lcsc, SendsTheFidelities) {
  const SearchProblem problem = combination(4, 200, 12);
  const Script script = script_for(problem, [](const Candidate& c) {
    EXPECT_EQ(c.fidelity, c.tag.starts_with("report:") ? 5000U : 1000U);
    return scalar_outcome(bowl(c.point));
  });
  run_lcsc(problem, {{"fidelity", std::int64_t{1000}}, {"report_fidelity", std::int64_t{5000}}},
           script);
}

std::string refusal(const SearchProblem& problem, const ParamValues& params = {}) {
  const Problems problems = lcsc_optimizer().check(problem, params);
  return problems.empty() ? "" : problems.front().pointer + ": " + problems.front().message;
}

TEST(Lcsc, RefusesWhatItCannotDo) {
  EXPECT_EQ(refusal(combination(5, 100, 1)), "");

  SearchProblem two = combination(5, 100, 1);
  two.objectives.push_back({"time", Goal::minimize});
  EXPECT_NE(refusal(two).find("/objectives: lcsc searches for one objective"), std::string::npos);

  SearchProblem real = combination(5, 100, 1);
  Parameter x;
  x.name = "x";
  real.space = SearchSpace::make({x}).value();
  EXPECT_NE(refusal(real).find("/space: lcsc needs exactly one parameter, of type affine"),
            std::string::npos);

  EXPECT_NE(refusal(combination(5, 100, 1, 0.1, 1)).find("/space/0"), std::string::npos);
  EXPECT_NE(refusal(combination(5, 0, 1)).find("a limit"), std::string::npos);
  EXPECT_NE(refusal(combination(5, 100, 1), {{"population", std::int64_t{2}}}).find("population"),
            std::string::npos);
  EXPECT_NE(refusal(combination(5, 100, 1), {{"elitess", std::int64_t{2}}}).find("elitess"),
            std::string::npos);

  const std::uint64_t least = lcsc_least_trials(lcsc_seeds(combination(5, 0, 1).space).all.size());
  EXPECT_EQ(refusal(combination(5, least, 1)), "");
  EXPECT_NE(refusal(combination(5, least - 1, 1)).find("at least " + std::to_string(least)),
            std::string::npos);
}

}  // namespace
}  // namespace paretod
