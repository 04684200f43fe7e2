#include "optimizers/quadratic_surrogate.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace paretod {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double infinity = std::numeric_limits<double>::infinity();
/// A quadratic term of the scaled design is penalised so much more than a linear one.
constexpr double quadratic_penalty = 4;
/// Per observation; the least only keeps the arithmetic sound.
constexpr double penalties[] = {1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
/// With less than half as many observations again as terms, leave-one-out cannot tell small ones
/// apart, and now and then takes one that does harm.
constexpr double least_penalty_when_short = 1e-3;
constexpr double rank_tolerance = 1e-10;
/// Observations beyond its terms that a form simpler than the quadratic needs.  The quadratic needs
/// none: its penalty carries it, and simpler forms find worse fronts.
constexpr std::size_t least_freedom = 3;
/// How much better than the identity another link has to predict.
constexpr double link_gain = 0.98;
constexpr double default_samples = 1000;

/// Terms beyond the constant, in order: linear, squares, products.
std::size_t terms_of(QuadraticForm form, std::size_t n, bool simplex) {
  const std::size_t linear = simplex ? n - 1 : n;
  switch (form) {
    case QuadraticForm::full:
      return linear + (simplex ? 0 : n) + n * (n - 1) / 2;
    case QuadraticForm::diagonal:
      return linear + (simplex ? 0 : n);
    case QuadraticForm::linear:
      return linear;
    case QuadraticForm::constant:
      return 0;
  }
  return 0;
}

void write_terms(QuadraticForm form, std::span<const double> x, bool simplex, double* out) {
  const std::size_t n = x.size();
  if (form == QuadraticForm::constant) return;
  const std::size_t linear = simplex ? n - 1 : n;
  for (std::size_t i = 0; i < linear; ++i) *out++ = x[i];
  if (form == QuadraticForm::linear) return;
  for (std::size_t i = 0; !simplex && i < n; ++i) *out++ = x[i] * x[i];
  if (form == QuadraticForm::diagonal) return;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) *out++ = x[i] * x[j];
  }
}

/// Rows are observations.
MatrixXd design_of(QuadraticForm form, std::span<const Observation> observations, bool simplex) {
  const std::size_t n = observations.front().x.size();
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> design(
      static_cast<Eigen::Index>(observations.size()),
      static_cast<Eigen::Index>(terms_of(form, n, simplex)));
  for (std::size_t i = 0; i < observations.size(); ++i) {
    write_terms(form, observations[i].x, simplex, design.row(static_cast<Eigen::Index>(i)).data());
  }
  return design;
}

double unit(double value, double low, double high) {
  return (value - low) / (high - low);
}

}  // namespace

std::string_view name_of(Link link) {
  switch (link) {
    case Link::identity:
      return "identity";
    case Link::logit:
      return "logit";
    case Link::log:
      return "log";
  }
  return "";
}

std::string_view name_of(QuadraticForm form) {
  switch (form) {
    case QuadraticForm::full:
      return "full";
    case QuadraticForm::diagonal:
      return "diagonal";
    case QuadraticForm::linear:
      return "linear";
    case QuadraticForm::constant:
      return "constant";
  }
  return "";
}

std::size_t quadratic_terms(std::size_t dimension, bool simplex) {
  return 1 + terms_of(QuadraticForm::full, dimension, simplex);
}

std::vector<double> quadratic_row(std::span<const double> x, bool simplex) {
  std::vector<double> row(quadratic_terms(x.size(), simplex), 1.0);
  write_terms(QuadraticForm::full, x, simplex, row.data() + 1);
  return row;
}

/// Values on the side of eta, and their weights (inverse variances up to a factor, mean one).
struct QuadraticSurrogate::Linked {
  Link link;
  VectorXd z, weights;
  double mean_variance = 1;  // of the link's variance function
};

