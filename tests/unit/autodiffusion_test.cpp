// The searches of sampling schedules: what every proposal has to be, the stages of the paper's
// mode, and what is found.

#include "optimizers/autodiffusion.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "evaluators/builtin/ddim.hpp"
#include "optimizers/autodiffusion_paper.hpp"
#include "optimizers/paired_report.hpp"
#include "optimizers/schedule_seeds.hpp"
#include "optimizers/schedule_variation.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

using testing::Contains;
using testing::HasSubstr;

Parameter schedule(std::size_t least, std::size_t most, std::size_t layers = 0) {
  Parameter made;
  made.name = "schedule";
  made.type = ParameterType::schedule;
  made.high = 999;
  made.whole = true;
  made.least = least;
  made.most = most;
  for (std::size_t l = 0; l < layers; ++l) made.mask.push_back("layer-" + std::to_string(l));
  return made;
}

SearchProblem problem_of(std::vector<Parameter> parameters, std::size_t objectives,
                         std::uint64_t trials) {
  SearchProblem problem;
  problem.space = SearchSpace::make(std::move(parameters)).value();
  problem.objectives = {{"fd"}};
  if (objectives > 1) problem.objectives.push_back({"cost"});
  problem.seed = 3;
  problem.trials = trials;
  return problem;
}

const ParamValues paper{{"mode", std::string("paper")}};

ParamValues with(ParamValues params, const ParamValues& more) {
  params.insert(more.begin(), more.end());
  return params;
}

std::vector<int> nodes_of(const Steps& steps) {
  std::vector<int> nodes;
  for (const Step& step : steps) nodes.push_back(static_cast<int>(step.at));
  return nodes;
}

/// A closed-form distance; what is dropped hurts, at clean steps more.
double distance_of(const Steps& steps) {
  static const DdimProblem ddim(NoiseSchedule::linear);
  double distance = ddim.distance(nodes_of(steps));
  for (const Step& step : steps) {
    for (std::size_t l = 0; l < step.dropped.size(); ++l) {
      if (step.dropped[l]) distance += 0.01 * static_cast<double>(l + 1) * (1 - step.at / 1200);
    }
  }
  return distance;
}

/// Objectives are the distance and, where there are two, the number of kept layers (or steps).
Script script_of(const SearchProblem& problem, std::size_t parallelism = 1) {
  const std::size_t parameter = schedule_index(problem.space);
  Script script;
  script.budget = problem.trials;
  script.parallelism = parallelism;
  script.order_seed = 5;
  script.outcome = [&problem, parameter](const Candidate& candidate) {
    const Steps steps = ScheduleCoding(problem.space, parameter).decode(candidate.point);
    Outcome outcome = scalar_outcome(distance_of(steps));
    if (problem.objectives.size() > 1) {
      double kept = 0;
      for (const Step& step : steps) {
        kept +=
            step.dropped.empty()
                ? 1
                : static_cast<double>(std::count(step.dropped.begin(), step.dropped.end(), false));
      }
      outcome.objectives.push_back({.value = kept});
    }
    return outcome;
  };
  return script;
}

/// The same, off by noise that depends on the replicate and, less of it, on the fidelity.
Script noisy_script_of(const SearchProblem& problem, std::size_t parallelism, double noise) {
  Script script = script_of(problem, parallelism);
  const auto exact = script.outcome;
  script.outcome = [exact, noise](const Candidate& candidate) {
    Outcome outcome = exact(candidate);
    const double n = candidate.fidelity > 0 ? static_cast<double>(candidate.fidelity) : 1000;
    Rng rng(candidate.replicate, hash_of(candidate.point));
    outcome.objectives[0].value += noise * std::sqrt(1000 / n) * rng.normal() + 5 / n;
    return outcome;
  };
  return script;
}

std::vector<Candidate> asked(const ScriptedRun& run) {
  std::vector<Candidate> candidates;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind == ScriptedEvent::Kind::asked) candidates.push_back(event.candidate);
  }
  return candidates;
}

