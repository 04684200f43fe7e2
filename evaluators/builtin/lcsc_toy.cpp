#include "evaluators/builtin/lcsc_toy.hpp"

#include <algorithm>
#include <cmath>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

double curvature(std::size_t i) {
  return std::pow(10.0, -4.0 + 4.0 * static_cast<double>(i) / (LcscToy::parameters - 1));
}

/// Checkpoints as columns, each scaled by the square root of the curvature, so that the loss is
/// half the squared norm.
std::vector<double> train(std::size_t checkpoints, std::uint64_t seed) {
  constexpr std::size_t n = LcscToy::parameters;
  constexpr double rate = 0.3;
  constexpr double noise = 0.3;
  std::vector<double> h(n);
  std::vector<double> root(n);
  for (std::size_t i = 0; i < n; ++i) {
    h[i] = curvature(i);
    root[i] = std::sqrt(h[i]);
  }
  Rng rng(seed);
  std::vector<double> weights(n);
  for (double& weight : weights) weight = rng.normal();
  std::vector<double> columns;
  columns.reserve(n * checkpoints);
  const auto first = static_cast<std::size_t>(LcscToy::burn_in);
  const auto stride = static_cast<std::size_t>(LcscToy::interval);
  for (std::size_t step = 1; columns.size() < n * checkpoints; ++step) {
    for (std::size_t i = 0; i < n; ++i) {
      weights[i] -= rate * (h[i] * weights[i] + noise * root[i] * rng.normal());
    }
    if (step > first && (step - first) % stride == 0) {
      for (std::size_t i = 0; i < n; ++i) columns.push_back(root[i] * weights[i]);
    }
  }
  return columns;
}

std::vector<double> moving_average(std::size_t checkpoints, double decay_per_interval) {
  std::vector<double> coefficients(checkpoints);
  for (std::size_t k = 0; k < checkpoints; ++k) {
    const auto age = static_cast<double>(checkpoints - 1 - k);
    coefficients[k] =
        std::pow(decay_per_interval, age) - (k == 0 ? 0.0 : std::pow(decay_per_interval, age + 1));
  }
  return coefficients;
}

std::vector<double> mean_of_last(std::size_t checkpoints, std::size_t last) {
  std::vector<double> coefficients(checkpoints, 0.0);
  std::fill(coefficients.end() - static_cast<std::ptrdiff_t>(last), coefficients.end(),
            1.0 / static_cast<double>(last));
  return coefficients;
}

}  // namespace

LcscToy::LcscToy(std::size_t checkpoints, std::uint64_t seed) : size_(checkpoints) {
  factorise(train(checkpoints, seed));
  find_optimum();
  find_best_seed();
}

double LcscToy::loss(std::span<const double> coefficients) const {
  double total = 0;
  const double* row = triangle_.data();
  for (std::size_t i = 0; i < size_; ++i) {
    double sum = 0;
    for (std::size_t k = i; k < size_; ++k) sum += *row++ * coefficients[k];
    total += sum * sum;
  }
  return total / 2;
}

void LcscToy::factorise(std::vector<double> columns) {
  // Modified Gram-Schmidt: only R is wanted, and its loss of orthogonality does not touch R.
  constexpr std::size_t n = parameters;
  for (std::size_t i = 0; i < size_; ++i) {
    double* pivot = columns.data() + i * n;
    double norm = 0;
    for (std::size_t r = 0; r < n; ++r) norm += pivot[r] * pivot[r];
    norm = std::sqrt(norm);
    triangle_.push_back(norm);
    for (std::size_t r = 0; r < n; ++r) pivot[r] /= norm;
    for (std::size_t k = i + 1; k < size_; ++k) {
      double* column = columns.data() + k * n;
      double dot = 0;
      for (std::size_t r = 0; r < n; ++r) dot += pivot[r] * column[r];
      triangle_.push_back(dot);
      for (std::size_t r = 0; r < n; ++r) column[r] -= dot * pivot[r];
    }
  }
}

void LcscToy::find_optimum() {
  // min |R a|^2 / 2 subject to sum a = 1 is 1 / (2 |y|^2) with R'y = 1.
  std::vector<double> y(size_, 1.0);
  double norm = 0;
  const double* row = triangle_.data();
  for (std::size_t i = 0; i < size_; ++i) {
    y[i] /= *row++;
    norm += y[i] * y[i];
    for (std::size_t k = i + 1; k < size_; ++k) y[k] -= *row++ * y[i];
  }
  optimum_ = 1 / (2 * norm);
}

void LcscToy::find_best_seed() {
  std::vector<std::vector<double>> seeds;
  for (const std::size_t last : {std::size_t{1}, size_ / 4, size_ / 2, size_}) {
    seeds.push_back(mean_of_last(size_, std::max<std::size_t>(last, 1)));
  }
  constexpr int averages = 10;
  for (int i = 0; i < averages; ++i) {
    const double half_life = std::pow(static_cast<double>(size_), i / (averages - 1.0));
    seeds.push_back(moving_average(size_, std::exp2(-1 / half_life)));
  }
  best_seed_ = loss(seeds.front());
  for (const auto& seed : seeds) best_seed_ = std::min(best_seed_, loss(seed));
}

}  // namespace paretod
