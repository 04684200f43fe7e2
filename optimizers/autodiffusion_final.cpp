#include "optimizers/autodiffusion_final.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <sstream>
#include <tuple>
#include <utility>

#include "optimizers/measure.hpp"
#include "optimizers/paired_report.hpp"
#include "optimizers/schedule_seeds.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Finalists of about one cost, best first.
using Niche = std::vector<Finalist>;

/// Cuts the finalists at the costs of `plan.points` members of their front, evenly spread over it,
/// the ends included.
std::vector<Niche> niches_of(std::vector<Finalist> finalists, const AutoDiffusionPlan& plan) {
  std::sort(finalists.begin(), finalists.end(), [](const Finalist& a, const Finalist& b) {
    return std::tie(a.cost, a.score, a.point) < std::tie(b.cost, b.score, b.point);
  });
  std::vector<double> front;
  double best = infinity;
  for (const Finalist& finalist : finalists) {
    if (finalist.score >= best) continue;
    best = finalist.score;
    front.push_back(finalist.cost);
  }
  std::vector<double> cuts;
  const std::size_t points = std::min<std::size_t>(plan.points, front.size());
  for (std::size_t i = 0; i + 1 < points; ++i) {
    cuts.push_back(front[i * (front.size() - 1) / (points - 1)]);
  }
  // What costs more than the best of all is worse; it may still be the better on fresh replicates.
  if (points > 0) cuts.push_back(plan.points == 1 ? infinity : front.back());
  std::vector<Niche> niches(cuts.size());
  for (Finalist& finalist : finalists) {
    const auto cut = std::lower_bound(cuts.begin(), cuts.end(), finalist.cost);
    if (cut == cuts.end()) continue;
    niches[static_cast<std::size_t>(cut - cuts.begin())].push_back(std::move(finalist));
  }
  for (Niche& niche : niches) {
    std::stable_sort(niche.begin(), niche.end(),
                     [](const Finalist& a, const Finalist& b) { return a.score < b.score; });
    if (niche.size() > plan.candidates) niche.resize(plan.candidates);
  }
  return niches;
}

/// Puts the best on fresh replicates first in each niche.
void select(std::vector<Niche>& niches, const AutoDiffusionPlan& plan, std::uint64_t fidelity,
            Evaluations& evaluations) {
  std::vector<Candidate> candidates;
  for (std::uint64_t r = 0; r < plan.selection_replicates; ++r) {
    for (const Niche& niche : niches) {
      for (const Finalist& finalist : niche) {
        candidates.push_back({finalist.point, fidelity, selection_replicate + r, "selection"});
      }
    }
  }
  const std::vector<Trial> trials = measure(evaluations, candidates);
  const std::size_t stride = trials.size() / plan.selection_replicates;
  std::size_t i = 0;
  for (Niche& niche : niches) {
    for (Finalist& finalist : niche) {
      finalist.score = 0;
      for (std::size_t t = i; t < trials.size(); t += stride) {
        finalist.score += trials[t].ok() && trials[t].violation() == 0
                              ? trials[t].objectives[0] /
                                    static_cast<double>(plan.selection_replicates)
                              : infinity;
      }
      ++i;
    }
    std::stable_sort(niche.begin(), niche.end(),
                     [](const Finalist& a, const Finalist& b) { return a.score < b.score; });
  }
}

/// The niche farthest below the line between the ends of the front; of two, the better one.
std::size_t knee(const std::vector<Niche>& niches) {
  if (niches.size() < 3) return niches.size() - 1;
  const Finalist& cheap = niches.front().front();
  const Finalist& good = niches.back().front();
  const double costs = good.cost - cheap.cost;
  const double scores = cheap.score - good.score;
  std::size_t best = niches.size() - 1;
  double farthest = 0;
  for (std::size_t i = 1; i + 1 < niches.size(); ++i) {
    const Finalist& finalist = niches[i].front();
    const double depth =
        (cheap.score - finalist.score) / scores - (finalist.cost - cheap.cost) / costs;
    if (!(depth > farthest)) continue;
    farthest = depth;
    best = i;
  }
  return best;
}

class Rows {
 public:
  Rows(const SearchProblem& problem, const AutoDiffusionParams& params,
       const std::vector<Finalist>& finalists)
      : coding_(problem.space, schedule_index(problem.space)),
        costs_(schedule_costs(coding_.parameter(), params)),
        several_(autodiffusion_plan(problem, params).points > 1) {
    // Whether uniform steps should begin with the cleanest or end with the noisiest depends on the
    // model; the rival is what did better in the search.
    const Parameter& p = coding_.parameter();
    int wins = 0;
    for (std::size_t count = p.least; count <= p.most; ++count) {
      std::array<double, 2> scores{infinity, infinity};
      for (const bool leading : {false, true}) {
        const Point point = coding_.encode(uniform(count, 0, leading), problem.space.resting());
        const auto found =
            std::find_if(finalists.begin(), finalists.end(),
                         [&](const Finalist& finalist) { return finalist.point == point; });
        if (found != finalists.end()) scores[leading ? 1 : 0] = found->score;
      }
      if (scores[0] < infinity && scores[1] < infinity) wins += scores[1] < scores[0] ? 1 : -1;
    }
    leading_ = wins > 0;
  }

