#include "optimizers/map_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "optimizers/map_paper.hpp"
#include "optimizers/nsga3.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Points whose prediction is so many times less sure than that of the median measured point are
/// not offered.
constexpr double deviation_limit = 3;
constexpr std::size_t coarse_directions = 32;
constexpr std::size_t neighbours = 5;

std::string text_of(double value) {
  std::ostringstream text;
  text.precision(3);
  text << value;
  return text.str();
}

SurrogateOptions options_for(const MapParams& params, bool simplex) {
  SurrogateOptions options;
  options.low = params.metric_low;
  options.high = params.metric_high;
  options.samples = static_cast<double>(params.samples);
  options.simplex = simplex;
  options.metric_space = params.paper();
  if (params.link == "identity") options.link = Link::identity;
  if (params.link == "logit") options.link = Link::logit;
  if (params.link == "log") options.link = Link::log;
  return options;
}

/// As published: by the range of the metric.  Theirs is softplus where this is the logarithm.
Link paper_link(const std::vector<Observation>& observations, const SurrogateOptions& options) {
  bool bounded = true, positive = true;
  for (const Observation& o : observations) {
    bounded = bounded && o.value >= options.low && o.value <= options.high;
    positive = positive && o.value > options.low;
  }
  return bounded ? Link::logit : positive ? Link::log : Link::identity;
}

/// The best in each objective, then again and again the point farthest from all before it
/// (Gonzalez, TCS 38, 1985): so any number of the first ones is spread over the front.
std::vector<SolverPoint> spread_first(const std::vector<SolverPoint>& front,
                                      const std::vector<double>& ideal,
                                      const std::vector<double>& ranges) {
  const std::size_t m = ideal.size();
  std::vector<double> nearest(front.size(), infinity);
  std::vector<bool> taken(front.size(), false);
  std::vector<SolverPoint> order;
  const auto take = [&](std::size_t i) {
    taken[i] = true;
    order.push_back(front[i]);
    for (std::size_t j = 0; j < front.size(); ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < m; ++k) {
        const double d = (front[i].y[k] - front[j].y[k]) / ranges[k];
        sum += d * d;
      }
      nearest[j] = std::min(nearest[j], sum);
    }
  };
  for (std::size_t k = 0; k < m; ++k) {
    const auto best = std::min_element(
        front.begin(), front.end(), [k](const auto& a, const auto& b) { return a.y[k] < b.y[k]; });
    const auto i = static_cast<std::size_t>(best - front.begin());
    if (!taken[i]) take(i);
  }
  while (true) {
    std::size_t farthest = front.size();
    for (std::size_t i = 0; i < front.size(); ++i) {
      // What is all but the same point is of no use.
      if (taken[i] || !(nearest[i] > 1e-8)) continue;
      if (farthest == front.size() || nearest[i] > nearest[farthest]) farthest = i;
    }
    if (farthest == front.size()) return order;
    take(farthest);
  }
}

}  // namespace

void Feasibility::add(std::vector<double> x, double infeasible) {
  if (infeasible >= 0.5) ++infeasible_;
  tried_.push_back({std::move(x), infeasible});
}

double Feasibility::probability(std::span<const double> x) const {
  if (infeasible_ == 0) return 1;
  std::vector<std::pair<double, double>> near;  // squared distance, infeasible
  for (const Tried& tried : tried_) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - tried.x[i]) * (x[i] - tried.x[i]);
    near.emplace_back(sum, tried.infeasible);
  }
  const std::size_t count = std::min(neighbours, near.size());
  std::partial_sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(count), near.end());
  double total = 0, good = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double weight = 1 / (near[i].first + 1e-6);
    total += weight;
    good += weight * (1 - near[i].second);
  }
  return good / total;
}

// ---- fitting -----------------------------------------------------------------------------------

MapModel::MapModel(const SearchProblem& problem, const MapParams& params)
    : space_(problem.space),
      objectives_(problem.objectives),
      seed_(problem.seed),
      paper_(params.paper()) {
  for (const Objective& objective : objectives_) {
    signs_.push_back(objective.goal == Goal::maximize ? -1 : 1);
  }
}

Result<std::shared_ptr<const MapModel>> MapModel::fit(const SearchProblem& problem,
                                                      const MapParams& params,
                                                      const std::vector<Trial>& trials,
                                                      Front front) {
  const std::shared_ptr<MapModel> model(new MapModel(problem, params));
  model->take_in(problem, params, trials);
  if (model->measured_.empty()) {
    return Error{ErrorKind::unavailable,
                 "there is no surrogate yet: no trial of the job has been measured"};
  }
  model->fit_surrogates(params);
  model->find_front(params, front);
  model->describe_models();
  if (front != Front::none) model->judge();
  model->warn();
  return std::shared_ptr<const MapModel>(model);
}

