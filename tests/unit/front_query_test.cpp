#include "daemon/jobs/front_query.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "optimizers/core/front.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

const std::vector<Objective> loss_and_accuracy = {{"loss", Goal::minimize},
                                                  {"acc", Goal::maximize}};

std::vector<std::size_t> all_of(const ObjectiveVectors& points) {
  std::vector<std::size_t> places(points.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  return places;
}

/// Mutually non-dominated.
ObjectiveVectors random_front(std::size_t objectives, std::size_t tries, std::uint64_t seed) {
  Rng rng(seed);
  ParetoArchive archive;
  for (std::size_t i = 0; i < tries; ++i) {
    std::vector<double> point;
    for (std::size_t k = 0; k < objectives; ++k) point.push_back(rng.uniform());
    archive.insert(i, point);
  }
  return archive.all_objectives();
}

/// (0, 1) to (1, 0) with a clear knee at (0.2, 0.2), place 1.
const ObjectiveVectors bent = {{0, 1}, {0.2, 0.2}, {0.7, 0.1}, {1, 0}};

TEST(FrontScale, IsZeroAtTheIdealAndOneAtTheNadir) {
  const FrontScale scale = scale_of({{1, 10, 7}, {3, 0, 7}});
  EXPECT_EQ(scale.ideal, (std::vector<double>{1, 0, 7}));
  EXPECT_EQ(scale.nadir, (std::vector<double>{3, 10, 7}));
  EXPECT_EQ(scale.normalised(0, 2), 0.5);
  EXPECT_EQ(scale.normalised(1, 10), 1.0);
  EXPECT_EQ(scale.normalised(2, 7), 0.0);
}

TEST(FrontScale, StandsTheWholeRangeOfNumbers) {
  constexpr double most = std::numeric_limits<double>::max();
  const FrontScale scale = scale_of({{-most, most}, {most, -most}});
  EXPECT_EQ(scale.normalised(0, 0), 0.5);
  EXPECT_EQ(scale.normalised(0, most), 1.0);
}

TEST(FrontChoice, FollowsTheWeights) {
  const FrontScale scale = scale_of(bent);
  const auto chosen = [&](double a, double b, PreferenceMethod method) {
    return choose_by_preference(bent, all_of(bent), scale, {a, b}, method).chosen;
  };
  for (const auto method : {PreferenceMethod::chebyshev, PreferenceMethod::weighted_sum}) {
    EXPECT_EQ(chosen(1, 0, method), 0U);
    EXPECT_EQ(chosen(0, 1, method), 3U);
    EXPECT_EQ(chosen(0.5, 0.5, method), 1U);
  }
}

TEST(FrontChoice, GivesTheValueAndTheRunnerUp) {
  const Choice choice = choose_by_preference(bent, all_of(bent), scale_of(bent), {0.5, 0.5},
                                             PreferenceMethod::chebyshev);
  EXPECT_EQ(choice.chosen, 1U);
  EXPECT_DOUBLE_EQ(choice.value, 0.1 + augmentation * 0.2);
  EXPECT_EQ(choice.runner_up, 2U);
  EXPECT_DOUBLE_EQ(choice.runner_up_value, 0.35 + augmentation * 0.4);
  const Choice alone =
      choose_by_preference(bent, {2}, scale_of(bent), {1, 0}, PreferenceMethod::chebyshev);
  EXPECT_EQ(alone.chosen, 2U);
  EXPECT_FALSE(alone.runner_up);
}

// A concave front: a weighted sum finds nothing but its ends, Chebyshev the middle.
TEST(FrontChoice, ChebyshevReachesWhatWeightedSumsCannot) {
  const ObjectiveVectors concave = {{0, 1}, {0.6, 0.6}, {1, 0}};
  const FrontScale scale = scale_of(concave);
  EXPECT_EQ(
      choose_by_preference(concave, all_of(concave), scale, {0.5, 0.5}, PreferenceMethod::chebyshev)
          .chosen,
      1U);
  EXPECT_NE(choose_by_preference(concave, all_of(concave), scale, {0.5, 0.5},
                                 PreferenceMethod::weighted_sum)
                .chosen,
            1U);
}

TEST(FrontChoice, ByReferencePointMissesLeastOrExceedsMost) {
  const FrontScale scale = scale_of(bent);
  const Choice reached = choose_by_reference(bent, all_of(bent), scale, {0.3, 0.3});
  EXPECT_EQ(reached.chosen, 1U);
  EXPECT_LT(reached.value, 0);
  const Choice missed = choose_by_reference(bent, all_of(bent), scale, {0.65, 0.0});
  EXPECT_EQ(missed.chosen, 2U);
  EXPECT_NEAR(missed.value, 0.1, 2 * augmentation);
  // Nothing asked of the second objective.
  EXPECT_EQ(choose_by_reference(bent, all_of(bent), scale, {0.0, std::nullopt}).chosen, 0U);
}

TEST(FrontChoice, KneeIsFarthestBelowTheLineBetweenTheEnds) {
  const Choice knee = choose_knee(bent, all_of(bent), scale_of(bent));
  EXPECT_EQ(knee.chosen, 1U);
  EXPECT_DOUBLE_EQ(knee.value, 0.6 / std::sqrt(2.0));
  const ObjectiveVectors concave = {{0, 1}, {0.6, 0.6}, {1, 0}};
  EXPECT_LE(choose_knee(concave, all_of(concave), scale_of(concave)).value, 0);
  const ObjectiveVectors three = {{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {0.2, 0.2, 0.2}};
  EXPECT_EQ(choose_knee(three, all_of(three), scale_of(three)).chosen, 3U);
  const ObjectiveVectors one = {{5, 7}};
  EXPECT_EQ(choose_knee(one, {0}, scale_of(one)).chosen, 0U);
}

// ---- properties --------------------------------------------------------------------------------

/// All ways to choose, by one name.
std::vector<std::size_t> every_choice(const ObjectiveVectors& points,
                                      const std::vector<std::size_t>& allowed,
                                      const std::vector<double>& weights,
                                      const std::vector<double>& reference) {
  const FrontScale scale = scale_of(points);
  const std::vector<std::optional<double>> wanted(reference.begin(), reference.end());
  return {
      choose_by_preference(points, allowed, scale, weights, PreferenceMethod::chebyshev).chosen,
      choose_by_preference(points, allowed, scale, weights, PreferenceMethod::weighted_sum).chosen,
      choose_by_reference(points, allowed, scale, wanted).chosen,
      choose_knee(points, allowed, scale).chosen};
}

std::vector<double> random_weights(std::size_t count, Rng& rng) {
  std::vector<double> weights;
  for (std::size_t i = 0; i < count; ++i) weights.push_back(rng.uniform() + 1e-3);
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

TEST(FrontChoiceProperties, HoldForRandomFronts) {
  Rng rng(7);
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const std::size_t objectives = 2 + seed % 4;
    const ObjectiveVectors points = random_front(objectives, 200, seed);
    const auto weights = random_weights(objectives, rng);
    const auto reference = random_weights(objectives, rng);
    std::vector<std::size_t> allowed;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (rng.uniform() < 0.5) allowed.push_back(i);
    }
    if (allowed.empty()) allowed.push_back(0);

    const auto chosen = every_choice(points, allowed, weights, reference);
    for (const std::size_t place : chosen) {
      // Allowed, and no allowed point dominates it.
      EXPECT_TRUE(std::binary_search(allowed.begin(), allowed.end(), place));
      for (const std::size_t other : allowed) EXPECT_FALSE(dominates(points[other], points[place]));
    }
    // Points that are not allowed do not matter, as long as the chosen one still is.
    for (std::size_t way = 0; way < chosen.size(); ++way) {
      std::vector<std::size_t> fewer;
      for (const std::size_t place : allowed) {
        if (place == chosen[way] || rng.uniform() < 0.5) fewer.push_back(place);
      }
      EXPECT_EQ(every_choice(points, fewer, weights, reference)[way], chosen[way]);
    }

    // Another unit and another zero of an objective change nothing.  Powers of two, so that
    // nothing is rounded.
    ObjectiveVectors scaled = points;
    std::vector<double> scaled_reference = reference;
    for (std::size_t k = 0; k < objectives; ++k) {
      const double factor = std::ldexp(1.0, static_cast<int>(k) * 7 - 9);
      for (auto& point : scaled) point[k] *= factor;
      scaled_reference[k] *= factor;
    }
    EXPECT_EQ(every_choice(scaled, allowed, weights, scaled_reference), chosen);
  }
}

TEST(FrontWhere, KnowsGoalsAndEveryComparison) {
  // loss, acc in the user's sign: (1, 0.9), (0.5, 0.8), (0.2, 0.5)
  const ObjectiveVectors points = {{0.2, -0.5}, {0.5, -0.8}, {1, -0.9}};
  const auto places = [&](Comparison comparison, double bound) {
    return satisfying(points, loss_and_accuracy, {{1, comparison, bound}});
  };
  using Places = std::vector<std::size_t>;
  EXPECT_EQ(places(Comparison::at_least, 0.8), (Places{1, 2}));
  EXPECT_EQ(places(Comparison::greater, 0.8), (Places{2}));
  EXPECT_EQ(places(Comparison::at_most, 0.8), (Places{0, 1}));
  EXPECT_EQ(places(Comparison::less, 0.8), (Places{0}));
  EXPECT_EQ(places(Comparison::equal, 0.8), (Places{1}));
  EXPECT_EQ(satisfying(points, loss_and_accuracy,
                       {{1, Comparison::at_least, 0.6}, {0, Comparison::less, 1}}),
            (Places{1}));
  EXPECT_EQ(satisfying(points, loss_and_accuracy, {}).size(), 3U);
}

TEST(FrontWhere, FindsTheClosestPointWhenNoneWillDo) {
  const ObjectiveVectors points = {{0.2, -0.5}, {0.5, -0.8}, {1, -0.9}};
  const std::vector<FrontConstraint> where = {{1, Comparison::at_least, 0.85},
                                              {0, Comparison::at_most, 0.6}};
  EXPECT_TRUE(satisfying(points, loss_and_accuracy, where).empty());
  EXPECT_EQ(closest_to(points, loss_and_accuracy, scale_of(points), where), 1U);
  EXPECT_NEAR(where[0].miss(0.8), 0.05, 1e-12);
  EXPECT_EQ(where[0].miss(0.9), 0.0);
}

// ---- display -----------------------------------------------------------------------------------

TEST(FrontThinning, KeepsTheEndsOfTwoObjectives) {
  const ObjectiveVectors points = random_front(2, 5000, 3);
  const auto shown = thinned(points, all_of(points), scale_of(points), 5);
  ASSERT_EQ(shown.size(), 5U);
  EXPECT_EQ(shown.front(), 0U);
  EXPECT_EQ(shown.back(), points.size() - 1);
  EXPECT_EQ(thinned(points, all_of(points), scale_of(points), 10'000), all_of(points));
}

TEST(FrontThinning, TakesTheBestOfEachOfManyObjectivesAndSpreads) {
  const ObjectiveVectors points = random_front(3, 5000, 3);
  const FrontScale scale = scale_of(points);
  const auto shown = thinned(points, all_of(points), scale, 12);
  ASSERT_EQ(shown.size(), 12U);
  EXPECT_TRUE(std::is_sorted(shown.begin(), shown.end()));
  EXPECT_EQ(shown, thinned(points, all_of(points), scale, 12));
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_TRUE(std::any_of(shown.begin(), shown.end(),
                            [&](std::size_t place) { return points[place][k] == scale.ideal[k]; }));
  }
  // Fewer points are among those of a larger limit.
  const auto more = thinned(points, all_of(points), scale, 40);
  EXPECT_TRUE(std::includes(more.begin(), more.end(), shown.begin(), shown.end()));
}

TEST(FrontThinning, FillsTheLimitWhereGreedWouldTakeTooLong) {
  Rng rng(1);
  ObjectiveVectors points;
  for (int i = 0; i < 20'000; ++i) points.push_back({rng.uniform(), rng.uniform(), rng.uniform()});
  const auto shown = thinned(points, all_of(points), scale_of(points), 1000);
  EXPECT_EQ(std::set(shown.begin(), shown.end()).size(), 1000U);
  // Equal points are farthest from nothing.
  const ObjectiveVectors equal(50, {1, 1, 1});
  EXPECT_EQ(thinned(equal, all_of(equal), scale_of(equal), 7).size(), 7U);
}

TEST(SureDominance, NeedsTheConfidenceInEveryObjective) {
  const double z = normal_quantile(0.95);
  const auto sure = [&](std::vector<double> a, std::vector<double> ea, std::vector<double> b,
                        std::vector<double> eb) {
    return dominates_surely(a.data(), ea.data(), b.data(), eb.data(), a.size(), z);
  };
  // Without errors it is dominance.
  EXPECT_TRUE(sure({1, 1}, {-1, -1}, {1, 2}, {-1, -1}));
  EXPECT_FALSE(sure({1, 1}, {-1, -1}, {1, 1}, {0, 0}));
  EXPECT_FALSE(sure({1, 2}, {-1, -1}, {2, 1}, {-1, -1}));
  // z sqrt(3^2 + 4^2) = 8.22
  EXPECT_TRUE(sure({0, 0}, {3, 0}, {8.3, 1}, {4, 0}));
  EXPECT_FALSE(sure({0, 0}, {3, 0}, {8.2, 1}, {4, 0}));
  EXPECT_FALSE(sure({0, 0}, {1, 1}, {100, 0.5}, {1, 1}));
}

// ---- reading -----------------------------------------------------------------------------------

TEST(FrontQuestions, AreRead) {
  const auto query = read_front_query({.preference = "acc:3,loss=1",
                                       .method = "weighted_sum",
                                       .where = {"acc>=0.8, loss < 2e1", "loss=-.5"},
                                       .confidence = "0.95"},
                                      loss_and_accuracy);
  ASSERT_TRUE(query.ok()) << query.error().text();
  EXPECT_EQ(query->weights, (std::vector<double>{0.25, 0.75}));
  EXPECT_EQ(query->method, PreferenceMethod::weighted_sum);
  ASSERT_EQ(query->where.size(), 3U);
  EXPECT_EQ(text_of(query->where[0], loss_and_accuracy), "acc >= 0.8");
  EXPECT_EQ(text_of(query->where[1], loss_and_accuracy), "loss < 20");
  EXPECT_EQ(text_of(query->where[2], loss_and_accuracy), "loss = -0.5");
  EXPECT_EQ(query->confidence, 0.95);
  EXPECT_TRUE(query->chooses());

  const auto reference = read_front_query({.reference_point = "acc : 0.9"}, loss_and_accuracy);
  ASSERT_TRUE(reference.ok());
  EXPECT_FALSE(reference->reference_point[0]);
  EXPECT_EQ(reference->reference_point[1], 0.9);
  EXPECT_FALSE(read_front_query({}, loss_and_accuracy)->chooses());
  const auto huge = read_front_query({.preference = "acc:1e308,loss:1e308"}, loss_and_accuracy);
  EXPECT_EQ(huge->weights, (std::vector<double>{0.5, 0.5}));
}

TEST(FrontQuestions, NamesMayHoldSigns) {
  const std::vector<Objective> odd = {{"a:b"}, {"p=q"}, {"p"}};
  EXPECT_EQ(read_front_query({.preference = "a:b:1"}, odd)->weights[0], 1);
  const auto where = read_front_query({.where = {"p=q<=3,p=4"}}, odd);
  ASSERT_TRUE(where.ok()) << where.error().text();
  EXPECT_EQ(where->where[0].objective, 1U);
  EXPECT_EQ(where->where[1].objective, 2U);
}

TEST(FrontQuestions, ThatAreBadAreRefusedWithARemedy) {
  struct Case {
    FrontQuestion question;
    std::string pointer;
    std::string says;
  };
  const std::vector<Case> cases = {
      {{.preference = "speed:1"}, "/query/preference", "known: loss, acc"},
      {{.preference = "acc"}, "/query/preference", "loss:0.7,acc:0.3"},
      {{.preference = "acc:"}, "/query/preference", "not a number"},
      {{.preference = "acc:x"}, "/query/preference", "not a number"},
      {{.preference = ":1"}, "/query/preference", "expected"},
      {{.preference = ","}, "/query/preference", "expected"},
      {{.preference = "acc:1,"}, "/query/preference", "expected"},
      {{.preference = "acc:nan"}, "/query/preference", "finite"},
      {{.preference = "acc:inf"}, "/query/preference", "finite"},
      {{.preference = "acc:1e999"}, "/query/preference", "finite"},
      {{.preference = "acc:-1"}, "/query/preference", "negative"},
      {{.preference = "acc:0,loss:0"}, "/query/preference", "above zero"},
      {{.preference = "acc:1,acc:2"}, "/query/preference", "more than once"},
      {{.reference_point = "speed:1"}, "/query/reference_point", "known: loss, acc"},
      {{.reference_point = "0.4"}, "/query/reference_point", "loss:0.7"},
      {{.reference_point = "acc:-inf"}, "/query/reference_point", "finite"},
      {{.where = {"speed<1"}}, "/query/where", "known: loss, acc"},
      {{.where = {"acc"}}, "/query/where", ">= <= < > ="},
      {{.where = {"acc>"}}, "/query/where", "such as loss<=0.5"},
      {{.where = {"acc!=1"}}, "/query/where", "known: loss, acc"},
      {{.where = {"acc=>1"}}, "/query/where", "such as"},
      {{.where = {"acc>=high"}}, "/query/where", "such as"},
      {{.where = {"acc>=nan"}}, "/query/where", "finite"},
      {{.where = {"acc>=1,"}}, "/query/where", "such as"},
      {{.where = {">=1"}}, "/query/where", "such as"},
      {{.method = "weighted_sum"}, "/query/method", "preference=loss:0.7"},
      {{.preference = "acc:1", .method = "best"}, "/query/method", "chebyshev, weighted_sum"},
      {{.confidence = "1"}, "/query/confidence", "0.95"},
      {{.confidence = "0.4"}, "/query/confidence", "0.95"},
      {{.confidence = "nan"}, "/query/confidence", "0.95"},
      {{.confidence = "95%"}, "/query/confidence", "0.95"},
      {{.preference = "acc:1", .knee = true}, "/query/knee", "preference"},
      {{.preference = "acc:1", .reference_point = "acc:1"}, "/query/reference_point", "preference"},
      {{.reference_point = "acc:1", .knee = true}, "/query/knee", "reference_point"},
  };
  for (const Case& each : cases) {
    const auto query = read_front_query(each.question, loss_and_accuracy);
    ASSERT_FALSE(query.ok()) << each.pointer << " " << each.says;
    ASSERT_EQ(query.error().problems.size(), 1U) << query.error().text();
    EXPECT_EQ(query.error().problems[0].pointer, each.pointer);
    EXPECT_NE(query.error().text().find(each.says), std::string::npos) << query.error().text();
  }
}

}  // namespace
}  // namespace paretod
