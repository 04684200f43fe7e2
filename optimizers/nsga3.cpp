#include "optimizers/nsga3.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>

#include "optimizers/usual_population.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double least_range = 1e-6;

void split(std::size_t left, std::size_t divisions, std::vector<double>& direction,
           std::size_t objectives, std::vector<std::vector<double>>& directions) {
  if (direction.size() + 1 == objectives) {
    direction.push_back(static_cast<double>(left) / static_cast<double>(divisions));
    directions.push_back(direction);
    direction.pop_back();
    return;
  }
  for (std::size_t part = 0; part <= left; ++part) {
    direction.push_back(static_cast<double>(part) / static_cast<double>(divisions));
    split(left - part, divisions, direction, objectives, directions);
    direction.pop_back();
  }
}

std::vector<std::vector<double>> directions_for(std::size_t objectives, std::size_t divisions) {
  return divisions > 0 ? reference_directions(objectives, divisions) : usual_directions(objectives);
}

/// The x with A x = 1, by Gaussian elimination; empty when A is singular.
std::vector<double> solve_for_ones(std::vector<std::vector<double>> a) {
  const std::size_t n = a.size();
  std::vector<double> x(n, 1);
  for (std::size_t column = 0; column < n; ++column) {
    std::size_t pivot = column;
    for (std::size_t row = column + 1; row < n; ++row) {
      if (std::abs(a[row][column]) > std::abs(a[pivot][column])) pivot = row;
    }
    if (!(std::abs(a[pivot][column]) > 1e-12)) return {};
    std::swap(a[pivot], a[column]);
    std::swap(x[pivot], x[column]);
    for (std::size_t row = column + 1; row < n; ++row) {
      const double factor = a[row][column] / a[column][column];
      for (std::size_t k = column; k < n; ++k) a[row][k] -= factor * a[column][k];
      x[row] -= factor * x[column];
    }
  }
  for (std::size_t row = n; row-- > 0;) {
    for (std::size_t k = row + 1; k < n; ++k) x[row] -= a[row][k] * x[k];
    x[row] /= a[row][row];
  }
  return x;
}

/// Each member belongs to the reference direction that it is nearest to, in objectives scaled by
/// the ideal point and the intercepts of the hyperplane through the extreme points (Deb and Jain,
/// algorithms 2 to 4).  Of the last front, the member farthest from the most crowded direction
/// goes.
class ReferenceSurvival final : public Survival {
 public:
  explicit ReferenceSurvival(std::vector<std::vector<double>> directions)
      : directions_(std::move(directions)), ideal_(directions_[0].size(), infinity) {
    for (const auto& w : directions_) {
      double squares = 0;
      for (const double x : w) squares += x * x;
      lengths_.push_back(std::sqrt(squares));
    }
    niche_counts_.resize(directions_.size());
  }

  std::size_t worst(const RankedPopulation& population) override {
    const bool moved = update_scale(population);
    if (moved) niches_.clear();
    for (std::size_t i = niches_.size(); i < population.size(); ++i) {
      niches_.push_back(associate(population[i].objectives));
    }
    std::fill(niche_counts_.begin(), niche_counts_.end(), 0);
    for (const Niche& niche : niches_) ++niche_counts_[niche.direction];
    std::optional<std::size_t> worst;
    for (std::size_t i = 0; i < population.size(); ++i) {
      if (population.rank(i) != population.worst_rank()) continue;
      if (!worst || crowded_more(i, *worst)) worst = i;
    }
    return *worst;
  }

  void removed(std::size_t i) override {
    --niche_counts_[niches_[i].direction];
    niches_[i] = niches_.back();
    niches_.pop_back();
  }

  [[nodiscard]] bool prefers(std::size_t a, std::size_t b) const override {
    return a < niches_.size() && b < niches_.size() && crowded_more(b, a);
  }

 private:
  struct Niche {
    std::size_t direction = 0;
    double distance = 0;
  };

