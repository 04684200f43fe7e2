#pragma once
// The size of a population: the usual one, and whether the budget pays for it.

#include <algorithm>
#include <cstdint>
#include <string>

#include "optimizers/core/result.hpp"

namespace paretod {

/// `usual`, if the budget (0: none) pays for it.  Else a quarter of the budget, so that most of it
/// is left to search with what the first points show; but `least`.
inline std::uint64_t usual_population(std::uint64_t usual, std::uint64_t budget,
                                      std::uint64_t least) {
  return budget == 0 || budget >= usual ? usual : std::max(least, budget / 4);
}

/// Problems of a population, set by the user or not, with a budget of trials (0: none).
inline Problems check_population(std::uint64_t population, bool set, std::uint64_t budget) {
  if (budget == 0 || budget >= population) return {};
  const std::string trials = std::to_string(budget) + (budget == 1 ? " trial" : " trials");
  if (!set) {
    return {{"/budget/trials", "the least population is " + std::to_string(population) +
                                   ", and there are " + trials + ": raise the budget"}};
  }
  return {{"/optimizer/params/population", std::to_string(population) +
                                               " is larger than the budget of " + trials +
                                               ": set at most that, or leave it out"}};
}

}  // namespace paretod