ScriptedRun search(const SearchProblem& problem, const ParamValues& params, const Script& script) {
  const Optimizer optimizer = autodiffusion_optimizer();
  for (const Problem& p : optimizer.check(problem, params)) {
    ADD_FAILURE() << p.pointer << " " << p.message;
  }
  return run_scripted(optimizer, problem, params, script);
}

double best_of(const ScriptedRun& run) {
  double best = 1e9;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind == ScriptedEvent::Kind::told && event.outcome.status == TrialStatus::ok) {
      best = std::min(best, event.outcome.objectives[0].value);
    }
  }
  return best;
}

// ---- what every proposal has to be -------------------------------------------------------------

struct Mode {
  std::string name;
  ParamValues params;
  std::size_t objectives;
};

void PrintTo(const Mode& mode, std::ostream* out) {
  *out << mode.name;
}

class EveryProposal : public testing::TestWithParam<Mode> {};

TEST_P(EveryProposal, IsValidWithinTheBudgetAndNew) {
  Parameter with_choice = schedule(2, 7, 5);
  with_choice.choices = {"first-order", "second-order"};
  Parameter real_nodes = schedule(2, 7, 5);
  real_nodes.whole = false;
  real_nodes.low = 0.001;
  real_nodes.high = 1;
  Parameter guidance;
  guidance.name = "guidance";
  guidance.low = 1;
  guidance.high = 8;
  const std::vector<double> layers{1, 2.5, 0.5, 3, 1};
  const ParamValues costs{{"layer_costs", layers}, {"step_cost", 0.7}, {"max_cost", 30.0}};
  const ParamValues choices{{"choice_costs", std::vector<double>{1, 2}}};
  for (const auto& [parameters, params] :
       {std::pair(std::vector{schedule(2, 7, 5)}, costs),
        std::pair(std::vector{guidance, with_choice}, with(costs, choices)),
        std::pair(std::vector{real_nodes}, costs)}) {
    SearchProblem problem = problem_of(parameters, GetParam().objectives, 400);
    const ScheduleCoding coding(problem.space, schedule_index(problem.space));
    ScheduleCosts limits{layers, 0.7, {}, 30};
    if (!coding.parameter().choices.empty()) limits.choices = {1, 2};
    Script script = script_of(problem, 4);
    if (!coding.parameter().whole) {
      script.outcome = [&](const Candidate& candidate) {
        Steps steps = coding.decode(candidate.point);
        for (Step& step : steps) step.at = std::floor(step.at * 999);
        Outcome outcome = scalar_outcome(distance_of(steps));
        if (problem.objectives.size() > 1) outcome.objectives.push_back({limits.of(steps)});
        return outcome;
      };
    }
    const ScriptedRun run = search(problem, with(params, GetParam().params), script);
    std::set<std::pair<Point, std::uint64_t>> seen;
    std::set<std::size_t> counts;
    std::size_t with_drops = 0;
    for (const Candidate& candidate : asked(run)) {
      const Steps steps = coding.decode(candidate.point);
      EXPECT_LE(limits.of(steps), limits.most * (1 + 1e-9));
      for (std::size_t s = 1; s < steps.size(); ++s) ASSERT_LT(steps[s - 1].at, steps[s].at);
      ASSERT_TRUE(seen.insert({candidate.point, candidate.replicate}).second)
          << "the same candidate twice";
      counts.insert(steps.size());
      with_drops += std::any_of(steps.begin(), steps.end(), [](const Step& step) {
        return std::find(step.dropped.begin(), step.dropped.end(), true) != step.dropped.end();
      });
    }
    EXPECT_GT(with_drops, 5U);
    if (GetParam().name != "paper") {
      EXPECT_GT(counts.size(), 1U) << "the number of steps varies";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AutoDiffusion, EveryProposal,
                         testing::Values(Mode{"front", {}, 2},
                                         Mode{"front_of_computed_cost", {}, 1},
                                         Mode{"one_value", {{"cost_front", false}}, 1},
                                         Mode{"paper",
                                              {{"mode", std::string("paper")},
                                               {"max_prune", 1.0},
                                               {"rounds", std::int64_t{0}}},
                                              1}),
                         [](const auto& mode) { return mode.param.name; });

TEST(AutoDiffusion, AFiniteSpaceIsTriedOnceAndThenTheSearchEnds) {
  Parameter small = schedule(2, 2);
  small.high = 5;
  for (const ParamValues& params : {ParamValues{}, with(paper, {{"rounds", std::int64_t{0}}})}) {
    const SearchProblem problem = problem_of({small}, 1, 300);
    const ScriptedRun run = search(problem, params, script_of(problem));
    std::set<Point> searched;
    for (const Candidate& candidate : asked(run)) {
      if (candidate.replicate > 0) continue;
      ASSERT_TRUE(searched.insert(candidate.point).second);
    }
    EXPECT_EQ(searched.size(), 15U) << "pairs of six places";
    EXPECT_EQ(run.report.stop_reason, "every schedule was tried");
  }
}

TEST(AutoDiffusion, WhatIsKnownIsNotEvaluatedAgain) {
  SearchProblem problem = problem_of({schedule(3, 3)}, 1, 60);
  const Script script = script_of(problem);
  const ScheduleCoding coding(problem.space, 0);
  TrialNumber number = 0;
  for (const double first : {40.0, 50.0, 60.0}) {
    const Point point = coding.encode({{first}, {200}, {400}}, problem.space.resting());
    const Candidate candidate{point, 0, 0, {}};
    problem.known.push_back(
        trial_view(++number, candidate, script.outcome(candidate), problem.objectives));
  }
  problem.initial = {problem.known.front().candidate.point};
  for (const Candidate& candidate : asked(search(problem, {}, script))) {
    if (candidate.replicate > 0) continue;
    for (const Trial& known : problem.known) EXPECT_NE(candidate.point, known.candidate.point);
  }
}

TEST(AutoDiffusion, OtherParametersVaryBesideTheSchedule) {
  Parameter guidance;
  guidance.name = "guidance";
  guidance.low = 0;
  guidance.high = 10;
  for (const ParamValues& params : {ParamValues{}, with(paper, {{"rounds", std::int64_t{0}}})}) {
    const SearchProblem problem = problem_of({guidance, schedule(4, 4)}, 1, 400);
    Script script = script_of(problem);
    script.outcome = [&](const Candidate& candidate) {
      const Steps steps = ScheduleCoding(problem.space, 1).decode(candidate.point);
      return scalar_outcome(distance_of(steps) + 0.1 * std::abs(candidate.point[0] - 3));
    };
    EXPECT_LT(best_of(search(problem, params, script)), 0.48) << "0.396 and 3 are possible";
  }
}

// ---- operators ---------------------------------------------------------------------------------

TEST(ScheduleVariation, DropsTravelWithTheirStep) {
  const Parameter space = schedule(2, 9, 10);
  const ScheduleCosts costs{std::vector<double>(10, 1.0), 0, {}, 0};
  const ScheduleVariation variation(space, costs);
  // No two steps drop the same, so that each is known by its drops.
  const auto make = [](std::vector<double> nodes, std::size_t first) {
    Steps steps;
    for (const double at : nodes) {
      Step step{at, 0, std::vector<bool>(10)};
      for (std::size_t b = 0; b < 4; ++b) step.dropped[b] = ((first >> b) & 1) != 0;
      ++first;
      steps.push_back(step);
    }
    return steps;
  };
  const Steps a = make({100, 300, 500, 700, 900}, 1);
  const Steps b = make({50, 250, 450, 650}, 8);
  const auto drops_of = [](const Steps& steps) {
    std::multiset<std::vector<bool>> drops;
    for (const Step& step : steps) drops.insert(step.dropped);
    return drops;
  };
  std::set<ScheduleMove> seen;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    Rng rng(1, i);
    const auto [steps, move] = variation.child(a, b, true, rng);
    seen.insert(move);
    switch (move) {
      case ScheduleMove::shift_one:
      case ScheduleMove::shift_all:
      case ScheduleMove::jump:
      case ScheduleMove::blend:
        ASSERT_EQ(drops_of(steps), drops_of(a));
        break;
      case ScheduleMove::splice:
        for (const Step& step : steps) {
          ASSERT_TRUE(std::find(a.begin(), a.end(), step) != a.end() ||
                      std::find(b.begin(), b.end(), step) != b.end());
        }
        break;
      case ScheduleMove::insert:
        ASSERT_EQ(steps.size(), a.size() + 1);
        for (const Step& step : a)
          ASSERT_NE(std::find(steps.begin(), steps.end(), step), steps.end());
        break;
      case ScheduleMove::remove:
        ASSERT_EQ(steps.size(), a.size() - 1);
        for (const Step& step : steps) ASSERT_NE(std::find(a.begin(), a.end(), step), a.end());
        break;
      case ScheduleMove::resample:
        ASSERT_NE(steps.size(), a.size());
        break;
      default:
        ASSERT_EQ(nodes_of(steps), nodes_of(a)) << "what changes drops moves no node";
    }
  }
  EXPECT_EQ(seen.size(), schedule_moves - 1) << "all but the choice, which there is none of";
}

TEST(ScheduleVariation, WhatSucceedsIsUsedMoreOften) {
  const Parameter space = schedule(2, 9);
  const ScheduleCosts costs{{}, 1, {}, 0};
  ScheduleVariation variation(space, costs);
  const Steps a{{100}, {300}, {500}};
  const auto share = [&](ScheduleMove wanted) {
    int count = 0;
    for (std::uint64_t i = 0; i < 2000; ++i) {
      Rng rng(1, i);
      count += variation.child(a, a, true, rng).move == wanted ? 1 : 0;
    }
    return count / 2000.0;
  };
  const double before = share(ScheduleMove::jump);
  for (int i = 0; i < 60; ++i) {
    variation.learn(ScheduleMove::jump, true);
    variation.learn(ScheduleMove::blend, false);
  }
  EXPECT_GT(share(ScheduleMove::jump), 2 * before);
  EXPECT_GT(share(ScheduleMove::blend), 0.005) << "nothing is given up for good";
}

TEST(ScheduleGenome, ResamplingKeepsTheDensity) {
  const Steps steps{{100}, {200}, {300}, {400}};
  EXPECT_EQ(nodes_of(resampled(steps, 2, 0, 999)), (std::vector{150, 350}));
  EXPECT_EQ(nodes_of(resampled(steps, 8, 0, 999)),
            (std::vector{75, 125, 175, 225, 275, 325, 375, 425}));
  EXPECT_EQ(nodes_of(resampled({{500}}, 2, 0, 999)), (std::vector{250, 749}));
}

TEST(ScheduleSeeds, AreThoseInUse) {
  EXPECT_THAT(uniform_nodes(schedule(1, 10), 4), testing::ElementsAre(249, 499, 749, 999));
  EXPECT_THAT(leading_nodes(schedule(1, 10), 4), testing::ElementsAre(0, 250, 500, 750));
  EXPECT_THAT(quadratic_nodes(schedule(1, 10), 3), testing::ElementsAre(0, 200, 800));
  EXPECT_THAT(linear_alpha_bars().back(), testing::DoubleNear(4.0e-5, 1e-6));
  const std::vector<double> nodes = log_snr_nodes(schedule(1, 10), 5, linear_alpha_bars());
  const auto log_snr = [](double t) {
    const double a = linear_alpha_bars()[static_cast<std::size_t>(t)];
    return std::log(a / (1 - a));
  };
  for (std::size_t i = 2; i < nodes.size(); ++i) {
    EXPECT_NEAR(log_snr(nodes[i]) - log_snr(nodes[i - 1]), log_snr(nodes[1]) - log_snr(nodes[0]),
                0.2);
  }
  Parameter real = schedule(1, 10);
  real.whole = false;
  real.low = 0.001;
  real.high = 1;
  EXPECT_NEAR(uniform_nodes(real, 2)[0], 0.5, 1e-9);
  EXPECT_DOUBLE_EQ(uniform_nodes(real, 2)[1], 1);
  Parameter narrow = schedule(1, 10);
  narrow.low = 5;
  narrow.high = 14;
  for (std::size_t count = 1; count <= 10; ++count) {
    for (const ScheduleSeed& seed : schedule_seeds(narrow, count, {cosine_alpha_bars()})) {
      EXPECT_EQ(std::set<double>(seed.nodes.begin(), seed.nodes.end()).size(), count) << seed.name;
      EXPECT_GE(seed.nodes.front(), 5);
      EXPECT_LE(seed.nodes.back(), 14);
    }
  }
}

// ---- the paper's stages ------------------------------------------------------------------------

TEST(PruneRamp, OpensWhenTheBestRepeats) {
  PruneRamp ramp(0.05, 0.1);
  ramp.ranked(0, false);
  EXPECT_EQ(ramp.high(), 0);
  ramp.ranked(1, true);
  EXPECT_DOUBLE_EQ(ramp.high(), 0.02);
  for (std::int64_t round = 2; round <= 5; ++round) ramp.ranked(round, false);
  EXPECT_DOUBLE_EQ(ramp.high(), 0.1) << "five rounds";
  EXPECT_EQ(ramp.low(), 0);
  ramp.ranked(6, true);
  EXPECT_DOUBLE_EQ(ramp.high(), 0.1);
  EXPECT_DOUBLE_EQ(ramp.low(), 0.05);
}

TEST(PruneRamp, OpensAfterRoundFiveAtTheLatest) {
  PruneRamp ramp(0, 0.1);
  for (std::int64_t round = 0; round < 5; ++round) ramp.ranked(round, false);
  EXPECT_EQ(ramp.high(), 0);
  ramp.ranked(5, false);
  EXPECT_DOUBLE_EQ(ramp.high(), 0.02);
}

/// The first round in which something is dropped, of populations of 20.
std::size_t first_round_with_drops(const std::function<double(std::size_t)>& value_of_trial) {
  const SearchProblem problem = problem_of({schedule(2, 4, 10)}, 1, 400);
  Script script;
  script.budget = 400;
  std::size_t told = 0;
  script.outcome = [&](const Candidate&) { return scalar_outcome(value_of_trial(told++)); };
  const ScriptedRun run = search(problem,
                                 with(paper, {{"population", std::int64_t{20}},
                                              {"mutants", std::int64_t{10}},
                                              {"crossovers", std::int64_t{5}},
                                              {"max_prune", 0.9},
                                              {"report_replicates", std::int64_t{0}},
                                              {"selection_replicates", std::int64_t{0}}}),
                                 script);
  const ScheduleCoding coding(problem.space, 0);
  const std::vector<Candidate> candidates = asked(run);
  EXPECT_EQ(candidates.size(), 200U) << "ten rounds";
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    for (const Step& step : coding.decode(candidates[i].point)) {
      if (std::count(step.dropped.begin(), step.dropped.end(), true) > 0) return i / 20;
    }
  }
  return 99;
}

