// Every optimizer, replayed (DESIGN 1.3): a run that crashed after any event and goes on over its
// log ends with the log of the undisturbed run; a parallel one finishes whatever it had in flight,
// and its completed log replays; and logs written by this revision once still replay today.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "optimizers/pagmo_bridge.hpp"
#include "optimizers/registry.hpp"
#include "tests/support/mixed_space.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

struct Case {
  std::string name;
  Optimizer optimizer;
  ParamValues params;
  SearchProblem problem;
  std::function<Outcome(const Candidate&)> outcome;
};

void PrintTo(const Case& job, std::ostream* out) {
  *out << job.name;
}

Parameter parameter(const std::string& name, ParameterType type, double low, double high) {
  Parameter made;
  made.name = name;
  made.type = type;
  made.low = low;
  made.high = high;
  return made;
}

/// Some trials fail for good, and everything depends on replicate and fidelity.
Outcome rough(const Candidate& candidate, std::size_t objectives) {
  std::uint64_t key = mix64(candidate.replicate, candidate.fidelity);
  for (const double x : candidate.point) key = mix64(key, std::bit_cast<std::uint64_t>(x));
  Rng rng(key);
  if (rng.bernoulli(0.08)) return Outcome::failure(TrialStatus::failed, "by chance");
  if (rng.bernoulli(0.03)) return Outcome::failure(TrialStatus::infeasible, "by chance");
  Outcome outcome;
  for (std::size_t k = 0; k < objectives; ++k) {
    double sum = 0.1 * rng.uniform();
    for (const double x : candidate.point) {
      sum += (x - 0.3 * static_cast<double>(k)) * (x - 0.3 * static_cast<double>(k));
    }
    outcome.objectives.push_back({.value = sum});
  }
  outcome.metrics = {{"draw", rng.uniform()}};
  return outcome;
}

Optimizer optimizer_named(const std::string& name) {
  for (Optimizer& optimizer : builtin_optimizers()) {
    if (optimizer.name == name) return optimizer;
  }
  ADD_FAILURE() << "no optimizer " << name;
  return {};
}

