#include "daemon/rest/history_view.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "adapters/json/space_json.hpp"
#include "daemon/jobs/front_query.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/snapshot.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// In hindsight it is known which points were measured once only.  Their means never move, so they
/// are folded into an archive for good; the others, usually few, are looked at anew for each row.
class Replays {
 public:
  explicit Replays(const ToldColumns& told) : told_(told) {
    std::vector<std::uint32_t> counts;
    for (const std::uint32_t point : told.points) {
      if (point == JobState::no_point) continue;
      if (point >= counts.size()) counts.resize(point + 1);
      ++counts[point];
    }
    places_.assign(counts.size(), JobState::no_point);
    std::uint32_t moving = 0;
    for (std::size_t point = 0; point < counts.size(); ++point) {
      if (counts[point] > 1) places_[point] = moving++;
    }
    moving_.resize(moving);
  }

  struct Mean {
    std::vector<double> values;  ///< empty before the first measurement
    double count = 0;
    bool feasible = true;
    std::uint64_t fidelity = 0;
  };

  /// Takes in a replicate of a point that moves; null for one that does not.
  Mean* take(std::size_t row) {
    const std::uint32_t place = places_[told_.points[row]];
    if (place == JobState::no_point) return nullptr;
    Mean& mean = moving_[place];
    mean.feasible = mean.feasible && told_.feasible[row] != 0;
    mean.fidelity = told_.fidelities[row];
    mean.values.resize(told_.objectives);
    ++mean.count;
    for (std::size_t i = 0; i < told_.objectives; ++i) {
      mean.values[i] += (told_.row(row)[i] - mean.values[i]) / mean.count;
    }
    return &mean;
  }
  [[nodiscard]] const std::vector<Mean>& moving() const { return moving_; }

 private:
  const ToldColumns& told_;
  std::vector<std::uint32_t> places_;  ///< by point, in moving_
  std::vector<Mean> moving_;
};

/// The rows whose points never move, as far as they compete: begun anew when the least fidelity
/// rises, which happens seldom.
class FixedRows {
 public:
  explicit FixedRows(const ToldColumns& told) : told_(told) {}

  /// Calls `fold` with the row, or with all rows that compete once it has raised the least fidelity
  /// (then after `clear`).
  template <class Clear, class Fold>
  void add(std::size_t row, bool moves, Clear clear, Fold fold) {
    if (!moves && told_.feasible[row] != 0) rows_.push_back(row);
    const std::uint64_t least = told_.least_fidelities[row];
    if (least > least_) {
      least_ = least;
      clear();
      std::erase_if(rows_, [&](std::size_t r) { return told_.fidelities[r] < least; });
      for (const std::size_t r : rows_) fold(r);
    } else if (!moves && told_.feasible[row] != 0 && told_.fidelities[row] >= least) {
      fold(row);
    }
  }
  [[nodiscard]] std::uint64_t least_fidelity() const { return least_; }

 private:
  const ToldColumns& told_;
  std::vector<std::size_t> rows_;
  std::uint64_t least_ = 0;
};

/// The front after each row, in order.
class MovingFront {
 public:
  explicit MovingFront(const ToldColumns& told) : told_(told), replays_(told), rows_(told) {}

  void add(std::size_t row) {
    const bool moves = replays_.take(row) != nullptr;
    changed_ = changed_ || moves;
    const auto clear = [&] {
      fixed_.clear();
      changed_ = true;
    };
    rows_.add(row, moves, clear, [&](std::size_t r) {
      changed_ |= fixed_.insert(r, std::span(told_.row(r), told_.objectives));
    });
  }
  /// Whether members() may differ from what it was at the last call.
  [[nodiscard]] bool changed() const { return changed_; }
  ObjectiveVectors members() {
    changed_ = false;
    if (replays_.moving().empty()) return fixed_.all_objectives();
    ParetoArchive all = fixed_;
    for (const auto& mean : replays_.moving()) {
      if (mean.count > 0 && mean.feasible && mean.fidelity >= rows_.least_fidelity()) {
        all.insert(0, mean.values);
      }
    }
    return all.all_objectives();
  }

 private:
  const ToldColumns& told_;
  Replays replays_;
  FixedRows rows_;
  ParetoArchive fixed_;
  bool changed_ = true;
};

/// The best mean of one objective after each row, in order.
class MovingBest {
 public:
  explicit MovingBest(const ToldColumns& told) : told_(told), replays_(told), rows_(told) {}

  void add(std::size_t row) {
    const auto* seen = replays_.take(row);
    const auto fold = [&](std::size_t r) {
      if (!fixed_ || told_.values[r] < *fixed_) fixed_ = told_.values[r];
    };
    rows_.add(
        row, seen != nullptr, [&] { fixed_.reset(); }, fold);
    if (seen == nullptr) return;
    const auto known = ranks_.find(told_.points[row]);
    if (known != ranks_.end()) ranked_.erase(known->second);
    ranks_.erase(told_.points[row]);
    if (!seen->feasible) return;
    const Rank rank{seen->values[0], told_.points[row], seen->fidelity};
    ranked_.insert(rank);
    ranks_.emplace(told_.points[row], rank);
  }
  [[nodiscard]] std::optional<double> best() const {
    const auto first = std::find_if(ranked_.begin(), ranked_.end(), [&](const Rank& rank) {
      return rank.fidelity >= rows_.least_fidelity();
    });
    if (first == ranked_.end()) return fixed_;
    return fixed_ ? std::min(*fixed_, first->value) : first->value;
  }

