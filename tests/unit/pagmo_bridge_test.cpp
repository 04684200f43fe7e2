#include "optimizers/pagmo_bridge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "optimizers/core/front.hpp"
#include "optimizers/random.hpp"
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
  EXPECT_EQ(refusal(one),
            "/objectives: nsga2 needs at least 2 objectives; there are 1, for which pagmo has ihs, "
            "gaco, pso_gen, pso, de, sade, de1220, cmaes, xnes, sga, bee_colony, gwo, sea, "
            "simulated_annealing, compass_search, mbh");

  std::vector<Parameter> parameters = unit_box(2);
  Parameter kind;
  kind.name = "kind";
  kind.type = ParameterType::categorical;
  kind.choices = {"a", "b"};
  parameters.push_back(kind);
  EXPECT_EQ(refusal(two_objectives(parameters, 100)),
            "/space/2: nsga2 needs ordered values; \"kind\" is categorical: use paretod's own "
            "optimizer nsga2, or an integer if the choices have an order");

  EXPECT_EQ(refusal(two_objectives({real("x", 3, 3)}, 100)),
            "/space: every parameter is fixed: there is nothing to search");

  const SearchProblem problem = two_objectives(unit_box(2), 100);
  EXPECT_NE(refusal(problem, {{"population", std::int64_t{4}}}).find("between 8 and"),
            std::string::npos);
  for (const std::int64_t population : {10, 101}) {
    EXPECT_NE(refusal(problem, {{"population", population}}).find("multiple of 4"),
              std::string::npos);
  }
  EXPECT_NE(refusal(problem, {{"population", std::int64_t{104}}}).find("larger than the budget"),
            std::string::npos);
  EXPECT_NE(refusal(problem, {{"algorithm", std::string("nsga4")}}).find("one of: nsga2"),
            std::string::npos);
}

TEST(PagmoBridge, RefusalsPointAtTheFieldAndNameTheRemedy) {
  struct Row {
    std::size_t objectives;
    std::uint64_t trials;
    ParamValues params;
    std::string expected;
  };
  const auto named = [](const std::string& name, ParamValues params = {}) {
    params["algorithm"] = name;
    return params;
  };
  const std::string at = "/optimizer/params/";
  const std::vector<Row> rows{
      {2, 900, named("de"),
       "/objectives: de needs at most 1 objective; there are 2, for which "
       "pagmo has nsga2, moead, nspso, maco, ihs"},
      {1, 900, named("moead"), "/objectives: moead needs at least 2"},
      {1, 900, named("de", {{"omega", 0.5}}),
       at + "omega: de has no parameter \"omega\" (nspso, pso_gen, pso would); it has: algorithm, "
            "fidelity, population, generations, F, CR, variant, ftol, xtol"},
      {1, 900, named("de", {{"nonsense", 0.5}}),
       at + "nonsense: de has no parameter \"nonsense\";"},
      {2, 900, {{"CR", 0.5}}, at + "CR: nsga2 has no parameter \"CR\" (moead, de would)"},
      {1, 900, named("compass_search", {{"generations", std::int64_t{5}}}), at + "generations: "},
      {1, 900, named("de", {{"F", 2.0}}), at + "F: must be between 0 and 1"},
      {1, 900, named("de", {{"F", std::string("x")}}), at + "F: must be a number"},
      {1, 900, named("de", {{"population", std::int64_t{4}}}),
       at + "population: must be between 5"},
      {1, 30, named("de"), ""},
      {1, 30, named("de", {{"population", std::int64_t{40}}}),
       at + "population: 40 is larger than the budget of 30 trials"},
      {1, 4, named("de"), "/budget/trials: the least population is 5"},
      {2, 40, named("maco"), "/budget/trials: is less than the usual population of maco"},
      {1, 0, named("gwo"), at + "generations: gwo plans its course"},
      {1, 0, named("gwo", {{"generations", std::int64_t{9}}}), ""},
      {3, 900, named("moead"),
       at + "population: with 3 objectives a grid of weights has 91 or 105"},
      {3, 900, named("moead", {{"population", std::int64_t{91}}}), ""},
      {3, 900, named("moead", {{"weight_generation", std::string("random")}}), ""},
      {2, 900, named("moead", {{"population", std::int64_t{20}}}), at + "neighbours: must be less"},
      {2, 900, named("maco", {{"population", std::int64_t{40}}}), at + "ker: is 63"},
      {1, 900, named("gaco", {{"population", std::int64_t{40}}}), at + "ker: is 63"},
      {1, 900, named("pso", {{"neighb_param", std::int64_t{50}}}), at + "neighb_param: "},
      {1, 900, named("cmaes", {{"cc", -0.5}}), at + "cc: must be -1"},
      {1, 900, named("xnes", {{"sigma0", 0.0}}), at + "sigma0: must be -1"},
      {1, 900, named("sga", {{"param_m", 0.5}}), at + "param_m: must be at least 1"},
      {1, 900, named("sga", {{"crossover", std::string("sbx")}, {"population", std::int64_t{5}}}),
       at + "population: must be even"},
      {1, 900, named("simulated_annealing", {{"Tf", 20.0}}), at + "Tf: must be at most Ts"},
      {1, 900, named("compass_search", {{"stop_range", 0.5}}), at + "stop_range: must be less"},
      {1, 900, named("mbh", {{"stop_range", 0.5}}), at + "stop_range: must be less"},
      {1, 900, named("ihs", {{"bw_min", 2.0}}), at + "bw_min: must be below"},
      {1, 900, named("de1220", {{"allowed_variants", std::vector<double>{}}}),
       at + "allowed_variants: needs"},
      {1, 900, named("de1220", {{"allowed_variants", std::vector<double>{2, 2.5}}}),
       at + "allowed_variants/1: must be a whole"},
  };
  for (const Row& row : rows) {
    SearchProblem problem = two_objectives(unit_box(2), row.trials);
    problem.objectives.resize(row.objectives, {"f3", Goal::minimize});
    const std::string text = refusal(problem, row.params);
    EXPECT_EQ(text.substr(0, row.expected.size()), row.expected);
    EXPECT_EQ(text.empty(), row.expected.empty()) << text;
  }
  SearchProblem noisy = two_objectives(unit_box(2), 900);
  noisy.noise.confidence = 0.9;
  EXPECT_EQ(refusal(noisy).substr(0, 8), "/noise: ");

  Parameter schedule;
  schedule.name = "steps";
  schedule.type = ParameterType::schedule;
  schedule.least = 1;
  schedule.most = 3;
  EXPECT_EQ(refusal(two_objectives({schedule}, 900)), "");
  schedule.choices = {"euler", "heun"};
  EXPECT_EQ(refusal(two_objectives({schedule}, 900)).substr(0, 16), "/space/0/choices");
}

