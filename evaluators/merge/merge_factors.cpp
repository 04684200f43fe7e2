#include "evaluators/merge/merge_factors.hpp"

#include <algorithm>
#include <cmath>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

/// Cosines beyond it are as good as parallel.
constexpr double parallel_cosine = 0.9995;

}  // namespace

std::uint64_t tensor_name_hash(const std::string& name) {
  std::uint64_t hash = 0;
  for (const unsigned char c : name) hash = mix64(hash, c);
  return hash;
}

WeightFactors weight_factors(const MergeRule& rule, const GroupCoefficients& group) {
  const MergeTraits traits = traits_of(rule.method);
  double sum = 0;
  for (const double weight : group.weights) sum += weight;
  WeightFactors factors;
  if (rule.method == MergeMethod::fisher ||
      (rule.method == MergeMethod::linear && rule.normalize)) {
    factors.divisor = sum;
  } else if (traits.uses_base) {
    // An election divides by the weights of those who agree, element by element.
    factors.finish = group.lambda;
    if (rule.normalize && !traits.elects_sign) factors.finish /= safe_divisor(sum);
  }
  return factors;
}

std::uint64_t kept_count(double density, std::uint64_t elements, CountRounding rounding) {
  if (density >= 1) return elements;
  if (density <= 0 || elements == 0) return 0;
  const double share = density * static_cast<double>(elements);
  const auto count = static_cast<std::uint64_t>(
      rounding == CountRounding::nearest ? std::nearbyint(share) : share);
  return std::clamp<std::uint64_t>(count, 1, elements);
}

KeptCounts kept_counts(const MergeRule& rule, double density, std::uint64_t elements,
                       CountRounding rounding) {
  const std::uint64_t target = kept_count(density, elements, rounding);
  if (traits_of(rule.method).sparsifier != Sparsifier::breadcrumbs || density >= 1 || target == 0) {
    return {target, 0};
  }
  const std::uint64_t top = std::min(
      static_cast<std::uint64_t>(rule.gamma * static_cast<double>(elements)), elements - target);
  return {target + top, top};
}

KeptShare kept_share(const MergeRule& rule, double density, double weight) {
  KeptShare share;
  share.scale = weight;
  if (density >= 1) return share;
  if (density <= 0) {
    share.kind = Keep::Kind::none;
    return share;
  }
  const Sparsifier sparsifier = traits_of(rule.method).sparsifier;
  share.kind = sparsifier == Sparsifier::della    ? Keep::Kind::ranked
               : sparsifier == Sparsifier::random ? Keep::Kind::random
                                                  : Keep::Kind::between;
  if (share.kind == Keep::Kind::random) {
    share.below = static_cast<std::uint32_t>(std::min(density * 0x1p32, 0x1p32 - 1));
  }
  // By rank the expected rescaling is per element.
  if (share.kind != Keep::Kind::ranked && rule.rescale == Rescale::expected) {
    share.scale /= density;
  }
  return share;
}

double cosine_between(const std::array<double, 3>& products) {
  // mergekit leaves vectors of next to no length as they are.
  const double norms = (products[0] > 1e-16 ? std::sqrt(products[0]) : 1) *
                       (products[1] > 1e-16 ? std::sqrt(products[1]) : 1);
  return std::clamp(products[2] / norms, -1.0, 1.0);
}

std::array<double, 2> slerp_weights(double cosine, double t) {
  if (std::abs(cosine) > parallel_cosine) return {1 - t, t};
  const double angle = std::acos(cosine);
  return {std::sin((1 - t) * angle) / std::sin(angle), std::sin(t * angle) / std::sin(angle)};
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
