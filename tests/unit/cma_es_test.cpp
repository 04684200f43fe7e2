#include "optimizers/cma_es.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace paretod {
namespace {

using Function = std::function<double(const std::vector<double>&)>;

double ellipsoid(const std::vector<double>& x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(x.size() - 1);
    sum += std::pow(1e6, share) * x[i] * x[i];
  }
  return sum;
}

double rosenbrock(const std::vector<double>& x) {
  double sum = 0;
  for (std::size_t i = 0; i + 1 < x.size(); ++i) {
    sum += 100 * std::pow(x[i + 1] - x[i] * x[i], 2) + std::pow(1 - x[i], 2);
  }
  return sum;
}

/// Evaluations until the best score is below the target, or the limit.
std::size_t evaluations_to(double target, const Function& f, CmaEs& search, std::uint64_t seed,
                           std::size_t limit) {
  std::size_t count = 0;
  for (std::uint64_t generation = 0; count < limit; ++generation) {
    Rng rng(seed, generation);
    std::vector<CmaEs::Scored> scored;
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < search.population(); ++i, ++count) {
      std::vector<double> x = search.sample(rng);
      const double score = f(x);
      best = std::min(best, score);
      scored.push_back({std::move(x), score});
    }
    if (best < target) return count;
    search.update(std::move(scored));
  }
  return limit;
}

TEST(CmaEs, SolvesABadlyScaledEllipsoidAndLearnsItsShape) {
  CmaEs search(std::vector<double>(10, 3.0), 2.0);
  EXPECT_LT(evaluations_to(1e-9, ellipsoid, search, 1, 20000), 8000U);
  EXPECT_GT(search.axis_ratio(), 300) << "the axes differ by a factor of 1000";
}

TEST(CmaEs, FollowsTheCurvedValleyOfRosenbrock) {
  CmaEs search(std::vector<double>(8, 0.0), 0.5);
  EXPECT_LT(evaluations_to(1e-9, rosenbrock, search, 2, 30000), 12000U);
}

TEST(CmaEs, CrossesALinearSlopeByGrowingItsSteps) {
  CmaEs search({0, 0, 0}, 1e-3);
  const auto slope = [](const std::vector<double>& x) { return x[0]; };
  EXPECT_LT(evaluations_to(-1000, slope, search, 3, 3000), 1500U);
}

TEST(CmaEs, WorksInOneDimensionAndWithALargePopulation) {
  const auto parabola = [](const std::vector<double>& x) { return std::pow(x[0] - 5, 2); };
  CmaEs line({0}, 1.0);
  EXPECT_EQ(line.population(), 4U);
  EXPECT_LT(evaluations_to(1e-12, parabola, line, 4, 5000), 600U);
  CmaEs large(std::vector<double>(5, 1.0), 1.0, {.population = 100});
  EXPECT_LT(evaluations_to(1e-6, ellipsoid, large, 5, 30000), 20000U);
}

TEST(CmaEs, StrongDampingSlowsTheStepsOfLargePopulationsOnly) {
  const auto first_change = [](std::size_t population, CmaEs::Damping damping) {
    CmaEs search(std::vector<double>(20, 3.0), 2.0, {.population = population, .damping = damping});
    evaluations_to(0, ellipsoid, search, 1, population);
    return std::abs(std::log(search.sigma() / 2));
  };
  using enum CmaEs::Damping;
  EXPECT_LT(first_change(100, strong), 0.6 * first_change(100, tutorial));
  EXPECT_NEAR(first_change(12, strong) / first_change(12, tutorial), 1, 0.1);
}

TEST(CmaEs, AcceleratedLearnsTheScalesOfCoordinatesSooner) {
  const auto evaluations = [](const Function& f, bool accelerated) {
    std::size_t sum = 0;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      CmaEs search(std::vector<double>(20, 3.0), 2.0, {.accelerated = accelerated});
      sum += evaluations_to(1e-6, f, search, seed, 40000);
    }
    return sum;
  };
  EXPECT_LT(evaluations(ellipsoid, true), evaluations(ellipsoid, false) * 8 / 10);
  // Neighbours turned against each other, so that no scale of the coordinates helps.
  const auto turned = [](std::vector<double> x) {
    for (std::size_t i = 0; i < x.size() / 2; ++i) {
      const double a = x[i];
      const double b = x[x.size() - 1 - i];
      x[i] = std::sqrt(0.5) * (a + b);
      x[x.size() - 1 - i] = std::sqrt(0.5) * (a - b);
    }
    return ellipsoid(x);
  };
  EXPECT_LT(evaluations(turned, true), evaluations(turned, false) * 11 / 10);
}

