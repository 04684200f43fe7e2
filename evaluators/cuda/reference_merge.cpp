#include "evaluators/cuda/reference_merge.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "optimizers/core/rng.hpp"

namespace paretod::cuda {
namespace {

/// The value of a 16-bit float with so many bits of exponent, by its definition.
double value_of(std::uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  const double fraction = std::ldexp(bits & ((1 << fraction_bits) - 1), -fraction_bits);
  double value =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
  if (exponent == (1 << exponent_bits) - 1) {
    value = fraction == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  }
  return bits >> 15 != 0 ? -value : value;
}

/// Of all patterns without a sign.
const std::vector<double>& values_of(int exponent_bits) {
  const auto all = [](int bits) {
    std::vector<double> values(0x8000);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = value_of(static_cast<std::uint16_t>(i), bits);
    }
    return values;
  };
  static const std::vector<double> halves = all(5);
  static const std::vector<double> bfloats = all(8);
  return exponent_bits == 5 ? halves : bfloats;
}

/// Nearest, ties to the even pattern, by bisection over the positive numbers.
std::uint16_t nearest(float value, int exponent_bits) {
  const std::vector<double>& values = values_of(exponent_bits);
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double x = std::abs(static_cast<double>(value));
  if (std::isnan(value)) return 0x7FFF;
  const auto infinity =
      static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << (15 - exponent_bits));
  std::uint16_t low = 0;
  std::uint16_t high = infinity;
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (values[middle] <= x ? low : high) = middle;
  }
  // Infinity stands where the next number would be.
  const double below = values[low];
  const double above = high == infinity ? 2 * below - values[low - 1U] : values[high];
  if (x >= above) return sign | high;
  const double middle = (below + above) / 2;
  const bool up = x > middle || (x == middle && low % 2 != 0);
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

int exponent_bits(Stored type) {
  return type == Stored::f16 ? 5 : 8;
}

/// Kept by magnitude: from place `dropped` to place `dropped + kept` of the descending order, the
/// first of equal ones before the later.
std::vector<bool> by_magnitude(const std::vector<float>& d, std::uint64_t kept,
                               std::uint64_t dropped, bool ties) {
  std::vector<std::size_t> order(d.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // By bits, so that what is not a number has a place too: beyond infinity.
  const auto magnitude = [&](std::size_t i) { return std::bit_cast<std::uint32_t>(d[i]) << 1; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return magnitude(a) > magnitude(b); });
  std::vector<bool> out(d.size());
  std::uint64_t end = dropped + kept;
  while (ties && end > 0 && end < d.size() && magnitude(order[end]) == magnitude(order[end - 1])) {
    ++end;
  }
  for (std::uint64_t i = dropped; i < end; ++i) out[order[i]] = true;
  return out;
}

