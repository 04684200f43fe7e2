#include "optimizers/quadratic_surrogate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using Function = std::function<double(const std::vector<double>&)>;

std::vector<Observation> observe(std::size_t n, std::size_t count, std::uint64_t seed,
                                 const Function& function, double noise = 0) {
  Rng rng(seed);
  std::vector<Observation> observations;
  for (std::size_t i = 0; i < count; ++i) {
    Observation o;
    for (std::size_t k = 0; k < n; ++k) o.x.push_back(rng.uniform(-1, 1));
    o.value = function(o.x) + noise * rng.normal();
    observations.push_back(std::move(o));
  }
  return observations;
}

double bowl(const std::vector<double>& x) {
  double sum = 0.3;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto k = static_cast<double>(i + 1);
    sum += 0.2 * k * x[i] - 0.5 * k * x[i] * x[i];
    if (i > 0) sum += 0.4 * x[i] * x[i - 1];
  }
  return sum;
}

double sigmoid(double eta) {
  return 1 / (1 + std::exp(-eta));
}

TEST(QuadraticSurrogate, AQuadraticIsRecovered) {
  const auto model = QuadraticSurrogate::fit(observe(3, 20, 1, bowl), {});
  const auto& d = model.diagnostics();
  EXPECT_EQ(d.link, Link::identity);
  EXPECT_EQ(d.form, QuadraticForm::full);
  EXPECT_EQ(d.terms, 10U);
  EXPECT_EQ(d.wanted, 10U);
  EXPECT_EQ(d.rank, 10U);
  EXPECT_NEAR(model.constant(), 0.3, 1e-4);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto k = static_cast<double>(i + 1);
    EXPECT_NEAR(model.linear()[i], 0.2 * k, 1e-4);
    EXPECT_NEAR(model.quadratic()[i * 3 + i], -k, 1e-3);
  }
  EXPECT_NEAR(model.quadratic()[1], 0.4, 1e-4);
  EXPECT_NEAR(model.quadratic()[2], 0.0, 1e-4);
  EXPECT_LT(d.eigenvalues.back(), 0) << "a hill";
  EXPECT_GT(d.r2, 0.999999);
  EXPECT_GT(d.loo_r2, 0.99999);
}

TEST(QuadraticSurrogate, LeavingOneOutIsWhatRefittingWithoutItSays) {
  const auto observations =
      observe(2, 14, 2, [](const auto& x) { return std::sin(2 * x[0]) + x[1]; });
  SurrogateOptions options;
  options.link = Link::identity;
  // Without a penalty to choose anew, the identity is exact.
  options.metric_space = true;
  const auto whole = QuadraticSurrogate::fit(observations, options);
  double squares = 0;
  for (std::size_t left = 0; left < observations.size(); ++left) {
    auto others = observations;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left));
    const auto model = QuadraticSurrogate::fit(others, options);
    const double missed = observations[left].value - model.mean(observations[left].x);
    squares += missed * missed;
  }
  EXPECT_NEAR(whole.diagnostics().loo_rmse, std::sqrt(squares / 14), 1e-6);
}

TEST(QuadraticSurrogate, TheLinkIsChosenByLeaveOneOut) {
  const auto eta = [](const auto& x) { return 1.5 + 3 * x[0] - 2 * x[1] - 2 * x[0] * x[0]; };
  const auto fitted = [&](const Function& f) {
    return QuadraticSurrogate::fit(observe(2, 24, 3, f), {}).diagnostics().link;
  };
  EXPECT_EQ(fitted([&](const auto& x) { return eta(x) - 3; }), Link::identity);
  EXPECT_EQ(fitted([&](const auto& x) { return sigmoid(eta(x)); }), Link::logit);
  EXPECT_EQ(fitted([&](const auto& x) { return std::exp(eta(x)); }), Link::log);
}

TEST(QuadraticSurrogate, AnAskedForLinkIsUsed) {
  SurrogateOptions options;
  options.link = Link::logit;
  options.low = 10;
  options.high = 30;
  const auto model = QuadraticSurrogate::fit(
      observe(2, 30, 4, [](const auto& x) { return 10 + 20 * sigmoid(bowl(x)); }), options);
  EXPECT_EQ(model.diagnostics().link, Link::logit);
  const std::vector<double> x{0.3, -0.2};
  EXPECT_NEAR(model.mean(x), 10 + 20 * sigmoid(bowl(x)), 1e-3);
}

TEST(QuadraticSurrogate, GradientsAreThoseOfTheMean) {
  for (const Link link : {Link::identity, Link::logit, Link::log}) {
    SurrogateOptions options;
    options.link = link;
    const auto model = QuadraticSurrogate::fit(
        observe(3, 30, 5, [](const auto& x) { return sigmoid(bowl(x)); }), options);
    std::vector<double> x{0.1, -0.4, 0.3}, gradient(3);
    EXPECT_EQ(model.mean(x, gradient), model.mean(x));
    for (std::size_t i = 0; i < 3; ++i) {
      auto ahead = x, behind = x;
      ahead[i] += 1e-5;
      behind[i] -= 1e-5;
      EXPECT_NEAR(gradient[i], (model.mean(ahead) - model.mean(behind)) / 2e-5, 1e-6);
    }
  }
}

