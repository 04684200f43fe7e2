#include "evaluators/diffusion/kernel_distance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr std::size_t dimension = 6;
constexpr std::size_t rows = 8;

struct Set {
  std::vector<float> matrix;  // [count][rows], padding rows zero
  ImageFeatures features;
};

Set random_set(std::size_t count, double shift, std::uint64_t seed) {
  Rng rng(seed);
  Set set;
  set.matrix.resize(count * rows);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t d = 0; d < dimension; ++d) {
      set.matrix[i * rows + d] = static_cast<float>(shift + rng.normal());
    }
  }
  set.features = {count, to_tiles(set.matrix.data(), count, rows), std::vector<double>(count)};
  return set;
}

double kernel(const Set& a, std::size_t i, const Set& b, std::size_t j) {
  double dot = 0;
  for (std::size_t d = 0; d < dimension; ++d) {
    dot += double{a.matrix[i * rows + d]} * b.matrix[j * rows + d];
  }
  return std::pow(dot / double{dimension} + 1, 3);
}

/// The unbiased estimate by its definition, of samples [first, first + count).
double direct(const Set& x, std::size_t first, std::size_t count, const Set& y) {
  const std::size_t images = y.features.count;
  double within = 0;
  double between = 0;
  double reference = 0;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < count; ++j) {
      if (i != j) within += kernel(x, first + i, x, first + j);
    }
    for (std::size_t j = 0; j < images; ++j) between += kernel(x, first + i, y, j);
  }
  for (std::size_t i = 0; i < images; ++i) {
    for (std::size_t j = 0; j < images; ++j) {
      if (i != j) reference += kernel(y, i, y, j);
    }
  }
  const auto n = static_cast<double>(count);
  const auto m = static_cast<double>(images);
  return within / (n * (n - 1)) - 2 * between / (n * m) + reference / (m * (m - 1));
}

std::vector<double> unlabelled(std::size_t count) {
  return std::vector<double>(count);
}

TEST(KernelDistanceTest, ABlockMatchesTheDefinition) {
  const Set real = random_set(70, 0, 1);
  const KernelDistance distance(real.features, dimension, rows, 1, simd_kernels());
  for (const std::size_t count : {2, 47, 48, 49, 100, 480}) {
    const Set x = random_set(count, 0.3, count);
    const KernelDistance::Block block = distance.block(x.features.tiles.data(), unlabelled(count));
    EXPECT_EQ(block.samples, count);
    EXPECT_NEAR(distance.value({&block, 1}), direct(x, 0, count, real), 2e-5) << count;
  }
}

TEST(KernelDistanceTest, LanesBeyondTheSamplesDoNotMatter) {
  const Set real = random_set(50, 0, 1);
  const KernelDistance distance(real.features, dimension, rows, 1, simd_kernels());
  const Set x = random_set(96, 0.3, 2);
  const KernelDistance::Block block = distance.block(x.features.tiles.data(), unlabelled(60));
  EXPECT_NEAR(distance.value({&block, 1}), direct(x, 0, 60, real), 2e-5);
}

TEST(KernelDistanceTest, BlocksAreAveragedByTheirSamples) {
  const Set real = random_set(50, 0, 1);
  const KernelDistance distance(real.features, dimension, rows, 1, simd_kernels());
  const Set x = random_set(96 + 48, 0.3, 2);
  const std::vector<KernelDistance::Block> blocks = {
      distance.block(x.features.tiles.data(), unlabelled(96)),
      distance.block(x.features.tiles.data() + 2 * rows * tile_lanes, unlabelled(48)),
      distance.block(x.features.tiles.data(), unlabelled(1))};
  EXPECT_NEAR(distance.value(blocks),
              (96 * direct(x, 0, 96, real) + 48 * direct(x, 96, 48, real)) / 144, 2e-5);
}

TEST(KernelDistanceTest, IsUnbiasedHoweverFewTheSamples) {
  const Set real = random_set(2000, 0, 1);
  const KernelDistance distance(real.features, dimension, rows, 1, simd_kernels());
  // Both from one distribution: the mean over many small blocks is zero within its error.
  std::vector<double> values;
  for (std::uint64_t seed = 10; seed < 410; ++seed) {
    const Set x = random_set(24, 0, seed);
    const KernelDistance::Block block = distance.block(x.features.tiles.data(), unlabelled(24));
    values.push_back(distance.value({&block, 1}));
  }
  double mean = 0;
  double squares = 0;
  for (const double v : values) mean += v / 400;
  for (const double v : values) squares += (v - mean) * (v - mean) / 399;
  EXPECT_LT(std::abs(mean), 4 * std::sqrt(squares / 400) + 0.02);
  EXPECT_GT(std::sqrt(squares), 0.01);
}

TEST(KernelDistanceTest, DealtLabelsDoNotBiasIt) {
  // Two labels far apart, dealt in turn, against the same mixture drawn: the distance is zero on
  // average, but would be far below if pairs of equal labels counted as often as they come up.
  Rng rng(7);
  const auto mixture = [&rng](Set& set, std::size_t i, double label) {
    for (std::size_t d = 0; d < dimension; ++d) {
      set.matrix[i * rows + d] = static_cast<float>((label == 0 ? -1 : 1) + 0.1 * rng.normal());
    }
    set.features.labels[i] = label;
  };
  const auto dealt = [&](std::size_t count) {
    Set set;
    set.matrix.resize(count * rows);
    set.features.count = count;
    set.features.labels.resize(count);
    for (std::size_t i = 0; i < count; ++i) mixture(set, i, static_cast<double>(i % 2));
    set.features.tiles = to_tiles(set.matrix.data(), count, rows);
    return set;
  };
  const Set real = dealt(400);
  const KernelDistance distance(real.features, dimension, rows, 2, simd_kernels());
  double mean = 0;
  for (int repeat = 0; repeat < 50; ++repeat) {
    const Set x = dealt(12);
    const KernelDistance::Block block = distance.block(x.features.tiles.data(), x.features.labels);
    mean += distance.value({&block, 1}) / 50;
  }
  EXPECT_NEAR(mean, 0, 0.02);  // counted as they come up it is -0.37
}

}  // namespace
}  // namespace paretod
