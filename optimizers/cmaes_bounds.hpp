#pragma once
// How `cmaes` keeps to the bounds: a sample outside is evaluated at the nearest point of the box
// but keeps its place, and a generation is ordered by the sum of two ranks: that of the outcome
// and, for samples outside, that of the distance to the box among them, behind half of those
// inside.  Once all are inside, the second says nothing.  It needs no scale, and steps stay
// Gaussian.
//
// The multiple constraint ranking of Garcia et al., Computers & Structures 187, 2017, puts them
// behind all of those inside and lets both ranks count alike.  Here the second weighs as much as
// there is to learn from it: the share of samples inside, which is small while steps are wide, or,
// if the mean itself has strayed (which pycma's BoundPenalty goes by, too), half of its largest
// distance to the box in standard deviations.  Median evaluations with that weight and with 1: in
// 20 dimensions to 1e-8, a corner 480 and 1,300, a face of an ellipsoid 6,600 and 8,500; the
// rotated sharp ridge to 1e-1, 9,400 and 11,800; Rastrigin in 5 dimensions, 22,400 and 34,000 (11
// to 101 runs).  Without the share of samples inside, Weierstrass in 20 dimensions is solved by 3
// of 11 runs instead of 10.

#include <vector>

#include "optimizers/cmaes_stop.hpp"

namespace paretod {

/// Ranks of a generation, least first; equal ones may occur.  `excesses`: squared distances to the
/// box, 0 inside.  `strayed`: distance of the mean to the box, in standard deviations, along the
/// coordinate where it is largest.
std::vector<double> bounded_ranks(const std::vector<Merit>& merits,
                                  const std::vector<double>& excesses, double strayed);

}  // namespace paretod