std::vector<bool> kept_of(const MergeRule& rule, const PlanOptions& options,
                          const std::vector<float>& d, double density, std::uint64_t key,
                          std::uint64_t first_element) {
  const std::size_t n = d.size();
  if (density >= 1) return std::vector<bool>(n, true);
  if (density <= 0) return std::vector<bool>(n, false);
  std::vector<bool> out(n);
  if (traits_of(rule.method).sparsifier == Sparsifier::random) {
    const auto below = static_cast<std::uint32_t>(std::min(density * 0x1p32, 0x1p32 - 1));
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t index = first_element + i;
      const auto numbers =
          philox4x32({static_cast<std::uint32_t>(index / 4),
                      static_cast<std::uint32_t>(index / 4 >> 32), 0, 0},
                     {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
      out[i] = numbers[index % 4] < below;
    }
    return out;
  }
  const double share = density * static_cast<double>(n);
  const std::uint64_t kept = std::clamp<std::uint64_t>(
      static_cast<std::uint64_t>(options.keep_ties ? std::nearbyint(share) : share), 1, n);
  std::uint64_t dropped = 0;
  if (traits_of(rule.method).sparsifier == Sparsifier::breadcrumbs) {
    dropped = std::min(static_cast<std::uint64_t>(rule.gamma * static_cast<double>(n)), n - kept);
  }
  return by_magnitude(d, kept, dropped, options.keep_ties);
}

/// Each element by its weights in `scales`, divided by those of the importances.
ReferenceResult weighted_by_importance(const ReferenceTensor& tensor,
                                       const std::vector<float>& scales) {
  const std::size_t n = tensor.sources[0].size();
  ReferenceResult out{std::vector<float>(n), std::vector<double>(n), std::vector<double>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    float sum = 0;
    float divisor = 0;
    float fallback = 0;
    double exact = 0;
    double exact_divisor = 0;
    double exact_fallback = 0;
    double magnitude = 0;
    for (std::size_t k = 0; k < scales.size(); ++k) {
      const float x = tensor.sources[k][i];
      const float f = tensor.importances[k][i];
      sum = std::fma(scales[k], f * x, sum);
      divisor = std::fma(scales[k], f, divisor);
      fallback = std::fma(scales[k], x, fallback);
      const double weight = static_cast<double>(scales[k]) * static_cast<double>(f);
      exact += weight * static_cast<double>(x);
      exact_divisor += weight;
      exact_fallback += static_cast<double>(scales[k]) * static_cast<double>(x);
      magnitude += std::abs(weight * static_cast<double>(x));
    }
    const bool none = divisor == 0;
    out.merged[i] = none ? fallback : sum / divisor;
    out.exact[i] = none ? exact_fallback : exact / exact_divisor;
    out.magnitude[i] = none ? std::abs(exact_fallback) : magnitude / exact_divisor;
  }
  return out;
}

/// Weights of a spherical interpolation, with the angle's sums in order.
std::array<double, 2> spherical_weights(const ReferenceTensor& tensor, double t) {
  double first = 0;
  double second = 0;
  double both = 0;
  for (std::size_t i = 0; i < tensor.sources[0].size(); ++i) {
    const double a = static_cast<double>(tensor.sources[0][i]);
    const double b = static_cast<double>(tensor.sources[1][i]);
    first += a * a;
    second += b * b;
    both += a * b;
  }
  const double norms =
      std::sqrt(first > 1e-16 ? first : 1) * std::sqrt(second > 1e-16 ? second : 1);
  const double cosine = std::clamp(both / norms, -1.0, 1.0);
  if (std::abs(cosine) > 0.9995) return {1 - t, t};
  const double angle = std::acos(cosine);
  return {std::sin((1 - t) * angle) / std::sin(angle), std::sin(t * angle) / std::sin(angle)};
}

}  // namespace

float reference_rounded(Stored type, float value) {
  if (type == Stored::f32) return value;
  const std::uint16_t bits = nearest(value, exponent_bits(type));
  if (std::isnan(value)) return value;
  const auto magnitude = static_cast<float>(values_of(exponent_bits(type))[bits & 0x7FFFU]);
  return bits >> 15 != 0 ? -magnitude : magnitude;
}

std::vector<std::uint8_t> reference_stored(Stored type, const std::vector<float>& values) {
  std::vector<std::uint8_t> bytes(values.size() * size_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (type == Stored::f32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
    } else {
      const std::uint16_t bits = nearest(values[i], exponent_bits(type));
      std::memcpy(&bytes[2 * i], &bits, 2);
    }
  }
  return bytes;
}

