#pragma once
// pagmo's algorithms (Biscani and Izzo, JOSS 5(53), 2020) as an optimizer: pagmo runs on the job's
// thread and asks through a user-defined problem whose evaluations are the job's.
//
// Parallelism: the first population is always asked for at once; after it, only the algorithms
// that pagmo 2.18 evaluates in batches (nsga2, nspso, maco, gaco, pso_gen) keep more than one
// trial in flight, a generation at a time.  The others ask for one point and wait for it.
//
// pagmo draws from standard distributions, so unlike the rest of optimizers/ a run repeats bit
// for bit only with the same build of pagmo and of the standard library.
//
// pagmo knows neither failure nor constraints whose number is not known beforehand, so values rank
// a trial, in all objectives at once (a single bad one would spoil a whole front's crowding
// distances): a trial that violates constraints by v in sum has 1e12 * (2 + v / (1 + v)), behind
// every feasible one (whose values count up to 1e12) and ordered by v; a trial that is not ok has
// 4e12.  Maximised objectives arrive negated, as everywhere.
//
// The first population: the job's initial points, then imported trials of the job's fidelity at
// no evaluation, then random points; of more than fit, the best (by rank and crowding).

#include <string>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

/// Its parameter `algorithm` decides which others there are: see pagmo_algorithms.hpp.
Optimizer pagmo_optimizer();

/// "2.18.0": what this build was compiled against, and what its replays depend on.
std::string pagmo_version();

}  // namespace paretod