TEST(AutoDiffusionPaper, TheSecondStageOpensAfterTheRoundOfTheRules) {
  // Rounds count from 0; what opens after one shows in the next.
  EXPECT_EQ(first_round_with_drops([](std::size_t trial) { return static_cast<double>(trial); }),
            2U)
      << "the best of round 0 stays the best";
  EXPECT_EQ(first_round_with_drops([](std::size_t trial) { return -static_cast<double>(trial); }),
            6U)
      << "a new best every round";
}

TEST(AutoDiffusionPaper, CrossoverKeepsStepsAndTheirDropsTogether) {
  SearchProblem problem = problem_of({schedule(2, 6, 8)}, 1, 200);
  const ScheduleCoding coding(problem.space, 0);
  std::vector<Step> pool;
  for (std::uint64_t i = 0; i < 20; ++i) {
    Rng rng(9, i);
    problem.initial.push_back(problem.space.sample(rng));
    for (const Step& step : coding.decode(problem.initial.back())) pool.push_back(step);
  }
  const ScriptedRun run = search(problem,
                                 with(paper, {{"population", std::int64_t{20}},
                                              {"mutants", std::int64_t{0}},
                                              {"crossovers", std::int64_t{20}},
                                              {"rounds", std::int64_t{4}}}),
                                 script_of(problem));
  const std::vector<Candidate> candidates = asked(run);
  ASSERT_GT(candidates.size(), 40U);
  for (const Step& step : coding.decode(candidates[20].point)) pool.push_back(step);  // uniform
  for (std::size_t i = 21; i < 36; ++i) {
    for (const Step& step : coding.decode(candidates[i].point)) {
      ASSERT_NE(std::find(pool.begin(), pool.end(), step), pool.end())
          << "step " << step.at << " of candidate " << i;
    }
  }
}

