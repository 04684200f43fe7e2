// Evo-Merging on planted pools and formulas; research/evo-merging.md, section 9, (b), (d), (g) to
// (i).  The merge operator has a test of its own, and (h) is the replay suite's as well.

#include "optimizers/evo_merging.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <set>

#include "optimizers/evo_merging_plan.hpp"
#include "optimizers/fold.hpp"
#include "optimizers/merge_genes.hpp"
#include "optimizers/merge_search.hpp"
#include "tests/support/evo_pool_job.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t plenty = 1'000'000;

struct MergeRun {
  ScriptedRun run;
  double found = 0;  ///< share of the gap closed, on the report split
};

Script script_for(const SearchProblem& problem, std::function<Outcome(const Candidate&)> outcome,
                  std::size_t parallelism = 1) {
  Script script;
  script.outcome = std::move(outcome);
  script.budget = problem.trials > 0 ? problem.trials : plenty;
  script.parallelism = parallelism;
  return script;
}

ScriptedRun run_merging(const SearchProblem& problem, const ParamValues& params,
                        const Script& script) {
  const Optimizer optimizer = evo_merging_optimizer();
  const Problems problems = optimizer.check(problem, params);
  EXPECT_TRUE(problems.empty()) << problems.front().pointer << " " << problems.front().message;
  return run_scripted(optimizer, problem, params, script);
}

MergeRun on_pool(const EvoPool& pool, const ParamValues& params, std::uint64_t trials = 0,
                 std::size_t parallelism = 1) {
  const SearchProblem problem = merge_problem(pool.adapters(), trials, 7);
  MergeRun out{run_merging(
      problem, params,
      script_for(
          problem, [&](const Candidate& c) { return measure_merge(pool, c); }, parallelism))};
  out.found = gap_closed(pool, out.run.report.rows.at(0).estimates.at(0).mean);
  return out;
}

/// Mean over pools: that of twelve with seven adapters has a standard error of 2 %.
double mean_found(std::size_t adapters, std::size_t informative, std::size_t harmful,
                  const ParamValues& params) {
  const std::uint64_t pools = adapters < 10 ? 12 : 5;
  double sum = 0;
  for (std::uint64_t seed = 1; seed <= pools; ++seed) {
    sum += on_pool(EvoPool(adapters, informative, harmful, seed), params).found;
  }
  return sum / static_cast<double>(pools);
}

ParamValues with(ParamValues params, const ParamValues& more) {
  params.insert(more.begin(), more.end());
  return params;
}

const ParamValues no_extras{
    {"leave_one_out", std::int64_t{0}}, {"controls", std::int64_t{0}}, {"single_adapters", false}};

/// Least at alpha = 0.5 and at beta = 0.4, -0.2, 0.4, ..., on every example.
double bowl(const Point& point) {
  const std::size_t n = point.size() / 2;
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double beta = point[n + i] - (i % 2 == 0 ? 0.4 : -0.2);
    sum += 0.1 * (point[i] - 0.5) * (point[i] - 0.5) + beta * beta;
  }
  return sum;
}

// ---- quality -----------------------------------------------------------------------------------

TEST(EvoMergingQuality, BothStagesBeatTheSecondAloneAndSignedBetasBeatOthers) {
  const ParamValues alone{{"denoise_generations", std::int64_t{0}},
                          {"scale_generations", std::int64_t{90}}};
  for (const std::size_t n : {7U, 20U}) {
    const std::size_t informative = n < 10 ? 3 : 5;
    const std::size_t harmful = n < 10 ? 2 : 4;
    const double both = mean_found(n, informative, harmful, no_extras);
    EXPECT_GT(both, 0.4);
    EXPECT_GT(both, 0.03 + mean_found(n, informative, harmful, with(no_extras, alone)));
    // N = 7: 5.9 % (standard error 0.8 %) over 120 pools; 20: 39 %.
    const double margin = n < 10 ? 0.01 : 0.1;
    EXPECT_GT(both,
              margin + mean_found(n, informative, harmful, with(no_extras, {{"negative", false}})));
  }
}

TEST(EvoMergingQuality, ThePaperPresetWorksAndTheDefaultNeedsLessThanHalfOfItsExamples) {
  const EvoPool pool(20, 5, 4, 3);
  const auto calls = [](const MergeRun& made) {
    // A candidate's examples once: what it is asked again comes from the ledger.
    std::set<std::pair<Point, std::size_t>> paid;
    for (const ScriptedEvent& event : made.run.log) {
      if (event.kind != ScriptedEvent::Kind::asked) continue;
      const Examples examples = examples_of(event.candidate);
      for (std::size_t k = 0; k < examples.count && examples.split == search_split; ++k) {
        paid.insert(
            {event.candidate.point, (examples.first + k) % EvoPool::split_sizes[search_split]});
      }
    }
    return static_cast<double>(paid.size());
  };
  const MergeRun paper = on_pool(pool, with(no_extras, {{"preset", std::string("paper")}}));
  const MergeRun ours = on_pool(pool, no_extras);
  EXPECT_GT(paper.found, 0.4);
  EXPECT_GT(ours.found, paper.found - 0.02);
  EXPECT_EQ(calls(paper), 60 * 20 * 300);
  EXPECT_LT(calls(ours), 0.5 * calls(paper));
}

