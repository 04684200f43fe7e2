#include "optimizers/cmaes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "optimizers/cmaes_restarts.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

using Function = std::function<double(const Point&)>;

Parameter parameter(const std::string& name, ParameterType type, double low, double high) {
  Parameter made;
  made.name = name;
  made.type = type;
  made.low = low;
  made.high = high;
  return made;
}

SearchProblem box(std::size_t n, double low, double high, std::uint64_t seed = 1) {
  std::vector<Parameter> parameters;
  for (std::size_t i = 0; i < n; ++i) {
    parameters.push_back(parameter("x" + std::to_string(i), ParameterType::real, low, high));
  }
  return {SearchSpace::make(std::move(parameters)).value(), {{"f"}}, seed};
}

ScriptedRun search(const SearchProblem& problem, const std::function<Outcome(const Candidate&)>& f,
                   std::uint64_t budget, const ParamValues& params = {},
                   std::size_t parallelism = 1) {
  Script script;
  script.outcome = f;
  script.budget = budget;
  script.parallelism = parallelism;
  return run_scripted(cmaes_optimizer(), problem, params, script);
}

std::function<Outcome(const Candidate&)> scalar(Function f) {
  return [f](const Candidate& candidate) { return scalar_outcome(f(candidate.point)); };
}

double best_of(const ScriptedRun& run) {
  double best = std::numeric_limits<double>::infinity();
  for (const ScriptedEvent& event : run.log) {
    if (event.kind == ScriptedEvent::Kind::told && event.outcome.status == TrialStatus::ok) {
      best = std::min(best, event.outcome.objectives[0].value);
    }
  }
  return best;
}

double ellipsoid(const Point& x, double centre) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(x.size() - 1);
    sum += std::pow(1e4, share) * (x[i] - centre) * (x[i] - centre);
  }
  return sum;
}

TEST(CmaesOptimizer, FindsAnOptimumInsideAndOneInACorner) {
  const auto inside = [](const Point& x) { return ellipsoid(x, 1); };
  EXPECT_LT(best_of(search(box(8, -5, 5), scalar(inside), 5000)), 1e-8);
  const auto outside = [](const Point& x) { return ellipsoid(x, 7); };
  const double corner = ellipsoid(Point(8, 5), 7);
  EXPECT_LT(best_of(search(box(8, -5, 5), scalar(outside), 5000)), corner * (1 + 1e-6));
}

TEST(CmaesOptimizer, KeepsAllSlotsBusyAndStillConverges) {
  const auto f = [](const Point& x) { return ellipsoid(x, 1); };
  for (const std::size_t slots : {4U, 16U, 64U}) {
    const ScriptedRun run = search(box(8, -5, 5), scalar(f), 20000, {}, slots);
    std::size_t in_flight = 0, asked = 0;
    for (const ScriptedEvent& event : run.log) {
      if (event.kind == ScriptedEvent::Kind::asked) {
        ++in_flight;
        ++asked;
      } else {
        EXPECT_TRUE(in_flight == slots || asked == 20000) << "a result came while a slot was free";
        --in_flight;
      }
    }
    EXPECT_LT(best_of(run), 1e-6) << slots;
  }
}

TEST(RestartSchedule, DoublesThePopulationAndSpendsAsMuchOnSmallRunsAsOnLargeOnes) {
  Rng rng(1, 1);
  RestartSchedule ipop(RestartSchedule::Kind::ipop, 5, 8.83);
  for (const std::size_t population : {8U, 17U, 35U, 70U}) {
    const RestartSchedule::Run run = ipop.next(rng);
    EXPECT_EQ(run.population, population);
    EXPECT_EQ(run.sigma_factor, 1);
    ipop.end(1000);
    EXPECT_FALSE(ipop.over());
  }
  RestartSchedule bipop(RestartSchedule::Kind::bipop, 5, 8.83);
  std::uint64_t small = 0, large = 0;
  std::size_t largest = 8;
  for (int k = 0; k < 30; ++k) {
    const RestartSchedule::Run run = bipop.next(rng);
    const std::uint64_t trials = 100 * run.population;
    if (k > 0 && run.population > largest) {
      EXPECT_GE(small, large) << "a large run comes when the small ones have used as much";
      EXPECT_NEAR(static_cast<double>(run.population), 2.0 * static_cast<double>(largest), 1);
      largest = run.population;
      large += trials;
    } else {
      if (k > 0) {
        EXPECT_LT(small, std::max<std::uint64_t>(1, large));
        EXPECT_LT(run.sigma_factor, 1);
        EXPECT_GE(run.sigma_factor, 0.01);
        EXPECT_LE(run.most_generations * run.population, large / 2);
      }
      small += trials;
    }
    bipop.end(trials);
  }
  EXPECT_GT(largest, 100U);
  RestartSchedule none(RestartSchedule::Kind::none, 5, 8);
  EXPECT_FALSE(none.over());
  none.next(rng);
  EXPECT_TRUE(none.over());
}

