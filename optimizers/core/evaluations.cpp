#include "optimizers/core/evaluations.hpp"

#include <algorithm>
#include <utility>

namespace paretod {

std::vector<Trial> Evaluations::evaluate(const std::vector<Candidate>& candidates) {
  // Ascending, though not without gaps: others may have trials measured meanwhile.
  std::vector<TrialNumber> numbers;
  numbers.reserve(candidates.size());
  for (const Candidate& candidate : candidates) numbers.push_back(submit(candidate));
  std::vector<Trial> trials(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    Trial trial = next();
    const auto place = std::lower_bound(numbers.begin(), numbers.end(), trial.number);
    trials[static_cast<std::size_t>(place - numbers.begin())] = std::move(trial);
  }
  return trials;
}

}  // namespace paretod
