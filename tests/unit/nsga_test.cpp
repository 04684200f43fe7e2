// The steady-state searches nsga2 and nsga3, their population, and sobol.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <pagmo/utils/multi_objective.hpp>
#include <set>

#include "optimizers/core/front.hpp"
#include "optimizers/core/stagnation.hpp"
#include "optimizers/nsga2.hpp"
#include "optimizers/nsga3.hpp"
#include "optimizers/random.hpp"
#include "optimizers/ranked_population.hpp"
#include "optimizers/sobol.hpp"
#include "optimizers/sobol_sequence.hpp"
#include "tests/support/mixed_space.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

using testing::HasSubstr;

Outcome outcome_of(std::vector<double> values, std::vector<double> constraints = {}) {
  Outcome outcome;
  for (const double value : values) outcome.objectives.push_back({value});
  outcome.constraints = std::move(constraints);
  return outcome;
}

SearchProblem box(std::size_t dimension, std::size_t objectives, std::uint64_t trials) {
  std::vector<Parameter> parameters(dimension);
  for (std::size_t i = 0; i < dimension; ++i) parameters[i].name = "x" + std::to_string(i);
  SearchProblem problem;
  problem.space = SearchSpace::make(std::move(parameters)).value();
  for (std::size_t k = 0; k < objectives; ++k)
    problem.objectives.push_back({"f" + std::to_string(k)});
  problem.seed = 5;
  problem.trials = trials;
  return problem;
}

Outcome zdt1(const Candidate& candidate) {
  const Point& x = candidate.point;
  double g = 1;
  for (std::size_t i = 1; i < x.size(); ++i) g += 9 * x[i] / static_cast<double>(x.size() - 1);
  return outcome_of({x[0], g * (1 - std::sqrt(x[0] / g))});
}

Outcome dtlz2(const Candidate& candidate) {
  const Point& x = candidate.point;
  double g = 1;
  for (std::size_t i = 2; i < x.size(); ++i) g += (x[i] - 0.5) * (x[i] - 0.5);
  const double a = x[0] * 1.5707963267948966;
  const double b = x[1] * 1.5707963267948966;
  return outcome_of(
      {g * std::cos(a) * std::cos(b), g * std::cos(a) * std::sin(b), g * std::sin(a)});
}

ScriptedRun run(const Optimizer& optimizer, const SearchProblem& problem,
                const std::function<Outcome(const Candidate&)>& outcome,
                std::size_t parallelism = 1, const ParamValues& params = {}) {
  Script script;
  script.outcome = outcome;
  script.budget = problem.trials;
  script.parallelism = parallelism;
  const Problems problems = optimizer.check(problem, params);
  EXPECT_TRUE(problems.empty()) << problems[0].pointer << problems[0].message;
  return run_scripted(optimizer, problem, params, script);
}

double volume(const ScriptedRun& run, const std::vector<double>& reference) {
  std::vector<std::vector<double>> points;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind != ScriptedEvent::Kind::told || event.outcome.objectives.empty()) continue;
    std::vector<double> y;
    for (const Measurement& m : event.outcome.objectives) y.push_back(m.value);
    points.push_back(std::move(y));
  }
  return hypervolume(std::move(points), reference);
}

std::string refusal(const Optimizer& optimizer, const SearchProblem& problem,
                    const ParamValues& params = {}) {
  std::string text;
  for (const Problem& p : optimizer.check(problem, params)) text += p.pointer + ": " + p.message;
  return text;
}

TEST(RankedPopulation, AgreesWithNonDominatedSortingAsMembersComeAndGo) {
  Rng rng(1);
  RankedPopulation population;
  for (int step = 0; step < 600; ++step) {
    if (population.size() > 90) population.remove(rng.below(population.size()));
    Member member;
    for (int k = 0; k < 3; ++k) member.objectives.push_back(static_cast<double>(rng.below(12)));
    member.variances.assign(3, 0);
    population.add(std::move(member));
    if (step % 25 != 0 || population.size() < 2) continue;
    std::vector<std::vector<double>> points;
    for (const Member& m : population.members()) points.push_back(m.objectives);
    const auto sorted = pagmo::fast_non_dominated_sorting(points);
    const auto& ranks = std::get<3>(sorted);
    for (std::size_t i = 0; i < population.size(); ++i) ASSERT_EQ(population.rank(i), ranks[i]);
  }
}

