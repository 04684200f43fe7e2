#pragma once
// Who survives by NSGA-II's rule (Deb et al., IEEE TEC 6(2), 2002): of the last front, who is least
// crowded.  Not thread-safe.

#include <cstddef>
#include <vector>

#include "optimizers/steady_state.hpp"

namespace paretod {

/// One member goes at a time, and distances are taken anew each time, so a cluster loses its
/// members one by one instead of all at once.
class CrowdingSurvival final : public Survival {
 public:
  std::size_t worst(const RankedPopulation& population) override;
  void removed(std::size_t i) override;
  [[nodiscard]] bool prefers(std::size_t a, std::size_t b) const override;

 private:
  /// Of a member that is newer than the last call of worst(): infinite.
  [[nodiscard]] double distance(std::size_t i) const;

  std::vector<double> distances_;
};

}  // namespace paretod
