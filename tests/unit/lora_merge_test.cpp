// The merge operator of Evo-Merging: research/evo-merging.md, section 9, (a) to (f).

#include "evaluators/llm/lora_merge.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using testing::ElementsAre;
using Terms = std::vector<MergeTerm>;
using Pool = std::vector<LoraAdapter>;

std::vector<float> normals(std::size_t count, Rng& rng) {
  std::vector<float> values(count);
  for (float& x : values) x = static_cast<float>(rng.normal());
  return values;
}

/// Two modules of unequal shape.
LoraAdapter adapter(std::uint64_t seed, std::size_t rank = 3, double scale = 2) {
  Rng rng(seed);
  LoraAdapter made{scale, {}};
  made.modules.push_back({"q_proj", rank, 7, 5, normals(rank * 7, rng), normals(5 * rank, rng)});
  made.modules.push_back({"up_proj", rank, 6, 9, normals(rank * 6, rng), normals(9 * rank, rng)});
  return made;
}

Pool pool(std::size_t size) {
  Pool made;
  for (std::size_t i = 0; i < size; ++i) made.push_back(adapter(i + 1));
  return made;
}

/// All weight changes of an adapter, module after module.
std::vector<float> deltas(const LoraAdapter& merged) {
  std::vector<float> all;
  for (const LoraModule& module : merged.modules) {
    const std::vector<float> delta = delta_weight(module, merged.scale);
    all.insert(all.end(), delta.begin(), delta.end());
  }
  return all;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i])) << i;
  }
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return largest;
}

std::vector<float> sparse(const std::vector<float>& tensor, double keep) {
  std::vector<float> out(tensor.size());
  const TensorTerm term{tensor, keep_threshold(tensor, keep), 1};
  weighted_sum({&term, 1}, out);
  return out;
}

TEST(LoraMerge, OneAdapterAtOneIsThatAdapterBitForBit) {
  Pool one = pool(1);
  one[0].modules[0].a[3] = -0.0F;
  one[0].modules[1].b[2] = std::numeric_limits<float>::denorm_min();
  for (const auto& merged : {merge_factors(one, Terms{{1, 1}}), merge_deltas(one, Terms{{1, 1}})}) {
    ASSERT_TRUE(merged.ok());
    ASSERT_EQ(merged->modules.size(), 2U);
    EXPECT_EQ(merged->scale, one[0].scale);
    for (std::size_t m = 0; m < 2; ++m) {
      EXPECT_EQ(merged->modules[m].name, one[0].modules[m].name);
      expect_same_bits(merged->modules[m].a, one[0].modules[m].a);
      expect_same_bits(merged->modules[m].b, one[0].modules[m].b);
    }
  }
}

TEST(LoraMerge, ASingleWeightIsThatAdapterWhateverItsScale) {
  Pool mixed = pool(3);
  mixed[1].scale = 0.5;
  for (const auto& merged : {merge_factors(mixed, Terms{{1, 0}, {1, 1}, {1, 0}}),
                             merge_deltas(mixed, Terms{{1, 0}, {1, 1}, {1, 0}})}) {
    ASSERT_TRUE(merged.ok());
    expect_same_bits(deltas(*merged), deltas(mixed[1]));
  }
}

TEST(LoraMerge, OppositeWeightsAreTheSameInFactorSpaceAndNotInDeltaSpace) {
  const Pool all = pool(3);
  const Terms plus{{0.7, 0.4}, {1, -0.9}, {0.2, 0.3}};
  const Terms minus{{0.7, -0.4}, {1, 0.9}, {0.2, -0.3}};
  EXPECT_EQ(deltas(*merge_factors(all, plus)), deltas(*merge_factors(all, minus)));
  const std::vector<float> there = deltas(*merge_deltas(all, plus));
  std::vector<float> back = deltas(*merge_deltas(all, minus));
  EXPECT_GT(distance(there, back), 0.1);
  for (float& x : back) x = -x;
  EXPECT_EQ(there, back);
}

TEST(LoraMerge, NothingKeptOrNoWeightIsTheBaseModel) {
  const Pool all = pool(2);
  for (const Terms& none : {Terms{{0, 1.2}, {0, -0.3}}, Terms{{1, 0}, {0.5, 0}}}) {
    for (const auto& merged : {merge_factors(all, none), merge_deltas(all, none)}) {
      ASSERT_TRUE(merged.ok());
      for (const float x : deltas(*merged)) EXPECT_EQ(x, 0);
      EXPECT_GE(merged->modules[0].rank, 1U) << "still an adapter that a server can load";
    }
  }
}

TEST(LoraMerge, TheOrderOfTheAdaptersDoesNotMatter) {
  Pool all = pool(4);
  all[2].modules.erase(all[2].modules.begin());  // lacks a module
  all[0].modules.pop_back();
  all[3].scale = 1;
  const Terms terms{{0.7, 0.4}, {1, -0.9}, {0.2, 0.3}, {0.5, 1.1}};
  const std::vector<std::size_t> order{2, 0, 3, 1};
  Pool shuffled;
  Terms their_terms;
  for (const std::size_t i : order) {
    shuffled.push_back(all[i]);
    their_terms.push_back(terms[i]);
  }
  for (const auto merge : {merge_factors, merge_deltas}) {
    const auto ours = merge(all, terms);
    const auto theirs = merge(shuffled, their_terms);
    ASSERT_TRUE(ours.ok() && theirs.ok());
    ASSERT_EQ(ours->modules.size(), 2U);
    for (const LoraModule& module : ours->modules) {
      const auto same = std::find_if(theirs->modules.begin(), theirs->modules.end(),
                                     [&](const LoraModule& m) { return m.name == module.name; });
      ASSERT_NE(same, theirs->modules.end());
      EXPECT_LT(distance(delta_weight(module, ours->scale), delta_weight(*same, theirs->scale)),
                1e-5);
    }
  }
}

