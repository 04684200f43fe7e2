#include "optimizers/measure.hpp"

#include <cstddef>
#include <deque>
#include <map>
#include <utility>

namespace paretod {

std::vector<Trial> measure(Evaluations& evaluations, const std::vector<Candidate>& candidates) {
  struct Ask {
    std::size_t index;
    bool retry;
  };
  std::deque<Ask> queue;
  std::vector<Trial> trials(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    trials[i].candidate = candidates[i];
    trials[i].status = TrialStatus::failed;
    queue.push_back({i, false});
  }
  std::map<TrialNumber, Ask> asked;
  while (true) {
    while (!queue.empty() && evaluations.slot_free()) {
      const Ask ask = queue.front();
      queue.pop_front();
      asked.emplace(evaluations.submit(candidates[ask.index]), ask);
    }
    if (evaluations.in_flight() == 0) return trials;
    Trial trial = evaluations.next();
    const auto found = asked.find(trial.number);
    const Ask ask = found->second;
    asked.erase(found);
    if (trial.status == TrialStatus::failed && !ask.retry) queue.push_back({ask.index, true});
    trials[ask.index] = std::move(trial);
  }
}

}  // namespace paretod
