#include "optimizers/front_solver.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "optimizers/core/front.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/sobol_sequence.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t pool_size = 256;
constexpr std::uint64_t pool_seed = 1;
/// Of scaled objectives, and the weight of squared misses, level by level.
constexpr std::array<double, 4> temperatures{0.1, 0.02, 0.004, 0.001};
constexpr std::array<double, 4> penalties{10, 100, 1e3, 1e4};
/// Of misses when solutions are compared: more than what a bound can cost, and little enough that
/// what the penalties leave over does not decide.
constexpr double miss_weight = 100;
constexpr int iterations = 30;  // per level
constexpr int memory = 5;       // of the non-monotone line search
constexpr double least_direction = 0.01;
/// A weight so much smaller than the largest does not sharpen the smoothing any more.
constexpr double least_weight = 0.02;

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double term(const Scalarisation& goal, std::span<const double> y, std::size_t k) {
  return goal.weights[k] * (y[k] - goal.origin[k]) / goal.ranges[k];
}

}  // namespace

void SolverDomain::project(std::span<double> x) const {
  if (simplex) return project_to_simplex(x);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::clamp(x[i], low[i], high[i]);
}

double Scalarisation::value(std::span<const double> y) const {
  double most_term = -infinity, sum = 0;
  for (std::size_t k = 0; k < y.size(); ++k) {
    if (weights[k] == 0) continue;
    most_term = std::max(most_term, term(*this, y, k));
    sum += term(*this, y, k);
  }
  return (max_share > 0 ? max_share * most_term : 0) + sum_share * sum;
}

double Scalarisation::miss(std::span<const double> y) const {
  double sum = 0;
  for (std::size_t k = 0; k < least.size(); ++k) {
    sum += std::max({least[k] - y[k], y[k] - most[k], 0.0}) / ranges[k];
  }
  return sum;
}

FrontSolver::FrontSolver(std::vector<QuadraticSurrogate> models, std::vector<double> signs,
                         SolverDomain domain, const std::vector<std::vector<double>>& seeds,
                         std::function<bool(std::span<const double>)> allowed)
    : models_(std::move(models)),
      signs_(std::move(signs)),
      domain_(std::move(domain)),
      allowed_(std::move(allowed)) {
  const std::size_t n = models_.front().dimension();
  const auto add = [&](std::vector<double> x) {
    if (!allowed_ || allowed_(x)) pool_.push_back(point(std::move(x)));
  };
  for (const auto& x : seeds) add(x);
  SobolSequence sequence(n, pool_seed);
  for (std::size_t i = 0; i < pool_size; ++i) {
    std::vector<double> x = sequence.next();
    double sum = 0;
    for (std::size_t d = 0; d < n; ++d) {
      if (domain_.simplex) {
        sum += x[d] = -std::log1p(-x[d]);
      } else {
        x[d] = domain_.low[d] + x[d] * (domain_.high[d] - domain_.low[d]);
      }
    }
    for (std::size_t d = 0; d < n && domain_.simplex; ++d) x[d] /= sum;
    add(std::move(x));
  }
  if (pool_.empty()) {
    for (const auto& x : seeds) pool_.push_back(point(x));
  }

  const std::size_t m = models_.size();
  for (std::size_t k = 0; k < m; ++k) {
    double low = infinity, high = -infinity;
    for (const SolverPoint& p : pool_) {
      low = std::min(low, p.y[k]);
      high = std::max(high, p.y[k]);
    }
    Scalarisation alone{std::vector<double>(m, 0.0), std::vector<double>(m, low),
                        std::vector<double>(m, high > low ? high - low : 1)};
    alone.weights[k] = 1;
    alone.max_share = 0;
    alone.sum_share = 1;
    best_.push_back(minimise(alone, {}));
  }
  ideal_.assign(m, infinity);
  nadir_.assign(m, -infinity);
  for (const SolverPoint& p : best_) {
    for (std::size_t k = 0; k < m; ++k) {
      ideal_[k] = std::min(ideal_[k], p.y[k]);
      nadir_[k] = std::max(nadir_[k], p.y[k]);
    }
  }
}

