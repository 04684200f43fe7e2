#include "optimizers/map_nested.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "optimizers/map_design.hpp"
#include "optimizers/map_model.hpp"
#include "optimizers/map_report.hpp"
#include "optimizers/map_space.hpp"
#include "optimizers/measure.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t paper_points = 19;
constexpr double paper_isotropic = 0.2;
constexpr std::size_t least_points = 9;  // six coefficients, and three to judge them by
constexpr std::size_t most_points = 30;

struct Node {
  std::vector<std::size_t> members;  // tasks
  std::vector<double> shares;        // coefficient of every task; zero for others
  double score = 0;                  // preference-weighted mean of the members, minimised
  std::string name;
};

class Nested {
 public:
  Nested(const SearchProblem& problem, const MapParams& params, Evaluations& evaluations)
      : problem_(problem),
        params_(params),
        evaluations_(evaluations),
        weights_(params.preference),
        points_(nested_design(problem.objectives.size(), problem.trials, params)) {
    if (weights_.empty()) weights_.assign(problem.objectives.size(), 1.0);
  }

  Report run() {
    std::string reason = "one model is left";
    try {
      make_leaves();
      while (nodes_.size() > 1) merge_closest();
    } catch (const BudgetSpent&) {
      reason = "budget, before one model was left";
    } catch (const Stagnated&) {
      reason = "stagnation, before one model was left";
      while (evaluations_.in_flight() > 0) trials_.push_back(evaluations_.next());
    }
    const auto model = MapModel::fit(problem_, params_, trials_);
    reason += "; for this preference only; " + std::to_string(needed_) + " of " +
              std::to_string(trials_.size() * problem_.objectives.size()) +
              " task evaluations were needed";
    Report report = map_report(problem_, params_, model ? *model : nullptr, trials_, reason);
    if (report.rows.empty() || !merged_) return report;
    ReportRow row{"merged", merged_->candidate.point, merged_->number, {}, {}};
    for (std::size_t k = 0; k < problem_.objectives.size(); ++k) {
      const bool maximise = problem_.objectives[k].goal == Goal::maximize;
      const double value = maximise ? -merged_->objectives[k] : merged_->objectives[k];
      row.estimates.push_back({value, merged_->standard_errors[k], 1});
    }
    report.rows.insert(report.rows.begin(), std::move(row));
    for (ReportRow& other : report.rows) {
      other.difference.clear();
      for (std::size_t k = 0; k < other.estimates.size(); ++k) {
        other.difference.push_back(
            {other.estimates[k].mean - report.rows[0].estimates[k].mean, -1, 1});
      }
    }
    return report;
  }

