#include "optimizers/pagmo_bridge.hpp"

#include <gtest/gtest.h>

#include <array>

#include <cmath>
#include <set>

#include "optimizers/core/front.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

Parameter real(const std::string& name, double low, double high, bool log_scale = false) {
  Parameter parameter;
  parameter.name = name;
  parameter.low = low;
  parameter.high = high;
  parameter.log_scale = log_scale;
  return parameter;
}

SearchProblem two_objectives(std::vector<Parameter> parameters, std::uint64_t trials) {
  return {SearchSpace::make(std::move(parameters)).value(),
          {{"f1", Goal::minimize}, {"f2", Goal::minimize}},
          1,
          trials};
}

std::vector<Parameter> unit_box(std::size_t dimension) {
  std::vector<Parameter> parameters;
  for (std::size_t i = 0; i < dimension; ++i) {
    parameters.push_back(real("x" + std::to_string(i), 0, 1));
  }
  return parameters;
}

Outcome two(double f1, double f2) {
  Outcome outcome;
  outcome.objectives = {{.value = f1}, {.value = f2}};
  return outcome;
}

/// ZDT1 (Zitzler, Deb, Thiele 2000): the front is f2 = 1 - sqrt(f1).
Outcome zdt1(const Candidate& candidate) {
  double g = 1;
  for (std::size_t i = 1; i < candidate.point.size(); ++i) {
    g += 9 * candidate.point[i] / static_cast<double>(candidate.point.size() - 1);
  }
  return two(candidate.point[0], g * (1 - std::sqrt(candidate.point[0] / g)));
}

Script script_for(const SearchProblem& problem, std::function<Outcome(const Candidate&)> outcome) {
  Script script;
  script.outcome = std::move(outcome);
  script.budget = problem.trials;
  script.parallelism = 8;
  return script;
}

double hypervolume_of(const ScriptedRun& run) {
  ParetoArchive archive;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind != ScriptedEvent::Kind::told || event.outcome.status != TrialStatus::ok)
      continue;
    const std::array y{event.outcome.objectives[0].value, event.outcome.objectives[1].value};
    archive.insert(event.number, y);
  }
  return hypervolume(archive.all_objectives(), {1.1, 1.1});
}

TEST(PagmoBridge, FindsTheFrontOfZdt1) {
  const SearchProblem problem = two_objectives(unit_box(10), 8000);
  const ScriptedRun run = run_scripted(pagmo_optimizer(), problem, {}, script_for(problem, zdt1));
  EXPECT_EQ(run.evaluated, 8000U);
  EXPECT_EQ(run.report.stop_reason, "budget");
  EXPECT_GT(hypervolume_of(run), 0.86) << "the whole front gives 0.8767";
}

TEST(PagmoBridge, SpendsTheBudgetEvenWithinAGeneration) {
  const SearchProblem problem = two_objectives(unit_box(3), 50);
  const ScriptedRun run = run_scripted(
      pagmo_optimizer(), problem, {{"population", std::int64_t{16}}}, script_for(problem, zdt1));
  EXPECT_EQ(run.evaluated, 50U);
  EXPECT_EQ(run.log.size(), 100U) << "nothing is left in flight";
}

TEST(PagmoBridge, StopsAfterItsGenerations) {
  const SearchProblem problem = two_objectives(unit_box(3), 1000);
  const ScriptedRun run =
      run_scripted(pagmo_optimizer(), problem,
                   {{"population", std::int64_t{12}}, {"generations", std::int64_t{5}}},
                   script_for(problem, zdt1));
  EXPECT_EQ(run.report.stop_reason, "generations");
  EXPECT_EQ(run.evaluated, 12U * 6);
}

TEST(PagmoBridge, ExploresMixedSpacesInTheOrderOfTheSpace) {
  Parameter steps;
  steps.name = "steps";
  steps.type = ParameterType::integer;
  steps.low = -3;
  steps.high = 4;
  Parameter flag;
  flag.name = "flag";
  flag.type = ParameterType::boolean;
  const SearchProblem problem = two_objectives(
      {steps, real("rate", 1e-6, 1, true), flag, real("fixed", 2, 2), real("x", -1, 1)}, 2000);
  std::set<double> seen;
  std::size_t small = 0;
  std::size_t first = 0;
  const ScriptedRun run = run_scripted(
      pagmo_optimizer(), problem, {{"population", std::int64_t{100}}},
      script_for(problem, [&](const Candidate& c) {
        seen.insert(c.point[0]);
        EXPECT_TRUE(c.point[2] == 0 || c.point[2] == 1);
        EXPECT_EQ(c.point[3], 2);
        if (first++ < 100 && c.point[1] < 1e-3) ++small;
        const double miss = std::pow(std::log10(c.point[1]) + 5, 2) + (1 - c.point[2]);
        return two(std::pow(c.point[0] - 2, 2) + miss, std::pow(c.point[4] - 0.5, 2) + miss);
      }));
  EXPECT_EQ(seen.size(), 8U);
  EXPECT_GT(small, 25U) << "half of the first generation is expected below 1e-3";
  EXPECT_EQ(run.report.stop_reason, "budget");
  EXPECT_GT(hypervolume_of(run), 1.2) << "1.21 at the optimum, which both objectives share";
}

