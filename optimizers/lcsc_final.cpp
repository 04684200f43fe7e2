#include "optimizers/lcsc_final.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "optimizers/measure.hpp"
#include "optimizers/paired_report.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t most_anchors = 8;
constexpr std::uint64_t ema_finalists = 5;
constexpr std::uint64_t report_rows = 4;
/// Means of so many leaders compete as well: in a noisy valley they beat each of them.
constexpr std::array<std::uint64_t, 3> mean_sizes{5, 10, 20};

struct Finalist {
  Point point;
  bool ema = false;
  double score = infinity;
};

class Finalists {
 public:
  void add(const Point& point, bool ema) {
    const auto same = std::find_if(list_.begin(), list_.end(),
                                   [&](const Finalist& f) { return f.point == point; });
    if (same == list_.end()) {
      list_.push_back({point, ema});
    } else {
      same->ema = same->ema || ema;
    }
  }
  std::vector<Finalist> take() { return std::move(list_); }

 private:
  std::vector<Finalist> list_;
};

std::vector<Finalist> finalists(const LcscPlan& plan, const LcscSeeds& seeds,
                                const LcscArchive& archive, const std::vector<Point>& extra) {
  const std::vector<std::size_t>& ranking = archive.ranking();
  Finalists all;
  for (std::size_t i = 0; i < std::min<std::size_t>(plan.candidates, ranking.size()); ++i) {
    all.add(archive.point(ranking[i]), false);
  }
  for (const std::uint64_t size : mean_sizes) {
    if (size > plan.candidates || size > ranking.size()) continue;
    Point mean(archive.point(ranking.front()).size(), 0.0);
    for (std::size_t i = 0; i < size; ++i) {
      const Point& point = archive.point(ranking[i]);
      for (std::size_t k = 0; k < mean.size(); ++k) {
        mean[k] += point[k] / static_cast<double>(size);
      }
    }
    all.add(mean, false);
  }
  for (const Point& point : extra) all.add(point, false);
  bool best_seed = true;
  std::uint64_t emas = 0;
  for (const std::size_t entry : ranking) {
    if (entry >= seeds.all.size()) continue;
    const LcscSeed& seed = seeds.all[entry];
    const bool ema = seed.ema && emas < ema_finalists;
    if (ema) ++emas;
    if (ema || best_seed) all.add(seed.point, ema);
    best_seed = false;
  }
  return all.take();
}

void select(std::vector<Finalist>& list, const LcscPlan& plan, const LcscParams& params,
            const LcscArchive& archive, Evaluations& evaluations) {
  std::vector<Candidate> candidates;
  for (std::uint64_t r = 0; r < plan.selection_replicates; ++r) {
    for (const Finalist& finalist : list) {
      candidates.push_back({finalist.point, static_cast<std::uint64_t>(params.fidelity),
                            selection_replicate + r, "selection"});
    }
  }
  const std::vector<Trial> trials = measure(evaluations, candidates);
  for (std::size_t i = 0; i < list.size(); ++i) {
    double sum = 0;
    for (std::size_t t = i; t < trials.size(); t += list.size()) {
      sum += trials[t].ok() ? trials[t].objectives[0] : infinity;
    }
    list[i].score =
        sum / static_cast<double>(plan.selection_replicates) + archive.penalty(list[i].point);
  }
}

/// The first of the best; finalists come in the order of the search, so if all failed, its best.
const Finalist* best(const std::vector<Finalist>& list, bool only_ema) {
  const Finalist* found = nullptr;
  for (const Finalist& finalist : list) {
    if (only_ema && !finalist.ema) continue;
    if (found == nullptr || finalist.score < found->score) found = &finalist;
  }
  return found;
}

}  // namespace

std::uint64_t LcscPlan::final_cost() const {
  std::uint64_t list = candidates + ema_finalists + 2;  // the best seed and an extra point
  for (const std::uint64_t size : mean_sizes) list += size <= candidates ? 1 : 0;
  return list * selection_replicates + report_rows * report_replicates;
}

bool LcscPlan::shrink() {
  if (candidates > 10) {
    --candidates;
  } else if (report_replicates > 5) {
    --report_replicates;
  } else if (selection_replicates > 2) {
    --selection_replicates;
  } else if (candidates > 3) {
    --candidates;
  } else if (report_replicates > 1) {
    --report_replicates;
  } else if (selection_replicates > 1) {
    --selection_replicates;
  } else {
    return false;
  }
  return true;
}

LcscPlan lcsc_plan(const LcscParams& params, std::uint64_t trials) {
  LcscPlan plan;
  plan.candidates = static_cast<std::uint64_t>(params.selection_candidates);
  if (!params.deterministic) {
    plan.selection_replicates = static_cast<std::uint64_t>(params.selection_replicates);
    plan.report_replicates = static_cast<std::uint64_t>(params.report_replicates);
    // CMA-ES ranks whole generations on one replicate and re-scores nobody.
    if (params.search == "steady_state" && params.rescored_elites > 0) {
      plan.replicates = static_cast<std::uint64_t>(params.replicates_per_elite);
    }
  }
  if (plan.replicates > 1) {
    plan.anchors =
        static_cast<std::size_t>(std::min(most_anchors, trials / 10 / (plan.replicates - 1)));
    if (plan.anchors == 0) plan.replicates = 1;
  }
  while (plan.final_cost() > trials / 4 && plan.shrink()) {
  }
  return plan;
}

std::uint64_t lcsc_least_trials(std::size_t seeds) {
  LcscPlan plan;
  plan.candidates = 3;
  return 2 * seeds + plan.final_cost();
}

Report lcsc_finish(const SearchProblem& problem, const LcscParams& params, LcscPlan plan,
                   const LcscSeeds& seeds, const LcscArchive& archive,
                   const std::vector<Point>& extra, std::string stop_reason,
                   Evaluations& evaluations) {
  Report report;
  report.stop_reason = std::move(stop_reason);
  while (plan.final_cost() > evaluations.remaining() && plan.shrink()) {
  }
  std::vector<Finalist> list = finalists(plan, seeds, archive, extra);
  if (list.empty()) return report;
  if (evaluations.remaining() >= plan.final_cost()) {
    select(list, plan, params, archive, evaluations);
  }

  report.rows.push_back({"found", best(list, false)->point, 0, {}, {}});
  if (const Finalist* ema = best(list, true)) {
    report.rows.push_back({"best_ema", ema->point, 0, {}, {}});
  }
  report.rows.push_back({"uniform", seeds.all[seeds.uniform].point, 0, {}, {}});
  report.rows.push_back({"last", seeds.all[seeds.last].point, 0, {}, {}});

  const std::int64_t fidelity =
      params.report_fidelity > 0 ? params.report_fidelity : params.fidelity;
  measure_report(problem, static_cast<std::uint64_t>(fidelity), plan.report_replicates, report,
                 evaluations);
  return report;
}

}  // namespace paretod
