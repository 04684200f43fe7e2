#pragma once
// Racing: whether a trial that is still being evaluated is already clearly dominated by the front,
// so that its attempt may stop (Maron and Moore, "Hoeffding Races", NIPS 1993, with normal bounds
// in place of Hoeffding's).  Pure functions; any thread that may read the state.

#include <cstdint>

#include "daemon/jobs/job_state.hpp"

namespace paretod {

/// `partial`: as EvaluationReply::outcome of progress.  An objective counts as worse than a front
/// member's when it is so with one-sided `confidence`: by the paired differences where both have
/// values on single examples (the first ones are the same examples), else by the difference of
/// means and their standard errors.  Both need `minimum` samples.  The test is made at every
/// report, so `confidence` should be strict.
bool clearly_dominated(const Outcome& partial, JobState& state, const RacingPolicy& policy);

}  // namespace paretod
