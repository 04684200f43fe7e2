#pragma once
// A batch for searches that mix styles: asks for many evaluations without exceeding the width the
// run has, and tries failed ones once more.  Throws what Evaluations throws.

#include <vector>

#include "optimizers/core/evaluations.hpp"

namespace paretod {

/// Outcomes in the order of the candidates.  A trial that failed is asked for once more while the
/// budget lasts (an infeasible or unknown one is not: the first is a result, the second may have
/// been paid).  Candidates for which no budget was left come back with number 0 and status
/// `failed`.  Requires in_flight() == 0, and leaves it so.
std::vector<Trial> measure(Evaluations& evaluations, const std::vector<Candidate>& candidates);

}  // namespace paretod
