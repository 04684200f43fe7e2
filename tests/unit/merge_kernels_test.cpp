#include "evaluators/merge/merge_kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "adapters/safetensors/narrow.hpp"
#include "adapters/safetensors/widen.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/merge/largest_elements.hpp"
#include "optimizers/core/rng.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/test_models.hpp"

namespace paretod {
namespace {

constexpr std::size_t odd_sizes[] = {1, 2, 7, 16, 31, 33, 100, 513};

std::vector<float> normals(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& x : values) x = static_cast<float>(rng.normal());
  return values;
}

/// A row with its padding.
std::vector<float> row(std::vector<float> values) {
  values.resize(merge_padded(values.size()) + merge_pad);
  return values;
}

void expect_same_bits(const float* a, const float* b, std::size_t count, const char* what) {
  for (std::size_t i = 0; i < count; ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;  // of whatever payload
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i]))
        << what << ", element " << i << " of " << count;
  }
}

class MergeKernelsTest : public testing::TestWithParam<const MergeKernels*> {
 protected:
  const MergeKernels& kernels() const { return *GetParam(); }
  /// Baseline has no fused multiply-add.
  bool fused() const { return std::string(kernels().name) != "baseline"; }
  float fma(float a, float b, float c) const { return fused() ? std::fma(a, b, c) : a * b + c; }
};