TEST(EvoMergingQuality, ThirtyPercentFailuresStillConverge) {
  const EvoPool pool(7, 3, 2, 2);
  for (const std::string preset : {"default", "paper"}) {
    for (const std::size_t parallelism : {1U, 8U}) {
      const SearchProblem problem = merge_problem(7, 0, 7);
      std::uint64_t attempt = 0;
      std::size_t failed = 0;
      const auto outcome = [&](const Candidate& c) {
        if (Rng(99, ++attempt).bernoulli(0.3)) {
          ++failed;
          return Outcome::failure(attempt % 3 == 0 ? TrialStatus::unknown : TrialStatus::failed,
                                  "injected");
        }
        return measure_merge(pool, c);
      };
      const ScriptedRun run = run_merging(problem, with(no_extras, {{"preset", preset}}),
                                          script_for(problem, outcome, parallelism));
      EXPECT_EQ(run.report.stop_reason, "generations");
      EXPECT_GT(failed, 300U);
      const Point& found = run.report.rows.at(0).point;
      EXPECT_GT(gap_closed(pool, measure_merge(pool, {found, 0, report_split}).objectives[0].value),
                0.33)
          << preset << " " << parallelism;
    }
  }
}

TEST(EvoMergingQuality, ManySlotsLoseLittle) {
  const EvoPool pool(20, 5, 4, 1);
  const double serial = on_pool(pool, no_extras).found;
  for (const std::size_t slots : {8U, 40U}) {
    EXPECT_GT(on_pool(pool, no_extras, 0, slots).found, serial - 0.12) << slots;
  }
}

TEST(EvoMergingQuality, SeveralTasksGiveAFrontOfTradeOffs) {
  const EvoPool pool(7, 4, 1, 4);
  const SearchProblem problem = merge_problem(7, 0, 7, 2);
  const ScriptedRun run =
      run_merging(problem, no_extras,
                  script_for(
                      problem, [&](const Candidate& c) { return measure_merge(pool, c, 2); }, 4));
  std::vector<const ReportRow*> front;
  const ReportRow* base = nullptr;
  for (const ReportRow& row : run.report.rows) {
    if (row.name.starts_with("front:")) front.push_back(&row);
    if (row.name == "base") base = &row;
  }
  ASSERT_EQ(front.size(), 5U);
  ASSERT_NE(base, nullptr);
  // Directions go from the second objective to the first.
  const auto loss = [&](std::size_t i, std::size_t k) { return front[i]->estimates.at(k).mean; };
  EXPECT_LT(loss(4, 0), loss(0, 0) - 0.03);
  EXPECT_LT(loss(0, 1), loss(4, 1) - 0.03);
  EXPECT_LT(loss(4, 0), base->estimates[0].mean - 0.2);
  EXPECT_LT(loss(0, 1), base->estimates[1].mean - 0.2);
}

// ---- what it asks ------------------------------------------------------------------------------

TEST(EvoMerging, NeverMixesTheSplits) {
  const EvoPool pool(7, 3, 2, 1);
  for (const std::string examples : {"all", "race", "rotate"}) {
    const SearchProblem problem = merge_problem(7, 600, 5);
    bool reporting = false;
    std::set<Point> selected;
    const auto outcome = [&](const Candidate& c) {
      const std::uint64_t split = c.replicate % splits;
      EXPECT_EQ(split == report_split, c.tag.starts_with("report:")) << c.tag;
      EXPECT_EQ(split == select_split, c.tag == "select") << c.tag;
      EXPECT_TRUE(!reporting || split == report_split) << "the report is the end";
      reporting = reporting || split == report_split;
      if (split == select_split) selected.insert(c.point);
      return measure_merge(pool, c);
    };
    const ScriptedRun run =
        run_merging(problem, {{"examples", examples}}, script_for(problem, outcome, 4));
    EXPECT_TRUE(reporting);
    EXPECT_TRUE(selected.contains(run.report.rows.at(0).point)) << "chosen on the select split";
  }
}

TEST(EvoMerging, StaysWithinBoundsAndIsCanonical) {
  const auto outcome = [](const Candidate& c) {
    const std::size_t n = c.point.size() / 2;
    double sum = 0, pull = 0;
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_GE(c.point[i], 0);
      EXPECT_LE(c.point[i], 1);
      EXPECT_LE(std::abs(c.point[n + i]), 1.5);
      sum += c.point[n + i];
      pull -= std::abs(c.point[n + i]) + (i % 2 == 0 ? c.point[i] : -c.point[i]);
    }
    EXPECT_GE(sum, 0) << "sign canonical";
    return scalar_outcome(pull);  // pulls out of every bound
  };
  for (const std::string preset : {"default", "paper", "lorahub"}) {
    const SearchProblem problem = merge_problem(5, 0, 9);
    const ScriptedRun run =
        run_merging(problem, {{"preset", preset}}, script_for(problem, outcome, 3));
    if (preset != "default") continue;
    const Point& found = run.report.rows.at(0).point;
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(found[i], i % 2 == 0 ? 1 : 0, 0.05);
      EXPECT_NEAR(std::abs(found[5 + i]), 1.5, 0.05);
    }
  }
}

