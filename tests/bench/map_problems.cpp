#include "tests/bench/map_problems.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "optimizers/core/rng.hpp"
#include "tests/bench/map_problem.hpp"

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

class Synthetic final : public MapProblem {
 public:
  Synthetic(std::size_t n, std::uint64_t seed) : n_(n), seed_(seed) {
    Rng rng(seed, n);
    for (std::size_t i = 0; i < n; ++i) tasks_.push_back(make_task(n, i, rng));
  }

  void truth(const double* x, double* out) const override {
    for (const auto& task : tasks_) {
      double sum = 0;
      for (std::size_t i = 0; i < n_; ++i) {
        for (std::size_t j = 0; j < n_; ++j) {
          sum += (x[i] - task.peak[i]) * task.curvature[i * n_ + j] * (x[j] - task.peak[j]);
        }
      }
      *out++ = accuracy_floor + accuracy_range * std::exp(-sum / 2);
    }
  }
  void measure(const double* x, double* out) const override {
    truth(x, out);
    std::uint64_t key = seed_;
    for (std::size_t d = 0; d < n_; ++d) key = mix64(key, std::bit_cast<std::uint64_t>(x[d]));
    Rng rng(key);
    for (std::size_t i = 0; i < n_; ++i) {
      const double m = accuracy_examples;
      const double right = m * out[i] + std::sqrt(m * out[i] * (1 - out[i])) * rng.normal();
      out[i] = std::clamp(std::round(right), 0.0, m) / m;
    }
  }
  [[nodiscard]] std::size_t dimension() const override { return n_; }
  [[nodiscard]] double floor() const override { return accuracy_floor; }

 private:
  std::size_t n_;
  std::uint64_t seed_;
  std::vector<Task> tasks_;
};

const MapProblem& at(const void* problem) {
  return *static_cast<const MapProblem*>(problem);
}

}  // namespace
}  // namespace paretod

void* map_problem_make(unsigned n, unsigned long long seed) {
  return static_cast<paretod::MapProblem*>(new paretod::Synthetic(n, seed));
}
void* map_problem_specialists(const char* which, const char* folder) {
  return paretod::specialists_problem(which, folder).release();
}
unsigned map_problem_dimension(const void* problem) {
  return static_cast<unsigned>(paretod::at(problem).dimension());
}
double map_problem_floor(const void* problem) {
  return paretod::at(problem).floor();
}
void map_problem_truth(const void* problem, const double* x, double* out) {
  paretod::at(problem).truth(x, out);
}
void map_problem_measure(const void* problem, const double* x, double* out) {
  paretod::at(problem).measure(x, out);
}
void map_problem_free(void* problem) {
  delete static_cast<paretod::MapProblem*>(problem);
}
