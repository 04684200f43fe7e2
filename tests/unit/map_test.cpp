#include "optimizers/map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "optimizers/front_solver.hpp"
#include "optimizers/hypervolume_gain.hpp"
#include "optimizers/map_bins.hpp"
#include "optimizers/map_design.hpp"
#include "optimizers/map_model.hpp"
#include "optimizers/map_nested.hpp"
#include "optimizers/quadratic_surrogate.hpp"
#include "optimizers/sobol_sequence.hpp"
#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

SearchSpace box(std::size_t n, double low = 0, double high = 1) {
  std::vector<Parameter> parameters(n);
  for (std::size_t i = 0; i < n; ++i) {
    parameters[i].name = "c" + std::to_string(i);
    parameters[i].low = low;
    parameters[i].high = high;
  }
  return SearchSpace::make(std::move(parameters)).value();
}

SearchSpace shares(std::size_t n) {
  Parameter parameter;
  parameter.name = "w";
  parameter.type = ParameterType::simplex;
  parameter.size = n;
  return SearchSpace::make({parameter}).value();
}

SearchProblem problem_of(SearchSpace space, std::size_t objectives, std::uint64_t trials) {
  SearchProblem problem{std::move(space), {}, 3, trials};
  for (std::size_t k = 0; k < objectives; ++k) {
    problem.objectives.push_back({"acc" + std::to_string(k), Goal::maximize});
  }
  return problem;
}

/// Task k is best at 0.85 of the k-th unit vector.
std::vector<double> accuracies(const Point& c, std::size_t tasks) {
  std::vector<double> y;
  for (std::size_t k = 0; k < tasks; ++k) {
    double sum = 0;
    for (std::size_t i = 0; i < c.size(); ++i) {
      const double off = c[i] - (i == k ? 0.85 : 0.05);
      sum += (0.5 + 0.2 * static_cast<double>(i)) * off * off;
    }
    y.push_back(0.05 + 0.9 * std::exp(-sum));
  }
  return y;
}

Outcome outcome_of(const std::vector<double>& values) {
  Outcome outcome;
  for (const double value : values) outcome.objectives.push_back({.value = value});
  return outcome;
}

/// Noise of 500 examples, as a function of the point.
Outcome noisy(const Candidate& candidate, std::size_t tasks) {
  std::vector<double> y = accuracies(candidate.point, tasks);
  Rng rng(hash_of(candidate.point));
  for (double& a : y) a = std::clamp(a + std::sqrt(a * (1 - a) / 500) * rng.normal(), 0.0, 1.0);
  return outcome_of(y);
}

ScriptedRun run(const SearchProblem& problem, const ParamValues& params,
                const std::function<Outcome(const Candidate&)>& outcome,
                std::size_t parallelism = 1) {
  const Optimizer optimizer = map_optimizer();
  const Problems problems = optimizer.check(problem, params);
  EXPECT_TRUE(problems.empty()) << problems.front().pointer << ": " << problems.front().message;
  Script script;
  script.outcome = outcome;
  script.budget = problem.trials;
  script.parallelism = parallelism;
  script.order_seed = 7;
  return run_scripted(optimizer, problem, params, script);
}

std::vector<Trial> trials_of(const ScriptedRun& run, const SearchProblem& problem) {
  std::map<TrialNumber, Candidate> asked;
  std::vector<Trial> trials;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind == ScriptedEvent::Kind::asked) {
      asked[event.number] = event.candidate;
    } else {
      trials.push_back(
          trial_view(event.number, asked[event.number], event.outcome, problem.objectives));
    }
  }
  return trials;
}

std::vector<Trial> design_trials(const SearchProblem& problem, std::size_t count,
                                 const std::function<Outcome(const Candidate&)>& outcome) {
  const MapSpace space(problem.space);
  std::vector<Trial> trials;
  for (const auto& x : i_optimal_design(space, count, {}, problem.seed)) {
    const Candidate candidate{space.point(x)};
    trials.push_back(
        trial_view(trials.size() + 1, candidate, outcome(candidate), problem.objectives));
  }
  return trials;
}

// ---- the design --------------------------------------------------------------------------------

TEST(MapDesign, CarriesTheFullQuadraticFromTwoToTwelveCoefficients) {
  for (std::size_t n = 2; n <= 12; ++n) {
    const MapSpace space(box(n));
    const std::size_t p = quadratic_terms(n);
    const Design design = i_optimal_design(space, p + 3, {}, 5);
    EXPECT_EQ(design.size(), p + 3);
    EXPECT_EQ(design_rank(design, false), p) << n;
    EXPECT_EQ(std::set<std::vector<double>>(design.begin(), design.end()).size(), p + 3);
    // The paper's own has rank 37 of 45 at n = 8.
    EXPECT_EQ(design_rank(paper_design(space, 2 * p, 0, 5), false), p) << n;
  }
}

TEST(MapDesign, HasTheOriginAndTheUnitVectorsWhereTheyAreInside) {
  const auto has = [](const MapSpace& space, const Design& design, const Point& point) {
    return std::any_of(design.begin(), design.end(),
                       [&](const auto& x) { return space.point(x) == point; });
  };
  const MapSpace unit(box(3));
  const Design design = i_optimal_design(unit, 13, {}, 1);
  EXPECT_TRUE(has(unit, design, {0, 0, 0}));
  EXPECT_TRUE(has(unit, design, {0, 1, 0}));
  EXPECT_TRUE(MapSpace(box(3, 0.1, 0.9)).anchors().empty());
  const MapSpace simplex(shares(3));
  const Design of_shares = i_optimal_design(simplex, 9, {}, 1);
  EXPECT_TRUE(has(simplex, of_shares, {0, 0, 1}));
  EXPECT_EQ(design_rank(of_shares, true), 6U);
  for (const auto& x : of_shares) {
    EXPECT_TRUE(simplex.space().validate(simplex.point(x)).empty());
  }
}

