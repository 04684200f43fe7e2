#include "optimizers/map_report.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "optimizers/core/front.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double augmentation = 1e-3;
constexpr std::size_t most_warnings = 3;

Estimate measured(const Trial& trial, std::size_t k, const Objective& objective) {
  const double value = trial.objectives[k];
  return {objective.goal == Goal::maximize ? -value : value, trial.standard_errors[k], 1};
}

}  // namespace

Report map_report(const SearchProblem& problem, const MapParams& params,
                  const std::shared_ptr<const MapModel>& model, const std::vector<Trial>& trials,
                  std::string stop_reason) {
  Report report;
  report.stop_reason = std::move(stop_reason);
  if (model) {
    const SurrogateSummary& summary = model->summary();
    report.stop_reason += "; " + summary.verdict + ": " + summary.verdict_reason;
    const std::size_t shown = std::min(most_warnings, summary.warnings.size());
    for (std::size_t i = 0; i < shown; ++i) report.stop_reason += "; " + summary.warnings[i];
    if (shown < summary.warnings.size()) report.stop_reason += "; and more of that kind";
  }
  std::map<TrialNumber, const Trial*> by_number;
  ParetoArchive archive;
  const auto insert = [&](const Trial& trial) {
    if (!trial.ok() || trial.violation() > 0) return;
    if (trial.candidate.fidelity != static_cast<std::uint64_t>(params.fidelity)) return;
    by_number[trial.number] = &trial;
    archive.insert(trial.number, trial.objectives);
  };
  for (const Trial& trial : problem.known) insert(trial);
  for (const Trial& trial : trials) insert(trial);
  if (archive.empty()) return report;

  const std::size_t m = problem.objectives.size();
  std::vector<double> ideal(m, infinity), nadir(m, -infinity);
  std::vector<std::size_t> best(m, 0);
  for (std::size_t i = 0; i < archive.size(); ++i) {
    for (std::size_t k = 0; k < m; ++k) {
      const double y = archive.objective(i, k);
      nadir[k] = std::max(nadir[k], y);
      if (y >= ideal[k]) continue;
      ideal[k] = y;
      best[k] = i;
    }
  }
  std::size_t balanced = 0;
  double least = infinity;
  for (std::size_t i = 0; i < archive.size(); ++i) {
    double worst = 0, sum = 0;
    for (std::size_t k = 0; k < m; ++k) {
      const double range = nadir[k] > ideal[k] ? nadir[k] - ideal[k] : 1;
      const double z = (archive.objective(i, k) - ideal[k]) / range;
      worst = std::max(worst, z);
      sum += z;
    }
    if (worst + augmentation * sum >= least) continue;
    least = worst + augmentation * sum;
    balanced = i;
  }

  std::vector<std::pair<std::string, std::size_t>> picks{{"balanced", balanced}};
  for (std::size_t k = 0; k < m; ++k) {
    report.quantities.push_back(problem.objectives[k].name);
    picks.emplace_back("best " + problem.objectives[k].name, best[k]);
  }
  const Trial& first = *by_number[archive.id(balanced)];
  for (const auto& [name, place] : picks) {
    const Trial& trial = *by_number[archive.id(place)];
    ReportRow row{name, trial.candidate.point, trial.number, {}, {}};
    for (std::size_t k = 0; k < m; ++k) {
      const Estimate value = measured(trial, k, problem.objectives[k]);
      const Estimate reference = measured(first, k, problem.objectives[k]);
      row.estimates.push_back(value);
      row.difference.push_back({value.mean - reference.mean, -1, 1});
    }
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace paretod