// ---- what is found -----------------------------------------------------------------------------

TEST(AutoDiffusion, ComesCloseToTheOptimumOfTheClosedForm) {
  // Optimum 0.2312; the authors' search reaches 0.256 (research/autodiffusion.md, section 4).
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SearchProblem problem = problem_of({schedule(6, 6)}, 1, 500);
    problem.seed = seed;
    EXPECT_LT(best_of(search(problem, {}, script_of(problem))), 0.2436);
    EXPECT_LT(best_of(search(problem, paper, script_of(problem))), 0.29);
  }
}

TEST(AutoDiffusion, OneRunFindsGoodSchedulesOfEveryLength) {
  const SearchProblem problem = problem_of({schedule(2, 10)}, 1, 500);
  const ScriptedRun run = search(problem, {}, script_of(problem, 4));
  const ScheduleCoding coding(problem.space, 0);
  std::map<std::size_t, double> best;
  for (const Candidate& candidate : asked(run)) {
    const Steps steps = coding.decode(candidate.point);
    const auto [known, is_new] = best.emplace(steps.size(), distance_of(steps));
    known->second = std::min(known->second, distance_of(steps));
  }
  EXPECT_LT(best.at(4), 0.42) << "optimum 0.3956";
  EXPECT_LT(best.at(6), 0.256);
  EXPECT_LT(best.at(10), 0.129) << "optimum 0.1064";
}

