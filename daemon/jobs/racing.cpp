#include "daemon/jobs/racing.hpp"

#include <algorithm>
#include <cmath>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

/// `sign` is -1 for a maximised objective.
bool worse_by_examples(const std::vector<float>& ours, const std::vector<float>& theirs,
                       double sign, double z, std::uint64_t minimum) {
  const std::size_t pairs = std::min(ours.size(), theirs.size());
  if (pairs < std::max<std::uint64_t>(minimum, 2)) return false;
  double mean = 0;
  double squares = 0;
  for (std::size_t i = 0; i < pairs; ++i) {
    const double difference =
        sign * (static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
    const double delta = difference - mean;
    mean += delta / static_cast<double>(i + 1);
    squares += delta * (difference - mean);
  }
  const double n = static_cast<double>(pairs);
  return mean > 0 && mean >= z * std::sqrt(squares / (n - 1) / n);
}

bool worse_by_means(const Measurement& ours, double theirs, double their_error, double sign,
                    double z, std::uint64_t minimum) {
  // Without a standard error nobody knows how far it is from its final value.
  if (!ours.has_error() || ours.count < minimum) return false;
  const double error = std::max(their_error, 0.0);
  const double difference = sign * (ours.value - theirs);
  return difference > 0 &&
         difference >= z * std::sqrt(ours.standard_error * ours.standard_error + error * error);
}

}  // namespace

bool clearly_dominated(const Outcome& partial, JobState& state, const RacingPolicy& policy) {
  const std::vector<Objective>& objectives = state.spec().objectives;
  if (!policy.active() || partial.objectives.size() != objectives.size()) return false;
  const double z = normal_quantile(policy.confidence);
  const ParetoArchive& front = state.front();
  for (std::size_t member = 0; member < front.size(); ++member) {
    const MeasuredPoint& point = state.measured()[front.id(member)];
    const Outcome& first = *state.trials()[point.first_trial - 1].outcome;
    bool dominated = true;
    for (std::size_t i = 0; dominated && i < objectives.size(); ++i) {
      const double sign = objectives[i].goal == Goal::maximize ? -1 : 1;
      const Measurement& ours = partial.objectives[i];
      if (std::isnan(ours.value)) {
        dominated = false;
      } else if (i < partial.examples.size() && i < first.examples.size() &&
                 !partial.examples[i].empty() && !first.examples[i].empty()) {
        dominated =
            worse_by_examples(partial.examples[i], first.examples[i], sign, z, policy.minimum);
      } else {
        dominated = worse_by_means(ours, point.mean[i], point.standard_error(i, first), sign, z,
                                   policy.minimum);
      }
    }
    if (dominated) return true;
  }
  return false;
}

}  // namespace paretod
