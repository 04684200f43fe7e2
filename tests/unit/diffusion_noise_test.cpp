#include "evaluators/diffusion/noise.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr std::size_t pixels = 4;
constexpr std::size_t tile_size = pixels * tile_lanes;

TEST(NoiseSourceTest, SampleIsNamedBySeedBlockAndIndex) {
  NoiseSource source(7, pixels, 1 << 20);
  const auto block = source.block(3, 2 * tile_lanes, 1);
  Rng rng(7, 3, tile_lanes + 5);
  for (std::size_t row = 0; row < pixels; ++row) {
    EXPECT_EQ((*block)[tile_size + row * tile_lanes + 5], static_cast<float>(rng.normal()));
  }
}

TEST(NoiseSourceTest, SmallerBlocksArePrefixesHoweverTheyCame) {
  NoiseSource growing(1, pixels, 1 << 20);
  const auto small = growing.block(0, 10, 1);
  const auto grown = growing.block(0, 200, 2);
  NoiseSource fresh(1, pixels, 1 << 20);
  const auto whole = fresh.block(0, 200, 1);
  EXPECT_EQ(*grown, *whole);
  EXPECT_TRUE(std::equal(small->begin(), small->end(), whole->begin()));
  EXPECT_EQ(growing.block(0, 50, 1), grown);  // kept, not drawn again
}

TEST(NoiseSourceTest, BlocksAndSeedsDiffer) {
  NoiseSource source(1, pixels, 1 << 20);
  NoiseSource other(2, pixels, 1 << 20);
  EXPECT_NE(*source.block(0, 10, 1), *source.block(1, 10, 1));
  EXPECT_NE(*source.block(0, 10, 1), *other.block(0, 10, 1));
}

TEST(NoiseSourceTest, EvictedBlocksComeBackTheSame) {
  NoiseSource source(1, pixels, 2 * tile_size * sizeof(float));
  const auto first = source.block(0, 10, 1);
  for (std::uint64_t replicate = 1; replicate < 5; ++replicate) source.block(replicate, 10, 1);
  const auto again = source.block(0, 10, 1);
  EXPECT_NE(first, again);
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(source.block(4, 10, 1), source.block(4, 10, 1));
}

TEST(NoiseSourceTest, IsStandardNormal) {
  NoiseSource source(1, pixels, 1 << 24);
  const auto block = source.block(0, 50'000, 1);
  double sum = 0;
  double squares = 0;
  for (const float x : *block) {
    sum += x;
    squares += double{x} * x;
  }
  const auto count = static_cast<double>(block->size());
  EXPECT_NEAR(sum / count, 0, 5 / std::sqrt(count));
  EXPECT_NEAR(squares / count, 1, 5 * std::sqrt(2 / count));
}

TEST(ScheduleTest, UniformTimesIncludeTheLast) {
  EXPECT_EQ(uniform_times(1000, 5), (std::vector<std::size_t>{199, 399, 599, 799, 999}));
  EXPECT_EQ(uniform_times(1000, 3), (std::vector<std::size_t>{332, 666, 999}));
  EXPECT_EQ(uniform_times(5, 2), (std::vector<std::size_t>{1, 4}));  // 2.5 rounds to even
  EXPECT_EQ(uniform_times(1, 1), (std::vector<std::size_t>{0}));
}

TEST(ScheduleTest, CosineFallsFromOneToNearlyZero) {
  const std::vector<double> alpha_bar = cosine_alpha_bar(1000);
  ASSERT_EQ(alpha_bar.size(), 1000U);
  EXPECT_NEAR(alpha_bar[0], 0.99996, 1e-5);
  EXPECT_NEAR(alpha_bar[499], 0.49384, 1e-4);
  EXPECT_GT(alpha_bar[999], 0);
  EXPECT_LT(alpha_bar[999], 1e-8);
  EXPECT_TRUE(std::is_sorted(alpha_bar.rbegin(), alpha_bar.rend()));
}

TEST(ScheduleTest, StepsRunFromNoiseToImage) {
  const auto steps = ddim_steps({0.9, 0.5, 0.1}, {0, 2});
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].time, 2U);
  EXPECT_FLOAT_EQ(steps[0].coefficients.signal, static_cast<float>(std::sqrt(0.1)));
  EXPECT_FLOAT_EQ(steps[0].coefficients.next_signal, static_cast<float>(std::sqrt(0.9)));
  EXPECT_EQ(steps[1].coefficients.next_signal, 1.0F);
  EXPECT_EQ(steps[1].coefficients.next_noise, 0.0F);
}

TEST(ParallelForTest, CallsEveryIndexOnce) {
  for (const std::size_t threads : {1, 2, 5}) {
    for (const std::size_t count : {0, 1, 3, 100}) {
      std::vector<std::atomic<int>> calls(count);
      std::atomic<bool> known_workers{true};
      parallel_for(threads, count, [&](std::size_t index, std::size_t worker) {
        ++calls[index];
        if (worker >= threads) known_workers = false;
      });
      for (const auto& call : calls) EXPECT_EQ(call, 1);
      EXPECT_TRUE(known_workers);
    }
  }
}

}  // namespace
}  // namespace paretod