TEST(MapDesign, IsSurerOnTheAverageThanAnEvenSample) {
  const MapSpace space(box(4));
  // Mean square error at new points, of a noisy quadratic.
  const auto error = [&](const Design& design) {
    std::vector<Observation> observations;
    Rng noise(5);
    const auto truth = [](const std::vector<double>& x) {
      return x[0] - x[1] * x[2] + x[3] * x[3];
    };
    for (const auto& x : design) observations.push_back({x, truth(x) + 0.1 * noise.normal()});
    SurrogateOptions options;
    options.link = Link::identity;
    const QuadraticSurrogate model = QuadraticSurrogate::fit(observations, options);
    Rng rng(9);
    double sum = 0;
    for (int i = 0; i < 500; ++i) {
      std::vector<double> x(4);
      for (double& c : x) c = rng.uniform(-1, 1);
      sum += (model.mean(x) - truth(x)) * (model.mean(x) - truth(x)) / 500;
    }
    return sum;
  };
  double designed = 0, sampled = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Design even;
    SobolSequence sequence(4, seed);
    while (even.size() < 18) even.push_back(space.from_unit(sequence.next()));
    designed += error(i_optimal_design(space, 18, {}, seed));
    sampled += error(even);
  }
  EXPECT_LT(designed, 0.7 * sampled);
}

TEST(MapDesign, DependsOnTheSeedAndSparesKnownPoints) {
  const MapSpace space(box(4));
  const Design a = i_optimal_design(space, 20, {}, 1);
  EXPECT_EQ(a, i_optimal_design(space, 20, {}, 1));
  EXPECT_NE(a, i_optimal_design(space, 20, {}, 2));
  const Design known(a.begin(), a.begin() + 10);
  for (const auto& x : i_optimal_design(space, 10, known, 1)) {
    EXPECT_EQ(std::find(known.begin(), known.end(), x), known.end());
  }
}

TEST(MapDesign, KnownPointsAreCompletedNotRepeated) {
  // All known points on a line: what is added makes up the missing rank.
  const MapSpace space(box(2));
  Design known;
  for (int i = 0; i <= 6; ++i) known.push_back({-1 + i / 3.0, 0.1});
  ASSERT_EQ(design_rank(known, false), 3U);
  Design all = i_optimal_design(space, 5, known, 1);
  all.insert(all.end(), known.begin(), known.end());
  EXPECT_EQ(design_rank(all, false), 6U);
}

TEST(MapDesign, LogarithmicParametersAreScaledByTheirLogarithms) {
  Parameter rate;
  rate.name = "rate";
  rate.low = 1e-4;
  rate.high = 1;
  rate.log_scale = true;
  Parameter other;
  other.name = "other";
  const MapSpace space(SearchSpace::make({rate, other}).value());
  EXPECT_NEAR(space.scaled({1e-2, 0.5})[0], 0, 1e-12);
  EXPECT_NEAR(space.point(std::vector<double>{0.5, 0})[0], 0.1, 1e-12);
}

// ---- solving on the models ---------------------------------------------------------------------

TEST(FrontSolver, FindsTheKnownFrontOfTwoBowls) {
  // y_k = |x - a_k|^2: the front is the segment from a_1 to a_2.
  std::vector<QuadraticSurrogate> models;
  const std::vector<std::vector<double>> centres{{-0.5, -0.5, 0}, {0.5, 0.5, 0}};
  const Design design = i_optimal_design(MapSpace(box(3)), 20, {}, 1);
  for (const auto& centre : centres) {
    std::vector<Observation> observations;
    for (const auto& x : design) {
      double sum = 0;
      for (std::size_t i = 0; i < 3; ++i) sum += (x[i] - centre[i]) * (x[i] - centre[i]);
      observations.push_back({x, sum});
    }
    SurrogateOptions options;
    options.link = Link::identity;
    models.push_back(QuadraticSurrogate::fit(observations, options));
  }
  const FrontSolver solver(models, {1, 1}, {{-1, -1, -1}, {1, 1, 1}, false}, design);
  for (const auto& direction : {std::vector<double>{0.5, 0.5}, {0.2, 0.8}, {0.9, 0.1}}) {
    for (const SolverPoint& p : solver.front({direction})) {
      EXPECT_NEAR(p.x[0], p.x[1], 2e-3);
      EXPECT_NEAR(p.x[2], 0, 2e-3);
    }
  }
  // Equal shares: the middle.  sqrt(y1) + sqrt(y2) = sqrt(2) on the front.
  Scalarisation goal{{1, 1}, {0, 0}, {1, 1}};
  const SolverPoint middle = solver.minimise(goal, {});
  EXPECT_NEAR(middle.y[0], 0.5, 1e-3);
  EXPECT_NEAR(middle.y[1], 0.5, 1e-3);
  // y2 <= 0.125: a quarter of the way from a_2.
  goal.weights = {1, 0};
  goal.max_share = 0;
  goal.sum_share = 1;
  goal.least = {-infinity, -infinity};
  goal.most = {infinity, 0.125};
  const SolverPoint bounded = solver.minimise(goal, {});
  EXPECT_LT(goal.miss(bounded.y), 1e-3);
  EXPECT_NEAR(bounded.y[0], 1.125, 5e-3);
}