// ---------------------------------------------------------------- every algorithm

const FieldInfo& algorithm_field() {
  static const Optimizer optimizer = pagmo_optimizer();
  return *std::find_if(optimizer.fields.begin(), optimizer.fields.end(),
                       [](const FieldInfo& field) { return field.name == "algorithm"; });
}

class PagmoAlgorithms : public testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] static bool several() {
    return std::set<std::string>{"nsga2", "moead", "nspso", "maco"}.contains(GetParam());
  }
  [[nodiscard]] static bool batches() {
    return std::set<std::string>{"nsga2", "nspso", "maco", "gaco", "pso_gen"}.contains(GetParam());
  }
  [[nodiscard]] static ParamValues params(ParamValues more = {}) {
    more["algorithm"] = GetParam();
    return more;
  }
  /// A population that suits all of them.
  [[nodiscard]] static ParamValues small(ParamValues more = {}) {
    more.emplace("population", std::int64_t{24});
    if (GetParam() == "maco" || GetParam() == "gaco") more.emplace("ker", std::int64_t{20});
    return params(std::move(more));
  }
  [[nodiscard]] static SearchProblem problem(std::vector<Parameter> parameters,
                                             std::uint64_t trials) {
    SearchProblem made = two_objectives(std::move(parameters), trials);
    if (!several()) made.objectives.pop_back();
    return made;
  }
  [[nodiscard]] static Outcome outcome(const Candidate& candidate) {
    if (several()) return zdt1(candidate);
    double sum = 0;
    for (const double x : candidate.point) sum += (x - 0.3) * (x - 0.3);
    return scalar_outcome(sum);
  }
  /// Larger is better.
  [[nodiscard]] static double merit(const ScriptedRun& run) {
    if (several()) return hypervolume_of(run);
    double best = std::numeric_limits<double>::infinity();
    for (const ScriptedEvent& event : run.log) {
      if (event.kind != ScriptedEvent::Kind::told || event.outcome.status != TrialStatus::ok)
        continue;
      best = std::min(best, event.outcome.objectives[0].value);
    }
    return -std::log(best + 1e-12);
  }
  /// Most trials in flight, from the given trial on.
  [[nodiscard]] static int most_in_flight(const ScriptedRun& run, TrialNumber from) {
    int now = 0;
    int most = 0;
    for (const ScriptedEvent& event : run.log) {
      now += event.kind == ScriptedEvent::Kind::asked ? 1 : -1;
      if (event.number >= from) most = std::max(most, now);
    }
    return most;
  }
};

