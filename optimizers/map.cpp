#include "optimizers/map.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "optimizers/core/front.hpp"
#include "optimizers/hypervolume_gain.hpp"
#include "optimizers/map_bins.hpp"
#include "optimizers/map_design.hpp"
#include "optimizers/map_model.hpp"
#include "optimizers/map_nested.hpp"
#include "optimizers/map_report.hpp"
#include "optimizers/map_space.hpp"
#include "optimizers/quadratic_surrogate.hpp"

namespace paretod {
namespace {

constexpr std::size_t least_verified = 3;
/// Of the budget at most: what is measured where the models already see the front tells more.
constexpr double design_share = 0.5;
constexpr double bayesian_design = 0.4, bayesian_end = 0.7;
constexpr std::size_t paper_rounds = 4;
constexpr std::uint64_t replacement_stream = 301;
constexpr double ninety_percent = 1.6448536269514722;
constexpr double coverage_to_stop = 0.9;

/// Of a full quadratic: so many points at least are measured before the first fit.
std::size_t coefficients(const SearchProblem& problem) {
  const bool simplex = problem.space.parameters().front().type == ParameterType::simplex;
  return quadratic_terms(problem.space.dimension(), simplex);
}

/// Whether the surrogates learn from it.
bool counts(const Trial& trial, const MapParams& params) {
  return trial.ok() && trial.violation() <= 0 &&
         trial.candidate.fidelity == static_cast<std::uint64_t>(params.fidelity);
}

/// Design, then verification of what the surrogates predict, without barriers: whenever a slot is
/// free it gets the next point that the measurements so far suggest.
class Map {
 public:
  Map(const SearchProblem& problem, const MapParams& params, Evaluations& evaluations)
      : problem_(problem),
        params_(params),
        evaluations_(evaluations),
        space_(problem.space),
        round_(params.round > 0 ? static_cast<std::size_t>(params.round)
                                : std::max<std::size_t>(4, problem.objectives.size())) {
    for (const Trial& trial : problem.known) {
      known_.push_back(space_.scaled(trial.candidate.point));
      if (counts(trial, params)) ++measured_;
    }
    plan_design();
  }

  Report run() {
    try {
      while (true) {
        while (!ending_ && evaluations_.slot_free() && ask()) {
        }
        if (evaluations_.in_flight() == 0) break;
        receive(evaluations_.next());
      }
    } catch (const Stagnated&) {
      reason_ = "stagnation";
      while (evaluations_.in_flight() > 0) receive(evaluations_.next());
    }
    return map_report(problem_, params_, model(), trials_, reason_);
  }

 private:
  struct Asked {
    Candidate candidate;
    std::vector<double> x;
    std::optional<std::vector<Prediction>> prediction;  // when it was verification
    bool retry = false;
  };

  // ---- the design ------------------------------------------------------------------------------

  void plan_design() {
    for (const Point& point : problem_.initial) add_to_design(space_.scaled(point), point);
    const std::size_t p = coefficients(problem_);
    std::size_t count = std::max((3 * p + 1) / 2, p + 8);
    const bool bayesian = params_.mode == "bayesian";
    const double share = bayesian ? bayesian_design : design_share;
    if (params_.paper()) count = bayesian ? p : 2 * p;
    if (!params_.paper() && problem_.trials > 0) {
      const auto affordable =
          static_cast<std::size_t>(share * static_cast<double>(problem_.trials));
      count = std::clamp(affordable, p, count);
    }
    if (params_.design > 0) count = static_cast<std::size_t>(params_.design);
    const std::size_t there = known_.size() + design_.size();
    if (count > there) {
      Design points = params_.paper() ? paper_design(space_, count, 0, problem_.seed) : Design();
      if (!params_.paper()) {
        Design all = known_;
        for (const Asked& asked : design_) all.push_back(asked.x);
        points = i_optimal_design(space_, count - there, all, problem_.seed);
      }
      for (const auto& x : points) add_to_design(x, space_.point(x));
    }
    bayesian_until_ =
        static_cast<std::uint64_t>(bayesian_end * static_cast<double>(problem_.trials));
  }

  void add_to_design(const std::vector<double>& x, const Point& point) {
    const auto same = [&](const Asked& asked) { return asked.candidate.point == point; };
    if (std::any_of(design_.begin(), design_.end(), same)) return;
    design_.push_back({candidate(point, "design"), x, std::nullopt});
  }

  [[nodiscard]] Candidate candidate(Point point, std::string tag) const {
    return {std::move(point), static_cast<std::uint64_t>(params_.fidelity), 0, std::move(tag)};
  }