TEST(RankedPopulation, FeasibleComesBeforeLessViolatedBeforeMore) {
  const RankedPopulation population;
  const Member good{{}, {5, 5}, {0, 0}, 0};
  const Member near{{}, {1, 1}, {0, 0}, 0.1};
  const Member far{{}, {0, 0}, {0, 0}, 2};
  EXPECT_TRUE(population.dominates(good, near));
  EXPECT_TRUE(population.dominates(near, far));
  EXPECT_FALSE(population.dominates(far, good));
}

TEST(RankedPopulation, AConfidenceAsksForADifferenceBeyondTheErrors) {
  const RankedPopulation sure(normal_quantile(0.95));
  const Member a{{}, {1, 1}, {0.01, 0.01}, 0};
  const Member slightly{{}, {1.1, 1.1}, {0.01, 0.01}, 0};
  const Member clearly{{}, {1.1, 1.5}, {0.01, 0.01}, 0};
  EXPECT_FALSE(sure.dominates(a, slightly));
  EXPECT_TRUE(sure.dominates(a, clearly));
  EXPECT_TRUE(RankedPopulation().dominates(a, slightly));
}

TEST(Nsga2, FindsTheFrontOfZdt1WithAnyNumberInFlight) {
  const SearchProblem problem = box(10, 2, 4000);
  for (const std::size_t parallelism : {1, 32}) {
    const ScriptedRun found = run(nsga2_optimizer(), problem, zdt1, parallelism);
    EXPECT_EQ(found.evaluated, 4000U);
    EXPECT_GT(volume(found, {1.1, 1.1}), 0.85) << "0.8767 is the true front's";
  }
  EXPECT_LT(volume(run(random_optimizer(), problem, zdt1), {1.1, 1.1}), 0.3);
}

TEST(Nsga2, KeepsEverySlotBusyAndNeverAsksTwice) {
  // Four values and two: 8 points in all.
  Parameter n{.name = "n", .type = ParameterType::integer, .low = 1, .high = 4};
  Parameter flag{.name = "flag", .type = ParameterType::boolean};
  SearchProblem problem = box(1, 2, 100);
  problem.space = SearchSpace::make({n, flag}).value();
  const ScriptedRun found = run(nsga2_optimizer(), problem,
                                [](const Candidate& c) {
                                  return outcome_of({c.point[0], c.point[1]});
                                },
                                3, {{"population", std::int64_t{4}}});
  EXPECT_EQ(found.evaluated, 8U);
  EXPECT_EQ(found.report.stop_reason, "every point of the space was tried");
  std::set<Point> points;
  for (const ScriptedEvent& event : found.log) {
    if (event.kind == ScriptedEvent::Kind::asked) {
      EXPECT_TRUE(points.insert(event.candidate.point).second);
    }
  }
}

TEST(Nsga2, PrefersWhatSatisfiesTheConstraints) {
  const auto constrained = [](const Candidate& c) {
    const double x = c.point[0];
    return outcome_of({x, c.point[1]}, {0.5 - x});  // x >= 0.5
  };
  const ScriptedRun found = run(nsga2_optimizer(), box(2, 2, 600), constrained);
  std::size_t feasible = 0;
  for (std::size_t i = found.log.size() - 400; i < found.log.size(); ++i) {
    const ScriptedEvent& event = found.log[i];
    if (event.kind == ScriptedEvent::Kind::told) feasible += event.outcome.constraints[0] <= 0;
  }
  EXPECT_GT(feasible, 120U) << "of the last 200; unconstrained, nearly none would be";
}

TEST(Nsga2, WorksThroughFailuresAndMixedSpaces) {
  SearchProblem problem = box(1, 2, 400);
  problem.space = mixed_space();
  const ScriptedRun found = run(
      nsga2_optimizer(), problem,
      [](const Candidate& c) {
        if (c.point[1] == 3) return Outcome::failure(TrialStatus::infeasible, "three is not");
        return outcome_of({c.point[0], std::abs(c.point[1] - 4)});
      },
      4);
  EXPECT_EQ(found.evaluated, 400U);
}