/// The scalarisation at one temperature, with derivatives.
struct FrontSolver::Smooth {
  const FrontSolver& solver;
  const Scalarisation& goal;
  double temperature = 1, penalty = 1;
  std::vector<double> gradients{}, terms{}, y{};  // [m][n], [m], [m]

  double operator()(std::span<const double> x, std::span<double> gradient);
};

double FrontSolver::Smooth::operator()(std::span<const double> x, std::span<double> gradient) {
  const std::size_t n = x.size(), m = solver.models_.size();
  gradients.resize(n * m);
  terms.resize(m);
  y.resize(m);
  double most = -infinity;
  for (std::size_t k = 0; k < m; ++k) {
    if (goal.weights[k] == 0 && goal.least.empty()) continue;
    y[k] = solver.signs_[k] * solver.models_[k].mean(x, std::span(gradients).subspan(k * n, n));
    if (goal.weights[k] == 0) continue;
    terms[k] = term(goal, y, k);
    most = std::max(most, terms[k]);
  }
  double total = 0;
  for (std::size_t k = 0; k < m && goal.max_share > 0; ++k) {
    if (goal.weights[k] != 0) total += std::exp((terms[k] - most) / temperature);
  }
  double value = goal.max_share > 0 ? goal.max_share * (most + temperature * std::log(total)) : 0;
  std::fill(gradient.begin(), gradient.end(), 0.0);
  for (std::size_t k = 0; k < m; ++k) {
    double pull = 0;  // of y_k on the value
    if (goal.weights[k] != 0) {
      double share = goal.sum_share;
      if (goal.max_share > 0) {
        share += goal.max_share * std::exp((terms[k] - most) / temperature) / total;
      }
      pull = share * goal.weights[k] / goal.ranges[k];
      value += goal.sum_share * terms[k];
    }
    if (!goal.least.empty()) {
      const double over = std::max(y[k] - goal.most[k], 0.0) / goal.ranges[k];
      const double under = std::max(goal.least[k] - y[k], 0.0) / goal.ranges[k];
      value += penalty * (over * over + under * under);
      pull += 2 * penalty * (over - under) / goal.ranges[k];
    }
    if (pull == 0) continue;
    for (std::size_t d = 0; d < n; ++d) {
      gradient[d] += solver.signs_[k] * pull * gradients[k * n + d];
    }
  }
  return value;
}

std::vector<double> FrontSolver::objectives(std::span<const double> x) const {
  std::vector<double> y(models_.size());
  for (std::size_t k = 0; k < y.size(); ++k) y[k] = signs_[k] * models_[k].mean(x);
  return y;
}

SolverPoint FrontSolver::point(std::vector<double> x) const {
  std::vector<double> y = objectives(x);
  return {std::move(x), std::move(y)};
}

std::vector<SolverPoint> FrontSolver::front(
    const std::vector<std::vector<double>>& directions) const {
  const std::size_t m = models_.size();
  Scalarisation goal{std::vector<double>(m), ideal_, std::vector<double>(m, 1.0)};
  for (std::size_t k = 0; k < m; ++k) {
    if (nadir_[k] > ideal_[k]) goal.ranges[k] = nadir_[k] - ideal_[k];
  }
  // Neighbouring directions follow each other, so each solution is a start for the next.
  std::vector<SolverPoint> solved = best_;
  for (const std::vector<double>& direction : directions) {
    for (std::size_t k = 0; k < m; ++k)
      goal.weights[k] = 1 / std::max(direction[k], least_direction);
    solved.push_back(minimise(goal, solved));
  }
  ParetoArchive archive;
  for (std::size_t i = 0; i < solved.size(); ++i) archive.insert(i, solved[i].y);
  std::vector<SolverPoint> front;
  for (std::size_t i = 0; i < archive.size(); ++i) front.push_back(solved[archive.id(i)]);
  return front;
}