TEST(AutoDiffusion, ExactOutcomesAreNotRepeated) {
  const SearchProblem problem = problem_of({schedule(2, 6)}, 1, 200);
  const ScriptedRun run = search(problem, {}, script_of(problem));
  std::size_t repeats = 0;
  std::size_t reports = 0;
  for (const Candidate& candidate : asked(run)) {
    if (candidate.replicate >= report_replicate) {
      ++reports;
    } else if (candidate.replicate > 0) {
      ++repeats;
    }
  }
  EXPECT_EQ(repeats, 1U) << "one, to see whether replicates differ";
  EXPECT_EQ(reports, run.report.rows.size());
}

TEST(AutoDiffusion, ReportsFoundBesideUniformOnUntouchedReplicates) {
  const SearchProblem problem = problem_of({schedule(2, 5)}, 1, 400);
  const ScriptedRun run = search(problem, {}, noisy_script_of(problem, 4, 0.01));
  const auto& rows = run.report.rows;
  ASSERT_EQ(rows.size(), 8U) << "four numbers of steps";
  EXPECT_EQ(run.report.quantities, std::vector<std::string>{"fd"});
  std::set<std::string> names;
  for (std::size_t i = 0; i < rows.size(); i += 2) {
    names.insert(rows[i].name);
    EXPECT_EQ("uniform" + rows[i].name.substr(5), rows[i + 1].name);
    EXPECT_LT(rows[i].estimates[0].mean, rows[i + 1].estimates[0].mean) << rows[i].name;
    EXPECT_GE(rows[i].estimates[0].count, 3U);
  }
  EXPECT_THAT(names, Contains("found, 4 steps"));
  EXPECT_EQ(rows[0].difference[0].mean, 0) << "the recommended one comes first";
  for (const Candidate& candidate : asked(run)) {
    EXPECT_EQ(candidate.replicate >= report_replicate, candidate.tag.starts_with("report:"));
    EXPECT_EQ(candidate.replicate >= selection_replicate, !candidate.tag.empty());
  }
}

