#pragma once
// What the numbers of a candidate come to for one tensor, so that blocks of it can be merged
// independently: weights divided and rescaled, thresholds instead of densities.  Plain values.

#include <cstddef>
#include <cstdint>
#include <span>
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

/// How many of `elements` a density keeps.
std::uint64_t kept_count(double density, std::uint64_t elements);

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
KeptCounts kept_counts(const MergeRule& rule, double density, std::uint64_t elements);

/// A sum of weights to divide by; 1 where it is next to nothing.
double safe_divisor(double sum);

}  // namespace paretod