TEST(FrontSolver, ReachesConcaveFrontsThatWeightedSumsMiss) {
  // Maximise x^2 and (1 - x)^2 (in the first coordinate): every inner point is in the hollow.
  std::vector<QuadraticSurrogate> models;
  const Design design = i_optimal_design(MapSpace(box(2)), 15, {}, 1);
  for (const double end : {-1.0, 1.0}) {
    std::vector<Observation> observations;
    for (const auto& x : design) observations.push_back({x, (x[0] - end) * (x[0] - end) / 4});
    SurrogateOptions options;
    options.link = Link::identity;
    models.push_back(QuadraticSurrogate::fit(observations, options));
  }
  const FrontSolver solver(models, {-1, -1}, {{-1, -1}, {1, 1}, false}, design);
  Scalarisation goal{{1, 1}, {-1, -1}, {1, 1}};
  const SolverPoint inner = solver.minimise(goal, {});
  EXPECT_NEAR(inner.x[0], 0, 5e-3);
  goal.max_share = 0;
  goal.sum_share = 1;
  EXPECT_NEAR(std::abs(solver.minimise(goal, {}).x[0]), 1, 1e-6);
}

TEST(HypervolumeGain, SampledAgreesWithExact) {
  HypervolumeGain flat(2, 1, 1);
  EXPECT_DOUBLE_EQ(flat.gain(std::vector<double>{0.5, 0.5}), 0.25);
  flat.add(std::vector<double>{0.5, 0.5});
  EXPECT_DOUBLE_EQ(flat.gain(std::vector<double>{0.6, 0.6}), 0);
  EXPECT_DOUBLE_EQ(flat.gain(std::vector<double>{0.25, 0.75}), 0.0625);
  EXPECT_DOUBLE_EQ(flat.gain(std::vector<double>{-1, 0.5}), 0.25) << "within the box only";
  HypervolumeGain deep(5, 1, 1);
  EXPECT_NEAR(deep.gain(std::vector<double>(5, 0.2)), std::pow(0.8, 5), 0.02);
  double parts = 0;
  for (std::size_t i = 0; i < 8; ++i) parts += deep.gain(std::vector<double>(5, 0.2), i, 8) / 8;
  EXPECT_NEAR(parts, deep.gain(std::vector<double>(5, 0.2)), 1e-12) << "all samples, once each";
  deep.add(std::vector<double>(5, 0.2));
  EXPECT_NEAR(deep.volume(), std::pow(0.8, 5), 0.02);
  EXPECT_DOUBLE_EQ(deep.gain(std::vector<double>(5, 0.3)), 0);
}

// ---- the model ---------------------------------------------------------------------------------

TEST(MapModel, PredictsAndSaysWhatItKnows) {
  const SearchProblem problem = problem_of(box(3), 3, 0);
  const auto trials = design_trials(
      problem, 20, [](const Candidate& c) { return outcome_of(accuracies(c.point, 3)); });
  const auto model = *MapModel::fit(problem, {}, trials);
  const SurrogateSummary& summary = model->summary();
  ASSERT_EQ(summary.objectives.size(), 3U);
  EXPECT_EQ(summary.objectives[0].form, "full");
  EXPECT_EQ(summary.observations, 20U);
  EXPECT_EQ(summary.verdict, "trade-off") << summary.verdict_reason;
  EXPECT_TRUE(summary.warnings.empty()) << summary.warnings.front();
  const Point inside{0.4, 0.3, 0.2};
  const PredictedPoint predicted = model->predict(inside);
  const auto truth = accuracies(inside, 3);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(predicted.means[k], truth[k], 2.5 * predicted.deviations[k]);
    EXPECT_GT(predicted.deviations[k], 0);
    EXPECT_LT(predicted.deviations[k], 0.06);
  }
  EXPECT_FALSE(predicted.extrapolated);
  EXPECT_GT(predicted.nearest_trial, 0U);
  EXPECT_GT(predicted.nearest_distance, 0);
  const PredictedPoint at_trial = model->predict(trials[4].candidate.point);
  EXPECT_EQ(at_trial.nearest_trial, 5U);
  EXPECT_NEAR(at_trial.nearest_distance, 0, 1e-12);
  // Task 0 is best at 0.85 e_0.
  EXPECT_GT(summary.objectives[0].best[0], 0.7);
  EXPECT_LT(summary.objectives[0].best[1], 0.3);
}

TEST(MapModel, TheOrderOfTrialsDoesNotMatter) {
  SearchProblem problem = problem_of(box(2), 2, 0);
  auto trials = design_trials(problem, 12, [](const Candidate& c) { return noisy(c, 2); });
  const auto a = *MapModel::fit(problem, {}, trials);
  std::reverse(trials.begin(), trials.end());
  // Known ones count once, repeated or not.
  problem.known = {trials[0], trials[1]};
  const auto b = *MapModel::fit(problem, {}, trials);
  EXPECT_EQ(a->summary().objectives[0].linear, b->summary().objectives[0].linear);
  EXPECT_EQ(a->front(10).front().point, b->front(10).front().point);
}

