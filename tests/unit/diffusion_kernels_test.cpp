// Every instruction set that this processor has, against double precision.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/linear_layer.hpp"
#include "evaluators/diffusion/simd.hpp"
#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

std::vector<const SimdKernels*> tables() {
  const SimdKernelList list = supported_simd_kernels();
  return {list.tables, list.tables + list.count};
}

AlignedVector<float> random_values(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  AlignedVector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

class KernelTest : public testing::TestWithParam<const SimdKernels*> {};

/// The activation of one number: a layer of one input with weight one.
std::vector<float> activate(const SimdKernels& kernels, Epilogue epilogue,
                            const std::vector<float>& xs) {
  LinearLayer layer(1, 1);
  const float one = 1;
  const float zero = 0;
  layer.assign(&one, &zero);
  std::vector<float> result;
  AlignedVector<float> output(row_block * tile_lanes);
  for (std::size_t at = 0; at < xs.size(); at += tile_lanes) {
    AlignedVector<float> input(tile_lanes);
    const std::size_t count = std::min(tile_lanes, xs.size() - at);
    for (std::size_t i = 0; i < count; ++i) input[i] = xs[at + i];
    kernels.linear(layer.packed(), input.data(), epilogue, output.data());
    result.insert(result.end(), output.begin(), output.begin() + static_cast<long>(count));
  }
  return result;
}

std::vector<float> arguments() {
  std::vector<float> xs = {0.0F, -0.0F, 1e-30F, -1e-30F, 1e-8F, 0.5F, -0.5F, 9.99F, 70.0F, -70.0F};
  Rng rng(3);
  for (int i = 0; i < 4000; ++i) xs.push_back(static_cast<float>(rng.uniform(-20, 20)));
  for (int i = 0; i < 1000; ++i) {
    xs.push_back(static_cast<float>(rng.normal() * std::pow(10.0, rng.uniform(-12, 0))));
  }
  return xs;
}

TEST_P(KernelTest, SiluIsAccurate) {
  const std::vector<float> xs = arguments();
  const std::vector<float> ys = activate(*GetParam(), Epilogue::silu, xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double exact = xs[i] / (1 + std::exp(-static_cast<double>(xs[i])));
    EXPECT_NEAR(ys[i], exact, 4e-7 * std::abs(exact) + 1e-37) << xs[i];
  }
}

TEST_P(KernelTest, TanhIsAccurate) {
  const std::vector<float> xs = arguments();
  const std::vector<float> ys = activate(*GetParam(), Epilogue::tanh, xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double exact = std::tanh(static_cast<double>(xs[i]));
    EXPECT_NEAR(ys[i], exact, 4e-7 * std::abs(exact)) << xs[i];
  }
}

TEST_P(KernelTest, ActivationsKeepInfinitiesBoundedAndNanVisible) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> xs = {1e30F, -1e30F, infinity, -infinity, std::nanf("")};
  const std::vector<float> tanh = activate(*GetParam(), Epilogue::tanh, xs);
  EXPECT_EQ(tanh[0], 1.0F);
  EXPECT_EQ(tanh[1], -1.0F);
  EXPECT_EQ(tanh[2], 1.0F);
  EXPECT_EQ(tanh[3], -1.0F);
  EXPECT_TRUE(std::isnan(tanh[4]));
  const std::vector<float> silu = activate(*GetParam(), Epilogue::silu, xs);
  EXPECT_EQ(silu[0], 1e30F);
  EXPECT_EQ(silu[2], infinity);
  EXPECT_TRUE(std::isnan(silu[4]));
}

TEST_P(KernelTest, LinearMatchesDoubleForOddSizes) {
  for (const auto& [outputs, inputs] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {7, 3}, {8, 64}, {9, 65}, {128, 64}}) {
    const auto weights = random_values(outputs * inputs, 1);
    const auto bias = random_values(outputs, 2);
    const auto input = random_values(inputs * tile_lanes, 3);
    const auto before = random_values(padded_rows(outputs) * tile_lanes, 4);
    LinearLayer layer(outputs, inputs);
    layer.assign(weights.data(), bias.data());
    for (const Epilogue epilogue : {Epilogue::store, Epilogue::add}) {
      auto output = before;
      GetParam()->linear(layer.packed(), input.data(), epilogue, output.data());
      for (std::size_t row = 0; row < outputs; ++row) {
        for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
          double exact = bias[row];
          for (std::size_t k = 0; k < inputs; ++k) {
            exact += static_cast<double>(weights[row * inputs + k]) * input[k * tile_lanes + lane];
          }
          const std::size_t at = row * tile_lanes + lane;
          if (epilogue == Epilogue::add) exact += before[at];
          ASSERT_NEAR(output[at], exact, 1e-4) << outputs << "x" << inputs << " " << row;
        }
      }
    }
  }
}