/// Penalised weighted least squares with a free constant, in the basis of the design's principal
/// axes: there, every penalty costs a division per axis.
struct QuadraticSurrogate::LinearFit {
  VectorXd centre, scale;  // of the terms; sqrt of their penalty
  MatrixXd axes;           // [q][q]
  VectorXd strengths;      // eigenvalues of the weighted, centred, scaled design
  MatrixXd scores;         // [N][q]: rows of the design along the axes, times sqrt(weight)
  VectorXd targets;        // sqrt(weight) (z - mean)
  VectorXd weights;
  double total = 0, mean = 0;

  LinearFit(const MatrixXd& design, const VectorXd& z, const VectorXd& w, std::size_t linear) {
    weights = w;
    total = w.sum();
    mean = w.dot(z) / total;
    centre = design.transpose() * w / total;
    scale = VectorXd::Ones(design.cols());
    for (auto k = static_cast<Eigen::Index>(linear); k < design.cols(); ++k) {
      scale[k] = std::sqrt(quadratic_penalty);
    }
    const VectorXd root = w.cwiseSqrt();
    const MatrixXd scaled = root.asDiagonal() * (design.rowwise() - centre.transpose()) *
                            scale.cwiseInverse().asDiagonal();
    if (design.cols() > 0) {  // Eigen does not decompose what is empty
      const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(scaled.transpose() * scaled);
      axes = solver.eigenvectors();
      strengths = solver.eigenvalues().cwiseMax(0);
    } else {
      axes.resize(0, 0);
      strengths.resize(0);
    }
    scores = scaled * axes;
    targets = root.cwiseProduct((z.array() - mean).matrix());
  }

  [[nodiscard]] std::size_t rank() const {
    if (strengths.size() == 0) return 0;
    return static_cast<std::size_t>(
        (strengths.array() > rank_tolerance * strengths.maxCoeff()).count());
  }
  [[nodiscard]] VectorXd along_axes(double penalty) const {
    return (scores.transpose() * targets).cwiseQuotient((strengths.array() + penalty).matrix());
  }
  [[nodiscard]] VectorXd leverages(double penalty) const {
    return weights / total + scores.cwiseAbs2() * (strengths.array() + penalty).inverse().matrix();
  }
  /// Of z, residual over one minus leverage.
  [[nodiscard]] VectorXd loo_residuals(double penalty) const {
    const VectorXd residuals = targets - scores * along_axes(penalty);
    const VectorXd free = (1 - leverages(penalty).array()).max(1e-6).matrix();
    return residuals.cwiseQuotient(free).cwiseQuotient(weights.cwiseSqrt());
  }
  [[nodiscard]] double press(double penalty) const {
    return weights.dot(loo_residuals(penalty).cwiseAbs2());
  }
  /// Constant first.
  [[nodiscard]] std::vector<double> coefficients(double penalty) const {
    const VectorXd terms = (axes * along_axes(penalty)).cwiseQuotient(scale);
    std::vector<double> beta{mean - centre.dot(terms)};
    beta.insert(beta.end(), terms.begin(), terms.end());
    return beta;
  }
};

double QuadraticSurrogate::inverse_link(double eta) const {
  switch (diagnostics_.link) {
    case Link::identity:
      return eta;
    case Link::logit:
      return low_ + (high_ - low_) / (1 + std::exp(-eta));
    case Link::log:
      return low_ + std::exp(eta);
  }
  return eta;
}

double QuadraticSurrogate::slope(double eta) const {
  switch (diagnostics_.link) {
    case Link::identity:
      return 1;
    case Link::logit: {
      const double share = 1 / (1 + std::exp(-eta));
      return (high_ - low_) * share * (1 - share);
    }
    case Link::log:
      return std::exp(eta);
  }
  return 1;
}