TEST(MapModel, TheFrontIsBoundedSortedAndNowhereDominated) {
  const SearchProblem problem = problem_of(box(4), 4, 0);
  const auto model = *MapModel::fit(
      problem, {}, design_trials(problem, 30, [](const Candidate& c) { return noisy(c, 4); }));
  const auto front = model->front(25);
  ASSERT_LE(front.size(), 25U);
  ASSERT_GE(front.size(), 20U);
  for (const PredictedPoint& a : front) {
    EXPECT_TRUE(problem.space.validate(a.point).empty());
    EXPECT_FALSE(a.extrapolated);
    for (const PredictedPoint& b : front) {
      const auto better = [&](std::size_t k) { return b.means[k] > a.means[k] + 1e-12; };
      EXPECT_FALSE(better(0) && better(1) && better(2) && better(3));
    }
  }
  EXPECT_GT(front.front().means[0], front.back().means[0]) << "best first objective first";
}

TEST(MapModel, AnswersPreferencesReferencePointsAndBounds) {
  const SearchProblem problem = problem_of(box(2), 2, 0);
  const auto model = *MapModel::fit(problem, {}, design_trials(problem, 14, [](const Candidate& c) {
                                      return outcome_of(accuracies(c.point, 2));
                                    }));
  const auto ask = [&](double first) {
    SurrogateQuery query;
    query.weights = {first, 1 - first};
    return model->solve(query).point.means;
  };
  EXPECT_GT(ask(0.9)[0], ask(0.5)[0]);
  EXPECT_GT(ask(0.5)[0], ask(0.1)[0]);
  EXPECT_GT(ask(0.1)[1], ask(0.9)[1]);

  // Against a fine grid.
  SurrogateQuery query;
  query.weights = {0.7, 0.3};
  const SurrogateAnswer answer = model->solve(query);
  const auto& s = model->summary();
  double least = infinity;
  for (int i = 0; i <= 200; ++i) {
    for (int j = 0; j <= 200; ++j) {
      const auto means = model->predict({i / 200.0, j / 200.0}).means;
      const double a = 0.7 * (s.ideal[0] - means[0]) / (s.ideal[0] - s.nadir[0]);
      const double b = 0.3 * (s.ideal[1] - means[1]) / (s.ideal[1] - s.nadir[1]);
      least = std::min(least, std::max(a, b) + 1e-3 * (a + b));
    }
  }
  EXPECT_LE(answer.value, least + 1e-3);
  EXPECT_EQ(answer.miss, 0);

  query.bounds = {{1, 0.8, infinity}};
  const SurrogateAnswer bounded = model->solve(query);
  EXPECT_EQ(bounded.miss, 0);
  EXPECT_GE(bounded.point.means[1], 0.8);
  query.bounds = {{1, 2, infinity}};
  EXPECT_GT(model->solve(query).miss, 0) << "nothing is that good";

  SurrogateQuery reference;
  reference.reference_point = {0.7, std::nullopt};
  EXPECT_LE(model->solve(reference).value, 0) << "reached";
  reference.reference_point = {2.0, 2.0};
  EXPECT_GT(model->solve(reference).value, 0);

  const auto verify = model->worth_verifying(5);
  ASSERT_EQ(verify.size(), 5U);
  std::set<Point> distinct;
  for (const auto& p : verify) {
    distinct.insert(p.point);
    EXPECT_GT(p.nearest_distance, 0);
  }
  EXPECT_EQ(distinct.size(), 5U);
}

TEST(MapModel, AnswersOverAFullSimplexAreShares) {
  const SearchProblem problem = problem_of(shares(3), 2, 0);
  const auto model = *MapModel::fit(
      problem, {}, design_trials(problem, 12, [](const Candidate& c) { return noisy(c, 2); }));
  EXPECT_EQ(model->summary().scaling, "shares");
  for (const auto& p : model->front(20)) EXPECT_TRUE(problem.space.validate(p.point).empty());
  SurrogateQuery query;
  query.weights = {0.5, 0.5};
  EXPECT_TRUE(problem.space.validate(model->solve(query).point.point).empty());
}

TEST(MapModel, TellsASingleSolutionFromATradeOff) {
  const SearchProblem problem = problem_of(box(3), 2, 26);
  const auto outcome = [](double apart) {
    return [apart](const Candidate& c) {
      std::vector<double> y;
      for (const double shift : {0.0, apart}) {
        double sum = 0;
        for (const double x : c.point) sum += (x - 0.4 - shift) * (x - 0.4 - shift);
        y.push_back(0.9 * std::exp(-sum));
      }
      Rng rng(hash_of(c.point));
      for (double& a : y) a += 0.005 * rng.normal();
      return outcome_of(y);
    };
  };
  const auto judged = [&](const std::vector<Trial>& trials) {
    const auto model = *MapModel::fit(problem, {}, trials);
    return model->summary().verdict + ": " + model->summary().verdict_reason;
  };
  const std::string predicted = judged(design_trials(problem, 20, outcome(0)));
  EXPECT_TRUE(predicted.starts_with("unclear: one point is predicted to be best in everything"))
      << predicted;
  const std::string single = judged(trials_of(run(problem, {}, outcome(0)), problem));
  EXPECT_TRUE(single.starts_with("single solution: trial ")) << single;
  EXPECT_TRUE(judged(design_trials(problem, 20, outcome(0.4))).starts_with("trade-off: "));
}

