#include "tests/bench/map_problems.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

struct Task {
  std::vector<double> peak, curvature;  // [n], [n][n]
};

/// Q diag(lambda) Q' from products of random reflections.
Task make_task(std::size_t n, std::size_t i, Rng& rng) {
  Task task{std::vector<double>(n), std::vector<double>(n * n, 0.0)};
  for (std::size_t d = 0; d < n; ++d) task.peak[d] = (d == i ? 0.85 : 0.0) + 0.1 * rng.normal();
  for (std::size_t d = 0; d < n; ++d) task.curvature[d * n + d] = rng.uniform(0.12, 1.2);
  for (std::size_t reflection = 0; reflection < n; ++reflection) {
    std::vector<double> v(n);
    double squares = 0;
    for (double& c : v) {
      c = rng.normal();
      squares += c * c;
    }
    // A <- H A H, H = I - 2 v v' / v'v.
    for (int side = 0; side < 2; ++side) {
      for (std::size_t row = 0; row < n; ++row) {
        double along = 0;
        for (std::size_t d = 0; d < n; ++d) {
          along += v[d] * (side == 0 ? task.curvature[row * n + d] : task.curvature[d * n + row]);
        }
        for (std::size_t d = 0; d < n; ++d) {
          double& a = side == 0 ? task.curvature[row * n + d] : task.curvature[d * n + row];
          a -= 2 * along * v[d] / squares;
        }
      }
    }
  }
  return task;
}

struct MapProblem {
  std::size_t n;
  std::uint64_t seed;
  std::vector<Task> tasks;
};

}  // namespace
}  // namespace paretod

using paretod::MapProblem;

void* map_problem_make(unsigned n, unsigned long long seed) {
  auto* problem = new MapProblem{n, seed, {}};
  paretod::Rng rng(seed, n);
  for (std::size_t i = 0; i < n; ++i) problem->tasks.push_back(paretod::make_task(n, i, rng));
  return problem;
}

void map_problem_free(void* problem) {
  delete static_cast<MapProblem*>(problem);
}

void map_problem_truth(const void* problem, const double* x, double* out) {
  const auto& [n, seed, tasks] = *static_cast<const MapProblem*>(problem);
  for (const auto& task : tasks) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        sum += (x[i] - task.peak[i]) * task.curvature[i * n + j] * (x[j] - task.peak[j]);
      }
    }
    *out++ = paretod::accuracy_floor + paretod::accuracy_range * std::exp(-sum / 2);
  }
}

void map_problem_measure(const void* problem, const double* x, double* out) {
  map_problem_truth(problem, x, out);
  const auto& [n, seed, tasks] = *static_cast<const MapProblem*>(problem);
  std::uint64_t key = seed;
  for (std::size_t d = 0; d < n; ++d) key = paretod::mix64(key, std::bit_cast<std::uint64_t>(x[d]));
  paretod::Rng rng(key);
  for (std::size_t i = 0; i < n; ++i) {
    const double m = paretod::accuracy_examples;
    const double right = m * out[i] + std::sqrt(m * out[i] * (1 - out[i])) * rng.normal();
    out[i] = std::clamp(std::round(right), 0.0, m) / m;
  }
}
