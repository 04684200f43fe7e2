#include "optimizers/map_design.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "optimizers/core/rng.hpp"
#include "optimizers/quadratic_surrogate.hpp"
#include "optimizers/sobol_sequence.hpp"

namespace paretod {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr std::size_t candidate_count = 512;
constexpr std::size_t most_chosen = candidate_count / 2;
constexpr int exchange_passes = 3;
/// Variances beforehand of the coefficients of an orthonormal basis, in those of a measurement: of
/// the quadratic almost anything; of what it cannot follow little, or the design would spend itself
/// on that.
constexpr double quadratic_variance = 10, cubic_variance = 0.04;
/// Streams of the seed.
constexpr std::uint64_t moment_stream = 103, lattice_stream = 102;

bool contains(const Design& design, const std::vector<double>& x) {
  return std::find(design.begin(), design.end(), x) != design.end();
}

/// Products of at most three coordinates, those of lower degree first.  The shares of a simplex but
/// the last one.
class Cubic {
 public:
  explicit Cubic(const MapSpace& space) {
    const std::size_t n = space.dimension() - (space.simplex() ? 1 : 0);
    factors_.push_back({});
    std::size_t first = 0;
    for (int degree = 1; degree <= 3; ++degree) {
      quadratic_ = factors_.size();
      for (std::size_t i = first; i < quadratic_; ++i) {
        for (std::size_t d = factors_[i].empty() ? 0 : factors_[i].back(); d < n; ++d) {
          factors_.push_back(factors_[i]);
          factors_.back().push_back(d);
        }
      }
      first = quadratic_;
    }
  }
  [[nodiscard]] Eigen::Index terms() const { return static_cast<Eigen::Index>(factors_.size()); }
  /// Those of degree two and less.
  [[nodiscard]] Eigen::Index quadratic() const { return static_cast<Eigen::Index>(quadratic_); }
  /// A column per point.
  [[nodiscard]] MatrixXd columns(const Design& points) const {
    MatrixXd columns(terms(), static_cast<Eigen::Index>(points.size()));
    for (std::size_t i = 0; i < points.size(); ++i) {
      for (std::size_t k = 0; k < factors_.size(); ++k) {
        double product = 1;
        for (const std::size_t d : factors_[k]) product *= points[i][d];
        columns(static_cast<Eigen::Index>(k), static_cast<Eigen::Index>(i)) = product;
      }
    }
    return columns;
  }

 private:
  std::vector<std::vector<std::size_t>> factors_;
  std::size_t quadratic_ = 0;
};

/// Evenly over the space.
Design even_points(const MapSpace& space, std::size_t count, SobolSequence& sequence) {
  Design points;
  while (points.size() < count) {
    const auto x = space.from_unit(sequence.next());
    points.push_back(space.scaled(space.point(x)));
  }
  return points;
}

/// Chooses the candidates that together with `fixed` leave the least variance of the model on the
/// average over the space: one by one, then by exchanges.  In an orthonormal basis that variance is
/// the trace of the coefficients' covariance, which x lowers by |C f(x)|^2 / (1 + f(x)' C f(x)).
class LeastVariance {
 public:
  LeastVariance(const MapSpace& space, const Design& fixed, Design candidates, std::uint64_t seed)
      : candidates_(std::move(candidates)) {
    const Cubic cubic(space);
    // The Cholesky factor of the moments makes a basis orthonormal degree by degree.
    SobolSequence sequence(space.dimension(), mix64(seed, moment_stream));
    const auto count = std::max<std::size_t>(1024, 4 * static_cast<std::size_t>(cubic.terms()));
    const MatrixXd all = cubic.columns(even_points(space, count, sequence));
    const Eigen::LLT<MatrixXd> moments(all * all.transpose() / static_cast<double>(count));
    values_ = moments.matrixL().solve(cubic.columns(candidates_));
    VectorXd precision = VectorXd::Constant(cubic.terms(), 1 / quadratic_variance);
    precision.tail(cubic.terms() - cubic.quadratic()).setConstant(1 / cubic_variance);
    MatrixXd information = precision.asDiagonal();
    if (!fixed.empty()) {
      const MatrixXd there = moments.matrixL().solve(cubic.columns(fixed));
      information += there * there.transpose();
    }
    along_ = information.inverse() * values_;
    for (const auto& x : candidates_) used_.push_back(contains(fixed, x));
  }

  /// Requires as many unused candidates and one more.
  Design choose(std::size_t count) {
    std::vector<Eigen::Index> chosen;
    for (std::size_t i = 0; i < count; ++i) {
      chosen.push_back(best());
      take(chosen.back(), 1);
    }
    bool changed = true;
    for (int pass = 0; pass < exchange_passes && changed; ++pass) {
      changed = false;
      for (Eigen::Index& u : chosen) {
        take(u, -1);
        const Eigen::Index v = best();
        take(v, 1);
        changed = changed || v != u;
        u = v;
      }
    }
    Design design;
    for (const Eigen::Index u : chosen) design.push_back(candidates_[static_cast<std::size_t>(u)]);
    return design;
  }