void QuadraticSurrogate::set_coefficients(const std::vector<double>& beta) {
  const std::size_t n = linear_.size();
  beta_ = beta;
  constant_ = beta[0];
  std::fill(linear_.begin(), linear_.end(), 0);
  std::fill(quadratic_.begin(), quadratic_.end(), 0);
  const double* next = beta.data() + 1;
  const QuadraticForm form = diagnostics_.form;
  if (form == QuadraticForm::constant) return;
  for (std::size_t i = 0; i < (simplex_ ? n - 1 : n); ++i) linear_[i] = *next++;
  if (form == QuadraticForm::linear) return;
  for (std::size_t i = 0; !simplex_ && i < n; ++i) quadratic_[i * n + i] = 2 * *next++;
  if (form == QuadraticForm::diagonal) return;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) quadratic_[i * n + j] = quadratic_[j * n + i] = *next++;
  }
}

double QuadraticSurrogate::eta(std::span<const double> x) const {
  const std::size_t n = x.size();
  double sum = constant_;
  for (std::size_t i = 0; i < n; ++i) {
    double row = 0;
    for (std::size_t j = 0; j < n; ++j) row += quadratic_[i * n + j] * x[j];
    sum += x[i] * (linear_[i] + row / 2);
  }
  return sum;
}

double QuadraticSurrogate::eta(std::span<const double> x, std::span<double> gradient) const {
  const std::size_t n = x.size();
  double sum = constant_;
  for (std::size_t i = 0; i < n; ++i) {
    double row = 0;
    for (std::size_t j = 0; j < n; ++j) row += quadratic_[i * n + j] * x[j];
    sum += x[i] * (linear_[i] + row / 2);
    gradient[i] = linear_[i] + row;
  }
  return sum;
}

double QuadraticSurrogate::mean(std::span<const double> x) const {
  return inverse_link(eta(x));
}

double QuadraticSurrogate::mean(std::span<const double> x, std::span<double> gradient) const {
  const double at = eta(x, gradient);
  const double factor = slope(at);
  for (double& g : gradient) g *= factor;
  return inverse_link(at);
}

Prediction QuadraticSurrogate::predict(std::span<const double> x) const {
  const auto q = static_cast<Eigen::Index>(centre_.size());
  VectorXd terms(q);
  write_terms(diagnostics_.form, x, simplex_, terms.data());
  terms -= Eigen::Map<const VectorXd>(centre_.data(), q);
  const Eigen::Map<const MatrixXd> root(root_.data(), q, q);
  const double at = eta(x);
  const double factor = slope(at);
  double share = 1;  // of the link's variance function, relative to the observations
  if (diagnostics_.link == Link::logit) {
    const double u = 1 / (1 + std::exp(-at));
    share = std::max(u * (1 - u), 1e-6) / mean_weight_;
  }
  const double variance = s2_ * tails_;
  const double of_coefficients =
      variance * (1 / weight_ + (root.transpose() * terms).squaredNorm());
  const double left_out = variance / share;
  const double mean = inverse_link(at);
  const double error = error_ * (of_shares_ ? (high_ - low_) * std::sqrt(share_variance(mean)) : 1);
  return {mean, std::abs(factor) * std::sqrt(of_coefficients + left_out),
          std::abs(factor) * std::sqrt(of_coefficients),
          std::sqrt(factor * factor * of_coefficients +
                    std::max(factor * factor * left_out, error * error))};
}

/// Of one example, for a share of (low, high); never quite 0.
double QuadraticSurrogate::share_variance(double value) const {
  const double u = std::clamp(unit(value, low_, high_), 0.0, 1.0);
  return std::max(u * (1 - u), 1e-6);
}

/// Reported standard errors are near constant, or those of shares: whichever explains them better.
void QuadraticSurrogate::learn_errors(std::span<const Observation> observations, double samples) {
  const double range = high_ - low_;
  double count = 0;
  double sums[2] = {0, 0}, squares[2] = {0, 0};  // of logarithms: as they are, per share
  bool shares = range > 0;
  for (const Observation& o : observations) {
    shares = shares && o.value >= low_ && o.value <= high_;
    if (!(o.standard_error > 0)) continue;
    const double plain = std::log(o.standard_error);
    const double per_share =
        shares ? plain - std::log(range) - std::log(share_variance(o.value)) / 2 : plain;
    ++count;
    sums[0] += plain;
    sums[1] += per_share;
    squares[0] += plain * plain;
    squares[1] += per_share * per_share;
  }
  if (count == 0) {
    of_shares_ = shares && samples > 0;
    error_ = of_shares_ ? 1 / std::sqrt(samples) : 0;
    return;
  }
  const auto spread = [&](int i) { return squares[i] - sums[i] * sums[i] / count; };
  of_shares_ = shares && spread(1) < spread(0);
  error_ = std::exp(sums[of_shares_ ? 1 : 0] / count);
}