TEST_P(PagmoAlgorithms, BeatRandomSearchClearly) {
  const SearchProblem job = problem(unit_box(6), 2000);
  ParamValues given = params();
  if (GetParam() == "simulated_annealing") {  // pagmo's temperatures are far above these values
    given = params({{"Ts", 0.1}, {"Tf", 1e-4}});
  }
  ASSERT_EQ(refusal(job, given), "");
  const ScriptedRun found = run_scripted(pagmo_optimizer(), job, given, script_for(job, outcome));
  const ScriptedRun drawn = run_scripted(random_optimizer(), job, {}, script_for(job, outcome));
  EXPECT_GT(merit(found), merit(drawn) + (several() ? 0.1 : std::log(3.0)));
}

TEST_P(PagmoAlgorithms, SpendTheBudgetAndNotMore) {
  const SearchProblem job = problem(unit_box(3), 103);
  // Those that end by themselves are kept from it.
  ParamValues more;
  if (std::set<std::string>{"de", "sade", "de1220", "cmaes", "xnes"}.contains(GetParam())) {
    more = {{"ftol", 0.0}, {"xtol", 0.0}};
  } else if (GetParam() == "compass_search" || GetParam() == "mbh") {
    more = {{"stop_range", 1e-12}};
  }
  const ScriptedRun run =
      run_scripted(pagmo_optimizer(), job, small(more), script_for(job, outcome));
  EXPECT_EQ(run.evaluated, 103U);
  EXPECT_EQ(run.log.size(), 206U) << "nothing is left in flight";
}

TEST_P(PagmoAlgorithms, AskInBatchesWhereTheyClaimTo) {
  const SearchProblem job = problem(unit_box(3), 120);
  const ScriptedRun run = run_scripted(pagmo_optimizer(), job, small(), script_for(job, outcome));
  EXPECT_EQ(most_in_flight(run, 1), 24) << "the first population is asked for at once";
  EXPECT_EQ(most_in_flight(run, 25), batches() ? 24 : 1);
  const std::string& meaning = algorithm_field().meaning;
  const bool said = meaning.find(" " + GetParam() + ",") != std::string::npos ||
                    meaning.find(" " + GetParam() + " evaluate") != std::string::npos;
  EXPECT_EQ(said, batches()) << meaning;
}

TEST_P(PagmoAlgorithms, BeginWithTheInitialPointsAndKeepKnownTrials) {
  SearchProblem job = problem(unit_box(3), 200);
  job.initial = {{0.25, 0.5, 0.75}, {1, 1, 1}};
  for (int i = 0; i < 60; ++i) {
    Trial trial;
    trial.number = static_cast<TrialNumber>(i) + 1;
    trial.candidate.point = {0.3, 0.3 - 0.001 * i, 0.3};
    trial.objectives = {0.1 + i, 0.1 + i};
    trial.objectives.resize(job.objectives.size());
    job.known.push_back(trial);
  }
  const auto first_asked = [&](const SearchProblem& asked) {
    const ScriptedRun run =
        run_scripted(pagmo_optimizer(), asked, small(), script_for(asked, outcome));
    EXPECT_GE(run.log.size(), 2U);
    EXPECT_EQ(run.log[0].candidate.point, asked.initial[0]);
    EXPECT_EQ(run.log[1].candidate.point, asked.initial[1]);
    return most_in_flight(run, 1);
  };
  // Known trials fill the population: there is nothing to add to the initial points but what a
  // batch of the algorithm holds.
  EXPECT_EQ(first_asked(job), batches() ? 24 : 2);
  job.known.resize(10);
  EXPECT_EQ(first_asked(job), batches() ? 24 : 14);
  job.known.clear();
  EXPECT_EQ(first_asked(job), 24);
}

TEST_P(PagmoAlgorithms, SearchEverySpaceThatHasAnOrder) {
  std::vector<Parameter> parameters = unit_box(1);
  parameters.push_back(real("rate", 1e-6, 1, true));
  const auto add = [&](const std::string& name, ParameterType type) -> Parameter& {
    Parameter parameter;
    parameter.name = name;
    parameter.type = type;
    parameters.push_back(parameter);
    return parameters.back();
  };
  add("count", ParameterType::integer).high = 5;
  add("flag", ParameterType::boolean);
  Parameter& alpha = add("alpha", ParameterType::affine);
  alpha.size = 4;
  alpha.low = -std::numeric_limits<double>::infinity();
  alpha.high = std::numeric_limits<double>::infinity();
  add("shares", ParameterType::simplex).size = 3;
  Parameter& items = add("items", ParameterType::subset);
  items.choices = {"a", "b", "c", "d"};
  items.least = 1;
  items.most = 2;
  add("order", ParameterType::permutation).choices = {"a", "b", "c", "d"};
  Parameter& steps = add("steps", ParameterType::schedule);
  steps.high = 999;
  steps.whole = true;
  steps.least = 1;
  steps.most = 3;
  steps.mask = {"m"};
  steps.when = Condition{"flag", {1}};
  const SearchProblem job = problem(std::move(parameters), 150);
  ASSERT_EQ(refusal(job, small()), "");
  std::map<double, int> counts;
  std::set<double> firsts;
  // ScriptedEvaluations refuses points that are not valid and canonical.
  run_scripted(pagmo_optimizer(), job, small(), script_for(job, [&](const Candidate& c) {
                 ++counts[c.point[2]];
                 firsts.insert(c.point[14]);
                 const double miss = c.point[0] + c.point[2] / 5 + 1 - c.point[3];
                 return several() ? two(miss, 1 - c.point[0] + c.point[3]) : scalar_outcome(miss);
               }));
  EXPECT_GT(counts.size(), 3U);
  EXPECT_EQ(firsts.size(), 4U) << "any item may come first";
}

