#include "daemon/rest/plausible_points.hpp"

#include <algorithm>
#include <numeric>

#include "optimizers/core/rng.hpp"

namespace paretod {

FrontSlice PlausiblePoints::find(const PooledPoints& pool, const FrontSlice& front,
                                 double confidence) {
  const std::lock_guard lock(mutex_);
  if (confidence != confidence_) verdicts_.clear();
  confidence_ = confidence;
  if (verdicts_.size() < pool.size()) verdicts_.resize(pool.size());
  const double z = normal_quantile(confidence);
  const std::size_t n = pool.objectives;

  std::vector<std::uint32_t> members;  // replicates by trial; 0: not on the front
  for (std::size_t k = 0; k < front.trials.size(); ++k) {
    if (members.size() <= front.trials[k]) members.resize(front.trials[k] + 1);
    members[front.trials[k]] = front.replicates[k];
  }
  const auto replicates_of = [&](TrialNumber trial) {
    return trial < members.size() ? members[trial] : 0;
  };
  // Who dominated a point is tried early for the next: most points fall at the first try.
  std::vector<std::size_t> order(front.trials.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> kept;
  for (std::size_t point = 0; point < pool.size(); ++point) {
    Verdict& verdict = verdicts_[point];
    if (verdict.member != 0 && verdict.replicates == pool.replicates[point] &&
        verdict.member_replicates == replicates_of(verdict.member)) {
      continue;
    }
    verdict = {};
    if (!pool.competes(point) || replicates_of(pool.first_trials[point]) != 0) continue;
    for (std::size_t k = 0; k < order.size() && verdict.member == 0; ++k) {
      const std::size_t place = order[k];
      if (!dominates_surely(front.points[place].data(), &front.errors[place * n], pool.mean(point),
                            pool.error(point), n, z)) {
        continue;
      }
      verdict = {front.trials[place], front.replicates[place], pool.replicates[point]};
      std::swap(order[k], order[k / 2]);
    }
    if (verdict.member == 0) kept.push_back(point);
  }
  std::sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(pool.mean(a), pool.mean(a) + n, pool.mean(b),
                                        pool.mean(b) + n);
  });
  FrontSlice slice;
  for (const std::size_t point : kept) add_point(slice, pool, point);
  return slice;
}

}  // namespace paretod