TEST(Nsga2, RepeatsMembersOfTheFrontWhenOutcomesAreNoisy) {
  SearchProblem problem = box(4, 2, 1500);
  problem.noise = {.confidence = 0.9, .replicates = 6};
  const ScriptedRun found = run(nsga2_optimizer(), problem, [](const Candidate& c) {
    Outcome outcome = zdt1(c);
    Rng rng(mix64(c.replicate, 3), hash_of(c.point));
    for (Measurement& m : outcome.objectives) m.value += 0.1 * rng.normal();
    return outcome;
  });
  std::map<Point, std::uint64_t> most;
  std::size_t repeats = 0;
  for (const ScriptedEvent& event : found.log) {
    if (event.kind != ScriptedEvent::Kind::asked || event.candidate.replicate == 0) continue;
    ++repeats;
    EXPECT_EQ(event.candidate.replicate, ++most[event.candidate.point]) << "blocks in order";
    EXPECT_LT(event.candidate.replicate, 6U);
  }
  EXPECT_GT(repeats, 200U) << "a quarter after the first population";
  EXPECT_LT(repeats, 500U);
}

TEST(Nsga2, StartsFromGivenPointsAndFromTrialsOfAnotherJob) {
  SearchProblem problem = box(3, 2, 120);
  problem.initial = {{0.25, 0, 0}, {0.75, 0, 0}};
  for (TrialNumber n = 1; n <= 30; ++n) {
    Trial known;
    known.number = n;
    known.candidate.point = {static_cast<double>(n) / 40, 0.001, 0};
    known.objectives = {static_cast<double>(n) / 40, 1 - std::sqrt(static_cast<double>(n) / 40)};
    known.standard_errors = {-1, -1};
    problem.known.push_back(std::move(known));
  }
  const ScriptedRun found = run(nsga2_optimizer(), problem, zdt1);
  EXPECT_EQ(found.log[0].candidate.point, problem.initial[0]);
  EXPECT_EQ(found.log[2].candidate.point, problem.initial[1]);
  for (const ScriptedEvent& event : found.log) {
    for (const Trial& known : problem.known) {
      ASSERT_FALSE(event.kind == ScriptedEvent::Kind::asked &&
                   event.candidate.point == known.candidate.point);
    }
  }
}

TEST(Nsga2, RefusesWhatItCannotUse) {
  EXPECT_EQ(refusal(nsga2_optimizer(), box(2, 2, 100)), "");
  EXPECT_THAT(refusal(nsga2_optimizer(), box(2, 5, 100)), HasSubstr("/objectives: "));
  EXPECT_THAT(refusal(nsga2_optimizer(), box(2, 2, 30), {{"population", std::int64_t{50}}}),
              HasSubstr("/optimizer/params/population: 50 is larger than the budget of 30 trials"));
  EXPECT_THAT(refusal(nsga2_optimizer(), box(2, 2, 30), {{"population", std::int64_t{1}}}),
              HasSubstr("/optimizer/params/population: must be at least 4"));
  EXPECT_THAT(refusal(nsga2_optimizer(), box(2, 2, 3)), HasSubstr("/budget/trials"));
}

TEST(Nsga2, AUsualPopulationFitsASmallBudget) {
  const auto asked = [](const Optimizer& optimizer, std::size_t objectives, std::uint64_t trials,
                        const ParamValues& params) {
    const ScriptedRun done =
        run(optimizer, box(3, objectives, trials), objectives == 2 ? zdt1 : dtlz2, 1, params);
    std::vector<Point> points;
    for (const ScriptedEvent& event : done.log) {
      if (event.kind == ScriptedEvent::Kind::asked) points.push_back(event.candidate.point);
    }
    return points;
  };
  const auto as_with = [&](const Optimizer& optimizer, std::size_t objectives, std::uint64_t trials,
                           std::int64_t population) {
    const auto usual = asked(optimizer, objectives, trials, {});
    EXPECT_EQ(usual.size(), trials);
    EXPECT_NE(usual, asked(optimizer, objectives, trials, {{"population", population - 1}}));
    return usual == asked(optimizer, objectives, trials, {{"population", population}});
  };
  EXPECT_TRUE(as_with(nsga2_optimizer(), 2, 49, 12));
  EXPECT_TRUE(as_with(nsga2_optimizer(), 2, 20, 5));
  EXPECT_TRUE(as_with(nsga2_optimizer(), 2, 60, 50)) << "as before there was a rule";
  EXPECT_TRUE(as_with(nsga3_optimizer(), 3, 60, 15));
  EXPECT_TRUE(as_with(nsga3_optimizer(), 3, 120, 91));
}

TEST(Nsga3, SpreadsAFrontOfThreeObjectives) {
  const ScriptedRun found = run(nsga3_optimizer(), box(7, 3, 4000), dtlz2, 8);
  EXPECT_GT(volume(found, {1.1, 1.1, 1.1}), 0.75) << "0.8074 is the true front's";
}

