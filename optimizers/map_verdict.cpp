#include "optimizers/map_verdict.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>
#include <utility>

#include "optimizers/core/front.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double ninety_percent = 1.6448536269514722;
/// What a single solution may give up, as a share of what is at stake in an objective: hardly
/// anybody would choose by less.
constexpr double negligible = 0.05;
/// What it may give up at most, at 95% confidence.  Over evenly spread values (at stake: 3.5
/// standard deviations of them) models of a leave-one-out R2 of about 0.75 can tell that; worse
/// ones would miss a trade-off of that size.
constexpr double tellable = 0.25;
/// Standard errors of a difference of measurements.  The extremes of dozens of points are compared,
/// and noise alone puts those two apart.
constexpr double clearly = 3;

std::string text_of(double value) {
  std::ostringstream text;
  text.precision(3);
  text << value;
  return text.str();
}

std::string percent(double share) {
  return text_of(std::ceil(100 * share)) + "%";
}

/// The most that a point falls short of the best, over the objectives.
struct Shortfall {
  double most = -infinity;
  std::size_t objective = 0;

  void see(double behind, std::size_t k) {
    if (behind <= most) return;
    most = behind;
    objective = k;
  }
};

class Judge {
 public:
  Judge(std::span<const Objective> objectives, std::span<const QuadraticSurrogate> surrogates,
        std::span<const double> signs, const FrontSolver& solver,
        std::span<const SolverPoint> front, std::span<const MapMeasurement> measured)
      : objectives_(objectives),
        surrogates_(surrogates),
        signs_(signs),
        solver_(solver),
        front_(front),
        measured_(measured) {
    for (std::size_t k = 0; k < surrogates.size(); ++k) {
      if (surrogates[k].diagnostics().varies) varying_.push_back(k);
      stakes_.push_back(stake(k));
    }
  }

  MapVerdict verdict() const {
    std::optional<std::size_t> untold;
    for (const std::size_t k : varying_) {
      if (!untold && surrogates_[k].diagnostics().loo_r2 < telling_r2) untold = k;
    }
    if (surrogates_.size() == 1) {
      return untold ? unclear(too_bad(*untold))
                    : MapVerdict{"single solution", "there is one objective"};
    }
    if (varying_.size() < 2 && !untold) {
      return {"single solution", "at most one objective varies at all"};
    }
    std::string missing;
    if (untold) {
      missing = too_bad(*untold);
    } else {
      if (auto differ = predicted_trade_off()) return *differ;
    }
    if (auto seen = measured_trade_off()) return *seen;
    if (missing.empty()) {
      if (auto single = single_solution(missing)) return *single;
    }
    return unclear(missing);
  }

 private:
  /// Twice the way from the median measurement to the best, so that a few hopeless points do not
  /// blow it up.
  [[nodiscard]] double stake(std::size_t k) const {
    std::vector<double> values;
    for (const MapMeasurement& one : measured_) values.push_back(signs_[k] * one.means[k]);
    std::sort(values.begin(), values.end());
    const double half = values[values.size() / 2] - values.front();
    if (half > 0) return 2 * half;
    return values.back() > values.front() ? values.back() - values.front() : 1;
  }

  [[nodiscard]] std::string too_bad(std::size_t k) const {
    return objectives_[k].name + " is predicted too badly to tell (leave-one-out R2 " +
           text_of(surrogates_[k].diagnostics().loo_r2) + ")";
  }

  /// Minimise how far the worst objective is behind its best, in `ranges`.
  [[nodiscard]] SolverPoint closest_to_all(std::vector<double> origin,
                                           std::vector<double> ranges) const {
    Scalarisation goal{std::vector<double>(surrogates_.size(), 0.0), std::move(origin),
                       std::move(ranges)};
    for (const std::size_t k : varying_) goal.weights[k] = 1;
    return solver_.minimise(goal, front_);
  }

  [[nodiscard]] std::vector<double> predicted_best() const {
    std::vector<double> best;
    for (std::size_t k = 0; k < surrogates_.size(); ++k) best.push_back(solver_.best(k).y[k]);
    return best;
  }

  /// Is some model behind its best by more than it can miss, wherever one looks?
  [[nodiscard]] std::optional<MapVerdict> predicted_trade_off() const {
    const std::vector<double> best = predicted_best();
    std::vector<double> deviations;
    for (std::size_t k = 0; k < surrogates_.size(); ++k) {
      deviations.push_back(std::max(surrogates_[k].predict(solver_.best(k).x).sd, 1e-12));
    }
    const SolverPoint closest = closest_to_all(best, deviations);
    Shortfall worst;
    for (const std::size_t k : varying_) {
      const double sd = std::max(surrogates_[k].predict(closest.x).sd, deviations[k]);
      worst.see((closest.y[k] - best[k]) / sd, k);
    }
    if (worst.most <= ninety_percent) return {};
    return MapVerdict{"trade-off", "wherever all are closest to their best, " +
                                       objectives_[worst.objective].name + " is " +
                                       text_of(worst.most) + " standard deviations behind it"};
  }

