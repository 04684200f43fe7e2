#include "optimizers/evo_merging_report.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "optimizers/measure.hpp"
#include "optimizers/merge_search.hpp"

namespace paretod {
namespace {

/// One quantity of one row: an objective, in the user's sign, or a metric.
std::optional<Estimate> value_of(const Trial& trial, std::size_t quantity,
                                 const SearchProblem& problem, const std::string& name) {
  if (!trial.ok()) return std::nullopt;
  if (quantity < problem.objectives.size()) {
    const double sign = problem.objectives[quantity].goal == Goal::maximize ? -1 : 1;
    const std::size_t count =
        quantity < trial.examples.size() ? trial.examples[quantity].size() : 0;
    return Estimate{sign * trial.objectives[quantity], trial.standard_errors[quantity],
                    std::max<std::uint64_t>(count, 1)};
  }
  for (const auto& [metric, value] : trial.metrics) {
    if (metric == name) return Estimate{value, -1, 1};
  }
  return std::nullopt;
}

/// The mean is that of the values; the examples give its error.
Estimate difference_of(const Trial& trial, const Estimate& value, const Trial& first,
                       const Estimate& reference, std::size_t quantity) {
  Estimate difference{value.mean - reference.mean, -1, 1};
  if (trial.number == first.number) return {0, 0, value.count};
  const bool paired = quantity < trial.examples.size() && quantity < first.examples.size() &&
                      trial.examples[quantity].size() > 1 &&
                      trial.examples[quantity].size() == first.examples[quantity].size();
  if (paired) {
    std::vector<double> pairs;
    for (std::size_t i = 0; i < trial.examples[quantity].size(); ++i) {
      pairs.push_back(static_cast<double>(trial.examples[quantity][i]) -
                      static_cast<double>(first.examples[quantity][i]));
    }
    const Estimate found = estimate(pairs);
    difference.standard_error = found.standard_error;
    difference.count = found.count;
  } else if (value.standard_error >= 0 && reference.standard_error >= 0) {
    difference.standard_error = std::hypot(value.standard_error, reference.standard_error);
  }
  return difference;
}

}  // namespace

Report merge_report(const SearchProblem& problem, const std::vector<NamedPoint>& rows,
                    std::uint64_t examples, std::string stop_reason, Evaluations& evaluations) {
  Report report;
  report.stop_reason = std::move(stop_reason);
  std::vector<Candidate> candidates;
  for (const NamedPoint& row : rows) {
    candidates.push_back({row.point, examples, report_split, "report:" + row.name});
  }
  const std::vector<Trial> trials = measure(evaluations, candidates);
  for (const Objective& objective : problem.objectives) {
    report.quantities.push_back(objective.name);
  }
  const auto measured =
      std::find_if(trials.begin(), trials.end(), [](const Trial& trial) { return trial.ok(); });
  if (measured != trials.end()) {
    for (const auto& [name, value] : measured->metrics) report.quantities.push_back(name);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    // Not reached by the budget; the result itself is reported whatever happens.
    if (i > 0 && !trials[i].ok()) continue;
    ReportRow row{rows[i].name, rows[i].point, trials[i].number, {}, {}};
    for (std::size_t q = 0; q < report.quantities.size(); ++q) {
      const auto value = value_of(trials[i], q, problem, report.quantities[q]);
      const auto reference = value_of(trials[0], q, problem, report.quantities[q]);
      row.estimates.push_back(value.value_or(Estimate{}));
      row.difference.push_back(value && reference
                                   ? difference_of(trials[i], *value, trials[0], *reference, q)
                                   : Estimate{});
    }
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace paretod