 private:
  /// Outcomes in the order of the points.  What an earlier merge measured is not bought again: the
  /// ends of a merge are its two nodes.
  std::vector<Trial> measure_points(const std::vector<Point>& points, const std::string& tag,
                                    std::size_t tasks) {
    std::vector<Trial> told(points.size());
    std::vector<Candidate> candidates;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto known = std::find_if(trials_.begin(), trials_.end(), [&](const Trial& trial) {
        return trial.candidate.point == points[i];
      });
      if (known != trials_.end()) {
        told[i] = *known;
        continue;
      }
      places.push_back(i);
      candidates.push_back({points[i], static_cast<std::uint64_t>(params_.fidelity), 0, tag});
    }
    std::vector<Trial> fresh = measure(evaluations_, candidates);
    bool spent = false;
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      told[places[i]] = fresh[i];
      if (fresh[i].number == 0) {
        spent = true;
        continue;
      }
      needed_ += tasks;
      trials_.push_back(std::move(fresh[i]));
    }
    if (spent) throw BudgetSpent{};
    return told;
  }

  [[nodiscard]] double weighted(const std::vector<std::size_t>& members, const Trial& trial) const {
    double sum = 0, total = 0;
    for (const std::size_t t : members) {
      sum += weights_[t] * trial.objectives[t];
      total += weights_[t];
    }
    return total > 0 ? sum / total : 0;
  }
  [[nodiscard]] double weight_of(const Node& node) const {
    double sum = 0;
    for (const std::size_t t : node.members) sum += weights_[t];
    return sum;
  }

  void make_leaves() {
    std::vector<Point> points;
    const std::size_t n = problem_.objectives.size();
    for (std::size_t t = 0; t < n; ++t) {
      Node node{{t}, std::vector<double>(n, 0.0), 0, problem_.space.parameters()[t].name};
      node.shares[t] = 1;
      points.push_back(problem_.space.repair(node.shares));
      nodes_.push_back(std::move(node));
    }
    const std::vector<Trial> told = measure_points(points, "leaf", 1);
    for (std::size_t t = 0; t < n; ++t) {
      // One that cannot be evaluated is merged last.
      // Mended: leaves and merged nodes are scored in the same unit.
      nodes_[t].score = told[t].ok() ? told[t].objectives[t] : infinity;
    }
  }

  void merge_closest() {
    std::size_t first = 0, second = 1;
    double closest = infinity;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      for (std::size_t j = i + 1; j < nodes_.size(); ++j) {
        const double apart = std::abs(nodes_[i].score - nodes_[j].score);
        if (!(apart < closest)) continue;
        closest = apart;
        first = i;
        second = j;
      }
    }
    Node merged = merge(nodes_[first], nodes_[second]);
    nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(second));
    nodes_[first] = std::move(merged);
  }

  [[nodiscard]] Point point_of(const Node& a, const Node& b, const Point& c) const {
    // The ends are the nodes themselves, which scaling can miss by a rounding.
    const auto share = [&](std::size_t i) { return std::abs(c[i] - 1) < 1e-12 ? 1 : c[i]; };
    Point point(a.shares.size());
    for (std::size_t t = 0; t < point.size(); ++t) {
      point[t] = share(0) * a.shares[t] + share(1) * b.shares[t];
    }
    return problem_.space.repair(std::move(point));
  }

  /// How far the coefficient of a node may go before one of the box's sides.
  [[nodiscard]] double reach(const Node& node) const {
    double reach = infinity;
    for (const std::size_t t : node.members) {
      const double high = problem_.space.parameters()[t].high;
      if (node.shares[t] > 0) reach = std::min(reach, high / node.shares[t]);
    }
    return std::isfinite(reach) ? reach : 1;
  }

  Node merge(const Node& a, const Node& b) {
    Node merged;
    merged.members = a.members;
    merged.members.insert(merged.members.end(), b.members.begin(), b.members.end());
    merged.name = "(" + a.name + " " + b.name + ")";
    SearchProblem pair = pair_problem(a, b);
    const MapSpace space(pair.space);
    const Design design = params_.paper() ? paper_design(space, points_, paper_isotropic, pair.seed)
                                          : i_optimal_design(space, points_, {}, pair.seed);
    std::vector<Point> points;
    for (const auto& x : design) points.push_back(point_of(a, b, space.point(x)));
    std::vector<Trial> told =
        measure_points(points, "nested:" + merged.name, merged.members.size());
    const double weight_a = weight_of(a), weight_b = weight_of(b);
    std::optional<Trial> best;  // measured
    const auto score = [&](const Trial& trial) { return weighted(merged.members, trial); };
    for (std::size_t i = 0; i < told.size(); ++i) {
      if (told[i].ok() && (!best || score(told[i]) < score(*best))) best = told[i];
      Trial seen = told[i];
      seen.candidate.point = space.point(design[i]);
      if (seen.ok()) seen.objectives = {weighted(a.members, told[i]), weighted(b.members, told[i])};
      seen.standard_errors.assign(2, -1);
      pair.known.push_back(std::move(seen));
    }
    MapParams inner = params_;
    inner.mode = "flat";
    inner.preference.clear();
    if (const auto model = MapModel::fit(pair, inner, {})) {
      // The weighted sum is of the metrics as they are, not of parts of the front.
      const SurrogateSummary& summary = (*model)->summary();
      SurrogateQuery query;
      query.weighted_sum = true;
      const double wide_a = std::abs(summary.nadir[0] - summary.ideal[0]);
      const double wide_b = std::abs(summary.nadir[1] - summary.ideal[1]);
      const double total = weight_a * wide_a + weight_b * wide_b;
      if (total > 0) query.weights = {weight_a * wide_a / total, weight_b * wide_b / total};
      const Point chosen = point_of(a, b, (*model)->solve(query).point.point);
      const Trial verified =
          measure_points({chosen}, "verify:" + merged.name, merged.members.size()).front();
      // What was measured to be better than the prediction is taken instead.
      if (verified.ok() && (!best || score(verified) <= score(*best))) best = verified;
    }
    merged.shares = best ? best->candidate.point : a.shares;
    for (std::size_t t = 0; t < merged.shares.size(); ++t) {
      const bool member =
          std::find(merged.members.begin(), merged.members.end(), t) != merged.members.end();
      if (!member) merged.shares[t] = 0;
    }
    merged.score = best ? score(*best) : infinity;
    merged_ = best;
    return merged;
  }

  /// Two coefficients, and the weighted mean metric of either node's tasks.
  [[nodiscard]] SearchProblem pair_problem(const Node& a, const Node& b) const {
    std::vector<Parameter> parameters;
    for (const Node* node : {&a, &b}) {
      Parameter parameter;
      parameter.name = parameters.empty() ? "a" : "b";
      parameter.high = reach(*node);
      parameters.push_back(std::move(parameter));
    }
    SearchProblem pair{SearchSpace::make(std::move(parameters)).value(), {}, 0};
    pair.seed = mix64(problem_.seed, nodes_.size());
    const Goal goal = problem_.objectives.front().goal;
    pair.objectives = {{"a", goal}, {"b", goal}};
    return pair;
  }

  const SearchProblem& problem_;
  const MapParams& params_;
  Evaluations& evaluations_;
  std::vector<double> weights_;
  const std::size_t points_;
  std::vector<Node> nodes_;
  std::vector<Trial> trials_;
  std::optional<Trial> merged_;
  std::size_t needed_ = 0;  // task evaluations
};

}  // namespace

