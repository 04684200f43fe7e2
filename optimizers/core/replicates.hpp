#pragma once
// How sure the mean of a few replicates is.

#include <cstdint>

namespace paretod {

/// What a measurement's standard error adds to a sum of squared ones: its square, or a negative
/// number, which stays, when there is none (none was given, or 0, which says nothing of
/// replicates).
double add_reported(double sum, double standard_error);

/// Standard error of the mean of independent replicates of one quantity; at least 2 of them.
/// `squares` is the sum of their squared deviations from the mean, `reported` the sum of the
/// squared standard errors that came with them (negative: some came without).
///
/// The spread of two or three values says little: two that fall close together by luck would make
/// an uncertain point look exact, and a front collects the lucky.  Where the evaluator gave errors,
/// these count as eight degrees of freedom beside the spread, and are the least; where it did not,
/// the spread is widened by Student's t over the normal quantile, at 90 % two-sided.
double replicate_error(std::uint32_t replicates, double squares, double reported);

}  // namespace paretod