 private:
  struct Rank {
    double value;
    std::uint32_t point;
    std::uint64_t fidelity;
    auto operator<=>(const Rank&) const = default;
  };

  const ToldColumns& told_;
  Replays replays_;
  FixedRows rows_;
  std::optional<double> fixed_;
  std::set<Rank> ranked_;
  std::map<std::uint32_t, Rank> ranks_;
};

std::vector<std::size_t> ok_rows(const ToldColumns& told) {
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < told.size(); ++row) {
    if (told.ok(row)) rows.push_back(row);
  }
  return rows;
}

json row_of(const ToldColumns& told, std::size_t row, const HistoryRequest& request) {
  const Spend& spent = told.spent[row];
  return {{"trial", told.trials[row]},
          {"told", row + 1},
          {"time", time_text(told.told_ms[row])},
          {"seconds", static_cast<double>(told.told_ms[row] - request.created_ms) / 1000},
          {"evaluation_seconds", spent.seconds},
          {"spent", spend_view(spent, request.currency)},
          {"best", nullptr},
          {"hypervolume", nullptr}};
}

json best_rows(const ToldColumns& told, const std::vector<std::size_t>& rows,
               const std::vector<Objective>& objectives, const HistoryRequest& request) {
  MovingBest moving(told);
  std::vector<std::pair<std::size_t, std::optional<double>>> changes;  // row, best from there on
  for (const std::size_t row : rows) {
    moving.add(row);
    const auto best = moving.best();
    if (best.has_value() == changes.empty() || (best && changes.back().second != best)) {
      if (best || !changes.empty()) changes.emplace_back(row, best);
    }
  }
  if (!changes.empty() && changes.back().first != rows.back()) {
    changes.emplace_back(rows.back(), changes.back().second);
  }
  json list = json::array();
  for (const std::size_t i : spread(changes.size(), request.points)) {
    const auto& [row, best] = changes[i];
    json entry = row_of(told, row, request);
    if (best) entry["best"] = by_objective(flip_signs({*best}, objectives), objectives);
    entry["front_size"] = best ? 1 : 0;
    list.push_back(std::move(entry));
  }
  return list;
}

/// As in JobSnapshot.
std::vector<double> usual_reference(const ToldColumns& told, const std::vector<std::size_t>& rows,
                                    bool final) {
  std::vector<double> worst;
  if (rows.size() < reference_trials && !final) return worst;
  for (std::size_t i = 0; i < std::min(rows.size(), reference_trials); ++i) {
    const double* y = told.row(rows[i]);
    if (worst.empty()) worst.assign(y, y + told.objectives);
    for (std::size_t j = 0; j < worst.size(); ++j) worst[j] = std::max(worst[j], y[j]);
  }
  return worst;
}

json front_rows(const ToldColumns& told, const std::vector<std::size_t>& rows,
                const std::vector<Objective>& objectives, const std::vector<double>& reference,
                const HistoryRequest& request) {
  MovingFront moving(told);
  json list = json::array();
  std::size_t added = 0;
  json best;
  json volume;
  std::size_t size = 0;
  for (const std::size_t place : spread(rows.size(), request.points)) {
    for (; added <= place; ++added) moving.add(rows[added]);
    if (moving.changed()) {
      const ObjectiveVectors front = moving.members();
      size = front.size();
      best = nullptr;
      volume = nullptr;
      if (!front.empty()) {
        best = by_objective(flip_signs(scale_of(front).ideal, objectives), objectives);
      }
      if (!reference.empty()) {
        if (const auto value = affordable_hypervolume(front, reference)) volume = *value;
      }
    }
    json entry = row_of(told, rows[place], request);
    entry["front_size"] = size;
    entry["best"] = best;
    entry["hypervolume"] = volume;
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

json history_view(const ToldColumns& told, const std::vector<Objective>& objectives,
                  const HistoryRequest& request) {
  json view{{"objectives", to_json(objectives)}, {"reference_point", nullptr}};
  const std::vector<std::size_t> rows = ok_rows(told);
  if (objectives.size() == 1) {
    view["history"] = best_rows(told, rows, objectives, request);
    return view;
  }
  const std::vector<double> reference =
      request.reference ? *request.reference : usual_reference(told, rows, request.final);
  if (!reference.empty()) {
    view["reference_point"] = by_objective(flip_signs(reference, objectives), objectives);
  }
  view["history"] = front_rows(told, rows, objectives, reference, request);
  return view;
}

}  // namespace paretod