std::size_t nested_design(std::size_t tasks, std::uint64_t trials, const MapParams& params) {
  if (params.design > 0) return static_cast<std::size_t>(params.design);
  if (params.paper()) return paper_points;
  if (trials <= tasks) return least_points;
  // Each merge has the points but its two ends, a check, and after the first no origin.
  const std::uint64_t per_merge = (trials - tasks - 1) / (tasks - 1);
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(per_merge + 2, least_points, most_points));
}

Problems check_nested(const SearchProblem& problem, const MapParams& params) {
  const std::size_t n = problem.space.dimension(), m = problem.objectives.size();
  Problems problems;
  if (problem.space.parameters().front().type == ParameterType::simplex) {
    problems.push_back(
        {"/optimizer/params/mode",
         "nested merges pairs with coefficients of their own; a simplex needs flat"});
  }
  if (n != m) {
    problems.push_back({"/objectives",
                        "nested needs one objective per parameter, in the same "
                        "order (task i and its model's coefficient); there are " +
                            std::to_string(m) + " and " + std::to_string(n)});
  }
  for (std::size_t i = 0; i < problem.space.parameters().size(); ++i) {
    const Parameter& parameter = problem.space.parameters()[i];
    if (parameter.low > 0 || parameter.high < 1 || parameter.log_scale) {
      problems.push_back({"/space/" + std::to_string(i),
                          "nested needs bounds that contain 0 and 1, on a linear scale"});
    }
  }
  for (const Objective& objective : problem.objectives) {
    if (objective.goal == problem.objectives.front().goal) continue;
    problems.push_back({"/objectives",
                        "nested averages the metrics of tasks: all must have the "
                        "same goal"});
    break;
  }
  if (!params.preference.empty()) {
    double sum = 0;
    for (const double weight : params.preference) sum += weight;
    if (params.preference.size() != m || !(sum > 0)) {
      problems.push_back(
          {"/optimizer/params/preference",
           "needs a weight per objective, " + std::to_string(m) + " in all, not all of them 0"});
    }
  }
  if (!problems.empty()) return problems;
  const std::size_t points = nested_design(n, 0, params);
  const std::uint64_t least = n + (n - 1) * (points - (params.paper() ? 1 : 2)) + 1;
  if (problem.trials > 0 && problem.trials < least) {
    problems.push_back(
        {"/budget/trials", "merging " + std::to_string(n) + " tasks pair by pair takes " +
                               std::to_string(least) + " trials (each alone, then " +
                               std::to_string(points) + " and a check per merge); there are " +
                               std::to_string(problem.trials)});
  }
  return problems;
}

Report run_nested(const SearchProblem& problem, const MapParams& params, Evaluations& evaluations) {
  return Nested(problem, params, evaluations).run();
}

}  // namespace paretod