TEST(CmaesOptimizer, LeavesLocalOptimaByRestarting) {
  const auto rastrigin = [](const Point& x) {
    double sum = 0;
    for (const double v : x)
      sum += 10 * (1 - std::cos(6.283185307179586 * (v - 1))) + (v - 1) * (v - 1);
    return sum;
  };
  for (const std::string restarts : {"ipop", "bipop"}) {
    EXPECT_LT(best_of(search(box(4, -5, 5), scalar(rastrigin), 60000, {{"restarts", restarts}})),
              1e-6);
  }
  const ScriptedRun once =
      search(box(4, -5, 5), scalar(rastrigin), 30000, {{"restarts", std::string("none")}});
  EXPECT_EQ(once.report.stop_reason, "converged");
  EXPECT_LT(once.evaluated, 5000U);
}

TEST(CmaesOptimizer, SolvesWholeNumbersAndBooleans) {
  std::vector<Parameter> parameters;
  for (int i = 0; i < 3; ++i) {
    parameters.push_back(parameter("x" + std::to_string(i), ParameterType::real, -5, 5));
    parameters.push_back(parameter("n" + std::to_string(i), ParameterType::integer, -20, 20));
    parameters.push_back(parameter("b" + std::to_string(i), ParameterType::boolean, 0, 1));
  }
  const auto f = [](const Point& x) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double centre = i % 3 == 0 ? 0.7 : i % 3 == 1 ? 13 : 1;
      sum += (x[i] - centre) * (x[i] - centre);
    }
    return sum;
  };
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const SearchProblem problem{SearchSpace::make(parameters).value(), {{"f"}}, seed};
    EXPECT_LT(best_of(search(problem, scalar(f), 4000)), 1e-6) << seed;
  }
  // Whole numbers alone.
  std::vector<Parameter> whole;
  for (const Parameter& p : parameters) {
    if (p.type != ParameterType::real) whole.push_back(p);
  }
  const auto g = [](const Point& x) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += std::abs(x[i] - (i % 2 == 0 ? 13 : 1));
    return sum;
  };
  const SearchProblem problem{SearchSpace::make(whole).value(), {{"f"}}, 3};
  EXPECT_EQ(best_of(search(problem, scalar(g), 1500)), 0);
}

TEST(CmaesOptimizer, TheDiagonalModeIsAutomaticInManyDimensions) {
  const auto f = [](const Point& x) { return ellipsoid(x, 1); };
  const SearchProblem wide = box(250, -5, 5);
  const double automatic = best_of(search(wide, scalar(f), 6000));
  EXPECT_EQ(automatic,
            best_of(search(wide, scalar(f), 6000, {{"covariance", std::string("diagonal")}})));
  EXPECT_LT(
      best_of(search(box(30, -5, 5), scalar(f), 8000, {{"covariance", std::string("diagonal")}})),
      1e-8);
}