TEST(QuadraticSurrogate, WhatTheDesignCannotCarryIsLeftOutAndSaid) {
  const auto form = [](std::size_t count) {
    const auto model = QuadraticSurrogate::fit(observe(3, count, 6, bowl), {});
    EXPECT_EQ(model.diagnostics().wanted, 10U);
    return model.diagnostics().form;
  };
  EXPECT_EQ(form(10), QuadraticForm::full);
  EXPECT_EQ(form(9), QuadraticForm::linear);
  EXPECT_EQ(form(6), QuadraticForm::constant);
  EXPECT_EQ(form(1), QuadraticForm::constant);
}

TEST(QuadraticSurrogate, ARankDefectIsSeen) {
  // Two levels per axis, as the paper's sampling at eight tasks: squares equal the linear terms.
  auto observations = observe(3, 30, 7, bowl);
  for (auto& o : observations) {
    for (double& x : o.x) x = x < 0 ? -1 : 1;
    o.value = bowl(o.x);
  }
  const auto d = QuadraticSurrogate::fit(observations, {}).diagnostics();
  EXPECT_EQ(d.rank, 7U);
  EXPECT_NE(d.form, QuadraticForm::full);
  // One axis was never moved.
  for (auto& o : observations) o.x[1] = 0;
  EXPECT_EQ(QuadraticSurrogate::fit(observations, {}).diagnostics().form, QuadraticForm::constant);
}

TEST(QuadraticSurrogate, AMetricThatNeverVariesIsAConstant) {
  const auto model =
      QuadraticSurrogate::fit(observe(2, 20, 8, [](const auto&) { return 0.5; }), {});
  EXPECT_FALSE(model.diagnostics().varies);
  EXPECT_EQ(model.diagnostics().form, QuadraticForm::constant);
  const std::vector<double> x{1, 1};
  const Prediction p = model.predict(x);
  EXPECT_DOUBLE_EQ(p.mean, 0.5);
  EXPECT_NEAR(p.sd, 0, 1e-12);
  Rng rng(1);
  EXPECT_DOUBLE_EQ(model.draw(rng).mean(x), 0.5);
}

TEST(QuadraticSurrogate, SharesOnTheBoundsAreFinite) {
  const auto model = QuadraticSurrogate::fit(
      observe(2, 20, 9, [](const auto& x) { return x[0] > 0.5    ? 1.0
                                                   : x[0] < -0.5 ? 0.0
                                                                 : 0.5; }),
      {});
  const std::vector<double> x{0.9, 0};
  EXPECT_TRUE(std::isfinite(model.predict(x).mean));
  EXPECT_TRUE(std::isfinite(model.predict(x).sd));
}

TEST(QuadraticSurrogate, ScheffesPolynomialOverShares) {
  Rng rng(10);
  const auto f = [](const std::vector<double>& x) {
    return 0.2 * x[0] + 0.9 * x[1] + 0.5 * x[2] + 1.5 * x[0] * x[1] - 0.7 * x[1] * x[2];
  };
  std::vector<Observation> observations;
  for (int i = 0; i < 15; ++i) {
    std::vector<double> x{-std::log1p(-rng.uniform()), -std::log1p(-rng.uniform()),
                          -std::log1p(-rng.uniform())};
    const double sum = std::accumulate(x.begin(), x.end(), 0.0);
    for (double& share : x) share /= sum;
    observations.push_back({x, f(x)});
  }
  SurrogateOptions options;
  options.simplex = true;
  const auto model = QuadraticSurrogate::fit(observations, options);
  EXPECT_EQ(model.diagnostics().terms, 6U);
  EXPECT_EQ(model.diagnostics().form, QuadraticForm::full);
  const std::vector<double> x{0.2, 0.3, 0.5};
  EXPECT_NEAR(model.mean(x), f(x), 1e-4);
}

TEST(QuadraticSurrogate, IntervalsCoverNewMeasurements) {
  // Also where the quadratic is not the truth.
  const auto truth = [](const auto& x) { return sigmoid(bowl(x)) + 0.05 * std::sin(4 * x[0]); };
  std::size_t inside = 0, all = 0;
  double width = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const auto model = QuadraticSurrogate::fit(observe(3, 20, 100 + seed, truth, 0.02), {});
    for (const Observation& o : observe(3, 40, 500 + seed, truth, 0.02)) {
      const Prediction p = model.predict(o.x);
      inside += std::abs(o.value - p.mean) <= 1.645 * p.sd ? 1 : 0;
      width += p.sd;
      ++all;
    }
  }
  EXPECT_GE(static_cast<double>(inside), 0.85 * static_cast<double>(all));
  EXPECT_LE(width / static_cast<double>(all), 0.15) << "not by being too wide";
}

