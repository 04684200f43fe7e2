#pragma once
// AutoDiffusion's "paper" mode: the two-stage evolution of the authors' code (research/
// autodiffusion.md, section 2), with its constants as defaults.  Steps first; dropping layers opens
// when the best repeats or after five rounds, then ramps up over five.  Defects that the code has
// and this has not are named where they would be, in autodiffusion_paper.cpp.

#include <algorithm>
#include <cstdint>

#include "optimizers/autodiffusion.hpp"

namespace paretod {

/// How many layers a step may drop, round by round.
class PruneRamp {
 public:
  PruneRamp(double min_prune, double max_prune) : min_(min_prune), max_(max_prune) {}
  /// After a round (0, 1, ...) was ranked: whether the best was the best of the round before.
  void ranked(std::int64_t round, bool best_unchanged);
  /// Bounds of the share of dropped layers; 0 and 0 until the second stage opens.
  [[nodiscard]] double low() const { return least_open_ ? std::min(min_, high_) : 0; }
  [[nodiscard]] double high() const { return high_; }

 private:
  double min_, max_;
  double high_ = 0;
  bool least_open_ = false;
};

Report run_autodiffusion_paper(const SearchProblem& problem, const AutoDiffusionParams& params,
                               Evaluations& evaluations);

}  // namespace paretod
