#pragma once
// Test functions as formulas.  All objectives are minimised.  Pure functions; any thread.
//
// ZDT: Zitzler, Deb, Thiele, "Comparison of multiobjective evolutionary algorithms: empirical
// results", Evolutionary Computation 8(2), 2000, section 4 (ZDT5 is binary and left out).
// DTLZ: Deb, Thiele, Laumanns, Zitzler, "Scalable test problems for evolutionary multiobjective
// optimization", TIK report 112, 2001; here with three objectives.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "optimizers/core/space.hpp"

namespace paretod {

struct TestFunction {
  std::string name;
  std::string summary;
  std::size_t objectives;
  std::size_t least_dimension;
  /// The usual space: x1, x2, ...; a job's space may have another length and narrower bounds.
  std::vector<Parameter> space;
  /// Bounds beyond the first coordinate follow the second one's, so the domain of any dimension
  /// is known.  False: any finite bounds will do.
  bool bounded_domain;
  /// Reads the coordinates, writes one value per objective.
  void (*value)(std::span<const double> x, std::span<double> f);
};

/// sphere, rosenbrock, zdt1-4, zdt6, dtlz1, dtlz2, dtlz7.
std::vector<TestFunction> test_functions();

}  // namespace paretod