TEST(QuadraticSurrogate, AMeasurementIsNoSurerThanMeasurementsSayOfThemselves) {
  // Accuracies on one set of 400 examples: smooth in x, each with the error of 400 examples.
  const auto truth = [](const auto& x) { return sigmoid(bowl(x)); };
  auto shared = observe(3, 25, 3, truth, 0);
  for (Observation& o : shared) o.standard_error = std::sqrt(o.value * (1 - o.value) / 400);
  for (const auto& link : {std::optional(Link::logit), std::optional(Link::identity)}) {
    SurrogateOptions options;
    options.link = link;
    const auto model = QuadraticSurrogate::fit(shared, options);
    const std::vector<double> x{0.1, -0.2, 0.3};
    const Prediction p = model.predict(x);
    const double binomial = std::sqrt(p.mean * (1 - p.mean) / 400);
    EXPECT_LE(p.mean_sd, p.sd);
    EXPECT_GE(p.measured_sd, binomial * (1 - 1e-6));
    EXPECT_LE(p.measured_sd, std::sqrt(binomial * binomial + p.sd * p.sd) * (1 + 1e-6));
    if (link == Link::logit) {
      EXPECT_LT(p.sd, binomial / 2) << "the model itself is sure";
    }
  }
  // A constant error stays one, and with none reported, or a smaller one, nothing is added.
  for (const double error : {0.3, 1e-6, -1.0}) {
    auto plain = observe(3, 25, 4, bowl, 0.05);
    for (Observation& o : plain) o.standard_error = error;
    const Prediction p = QuadraticSurrogate::fit(plain, {}).predict(std::vector<double>{0, 0, 0});
    EXPECT_LT(p.mean_sd, p.sd);
    if (error > 0.1) {
      EXPECT_NEAR(p.measured_sd, std::hypot(p.mean_sd, error), 1e-9);
    } else {
      EXPECT_NEAR(p.measured_sd, p.sd, 1e-12);
    }
  }
  // Examples that are only counted say as much.
  SurrogateOptions counted;
  counted.samples = 400;
  for (Observation& o : shared) o.standard_error = -1;
  const Prediction p =
      QuadraticSurrogate::fit(shared, counted).predict(std::vector<double>{0, 0, 0});
  EXPECT_GE(p.measured_sd, std::sqrt(p.mean * (1 - p.mean) / 400) * (1 - 1e-6));
}

TEST(QuadraticSurrogate, DrawsScatterAsThePosteriorSays) {
  const auto model = QuadraticSurrogate::fit(observe(2, 12, 11, bowl, 0.1), {});
  const std::vector<double> x{0.5, 0.5};
  std::vector<double> values;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed);
    values.push_back(model.draw(rng).mean(x));
  }
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 400;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  const double sd = std::sqrt(squares / 399);
  EXPECT_NEAR(mean, model.mean(x), 4 * sd / 20);
  EXPECT_GT(sd, 0);
  EXPECT_LT(sd, model.predict(x).sd) << "predictions also carry the error of the form";
}

TEST(QuadraticSurrogate, MetricSpaceStartsFromTheLinkedFit) {
  // The paper's start, all ones, saturates the sigmoid at eight tasks and stays there.
  const auto truth = [](const std::vector<double>& x) {
    double eta = 2;
    for (std::size_t i = 0; i < x.size(); ++i) eta -= (x[i] - 0.3) * (x[i] - 0.3) / 2;
    return sigmoid(eta);
  };
  SurrogateOptions options;
  options.link = Link::logit;
  options.metric_space = true;
  const auto model = QuadraticSurrogate::fit(observe(8, 90, 12, truth, 0.01), options);
  double error = 0, variance = 0;
  for (const Observation& o : observe(8, 500, 13, truth)) {
    error += std::pow(o.value - model.mean(o.x), 2);
    variance += std::pow(o.value - 0.65, 2);
  }
  EXPECT_LT(error, 0.2 * variance);
  EXPECT_GT(model.diagnostics().r2, 0.9);
}

TEST(QuadraticSurrogate, StandardErrorsWeigh) {
  auto observations = observe(1, 30, 14, [](const auto& x) { return x[0]; });
  for (std::size_t i = 0; i < observations.size(); ++i) {
    const bool wild = i % 3 == 0;
    observations[i].value += wild ? 2 : 0;
    observations[i].standard_error = wild ? 2 : 0.02;
  }
  SurrogateOptions options;
  options.link = Link::identity;
  const double with = QuadraticSurrogate::fit(observations, options).mean(std::vector<double>{0});
  for (auto& o : observations) o.standard_error = -1;
  const double without =
      QuadraticSurrogate::fit(observations, options).mean(std::vector<double>{0});
  EXPECT_LT(std::abs(with), 0.2);
  EXPECT_GT(without, 0.5);
}

TEST(QuadraticSurrogate, TheSameObservationsGiveTheSameBits) {
  const auto observations = observe(4, 30, 15, bowl, 0.05);
  const auto a = QuadraticSurrogate::fit(observations, {});
  const auto b = QuadraticSurrogate::fit(observations, {});
  EXPECT_EQ(a.linear(), b.linear());
  EXPECT_EQ(a.quadratic(), b.quadratic());
}

}  // namespace
}  // namespace paretod