/// What a search over two coefficients says in the end: how often each verdict, of `seeds`
/// searches.
std::map<std::string, int> verdicts(std::uint64_t trials, std::uint64_t seeds,
                                    const std::function<Outcome(const Candidate&)>& outcome) {
  std::map<std::string, int> counts;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SearchProblem problem = problem_of(box(2), 2, trials);
    problem.seed = seed;
    const ScriptedRun done = run(problem, {}, outcome);
    const auto model = *MapModel::fit(problem, {}, trials_of(done, problem));
    ++counts[model->summary().verdict];
    EXPECT_FALSE(model->summary().verdict_reason.empty());
    if (model->summary().verdict != "unclear") continue;
    EXPECT_NE(model->summary().verdict_reason.find("more points measured"), std::string::npos)
        << "what would clear it";
  }
  return counts;
}

double bump(const Point& at, const Point& peak, const Point& sharpness) {
  double sum = 0;
  for (std::size_t i = 0; i < at.size(); ++i) {
    sum += sharpness[i] * (at[i] - peak[i]) * (at[i] - peak[i]);
  }
  return std::exp(-sum);
}

TEST(MapModel, ModelsThatCannotTellAreNoEvidenceOfASingleSolution) {
  // Peaks far apart, of shapes from nearly quadratic to hopelessly not.
  for (const double sharp : {2.0, 4.0, 8.0, 16.0}) {
    const auto outcome = [&](const Candidate& c) {
      return outcome_of(
          {bump(c.point, {0.8, 0.2}, {sharp, sharp}), bump(c.point, {0.2, 0.7}, {sharp, sharp})});
    };
    EXPECT_EQ(verdicts(12, 8, outcome)["single solution"], 0) << sharp;
    auto later = verdicts(24, 8, outcome);
    EXPECT_EQ(later["single solution"], 0) << sharp;
    EXPECT_GE(later["trade-off"], 7) << sharp;
  }
  auto cut = verdicts(24, 8, [&](const Candidate& c) {
    Outcome outcome =
        outcome_of({bump(c.point, {0.8, 0.2}, {6, 6}), bump(c.point, {0.2, 0.7}, {6, 6})});
    if (c.point[0] + c.point[1] < 0.75 || c.point[1] > 0.85) {
      outcome = {};
      outcome.status = TrialStatus::infeasible;
    }
    return outcome;
  });
  EXPECT_EQ(cut["single solution"], 0);
  EXPECT_GE(cut["trade-off"], 7);
}

TEST(MapModel, ASingleSolutionIsFoundWhereThereIsOne) {
  const auto same = [](double noise) {
    return [noise](const Candidate& c) {
      Rng rng(hash_of(c.point));
      return outcome_of({bump(c.point, {0.4, 0.6}, {1, 4}) + noise * rng.normal(),
                         bump(c.point, {0.4, 0.6}, {4, 1}) + noise * rng.normal()});
    };
  };
  for (const double noise : {0.0, 0.01}) {
    auto found = verdicts(24, 8, same(noise));
    EXPECT_GE(found["single solution"], 5) << noise;
    EXPECT_EQ(found["trade-off"], 0) << noise;
  }
}

TEST(MapModel, MeasurementsSettleWhatTheModelsCannot) {
  // Noise of known size: the models know nothing, and two trials differ by 10 of its sizes.
  const SearchProblem problem = problem_of(box(2), 2, 0);
  const auto measured = [&](double size) {
    std::vector<Trial> trials = design_trials(problem, 12, [&](const Candidate& c) {
      Rng rng(hash_of(c.point));
      Outcome outcome = outcome_of({0.5 + 0.02 * rng.normal(), 0.5 + 0.02 * rng.normal()});
      for (auto& value : outcome.objectives) value.standard_error = 0.02;
      return outcome;
    });
    trials[3].objectives = {-0.5 - size, -0.5 + size};
    trials[7].objectives = {-0.5 + size, -0.5 - size};
    return *MapModel::fit(problem, {}, trials);
  };
  EXPECT_EQ(measured(0.01)->summary().verdict, "unclear");
  const auto apart = measured(0.2);
  EXPECT_EQ(apart->summary().verdict, "trade-off");
  EXPECT_NE(apart->summary().verdict_reason.find("trial 4 has acc0 0.7, acc1 0.3"),
            std::string::npos)
      << apart->summary().verdict_reason;
}

TEST(MapModel, AMetricThatNeverVariesIsNamed) {
  const SearchProblem problem = problem_of(box(2), 2, 0);
  const auto model = *MapModel::fit(problem, {}, design_trials(problem, 12, [](const Candidate& c) {
                                      return outcome_of({accuracies(c.point, 2)[0], 0.5});
                                    }));
  ASSERT_EQ(model->summary().warnings.size(), 1U);
  EXPECT_NE(model->summary().warnings[0].find("acc1 has the same value"), std::string::npos);
  EXPECT_EQ(model->summary().verdict, "single solution");
  EXPECT_FALSE(model->front(10).empty());
  EXPECT_EQ(model->worth_verifying(2).size(), 2U);
}

TEST(MapModel, DegradesVisibly) {
  const SearchProblem problem = problem_of(box(4), 2, 0);
  const auto model = *MapModel::fit(
      problem, {}, design_trials(problem, 14, [](const Candidate& c) { return noisy(c, 2); }));
  EXPECT_EQ(model->summary().objectives[0].form, "diagonal");
  EXPECT_NE(model->summary().warnings[0].find("do not carry the 15 coefficients"),
            std::string::npos);
  EXPECT_FALSE(MapModel::fit(problem, {}, {}).ok());
}

