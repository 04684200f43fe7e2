#pragma once
// Merging LoRA adapters: the operator of Evo-Merging (Chen, Zhou, Huai et al., arXiv 2509.12951;
// research/evo-merging.md, section 2) and its variant in the space of weight changes.  Pure
// functions on float32, row-major tensors; any thread.
//
// An adapter changes the weight of a linear module by scale * B A, where A is rank x inputs and B
// is outputs x rank.  Of adapter i a merge uses keep_i in [0, 1], the share of the entries of A
// that is kept (S below), and weight_i, of any sign:
//   factor space   (sum_i weight_i B_i) (sum_i weight_i S(A_i)), of the same rank, with cross
//   terms;
//                  it does not change when all weights change their sign
//   delta space    sum_i weight_i B_i S(A_i), of the summed rank
//
// S is per tensor: of n entries the round(keep * n) of largest magnitude stay (half to even, at
// least one unless keep is 0), and whatever ties with the smallest of these; survivors are not
// rescaled.
//
// Two departures from the released code, of no effect where all adapters have the same modules and
// scale: modules are the union over all adapters, not those of the first, so that the order does
// not matter; and a scale that differs from the first adapter's is folded into B, so that keep 1
// and a single weight of 1 are always that adapter.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

struct LoraModule {
  std::string name;
  std::size_t rank = 0, inputs = 0, outputs = 0;
  std::vector<float> a;  ///< rank x inputs
  std::vector<float> b;  ///< outputs x rank
};

struct LoraAdapter {
  double scale = 1;  ///< PEFT's lora_alpha / r
  std::vector<LoraModule> modules;
};

struct MergeTerm {
  double keep = 1;
  double weight = 0;
};

/// Entries that S keeps of `count`, ties aside.  `keep` is clamped to [0, 1].
std::size_t kept_entries(double keep, std::size_t count);
/// The least magnitude that S keeps; 0 when it keeps all, infinity when it keeps none.
float keep_threshold(std::span<const float> tensor, double keep);

struct TensorTerm {
  std::span<const float> values;
  float threshold = 0;  ///< smaller magnitudes count as zero; infinity: all do
  double weight = 0;
};
/// Writes the weighted sum, in float32; zero without terms of weight.  One term of weight 1 is
/// copied bit for bit.  Tensors are as long as the sum.
void weighted_sum(std::span<const TensorTerm> terms, std::span<float> sum);

/// Whole adapters, one term each.  Errors name the module that does not fit.
Result<LoraAdapter> merge_factors(std::span<const LoraAdapter> pool,
                                  std::span<const MergeTerm> terms);
/// The same in delta space: factors are stacked, those of no effect left out.
Result<LoraAdapter> merge_deltas(std::span<const LoraAdapter> pool,
                                 std::span<const MergeTerm> terms);

/// B of one adapter with A of another, at the first one's scale.  In delta space the pairs of all
/// with all, weighted by the products of two weights, are the merge in factor space: so it is
/// reached on servers that only add deltas up.  Modules that one of them lacks are left out.
Result<LoraAdapter> pair_of(const LoraAdapter& has_b, const LoraAdapter& has_a);

/// scale * B A, outputs x inputs, for small models.
std::vector<float> delta_weight(const LoraModule& module, double scale);

}  // namespace paretod