TEST(LoraMerge, AnAdapterWithoutAModuleContributesNothingThere) {
  Pool all = pool(2);
  all[1].modules.pop_back();
  const auto merged = merge_factors(all, Terms{{1, 0.5}, {1, 2}});
  ASSERT_TRUE(merged.ok());
  const auto alone = merge_factors(std::span(all).first(1), Terms{{1, 0.5}});
  expect_same_bits(merged->modules[1].a, alone->modules[1].a);
  expect_same_bits(merged->modules[1].b, alone->modules[1].b);
}

TEST(Sparsifier, CountsHalfToEvenAndKeepsAtLeastOne) {
  EXPECT_EQ(kept_entries(0, 10), 0U);
  EXPECT_EQ(kept_entries(-1, 10), 0U);
  EXPECT_EQ(kept_entries(1e-9, 10), 1U);
  EXPECT_EQ(kept_entries(0.25, 10), 2U) << "2.5 to even";
  EXPECT_EQ(kept_entries(0.35, 10), 4U) << "3.5 to even";
  EXPECT_EQ(kept_entries(0.26, 10), 3U);
  EXPECT_EQ(kept_entries(0.999, 10), 10U);
  EXPECT_EQ(kept_entries(1, 10), 10U);
  EXPECT_EQ(kept_entries(7, 10), 10U);
  EXPECT_EQ(kept_entries(0.5, 0), 0U);
  EXPECT_EQ(kept_entries(std::nan(""), 10), 0U);
}

TEST(Sparsifier, KeepsTheLargestMagnitudesAndTheirTies) {
  const std::vector<float> tensor{1, -4, 2, -2, 0.5F, 3, 0, -0.5F};
  EXPECT_THAT(sparse(tensor, 0.25), ElementsAre(0, -4, 0, 0, 0, 3, 0, 0));
  EXPECT_THAT(sparse(tensor, 0.375), ElementsAre(0, -4, 2, -2, 0, 3, 0, 0)) << "2 and -2 tie";
  EXPECT_THAT(sparse(tensor, 0.5), ElementsAre(0, -4, 2, -2, 0, 3, 0, 0));
  EXPECT_THAT(sparse(tensor, 0.01), ElementsAre(0, -4, 0, 0, 0, 0, 0, 0)) << "at least one";
  EXPECT_THAT(sparse(tensor, 0), testing::Each(0));
  EXPECT_EQ(sparse(tensor, 1), tensor);
  const std::vector<float> flat(9, -1.0F);
  EXPECT_EQ(sparse(flat, 0.1), flat) << "all tie";
}

TEST(Sparsifier, WorksPerModuleAndOnAOnly) {
  Pool one = pool(1);
  for (float& x : one[0].modules[1].a) x *= 100;  // a global threshold would empty module 0
  const auto merged = merge_factors(one, Terms{{0.5, 1}});
  ASSERT_TRUE(merged.ok());
  for (std::size_t m = 0; m < 2; ++m) {
    const LoraModule& module = merged->modules[m];
    const auto zeros = std::count(module.a.begin(), module.a.end(), 0.0F);
    EXPECT_EQ(static_cast<std::size_t>(zeros),
              module.a.size() - kept_entries(0.5, module.a.size()));
    expect_same_bits(module.b, one[0].modules[m].b);
  }
}

TEST(LoraMerge, AllPairsInDeltaSpaceAreTheFactorMerge) {
  Pool all = pool(4);
  all[2].scale = 0.5;
  const Terms terms{{0.7, 0.4}, {1, -0.9}, {0.2, 0.3}, {0.5, 1.1}};
  Pool pairs;
  Terms products;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < all.size(); ++j) {
      auto pair = pair_of(all[i], all[j]);
      ASSERT_TRUE(pair) << pair.error().message;
      pairs.push_back(std::move(*pair));
      products.push_back({terms[j].keep, terms[i].weight * terms[j].weight});
    }
  }
  EXPECT_LT(distance(deltas(*merge_factors(all, terms)), deltas(*merge_deltas(pairs, products))),
            1e-5);
}

TEST(LoraMerge, RefusesWhatDoesNotFit) {
  const auto message = [](const Result<LoraAdapter>& merged) {
    return merged ? std::string() : merged.error().message;
  };
  Pool ranks = pool(1);
  ranks.push_back(adapter(9, 4));
  EXPECT_THAT(message(merge_factors(ranks, Terms(2))), testing::HasSubstr("rank 4"));
  EXPECT_TRUE(merge_deltas(ranks, Terms{{1, 1}, {1, 1}}).ok());
  EXPECT_EQ(merge_deltas(ranks, Terms{{1, 1}, {1, 1}})->modules[0].rank, 7U);

  EXPECT_THAT(message(pair_of(ranks[0], ranks[1])), testing::HasSubstr("q_proj"));

  Pool sizes = pool(2);
  sizes[1].modules[0].inputs = 1;
  sizes[1].modules[0].a.resize(3);
  EXPECT_THAT(message(merge_factors(sizes, Terms(2))), testing::HasSubstr("q_proj"));
  Pool shapes = pool(2);
  shapes[1].modules[1].b.pop_back();
  EXPECT_THAT(message(merge_deltas(shapes, Terms(2))), testing::HasSubstr("up_proj"));
  EXPECT_THAT(message(merge_factors(pool(2), Terms(3))), testing::HasSubstr("as many terms"));
}

}  // namespace
}  // namespace paretod
