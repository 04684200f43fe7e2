#pragma once
// The evaluator's one way to use several threads: a loop whose iterations are independent.  Which
// thread runs which iteration is unspecified, so iterations may not depend on it; sums across
// iterations are taken by the caller, in order, afterwards.
//
// OpenMP threads spin before they sleep.  Where other processes want the cores, that can double the
// processor time of an evaluation; OMP_WAIT_POLICY=passive in the environment avoids it.

#include <cstddef>
#include <functional>

namespace paretod {

/// Calls body(index, worker) once for every index in [0, count), on at most `threads` threads, and
/// returns when all are done.  `worker` < threads names the thread, for its scratch memory.  The
/// body must not throw.
void parallel_for(std::size_t threads, std::size_t count,
                  const std::function<void(std::size_t index, std::size_t worker)>& body);

}  // namespace paretod