TEST(CmaesOptimizer, FeasiblePointsComeFirst) {
  // The optimum is on the border of a half space; some of the rest fails.
  const auto f = [](const Candidate& candidate) {
    const Point& x = candidate.point;
    if (x[1] < -4) return Outcome::failure(TrialStatus::failed, "there");
    Outcome outcome = scalar_outcome(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
    outcome.constraints = {1 - x[0]};
    return outcome;
  };
  const ScriptedRun run = search(box(3, -5, 5), f, 3000);
  double best = std::numeric_limits<double>::infinity();
  for (const ScriptedEvent& event : run.log) {
    if (event.kind != ScriptedEvent::Kind::told || event.outcome.status != TrialStatus::ok)
      continue;
    if (violation_of(event.outcome.constraints) > 0) continue;
    best = std::min(best, event.outcome.objectives[0].value);
  }
  EXPECT_NEAR(best, 1, 1e-3);
}

TEST(CmaesOptimizer, BeginsWithTheInitialPointsAndAtTheBestKnown) {
  SearchProblem problem = box(5, -5, 5);
  const auto f = [](const Point& x) { return ellipsoid(x, 3); };
  problem.initial = {Point(5, -2.0), Point(5, 3.001), Point(5, 0.0)};
  const ParamValues fine = {{"sigma", 1e-4}};
  const ScriptedRun run = search(problem, scalar(f), 300, fine, 2);
  std::vector<Point> asked;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind == ScriptedEvent::Kind::asked) asked.push_back(event.candidate.point);
  }
  EXPECT_TRUE(std::equal(problem.initial.begin(), problem.initial.end(), asked.begin()));
  for (const double x : asked.back()) EXPECT_NEAR(x, 3, 0.1);

  problem.initial.clear();
  problem.known = {trial_view(1, {Point(5, 3.001)}, scalar_outcome(1), problem.objectives)};
  const ScriptedRun imported = search(problem, scalar(f), 1, fine);
  for (const double x : imported.log[0].candidate.point) EXPECT_NEAR(x, 3, 0.1);

  // Both: more is imported than is to be measured first.
  problem.initial = {Point(5, 0.0)};
  problem.known.push_back(problem.known[0]);
  const ScriptedRun both = search(problem, scalar(f), 20, fine);
  EXPECT_EQ(both.log[0].candidate.point, problem.initial[0]);
  for (const ScriptedEvent& event : both.log) {
    if (event.kind != ScriptedEvent::Kind::asked || event.number == 1) continue;
    for (const double x : event.candidate.point) EXPECT_NEAR(x, 3, 0.1);
  }
}

TEST(CmaesOptimizer, SpreadsSeveralObjectivesOverTheirTradeOffs) {
  SearchProblem problem = box(5, 0, 1);
  problem.objectives = {{"f"}, {"g"}};
  const auto zdt1 = [](const Candidate& candidate) {
    const Point& x = candidate.point;
    double rest = 0;
    for (std::size_t i = 1; i < x.size(); ++i) rest += x[i];
    const double g = 1 + 9 * rest / static_cast<double>(x.size() - 1);
    Outcome outcome = scalar_outcome(x[0]);
    outcome.objectives.push_back({.value = g * (1 - std::sqrt(x[0] / g))});
    return outcome;
  };
  const ScriptedRun run = search(problem, zdt1, 6000);
  for (const double along : {0.1, 0.3, 0.5, 0.7, 0.9}) {
    double nearest = 1;
    for (const ScriptedEvent& event : run.log) {
      if (event.kind != ScriptedEvent::Kind::told) continue;
      nearest =
          std::min(nearest, std::hypot(event.outcome.objectives[0].value - along,
                                       event.outcome.objectives[1].value - 1 + std::sqrt(along)));
    }
    EXPECT_LT(nearest, 0.1) << along;
  }
}

TEST(CmaesOptimizer, SearchesASimplex) {
  Parameter shares = parameter("shares", ParameterType::simplex, 0, 1);
  shares.size = 5;
  const SearchProblem problem{SearchSpace::make({shares}).value(), {{"f"}}, 1};
  const std::vector<double> wanted = {0.5, 0.3, 0.2, 0, 0};
  const auto f = [&](const Point& x) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - wanted[i]) * (x[i] - wanted[i]);
    return sum;
  };
  EXPECT_LT(best_of(search(problem, scalar(f), 3000)), 1e-6);
}

TEST(CmaesOptimizer, NamesWhatItCannotUse) {
  Parameter kind = parameter("kind", ParameterType::categorical, 0, 1);
  kind.choices = {"a", "b", "c"};
  Parameter flag = parameter("flag", ParameterType::boolean, 0, 1);
  Parameter order = parameter("order", ParameterType::permutation, 0, 1);
  order.choices = {"a", "b"};
  Parameter x = parameter("x", ParameterType::real, 0, 1);
  x.when = Condition{"flag", {1}};
  const SearchProblem problem{SearchSpace::make({kind, flag, order, x}).value(), {{"f"}}};
  const Problems problems = cmaes_optimizer().check(
      problem, {{"population", std::int64_t{3}}, {"directions", std::int64_t{2}}});
  std::vector<std::string> pointers;
  for (const auto& found : problems) pointers.push_back(found.pointer);
  EXPECT_EQ(pointers, (std::vector<std::string>{"/optimizer/params/population",
                                                "/optimizer/params/directions", "/space/0",
                                                "/space/2", "/space/3/when"}));
  EXPECT_NE(problems[2].message.find("nsga2"), std::string::npos);
}

}  // namespace
}  // namespace paretod
