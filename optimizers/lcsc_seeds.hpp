#pragma once
// Starting points of a search over combinations of saved checkpoints: what people use today.
// Each is evaluated, and competes to the end.

#include <cstddef>
#include <string>
#include <vector>

#include "optimizers/core/space.hpp"

namespace paretod {

struct LcscSeed {
  std::string name;  ///< "last", "uniform", "ema half-life 400", "mean of last 10", or a label
  Point point;
  /// An exponential moving average: a projected one, or the trainer's own as a column.
  bool ema = false;
};

/// Without repetition: equal points are one seed.
struct LcscSeeds {
  std::vector<LcscSeed> all;
  std::size_t last = 0;     ///< index of the newest checkpoint alone
  std::size_t uniform = 0;  ///< index of the mean of all checkpoints
};

/// Coefficients, summing to one, that give checkpoints saved at `positions` (increasing, in
/// iterations) the weight they have in an average whose memory of an iteration halves every
/// `half_life` iterations.  Exact: the weights of all iterations since the previous save
/// telescope (research/lcsc.md, section 1).
std::vector<double> ema_projection(const std::vector<double>& positions, double half_life);

/// For a space of one affine parameter.  Columns without a position are taken for true EMA
/// weights; if the parameter gives no positions at all, its columns are equally spaced saves.
LcscSeeds lcsc_seeds(const SearchSpace& space);

}  // namespace paretod