TEST(EvoMerging, WithoutNegativeBetasThereAreNone) {
  const SearchProblem problem = merge_problem(5, 0, 9);
  const auto outcome = [](const Candidate& c) {
    for (std::size_t i = 5; i < 10; ++i) EXPECT_GE(c.point[i], 0);
    return scalar_outcome(bowl(c.point));
  };
  run_merging(problem, with(no_extras, {{"negative", false}}), script_for(problem, outcome));
}

TEST(EvoMerging, DeltaSpaceKeepsSigns) {
  SearchProblem problem = merge_problem(4, 0, 3);
  const auto outcome = [](const Candidate& c) {
    double sum = 0;
    for (std::size_t i = 4; i < 8; ++i) sum += (c.point[i] + 0.7) * (c.point[i] + 0.7);
    return scalar_outcome(sum);
  };
  const ScriptedRun run =
      run_merging(problem, with(no_extras, {{"merge_space", std::string("delta")}}),
                  script_for(problem, outcome));
  for (std::size_t i = 4; i < 8; ++i) EXPECT_NEAR(run.report.rows[0].point[i], -0.7, 0.05);
}

TEST(EvoMerging, DoesNotAskForTheSameMergeOnTheSameExamplesTwice) {
  const SearchProblem problem = merge_problem(3, 0, 4);
  const MergeGenes genes(problem.space, true, {0, 0.25, 0.5, 1});
  std::set<std::tuple<MergeGenes::Key, std::uint64_t, std::uint64_t>> asked;
  std::size_t searched = 0;
  const auto outcome = [&](const Candidate& c) {
    if (c.tag.empty()) {
      ++searched;
      EXPECT_TRUE(asked.insert({genes.key(c.point), c.fidelity, c.replicate}).second);
    }
    Point rounded = c.point;
    for (std::size_t i = 0; i < 3; ++i) rounded[i] = std::round(4 * rounded[i]) / 4;
    return scalar_outcome(bowl(rounded));
  };
  // Few merges differ in alpha alone, so most of a denoising generation is known already.
  run_merging(problem,
              with(no_extras, {{"alpha_ladder", std::vector<double>{1, 0.5, 0.25, 0}},
                               {"examples", std::string("all")}}),
              script_for(problem, outcome));
  EXPECT_LT(searched, 96U * 20 + 44 * 20 - 200);
}

TEST(EvoMerging, SkipsDenoisingWithoutAlphas) {
  std::vector<Parameter> parameters(4);
  for (std::size_t i = 0; i < 4; ++i) {
    parameters[i].name = "beta.a" + std::to_string(i);
    parameters[i].low = -1.5;
    parameters[i].high = 1.5;
  }
  const SearchProblem problem{SearchSpace::make(parameters).value(), {{"loss"}}, 1, 0};
  const auto outcome = [](const Candidate& c) {
    double sum = 0;
    for (std::size_t i = 0; i < 4; ++i) sum += (c.point[i] - 0.5) * (c.point[i] - 0.5);
    return scalar_outcome(sum);
  };
  const ScriptedRun run = run_merging(problem, no_extras, script_for(problem, outcome));
  for (const double beta : run.report.rows.at(0).point) EXPECT_NEAR(beta, 0.5, 0.05);
}

TEST(EvoMerging, ARaceFinishesTheBestOfEachGenerationOnly) {
  const EvoPool pool(7, 3, 2, 1);
  const SearchProblem problem = merge_problem(7, 0, 5);
  std::map<std::uint64_t, std::size_t> counts;
  const auto outcome = [&](const Candidate& c) {
    if (c.tag.empty()) ++counts[c.fidelity];
    return measure_merge(pool, c);
  };
  run_merging(problem,
              with(no_extras, {{"examples", std::string("race")},
                               {"denoise_generations", std::int64_t{5}},
                               {"scale_generations", std::int64_t{7}}}),
              script_for(problem, outcome));
  EXPECT_EQ(counts, (std::map<std::uint64_t, std::size_t>{{60, 12 * 20}, {300, 12 * 12}}));
}

TEST(EvoMerging, RotatesBlocksAndEndsEachStageOnAll) {
  const EvoPool pool(7, 3, 2, 1);
  const SearchProblem problem = merge_problem(7, 0, 5);
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> counts;
  const auto outcome = [&](const Candidate& c) {
    if (c.tag.empty()) ++counts[{c.fidelity, c.replicate}];
    return measure_merge(pool, c);
  };
  run_merging(problem,
              with(no_extras, {{"order", std::string("denoise_first")},
                               {"denoise_generations", std::int64_t{3}},
                               {"scale_generations", std::int64_t{4}}}),
              script_for(problem, outcome));
  EXPECT_EQ(counts, (std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t>{
                        {{20, 0}, 40}, {{22, 3}, 40}, {{28, 6}, 20}, {{300, 0}, 40}}));
}