/// One small job per optimizer and mode of it.
std::vector<Case> cases() {
  Parameter kind = parameter("kind", ParameterType::categorical, 0, 1);
  kind.choices = {"a", "b", "c"};
  Parameter rate = parameter("rate", ParameterType::real, 1e-3, 1);
  rate.log_scale = true;
  const Parameter count = parameter("count", ParameterType::integer, 1, 6);
  const Parameter x = parameter("x", ParameterType::real, -1, 1);
  Parameter alpha =
      parameter("alpha", ParameterType::affine, -std::numeric_limits<double>::infinity(),
                std::numeric_limits<double>::infinity());
  alpha.size = 5;
  alpha.positions = {100, 200, 300, 400, std::nullopt};

  const auto problem = [](std::vector<Parameter> parameters, std::size_t objectives,
                          std::uint64_t trials) {
    SearchProblem made{SearchSpace::make(std::move(parameters)).value(), {}, 11, trials};
    for (std::size_t k = 0; k < objectives; ++k) {
      made.objectives.push_back(
          {"f" + std::to_string(k), k == 1 ? Goal::maximize : Goal::minimize});
    }
    return made;
  };
  const auto noisy = [](SearchProblem made) {
    made.noise = {.confidence = 0.9, .replicates = 4};
    made.initial = {made.space.resting()};
    return made;
  };
  const auto outcome = [](std::size_t objectives) {
    return [objectives](const Candidate& candidate) { return rough(candidate, objectives); };
  };
  // One per family of algorithms: how it asks, and what it keeps from one question to the next.
  const auto pagmo = [&](const std::string& algorithm, std::size_t objectives, ParamValues params) {
    params["algorithm"] = algorithm;
    Case made{"pagmo_" + algorithm, optimizer_named("pagmo"), std::move(params),
              problem({count, rate, x}, objectives, 40), outcome(objectives)};
    made.problem.initial = {{2, 0.1, 0.5}};
    return made;
  };
  // Fits are what costs: most of the trials are designed.
  const auto map = [&](const std::string& name, ParamValues params) {
    params["tolerance"] = 0.0;
    params["design"] = std::int64_t{name.starts_with("map_nested") ? 0 : 16};
    const Parameter a = parameter("a", ParameterType::real, -0.2, 1.2);
    const Parameter b = parameter("b", ParameterType::real, 0, 1);
    Case made{name, optimizer_named("map"), std::move(params), problem({a, b}, 2, 22), outcome(2)};
    if (name.starts_with("map_nested")) made.problem.objectives[1].goal = Goal::minimize;
    if (name.starts_with("map_bayesian")) made.params["design"] = std::int64_t{11};
    return made;
  };
  const std::string nested = "nested", bayesian = "bayesian", paper = "paper";
  const auto map_tree = [&] {
    std::vector<Parameter> shares;
    for (const char* name : {"a", "b", "c"}) {
      shares.push_back(parameter(name, ParameterType::real, 0, 1));
    }
    Case made{"map_nested_tree",
              optimizer_named("map"),
              {{"mode", nested}},
              problem(std::move(shares), 3, 40),
              outcome(3)};
    for (Objective& objective : made.problem.objectives) objective.goal = Goal::minimize;
    return made;
  };
  const ParamValues twelve{{"population", std::int64_t{12}}};
  const ParamValues colony{{"population", std::int64_t{12}}, {"ker", std::int64_t{8}}};
  const ParamValues endless{{"population", std::int64_t{12}}, {"ftol", 0.0}, {"xtol", 0.0}};
  Parameter schedule = parameter("schedule", ParameterType::schedule, 0, 99);
  schedule.whole = true;
  schedule.least = 2;
  schedule.most = 5;
  schedule.choices = {"ddim", "dpm"};
  schedule.mask = {"down", "mid", "up"};
  Parameter nodes = parameter("nodes", ParameterType::schedule, 0.001, 1);
  nodes.least = nodes.most = 4;
  std::vector<Parameter> merge;
  for (const std::string name : {"alpha.a", "alpha.b", "alpha.c"}) {
    merge.push_back(parameter(name, ParameterType::real, 0, 1));
  }
  for (const std::string name : {"beta.a", "beta.b", "beta.c"}) {
    merge.push_back(parameter(name, ParameterType::real, -1.5, 1.5));
  }
  const auto merging = [&](const std::string& name, std::size_t objectives, std::uint64_t trials,
                           ParamValues params) {
    return Case{"evo_merging" + name, optimizer_named("evo_merging"), std::move(params),
                problem(merge, objectives, trials), outcome(objectives)};
  };
  return {
      {"autodiffusion",
       optimizer_named("autodiffusion"),
       {{"rungs", std::vector<double>{100, 400}}, {"layer_costs", std::vector<double>{1, 2, 1.5}}},
       problem({kind, schedule, rate}, 2, 160),
       outcome(2)},
      {"autodiffusion_one_cost",
       optimizer_named("autodiffusion"),
       {{"elite_replicates", std::int64_t{4}}},
       problem({nodes}, 1, 100),
       outcome(1)},
      {"autodiffusion_paper",
       optimizer_named("autodiffusion"),
       {{"mode", std::string("paper")},
        {"population", std::int64_t{20}},
        {"mutants", std::int64_t{10}},
        {"crossovers", std::int64_t{5}},
        {"max_prune", 0.7},
        {"max_cost", 9.0},
        {"rounds", std::int64_t{0}}},
       problem({schedule, rate}, 1, 160),
       outcome(1)},
      {"cmaes", optimizer_named("cmaes"), {}, problem({count, rate, x}, 1, 90), outcome(1)},
      merging("", 1, 130, {{"population", std::int64_t{6}}}),
      merging("_paper", 1, 130,
              {{"preset", std::string("paper")}, {"population", std::int64_t{6}}}),
      merging("_lorahub", 1, 55, {{"preset", std::string("lorahub")}}),
      merging("_race", 1, 130,
              {{"examples", std::string("race")}, {"population", std::int64_t{6}}}),
      merging("_starts", 1, 180, {{"starts", std::int64_t{2}}, {"population", std::int64_t{6}}}),
      merging("_front", 2, 180, {{"population", std::int64_t{6}}, {"directions", std::int64_t{2}}}),
      {"lcsc",
       optimizer_named("lcsc"),
       {{"replicates_per_elite", std::int64_t{3}}},
       problem({alpha}, 1, 160),
       outcome(1)},
      {"lcsc_cma_es",
       optimizer_named("lcsc"),
       {{"search", std::string("cma_es")}},
       problem({alpha}, 1, 160),
       outcome(1)},
      map("map", {}),
      map("map_nested", {{"mode", nested}}),
      map_tree(),
      map("map_bayesian", {{"mode", bayesian}}),
      map("map_paper", {{"preset", paper}}),
      map("map_nested_paper", {{"mode", nested}, {"preset", paper}}),
      map("map_bayesian_paper", {{"mode", bayesian}, {"preset", paper}}),
      {"pagmo_nsga2",
       optimizer_named("pagmo"),
       {{"population", std::int64_t{12}}},
       problem({count, rate, x}, 2, 70),
       outcome(2)},
      pagmo("moead", 2, {{"population", std::int64_t{12}}, {"neighbours", std::int64_t{5}}}),
      pagmo("nspso", 2, twelve),
      pagmo("maco", 2, colony),
      pagmo("ihs", 2, twelve),
      pagmo("gaco", 1, colony),
      pagmo("pso_gen", 1, twelve),
      pagmo("pso", 1, twelve),
      pagmo("sade", 1, endless),
      pagmo("cmaes", 1, endless),
      pagmo("xnes", 1, endless),
      pagmo("sga", 1, twelve),
      pagmo("bee_colony", 1, twelve),
      pagmo("gwo", 1, twelve),
      pagmo("simulated_annealing", 1,
            {{"population", std::int64_t{12}},
             {"n_T_adj", std::int64_t{2}},
             {"bin_size", std::int64_t{2}}}),
      pagmo("mbh", 1, {{"population", std::int64_t{4}}, {"stop", std::int64_t{1000}}}),
      {"nsga2",
       optimizer_named("nsga2"),
       {{"population", std::int64_t{10}}},
       noisy(problem(mixed_space().parameters(), 2, 80)),
       outcome(2)},
      {"nsga3",
       optimizer_named("nsga3"),
       {{"population", std::int64_t{12}}, {"divisions", std::int64_t{4}}},
       problem(mixed_space().parameters(), 3, 80),
       outcome(3)},
      {"random", optimizer_named("random"), {}, problem({kind, rate, count}, 2, 60), outcome(2)},
      {"sobol",
       optimizer_named("sobol"),
       {},
       problem(mixed_space().parameters(), 2, 60),
       outcome(2)},
  };
}

