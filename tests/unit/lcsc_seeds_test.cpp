#include "optimizers/lcsc_seeds.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace paretod {
namespace {

SearchSpace space_of(std::size_t size, std::vector<std::optional<double>> positions = {},
                     std::vector<std::string> labels = {}) {
  Parameter alpha;
  alpha.name = "alpha";
  alpha.type = ParameterType::affine;
  alpha.low = -std::numeric_limits<double>::infinity();
  alpha.high = std::numeric_limits<double>::infinity();
  alpha.size = size;
  alpha.positions = std::move(positions);
  alpha.labels = std::move(labels);
  return SearchSpace::make({alpha}).value();
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(EmaProjection, EqualsTheAverageOfEveryIterationSinceThePreviousSave) {
  // Each iteration is given to the save that closes its interval; the oldest save also stands for
  // everything before it.
  const std::vector<double> positions{30, 50, 51, 80};
  const double half_life = 12;
  const double decay = std::exp2(-1 / half_life);
  const std::vector<double> coefficients = ema_projection(positions, half_life);
  for (std::size_t k = 1; k < positions.size(); ++k) {
    double expected = 0;
    for (double n = positions[k - 1] + 1; n <= positions[k]; ++n) {
      expected += (1 - decay) * std::pow(decay, positions.back() - n);
    }
    EXPECT_NEAR(coefficients[k], expected, 1e-14);
  }
  EXPECT_NEAR(coefficients[0], std::pow(decay, 50), 1e-14);
  EXPECT_NEAR(sum(coefficients), 1, 1e-15);
}

TEST(LcscSeeds, AreTheUsualMeansAndSumToOne) {
  const SearchSpace space = space_of(40);
  const LcscSeeds seeds = lcsc_seeds(space);
  EXPECT_EQ(seeds.all.size(), 14U);
  EXPECT_EQ(std::count_if(seeds.all.begin(), seeds.all.end(), [](const auto& s) { return s.ema; }),
            10);
  for (const LcscSeed& seed : seeds.all) {
    const auto coefficients = space.coefficients(0, seed.point);
    EXPECT_NEAR(sum(coefficients), 1, 1e-12) << seed.name;
    EXPECT_GE(*std::min_element(coefficients.begin(), coefficients.end()), -1e-12) << seed.name;
  }
  EXPECT_EQ(seeds.all[seeds.last].point, Point(39, 0.0)) << "the newest is implied";
  for (const double c : space.coefficients(0, seeds.all[seeds.uniform].point)) {
    EXPECT_NEAR(c, 1.0 / 40, 1e-12);
  }
  const auto names = [&](const std::string& name) {
    return std::any_of(seeds.all.begin(), seeds.all.end(),
                       [&](const auto& seed) { return seed.name == name; });
  };
  EXPECT_TRUE(names("mean of last 20"));
  EXPECT_TRUE(names("mean of last 10"));
  EXPECT_TRUE(names("ema half-life 1"));
  EXPECT_TRUE(names("ema half-life 39"));
}

TEST(LcscSeeds, TakeColumnsWithoutPositionForTrueAverages) {
  // The newest save is column 2, so that is the implied coefficient.
  const SearchSpace space = space_of(5, {100, 200, 300, std::nullopt, std::nullopt},
                                     {"a", "b", "c", "ema 0.9", "ema 0.99"});
  const LcscSeeds seeds = lcsc_seeds(space);
  EXPECT_EQ(space.coefficients(0, seeds.all[seeds.last].point),
            (std::vector<double>{0, 0, 1, 0, 0}));
  const auto uniform = space.coefficients(0, seeds.all[seeds.uniform].point);
  EXPECT_NEAR(uniform[2], 1.0 / 3, 1e-12);
  EXPECT_EQ(uniform[3], 0);
  std::vector<std::string> columns;
  for (const LcscSeed& seed : seeds.all) {
    const auto coefficients = space.coefficients(0, seed.point);
    if (coefficients[3] == 1 || coefficients[4] == 1) {
      EXPECT_TRUE(seed.ema);
      columns.push_back(seed.name);
    }
  }
  EXPECT_EQ(columns, (std::vector<std::string>{"ema 0.9", "ema 0.99"}));
}

TEST(LcscSeeds, DoNotRepeatThemselves) {
  for (const std::size_t size : {2U, 3U, 4U, 7U}) {
    const LcscSeeds seeds = lcsc_seeds(space_of(size));
    for (std::size_t i = 0; i < seeds.all.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) EXPECT_NE(seeds.all[i].point, seeds.all[j].point);
    }
    EXPECT_NE(seeds.last, seeds.uniform);
    EXPECT_TRUE(
        std::any_of(seeds.all.begin(), seeds.all.end(), [](const auto& s) { return s.ema; }));
  }
}

TEST(LcscSeeds, CopeWithoutAnySavedColumn) {
  const SearchSpace space = space_of(3, {std::nullopt, std::nullopt, std::nullopt});
  const LcscSeeds seeds = lcsc_seeds(space);
  EXPECT_EQ(seeds.all.size(), 4U);  // uniform and each column
  EXPECT_NE(seeds.last, seeds.uniform);
}

}  // namespace
}  // namespace paretod
