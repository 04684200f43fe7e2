#pragma once
// The algorithms of pagmo 2.18 that paretod runs: what each demands of a job, its own parameters,
// and how it is made.  One explicit table in pagmo_algorithms.cpp.
//
// Left out: nlopt and ipopt (they want gradients, or a library of their own), cstrs_self_adaptive
// (constraints are ranked by the bridge), null_algorithm.  moead_gen came with pagmo 2.19.  The
// `memory` switches of pagmo are for repeated short runs, which do not occur here.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <pagmo/algorithm.hpp>
#include <string>
#include <vector>

#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// What an algorithm's own check may look at.
struct PagmoJob {
  std::size_t objectives = 0;
  std::int64_t population = 0;
};

/// What an algorithm is made from, besides its own parameters.
struct PagmoSetup {
  unsigned generations = 0;
  unsigned seed = 0;
  std::size_t dimension = 0;
};

/// What pagmo calls a generation of it.
enum class PagmoGenerations {
  population,  ///< one evaluation per point of the population
  single,      ///< one evaluation
  none,        ///< it has no generations: it ends by itself
};

struct PagmoDemands {
  std::string name;
  std::string method;  ///< for people
  std::size_t least_objectives = 1;
  std::size_t most_objectives = 1;
  std::int64_t population = 100;  ///< default
  std::int64_t least_population = 2;
  std::int64_t population_multiple = 1;
  bool batches = false;   ///< asks for a generation at once; else for one point at a time
  bool integers = false;  ///< knows whole coordinates; for the others they are rounded
  PagmoGenerations generations = PagmoGenerations::population;
  bool plans = false;     ///< its course depends on the number of generations to come
  bool restarts = false;  ///< goes on from its best point when it has ended
};

struct PagmoAlgorithm {
  PagmoDemands demands;
  std::vector<FieldInfo> fields;  ///< its own, not those common to all
  /// Problems below /optimizer/params, of its own parameters.
  std::function<Problems(const ParamValues&, const PagmoJob&)> check;
  /// Only with values that were checked.
  std::function<pagmo::algorithm(const ParamValues&, const PagmoSetup&)> make;
};

/// All of them; built once per call.
std::vector<PagmoAlgorithm> pagmo_algorithms();

}  // namespace paretod