  // ---- asking ----------------------------------------------------------------------------------

  /// False when there is nothing to ask for now.
  bool ask() {
    if (!retries_.empty()) {
      submit(std::move(retries_.front()));
      retries_.pop_front();
      return true;
    }
    if (!design_.empty()) {
      submit(std::move(design_.front()));
      design_.pop_front();
      return true;
    }
    std::vector<std::vector<double>> pending;
    for (const auto& [number, asked] : asked_) pending.push_back(asked.x);
    if (measured_ < coefficients(problem_)) {
      // The rest of the design may do; points of it that failed are made up for.
      if (measured_ + pending.size() >= coefficients(problem_)) return false;
      submit(replacement(pending));
      return true;
    }
    std::vector<double> x;
    const bool learning = params_.mode == "bayesian" && asked_count_ < bayesian_until_;
    if (learning && params_.paper()) {
      x = from_bins();
    } else if (learning) {
      x = model(MapModel::Front::none)->least_sure(pending, turn_++);
    } else {
      const MapModel& fitted = *model();
      pending.insert(pending.end(), since_fit_.begin(), since_fit_.end());
      const auto next = fitted.verification(1, pending, turn_++);
      if (!next.empty()) x = next.front();
    }
    if (x.empty()) {
      ending_ = true;
      reason_ = "every point worth measuring is measured";
      return false;
    }
    Point point = space_.point(x);
    Asked asked{candidate(point, learning ? "learn" : "verify"), std::move(x), std::nullopt};
    if (!learning) asked.prediction = predictions(point);
    submit(std::move(asked));
    return true;
  }

  /// Per objective.
  std::vector<Prediction> predictions(const Point& point) {
    std::vector<Prediction> predicted;
    for (const QuadraticSurrogate& surrogate : model()->surrogates()) {
      predicted.push_back(surrogate.predict(space_.scaled(point)));
    }
    return predicted;
  }

  Asked replacement(const std::vector<std::vector<double>>& pending) {
    std::vector<double> x;
    if (model(MapModel::Front::none)) x = model_->least_sure(pending, turn_++);
    if (x.empty()) {
      Rng rng(problem_.seed, replacement_stream, static_cast<std::uint32_t>(turn_++));
      x = space_.scaled(problem_.space.sample(rng));
    }
    const Point point = space_.point(x);
    return {candidate(point, "design"), space_.scaled(point), std::nullopt};
  }

  /// The published acquisition: a batch per task and round.
  std::vector<double> from_bins() {
    if (bins_.empty()) {
      const std::size_t m = problem_.objectives.size();
      const std::size_t batch = std::max<std::size_t>(
          1, (quadratic_terms(problem_.space.dimension())) / paper_rounds / m);
      for (std::size_t k = 0; k < m; ++k) {
        for (auto& x : bin_samples(*model(MapModel::Front::none), k, batch, problem_.seed, turn_)) {
          bins_.push_back(std::move(x));
        }
        ++turn_;
      }
    }
    std::vector<double> x = std::move(bins_.front());
    bins_.pop_front();
    return x;
  }

  void submit(Asked asked) {
    const TrialNumber number = evaluations_.submit(asked.candidate);
    ++asked_count_;
    asked_.emplace(number, std::move(asked));
  }

  // ---- being told ------------------------------------------------------------------------------

  void receive(Trial trial) {
    const auto found = asked_.find(trial.number);
    Asked asked = std::move(found->second);
    asked_.erase(found);
    if (trial.status == TrialStatus::failed && !asked.retry) {
      asked.retry = true;
      retries_.push_back(asked);
    }
    const bool ok = counts(trial, params_);
    if (ok) ++measured_;
    if (ok && asked.prediction) judge(*asked.prediction, trial);
    trials_.push_back(std::move(trial));
    since_fit_.push_back(asked.x);
    // The published procedure fits once and only looks at its front again.
    stale_ = stale_ || !params_.paper() || !asked.prediction;
    // What others had measured tells as much.
    for (Trial& other : evaluations_.injected()) {
      if (counts(other, params_)) ++measured_;
      trials_.push_back(std::move(other));
      stale_ = true;
    }
  }