TEST(MapModel, SearchesOnlyWhatWasSampled) {
  // Everything measured lies in the lower half; the best is outside.
  const SearchProblem problem = problem_of(box(2), 2, 0);
  auto trials = design_trials(problem, 14, [](const Candidate& c) { return noisy(c, 2); });
  for (Trial& trial : trials) {
    for (double& c : trial.candidate.point) c /= 2;
    trial.objectives = {-trial.candidate.point[0], -trial.candidate.point[1]};
  }
  const auto model = *MapModel::fit(problem, {}, trials);
  EXPECT_EQ(model->summary().sampled_high, (Point{0.5, 0.5}));
  for (const auto& p : model->front(20)) {
    EXPECT_LE(p.point[0], 0.5 + 1e-9);
    EXPECT_LE(p.point[1], 0.5 + 1e-9);
  }
  EXPECT_TRUE(model->predict({0.9, 0.9}).extrapolated);
}

TEST(Feasibility, CountsRepeatsAndNeighbours) {
  Feasibility feasibility;
  for (int i = 0; i <= 10; ++i) feasibility.add({i / 10.0}, i >= 6 ? 1 : 0);
  EXPECT_GT(feasibility.probability(std::vector<double>{0.1}), 0.9);
  EXPECT_LT(feasibility.probability(std::vector<double>{0.9}), 0.1);
  EXPECT_EQ(feasibility.infeasible(), 5U);
}

TEST(MapModel, OneFlakyWorkerCarvesNoHole) {
  const SearchProblem problem = problem_of(box(2), 2, 0);
  auto trials = design_trials(problem, 14, [](const Candidate& c) { return noisy(c, 2); });
  Trial failed = trials[5];
  failed.number = 15;
  failed.candidate.point = {0.52, 0.48};
  failed.status = TrialStatus::failed;
  failed.objectives.assign(2, infinity);
  trials.push_back(failed);
  EXPECT_GE((*MapModel::fit(problem, {}, trials))->predict({0.52, 0.48}).feasibility, 0.5);
  failed.number = 16;
  trials.push_back(failed);
  EXPECT_LT((*MapModel::fit(problem, {}, trials))->predict({0.52, 0.48}).feasibility, 0.5)
      << "twice is no accident";
}

TEST(MapModel, IntervalsCoverWhatIsMeasuredLater) {
  std::size_t inside = 0, all = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SearchProblem problem = problem_of(box(4), 4, 0);
    problem.seed = seed;
    const auto model = *MapModel::fit(
        problem, {}, design_trials(problem, 30, [](const Candidate& c) { return noisy(c, 4); }));
    for (const PredictedPoint& p : model->front(30)) {
      const Outcome outcome = noisy({p.point}, 4);
      for (std::size_t k = 0; k < 4; ++k) {
        const double off = outcome.objectives[k].value - p.means[k];
        inside += std::abs(off) <= 1.645 * p.deviations[k] ? 1 : 0;
        ++all;
      }
    }
  }
  EXPECT_GE(static_cast<double>(inside), 0.85 * static_cast<double>(all));
}

// ---- the search --------------------------------------------------------------------------------

struct Mode {
  std::string name;
  ParamValues params;
};

class MapModes : public testing::TestWithParam<Mode> {};

TEST_P(MapModes, ProposesValidPointsAndNoneTwice) {
  for (const std::size_t n : {2, 4}) {
    const std::uint64_t trials = GetParam().name.starts_with("nested") ? 64 : n == 2 ? 16 : 34;
    SearchProblem problem = problem_of(box(n, -0.25, 1.25), n, trials);
    problem.initial = {Point(n, 0.3)};
    ParamValues params = GetParam().params;
    params["tolerance"] = 0.0;
    for (const std::size_t slots : {1, 5}) {
      const ScriptedRun done = run(
          problem, params, [n](const Candidate& c) { return noisy(c, n); }, slots);
      std::set<Point> points;
      for (const ScriptedEvent& event : done.log) {
        if (event.kind != ScriptedEvent::Kind::asked) continue;
        EXPECT_TRUE(problem.space.validate(event.candidate.point).empty());
        EXPECT_TRUE(points.insert(event.candidate.point).second) << "trial " << event.number;
      }
      ASSERT_FALSE(done.report.rows.empty());
      EXPECT_EQ(done.report.quantities.size(), n);
    }
  }
}

TEST_P(MapModes, LivesWithFailuresAndInfeasiblePoints) {
  const std::uint64_t trials = GetParam().name.starts_with("nested") ? 24 : 20;
  const SearchProblem problem = problem_of(box(2), 2, trials);
  const auto outcome = [](const Candidate& c) {
    if (c.point[0] + c.point[1] > 1.3) {
      return Outcome::failure(TrialStatus::infeasible, "too large");
    }
    Rng rng(hash_of(c.point));
    if (rng.bernoulli(0.15)) return Outcome::failure(TrialStatus::failed, "by chance");
    return noisy(c, 2);
  };
  const ScriptedRun done = run(problem, GetParam().params, outcome, 3);
  ASSERT_FALSE(done.report.rows.empty());
  for (const ReportRow& row : done.report.rows) {
    EXPECT_LE(row.point[0] + row.point[1], 1.3);
    EXPECT_TRUE(std::isfinite(row.estimates[0].mean));
  }
  const ScriptedRun hopeless = run(problem, GetParam().params, [](const Candidate&) {
    return Outcome::failure(TrialStatus::failed, "always");
  });
  EXPECT_TRUE(hopeless.report.rows.empty());
}

TEST_P(MapModes, AMetricThatNeverVariesIsReported) {
  const std::uint64_t trials = GetParam().name.starts_with("nested") ? 24 : 16;
  const SearchProblem problem = problem_of(box(2), 2, trials);
  const ScriptedRun done = run(problem, GetParam().params, [](const Candidate& c) {
    return outcome_of({accuracies(c.point, 2)[0], 0.25});
  });
  EXPECT_NE(done.report.stop_reason.find("acc1 has the same value"), std::string::npos)
      << done.report.stop_reason;
}