  [[nodiscard]] bool crowded_more(std::size_t a, std::size_t b) const {
    const std::size_t count_a = niche_counts_[niches_[a].direction];
    const std::size_t count_b = niche_counts_[niches_[b].direction];
    return count_a != count_b ? count_a > count_b : niches_[a].distance > niches_[b].distance;
  }

  [[nodiscard]] Niche associate(const std::vector<double>& objectives) const {
    const std::size_t m = ideal_.size();
    std::vector<double> scaled(m);
    double squares = 0;
    for (std::size_t k = 0; k < m; ++k) {
      scaled[k] = (objectives[k] - ideal_[k]) / range_[k];
      squares += scaled[k] * scaled[k];
    }
    Niche niche;
    double longest = -infinity;
    for (std::size_t d = 0; d < directions_.size(); ++d) {
      double along = 0;
      for (std::size_t k = 0; k < m; ++k) along += scaled[k] * directions_[d][k];
      along /= lengths_[d];
      if (along > longest) {
        longest = along;
        niche.direction = d;
      }
    }
    niche.distance = std::max(0.0, squares - longest * longest);
    return niche;
  }

  /// True when the scale is another one than before.
  bool update_scale(const RankedPopulation& population) {
    const std::size_t m = ideal_.size();
    std::vector<double> front_worst(m, -infinity);
    std::vector<double> all_worst(m, -infinity);
    const auto old_ideal = ideal_;
    for (std::size_t i = 0; i < population.size(); ++i) {
      const std::vector<double>& y = population[i].objectives;
      for (std::size_t k = 0; k < m; ++k) {
        if (population.rank(i) == 0) {
          ideal_[k] = std::min(ideal_[k], y[k]);
          front_worst[k] = std::max(front_worst[k], y[k]);
        }
        all_worst[k] = std::max(all_worst[k], y[k]);
      }
    }
    update_extremes(population);
    std::vector<double> range(m);
    const std::vector<double> intercepts = solve_for_ones(shifted_extremes());
    for (std::size_t k = 0; k < m; ++k) {
      range[k] = intercepts.empty() ? -1 : 1 / intercepts[k];
      const double widest = all_worst[k] - ideal_[k];
      if (!(range[k] > least_range) || range[k] > widest) range[k] = front_worst[k] - ideal_[k];
      if (!(range[k] > least_range)) range[k] = widest;
      if (!(range[k] > least_range)) range[k] = 1;
    }
    const bool moved = range != range_ || ideal_ != old_ideal;
    range_ = std::move(range);
    return moved;
  }

  [[nodiscard]] double achievement(const std::vector<double>& y, std::size_t axis) const {
    double worst = -infinity;
    for (std::size_t k = 0; k < y.size(); ++k) {
      worst = std::max(worst, (y[k] - ideal_[k]) / (k == axis ? 1 : 1e-6));
    }
    return worst;
  }

  void update_extremes(const RankedPopulation& population) {
    extremes_.resize(ideal_.size());
    for (std::size_t axis = 0; axis < extremes_.size(); ++axis) {
      double best = extremes_[axis].empty() ? infinity : achievement(extremes_[axis], axis);
      for (std::size_t i = 0; i < population.size(); ++i) {
        if (population.rank(i) > 0) continue;
        const double value = achievement(population[i].objectives, axis);
        if (value < best) {
          best = value;
          extremes_[axis] = population[i].objectives;
        }
      }
    }
  }

  [[nodiscard]] std::vector<std::vector<double>> shifted_extremes() const {
    auto shifted = extremes_;
    for (auto& y : shifted) {
      for (std::size_t k = 0; k < y.size(); ++k) y[k] -= ideal_[k];
    }
    return shifted;
  }

  const std::vector<std::vector<double>> directions_;
  std::vector<double> lengths_;
  std::vector<double> ideal_;
  std::vector<double> range_;
  std::vector<std::vector<double>> extremes_;
  std::vector<Niche> niches_;  ///< by place in the population
  std::vector<std::size_t> niche_counts_;
};

constexpr std::size_t least_population = 4;