class OptimizerReplay : public testing::TestWithParam<Case> {
 protected:
  static Script script(std::size_t parallelism, std::uint64_t order_seed = 0) {
    Script made;
    made.outcome = GetParam().outcome;
    made.budget = GetParam().problem.trials;
    made.parallelism = parallelism;
    made.order_seed = order_seed;
    return made;
  }
  static ScriptedRun run(const Script& script, std::vector<ScriptedEvent> recorded = {}) {
    const Case& job = GetParam();
    return run_scripted(job.optimizer, job.problem, job.params, script, std::move(recorded));
  }
  static std::vector<ScriptedEvent> first(const std::vector<ScriptedEvent>& log,
                                          std::size_t count) {
    return {log.begin(), log.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  static void expect_equal(const Report& a, const Report& b) {
    EXPECT_EQ(a.stop_reason, b.stop_reason);
    EXPECT_EQ(a.quantities, b.quantities);
    ASSERT_EQ(a.rows.size(), b.rows.size());
    for (std::size_t i = 0; i < a.rows.size(); ++i) {
      EXPECT_EQ(a.rows[i].point, b.rows[i].point);
      EXPECT_EQ(a.rows[i].trial, b.rows[i].trial);
      for (std::size_t q = 0; q < a.quantities.size(); ++q) {
        EXPECT_EQ(a.rows[i].estimates[q].mean, b.rows[i].estimates[q].mean);
        EXPECT_EQ(a.rows[i].difference[q].standard_error, b.rows[i].difference[q].standard_error);
      }
    }
  }
};

TEST_P(OptimizerReplay, TheJobSuitsTheOptimizer) {
  const Problems problems = GetParam().optimizer.check(GetParam().problem, GetParam().params);
  EXPECT_TRUE(problems.empty()) << problems.front().message;
  const ScriptedRun whole = run(script(1));
  EXPECT_GE(whole.evaluated * 10, GetParam().problem.trials * 9) << "it uses its budget";
}

TEST_P(OptimizerReplay, ACrashAfterAnyEventLeavesNoTrace) {
  const ScriptedRun whole = run(script(1));
  for (std::size_t events = 0; events <= whole.log.size(); ++events) {
    std::vector<ScriptedEvent> log;
    if (events > 0) {
      Script crashing = script(1);
      crashing.crash_after = events;
      const ScriptedRun crashed = run(crashing);
      ASSERT_TRUE(crashed.crashed);
      ASSERT_EQ(crashed.log, first(whole.log, events)) << "two runs differ, crash or not";
      log = crashed.log;
    }
    const auto told = std::count_if(log.begin(), log.end(), [](const ScriptedEvent& event) {
      return event.kind == ScriptedEvent::Kind::told;
    });
    const ScriptedRun resumed = run(script(1), log);
    ASSERT_EQ(resumed.log, whole.log) << "resumed after " << events << " events";
    ASSERT_EQ(resumed.evaluated + static_cast<std::uint64_t>(told), whole.evaluated)
        << "nothing is evaluated twice";
    expect_equal(resumed.report, whole.report);
  }
}

TEST_P(OptimizerReplay, CrashesDuringReplayLeaveNoTraceEither) {
  const ScriptedRun whole = run(script(1));
  std::vector<ScriptedEvent> log;
  while (log.size() < whole.log.size()) {
    Script crashing = script(1);
    crashing.crash_after = log.size() + 1;  // one event per life
    log = run(crashing, log).log;
  }
  EXPECT_EQ(log, whole.log);
}

TEST_P(OptimizerReplay, ParallelRunsResumeFromEveryCutAndThenReplay) {
  const ScriptedRun whole = run(script(5, 1));
  for (std::size_t events = 0; events <= whole.log.size(); ++events) {
    // What was in flight finishes in another order than it would have.
    const ScriptedRun resumed = run(script(5, 1000 + events), first(whole.log, events));
    ASSERT_EQ(first(resumed.log, events), first(whole.log, events));
    std::set<TrialNumber> asked;
    std::set<TrialNumber> told;
    for (const ScriptedEvent& event : resumed.log) {
      auto& seen = event.kind == ScriptedEvent::Kind::asked ? asked : told;
      ASSERT_TRUE(seen.insert(event.number).second) << "event for trial " << event.number;
    }
    ASSERT_EQ(asked, told) << "nothing is lost";
    const ScriptedRun replayed = run(script(5, 7), resumed.log);
    ASSERT_EQ(replayed.log, resumed.log);
    ASSERT_EQ(replayed.evaluated, 0U);
    expect_equal(replayed.report, resumed.report);
  }
}

TEST_P(OptimizerReplay, AChangedLogIsNoticed) {
  const ScriptedRun whole = run(script(1));
  std::vector<ScriptedEvent> log = whole.log;
  for (ScriptedEvent& event : log) {
    if (event.kind != ScriptedEvent::Kind::asked || event.number != 20) continue;
    event.candidate.point.back() = std::nextafter(event.candidate.point.back(), 10.0);
  }
  EXPECT_THROW(run(script(1), log), ScriptedMismatch);
}

TEST_P(OptimizerReplay, AnotherSeedIsAnotherSearch) {
  const ScriptedRun whole = run(script(1));
  SearchProblem other = GetParam().problem;
  ++other.seed;
  const ScriptedRun run_of_other =
      run_scripted(GetParam().optimizer, other, GetParam().params, script(1));
  EXPECT_NE(run_of_other.log, whole.log);
}

// Golden logs.  One event per line:
//   asked NUMBER FIDELITY REPLICATE COUNT COORDINATE... TAG
//   told NUMBER STATUS COUNT OBJECTIVE... METRIC-COUNT {VALUE NAME}...
// with numbers as hexadecimal floats; the tag, which may be empty or hold spaces, ends the line.

std::string hex(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

void write_golden(const std::string& path, const std::vector<ScriptedEvent>& log) {
  std::ofstream out(path);
  for (const ScriptedEvent& event : log) {
    if (event.kind == ScriptedEvent::Kind::asked) {
      out << "asked " << event.number << ' ' << event.candidate.fidelity << ' '
          << event.candidate.replicate << ' ' << event.candidate.point.size();
      for (const double x : event.candidate.point) out << ' ' << hex(x);
      out << ' ' << event.candidate.tag << '\n';
    } else {
      out << "told " << event.number << ' ' << static_cast<int>(event.outcome.status) << ' '
          << event.outcome.objectives.size();
      for (const Measurement& objective : event.outcome.objectives) {
        out << ' ' << hex(objective.value);
      }
      out << ' ' << event.outcome.metrics.size();
      for (const auto& [name, value] : event.outcome.metrics)
        out << ' ' << hex(value) << ' ' << name;
      out << '\n';
    }
  }
}

double read_number(std::istream& in) {
  std::string text;
  in >> text;
  return std::strtod(text.c_str(), nullptr);
}

std::vector<ScriptedEvent> read_golden(const std::string& path) {
  std::ifstream file(path);
  std::vector<ScriptedEvent> log;
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    std::string kind;
    std::size_t count = 0;
    ScriptedEvent event{};
    in >> kind >> event.number;
    if (kind == "asked") {
      event.kind = ScriptedEvent::Kind::asked;
      in >> event.candidate.fidelity >> event.candidate.replicate >> count;
      for (std::size_t i = 0; i < count; ++i) event.candidate.point.push_back(read_number(in));
      in.get();
      std::getline(in, event.candidate.tag);
    } else {
      event.kind = ScriptedEvent::Kind::told;
      int status = 0;
      in >> status >> count;
      event.outcome.status = static_cast<TrialStatus>(status);
      for (std::size_t i = 0; i < count; ++i) {
        event.outcome.objectives.push_back({.value = read_number(in)});
      }
      in >> count;
      for (std::size_t i = 0; i < count; ++i) {
        const double value = read_number(in);
        std::string name;
        in >> name;
        event.outcome.metrics.emplace_back(name, value);
      }
    }
    log.push_back(std::move(event));
  }
  return log;
}

TEST_P(OptimizerReplay, TheGoldenLogOfThisRevisionReplays) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "golden logs hold the last bits of x86-64's mathematics library";
#endif
  const Case& job = GetParam();
  std::string name = job.name + "-revision-" + std::to_string(job.optimizer.revision);
  if (job.optimizer.name == "pagmo") {
    if (pagmo_version() != "2.18.0") {
      GTEST_SKIP() << "the golden log is of pagmo 2.18.0, this is " << pagmo_version();
    }
    name += "-pagmo-2.18.0";
  }
  const std::string path = PARETOD_SOURCE_DIR "/tests/replay/golden/" + name + ".txt";
  if (!std::ifstream(path) && std::getenv("PARETOD_WRITE_GOLDEN") != nullptr) {
    write_golden(path, run(script(3, 5)).log);
  }
  const std::vector<ScriptedEvent> golden = read_golden(path);
  ASSERT_FALSE(golden.empty()) << path
                               << " is missing: a new revision needs a log of its own; run once "
                                  "with PARETOD_WRITE_GOLDEN=1 and keep the old ones";
  const ScriptedRun replayed = run(script(3), golden);
  EXPECT_EQ(replayed.evaluated, 0U);
  EXPECT_EQ(replayed.log, golden);
}

INSTANTIATE_TEST_SUITE_P(Registry, OptimizerReplay, testing::ValuesIn(cases()),
                         [](const auto& job) { return job.param.name; });

TEST(OptimizerReplayCases, CoverTheRegistry) {
  std::set<std::string> covered;
  for (const Case& job : cases()) covered.insert(job.optimizer.name);
  std::string previous;
  for (const Optimizer& optimizer : builtin_optimizers()) {
    EXPECT_TRUE(covered.contains(optimizer.name)) << optimizer.name;
    EXPECT_LT(previous, optimizer.name) << "sorted and distinct";
    previous = optimizer.name;
    EXPECT_FALSE(optimizer.summary.empty());
    EXPECT_FALSE(optimizer.source.empty());
    for (const FieldInfo& field : optimizer.fields) EXPECT_FALSE(field.meaning.empty());
  }
}

}  // namespace
}  // namespace paretod