TEST(AutoDiffusion, LeadersAreComparedOnFurtherReplicates) {
  const SearchProblem problem = problem_of({schedule(4, 4)}, 1, 300);
  const ParamValues params{{"elite_replicates", std::int64_t{5}}, {"replicate_share", 0.2}};
  const ScriptedRun run = search(problem, params, noisy_script_of(problem, 1, 0.05));
  std::map<Point, std::set<std::uint64_t>> replicates;
  std::size_t further = 0;
  std::size_t searched = 0;
  for (const Candidate& candidate : asked(run)) {
    if (candidate.replicate >= selection_replicate) continue;
    replicates[candidate.point].insert(candidate.replicate);
    ++(candidate.replicate == 0 ? searched : further);
  }
  std::size_t most = 0;
  for (const auto& [point, seen] : replicates) {
    EXPECT_EQ(*seen.rbegin() + 1, seen.size()) << "0, 1, 2, ... without a gap";
    most = std::max(most, seen.size());
  }
  EXPECT_EQ(most, 5U);
  EXPECT_LE(further, searched / 5 + 2);
  EXPECT_GE(further, 10U);
}

TEST(AutoDiffusion, RungsExtendLeadersOnly) {
  const SearchProblem problem = problem_of({schedule(3, 6)}, 2, 400);
  const ParamValues params{{"rungs", std::vector<double>{500, 2000, 10000}}};
  const ScriptedRun run = search(problem, params, noisy_script_of(problem, 4, 0.05));
  std::map<std::uint64_t, std::set<Point>> at;
  for (const Candidate& candidate : asked(run)) {
    if (candidate.replicate > 0) continue;
    const std::uint64_t below = candidate.fidelity == 10000 ? 2000 : 500;
    if (candidate.fidelity > 500) {
      EXPECT_THAT(at[below], Contains(candidate.point));
    }
    EXPECT_TRUE(at[candidate.fidelity].insert(candidate.point).second);
  }
  ASSERT_EQ(at.size(), 3U);
  EXPECT_LT(2 * at[2000].size(), at[500].size());
  EXPECT_LT(3 * at[10000].size(), 2 * at[2000].size());
  EXPECT_GE(at[10000].size(), 5U);
}

