#include "optimizers/core/trial.hpp"

#include <cstring>

namespace paretod {

bool Candidate::same_as(const Candidate& other) const {
  return point.size() == other.point.size() && fidelity == other.fidelity &&
         replicate == other.replicate && tag == other.tag &&
         (point.empty() ||
          std::memcmp(point.data(), other.point.data(), point.size() * sizeof(double)) == 0);
}

Spend& Spend::operator+=(const Spend& other) {
  seconds += other.seconds;
  tokens += other.tokens;
  money_micros += other.money_micros;
  return *this;
}

std::string_view name_of(TrialStatus status) {
  switch (status) {
    case TrialStatus::ok:
      return "ok";
    case TrialStatus::infeasible:
      return "infeasible";
    case TrialStatus::failed:
      return "failed";
    case TrialStatus::unknown:
      return "unknown";
  }
  return "unknown";
}

double violation_of(const std::vector<double>& constraints) {
  double sum = 0;
  for (const double g : constraints) sum += g > 0 ? g : 0;
  return sum;
}

double Trial::violation() const {
  return ok() ? violation_of(constraints) : std::numeric_limits<double>::infinity();
}

Trial trial_view(TrialNumber number, const Candidate& candidate, const Outcome& outcome,
                 const std::vector<Objective>& objectives) {
  Trial trial{number, candidate, outcome.status, {}, {}, {}, outcome.metrics};
  if (trial.ok()) {
    trial.constraints = outcome.constraints;
    trial.examples = outcome.examples;
  }
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    if (!trial.ok()) {
      trial.objectives.push_back(std::numeric_limits<double>::infinity());
      trial.standard_errors.push_back(-1);
      continue;
    }
    const Measurement& measured = outcome.objectives[i];
    trial.objectives.push_back(objectives[i].goal == Goal::maximize ? -measured.value
                                                                    : measured.value);
    trial.standard_errors.push_back(measured.standard_error);
    if (objectives[i].goal == Goal::minimize || i >= trial.examples.size()) continue;
    for (float& value : trial.examples[i]) value = -value;
  }
  return trial;
}

}  // namespace paretod
