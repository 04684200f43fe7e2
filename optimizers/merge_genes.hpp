#pragma once
// The search space of a merge of adapters: for each adapter NAME a real parameter "beta.NAME", its
// weight, and mostly "alpha.NAME", the share of its A that is kept (1 where there is none).
// Immutable; the space must outlive it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"

namespace paretod {

class MergeGenes {
 public:
  struct Adapter {
    std::string name;
    std::optional<std::size_t> alpha;  ///< coordinates
    std::size_t beta;
  };

  /// What keeps the space from being one; empty when it is.
  static Problems check(const SearchSpace& space);

  /// `mirrored`: all weights may change their sign together (factor space).  `ladder`: the only
  /// values of alpha that an evaluator can tell apart; empty: any.
  MergeGenes(const SearchSpace& space, bool mirrored, std::vector<double> ladder);

  [[nodiscard]] const std::vector<Adapter>& adapters() const { return adapters_; }
  [[nodiscard]] std::size_t size() const { return adapters_.size(); }
  /// Coordinates of the alphas that there are, of the betas, of both.
  [[nodiscard]] std::vector<std::size_t> alphas() const;
  [[nodiscard]] std::vector<std::size_t> betas() const;

  /// Every alpha at `keep` and every beta at `weight`, as far as the bounds allow.
  [[nodiscard]] Point uniform(double keep, double weight) const;
  /// Every alpha at 1 and the betas given.
  [[nodiscard]] Point weighted(const std::vector<double>& weights) const;
  /// The point of the pair {p, -p in beta} whose betas have a sum that is not negative.
  [[nodiscard]] Point canonical(Point point) const;

  /// Equal for points whose merges are the same: signs, rungs of the ladder and alphas without
  /// weight do not count.
  using Key = std::vector<std::int64_t>;
  [[nodiscard]] Key key(const Point& point) const;

  [[nodiscard]] double mean_alpha(const Point& point) const;
  [[nodiscard]] double mean_beta(const Point& point) const;  ///< of magnitudes

 private:
  const SearchSpace& space_;
  bool mirrored_;
  std::vector<double> ladder_;
  std::vector<Adapter> adapters_;
};

}  // namespace paretod