TEST_P(PagmoAlgorithms, LeaveFailuresAndViolationsBehind) {
  const SearchProblem job = problem(unit_box(3), 1500);
  std::size_t early = 0;
  std::size_t late = 0;
  std::size_t asked = 0;
  const ScriptedRun run =
      run_scripted(pagmo_optimizer(), job, small(), script_for(job, [&](const Candidate& c) {
                     ++asked;
                     const bool bad = c.point[1] > 0.5;
                     (asked <= 24 ? early : late) += bad ? 1 : 0;
                     if (c.point[1] > 0.9) return Outcome::failure(TrialStatus::failed, "crashed");
                     Outcome told = outcome(c);
                     // Attractive, were it not for the constraint.
                     if (bad) {
                       for (Measurement& objective : told.objectives) objective.value = -100;
                     }
                     told.constraints = {c.point[1] - 0.5, -1};
                     return told;
                   }));
  ASSERT_GT(asked, 24U);
  EXPECT_GT(early, 0U);
  EXPECT_LT(static_cast<double>(late) / static_cast<double>(asked - 24), 0.45);
}

TEST_P(PagmoAlgorithms, LetStopsPassThroughPagmo) {
  const SearchProblem job = problem(unit_box(3), 1000);
  for (const std::size_t events : {1, 10, 30, 49, 60, 61, 100, 117}) {
    Script script = script_for(job, outcome);
    script.crash_after = events;
    const ScriptedRun run = run_scripted(pagmo_optimizer(), job, small(), script);
    EXPECT_TRUE(run.crashed);
    EXPECT_EQ(run.log.size(), events);
  }
}

TEST_P(PagmoAlgorithms, AcceptTheExtremesOfTheirParameters) {
  const SearchProblem job = problem(unit_box(2), 150);
  std::size_t accepted = 0;
  for (const FieldInfo& field : pagmo_optimizer().fields) {
    if (field.only_with != std::pair<std::string, std::string>{"algorithm", GetParam()}) continue;
    std::vector<ParamValue> values;
    if (std::holds_alternative<double>(field.default_value)) {
      values = {field.low, field.high};
    } else if (std::holds_alternative<std::int64_t>(field.default_value)) {
      values = {static_cast<std::int64_t>(field.low), static_cast<std::int64_t>(field.high)};
    }
    for (const std::string& choice : field.choices) values.emplace_back(choice);
    for (const ParamValue& value : values) {
      ParamValues given = small();
      given[field.name] = value;
      if (!refusal(job, given).empty()) continue;  // with the others' values it may not suit
      ++accepted;
      const ScriptedRun run = run_scripted(pagmo_optimizer(), job, given, script_for(job, outcome));
      EXPECT_LE(run.evaluated, 150U) << field.name;
    }
  }
  EXPECT_GT(accepted, 0U);
}

INSTANTIATE_TEST_SUITE_P(Registry, PagmoAlgorithms, testing::ValuesIn(algorithm_field().choices),
                         [](const auto& name) { return name.param; });

TEST(PagmoBridge, SaysWhenAnAlgorithmHasConverged) {
  SearchProblem job = two_objectives(unit_box(2), 5000);
  job.objectives.pop_back();
  const auto bowl = [](const Candidate& c) {
    return scalar_outcome(std::pow(c.point[0] - 0.4, 2) + std::pow(c.point[1] - 0.6, 2));
  };
  const ScriptedRun run = run_scripted(pagmo_optimizer(), job, {{"algorithm", std::string("de")}},
                                       script_for(job, bowl));
  EXPECT_EQ(run.report.stop_reason, "converged");
  EXPECT_LT(run.evaluated, 5000U);
}

}  // namespace
}  // namespace paretod