TEST(Nsga3, ReferenceDirectionsAreEvenSplits) {
  EXPECT_EQ(reference_directions(3, 12).size(), 91U);
  EXPECT_EQ(reference_directions(5, 6).size(), 210U);
  for (const auto& w : reference_directions(4, 5)) {
    double sum = 0;
    for (const double x : w) sum += x;
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(Nsga3, RefusesWhatItCannotUse) {
  EXPECT_EQ(refusal(nsga3_optimizer(), box(4, 8, 400)), "");
  EXPECT_THAT(refusal(nsga3_optimizer(), box(2, 1, 400)), HasSubstr("/objectives: "));
  EXPECT_THAT(refusal(nsga3_optimizer(), box(2, 3, 3)), HasSubstr("/budget/trials"));
  EXPECT_THAT(refusal(nsga3_optimizer(), box(2, 3, 50), {{"population", std::int64_t{91}}}),
              HasSubstr("/optimizer/params/population: 91 is larger than the budget of 50 trials"));
  EXPECT_THAT(refusal(nsga3_optimizer(), box(2, 5, 400), {{"divisions", std::int64_t{50}}}),
              HasSubstr("/optimizer/params/divisions"));
}

TEST(Sobol, EveryPrefixOfAPowerOfTwoIsEvenlySpread) {
  SobolSequence sequence(5, 42);
  std::vector<std::set<int>> cells(5);
  for (int i = 0; i < 64; ++i) {
    const auto point = sequence.next();
    for (std::size_t d = 0; d < 5; ++d) {
      ASSERT_GE(point[d], 0);
      ASSERT_LT(point[d], 1);
      cells[d].insert(static_cast<int>(point[d] * 64));
    }
  }
  for (const auto& seen : cells) EXPECT_EQ(seen.size(), 64U) << "one point in each of 64 parts";
  SobolSequence other(5, 43);
  EXPECT_NE(other.next(), SobolSequence(5, 42).next());
}

TEST(Sobol, AsksForTheInitialPointsAndThenFillsTheSpace) {
  SearchProblem problem = box(2, 1, 65);
  problem.initial = {{0.5, 0.5}};
  const ScriptedRun found = run(sobol_optimizer(), problem,
                                [](const Candidate& c) { return scalar_outcome(c.point[0]); });
  EXPECT_EQ(found.log[0].candidate.point, problem.initial[0]);
  EXPECT_EQ(found.evaluated, 65U);
}

// ---- stagnation --------------------------------------------------------------------------------

TEST(Stagnation, EndsASearchThatStopsGettingBetterAndOnlyThen) {
  const SearchProblem problem = box(3, 1, 5000);
  for (const bool stuck : {true, false}) {
    Script script;
    script.budget = problem.trials;
    double best = 1;
    script.outcome = [&](const Candidate&) { return scalar_outcome(stuck ? 1.0 : best *= 0.999); };
    ScriptedEvaluations evaluations(problem, script);
    StagnationWatch watch(evaluations, {.trials = 100, .tolerance = 1e-6});
    bool stagnated = false;
    try {
      random_optimizer().run(problem, {}, watch);
    } catch (const Stagnated&) {
      stagnated = true;
    }
    EXPECT_EQ(stagnated, stuck);
    if (stuck) {
      EXPECT_EQ(evaluations.evaluated(), 200U) << "the first hundred set the scale";
    }
    // An optimizer with a last stage may go on.
    if (stagnated) {
      EXPECT_NO_THROW(watch.submit({{0.5, 0.5, 0.5}, 0, 0, {}}));
    }
  }
}

TEST(Stagnation, SeveralObjectivesProgressByBoxes) {
  const SearchProblem problem = box(2, 2, 5000);
  Script script;
  script.budget = problem.trials;
  script.outcome = [](const Candidate& c) { return outcome_of({c.point[0], 1 - c.point[0]}); };
  ScriptedEvaluations evaluations(problem, script);
  StagnationWatch watch(evaluations, {.trials = 200, .tolerance = 0.05});
  EXPECT_THROW(random_optimizer().run(problem, {}, watch), Stagnated);
  EXPECT_LT(evaluations.evaluated(), 2000U) << "a front of twenty boxes is soon full";
}

}  // namespace
}  // namespace paretod