TEST(EvoMerging, ARaceOnABlockBeginsWhereTheBlockDoes) {
  const EvoPool pool(7, 3, 2, 1);
  const SearchProblem problem = merge_problem(7, 0, 5);
  std::map<Point, Examples> first;
  std::size_t finished = 0;
  const auto outcome = [&](const Candidate& c) {
    if (!c.tag.empty()) return measure_merge(pool, c);
    const Examples examples = examples_of(c);
    const auto [known, fresh] = first.emplace(c.point, examples);
    if (!fresh) {
      ++finished;
      EXPECT_EQ(known->second.first, examples.first);
      EXPECT_EQ(3 * known->second.count, examples.count);
    }
    return measure_merge(pool, c);
  };
  run_merging(problem, no_extras, script_for(problem, outcome));
  EXPECT_GT(finished, 30U * 12);
}

TEST(EvoMerging, GoesOnFromTheBestOfSeveralStarts) {
  // The second is said to be the best.
  const SearchProblem problem = merge_problem(3, 5000, 4);  // a budget of trials: no race
  constexpr std::size_t population = 20, opening = 6;
  std::size_t asked = 0;
  std::vector<Point> compared, after;
  const auto outcome = [&](const Candidate& c) {
    double loss = 0;
    for (std::size_t i = 3; i < 6; ++i) loss += (c.point[i] - 0.5) * (c.point[i] - 0.5);
    if (c.tag == "start") {
      compared.push_back(c.point);
      return scalar_outcome(compared.size() == 2 ? -1 : 0);
    }
    if (c.tag.empty() && asked++ >= 3 * population * opening) after.push_back(c.point);
    return scalar_outcome(loss);
  };
  run_merging(problem,
              with(no_extras, {{"starts", std::int64_t{3}},
                               {"denoise_generations", std::int64_t{8}},
                               {"scale_generations", std::int64_t{12}}}),
              script_for(problem, outcome));
  ASSERT_EQ(compared.size(), 3U);
  ASSERT_EQ(after.size(), population * (20 - opening));
  const auto away = [&](std::size_t start) {
    double sum = 0;
    for (std::size_t i = 0; i < population; ++i) {
      for (std::size_t k = 0; k < 6; ++k) {
        sum += (after[i][k] - compared[start][k]) * (after[i][k] - compared[start][k]);
      }
    }
    return sum;
  };
  EXPECT_LT(away(1), away(0));
  EXPECT_LT(away(1), away(2));
}

// ---- missing results ---------------------------------------------------------------------------

TEST(EvoMerging, AMissingTrialIsAskedForOnceMoreAndAnUnknownOneNever) {
  const SearchProblem problem = merge_problem(4, 0, 6);
  std::map<Point, int> failed, unknown;
  const auto outcome = [&](const Candidate& c) {
    const std::uint64_t key = hash_of(c.point) % 10;
    if (c.tag.empty() && key == 0) {
      ++failed[c.point];
      return Outcome::failure(TrialStatus::failed, "always");
    }
    if (c.tag.empty() && key == 1) {
      ++unknown[c.point];
      return Outcome::failure(TrialStatus::unknown, "may be paid");
    }
    return scalar_outcome(bowl(c.point));
  };
  const ScriptedRun run = run_merging(problem,
                                      with(no_extras, {{"examples", std::string("all")},
                                                       {"denoise_generations", std::int64_t{27}},
                                                       {"scale_generations", std::int64_t{63}}}),
                                      script_for(problem, outcome));
  ASSERT_GT(failed.size(), 50U);
  for (const auto& [point, count] : failed) EXPECT_EQ(count, 2);
  for (const auto& [point, count] : unknown) EXPECT_EQ(count, 1);
  EXPECT_LT(bowl(run.report.rows.at(0).point), 0.02);
}

TEST(EvoMerging, ALossThatIsNotFiniteRanksLast) {
  const SearchProblem problem = merge_problem(4, 0, 6);
  const auto outcome = [&](const Candidate& c) {
    if (c.point[4] > 0.3) return scalar_outcome(std::nan(""));
    if (c.point[6] > 0.3) return Outcome::failure(TrialStatus::infeasible, "not finite");
    return scalar_outcome(bowl(c.point));
  };
  const ScriptedRun run = run_merging(problem, no_extras, script_for(problem, outcome, 3));
  EXPECT_LE(run.report.rows.at(0).point[4], 0.3);
  EXPECT_NEAR(run.report.rows.at(0).point[4], 0.3, 0.05);
  EXPECT_LE(run.report.rows.at(0).point[6], 0.3);
}

