#pragma once
// An optimizer "line" with a surrogate that is known exactly, for tests of everything that shows
// surrogates: one parameter x in [0, 1], objectives cost = x (minimised) and gain = x (maximised),
// so every x is on the front.

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "optimizers/core/optimizer.hpp"

namespace paretod::test {

class LineSurrogate final : public Surrogate {
 public:
  explicit LineSurrogate(const std::vector<Trial>& trials) {
    for (const Trial& trial : trials) {
      if (trial.ok()) measured_.push_back(trial);
    }
    summary_.scaling = "box";
    summary_.low = summary_.sampled_low = {0};
    summary_.high = summary_.sampled_high = {1};
    summary_.log_scale = {false};
    for (int i = 0; i < 2; ++i) {
      ObjectiveModel model;
      model.link = i == 0 ? "identity" : "logit";
      model.form = "linear";
      model.constant = 0.5;
      model.linear = {0.5};
      model.quadratic = {0};
      model.eigenvalues = {0};
      model.best = {i == 0 ? 0.0 : 1.0};
      model.best_mean = model.best[0];
      model.best_deviation = 0.125;
      summary_.objectives.push_back(model);
    }
    summary_.ideal = {0, 1};
    summary_.nadir = {1, 0};
    summary_.verdict = "trade-off";
    summary_.verdict_reason = "by definition";
    summary_.observations = measured_.size();
    summary_.warnings = {"this is a test"};
  }

  [[nodiscard]] const SurrogateSummary& summary() const override { return summary_; }
  [[nodiscard]] PredictedPoint predict(const Point& point) const override {
    PredictedPoint predicted{point, {point[0], point[0]}, {0.125, 0.125}, {0.0625, 0.0625}};
    predicted.nearest_distance = 2;
    for (const Trial& trial : measured_) {
      const double distance = std::abs(trial.candidate.point[0] - point[0]);
      if (distance >= predicted.nearest_distance) continue;
      predicted.nearest_distance = distance;
      predicted.nearest_trial = trial.number;
    }
    return predicted;
  }
  [[nodiscard]] std::vector<PredictedPoint> front(std::size_t limit) const override {
    std::vector<PredictedPoint> points;
    const std::size_t count = std::min<std::size_t>(limit, 11);
    for (std::size_t i = 0; i < count; ++i) {
      points.push_back(predict({static_cast<double>(i) / 10}));
    }
    return points;
  }
  /// On a grid of thousandths.
  [[nodiscard]] SurrogateAnswer solve(const SurrogateQuery& query) const override {
    SurrogateAnswer best;
    for (int i = 0; i <= 1000; ++i) {
      const double x = i / 1000.0;
      SurrogateAnswer answer{predict({x}), value_of(query, x), 0};
      for (const auto& bound : query.bounds) {
        answer.miss += std::max({0.0, bound.least - x, x - bound.most});
      }
      const bool better =
          answer.miss < best.miss || (answer.miss == best.miss && answer.value < best.value);
      if (i == 0 || better) best = answer;
    }
    return best;
  }
  [[nodiscard]] std::vector<PredictedPoint> worth_verifying(std::size_t k) const override {
    std::vector<PredictedPoint> points;
    const auto parts = 2 * static_cast<double>(k);
    for (std::size_t i = 0; i < k; ++i) {
      points.push_back(predict({(1 + 2 * static_cast<double>(i)) / parts}));
    }
    return points;
  }

 private:
  static double value_of(const SurrogateQuery& query, double x) {
    std::vector<double> z = {x, 1 - x};
    if (!query.reference_point.empty()) {
      z[0] = query.reference_point[0] ? x - *query.reference_point[0] : -2;
      z[1] = query.reference_point[1] ? *query.reference_point[1] - x : -2;
      return std::max(z[0], z[1]);
    }
    const std::vector<double> w = query.weights.empty() ? std::vector{0.5, 0.5} : query.weights;
    if (query.weighted_sum || query.weights.empty()) return w[0] * z[0] + w[1] * z[1];
    return std::max(w[0] * z[0], w[1] * z[1]);
  }

  std::vector<Trial> measured_;
  SurrogateSummary summary_;
};

struct LineParams {};

Optimizer line_optimizer();

}  // namespace paretod::test