TEST_P(MergeKernelsTest, WidensAndNarrowsEveryHalfAndBfloat) {
  for (const StoredFloat dtype : {StoredFloat::f16, StoredFloat::bf16}) {
    std::vector<std::byte> stored(2 * 65'536);
    for (std::uint32_t i = 0; i < 65'536; ++i) {
      const auto bits = static_cast<std::uint16_t>(i);
      std::memcpy(&stored[2 * i], &bits, 2);
    }
    std::vector<float> wide(65'536);
    std::vector<float> expected(65'536);
    kernels().widen(dtype, stored.data(), wide.size(), wide.data());
    (dtype == StoredFloat::f16 ? widen_f16 : widen_bf16)(stored.data(), wide.size(),
                                                         expected.data());
    expect_same_bits(wide.data(), expected.data(), wide.size(), "widened");
  }
}

TEST_P(MergeKernelsTest, NarrowsLikeTheAdapter) {
  std::vector<float> values = normals(3001, 5);
  for (std::size_t i = 0; i < values.size(); i += 3) values[i] *= 1e5F;
  for (std::size_t i = 1; i < values.size(); i += 3) values[i] *= 1e-6F;
  values[4] = INFINITY;
  values[5] = -0.0F;
  values[6] = NAN;
  values[7] = std::bit_cast<float>(0x7F7FFFFFU);
  std::vector<std::byte> expected(2 * values.size());
  for (const bool stream : {false, true}) {
    for (const StoredFloat dtype : {StoredFloat::f16, StoredFloat::bf16}) {
      (dtype == StoredFloat::f16 ? narrow_f16 : narrow_bf16)(values.data(), values.size(),
                                                             expected.data());
      std::vector<std::byte> narrowed(2 * values.size() + 1, std::byte{0x5A});
      const std::vector<float> padded = row(values);
      kernels().narrow(dtype, padded.data(), values.size(), narrowed.data(), stream);
      EXPECT_EQ(narrowed.back(), std::byte{0x5A});
      narrowed.pop_back();
      EXPECT_EQ(narrowed, expected);
    }
  }
}

TEST_P(MergeKernelsTest, CombinesAsItAccumulates) {
  constexpr std::size_t sources = 5;
  for (const std::size_t count : odd_sizes) {
    const std::size_t stride = merge_padded(count) + merge_pad;
    const std::vector<float> base = row(normals(count, 9));
    std::vector<float> panel(sources * stride);
    std::vector<std::vector<float>> values;
    for (std::size_t k = 0; k < sources; ++k) {
      values.push_back(normals(count, k));
      kernels().widen_difference(StoredFloat::f32,
                                 reinterpret_cast<const std::byte*>(values[k].data()), base.data(),
                                 count, panel.data() + k * stride);
    }
    for (const std::size_t candidates : {1, 2, 3, 8, 11, 16}) {
      const std::vector<float> weights = normals(candidates * sources, 77);
      std::vector<float> out(candidates * stride);
      kernels().combine(panel.data(), sources, weights.data(), candidates, count, out.data(),
                        stride);
      for (std::size_t p = 0; p < candidates; ++p) {
        std::vector<float> sum(stride);
        for (std::size_t k = 0; k < sources; ++k) {
          kernels().accumulate(StoredFloat::f32,
                               reinterpret_cast<const std::byte*>(values[k].data()), base.data(),
                               weights[p * sources + k], count, sum.data());
        }
        expect_same_bits(out.data() + p * stride, sum.data(), count, "combined");
        std::vector<float> expected(count);
        for (std::size_t i = 0; i < count; ++i) {
          for (std::size_t k = 0; k < sources; ++k) {
            expected[i] = fma(weights[p * sources + k], values[k][i] - base[i], expected[i]);
          }
        }
        expect_same_bits(sum.data(), expected.data(), count, "accumulated");
      }
    }
  }
}

TEST_P(MergeKernelsTest, MergesInOneStepAsInThree) {
  constexpr StoredFloat dtypes[] = {StoredFloat::f32, StoredFloat::f16, StoredFloat::bf16,
                                    StoredFloat::f64};
  const auto stored_as = [&](StoredFloat dtype, const std::vector<float>& values) {
    const std::size_t size = dtype == StoredFloat::f64 ? 8 : dtype == StoredFloat::f32 ? 4 : 2;
    std::vector<std::byte> bytes(values.size() * size);  // exactly, for sanitizers
    if (dtype == StoredFloat::f64) {
      const std::vector<double> wide(values.begin(), values.end());
      std::memcpy(bytes.data(), wide.data(), bytes.size());
    } else {
      kernels().narrow(dtype, row(values).data(), values.size(), bytes.data(), false);
    }
    return bytes;
  };
  for (const StoredFloat dtype : dtypes) {
    for (const std::size_t count : {1, 31, 64, 100, 513}) {
      for (const std::size_t sources : {1, 2, 5}) {
        std::vector<std::vector<std::byte>> models;
        std::vector<const std::byte*> from;
        for (std::size_t k = 0; k < sources; ++k) {
          from.push_back(models.emplace_back(stored_as(dtype, normals(count, k))).data());
        }
        const std::vector<float> weights = normals(sources, 7);
        const std::vector<std::byte> base = stored_as(dtype, normals(count, 8));
        for (const bool based : {false, true}) {
          std::vector<float> wide(merge_padded(count));
          kernels().widen(dtype, base.data(), count, wide.data());
          std::vector<float> sum(merge_padded(count));
          for (std::size_t k = 0; k < sources; ++k) {
            kernels().accumulate(dtype, from[k], based ? wide.data() : nullptr, weights[k], count,
                                 sum.data());
          }
          if (based) kernels().finish(wide.data(), 0.7F, count, sum.data());
          const PlainMerge merge{dtype, from, weights.data(), based ? base.data() : nullptr, 0.7F};
          for (const StoredFloat to : {StoredFloat::f32, StoredFloat::f16, StoredFloat::bf16}) {
            const std::size_t bytes = count * (to == StoredFloat::f32 ? 4 : 2);
            std::vector<std::byte> expected(bytes);
            kernels().narrow(to, sum.data(), count, expected.data(), false);
            // Aligned for stores past the caches, and not; nothing behind the end.
            for (const std::size_t shift : {0, 2}) {
              AlignedVector<std::byte> merged(shift + bytes + 1, std::byte{0x5A});
              kernels().merge(merge, count, to, merged.data() + shift, true);
              ASSERT_EQ(merged.back(), std::byte{0x5A});
              ASSERT_EQ(std::memcmp(merged.data() + shift, expected.data(), bytes), 0)
                  << count << " elements, " << sources << " sources, base " << based;
            }
          }
        }
      }
    }
  }
}

TEST_P(MergeKernelsTest, DrawsThePhiloxOfTheHouse) {
  const std::uint64_t key = 0x0123456789ABCDEFU;
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{4} << 33}) {
    std::vector<std::uint32_t> drawn(merge_padded(100));
    kernels().random_bits(key, first, 100, drawn.data());
    for (std::size_t i = 0; i < 100; ++i) {
      const std::uint64_t counter = (first + i) / 4;
      const auto block = philox4x32(
          {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
          {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
      ASSERT_EQ(drawn[i], block[i % 4]) << i;
    }
  }
}

TEST_P(MergeKernelsTest, KeepsElectsAndDivides) {
  constexpr std::size_t sources = 3;
  for (const std::size_t count : odd_sizes) {
    const std::size_t stride = merge_padded(count) + merge_pad;
    const std::vector<float> d = row(normals(count, 3));
    std::vector<float> kept(stride);
    const std::int32_t low = std::bit_cast<std::int32_t>(0.5F);
    const std::int32_t high = std::bit_cast<std::int32_t>(1.5F);
    kernels().keep_between(d.data(), count, low, high, 2.0F, kept.data());
    std::vector<std::uint32_t> random(stride);
    kernels().random_bits(7, 0, count, random.data());
    std::vector<float> drawn(stride);
    kernels().keep_random(d.data(), random.data(), count, 0x80000000U, 3.0F, drawn.data());
    for (std::size_t i = 0; i < count; ++i) {
      const float size = std::abs(d[i]);
      ASSERT_EQ(kept[i], size > 0.5F && size <= 1.5F ? 2.0F * d[i] : 0.0F);
      ASSERT_EQ(drawn[i], random[i] < 0x80000000U ? 3.0F * d[i] : 0.0F);
    }

    std::vector<float> panel(sources * stride);
    for (std::size_t k = 0; k < sources; ++k) {
      const std::vector<float> values = normals(count, 40 + k);
      std::copy(values.begin(), values.end(), panel.begin() + static_cast<long>(k * stride));
    }
    panel[0] = panel[stride] = panel[2 * stride] = 0;  // nobody has a sign
    const float weights[] = {0.5F, 0.25F, 2.0F};
    for (const bool divide : {false, true}) {
      std::vector<float> out(stride);
      kernels().elect(panel.data(), sources, weights, divide, count, out.data(), stride);
      for (std::size_t i = 0; i < count; ++i) {
        const float total = (panel[i] + panel[stride + i]) + panel[2 * stride + i];
        float sum = 0;
        float divisor = 0;
        for (std::size_t k = 0; k < sources; ++k) {
          const float x = panel[k * stride + i];
          if (x == 0 || (x > 0) != (total >= 0)) continue;
          sum += x;
          divisor += weights[k];
        }
        ASSERT_EQ(out[i], divide && divisor != 0 ? sum / divisor : sum);
      }
    }
  }
}

std::vector<const MergeKernels*> tables() {
  const MergeKernelList list = supported_merge_kernels();
  return {list.tables, list.tables + list.count};
}
INSTANTIATE_TEST_SUITE_P(Tables, MergeKernelsTest, testing::ValuesIn(tables()),
                         [](const auto& subject) { return std::string(subject.param->name); });

TEST(MergeLargestElements, AreExactlyTheCountAndTheFirstOfEqualOnes) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{1000}, pass_unit,
                                 pass_unit + 1, 3 * pass_unit + 77}) {
    // Few different magnitudes, as between half-precision models, zeros and one NaN.
    std::vector<float> source = normals(size, size);
    std::vector<float> base = normals(size, 1);
    for (std::size_t i = 0; i < size; ++i) {
      source[i] = i % 3 == 0 ? base[i] : base[i] + std::round(4 * source[i]);
    }
    if (size > 10) source[size / 2] = NAN;
    // Files, since released pages of anything else would be lost.
    const test::ScratchDirectory scratch;
    const std::vector<TensorLayout> layout{{"base", DType::f32, {size}},
                                           {"source", DType::f32, {size}}};
    write_model(scratch.path(), layout, {stored(DType::f32, base), stored(DType::f32, source)});
    const auto model = ModelFiles::open(scratch.path());
    ASSERT_TRUE(model) << model.error().text();
    std::vector<std::uint64_t> counts{0, 1, size / 4, size / 2, size - size / 8, size};
    std::vector<std::uint32_t> order(size);
    for (std::uint32_t i = 0; i < size; ++i) order[i] = i;
    const auto bits = [&](std::uint32_t i) {
      return std::bit_cast<std::uint32_t>(source[i] - base[i]) & 0x7FFFFFFFU;
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return bits(a) > bits(b); });
    for (const PassLimits& limits : {PassLimits{1, 1 << 30, false}, PassLimits{3, 1 << 19, true}}) {
      const auto found = largest_elements(merge_kernels(), limits, *model->find("source"),
                                          *model->find("base"), counts);
      ASSERT_EQ(found.size(), counts.size());
      for (std::size_t c = 0; c < counts.size(); ++c) {
        std::vector<bool> kept(size);
        for (std::size_t i = 0; i < counts[c]; ++i) kept[order[i]] = true;
        for (std::uint32_t i = 0; i < size; ++i) {
          const auto threshold = static_cast<std::uint32_t>(found[c].bits);
          const bool is = bits(i) > threshold || (bits(i) == threshold && i < found[c].cut);
          ASSERT_EQ(is, kept[i]) << "element " << i << " of " << size << ", count " << counts[c];
        }
      }
    }
  }
}

}  // namespace
}  // namespace paretod