INSTANTIATE_TEST_SUITE_P(
    All, MapModes,
    testing::Values(Mode{"flat", {}}, Mode{"nested", {{"mode", std::string("nested")}}},
                    Mode{"bayesian", {{"mode", std::string("bayesian")}}},
                    Mode{"flat_paper", {{"preset", std::string("paper")}}},
                    Mode{"nested_paper",
                         {{"mode", std::string("nested")}, {"preset", std::string("paper")}}},
                    Mode{"bayesian_paper",
                         {{"mode", std::string("bayesian")}, {"preset", std::string("paper")}}}),
    [](const auto& mode) { return mode.param.name; });

TEST(Map, VerifiedPointsBeatTheDesign) {
  SearchProblem problem = problem_of(box(4), 4, 30);
  const ScriptedRun done =
      run(problem, {{"tolerance", 0.0}}, [](const Candidate& c) { return noisy(c, 4); });
  const auto volume = [&](std::size_t first, std::size_t last) {
    HypervolumeGain all(4, 1, 1);
    const auto trials = trials_of(done, problem);
    for (std::size_t i = first; i < last; ++i) {
      std::vector<double> y = accuracies(trials[i].candidate.point, 4);
      for (double& a : y) a = 1 - a;
      all.add(y);
    }
    return all.volume();
  };
  EXPECT_GT(volume(15, 30), 1.2 * volume(0, 15)) << "half of the trials each";
}

TEST(Map, StopsWhenVerificationChangesNothing) {
  const SearchProblem problem = problem_of(box(2), 2, 400);
  const ScriptedRun done =
      run(problem, {{"tolerance", 0.01}}, [](const Candidate& c) { return noisy(c, 2); });
  EXPECT_LT(done.evaluated, 100U);
  EXPECT_TRUE(done.report.stop_reason.starts_with("two rounds of verification changed nothing"))
      << done.report.stop_reason;
}

TEST(Map, ASingleSolutionIsNamedInTheReport) {
  const SearchProblem problem = problem_of(box(2), 2, 16);
  const ScriptedRun done = run(problem, {}, [](const Candidate& c) {
    const double a = accuracies(c.point, 1)[0];
    return outcome_of({a, 0.5 * a});
  });
  EXPECT_NE(done.report.stop_reason.find("single solution"), std::string::npos)
      << done.report.stop_reason;
}

TEST(Map, KnownTrialsSpareTheDesign) {
  SearchProblem problem = problem_of(box(3), 3, 20);
  const auto outcome = [](const Candidate& c) { return noisy(c, 3); };
  const auto fresh = run(problem, {{"tolerance", 0.0}}, outcome);
  problem.known = design_trials(problem, 15, outcome);
  problem.known[14].status = TrialStatus::infeasible;
  problem.known[14].objectives.assign(3, infinity);
  const auto count = [](const ScriptedRun& done) {
    return std::count_if(done.log.begin(), done.log.end(), [](const ScriptedEvent& event) {
      return event.kind == ScriptedEvent::Kind::asked && event.candidate.tag == "design";
    });
  };
  const auto warm = run(problem, {{"tolerance", 0.0}}, outcome);
  EXPECT_EQ(count(fresh), 10) << "half of the budget";
  EXPECT_EQ(count(warm), 0);
  // And a budget that would be too small alone is enough.
  problem.trials = 4;
  EXPECT_TRUE(map_optimizer().check(problem, {}).empty());
  problem.known.clear();
  EXPECT_FALSE(map_optimizer().check(problem, {}).empty());
}

TEST(Map, SlotsDoNotWaitForTheSlowestOfTheDesign) {
  // All of the design but one is told; the next question is asked all the same.
  const SearchProblem problem = problem_of(box(2), 2, 20);
  const ScriptedRun done = run(
      problem, {{"tolerance", 0.0}}, [](const Candidate& c) { return noisy(c, 2); }, 4);
  std::size_t in_flight = 0, asked = 0;
  for (const ScriptedEvent& event : done.log) {
    if (event.kind == ScriptedEvent::Kind::asked) {
      ++asked;
      ++in_flight;
    } else {
      --in_flight;
      // Between ten and sixteen asked every told trial is followed by another question.
      if (asked > 10 && asked < 16) {
        EXPECT_LE(3U, in_flight);
      }
    }
  }
}

TEST(Map, NestedCountsTaskEvaluations) {
  const SearchProblem problem = problem_of(box(4), 4, 64);
  const ScriptedRun done = run(problem, {{"mode", std::string("nested")}},
                               [](const Candidate& c) { return noisy(c, 4); });
  // 4 leaves of one task each; three merges of 21 points, of which two ends and, after the first,
  // the origin are there already, and a check: 20, 19 and 19 trials of two, three and four tasks,
  // or of two, two and four.
  EXPECT_EQ(done.evaluated, 62U);
  const std::string& reason = done.report.stop_reason;
  const bool chain = reason.find("177 of 248 task evaluations") != std::string::npos;
  const bool balanced = reason.find("158 of 248 task evaluations") != std::string::npos;
  EXPECT_TRUE(balanced || chain) << reason;
  EXPECT_EQ(done.report.rows.front().name, "merged");
  // The merge is better for the preference than each source alone.
  const auto mean = [](const std::vector<Estimate>& estimates) {
    double sum = 0;
    for (const Estimate& e : estimates) sum += e.mean / static_cast<double>(estimates.size());
    return sum;
  };
  EXPECT_GT(mean(done.report.rows.front().estimates), 0.6);
  EXPECT_EQ(nested_design(8, 0, {}), 9U);
  MapParams paper;
  paper.preset = "paper";
  EXPECT_EQ(nested_design(8, 1000, paper), 19U);
}