TEST(AutoDiffusion, AStagnantSearchStillReports) {
  const SearchProblem problem = problem_of({schedule(3, 5)}, 1, 5000);
  class Watched final : public Evaluations {
   public:
    explicit Watched(Evaluations& inner) : inner_(inner) {}
    TrialNumber submit(const Candidate& candidate) override {
      if (++submitted_ == 100) throw Stagnated{};
      return inner_.submit(candidate);
    }
    Trial next() override { return inner_.next(); }
    [[nodiscard]] std::size_t in_flight() const override { return inner_.in_flight(); }
    [[nodiscard]] std::uint64_t remaining() const override { return inner_.remaining(); }
    [[nodiscard]] std::size_t parallelism() const override { return inner_.parallelism(); }

   private:
    Evaluations& inner_;
    int submitted_ = 0;
  };
  for (const ParamValues& params : {ParamValues{}, paper}) {
    ScriptedEvaluations evaluations(problem, noisy_script_of(problem, 4, 0.01));
    Watched watched(evaluations);
    const Report report = autodiffusion_optimizer().run(problem, params, watched);
    EXPECT_EQ(report.stop_reason, "stagnation");
    EXPECT_GE(report.rows.size(), 2U);
  }
}

// ---- refusals ----------------------------------------------------------------------------------

