#include "evaluators/diffusion/frechet.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

Moments diagonal(const std::vector<double>& mean, const std::vector<double>& variance) {
  Moments moments{100, mean, std::vector<double>(mean.size() * mean.size())};
  for (std::size_t i = 0; i < mean.size(); ++i) {
    moments.covariance[i * mean.size() + i] = variance[i];
  }
  return moments;
}

/// Moments of samples with correlated coordinates.
Moments random_moments(std::size_t dimension, std::uint64_t seed) {
  Rng rng(seed);
  MomentSums sums{50, std::vector<double>(dimension), std::vector<double>(dimension * dimension),
                  dimension};
  for (int n = 0; n < 50; ++n) {
    std::vector<double> x(dimension);
    const double shared = rng.normal();
    for (double& value : x) value = rng.normal() + 0.7 * shared + 0.1;
    for (std::size_t i = 0; i < dimension; ++i) {
      sums.sum[i] += x[i];
      for (std::size_t j = 0; j < dimension; ++j) sums.products[i * dimension + j] += x[i] * x[j];
    }
  }
  return moments_of(sums);
}

TEST(MomentsTest, MatchTheDefinition) {
  constexpr std::size_t samples = 61;
  constexpr std::size_t rows = 8;
  Rng rng(1);
  std::vector<float> matrix(samples * rows);
  for (float& x : matrix) x = static_cast<float>(3 + rng.normal());
  const AlignedVector<float> tiles = to_tiles(matrix.data(), samples, rows);
  // Seven features and one row of padding.
  MomentSums sums{samples, std::vector<double>(7), std::vector<double>(rows * rows), rows};
  for (std::size_t row = 0; row < rows; row += 4) {
    sum_strip(simd_kernels(), tiles.data(), tiles_for(samples), row, sums);
  }
  const Moments moments = moments_of(sums);
  EXPECT_EQ(moments.count, samples);
  for (std::size_t i = 0; i < 7; ++i) {
    double mean = 0;
    for (std::size_t n = 0; n < samples; ++n) mean += matrix[n * rows + i] / double{samples};
    EXPECT_NEAR(moments.mean[i], mean, 1e-12);
    for (std::size_t j = 0; j < 7; ++j) {
      double covariance = 0;
      for (std::size_t n = 0; n < samples; ++n) {
        covariance += (matrix[n * rows + i] - moments.mean[i]) *
                      (matrix[n * rows + j] - moments.mean[j]) / (samples - 1);
      }
      EXPECT_NEAR(moments.covariance[i * 7 + j], covariance, 1e-12);
    }
  }
}

TEST(FrechetTest, DiagonalGaussiansHaveAClosedForm) {
  const FrechetDistance distance(diagonal({0, 1, 2}, {1, 4, 0}));
  const Moments other = diagonal({1, 1, 0}, {9, 4, 0.25});
  const double exact = 1 + 0 + 4 + std::pow(1 - 3, 2) + 0 + 0.25;
  EXPECT_NEAR(distance.to(other), exact, 1e-12);
  EXPECT_NEAR(distance.expand(other).distance, exact, 1e-12);
}

TEST(FrechetTest, DistanceToItselfIsZeroAndTheOrderDoesNotMatter) {
  const Moments a = random_moments(6, 1);
  const Moments b = random_moments(6, 2);
  EXPECT_NEAR(FrechetDistance(a).to(a), 0, 1e-10);
  EXPECT_GT(FrechetDistance(a).to(b), 0.01);
  EXPECT_NEAR(FrechetDistance(a).to(b), FrechetDistance(b).to(a), 1e-10);
}

