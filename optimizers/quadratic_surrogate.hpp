#pragma once
// A quadratic model of one metric over a box or a simplex, with its uncertainty: what MAP fits per
// task (Li et al., "MAP: low-compute model merging with amortized Pareto fronts", arXiv
// 2406.07529).  metric = inverse link of eta(x), eta(x) = e + b'x + x'Ax / 2.
//
// The paper fits in metric space from a fixed start, without penalty, weights or intervals, and can
// fail silently; here eta is fitted by penalised weighted least squares on the linked values, the
// penalty and the link chosen by leave-one-out error, and a design that cannot carry the full
// quadratic gives a simpler form that says so.
//
// Plain values; any thread.  The same observations give the same bits.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "optimizers/core/rng.hpp"

namespace paretod {

/// From metric to eta; strictly increasing, so dominance is the same on both sides.
enum class Link {
  identity,  ///< unbounded metrics
  logit,     ///< metrics within (low, high)
  log,       ///< metrics above low
};
std::string_view name_of(Link link);

/// Terms of eta beyond the constant, richest first.
enum class QuadraticForm {
  full,
  diagonal,  ///< linear terms and squares, no products
  linear,
  constant,
};
std::string_view name_of(QuadraticForm form);

/// One measured value.  `x` are the coordinates that the model is over: a box scaled to [-1, 1]^n,
/// or shares that sum to one.
struct Observation {
  std::vector<double> x;
  double value = 0;            ///< the metric, the user's sign
  double standard_error = -1;  ///< negative: unknown
};

struct SurrogateOptions {
  std::optional<Link> link = {};  ///< empty: the one with the least leave-one-out error
  double low = 0, high = 1;       ///< of the metric, where the link needs them
  bool simplex = false;           ///< x sums to one (Scheffe's polynomial)
  /// As the paper: squared error of the metric itself, without penalty; Gauss-Newton from the
  /// linked fit, since the paper's start (all ones) fails in most eight-task fits.
  bool metric_space = false;
  double samples = 0;  ///< examples behind each value, if the values are shares; 0: unknown
};

/// Parameters of the full quadratic: (n+1)(n+2)/2, or n(n+1)/2 over a simplex.
std::size_t quadratic_terms(std::size_t dimension, bool simplex = false);
/// Their values at x, the constant's first.
std::vector<double> quadratic_row(std::span<const double> x, bool simplex = false);

struct Prediction {
  double mean = 0;
  /// What is unknown about the coefficients, and what no coefficients explain, of which
  /// leave-one-out errors tell.
  double sd = 0;
  /// What is unknown about the coefficients alone: what more measurements take away.
  double mean_sd = 0;
  /// Of a new measurement there.  As `sd`, but for at least the standard errors that measurements
  /// report: when all look at the same examples, leave-one-out cannot see them.
  double measured_sd = 0;
};

class QuadraticSurrogate {
 public:
  /// Requires an observation; x of equal dimension; finite values.
  static QuadraticSurrogate fit(std::span<const Observation> observations,
                                const SurrogateOptions& options);

  [[nodiscard]] std::size_t dimension() const { return linear_.size(); }
  [[nodiscard]] Prediction predict(std::span<const double> x) const;
  /// Inverse link of eta.
  [[nodiscard]] double mean(std::span<const double> x) const;
  /// mean(), and its derivatives into `gradient` [n].
  double mean(std::span<const double> x, std::span<double> gradient) const;
  [[nodiscard]] double eta(std::span<const double> x) const;
  double eta(std::span<const double> x, std::span<double> gradient) const;
  /// With coefficients drawn from their posterior.
  [[nodiscard]] QuadraticSurrogate draw(Rng& rng) const;

  /// Bounds of the metric, as the link has them.
  [[nodiscard]] double low() const { return low_; }
  [[nodiscard]] double high() const { return high_; }
  [[nodiscard]] double constant() const { return constant_; }
  [[nodiscard]] const std::vector<double>& linear() const { return linear_; }
  /// A, [n][n], symmetric.
  [[nodiscard]] const std::vector<double>& quadratic() const { return quadratic_; }

  struct Diagnostics {
    Link link = Link::identity;
    QuadraticForm form = QuadraticForm::full;
    std::size_t observations = 0;
    std::size_t terms = 0;              ///< fitted
    std::size_t wanted = 0;             ///< of the full quadratic
    std::size_t rank = 0;               ///< of the full quadratic's design
    double condition = 0;               ///< of the fitted form's design
    double leverage = 0;                ///< the largest
    double degrees_of_freedom = 0;      ///< of the residuals
    double penalty = 0;                 ///< chosen by leave-one-out error
    double r2 = 0;                      ///< of the metric, in sample
    double loo_r2 = 0;                  ///< of the metric, leave-one-out
    double loo_rmse = 0;                ///< in the metric's unit
    bool varies = true;                 ///< false: all observations are equal
    std::vector<double> eigenvalues{};  ///< of A, ascending
  };
  [[nodiscard]] const Diagnostics& diagnostics() const { return diagnostics_; }

 private:
  struct LinearFit;
  struct Linked;
  static QuadraticSurrogate fit_linked(std::span<const Observation> observations,
                                       const SurrogateOptions& options, const Linked& linked);
  void set_coefficients(const std::vector<double>& beta);
  void learn_errors(std::span<const Observation> observations, double samples);
  [[nodiscard]] double share_variance(double value) const;
  [[nodiscard]] double inverse_link(double eta) const;
  [[nodiscard]] double slope(double eta) const;

  double low_ = 0, high_ = 1;
  bool simplex_ = false;
  double constant_ = 0;
  std::vector<double> linear_, quadratic_;
  Diagnostics diagnostics_;
  double mean_weight_ = 1;  // of the link's variance function over the observations
  // Standard error of a measurement: error_, for shares times range and root of share (1 - share).
  double error_ = 0;
  bool of_shares_ = false;
  // Posterior: eta(x) is Student's t of scale s2 (1 / weight + |root' (phi(x) - centre)|^2), whose
  // variance is tails_ times that.
  double s2_ = 0, tails_ = 1, weight_ = 1;
  std::vector<double> centre_, root_;  // [q], [q][q] row-major
  std::vector<double> beta_;           // constant, then q terms
};

}  // namespace paretod
