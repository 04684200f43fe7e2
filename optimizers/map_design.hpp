#pragma once
// Where MAP measures before its first fit: the points that leave the surrogate's variance least on
// the average over the space (I-optimality; exchanges: Fedorov, "Theory of optimal experiments",
// 1972), where terms of third order, which the surrogate does not have, may be there a little
// (DuMouchel and Jones, Technometrics 36(1), 1994).  Without those, and by the determinant instead
// of the average (D-optimality), a design loads the corners, where a quadratic is wrong.  Pure
// functions of their arguments.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "optimizers/map_space.hpp"

namespace paretod {

using Design = std::vector<std::vector<double>>;  ///< in scaled coordinates

/// `count` points: the anchors (origin, unit vectors; those not in `known`), then the I-optimal
/// ones given anchors and known points; beyond 256, even ones.  No point twice, none of `known`
/// again.
Design i_optimal_design(const MapSpace& space, std::size_t count, const Design& known,
                        std::uint64_t seed);

/// As the paper samples: the unit vectors, a share of points near the diagonal, the rest drawn from
/// a regular lattice.  `isotropic`: that share (0; 0.2 in the nested mode).
Design paper_design(const MapSpace& space, std::size_t count, double isotropic, std::uint64_t seed);

/// Rank of the full quadratic over the points.
std::size_t design_rank(const Design& design, bool simplex);

}  // namespace paretod