TEST_P(KernelTest, NormalizeMatchesDouble) {
  constexpr std::size_t rows = 37;
  const auto input = random_values(rows * tile_lanes, 5);
  const auto scale = random_values(rows, 6);
  const auto shift = random_values(rows, 7);
  const auto addend = random_values(rows * tile_lanes, 8);
  for (const float* added : {addend.data(), static_cast<const float*>(nullptr)}) {
    AlignedVector<float> output(rows * tile_lanes);
    GetParam()->normalize(input.data(), rows, scale.data(), shift.data(), added, output.data());
    for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
      double mean = 0;
      double variance = 0;
      for (std::size_t r = 0; r < rows; ++r) mean += input[r * tile_lanes + lane] / double{rows};
      for (std::size_t r = 0; r < rows; ++r) {
        variance += std::pow(input[r * tile_lanes + lane] - mean, 2) / double{rows};
      }
      for (std::size_t r = 0; r < rows; ++r) {
        const std::size_t at = r * tile_lanes + lane;
        const double exact = (input[at] - mean) / std::sqrt(variance + 1e-5) * scale[r] + shift[r] +
                             (added != nullptr ? added[at] : 0);
        ASSERT_NEAR(output[at], exact, 1e-5);
      }
    }
  }
}

TEST_P(KernelTest, DdimUpdateMatchesDoubleAndSeesNonFiniteValues) {
  constexpr std::size_t rows = 5;
  const auto x = random_values(rows * tile_lanes, 9);
  auto v = random_values(rows * tile_lanes, 10);
  const DdimCoefficients step{0.6F, 0.8F, 0.8F, 0.6F};
  auto updated = x;
  EXPECT_TRUE(GetParam()->ddim_update(updated.data(), v.data(), rows, step));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double image = std::clamp(0.6 * x[i] - 0.8 * v[i], -1.0, 1.0);
    EXPECT_NEAR(updated[i], 0.8 * image + 0.6 * (x[i] - 0.6 * image) / 0.8, 1e-5);
  }
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    v.back() = bad;
    updated = x;
    EXPECT_FALSE(GetParam()->ddim_update(updated.data(), v.data(), rows, step));
  }
}

TEST_P(KernelTest, SecondMomentsMatchDouble) {
  constexpr std::size_t rows = 16;
  constexpr std::size_t tiles = 3;
  const auto features = random_values(tiles * rows * tile_lanes, 11);
  std::vector<double> products(rows * rows);
  for (std::size_t row = 0; row < rows; row += 4) {
    GetParam()->second_moments(features.data(), tiles, rows, row, products.data() + row * rows,
                               rows);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = i; j < rows; ++j) {
      double exact = 0;
      for (std::size_t tile = 0; tile < tiles; ++tile) {
        for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
          const float* base = features.data() + tile * rows * tile_lanes + lane;
          exact += static_cast<double>(base[i * tile_lanes]) * base[j * tile_lanes];
        }
      }
      EXPECT_NEAR(products[i * rows + j], exact, 1e-11);
    }
  }
}

TEST_P(KernelTest, MergeMatchesDoubleAndDoesNotDependOnTheBatch) {
  constexpr std::size_t sources = 5;
  constexpr std::size_t reference = 3;
  constexpr std::size_t candidates = 19;
  std::vector<std::uint16_t> halves(sources * merge_columns);
  std::vector<float> floats(halves.size());
  Rng rng(12);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    // Halves of magnitude 2^-15 .. 2: exponent 0 .. 15 covers subnormals too.
    halves[i] =
        static_cast<std::uint16_t>(rng.below(16) << 10 | rng.below(1024) | rng.below(2) << 15);
    const int exponent = halves[i] >> 10 & 31;
    const int fraction = halves[i] & 1023;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    floats[i] = static_cast<float>((halves[i] & 0x8000) != 0 ? -magnitude : magnitude);
  }
  std::vector<float> coefficients(candidates * sources);
  for (float& c : coefficients) c = static_cast<float>(rng.uniform(-1, 1));

  std::vector<float> merged(candidates * merge_columns);
  GetParam()->merge_half(halves.data(), sources, reference, coefficients.data(), candidates,
                         merged.data(), merge_columns);
  for (std::size_t p = 0; p < candidates; ++p) {
    for (std::size_t column = 0; column < merge_columns; ++column) {
      const auto source = [&](std::size_t k) {
        return static_cast<double>(
            floats[(column / merge_strip * sources + k) * merge_strip + column % merge_strip]);
      };
      double exact = source(reference);
      for (std::size_t k = 0; k < sources; ++k) {
        exact += coefficients[p * sources + k] * (source(k) - source(reference));
      }
      ASSERT_NEAR(merged[p * merge_columns + column], exact, 1e-6);
    }
  }

  std::vector<float> other(candidates * merge_columns);
  GetParam()->merge_float(floats.data(), sources, reference, coefficients.data(), candidates,
                          other.data(), merge_columns);
  EXPECT_EQ(merged, other);
  for (std::size_t p = 0; p < candidates; ++p) {
    GetParam()->merge_half(halves.data(), sources, reference, coefficients.data() + p * sources, 1,
                           other.data() + p * merge_columns, merge_columns);
  }
  EXPECT_EQ(merged, other);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelTest, testing::ValuesIn(tables()),
                         [](const auto& table) { return std::string(table.param->name); });

TEST(TilesTest, EverySampleGetsALane) {
  constexpr std::size_t samples = tile_lanes + 1;
  const auto matrix = random_values(samples * 3, 1);
  const auto tiles = to_tiles(matrix.data(), samples, 3);
  ASSERT_EQ(tiles.size(), 2 * 3 * tile_lanes);
  EXPECT_EQ(tiles[2 * tile_lanes + 7], matrix[7 * 3 + 2]);
  EXPECT_EQ(tiles[3 * tile_lanes], matrix[tile_lanes * 3]);
  EXPECT_EQ(tiles[3 * tile_lanes + 1], 0.0F);
}

}  // namespace
}  // namespace paretod