QuadraticSurrogate QuadraticSurrogate::draw(Rng& rng) const {
  const auto q = static_cast<Eigen::Index>(centre_.size());
  const double s = std::sqrt(s2_);
  const double shift = s / std::sqrt(weight_) * rng.normal();
  VectorXd normal(q);
  for (double& x : normal) x = rng.normal();
  const Eigen::Map<const MatrixXd> root(root_.data(), q, q);
  const VectorXd step = s * (root * normal);
  std::vector<double> beta = beta_;
  beta[0] += shift - step.dot(Eigen::Map<const VectorXd>(centre_.data(), q));
  for (Eigen::Index k = 0; k < q; ++k) beta[static_cast<std::size_t>(k) + 1] += step[k];
  QuadraticSurrogate drawn = *this;
  drawn.set_coefficients(beta);
  return drawn;
}

QuadraticSurrogate QuadraticSurrogate::fit_linked(std::span<const Observation> observations,
                                                  const SurrogateOptions& options,
                                                  const Linked& linked) {
  const std::size_t n = observations.front().x.size();
  const std::size_t count = observations.size();
  QuadraticSurrogate result;
  result.low_ = options.low;
  result.high_ = options.high;
  result.simplex_ = options.simplex;
  result.linear_.assign(n, 0);
  result.quadratic_.assign(n * n, 0);
  result.mean_weight_ = linked.mean_variance;
  Diagnostics& diagnostics = result.diagnostics_;
  diagnostics.link = linked.link;
  diagnostics.observations = count;
  diagnostics.wanted = quadratic_terms(n, options.simplex);
  diagnostics.varies = linked.z.maxCoeff() > linked.z.minCoeff();

  // The richest form that the design carries.
  VectorXd z = linked.z, weights = linked.weights;
  MatrixXd design;
  std::optional<LinearFit> fit;
  for (const QuadraticForm form : {QuadraticForm::full, QuadraticForm::diagonal,
                                   QuadraticForm::linear, QuadraticForm::constant}) {
    const std::size_t terms = terms_of(form, n, options.simplex);
    if (form == QuadraticForm::diagonal && options.simplex) continue;
    const std::size_t needed = terms + 1 + (form == QuadraticForm::full ? 0 : least_freedom);
    const bool last = form == QuadraticForm::constant || !diagnostics.varies;
    if (!last && form != QuadraticForm::full && count < needed) continue;
    diagnostics.form = diagnostics.varies ? form : QuadraticForm::constant;
    design = design_of(diagnostics.form, observations, options.simplex);
    const std::size_t linear =
        std::min<std::size_t>(options.simplex ? n - 1 : n, static_cast<std::size_t>(design.cols()));
    fit.emplace(design, z, weights, linear);
    if (form == QuadraticForm::full) diagnostics.rank = fit->rank() + 1;
    if (last) break;
    if (fit->rank() == terms && count >= needed) break;
  }
  diagnostics.terms = static_cast<std::size_t>(design.cols()) + 1;

  double penalty = penalties[0] * static_cast<double>(count);
  if (options.metric_space) {
    // Gauss-Newton: a weighted linear fit of the working response, halving steps that do not pay.
    const auto linear =
        std::min<std::size_t>(options.simplex ? n - 1 : n, static_cast<std::size_t>(design.cols()));
    result.set_coefficients(fit->coefficients(penalty));
    const auto error = [&](const QuadraticSurrogate& model) {
      double sum = 0;
      for (const Observation& o : observations) {
        sum += (o.value - model.mean(o.x)) * (o.value - model.mean(o.x));
      }
      return sum;
    };
    double best = error(result);
    for (int iteration = 0; iteration < 50; ++iteration) {
      VectorXd response(z.size()), working(z.size());
      for (std::size_t i = 0; i < count; ++i) {
        const auto row = static_cast<Eigen::Index>(i);
        const double at = result.eta(observations[i].x);
        const double s = std::max(result.slope(at), 1e-6 * (options.high - options.low));
        working[row] = s * s;
        response[row] = at + (observations[i].value - result.inverse_link(at)) / s;
      }
      working /= working.mean();
      const LinearFit next(design, response, working, linear);
      const std::vector<double> from = result.beta_;
      const std::vector<double> to = next.coefficients(penalty);
      double step = 1, reached = infinity;
      for (; step > 1e-3; step /= 2) {
        std::vector<double> beta = from;
        for (std::size_t k = 0; k < beta.size(); ++k) beta[k] += step * (to[k] - from[k]);
        result.set_coefficients(beta);
        reached = error(result);
        if (reached < best) break;
      }
      if (!(reached < best)) {
        result.set_coefficients(from);
        break;
      }
      z = response;
      weights = working;
      const bool done = reached > best * (1 - 1e-9);
      best = reached;
      if (done) break;
    }
    const std::vector<double> beta = result.beta_;
    fit.emplace(design, z, weights, linear);
    result.set_coefficients(beta);
  } else {
    double least = infinity;
    const bool is_short = 2 * count < 3 * diagnostics.terms;
    for (const double candidate : penalties) {
      if (is_short && candidate < least_penalty_when_short) continue;
      const double error = fit->press(candidate * static_cast<double>(count));
      if (error < least) {
        least = error;
        penalty = candidate * static_cast<double>(count);
      }
    }
    result.set_coefficients(fit->coefficients(penalty));
  }
  diagnostics.penalty = penalty / static_cast<double>(count);

  // Posterior, and what leaving one out says.
  const VectorXd shrunk = (fit->strengths.array() + penalty).matrix();
  const double effective = 1 + fit->strengths.cwiseQuotient(shrunk).sum();
  diagnostics.degrees_of_freedom = static_cast<double>(count) - effective;
  diagnostics.leverage = fit->leverages(penalty).maxCoeff();
  if (fit->strengths.size() > 0) {
    diagnostics.condition =
        std::sqrt(fit->strengths.maxCoeff() / std::max(fit->strengths.minCoeff(), 1e-300));
  }
  const VectorXd residuals = fit->targets - fit->scores * fit->along_axes(penalty);
  // What is left out misses by s2 / (1 - leverage), so that s2 holds where the model is
  // misspecified.
  const VectorXd free = (1 - fit->leverages(penalty).array()).max(1e-6).matrix();
  result.s2_ = residuals.cwiseAbs2().cwiseQuotient(free).mean();
  const double freedom = std::max(diagnostics.degrees_of_freedom, 3.0);
  result.tails_ = freedom / (freedom - 2);
  result.weight_ = fit->total;
  result.centre_.assign(fit->centre.begin(), fit->centre.end());
  const MatrixXd root = fit->scale.cwiseInverse().asDiagonal() * fit->axes *
                        shrunk.cwiseSqrt().cwiseInverse().asDiagonal();
  result.root_.assign(root.data(), root.data() + root.size());

  const VectorXd loo = fit->loo_residuals(penalty);
  double mean = 0, total = 0, in_sample = 0, left_out = 0;
  for (const Observation& o : observations) mean += o.value / static_cast<double>(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double value = observations[i].value;
    const double missed = value - result.inverse_link(z[static_cast<Eigen::Index>(i)] -
                                                      loo[static_cast<Eigen::Index>(i)]);
    const double off = value - result.mean(observations[i].x);
    total += (value - mean) * (value - mean);
    in_sample += off * off;
    left_out += missed * missed;
  }
  diagnostics.loo_rmse = std::sqrt(left_out / static_cast<double>(count));
  diagnostics.r2 = total > 0 ? 1 - in_sample / total : 0;
  diagnostics.loo_r2 = total > 0 ? 1 - left_out / total : 0;
  const Eigen::Map<const MatrixXd> a(result.quadratic_.data(), static_cast<Eigen::Index>(n),
                                     static_cast<Eigen::Index>(n));
  const VectorXd eigenvalues =
      Eigen::SelfAdjointEigenSolver<MatrixXd>(a, Eigen::EigenvaluesOnly).eigenvalues();
  diagnostics.eigenvalues.assign(eigenvalues.begin(), eigenvalues.end());
  return result;
}

