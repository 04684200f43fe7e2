#include "optimizers/paired_report.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/measure.hpp"

namespace paretod {
namespace {

/// With the user's sign.
std::optional<double> value_of(const Trial& trial, std::size_t quantity,
                               const std::vector<Objective>& objectives,
                               const std::vector<std::string>& quantities) {
  if (!trial.ok()) return std::nullopt;
  if (quantity < objectives.size()) {
    const double value = trial.objectives[quantity];
    return objectives[quantity].goal == Goal::maximize ? -value : value;
  }
  for (const auto& [name, value] : trial.metrics) {
    if (name == quantities[quantity]) return value;
  }
  return std::nullopt;
}

}  // namespace

void measure_report(const SearchProblem& problem, std::uint64_t fidelity, std::uint64_t replicates,
                    Report& report, Evaluations& evaluations) {
  const std::size_t rows = report.rows.size();
  std::vector<Candidate> candidates;
  for (std::uint64_t r = 0; r < replicates; ++r) {
    for (const ReportRow& row : report.rows) {
      candidates.push_back({row.point, fidelity, report_replicate + r, "report:" + row.name});
    }
  }
  const std::vector<Trial> trials = measure(evaluations, candidates);

  for (const Objective& objective : problem.objectives) {
    report.quantities.push_back(objective.name);
  }
  const auto measured =
      std::find_if(trials.begin(), trials.end(), [](const Trial& trial) { return trial.ok(); });
  if (measured == trials.end()) return;
  for (const auto& [name, value] : measured->metrics) report.quantities.push_back(name);
  for (std::size_t row = 0; row < rows; ++row) {
    report.rows[row].trial = trials[row].number;
    for (std::size_t q = 0; q < report.quantities.size(); ++q) {
      std::vector<double> values, differences;
      for (std::size_t first = 0; first < trials.size(); first += rows) {
        const auto value_at = [&](std::size_t i) {
          return value_of(trials[first + i], q, problem.objectives, report.quantities);
        };
        const std::optional<double> value = value_at(row);
        const std::optional<double> reference = value_at(0);
        if (value) values.push_back(*value);
        if (value && reference) differences.push_back(*value - *reference);
      }
      report.rows[row].estimates.push_back(estimate(values));
      report.rows[row].difference.push_back(estimate(differences));
    }
  }
}

}  // namespace paretod
