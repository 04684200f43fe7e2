#pragma once
// The sampling of the published Bayesian mode (MAP.py and utils.py of the authors' repository): the
// positive orthant is cut into bins by angles, and bins in which a surrogate fits badly are drawn
// from more often.

#include <cstdint>
#include <vector>

#include "optimizers/map_model.hpp"

namespace paretod {

/// `count` new points, in scaled coordinates, for one objective; different for each `turn`.
std::vector<std::vector<double>> bin_samples(const MapModel& model, std::size_t objective,
                                             std::size_t count, std::uint64_t seed,
                                             std::uint64_t turn);

}  // namespace paretod