TEST(EvoMerging, GivesUpWhenNothingReturns) {
  const SearchProblem problem = merge_problem(4, 0, 6);
  std::size_t asked = 0;
  const auto outcome = [&](const Candidate&) {
    ++asked;
    return Outcome::failure(TrialStatus::failed, "the server is gone");
  };
  const ScriptedRun run = run_merging(problem, {}, script_for(problem, outcome, 4));
  EXPECT_EQ(run.report.stop_reason, "fewer than 60% of the evaluations return");
  EXPECT_LT(asked, 200U);
}

// ---- report ------------------------------------------------------------------------------------

TEST(EvoMerging, ReportsTheResultBesideBaseBestSingleControlsAndWithoutEachAdapter) {
  const EvoPool pool(7, 3, 2, 3);
  const MergeRun made = on_pool(pool, {});
  std::map<std::string, const ReportRow*> rows;
  for (const ReportRow& row : made.run.report.rows) rows[row.name] = &row;
  ASSERT_EQ(made.run.report.rows.size(), 1U + 1 + 1 + 3 + 7);
  EXPECT_EQ(made.run.report.rows[0].name, "found");
  const auto loss = [&](const std::string& name) { return rows.at(name)->estimates[0].mean; };
  EXPECT_NEAR(loss("base"), pool.base_loss(0, 2), 1e-5);
  std::string single;
  for (const auto& [name, row] : rows) {
    if (name.starts_with("best_single:")) single = name;
  }
  ASSERT_NE(single, "");
  const auto index = static_cast<std::size_t>(single.back() - '0');
  EXPECT_EQ(pool.kind(index), EvoPool::Kind::informative);
  EXPECT_LT(loss("found"), loss(single));
  EXPECT_LT(loss(single), loss("base"));
  EXPECT_GT(loss("shuffled:1") + loss("shuffled:2") + loss("shuffled:3"), 3 * loss("found") + 0.5);
  for (std::size_t i = 0; i < 7; ++i) {
    const ReportRow& without = *rows.at("without:a" + std::to_string(i));
    EXPECT_EQ(without.point[7 + i], 0);
    const Estimate& change = without.difference[0];
    EXPECT_NEAR(change.mean, without.estimates[0].mean - loss("found"), 1e-9);
    EXPECT_EQ(change.count, 1000U);
    EXPECT_GT(change.standard_error, 0);
    EXPECT_LT(change.standard_error, 0.05) << "paired by example";
    if (pool.kind(i) == EvoPool::Kind::informative) {
      EXPECT_GT(change.mean, 2 * change.standard_error) << "a" << i << " is missed";
    }
  }
  EXPECT_EQ(rows.at("found")->difference[0].mean, 0);
}

TEST(EvoMerging, ReportsInTheUsersSign) {
  SearchProblem problem = merge_problem(4, 0, 6);
  problem.objectives[0].goal = Goal::maximize;
  const auto outcome = [&](const Candidate& c) {
    Outcome made = scalar_outcome(1 - bowl(c.point));
    made.examples = {{static_cast<float>(made.objectives[0].value), 0.5F}};
    return made;
  };
  const ScriptedRun run = run_merging(problem, {}, script_for(problem, outcome));
  EXPECT_NEAR(run.report.rows[0].estimates[0].mean, 1, 0.05);
  EXPECT_EQ(run.report.rows[1].name, "base");
  EXPECT_LT(run.report.rows[1].difference[0].mean, 0) << "the base is lower";
}

TEST(EvoMerging, NeverReportsWorseThanBaseOrBestSingleOnTheSelectSplit) {
  const SearchProblem problem = merge_problem(4, 0, 6);
  const auto base_is_best = [](const Candidate& c) {
    double sum = 0;
    for (std::size_t i = 4; i < 8; ++i) sum += std::abs(c.point[i]);
    return scalar_outcome(sum);
  };
  const ScriptedRun run = run_merging(problem, {}, script_for(problem, base_is_best));
  // The search itself may get so near that it is the same merge.
  const MergeGenes genes(problem.space, true, {});
  EXPECT_EQ(genes.key(run.report.rows[0].point), genes.key(genes.uniform(1, 0)));
}

TEST(EvoMerging, FitsIntoItsBudgetAndUsesIt) {
  for (const std::uint64_t trials : {120U, 300U, 1000U}) {
    for (const std::string preset : {"default", "paper"}) {
      for (const std::size_t objectives : {1U, 2U}) {
        const SearchProblem problem = merge_problem(5, trials, 8, objectives);
        const auto outcome = [&](const Candidate& c) {
          Outcome made = scalar_outcome(bowl(c.point));
          if (objectives == 2) made.objectives.push_back({.value = c.point[5] * c.point[5]});
          return made;
        };
        const ScriptedRun run =
            run_merging(problem, {{"preset", preset}, {"population", std::int64_t{8}}},
                        script_for(problem, outcome, 3));
        EXPECT_LE(run.evaluated, trials);
        if (preset == "default" || trials < 500) {
          EXPECT_GE(run.evaluated, trials < 200 ? trials * 9 / 20 : trials * 7 / 10);
        }
        ASSERT_GE(run.report.rows.size(), 2U) << trials;
        EXPECT_EQ(run.report.rows[0].estimates.at(0).count, 1U);
      }
    }
  }
}