std::size_t population_of(const SearchProblem& problem, const Nsga3Params& params) {
  if (params.population > 0) return static_cast<std::size_t>(params.population);
  const std::size_t directions =
      directions_for(problem.objectives.size(), static_cast<std::size_t>(params.divisions)).size();
  return usual_population(directions, problem.trials, std::min(directions, least_population));
}

Problems check_nsga3(const SearchProblem& problem, const Nsga3Params& params) {
  constexpr double most_directions = 10'000;
  const std::size_t objectives = problem.objectives.size();
  if (objectives < 2) {
    return {{"/objectives",
             "nsga3 spreads a front of at least two objectives; use \"nsga2\" or \"cmaes\""}};
  }
  double directions = 1;  // (divisions + objectives - 1) choose (objectives - 1)
  for (std::size_t k = 1; k < objectives; ++k) {
    directions *= static_cast<double>(static_cast<std::size_t>(params.divisions) + k) /
                  static_cast<double>(k);
  }
  if (directions > most_directions) {
    return {{"/optimizer/params/divisions", "makes more than 10000 reference directions with " +
                                                std::to_string(objectives) + " objectives"}};
  }
  const std::size_t population = population_of(problem, params);
  if (population < least_population) {
    return params.population > 0
               ? Problems{{"/optimizer/params/population",
                           "must be at least 4, or 0 for one per reference direction"}}
               : Problems{
                     {"/optimizer/params/divisions", "makes fewer than 4 reference directions"}};
  }
  return check_population(population, params.population > 0, problem.trials);
}

Report run_nsga3(const SearchProblem& problem, const Nsga3Params& params,
                 Evaluations& evaluations) {
  return search_along(
      directions_for(problem.objectives.size(), static_cast<std::size_t>(params.divisions)),
      population_of(problem, params), problem, params, evaluations);
}

}  // namespace

std::vector<std::vector<double>> reference_directions(std::size_t objectives,
                                                      std::size_t divisions) {
  std::vector<std::vector<double>> directions;
  std::vector<double> direction;
  split(divisions, divisions, direction, objectives, directions);
  return directions;
}

/// Two layers where one without inner points would be all edges (Deb and Jain, section V-A).
std::vector<std::vector<double>> usual_directions(std::size_t objectives) {
  constexpr std::size_t usual[] = {0, 0, 99, 12, 8, 6, 4};
  if (objectives < std::size(usual)) return reference_directions(objectives, usual[objectives]);
  auto directions = reference_directions(objectives, 3);
  for (std::vector<double>& inner : reference_directions(objectives, 2)) {
    for (double& w : inner) w = w / 2 + 0.5 / static_cast<double>(objectives);
    directions.push_back(std::move(inner));
  }
  return directions;
}

Report search_along(const std::vector<std::vector<double>>& directions, std::size_t population,
                    const SearchProblem& problem, const SteadyStateParams& params,
                    Evaluations& evaluations) {
  ReferenceSurvival survival(directions);
  return run_steady_state(problem, params, population, survival, evaluations);
}

template <>
Fields<Nsga3Params> describe() {
  using P = Nsga3Params;
  return with_steady_state_fields(
      Fields<P>()
          .add("divisions", &P::divisions,
               "parts into which each axis of the reference directions is cut; 0: the usual number "
               "for so many objectives (12 for three, 6 for five)",
               0, 1000)
          .add("population", &P::population,
               "points that survive; 0: one per reference direction, or a quarter of a smaller "
               "budget",
               0, 10'000));
}

Optimizer nsga3_optimizer() {
  return make_optimizer<Nsga3Params>(
      "nsga3", 2,
      "NSGA-III without generations: spreads a front of three and more objectives along reference "
      "directions, for any mix of parameters.",
      "Deb and Jain, An evolutionary many-objective optimization algorithm using reference-point-"
      "based nondominated sorting approach, IEEE TEC 18(4), 2014",
      check_nsga3, run_nsga3);
}

}  // namespace paretod
