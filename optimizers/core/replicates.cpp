#include "optimizers/core/replicates.hpp"

#include <algorithm>
#include <cmath>

namespace paretod {
namespace {

constexpr double reported_freedom = 8;

/// Student's 95 % quantile over the normal one: exact for one and two degrees of freedom, beyond
/// by the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), within 0.3 %.
double widening(double freedom) {
  if (freedom < 1.5) return 3.8385;
  if (freedom < 2.5) return 1.7752;
  return 1 + (0.92641 + (0.86348 + 0.59760 / freedom) / freedom) / freedom;
}

}  // namespace

double add_reported(double sum, double standard_error) {
  return sum < 0 || !(standard_error > 0) ? -1 : sum + standard_error * standard_error;
}

double replicate_error(std::uint32_t replicates, double squares, double reported) {
  const double count = replicates;
  const double freedom = count - 1;
  if (reported < 0) return std::sqrt(squares / freedom / count) * widening(freedom);
  const double each = reported / count;
  const double blended = (reported_freedom * each + squares) / (reported_freedom + freedom);
  return std::sqrt(std::max(each, blended) / count);
}

}  // namespace paretod