  void add(const Finalist& found, std::vector<ReportRow>& rows) const {
    const Steps steps = coding_.decode(found.point);
    rows.push_back({"found" + suffix(steps, found.cost), found.point, 0, {}, {}});
    const Steps rival = uniform_beside(steps, found.cost);
    if (rival.empty()) return;
    Point point = coding_.encode(rival, found.point);
    const bool listed = std::any_of(rows.begin(), rows.end(),
                                    [&](const ReportRow& row) { return row.point == point; });
    if (listed) return;
    rows.push_back({"uniform" + suffix(rival, costs_.of(rival)), std::move(point), 0, {}, {}});
  }

 private:
  /// As many uniform steps as cost no more, nothing dropped; none if even the fewest do.
  [[nodiscard]] Steps uniform_beside(const Steps& steps, double cost) const {
    const Parameter& p = coding_.parameter();
    for (std::size_t count = p.most; count >= p.least; --count) {
      Steps made = uniform(count, steps.front().choice, leading_);
      if (costs_.of(made) <= cost * (1 + 1e-12)) return made;
    }
    return {};
  }

  [[nodiscard]] Steps uniform(std::size_t count, double choice, bool leading) const {
    const Parameter& p = coding_.parameter();
    Steps made;
    for (const double at : leading ? leading_nodes(p, count) : uniform_nodes(p, count)) {
      made.push_back({at, choice, std::vector<bool>(p.mask.size())});
    }
    return made;
  }

  [[nodiscard]] std::string suffix(const Steps& steps, double cost) const {
    if (!several_) return "";
    std::ostringstream text;
    text << ", " << steps.size() << (steps.size() == 1 ? " step" : " steps");
    if (cost != static_cast<double>(steps.size())) text << ", cost " << cost;
    return text.str();
  }

  const ScheduleCoding coding_;
  const ScheduleCosts costs_;
  const bool several_;
  bool leading_ = false;
};

}  // namespace

std::uint64_t AutoDiffusionPlan::cost() const {
  const std::uint64_t chosen = candidates > 1 ? candidates * selection_replicates : 0;
  return points * (chosen + 2 * report_replicates);
}

bool AutoDiffusionPlan::shrink() {
  if (candidates > 3) {
    --candidates;
  } else if (report_replicates > 3) {
    --report_replicates;
  } else if (points > 4) {
    --points;
  } else if (selection_replicates > 2) {
    --selection_replicates;
  } else if (candidates > 1) {
    --candidates;
  } else if (report_replicates > 1) {
    --report_replicates;
  } else if (points > 1) {
    --points;
  } else if (report_replicates > 0) {
    --report_replicates;
  } else {
    return false;
  }
  return true;
}

void AutoDiffusionPlan::be_deterministic() {
  candidates = 1;
  report_replicates = std::min<std::uint64_t>(report_replicates, 1);
}

AutoDiffusionPlan autodiffusion_plan(const SearchProblem& problem,
                                     const AutoDiffusionParams& params) {
  const Parameter& schedule = problem.space.parameters()[schedule_index(problem.space)];
  AutoDiffusionPlan plan;
  const bool one_cost =
      params.mode == "paper" || (schedule.least == schedule.most && schedule.mask.empty() &&
                                 schedule.choices.size() < 2) ||
      (problem.objectives.size() == 1 && !params.cost_front);
  if (!one_cost) plan.points = static_cast<std::uint64_t>(params.report_points);
  if (!one_cost && schedule.mask.empty() && schedule.choices.size() < 2) {
    plan.points = std::min<std::uint64_t>(plan.points, schedule.most - schedule.least + 1);
  }
  plan.selection_replicates = static_cast<std::uint64_t>(params.selection_replicates);
  plan.report_replicates = static_cast<std::uint64_t>(params.report_replicates);
  plan.candidates = plan.selection_replicates > 0
                        ? static_cast<std::uint64_t>(params.selection_candidates)
                        : 1;
  while (problem.trials > 0 && plan.cost() > problem.trials / 4 && plan.shrink()) {
  }
  return plan;
}

Report autodiffusion_finish(const SearchProblem& problem, const AutoDiffusionParams& params,
                            AutoDiffusionPlan plan, std::vector<Finalist> finalists,
                            std::uint64_t fidelity, std::string stop_reason,
                            Evaluations& evaluations) {
  Report report;
  report.stop_reason = std::move(stop_reason);
  while (plan.cost() > evaluations.remaining() && plan.shrink()) {
  }
  const Rows rows(problem, params, finalists);
  std::vector<Niche> niches = niches_of(std::move(finalists), plan);
  if (niches.empty() || plan.report_replicates == 0) return report;
  if (plan.candidates > 1) select(niches, plan, fidelity, evaluations);
  const std::size_t recommended = knee(niches);
  rows.add(niches[recommended].front(), report.rows);
  for (std::size_t i = 0; i < niches.size(); ++i) {
    if (i != recommended) rows.add(niches[i].front(), report.rows);
  }
  const auto reported = static_cast<std::uint64_t>(params.report_fidelity);
  measure_report(problem, reported > 0 ? reported : fidelity, plan.report_replicates, report,
                 evaluations);
  return report;
}

}  // namespace paretod
