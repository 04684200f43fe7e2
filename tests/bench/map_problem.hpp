#pragma once
// What is behind the C interface of map_problems.hpp.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace paretod {

class MapProblem {
 public:
  virtual ~MapProblem() = default;
  /// Accuracies of the point x [n] into out [tasks], n == tasks.
  virtual void truth(const double* x, double* out) const = 0;
  virtual void measure(const double* x, double* out) const = 0;
  [[nodiscard]] virtual std::size_t dimension() const = 0;
  /// What accuracies have to be above to count.
  [[nodiscard]] virtual double floor() const = 0;
};

/// Null when the files cannot be used; says why on stderr.
std::unique_ptr<MapProblem> specialists_problem(const std::string& which,
                                                const std::string& folder);

}  // namespace paretod
