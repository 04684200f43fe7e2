#pragma once
// Points off the front that may still belong to it: no member dominates them with the confidence
// asked for.  Each point is remembered with the member that ruled it out, and is compared again
// only when one of the two was measured again or the member has left the front: a running job's
// question costs what is new, and a look at each point.

#include <cstdint>
#include <mutex>
#include <vector>

#include "daemon/rest/front_slice.hpp"
#include "daemon/rest/told_columns.hpp"

namespace paretod {

/// Of one job.  Thread-safe.
class PlausiblePoints {
 public:
  /// Sorted by objectives, without crowding and scale.  `front` is that of the pool, which may be
  /// an earlier or a later one than at the last call.
  FrontSlice find(const PooledPoints& pool, const FrontSlice& front, double confidence);

 private:
  /// By whom a point was ruled out, and how often both had been measured.  Trial 0: by nobody.
  struct Verdict {
    TrialNumber member = 0;
    std::uint32_t member_replicates = 0;
    std::uint32_t replicates = 0;
  };

  std::mutex mutex_;
  double confidence_ = 0;
  std::vector<Verdict> verdicts_;  ///< by point
};

}  // namespace paretod
