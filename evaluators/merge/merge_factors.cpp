#include "evaluators/merge/merge_factors.hpp"

#include <algorithm>
#include <cmath>

#include "optimizers/core/rng.hpp"

namespace paretod {

std::uint64_t kept_count(double density, std::uint64_t elements) {
  if (density >= 1) return elements;
  if (density <= 0 || elements == 0) return 0;
  const auto count = static_cast<std::uint64_t>(density * static_cast<double>(elements));
  return std::clamp<std::uint64_t>(count, 1, elements);
}

KeptCounts kept_counts(const MergeRule& rule, double density, std::uint64_t elements) {
  const std::uint64_t target = kept_count(density, elements);
  if (traits_of(rule.method).sparsifier != Sparsifier::breadcrumbs || density >= 1 || target == 0) {
    return {target, 0};
  }
  const std::uint64_t top = std::min(
      static_cast<std::uint64_t>(rule.gamma * static_cast<double>(elements)), elements - target);
  return {target + top, top};
}

std::uint64_t row_elements(const std::vector<std::uint64_t>& shape, std::uint64_t elements) {
  return shape.size() < 2 || shape[0] == 0 ? elements : elements / shape[0];
}

std::uint64_t mask_key(std::uint64_t tensor_seed, std::size_t source) {
  return mix64(tensor_seed, source);
}

double safe_divisor(double sum) {
  return std::abs(sum) < 1e-8 ? 1 : sum;
}

}  // namespace paretod
