#pragma once
// pagmo's algorithms (Biscani and Izzo, JOSS 5(53), 2020) as an optimizer: pagmo runs on the job's
// thread and asks through a user-defined problem whose batches are evaluations.  Only algorithms
// that pagmo 2.18 evaluates in batches are listed.
//
// pagmo draws from standard distributions, so unlike the rest of optimizers/ a run repeats bit
// for bit only with the same build of pagmo and of the standard library.  A trial that is not ok
// counts as worst in all objectives: a single bad one would spoil a whole front's crowding
// distances.  Maximised objectives arrive negated, as everywhere.

#include <cstdint>
#include <string>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct PagmoParams {
  std::string algorithm = "nsga2";
  std::int64_t population = 100;
  std::int64_t generations = 0;
  double crossover_probability = 0.95;
  double crossover_index = 10;
  double mutation_probability = 0;
  double mutation_index = 50;
  std::int64_t fidelity = 0;
};

template <>
Fields<PagmoParams> describe();

Optimizer pagmo_optimizer();

/// "2.18.0": what this build was compiled against, and what its replays depend on.
std::string pagmo_version();

}  // namespace paretod