TEST(EvoMerging, StagnationEndsTheSearchAndNotTheReport) {
  const SearchProblem problem = merge_problem(4, 0, 6);
  class Watched final : public Evaluations {
   public:
    Watched(Evaluations& inner, std::uint64_t at) : inner_(inner), at_(at) {}
    TrialNumber submit(const Candidate& candidate) override {
      if (++asked_ == at_) throw Stagnated{};
      return inner_.submit(candidate);
    }
    Trial next() override { return inner_.next(); }
    [[nodiscard]] std::size_t in_flight() const override { return inner_.in_flight(); }
    [[nodiscard]] std::uint64_t remaining() const override { return inner_.remaining(); }
    [[nodiscard]] std::size_t parallelism() const override { return inner_.parallelism(); }

   private:
    Evaluations& inner_;
    const std::uint64_t at_;
    std::uint64_t asked_ = 0;
  };
  const Script script = script_for(
      problem, [](const Candidate& c) { return scalar_outcome(bowl(c.point)); }, 4);
  for (const std::uint64_t at : {1U, 15U, 300U, 485U, 490U, 1000U}) {
    ScriptedEvaluations inner(problem, script);
    Watched watched(inner, at);
    const Report report = evo_merging_optimizer().run(problem, {}, watched);
    EXPECT_EQ(report.stop_reason, "stagnation") << at;
    EXPECT_GE(report.rows.size(), 3U);
    EXPECT_EQ(inner.in_flight(), 0U);
  }
}

// ---- parts -------------------------------------------------------------------------------------

TEST(MergeGenes, KnowsWhichMergesAreTheSame) {
  const SearchProblem problem = merge_problem(3, 0, 1);
  const MergeGenes genes(problem.space, true, {});
  const Point point{0.2, 0.4, 0.6, 0.5, -0.3, 0};
  EXPECT_EQ(genes.key(point), genes.key({0.2, 0.4, 0.6, -0.5, 0.3, 0})) << "mirrored";
  EXPECT_EQ(genes.key(point), genes.key({0.2, 0.4, 1, 0.5, -0.3, 0})) << "alpha without weight";
  EXPECT_NE(genes.key(point), genes.key({0.2, 0.5, 0.6, 0.5, -0.3, 0}));
  EXPECT_NE(genes.key(point), genes.key({0.2, 0.4, 0.6, 0.5, 0.3, 0})) << "relative sign";
  EXPECT_EQ(genes.canonical({0, 0, 0, -0.5, 0.5, 0}), (Point{0, 0, 0, 0.5, -0.5, 0}));
  const MergeGenes delta(problem.space, false, {1, 0.5, 0});
  EXPECT_NE(delta.key(point), delta.key({0.2, 0.4, 0.6, -0.5, 0.3, 0}));
  EXPECT_EQ(delta.key(point), delta.key({0.1, 0.6, 0.6, 0.5, -0.3, 0})) << "the same rungs";
  EXPECT_NE(delta.key(point), delta.key({0.3, 0.6, 0.6, 0.5, -0.3, 0}));
  EXPECT_DOUBLE_EQ(genes.mean_alpha(point), 0.4);
  EXPECT_DOUBLE_EQ(genes.mean_beta(point), 0.8 / 3);
}

TEST(MergeGenes, DoesNotDependOnTheOrderOfTheParameters) {
  SearchProblem problem = merge_problem(3, 0, 1);
  std::vector<Parameter> shuffled = problem.space.parameters();
  std::swap(shuffled[0], shuffled[5]);
  std::swap(shuffled[1], shuffled[3]);
  const SearchSpace space = SearchSpace::make(shuffled).value();
  const MergeGenes genes(space, true, {});
  EXPECT_TRUE(MergeGenes::check(space).empty());
  for (const MergeGenes::Adapter& adapter : genes.adapters()) {
    EXPECT_EQ(shuffled[adapter.beta].name, "beta." + adapter.name);
    EXPECT_EQ(shuffled[*adapter.alpha].name, "alpha." + adapter.name);
  }
}

TEST(Fold, IsSmoothMonotoneAndItsOwnInverse) {
  const Fold fold(-1.5, 1.5, 0.075);
  double before = -1.5;
  for (double u = -1.575; u <= 1.575; u += 1e-3) {
    const double value = fold.value(u);
    EXPECT_GE(value, before);
    EXPECT_LE(value - before, 1.01e-3);
    EXPECT_NEAR(fold.latent(value), u, 1e-6);
    before = value;
  }
  EXPECT_EQ(fold.value(0.3), 0.3);
  EXPECT_DOUBLE_EQ(fold.value(1.575), 1.5);
  EXPECT_DOUBLE_EQ(fold.value(1.7), fold.value(1.45)) << "mirrored at the vertex";
  EXPECT_TRUE(fold.beyond(1.6));
  EXPECT_FALSE(fold.beyond(1.57));
}