std::string refusal(const SearchProblem& problem, const ParamValues& params) {
  std::string text;
  for (const Problem& p : autodiffusion_optimizer().check(problem, params)) {
    text += p.pointer + ": " + p.message + "; ";
  }
  return text;
}

TEST(AutoDiffusion, UnsuitableJobsAreRefusedByPointer) {
  const SearchProblem masked = problem_of({schedule(2, 6, 4)}, 2, 200);
  const SearchProblem plain = problem_of({schedule(2, 6)}, 1, 200);
  EXPECT_EQ(refusal(masked, {}), "");
  EXPECT_THAT(refusal(problem_of({schedule(2, 6),
                                  [] {
                                    Parameter second = schedule(1, 2);
                                    second.name = "second";
                                    return second;
                                  }()},
                                 1, 200),
                      {}),
              HasSubstr("/space: autodiffusion needs exactly one"));
  EXPECT_THAT(
      refusal(masked, {{"layer_costs", std::vector<double>{1, 2, 3, 4, 5}}}),
      HasSubstr("/optimizer/params/layer_costs: has 5 costs, but \"schedule\" has 4 layers"));
  EXPECT_THAT(refusal(plain, {{"layer_costs", std::vector<double>{1}}}),
              HasSubstr("/optimizer/params/layer_costs: has 1 costs, but \"schedule\" has 0"));
  EXPECT_THAT(refusal(masked, {{"layer_costs", std::vector<double>{1, 0, 3, 4}}}),
              HasSubstr("/optimizer/params/layer_costs/1: must be greater than 0"));
  EXPECT_THAT(refusal(plain, {{"choice_costs", std::vector<double>{1}}}),
              HasSubstr("/optimizer/params/choice_costs"));
  EXPECT_THAT(refusal(plain, {{"max_cost", 1.0}}),
              HasSubstr("/optimizer/params/max_cost: 2 steps, the fewest that \"schedule\" allows, "
                        "cost at least 2"));
  EXPECT_THAT(refusal(problem_of({schedule(2, 6, 4)}, 1, 200), with(paper, {{"max_cost", 7.0}})),
              HasSubstr("cost at least 8 before layers are dropped"));
  SearchProblem dear = masked;
  dear.initial = {
      ScheduleCoding(dear.space, 0)
          .encode({{1, 0, {false, false, false, false}}, {2, 0, {false, true, false, false}}},
                  dear.space.resting())};
  EXPECT_THAT(refusal(dear, {{"max_cost", 6.0}}),
              HasSubstr("/initial/0/schedule: costs 7, more than max_cost 6"));
  EXPECT_THAT(refusal(plain, {{"alpha_bars", std::vector<double>(500, 0.5)}}),
              HasSubstr("/optimizer/params/alpha_bars/1"));
  std::vector<double> few;
  for (int t = 0; t < 500; ++t) few.push_back(0.9 - 0.001 * t);
  EXPECT_THAT(
      refusal(plain, {{"alpha_bars", few}}),
      HasSubstr("/space/0/high: steps run from 0 to 999, but alpha_bars has only steps 0 to "
                "499"));
  EXPECT_THAT(refusal(plain, {{"rungs", std::vector<double>{500, 500}}}),
              HasSubstr("/optimizer/params/rungs/1"));
  EXPECT_THAT(refusal(plain, {{"rungs", std::vector<double>{500}}, {"fidelity", std::int64_t{5}}}),
              HasSubstr("/optimizer/params/fidelity"));
  EXPECT_THAT(refusal(masked, paper), HasSubstr("/objectives: mode \"paper\""));
  SearchProblem noisy = plain;
  noisy.noise.confidence = 0.9;
  EXPECT_THAT(refusal(noisy, {}), HasSubstr("/noise"));
  SearchProblem short_one = plain;
  short_one.trials = 5;
  EXPECT_THAT(refusal(short_one, {}), HasSubstr("/budget/trials"));
}

}  // namespace
}  // namespace paretod