TEST(CmaEs, AcceleratedKnowsTheDeviationOfItsCoordinates) {
  CmaEs search(std::vector<double>(4, 3.0), 2.0, {.accelerated = true});
  evaluations_to(1e-6, ellipsoid, search, 11, 20000);
  Rng rng(1, 1);
  std::vector<double> squares(4);
  constexpr int draws = 4000;
  for (int k = 0; k < draws; ++k) {
    const std::vector<double> x = search.sample(rng);
    for (std::size_t i = 0; i < 4; ++i) squares[i] += std::pow(x[i] - search.mean()[i], 2) / draws;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(std::sqrt(squares[i]) / search.deviation(i), 1, 0.1) << i;
  }
  EXPECT_GT(search.deviation(0) / search.deviation(3), 100);
}

TEST(CmaEs, CoordinatesMayBeginWithDeviationsOfTheirOwn) {
  for (const auto covariance : {CmaEs::Covariance::full, CmaEs::Covariance::diagonal}) {
    const CmaEs even({0, 0}, 0.5, {.covariance = covariance});
    const CmaEs own({0, 0}, 0.5, {.covariance = covariance, .deviations = {2, 0.25}});
    EXPECT_DOUBLE_EQ(own.deviation(0), 1);
    EXPECT_DOUBLE_EQ(own.deviation(1), 0.125);
    EXPECT_DOUBLE_EQ(own.axis_ratio(), 8);
    Rng first(1), second(1);
    const std::vector<double> x = even.sample(first), y = own.sample(second);
    EXPECT_DOUBLE_EQ(y[0], 2 * x[0]);
    EXPECT_DOUBLE_EQ(y[1], 0.25 * x[1]);
  }
}

TEST(CmaEs, FailedPointsRankLastAndDoNotSpoilTheState) {
  // Half the space fails; the optimum is on the border.
  const auto half = [](const std::vector<double>& x) {
    double sum = 0;
    for (const double value : x) sum += value * value;
    return x[0] < 0 ? std::numeric_limits<double>::infinity() : sum;
  };
  CmaEs search(std::vector<double>(4, 2.0), 0.5);
  EXPECT_LT(evaluations_to(1e-6, half, search, 6, 6000), 6000U);
  const auto nowhere = [](const std::vector<double>&) {
    return std::numeric_limits<double>::infinity();
  };
  CmaEs lost(std::vector<double>(4, 2.0), 0.5);
  evaluations_to(0, nowhere, lost, 7, 800);
  for (const double value : lost.mean()) EXPECT_TRUE(std::isfinite(value));
  EXPECT_TRUE(std::isfinite(lost.sigma()));
}

TEST(CmaEs, IsAValueWhoseCopiesContinueAlike) {
  CmaEs search(std::vector<double>(6, 1.0), 0.3);
  evaluations_to(0, ellipsoid, search, 8, 300);
  CmaEs copy = search;
  evaluations_to(0, ellipsoid, search, 9, 300);
  EXPECT_NE(copy.mean(), search.mean());
  evaluations_to(0, ellipsoid, copy, 9, 300);
  EXPECT_EQ(copy.mean(), search.mean());
  EXPECT_EQ(copy.sigma(), search.sigma());
}

TEST(CmaEs, DependsOnRanksOnly) {
  CmaEs plain(std::vector<double>(6, 1.0), 0.3);
  CmaEs squashed = plain;
  evaluations_to(-1, ellipsoid, plain, 10, 400);
  const auto monotone = [](const std::vector<double>& x) { return std::log(ellipsoid(x)); };
  evaluations_to(-1e9, monotone, squashed, 10, 400);
  EXPECT_EQ(plain.mean(), squashed.mean());
}

}  // namespace
}  // namespace paretod
