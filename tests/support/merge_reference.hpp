#pragma once
// Merging as the formulas say it: one tensor at a time, in doubles, with sorting where the engine
// takes histograms.  What the engine is compared to.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "evaluators/merge/merge_factors.hpp"
#include "evaluators/merge/merge_method.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

struct ReferenceTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<float> base;                     ///< empty: none
  std::vector<std::vector<float>> sources;     ///< [source]
  std::vector<std::vector<float>> importance;  ///< [source], fisher
};

/// Differences are rounded to float, as the engine's are: magnitudes compare as those do.
inline std::vector<double> reference_sparse(const MergeRule& rule, const ReferenceTensor& tensor,
                                            std::size_t k, double density, std::uint64_t seed) {
  const std::size_t n = tensor.base.size();
  std::vector<float> d(n);
  for (std::size_t i = 0; i < n; ++i) d[i] = tensor.sources[k][i] - tensor.base[i];
  std::vector<double> out(d.begin(), d.end());
  if (density >= 1 || n == 0) return out;
  std::vector<std::size_t> order(n);  // by magnitude, largest first, of equal ones the first first
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(d[a]) > std::abs(d[b]); });
  std::vector<double> probability(n, density);
  std::vector<bool> keep(n, false);
  const Sparsifier sparsifier = traits_of(rule.method).sparsifier;
  const bool random = sparsifier == Sparsifier::random || sparsifier == Sparsifier::della;
  if (density <= 0) {
    // nothing
  } else if (random) {
    if (sparsifier == Sparsifier::della) {
      const std::size_t row = tensor.shape.size() < 2 ? n : n / tensor.shape[0];
      for (std::size_t first = 0; first < n; first += row) {
        std::vector<std::size_t> ranks(row);
        std::iota(ranks.begin(), ranks.end(), first);
        std::stable_sort(ranks.begin(), ranks.end(), [&](std::size_t a, std::size_t b) {
          return std::abs(d[a]) < std::abs(d[b]);
        });
        for (std::size_t r = 0; r < row; ++r) {
          const double share =
              row > 1 ? static_cast<double>(static_cast<float>(r) / static_cast<float>(row - 1))
                      : 0.5;
          probability[ranks[r]] =
              std::clamp(density - rule.epsilon + 2 * rule.epsilon * share, 0.0, 1.0);
        }
      }
    }
    std::uint64_t hash = 0;
    for (const unsigned char c : tensor.name) hash = mix64(hash, c);
    const std::uint64_t key = mix64(mix64(seed, hash), k);
    for (std::size_t i = 0; i < n; ++i) {
      const auto block =
          philox4x32({static_cast<std::uint32_t>(i / 4), 0, 0, 0},
                     {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
      keep[i] = block[i % 4] < std::floor(probability[i] * 0x1p32) ||
                (sparsifier == Sparsifier::della && block[i % 4] < probability[i] * 0x1p32);
    }
  } else {
    const auto target =
        std::max<std::size_t>(static_cast<std::size_t>(density * static_cast<double>(n)), 1);
    std::size_t top = 0;
    if (sparsifier == Sparsifier::breadcrumbs) {
      top = std::min(static_cast<std::size_t>(rule.gamma * static_cast<double>(n)), n - target);
    }
    for (std::size_t r = top; r < top + target; ++r) keep[order[r]] = true;
  }
  double before = 0;
  double after = 0;
  for (std::size_t i = 0; i < n; ++i) {
    before += std::abs(out[i]);
    if (!keep[i]) {
      out[i] = 0;
    } else if (rule.rescale == Rescale::expected) {
      out[i] /= probability[i];
    }
    after += std::abs(out[i]);
  }
  if (rule.rescale == Rescale::l1 && before > 1e-7 && after > 1e-7) {
    for (double& x : out) x *= before / after;
  }
  return out;
}

inline std::vector<double> reference_merge(const MergeRule& rule, const ReferenceTensor& tensor,
                                           const GroupCoefficients& c, std::uint64_t seed) {
  const std::size_t n = tensor.sources[0].size();
  const std::size_t sources = tensor.sources.size();
  const MergeTraits traits = traits_of(rule.method);
  std::vector<double> out(n);
  const auto x = [&](std::size_t k, std::size_t i) {
    return static_cast<double>(tensor.sources[k][i]);
  };
  double weight_sum = 0;
  for (const double w : c.weights) weight_sum += w;
  if (rule.method == MergeMethod::slerp) {
    double aa = 0;
    double bb = 0;
    double ab = 0;
    for (std::size_t i = 0; i < n; ++i) {
      aa += x(0, i) * x(0, i);
      bb += x(1, i) * x(1, i);
      ab += x(0, i) * x(1, i);
    }
    const double cosine = ab / std::sqrt(aa * bb);
    std::array<double, 2> s{1 - c.t, c.t};
    if (std::abs(cosine) <= 0.9995) {
      const double angle = std::acos(cosine);
      s = {std::sin((1 - c.t) * angle) / std::sin(angle), std::sin(c.t * angle) / std::sin(angle)};
    }
    for (std::size_t i = 0; i < n; ++i) out[i] = s[0] * x(0, i) + s[1] * x(1, i);
    return out;
  }
  if (!traits.uses_base) {
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0;
      double divisor = 0;
      double plain = 0;
      for (std::size_t k = 0; k < sources; ++k) {
        const bool fisher = rule.method == MergeMethod::fisher;
        const double f = fisher ? static_cast<double>(tensor.importance[k][i]) : 1;
        sum += c.weights[k] * f * x(k, i);
        divisor += c.weights[k] * f;
        plain += c.weights[k] * x(k, i);
      }
      if (divisor == 0) {
        out[i] = plain / weight_sum;
      } else {
        out[i] = rule.method == MergeMethod::linear && !rule.normalize ? sum : sum / divisor;
      }
    }
    return out;
  }
  std::vector<std::vector<double>> deltas;
  for (std::size_t k = 0; k < sources; ++k) {
    const double density = traits.sparsifier == Sparsifier::none ? 1 : c.densities[k];
    deltas.push_back(reference_sparse(rule, tensor, k, density, seed));
  }
  for (std::size_t i = 0; i < n; ++i) {
    double total = 0;
    for (std::size_t k = 0; k < sources; ++k) total += c.weights[k] * deltas[k][i];
    double sum = 0;
    double divisor = 0;
    for (std::size_t k = 0; k < sources; ++k) {
      const double term = c.weights[k] * deltas[k][i];
      if (traits.elects_sign && (term == 0 || (term > 0) != (total >= 0))) continue;
      sum += term;
      divisor += c.weights[k];
    }
    if (rule.normalize && std::abs(divisor) > 1e-8) sum /= divisor;
    out[i] = static_cast<double>(tensor.base[i]) + c.lambda * sum;
  }
  return out;
}

}  // namespace paretod