TEST(EvoMergingPlan, ThePaperPresetIsThePublishedSetting) {
  const SearchProblem problem = merge_problem(8, 0, 1);
  EvoMergingParams params;
  params.preset = "paper";
  const EvoMergingPlan plan =
      evo_merging_plan(problem, params, MergeGenes(problem.space, true, {}), 64);
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.stages[0].what, EvoMergingPlan::What::alphas);
  EXPECT_EQ(plan.stages[0].generations, 20U);
  EXPECT_EQ(plan.stages[1].what, EvoMergingPlan::What::betas);
  EXPECT_EQ(plan.stages[1].generations, 40U);
  EXPECT_EQ(plan.population, 20U);
  EXPECT_EQ(plan.weight, 1.0 / 8);
  EXPECT_EQ(plan.alpha_start, 1);
  EXPECT_EQ(plan.alpha_sigma, 0.05);
  EXPECT_EQ(plan.beta_sigma, 0.05);
  EXPECT_EQ(plan.alpha_penalty, 0.05);
  EXPECT_EQ(plan.beta_penalty, 0.05);
  EXPECT_EQ(plan.examples_of(3, 20).full, 300U);
  EXPECT_EQ(plan.examples_of(3, 20).first, 0U);
}

TEST(EvoMergingPlan, LorahubIsFortyEvaluationsOnFiveExamplesFromZero) {
  const SearchProblem problem = merge_problem(20, 0, 1);
  EvoMergingParams params;
  params.preset = "lorahub";
  const EvoMergingPlan plan =
      evo_merging_plan(problem, params, MergeGenes(problem.space, true, {}), 1);
  ASSERT_EQ(plan.stages.size(), 1U);
  EXPECT_EQ(plan.stages[0].what, EvoMergingPlan::What::betas);
  EXPECT_LE(plan.stages[0].generations * plan.population, 40U);
  EXPECT_GE(plan.stages[0].generations * plan.population, 36U);
  EXPECT_EQ(plan.weight, 0);
  EXPECT_EQ(plan.examples_of(0, 3).full, 5U);
}

TEST(EvoMergingPlan, SearchesBothTogetherWhereACovarianceCanRelateThem) {
  using What = EvoMergingPlan::What;
  const auto stages = [](std::size_t n, const EvoMergingParams& params) {
    const SearchProblem problem = merge_problem(n, 0, 1);
    const MergeGenes genes(problem.space, true, params.alpha_ladder);
    std::vector<std::pair<What, std::size_t>> found;
    for (const auto& stage : evo_merging_plan(problem, params, genes, 1).stages) {
      found.emplace_back(stage.what, stage.generations);
    }
    return found;
  };
  using Stages = std::vector<std::pair<What, std::size_t>>;
  const Stages in_turns{{What::betas, 54}, {What::alphas, 44}, {What::betas, 42}};
  EXPECT_EQ(stages(7, {}), (Stages{{What::both, 140}}));
  EXPECT_EQ(stages(49, {}), (Stages{{What::both, 140}}));
  EXPECT_EQ(stages(50, {}), in_turns);
  EXPECT_EQ(stages(7, {.alpha_ladder = {0, 0.5, 1}}), in_turns);
  EXPECT_EQ(stages(7, {.order = "scale_first"}), in_turns);
  EXPECT_EQ(stages(50, {.order = "together"}), (Stages{{What::both, 140}}));
  EXPECT_EQ(stages(7, {.order = "together", .denoise_generations = 0}),
            (Stages{{What::betas, 96}}));
  EXPECT_EQ(stages(7, {.scale_generations = 0}), (Stages{{What::alphas, 44}}));
}

TEST(EvoMergingPlan, ABudgetSaysHowManyGenerations) {
  const MergeGenes genes(merge_problem(20, 0, 1).space, true, {});
  for (const std::uint64_t trials : {400U, 4000U}) {
    const SearchProblem problem = merge_problem(20, trials, 1);
    const EvoMergingPlan plan = evo_merging_plan(problem, {}, genes, 1);
    std::size_t cost = 0;
    for (const auto& stage : plan.stages) cost += plan.search_cost(stage);
    EXPECT_LE(cost + plan.report_cost(20, 0), trials);
    EXPECT_GE(cost, trials * 7 / 10);
  }
}