/// Replicates of a point become their mean; what could not be measured goes to the feasibility
/// model only: made-up values would bend the surrogates everywhere.
void MapModel::take_in(const SearchProblem& problem, const MapParams& params,
                       const std::vector<Trial>& trials) {
  std::map<TrialNumber, const Trial*> by_number;
  for (const Trial& trial : problem.known) by_number.emplace(trial.number, &trial);
  for (const Trial& trial : trials) by_number.emplace(trial.number, &trial);
  struct AtPoint {
    std::vector<const Trial*> measured;
    std::size_t infeasible = 0, failed = 0;
  };
  std::map<Point, AtPoint> points;
  for (const auto& [number, trial] : by_number) {
    if (trial->candidate.fidelity != static_cast<std::uint64_t>(params.fidelity)) {
      ++ignored_;
      continue;
    }
    AtPoint& at = points[trial->candidate.point];
    if (trial->status == TrialStatus::failed) ++at.failed;
    if (trial->status == TrialStatus::infeasible || (trial->ok() && trial->violation() > 0)) {
      ++at.infeasible;
    } else if (trial->ok()) {
      at.measured.push_back(trial);
    }
  }
  for (const auto& [point, at] : points) {
    std::vector<double> x = space_.scaled(point);
    if (!at.measured.empty()) {
      feasibility_.add(x, 0);
    } else if (at.infeasible > 0) {
      feasibility_.add(x, 1);
    } else if (at.failed > 0) {
      feasibility_.add(x, at.failed > 1 ? 1 : 0.5);  // once: perhaps the worker's fault
    }
    if (at.measured.empty()) continue;
    MapMeasurement measured{std::move(x), {}, {}, at.measured.front()->number};
    const auto count = static_cast<double>(at.measured.size());
    for (std::size_t k = 0; k < objectives_.size(); ++k) {
      double sum = 0, variance = 0;
      bool errors = true;
      for (const Trial* trial : at.measured) {
        sum += trial->objectives[k];
        const double error = trial->standard_errors[k];
        errors = errors && error >= 0;
        variance += error * error;
      }
      measured.means.push_back(signs_[k] * sum / count);
      measured.standard_errors.push_back(errors ? std::sqrt(variance) / count : -1);
    }
    measured_.push_back(std::move(measured));
  }
}

void MapModel::fit_surrogates(const MapParams& params) {
  SurrogateOptions options = options_for(params, space_.simplex());
  std::vector<Observation> observations(measured_.size());
  for (std::size_t i = 0; i < measured_.size(); ++i) observations[i].x = measured_[i].x;
  for (std::size_t k = 0; k < objectives_.size(); ++k) {
    for (std::size_t i = 0; i < measured_.size(); ++i) {
      observations[i].value = measured_[i].means[k];
      observations[i].standard_error = measured_[i].standard_errors[k];
    }
    if (params.paper() && params.link == "auto") options.link = paper_link(observations, options);
    surrogates_.push_back(QuadraticSurrogate::fit(observations, options));
    std::vector<double> deviations;
    for (const MapMeasurement& measured : measured_) {
      deviations.push_back(surrogates_.back().predict(measured.x).sd);
    }
    const auto middle = deviations.begin() + static_cast<std::ptrdiff_t>(deviations.size() / 2);
    std::nth_element(deviations.begin(), middle, deviations.end());
    deviation_limits_.push_back(deviation_limit * *middle);
  }
}

void MapModel::find_front(const MapParams& params, Front front) {
  const std::size_t n = space_.dimension(), m = objectives_.size();
  domain_.simplex = space_.simplex();
  domain_.low.assign(n, infinity);
  domain_.high.assign(n, -infinity);
  std::vector<std::vector<double>> seeds;
  for (const MapMeasurement& measured : measured_) {
    for (std::size_t d = 0; d < n; ++d) {
      domain_.low[d] = std::min(domain_.low[d], measured.x[d]);
      domain_.high[d] = std::max(domain_.high[d], measured.x[d]);
    }
    seeds.push_back(measured.x);
  }
  solver_ =
      std::make_shared<const FrontSolver>(surrogates_, signs_, domain_, seeds,
                                          [this](std::span<const double> x) { return allowed(x); });
  std::vector<std::vector<double>> directions;
  if (front != Front::none) directions = usual_directions(m);
  if (front == Front::coarse && directions.size() > coarse_directions) {
    for (std::size_t i = 0; i < coarse_directions; ++i) {
      directions[i] = directions[i * directions.size() / coarse_directions];
    }
    directions.resize(coarse_directions);
  }
  const std::vector<SolverPoint> found = params.paper() && front != Front::none
                                             ? paper_front(*solver_, domain_, seed_)
                                             : solver_->front(directions);
  ideal_.assign(m, infinity);
  std::vector<double> nadir(m, -infinity);
  for (const SolverPoint& p : found) {
    for (std::size_t k = 0; k < m; ++k) {
      ideal_[k] = std::min(ideal_[k], p.y[k]);
      nadir[k] = std::max(nadir[k], p.y[k]);
    }
  }
  for (std::size_t k = 0; k < m; ++k) {
    ranges_.push_back(nadir[k] > ideal_[k] ? nadir[k] - ideal_[k] : 1);
    summary_.ideal.push_back(signs_[k] * ideal_[k]);
    summary_.nadir.push_back(signs_[k] * nadir[k]);
  }
  front_ = spread_first(found, ideal_, ranges_);
}