QuadraticSurrogate QuadraticSurrogate::fit(std::span<const Observation> observations,
                                           const SurrogateOptions& options) {
  const std::size_t count = observations.size();
  bool bounded = true, positive = true, errors = true;
  for (const Observation& o : observations) {
    bounded = bounded && o.value >= options.low && o.value <= options.high;
    positive = positive && o.value > options.low;
    errors = errors && o.standard_error > 0;
  }
  const auto linked = [&](Link link) {
    Linked result{link, VectorXd(static_cast<Eigen::Index>(count)),
                  VectorXd(static_cast<Eigen::Index>(count))};
    const double range = options.high - options.low;
    double samples = options.samples;
    if (samples <= 0 && errors && link == Link::logit) {
      std::vector<double> sizes;
      for (const Observation& o : observations) {
        const double u = unit(o.value, options.low, options.high);
        const double e = o.standard_error / range;
        if (u > 0 && u < 1) sizes.push_back(u * (1 - u) / (e * e));
      }
      if (!sizes.empty()) {
        const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() / 2);
        std::nth_element(sizes.begin(), middle, sizes.end());
        samples = std::clamp(*middle, 1.0, 1e9);
      }
    }
    if (samples <= 0) samples = default_samples;
    double variance = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = static_cast<Eigen::Index>(i);
      const Observation& o = observations[i];
      switch (link) {
        case Link::identity:
          result.z[row] = o.value;
          result.weights[row] = errors ? 1 / (o.standard_error * o.standard_error) : 1;
          break;
        case Link::logit: {
          const double u =
              (std::clamp(unit(o.value, options.low, options.high), 0.0, 1.0) * samples + 0.5) /
              (samples + 1);
          result.z[row] = std::log(u / (1 - u));
          result.weights[row] = u * (1 - u);
          variance += u * (1 - u) / static_cast<double>(count);
          break;
        }
        case Link::log:
          result.z[row] = std::log(std::max(o.value - options.low, 1e-300));
          result.weights[row] = errors ? (o.value - options.low) * (o.value - options.low) /
                                             (o.standard_error * o.standard_error)
                                       : 1;
          break;
      }
    }
    // Standard errors that differ wildly say more about themselves than about the model's error.
    const double typical = result.weights.mean();
    result.weights = result.weights.cwiseMin(4 * typical).cwiseMax(typical / 16);
    result.weights /= result.weights.mean();
    if (link == Link::logit) result.mean_variance = variance;
    return result;
  };
  QuadraticSurrogate best =
      fit_linked(observations, options, linked(options.link.value_or(Link::identity)));
  double least = link_gain * best.diagnostics_.loo_rmse;
  const auto try_link = [&](Link link) {
    QuadraticSurrogate other = fit_linked(observations, options, linked(link));
    if (!(other.diagnostics_.loo_rmse < least)) return;
    least = other.diagnostics_.loo_rmse;
    best = std::move(other);
  };
  if (!options.link && bounded) try_link(Link::logit);
  if (!options.link && positive && !bounded) try_link(Link::log);
  best.learn_errors(observations, options.samples);
  return best;
}

}  // namespace paretod
