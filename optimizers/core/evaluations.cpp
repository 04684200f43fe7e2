#include "optimizers/core/evaluations.hpp"

#include <utility>

namespace paretod {

std::vector<Trial> Evaluations::evaluate(const std::vector<Candidate>& candidates) {
  TrialNumber first = 0;
  for (const Candidate& candidate : candidates) {
    const TrialNumber number = submit(candidate);
    if (first == 0) first = number;
  }
  std::vector<Trial> trials(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    Trial trial = next();
    const auto index = static_cast<std::size_t>(trial.number - first);
    trials[index] = std::move(trial);
  }
  return trials;
}

}  // namespace paretod