TEST(PagmoBridge, FailedTrialsDieOutAndDoNotSpoilTheFront) {
  const SearchProblem problem = two_objectives(unit_box(10), 8000);
  const ScriptedRun run =
      run_scripted(pagmo_optimizer(), problem, {}, script_for(problem, [](const Candidate& c) {
                     if (c.point[1] > 0.5) return Outcome::failure(TrialStatus::failed, "crashed");
                     return zdt1(c);
                   }));
  std::size_t late = 0;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind == ScriptedEvent::Kind::told && event.number > 6000 &&
        event.outcome.status == TrialStatus::failed) {
      ++late;
    }
  }
  EXPECT_LT(late, 100U);
  EXPECT_GT(hypervolume_of(run), 0.86);
}

TEST(PagmoBridge, LetsStopsPassThroughPagmoUnharmed) {
  const SearchProblem problem = two_objectives(unit_box(3), 1000);
  // ScriptedCrash is thrown by submit() and next() alike, in the first generation and later;
  // the sanitizer builds see any leak.
  for (std::size_t events = 1; events < 200; ++events) {
    Script script = script_for(problem, zdt1);
    script.crash_after = events;
    const ScriptedRun run =
        run_scripted(pagmo_optimizer(), problem, {{"population", std::int64_t{12}}}, script);
    EXPECT_TRUE(run.crashed);
    EXPECT_EQ(run.log.size(), events);
  }
}

std::string refusal(const SearchProblem& problem, const ParamValues& params = {}) {
  const Problems problems = pagmo_optimizer().check(problem, params);
  return problems.empty() ? "" : problems.front().pointer + ": " + problems.front().message;
}

TEST(PagmoBridge, RefusesWhatItCannotDo) {
  EXPECT_EQ(refusal(two_objectives(unit_box(2), 100)), "");
  EXPECT_EQ(refusal(two_objectives(unit_box(2), 0)), "") << "without a limit it runs until stopped";

  SearchProblem one = two_objectives(unit_box(2), 100);
  one.objectives.pop_back();
  EXPECT_EQ(refusal(one), "/objectives: nsga2 needs at least 2 objectives; there are 1");

  std::vector<Parameter> parameters = unit_box(2);
  Parameter kind;
  kind.name = "kind";
  kind.type = ParameterType::categorical;
  kind.choices = {"a", "b"};
  parameters.push_back(kind);
  EXPECT_EQ(refusal(two_objectives(parameters, 100)),
            "/space/2: nsga2 needs ordered values; \"kind\" is categorical");

  EXPECT_EQ(refusal(two_objectives({real("x", 3, 3)}, 100)),
            "/space: every parameter is fixed: there is nothing to search");

  const SearchProblem problem = two_objectives(unit_box(2), 100);
  for (const std::int64_t population : {4, 10, 101}) {
    EXPECT_NE(refusal(problem, {{"population", population}}).find("multiple of 4"),
              std::string::npos);
  }
  EXPECT_NE(refusal(problem, {{"population", std::int64_t{104}}}).find("larger than the budget"),
            std::string::npos);
  EXPECT_NE(refusal(problem, {{"algorithm", std::string("nsga4")}}).find("one of: nsga2"),
            std::string::npos);
}

TEST(PagmoBridge, AcceptsTheExtremesOfItsParameters) {
  const SearchProblem problem = two_objectives(unit_box(2), 200);
  for (const FieldInfo& field : pagmo_optimizer().fields) {
    if (!std::holds_alternative<double>(field.default_value)) continue;
    for (const double value : {field.low, field.high}) {
      const ParamValues params{{field.name, value}, {"population", std::int64_t{8}}};
      ASSERT_EQ(refusal(problem, params), "");
      EXPECT_EQ(
          run_scripted(pagmo_optimizer(), problem, params, script_for(problem, zdt1)).evaluated,
          200U)
          << field.name << " " << value;
    }
  }
}

}  // namespace
}  // namespace paretod