ReferenceResult reference_merge(const MergeRule& rule, const PlanOptions& options,
                                const ReferenceTensor& tensor, const MergeCandidate& candidate) {
  const MergeTraits traits = traits_of(rule.method);
  const bool sparse = traits.sparsifier != Sparsifier::none;
  const bool based = !tensor.base.empty();
  const GroupCoefficients& group = candidate.groups[tensor.group];
  const std::size_t n = tensor.sources[0].size();
  const std::size_t sources = tensor.sources.size();
  const double weight_sum = std::accumulate(group.weights.begin(), group.weights.end(), 0.0);

  // Of what is added to a base, and with PlanOptions::no_base of the sum itself.
  double finish = traits.uses_base ? group.lambda : 1;
  if (traits.uses_base && rule.normalize && !traits.elects_sign && std::abs(weight_sum) >= 1e-8) {
    finish /= weight_sum;
  }
  // Of each source, what takes part and by how much.
  std::vector<std::vector<float>> parts(sources);
  std::vector<float> scales(sources);
  std::vector<std::vector<bool>> kept(sources, std::vector<bool>(n, true));
  for (std::size_t k = 0; k < sources; ++k) {
    parts[k] = tensor.sources[k];
    for (std::size_t i = 0; based && !options.deltas && i < n; ++i) {
      parts[k][i] = parts[k][i] - tensor.base[i];
    }
    double scale = group.weights[k];
    const bool divided = rule.method == MergeMethod::linear && rule.normalize;
    if (divided || rule.method == MergeMethod::fisher) scale /= weight_sum;
    if (rule.method == MergeMethod::slerp) scale = spherical_weights(tensor, group.t).at(k);
    if (!sparse && !based) scale /= 1 / finish;
    if (sparse && !based) scale *= group.lambda;
    if (sparse) {
      const double density = group.densities[k];
      kept[k] = kept_of(rule, options, parts[k], density,
                        mix64(mix64(candidate.seed, tensor.name_hash), k), tensor.first_element);
      if (density > 0 && density < 1 && rule.rescale == Rescale::expected) scale /= density;
    }
    scales[k] = static_cast<float>(scale);
    if (sparse && rule.rescale == Rescale::l1) {
      double before = 0;
      double after = 0;
      for (std::size_t i = 0; i < n; ++i) {
        before += std::abs(static_cast<double>(parts[k][i]));
        if (kept[k][i]) after += std::abs(static_cast<double>(parts[k][i]));
      }
      if (before >= 1e-7 && after >= 1e-7) {
        scales[k] = static_cast<float>(static_cast<double>(scales[k]) * (before / after));
      }
    }
  }

  if (rule.method == MergeMethod::fisher) return weighted_by_importance(tensor, scales);

  ReferenceResult out{std::vector<float>(n), std::vector<double>(n), std::vector<double>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    float sum = 0;
    double exact = 0;
    double magnitude = 0;
    float total = 0;
    for (std::size_t k = 0; k < sources; ++k) {
      total += kept[k][i] ? scales[k] * parts[k][i] : 0.0F;
    }
    float divisor = 0;
    for (std::size_t k = 0; k < sources; ++k) {
      const float x = parts[k][i];
      const float value = kept[k][i] ? scales[k] * x : 0.0F;
      const bool agrees = total >= 0 ? value > 0 : value < 0;
      if (!sparse) {
        sum = std::fma(scales[k], x, sum);
      } else if (!traits.elects_sign || agrees) {
        sum = sum + value;
        if (agrees) divisor += static_cast<float>(group.weights[k]);
      }
      if (kept[k][i] && (!traits.elects_sign || agrees)) {
        const double product = static_cast<double>(scales[k]) * static_cast<double>(x);
        exact += product;
        magnitude += std::abs(product);
      }
    }
    if (traits.elects_sign && rule.normalize) {
      const float by = divisor == 0 ? 1.0F : divisor;
      sum = sum / by;
      exact /= static_cast<double>(by);
      magnitude /= std::abs(static_cast<double>(by));
    }
    if (based) {
      sum = std::fma(static_cast<float>(finish), sum, tensor.base[i]);
      exact = static_cast<double>(static_cast<float>(finish)) * exact +
              static_cast<double>(tensor.base[i]);
      magnitude = std::abs(finish) * magnitude + std::abs(static_cast<double>(tensor.base[i]));
    }
    out.merged[i] = sum;
    out.exact[i] = exact;
    out.magnitude[i] = magnitude;
  }
  return out;
}

}  // namespace paretod::cuda