  /// Two rounds without gain, and intervals that held, end the search.
  void judge(const std::vector<Prediction>& predicted, const Trial& trial) {
    const std::size_t m = problem_.objectives.size();
    for (std::size_t k = 0; k < m; ++k) {
      const bool maximise = problem_.objectives[k].goal == Goal::maximize;
      const double value = maximise ? -trial.objectives[k] : trial.objectives[k];
      const bool inside =
          std::abs(value - predicted[k].mean) <= ninety_percent * predicted[k].sd + 1e-12;
      covered_ += inside ? 1 : 0;
    }
    if (++verified_ < round_) return;
    const double coverage = static_cast<double>(covered_) / static_cast<double>(verified_ * m);
    const double volume = measured_volume();
    const bool quiet = last_volume_ >= 0 && volume - last_volume_ <= params_.tolerance * volume &&
                       coverage >= coverage_to_stop;
    quiet_rounds_ = quiet ? quiet_rounds_ + 1 : 0;
    last_volume_ = volume;
    verified_ = covered_ = 0;
    if (params_.tolerance > 0 && quiet_rounds_ >= 2) {
      ending_ = true;
      reason_ = "two rounds of verification changed nothing";
    }
  }

  /// Within the box that the first one of these spans.
  double measured_volume() {
    const std::size_t m = problem_.objectives.size();
    ParetoArchive archive;
    const auto insert = [&](const Trial& trial) {
      if (trial.ok() && trial.violation() <= 0) archive.insert(trial.number, trial.objectives);
    };
    for (const Trial& trial : problem_.known) insert(trial);
    for (const Trial& trial : trials_) insert(trial);
    const auto points = archive.all_objectives();
    if (volume_origin_.empty()) {
      volume_origin_ = points.front();
      volume_range_ = points.front();
      for (const auto& y : points) {
        for (std::size_t k = 0; k < m; ++k) {
          volume_origin_[k] = std::min(volume_origin_[k], y[k]);
          volume_range_[k] = std::max(volume_range_[k], y[k]);
        }
      }
      for (std::size_t k = 0; k < m; ++k) {
        volume_range_[k] -= volume_origin_[k];
        if (!(volume_range_[k] > 0)) volume_range_[k] = 1;
        volume_origin_[k] -= volume_range_[k];  // room for better ones
      }
    }
    HypervolumeGain volume(m, 2.1, problem_.seed);
    for (auto y : points) {
      for (std::size_t k = 0; k < m; ++k) y[k] = (y[k] - volume_origin_[k]) / volume_range_[k];
      volume.add(y);
    }
    return volume.volume();
  }

  /// Null while nothing was measured.
  const std::shared_ptr<const MapModel>& model(MapModel::Front front = MapModel::Front::coarse) {
    if (stale_ || front > fitted_front_) {
      auto fitted = MapModel::fit(problem_, params_, trials_, front);
      model_ = fitted ? *fitted : nullptr;
      stale_ = false;
      since_fit_.clear();
      fitted_front_ = front;
    }
    return model_;
  }