 private:
  [[nodiscard]] Eigen::Index best() const {
    Eigen::Index best = 0;
    double most = -1;
    for (Eigen::Index v = 0; v < values_.cols(); ++v) {
      if (used_[static_cast<std::size_t>(v)]) continue;
      const double gain = along_.col(v).squaredNorm() / (1 + along_.col(v).dot(values_.col(v)));
      if (!(gain > most)) continue;
      most = gain;
      best = v;
    }
    return best;
  }
  /// Sherman and Morrison, for one point more or less.
  void take(Eigen::Index v, double sign) {
    const VectorXd along = along_.col(v);
    const VectorXd cross = values_.transpose() * along;
    along_ -= (sign / (1 + sign * cross[v]) * along) * cross.transpose();
    used_[static_cast<std::size_t>(v)] = sign > 0;
  }

  Design candidates_;
  std::vector<bool> used_;
  MatrixXd values_, along_;  // f(x) of the candidates, C f(x)
};

}  // namespace

Design i_optimal_design(const MapSpace& space, std::size_t count, const Design& known,
                        std::uint64_t seed) {
  Design fixed = known, design;
  const auto add = [&](std::vector<double> x) {
    if (design.size() >= count || contains(fixed, x)) return;
    fixed.push_back(x);
    design.push_back(std::move(x));
  };
  for (auto& anchor : space.anchors()) add(std::move(anchor));
  SobolSequence sequence(space.dimension(), seed);
  const std::size_t chosen = std::min(count - design.size(), most_chosen);
  if (chosen > 0) {
    LeastVariance variance(space, fixed, even_points(space, candidate_count, sequence), seed);
    for (auto& x : variance.choose(chosen)) add(std::move(x));
  }
  while (design.size() < count) add(even_points(space, 1, sequence).front());
  return design;
}

Design paper_design(const MapSpace& space, std::size_t count, double isotropic,
                    std::uint64_t seed) {
  const std::size_t n = space.dimension();
  Design best;
  std::size_t best_rank = 0;
  // Mended: a random subset can be short of rank; then another one is drawn.
  for (std::uint32_t attempt = 0; attempt < 20; ++attempt) {
    Rng rng(seed, lattice_stream, attempt);
    Design design;
    const auto add_unit = [&](std::vector<double> unit) {
      for (double& u : unit) u = 2 * std::clamp(u, 0.0, 1.0) - 1;
      auto x = space.scaled(space.point(unit));
      if (design.size() < count && !contains(design, x)) design.push_back(std::move(x));
    };
    for (auto& anchor : space.anchors()) {
      if (design.size() < count && space.point(anchor) != Point(n, 0.0)) {
        design.push_back(std::move(anchor));
      }
    }
    const double k = static_cast<double>(count - design.size());
    const auto diagonal = static_cast<std::size_t>(isotropic * k);
    for (std::size_t i = 0; i < diagonal; ++i) {
      std::vector<double> unit(n, rng.uniform());
      for (double& u : unit) u += i % 2 == 0 ? 0 : 0.1 * rng.normal();
      add_unit(std::move(unit));
    }
    // Mended: with two levels (eight tasks and more) the square of a coefficient is the
    // coefficient.
    const auto levels = std::max<std::uint64_t>(
        3, static_cast<std::uint64_t>(std::ceil(std::pow(2 * k, 1 / static_cast<double>(n)))));
    for (int draw = 0; draw < 100'000 && design.size() < count; ++draw) {
      std::vector<std::uint64_t> place(n);
      for (auto& level : place) level = rng.below(levels);
      const std::uint64_t sum = std::accumulate(place.begin(), place.end(), std::uint64_t{0});
      const bool equal =
          std::all_of(place.begin(), place.end(), [&](auto p) { return p == place[0]; });
      if (equal || sum == levels - 1) continue;
      std::vector<double> unit;
      for (const auto level : place) {
        unit.push_back(static_cast<double>(level) / static_cast<double>(levels - 1));
      }
      add_unit(std::move(unit));
    }
    const std::size_t rank = design_rank(design, false);
    if (best.empty() || rank > best_rank) {
      best_rank = rank;
      best = std::move(design);
    }
    if (best_rank == std::min(quadratic_terms(n), count)) break;
  }
  return best;
}

std::size_t design_rank(const Design& design, bool simplex) {
  if (design.empty()) return 0;
  MatrixXd rows(static_cast<Eigen::Index>(design.size()),
                static_cast<Eigen::Index>(quadratic_terms(design[0].size(), simplex)));
  for (std::size_t i = 0; i < design.size(); ++i) {
    const std::vector<double> row = quadratic_row(design[i], simplex);
    rows.row(static_cast<Eigen::Index>(i)) =
        Eigen::Map<const Eigen::RowVectorXd>(row.data(), rows.cols());
  }
  return static_cast<std::size_t>(
      Eigen::ColPivHouseholderQR<MatrixXd>(rows).setThreshold(1e-8).rank());
}

}  // namespace paretod