TEST(FrechetTest, ExpansionIsTheDerivative) {
  constexpr std::size_t d = 6;
  const FrechetDistance distance(random_moments(d, 1));
  const Moments at = random_moments(d, 2);
  const FrechetDistance::Expansion expansion = distance.expand(at);
  EXPECT_NEAR(expansion.distance, distance.to(at), 1e-12);
  const double step = 1e-5;
  for (std::size_t i = 0; i < d; ++i) {
    Moments up = at;
    Moments down = at;
    up.mean[i] += step;
    down.mean[i] -= step;
    EXPECT_NEAR((distance.to(up) - distance.to(down)) / (2 * step), expansion.gradient[i], 1e-6);
    for (std::size_t j = 0; j <= i; ++j) {
      up = down = at;
      up.covariance[i * d + j] += step;
      down.covariance[i * d + j] -= step;
      if (i != j) {
        up.covariance[j * d + i] += step;
        down.covariance[j * d + i] -= step;
      }
      const double both = i == j ? 1 : 2;
      EXPECT_NEAR((distance.to(up) - distance.to(down)) / (2 * step),
                  both * expansion.curvature[i * d + j], 1e-6);
    }
  }
}

/// Correlated samples [n][d].
std::vector<double> random_samples(std::size_t n, std::size_t d, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<double> matrix;
  for (std::size_t i = 0; i < n; ++i) {
    const double shared = rng.normal();
    for (std::size_t j = 0; j < d; ++j) {
      matrix.push_back(rng.normal() * static_cast<double>(j % 3) + shared + 0.2);
    }
  }
  return matrix;
}

TEST(FrechetTest, BothPathsAgree) {
  for (const std::size_t d : {6, 20}) {
    const FrechetDistance distance(random_moments(d, 1));
    for (const std::size_t n : {2, 5, 19, 20, 21, 60}) {
      const std::vector<double> samples = random_samples(n, d, n);
      MomentSums sums{n, std::vector<double>(d), std::vector<double>(d * d), d};
      for (std::size_t s = 0; s < n; ++s) {
        for (std::size_t i = 0; i < d; ++i) {
          sums.sum[i] += samples[s * d + i];
          for (std::size_t j = 0; j < d; ++j) {
            sums.products[i * d + j] += samples[s * d + i] * samples[s * d + j];
          }
        }
      }
      const Moments moments = moments_of(sums);
      const FrechetDistance::Expansion by_moments = distance.expand(moments);
      const FrechetDistance::SampleExpansion by_samples = distance.expand(samples);
      EXPECT_NEAR(by_samples.distance, by_moments.distance, 1e-6 * by_moments.distance);
      ASSERT_EQ(by_samples.influence.size(), n);
      for (std::size_t s = 0; s < n; ++s) {
        double influence = 0;
        for (std::size_t i = 0; i < d; ++i) {
          const double xi = samples[s * d + i] - moments.mean[i];
          influence += by_moments.gradient[i] * xi;
          for (std::size_t j = 0; j < d; ++j) {
            influence +=
                xi * by_moments.curvature[i * d + j] * (samples[s * d + j] - moments.mean[j]);
          }
        }
        EXPECT_NEAR(by_samples.influence[s], influence, 1e-5) << n << " samples of " << d;
      }
    }
  }
}

TEST(MomentsTest, SumsMerge) {
  MomentSums a{2, {1, 2}, {1, 2, 3, 4}, 2};
  merge({3, {10, 20}, {10, 20, 30, 40}, 2}, a);
  EXPECT_EQ(a.count, 5U);
  EXPECT_EQ(a.sum, (std::vector<double>{11, 22}));
  EXPECT_EQ(a.products, (std::vector<double>{11, 22, 33, 44}));
}

TEST(FrechetTest, ConstantFeaturesDoNoHarm) {
  const FrechetDistance distance(diagonal({0, 0}, {0, 0}));
  const FrechetDistance::Expansion expansion = distance.expand(diagonal({0, 0}, {2, 0}));
  EXPECT_NEAR(expansion.distance, 2, 1e-12);
  EXPECT_EQ(expansion.curvature, (std::vector<double>{1, 0, 0, 1}));
}

}  // namespace
}  // namespace paretod
