#pragma once
// What the numbers of a candidate come to for one tensor, so that blocks of it can be merged
// independently: weights divided and rescaled, thresholds instead of densities.  Plain values and
// pure functions, for the engines on the processor and on the GPU.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluators/merge/largest_elements.hpp"
#include "evaluators/merge/merge_method.hpp"

namespace paretod {

/// Which elements of a source's difference are kept.
struct Keep {
  enum class Kind { all, none, between, random, ranked };
  Kind kind = Kind::all;
  LargestElements kept = LargestElements::all();      ///< between: these ...
  LargestElements dropped = LargestElements::none();  ///< ... without these
  std::uint32_t below = 0;                            ///< random: numbers below it
  double density = 1;                                 ///< ranked: probability at the middle rank
};

/// Of all candidates of a pass, [candidate][source].
struct TensorFactors {
  std::vector<float> weights;  ///< of plain sums, or in the divisor of an election
  std::vector<Keep> keeps;
  std::vector<float> scales;         ///< of kept differences, weight included
  std::vector<float> finish;         ///< per candidate: of the sum that is added to the base
  std::vector<std::uint64_t> seeds;  ///< per candidate: of the tensor's random masks
};

/// Of a tensor's name, in the seeds of its random masks.
std::uint64_t tensor_name_hash(const std::string& name);

/// Whether densities are turned into thresholds of magnitude.
inline bool uses_thresholds(const MergeTraits& traits) {
  return traits.sparsifier == Sparsifier::magnitude || traits.sparsifier == Sparsifier::breadcrumbs;
}

/// What a group's weights are divided by, and the factor of their sum where it is added to a base.
struct WeightFactors {
  double divisor = 1;
  double finish = 1;
};
WeightFactors weight_factors(const MergeRule& rule, const GroupCoefficients& group);

/// How counts of kept elements are rounded: down, or to nearest with halves to even.
enum class CountRounding { down, nearest };

/// How many of `elements` a density keeps.
std::uint64_t kept_count(double density, std::uint64_t elements,
                         CountRounding rounding = CountRounding::down);

/// Probability that della keeps the element of a rank from 0 (least magnitude of its row) to 1.
inline double kept_probability(double density, double epsilon, double rank) {
  const double p = density - epsilon + rank * 2 * epsilon;
  return p < 0 ? 0 : p > 1 ? 1 : p;
}

/// Elements of one row, as della ranks them: an index of the first dimension.
std::uint64_t row_elements(const std::vector<std::uint64_t>& shape, std::uint64_t elements);

/// The seed of source k's random numbers.
std::uint64_t mask_key(std::uint64_t tensor_seed, std::size_t source);

/// Counts that largest_elements() has to answer for a density: the kept, the dropped.
struct KeptCounts {
  std::uint64_t kept = 0;
  std::uint64_t dropped = 0;
};
KeptCounts kept_counts(const MergeRule& rule, double density, std::uint64_t elements,
                       CountRounding rounding = CountRounding::down);

/// How a density sparsifies, before thresholds are known.
struct KeptShare {
  Keep::Kind kind = Keep::Kind::all;
  std::uint32_t below = 0;  ///< random
  double scale = 1;         ///< of what is kept, `weight` included
};
KeptShare kept_share(const MergeRule& rule, double density, double weight);

/// Cosine of the angle between two tensors, from their products: the first with itself, the second
/// with itself, the first with the second.
double cosine_between(const std::array<double, 3>& products);
/// Weights of the two sources of a spherical interpolation.
std::array<double, 2> slerp_weights(double cosine, double t);

/// A sum of weights to divide by; 1 where it is next to nothing.
double safe_divisor(double sum);

}  // namespace paretod