bool MapModel::allowed(std::span<const double> x) const {
  for (std::size_t d = 0; d < x.size() && !domain_.simplex; ++d) {
    if (x[d] < domain_.low[d] - 1e-9 || x[d] > domain_.high[d] + 1e-9) return false;
  }
  if (feasibility_.probability(x) < 0.5) return false;
  for (std::size_t k = 0; k < surrogates_.size(); ++k) {
    if (surrogates_[k].predict(x).sd > deviation_limits_[k] * (1 + 1e-9)) return false;
  }
  return true;
}

// ---- saying what was found ---------------------------------------------------------------------

void MapModel::describe_models() {
  summary_.scaling = space_.simplex() ? "shares" : "box";
  for (const Coordinate& c : space_.space().coordinates()) {
    summary_.low.push_back(c.low);
    summary_.high.push_back(c.high);
    summary_.log_scale.push_back(c.log_scale);
  }
  Point low(space_.dimension(), infinity), high(space_.dimension(), -infinity);
  for (const MapMeasurement& measured : measured_) {
    const Point point = space_.point(measured.x);
    for (std::size_t d = 0; d < point.size(); ++d) {
      low[d] = std::min(low[d], point[d]);
      high[d] = std::max(high[d], point[d]);
    }
  }
  summary_.sampled_low = std::move(low);
  summary_.sampled_high = std::move(high);
  summary_.observations = measured_.size();
  summary_.infeasible = feasibility_.infeasible();
  for (std::size_t k = 0; k < surrogates_.size(); ++k) {
    const QuadraticSurrogate& fitted = surrogates_[k];
    const QuadraticSurrogate::Diagnostics& d = fitted.diagnostics();
    ObjectiveModel model;
    model.link = name_of(d.link);
    model.low = fitted.low();
    model.high = fitted.high();
    model.form = name_of(d.form);
    model.constant = fitted.constant();
    model.linear = fitted.linear();
    model.quadratic = fitted.quadratic();
    model.eigenvalues = d.eigenvalues;
    model.observations = d.observations;
    model.terms = d.terms;
    model.wanted_terms = d.wanted;
    model.rank = d.rank;
    model.condition = d.condition;
    model.leverage = d.leverage;
    model.degrees_of_freedom = d.degrees_of_freedom;
    model.penalty = d.penalty;
    model.r2 = d.r2;
    model.loo_r2 = d.loo_r2;
    model.loo_rmse = d.loo_rmse;
    const SolverPoint& best = solver_->best(k);
    model.best = space_.point(best.x);
    const Prediction prediction = fitted.predict(best.x);
    model.best_mean = prediction.mean;
    model.best_deviation = prediction.measured_sd;
    summary_.objectives.push_back(std::move(model));
  }
}

void MapModel::judge() {
  MapVerdict verdict = map_verdict(objectives_, surrogates_, signs_, *solver_, front_, measured_);
  summary_.verdict = std::move(verdict.verdict);
  summary_.verdict_reason = std::move(verdict.reason);
}

void MapModel::warn() {
  const auto warning = [&](std::string text) { summary_.warnings.push_back(std::move(text)); };
  for (std::size_t k = 0; k < surrogates_.size(); ++k) {
    const std::string& name = objectives_[k].name;
    const QuadraticSurrogate::Diagnostics& d = surrogates_[k].diagnostics();
    if (!d.varies) {
      warning(name + " has the same value at all " + std::to_string(d.observations) +
              " measured points: nothing can be learnt about it; is it the right metric?");
      continue;
    }
    if (d.form != QuadraticForm::full) {
      warning(name + ": " + std::to_string(d.observations) + " measured points of rank " +
              std::to_string(d.rank) + " do not carry the " + std::to_string(d.wanted) +
              " coefficients of a quadratic; the model is " + std::string(name_of(d.form)));
    } else if (d.condition > 1e3) {
      warning(name + ": the design is nearly short of rank (condition " + text_of(d.condition) +
              ")");
    } else if (d.leverage > 0.999) {
      warning(name + ": a single measurement decides a coefficient (leverage " +
              text_of(d.leverage) + ")");
    }
    if (d.loo_r2 < telling_r2) {
      warning(name + " is predicted badly (leave-one-out R2 " + text_of(d.loo_r2) +
              "): a quadratic may not suit it, or its noise is too large");
    }
  }
  if (ignored_ > 0) {
    warning(std::to_string(ignored_) +
            " trials were evaluated at another fidelity than the job's and are left out");
  }
}

}  // namespace paretod
