#pragma once
// Scores merged weights of a multi-layer perceptron that classifies: per task its accuracy (called
// as the task, to be maximised) and its mean cross-entropy (TASK_loss, to be minimised), with
// standard errors and counts.  The file, described in classifier_data.hpp, says which of them are
// objectives; the others are metrics.
//
// Fidelity is the number of examples of each task, all of them by default; replicate r sees the
// r-th block of so many, so that blocks are disjoint until the examples are used up and the count
// begins again.  Parameters: "heldout" also measures accuracy on examples that no search looks at,
// as metrics TASK_heldout; "examples" gives the values on single examples.
//
// Merged weights whose outputs are not finite are infeasible.

#include <memory>
#include <string>

#include "evaluators/merge/merged_scorer.hpp"

namespace paretod {

/// Problems point below "" (the file).
Result<std::unique_ptr<MergedScorer>> classifier_scorer(const std::string& file);

}  // namespace paretod