SolverPoint FrontSolver::minimise(const Scalarisation& goal,
                                  std::span<const SolverPoint> starts) const {
  const auto rating = [&](const SolverPoint& p) {
    return goal.value(p.y) + miss_weight * goal.miss(p.y);
  };
  const SolverPoint* start = nullptr;
  double least = infinity;
  const auto consider = [&](const SolverPoint& p) {
    const double value = rating(p);
    if (start != nullptr && !(value < least)) return;
    least = value;
    start = &p;
  };
  for (const SolverPoint& p : starts) consider(p);
  for (const SolverPoint& p : pool_) consider(p);
  SolverPoint found = descend(goal, *start);
  return rating(found) < least ? found : *start;
}

SolverPoint FrontSolver::descend(const Scalarisation& goal, const SolverPoint& start) const {
  std::vector<double> x = start.x;
  double smallest = infinity, largest = 0;
  for (const double w : goal.weights) {
    if (w != 0) smallest = std::min(smallest, w);
    largest = std::max(largest, w);
  }
  Smooth smooth{*this, goal};
  for (std::size_t i = 0; i < temperatures.size(); ++i) {
    // A sum is smooth already; bounds still need their penalties.
    if (goal.max_share == 0 && goal.least.empty() && i > 0) break;
    smooth.temperature = temperatures[i] * std::max(smallest, least_weight * largest);
    smooth.penalty = penalties[i];
    level(smooth, x);
  }
  if (allowed_ && !allowed_(x)) {
    std::vector<double> inside = start.x, outside = x;
    for (int halving = 0; halving < 10; ++halving) {
      for (std::size_t d = 0; d < x.size(); ++d) x[d] = (inside[d] + outside[d]) / 2;
      (allowed_(x) ? inside : outside) = x;
    }
    x = inside;
  }
  return point(std::move(x));
}

/// Spectral projected gradients.
void FrontSolver::level(Smooth& smooth, std::vector<double>& x) const {
  const std::size_t n = x.size();
  std::vector<double> gradient(n), next_gradient(n), step(n), next(n);
  double value = smooth(x, gradient);
  std::array<double, memory> recent;
  recent.fill(value);
  double length = 0;
  for (int iteration = 0; iteration < iterations; ++iteration) {
    if (iteration == 0) {
      double widest = 0;
      for (const double g : gradient) widest = std::max(widest, std::abs(g));
      if (!(widest > 0)) return;
      length = 0.1 / widest;
    }
    next = x;
    for (std::size_t d = 0; d < n; ++d) next[d] -= length * gradient[d];
    domain_.project(next);
    double longest = 0;
    for (std::size_t d = 0; d < n; ++d) {
      step[d] = next[d] - x[d];
      longest = std::max(longest, std::abs(step[d]));
    }
    if (longest < 1e-7) return;
    const double slope = dot(gradient, step);
    const double bar = *std::max_element(recent.begin(), recent.end());
    double share = 1, reached = infinity;
    for (int halving = 0; halving < 12; ++halving, share /= 2) {
      for (std::size_t d = 0; d < n; ++d) next[d] = x[d] + share * step[d];
      reached = smooth(next, next_gradient);
      if (reached <= bar + 1e-4 * share * slope) break;
    }
    if (!(reached <= bar)) return;
    double ss = 0, sy = 0;
    for (std::size_t d = 0; d < n; ++d) {
      ss += (next[d] - x[d]) * (next[d] - x[d]);
      sy += (next[d] - x[d]) * (next_gradient[d] - gradient[d]);
    }
    length = sy > 0 ? std::clamp(ss / sy, 1e-8, 1e4) : 10 * length;
    x = next;
    gradient = next_gradient;
    value = reached;
    recent[static_cast<std::size_t>(iteration) % memory] = value;
  }
}

}  // namespace paretod