  const SearchProblem& problem_;
  const MapParams& params_;
  Evaluations& evaluations_;
  const MapSpace space_;
  const std::size_t round_;
  Design known_;
  std::deque<Asked> design_, retries_;
  std::deque<std::vector<double>> bins_;
  std::map<TrialNumber, Asked> asked_;
  std::vector<Trial> trials_;
  std::shared_ptr<const MapModel> model_;
  bool stale_ = true;
  Design since_fit_;  // told, and not known to the model
  MapModel::Front fitted_front_ = MapModel::Front::none;
  bool ending_ = false;
  std::string reason_ = "budget";
  std::uint64_t turn_ = 0;  // picks made
  std::uint64_t asked_count_ = 0, bayesian_until_ = 0;
  std::size_t measured_ = 0;
  std::size_t verified_ = 0, covered_ = 0;  // of this round
  std::size_t quiet_rounds_ = 0;
  double last_volume_ = -1;
  std::vector<double> volume_origin_, volume_range_;
};

Problems check_map(const SearchProblem& problem, const MapParams& params) {
  Problems problems = MapSpace::check(problem.space);
  const std::size_t m = problem.objectives.size();
  if (m > MapSpace::most_dimensions) {
    problems.push_back({"/objectives", "map models at most " +
                                           std::to_string(MapSpace::most_dimensions) +
                                           " objectives; there are " + std::to_string(m)});
  }
  if (problem.noise.active()) {
    problems.push_back(
        {"/noise", "map averages noise in its surrogates and repeats no point: leave it out"});
  }
  if (!(params.metric_low < params.metric_high)) {
    problems.push_back({"/optimizer/params/metric_high", "must be greater than metric_low"});
  }
  if (!problems.empty()) return problems;
  const bool simplex = problem.space.parameters().front().type == ParameterType::simplex;
  if (params.paper() && simplex) {
    problems.push_back({"/optimizer/params/preset",
                        "the published sampling is of a box; leave preset out for a simplex"});
  }
  if (params.mode == "nested") return check_nested(problem, params);
  if (!params.preference.empty()) {
    problems.push_back({"/optimizer/params/preference",
                        "belongs to mode \"nested\"; here any preference can be asked for "
                        "afterwards, at no cost"});
  }
  if (problem.trials == 0 && !(params.tolerance > 0)) {
    problems.push_back({"/budget/trials",
                        "without a limit, and with optimizer.params.tolerance 0, "
                        "the search would never end; set one of them"});
  }
  const std::size_t p = coefficients(problem);
  const std::size_t least = p + least_verified;
  std::size_t known = 0;
  for (const Trial& trial : problem.known) known += counts(trial, params) ? 1 : 0;
  const auto design = static_cast<std::size_t>(params.design);
  if (problem.trials > 0 && problem.trials + known < design) {
    problems.push_back({"/optimizer/params/design",
                        std::to_string(design) + " points are more than the budget of " +
                            std::to_string(problem.trials) + " trials" +
                            (known > 0 ? " and the " + std::to_string(known) + " known" : "") +
                            ": set fewer, or 0 for as many as suit the budget"});
  }
  if (problem.trials > 0 && problem.trials + known < least) {
    const std::size_t n = problem.space.dimension();
    problems.push_back(
        {"/budget/trials", "map fits " + std::to_string(p) + " coefficients per objective to " +
                               std::to_string(n) + " parameters, so it needs at least " +
                               std::to_string(least - known) + " trials, and " +
                               std::to_string(2 * p) + " to be good; there are " +
                               std::to_string(problem.trials)});
  }
  return problems;
}

Report run_map(const SearchProblem& problem, const MapParams& params, Evaluations& evaluations) {
  if (params.mode == "nested") return run_nested(problem, params, evaluations);
  return Map(problem, params, evaluations).run();
}

}  // namespace

template <>
Fields<MapParams> describe() {
  using P = MapParams;
  return Fields<P>()
      .add("mode", &P::mode,
           "flat: one model over all coefficients; nested: merges pair after pair, for one "
           "preference; bayesian: measures where the models are least sure before it looks for the "
           "front",
           {"flat", "nested", "bayesian"})
      .add("preset", &P::preset,
           "paper: the published procedure (its budget, sampling and search), to compare with",
           {"default", "paper"})
      .add("link", &P::link,
           "how metrics become linear: auto chooses by leave-one-out error; identity; logit for "
           "metrics within metric_low and metric_high; log for metrics above metric_low",
           {"auto", "identity", "logit", "log"})
      .add("metric_low", &P::metric_low, "least value that the metrics can have, for the links")
      .add("metric_high", &P::metric_high, "greatest value that the metrics can have, for logit")
      .add("samples", &P::samples,
           "examples behind each metric, if metrics are shares of them; 0: from standard errors", 0,
           1e15)
      .add(
          "design", &P::design,
          "points measured before the first fit; 0: 1.5 times the coefficients of a model, less if "
          "the budget is short",
          0, 100'000)
      .add("round", &P::round,
           "verified points after which the search considers to stop; 0: one per objective, at "
           "least 4",
           0, 10'000)
      .add("tolerance", &P::tolerance,
           "the search ends when two rounds raised the hypervolume by less than this share and the "
           "models' intervals held; 0: only with the budget",
           0, 1)
      .add("preference", &P::preference, "nested: a weight per objective; empty: all equal", 0, 1e9)
      .add("fidelity", &P::fidelity, "how much each trial evaluates; 0: the evaluator's default", 0,
           1e15);
}

Optimizer map_optimizer() {
  Optimizer optimizer = make_optimizer<MapParams>(
      "map", 2,
      "Pareto fronts of merged models from quadratic surrogates: measures a designed sample, "
      "verifies the front that it predicts, and answers any preference afterwards.",
      "Li et al., MAP: low-compute model merging with amortized Pareto fronts, arXiv 2406.07529",
      check_map, run_map);
  optimizer.surrogate =
      [](const SearchProblem& problem, const ParamValues& values,
         const std::vector<Trial>& trials) -> Result<std::shared_ptr<const Surrogate>> {
    auto fitted = MapModel::fit(problem, describe<MapParams>().bind(values).value(), trials);
    if (!fitted) return fitted.error();
    return std::shared_ptr<const Surrogate>(*fitted);
  };
  return optimizer;
}

}  // namespace paretod
