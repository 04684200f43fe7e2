#pragma once
// When a run of CMA-ES has converged or stagnates, as pycma 4 and the tutorial (arXiv 1604.00772,
// section B.3) tell it.  A plain value.

#include <cstddef>
#include <deque>
#include <limits>
#include <vector>

#include "optimizers/cma_es.hpp"

namespace paretod {

/// What ranks a trial: failures last, then by violation, then by value.
struct Merit {
  double violation = std::numeric_limits<double>::infinity();
  double value = std::numeric_limits<double>::infinity();
  bool operator<(const Merit& other) const {
    return violation != other.violation ? violation < other.violation : value < other.value;
  }
};

class StopCriteria {
 public:
  StopCriteria() = default;
  /// Of one run.  Steps are looked at along the continuous coordinates only; sigma is that of the
  /// usual first step.
  StopCriteria(std::vector<std::size_t> continuous, double sigma, std::size_t most_generations);

  /// After each update of the distribution: the merits of its generation, best first.
  bool reached(const CmaEs& core, const std::vector<Merit>& sorted);

 private:
  /// The best values, or all of a generation, hardly differ.
  [[nodiscard]] bool flat(const std::vector<Merit>& sorted, double n);
  [[nodiscard]] bool stagnates(double n, double lambda, double patience) const;

  std::vector<std::size_t> continuous_;
  double sigma_ = 0;
  std::size_t most_generations_ = 0;
  std::deque<double> best_, median_;  // of the last generations, newest first
  std::size_t generations_ = 0;
  std::size_t flat_ = 0;  // generations in a row
  std::size_t improved_at_ = 0;
  Merit top_ = {};
};

}  // namespace paretod
