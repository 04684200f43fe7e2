#pragma once
// Where MAP measures before its first fit.  Half of the points make the coefficients of the
// quadratic sure (D-optimality: Fedorov, "Theory of optimal experiments", 1972; exchanges on a
// three-level grid), half fill the space evenly (Sobol), since a design that is only D-optimal
// loads the corners, where a quadratic is wrong.  Pure functions of their arguments.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "optimizers/map_space.hpp"

namespace paretod {

using Design = std::vector<std::vector<double>>;  ///< in scaled coordinates

/// `count` points: the anchors (origin, unit vectors; those not in `known`), then the D-optimal
/// half given anchors and known points, then the rest.  No point twice, none of `known` again.
Design hybrid_design(const MapSpace& space, std::size_t count, const Design& known,
                     std::uint64_t seed);

/// As the paper samples: the unit vectors, a share of points near the diagonal, the rest drawn from
/// a regular lattice.  `isotropic`: that share (0; 0.2 in the nested mode).
Design paper_design(const MapSpace& space, std::size_t count, double isotropic, std::uint64_t seed);

/// Rank of the full quadratic over the points.
std::size_t design_rank(const Design& design, bool simplex);

}  // namespace paretod