TEST(EvoMergingPlan, SeveralSearchesBeginWhereTheyAreLongEnoughAndExamplesRotate) {
  const auto first = [](std::size_t n, std::uint64_t trials, const EvoMergingParams& params) {
    const SearchProblem problem = merge_problem(n, trials, 1);
    const MergeGenes genes(problem.space, true, params.alpha_ladder);
    const EvoMergingPlan::Stage stage = evo_merging_plan(problem, params, genes, 1).stages.at(0);
    return std::pair(stage.starts, stage.opening);
  };
  using Starts = std::pair<std::size_t, std::size_t>;
  EXPECT_EQ(first(7, 0, {}), Starts(3, 42));
  EXPECT_EQ(first(7, 4000, {}).first, 3U);
  EXPECT_EQ(first(7, 1000, {}).first, 1U);
  EXPECT_EQ(first(7, 0, {.denoise_generations = 10, .scale_generations = 20}).first, 1U);
  EXPECT_EQ(first(7, 0, {.examples = "all"}).first, 1U);
  EXPECT_EQ(first(7, 0, {.starts = 2, .examples = "all"}), Starts(2, 42));
  EXPECT_EQ(first(50, 0, {}).first, 1U);
}

TEST(EvoMergingPlan, BlocksInTurnCoverTheSplitEvenly) {
  const SearchProblem problem = merge_problem(7, 3000, 1);  // a budget of trials: no race
  const MergeGenes genes(problem.space, true, {});
  const EvoMergingPlan plan = evo_merging_plan(problem, {}, genes, 1);
  constexpr std::size_t generations = 140, split = 300;
  std::size_t largest = 0;
  for (std::size_t g = 0; g + 1 < generations; ++g) {
    const MergeExamples examples = plan.examples_of(g, generations);
    EXPECT_EQ(examples.first, 0U);
    EXPECT_GE(examples.full, largest);
    largest = examples.full;
    const std::size_t parts = (split + examples.full - 1) / examples.full;
    EXPECT_LT(parts * examples.full, split + parts) << "no more than rounding";
  }
  EXPECT_EQ(plan.examples_of(generations - 1, generations).full, split);
  EXPECT_EQ(largest, split);
}

TEST(EvoMergingPlan, WhereTrialsAreFreeARaceSavesExamplesOfLargeBlocks) {
  const SearchProblem problem = merge_problem(7, 0, 1);
  const MergeGenes genes(problem.space, true, {});
  const EvoMergingPlan plan = evo_merging_plan(problem, {}, genes, 1);
  EXPECT_EQ(plan.examples_of(0, 140).first, 0U) << "20 are few enough";
  const MergeExamples late = plan.examples_of(110, 140);
  EXPECT_GT(late.block, 0U);
  EXPECT_EQ(late.full, 3 * late.first);
  EXPECT_EQ(late.finish, 12U);
  EXPECT_EQ(plan.examples_of(139, 140).first, 0U) << "all on all, at last";
}

std::string refusal(const SearchProblem& problem, const ParamValues& params = {}) {
  const Problems problems = evo_merging_optimizer().check(problem, params);
  return problems.empty() ? "" : problems.front().pointer + ": " + problems.front().message;
}

TEST(EvoMerging, RefusesWhatItCannotDo) {
  EXPECT_EQ(refusal(merge_problem(5, 0, 1)), "");
  const auto changed = [](const std::function<void(std::vector<Parameter>&)>& change) {
    std::vector<Parameter> parameters = merge_problem(3, 0, 1).space.parameters();
    change(parameters);
    SearchProblem problem = merge_problem(3, 0, 1);
    problem.space = SearchSpace::make(parameters).value();
    return refusal(problem);
  };
  EXPECT_THAT(changed([](auto& p) { p[1].name = "temperature"; }), HasSubstr("/space/1/name"));
  EXPECT_THAT(changed([](auto& p) { p.erase(p.begin() + 4); }), HasSubstr("\"beta.a1\""));
  EXPECT_THAT(changed([](auto& p) { p[0].high = 2; }), HasSubstr("/space/0: has to lie within"));
  EXPECT_THAT(changed([](auto& p) { p[4].low = 0.1; }), HasSubstr("contain 0"));
  EXPECT_THAT(changed([](auto& p) { p[2].type = ParameterType::integer; }), HasSubstr("/space/2"));
  EXPECT_THAT(changed([](auto& p) { p.resize(1), p[0].name = "x"; }), HasSubstr("/space/0/name"));

  EXPECT_THAT(refusal(merge_problem(5, 20, 1)), HasSubstr("/budget/trials"));
  EXPECT_THAT(refusal(merge_problem(5, 0, 1), {{"population", std::int64_t{2}}}),
              HasSubstr("/population"));
  EXPECT_THAT(refusal(merge_problem(5, 0, 1), {{"alpha_ladder", std::vector<double>{1, 2}}}),
              HasSubstr("/alpha_ladder"));
  EXPECT_THAT(refusal(merge_problem(5, 0, 1), {{"beta_sigma", 0.0}}), HasSubstr("/beta_sigma"));
  EXPECT_THAT(refusal(merge_problem(5, 0, 1), {{"scale_generations", std::int64_t{0}},
                                               {"denoise_generations", std::int64_t{0}}}),
              HasSubstr("nothing to search"));
  SearchProblem noisy = merge_problem(5, 0, 1);
  noisy.noise.confidence = 0.9;
  EXPECT_THAT(refusal(noisy), HasSubstr("/noise"));
}

}  // namespace
}  // namespace paretod