TEST(Map, NestedFollowsThePreference) {
  const SearchProblem problem = problem_of(box(3), 3, 60);
  const auto first = [&](std::vector<double> preference) {
    return run(problem, {{"mode", std::string("nested")}, {"preference", std::move(preference)}},
               [](const Candidate& c) { return outcome_of(accuracies(c.point, 3)); })
        .report.rows.front()
        .estimates;
  };
  EXPECT_GT(first({10, 1, 1})[0].mean, first({1, 1, 10})[0].mean);
  EXPECT_GT(first({1, 1, 10})[2].mean, first({10, 1, 1})[2].mean);
}

TEST(Map, BayesianLearnsWhereItIsUnsureThenVerifies) {
  const SearchProblem problem = problem_of(box(3), 3, 30);
  const ScriptedRun done = run(problem, {{"mode", std::string("bayesian")}, {"tolerance", 0.0}},
                               [](const Candidate& c) { return noisy(c, 3); });
  std::map<std::string, int> tags;
  for (const ScriptedEvent& event : done.log) {
    if (event.kind == ScriptedEvent::Kind::asked) ++tags[event.candidate.tag];
  }
  EXPECT_EQ(tags["design"], 12);
  EXPECT_EQ(tags["learn"], 9);
  EXPECT_EQ(tags["verify"], 9);
}

TEST(MapBins, CoverTheOrthantAndFollowTheResiduals) {
  const SearchProblem problem = problem_of(box(2), 2, 0);
  // A kink near the first axis, which no quadratic follows.
  const auto model = *MapModel::fit(
      problem, {}, design_trials(problem, 40, [](const Candidate& c) {
        const double kink = c.point[1] < 0.3 && c.point[0] > 0.5 ? std::sin(20 * c.point[0]) : 0;
        return outcome_of({c.point[0] + kink, c.point[1]});
      }));
  std::size_t low = 0;
  const auto points = bin_samples(*model, 0, 200, 1, 1);
  for (const auto& x : points) {
    const double u = (x[0] + 1) / 2, v = (x[1] + 1) / 2;
    EXPECT_GE(u, 0);
    EXPECT_GE(v, 0);
    EXPECT_LE(std::hypot(u, v), 0.8 + 1e-9);
    low += std::atan2(v, u) < 0.7854 ? 1 : 0;
  }
  EXPECT_EQ(points.size(), 200U);
  EXPECT_GT(low, 120U);
}

// ---- what is refused ---------------------------------------------------------------------------

std::string refusal(const SearchProblem& problem, const ParamValues& params = {}) {
  const Problems problems = map_optimizer().check(problem, params);
  return problems.empty() ? "" : problems.front().pointer + ": " + problems.front().message;
}

TEST(Map, RefusesWhatItCannotModelWithPointers) {
  Parameter whole;
  whole.name = "k";
  whole.type = ParameterType::integer;
  Parameter real;
  real.name = "x";
  EXPECT_TRUE(refusal(problem_of(SearchSpace::make({real, whole}).value(), 2, 50))
                  .starts_with("/space/1/type: map needs real parameters"));
  EXPECT_TRUE(refusal(problem_of(box(13), 2, 500)).starts_with("/space: map fits quadratics in 2"));
  EXPECT_TRUE(refusal(problem_of(box(1), 2, 50)).starts_with("/space"));
  EXPECT_TRUE(refusal(problem_of(box(2), 13, 50)).starts_with("/objectives"));
  SearchProblem noise = problem_of(box(2), 2, 50);
  noise.noise.confidence = 0.9;
  EXPECT_TRUE(refusal(noise).starts_with("/noise"));
  const std::string small = refusal(problem_of(box(8), 8, 40));
  EXPECT_NE(small.find("45 coefficients per objective"), std::string::npos) << small;
  EXPECT_NE(small.find("at least 48 trials"), std::string::npos) << small;
  EXPECT_TRUE(refusal(problem_of(box(2), 2, 60), {{"design", std::int64_t{100}}})
                  .starts_with("/optimizer/params/design: 100 points are more than the budget"));
  EXPECT_TRUE(
      refusal(problem_of(box(2), 2, 0), {{"tolerance", 0.0}}).starts_with("/budget/trials"));
  EXPECT_TRUE(refusal(problem_of(box(2), 2, 50), {{"preference", std::vector<double>{1, 2}}})
                  .starts_with("/optimizer/params/preference"));
  EXPECT_TRUE(refusal(problem_of(shares(3), 2, 50), {{"preset", std::string("paper")}})
                  .starts_with("/optimizer/params/preset"));
  const ParamValues nested{{"mode", std::string("nested")}};
  EXPECT_TRUE(refusal(problem_of(box(3), 2, 90), nested).starts_with("/objectives"));
  EXPECT_TRUE(refusal(problem_of(box(8), 8, 57), nested).starts_with("/budget/trials: merging 8"));
  EXPECT_TRUE(refusal(problem_of(box(3, 0.1, 1), 3, 90), nested).starts_with("/space/0"));
}

}  // namespace
}  // namespace paretod