  /// Else `missing` says what there is no evidence of.
  [[nodiscard]] std::optional<MapVerdict> single_solution(std::string& missing) const {
    const auto error = [](const MapMeasurement& one, std::size_t k) {
      return ninety_percent * std::max(one.standard_errors[k], 0.0);
    };
    // The best is what the model expects or, if it is better by more than its error, a measurement.
    const std::vector<double> predicted = predicted_best();
    std::vector<double> best = predicted;
    for (const MapMeasurement& one : measured_) {
      for (const std::size_t k : varying_) {
        best[k] = std::min(best[k], signs_[k] * one.means[k] + error(one, k));
      }
    }
    const SolverPoint common = closest_to_all(best, stakes_);
    Shortfall expected, possible;
    for (const std::size_t k : varying_) {
      const double behind = common.y[k] - best[k];
      const double miss = ninety_percent * surrogates_[k].predict(common.x).sd;
      expected.see((common.y[k] - predicted[k]) / stakes_[k], k);
      possible.see((behind + miss) / stakes_[k], k);
    }
    if (expected.most > negligible || possible.most > tellable) {
      missing = "one point may be best in everything, or be behind by " + percent(possible.most) +
                " of what is to be won in " + objectives_[possible.objective].name +
                ": the models cannot tell";
      return {};
    }
    TrialNumber trial = 0;
    double least = infinity;
    for (const MapMeasurement& one : measured_) {
      Shortfall seen;
      for (const std::size_t k : varying_) {
        seen.see((signs_[k] * one.means[k] - error(one, k) - best[k]) / stakes_[k], k);
      }
      if (seen.most >= least) continue;
      least = seen.most;
      trial = one.trial;
    }
    if (least > negligible) {
      return unclear(
          "one point is predicted to be best in everything, but no measured one comes "
          "closer to that than by " +
          percent(least) + " of what is to be won");
    }
    return MapVerdict{"single solution", "trial " + std::to_string(trial) + " is within " +
                                             percent(negligible) +
                                             " of the best of every objective (of what is to be "
                                             "won in it), and no better is expected elsewhere"};
  }

  /// Two measured points, each better than the other in something by clearly more than the errors.
  /// Where no error was reported the model's residuals stand for it, which are hardly less.
  [[nodiscard]] std::optional<MapVerdict> measured_trade_off() const {
    ParetoArchive archive;
    std::vector<double> y(signs_.size());
    for (std::size_t i = 0; i < measured_.size(); ++i) {
      for (std::size_t k = 0; k < y.size(); ++k) y[k] = signs_[k] * measured_[i].means[k];
      archive.insert(i, y);
    }
    std::vector<double> residuals;
    for (std::size_t k = 0; k < y.size(); ++k) residuals.push_back(residual_error(k));
    struct Member {
      const MapMeasurement* point;
      std::vector<double> variances;
    };
    std::vector<Member> front;
    for (std::size_t i = 0; i < archive.size(); ++i) {
      Member& member = front.emplace_back(Member{&measured_[archive.id(i)], {}});
      for (std::size_t k = 0; k < y.size(); ++k) {
        const double reported = member.point->standard_errors[k];
        const double error = reported >= 0 ? reported : residuals[k];
        member.variances.push_back(error * error);
      }
    }
    const auto lead = [&](const Member& a, const Member& b, std::size_t k) {
      const double by = signs_[k] * (b.point->means[k] - a.point->means[k]);
      if (by <= negligible * stakes_[k]) return 0.0;
      const double variance = a.variances[k] + b.variances[k];
      return variance > 0 ? by / std::sqrt(variance) : std::numeric_limits<double>::max();
    };
    double most = clearly;
    std::optional<MapVerdict> found;
    for (const Member& a : front) {
      for (const Member& b : front) {
        Shortfall gains, losses;  // of a, beside b
        for (const std::size_t k : varying_) {
          gains.see(lead(a, b, k), k);
          losses.see(lead(b, a, k), k);
        }
        if (std::min(gains.most, losses.most) <= most) continue;
        most = std::min(gains.most, losses.most);
        const auto values = [&](const MapMeasurement& one) {
          std::string text;
          for (const std::size_t k : {gains.objective, losses.objective}) {
            text += (text.empty() ? "" : ", ") + objectives_[k].name + " " + text_of(one.means[k]);
          }
          return "trial " + std::to_string(one.trial) + " has " + text;
        };
        found = MapVerdict{"trade-off", values(*a.point) + "; " + values(*b.point) +
                                            "; no point is known that is as good in both"};
      }
    }
    return found;
  }

  /// Standard error of a measurement, if the model's form were right; else more.
  [[nodiscard]] double residual_error(std::size_t k) const {
    const QuadraticSurrogate::Diagnostics& d = surrogates_[k].diagnostics();
    double squares = 0;
    for (const MapMeasurement& one : measured_) {
      const double off = one.means[k] - surrogates_[k].mean(one.x);
      squares += off * off;
    }
    return std::sqrt(squares / std::max(d.degrees_of_freedom, 1.0));
  }

  [[nodiscard]] MapVerdict unclear(std::string why) const {
    const std::size_t wanted = surrogates_.front().diagnostics().wanted;
    const std::size_t good = 2 * wanted;
    const std::size_t more = measured_.size() < good ? good - measured_.size() : wanted;
    return {"unclear", std::move(why) + "; have about " + std::to_string(more) +
                           " more points measured (verify); if that does not tell, take a smaller "
                           "box around the front, or more examples per trial if they are noisy"};
  }

  std::span<const Objective> objectives_;
  std::span<const QuadraticSurrogate> surrogates_;
  std::span<const double> signs_;
  const FrontSolver& solver_;
  std::span<const SolverPoint> front_;
  std::span<const MapMeasurement> measured_;
  std::vector<std::size_t> varying_;
  std::vector<double> stakes_;
};

}  // namespace

MapVerdict map_verdict(std::span<const Objective> objectives,
                       std::span<const QuadraticSurrogate> surrogates,
                       std::span<const double> signs, const FrontSolver& solver,
                       std::span<const SolverPoint> front,
                       std::span<const MapMeasurement> measured) {
  return Judge(objectives, surrogates, signs, solver, front, measured).verdict();
}

}  // namespace paretod
