#pragma once
// What AutoDiffusion's "front" mode knows: every schedule it asked for, what was measured of it at
// which fidelity and on which replicates, and who competes with whom.  It decides which schedules
// are worth more samples or a further replicate.  One archive belongs to one search.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "optimizers/autodiffusion.hpp"
#include "optimizers/core/front.hpp"
#include "optimizers/crowding_survival.hpp"
#include "optimizers/ranked_population.hpp"
#include "optimizers/schedule_variation.hpp"

namespace paretod {

/// A schedule and what is known of it.
struct ScheduleEntry {
  Point point;
  Steps steps;
  double cost = 0;  ///< by the parameters
  double violation = 0;
  /// Objectives by rung and replicate; empty where not measured.
  std::vector<std::vector<std::vector<double>>> values = {};
  std::size_t rungs_asked = 1;
  std::uint64_t replicates_asked = 1;  ///< at the highest rung
};

/// Entries that compete; Member::trial is the index of an entry.
struct SchedulePool {
  SchedulePool(std::size_t most, RankedPopulation::Better better)
      : size(most), population(std::move(better)) {}

  /// Whether the member leads when it comes; it may go at once.
  bool add(Member member);
  /// Of an entry.
  [[nodiscard]] std::optional<std::size_t> place_of(std::size_t entry) const;
  /// Entries, best first.
  [[nodiscard]] std::vector<std::size_t> ordered() const;

  std::size_t size;
  RankedPopulation population;
  CrowdingSurvival survival;
};

/// One level of fidelity; what was measured at it competes within it only, since a Frechet distance
/// depends on the number of samples.
struct ScheduleRung {
  std::uint64_t fidelity;
  SchedulePool all;
  SchedulePool full;  ///< schedules that drop nothing, where others do
  std::uint64_t told = 0;
  std::uint64_t promoted = 0;  ///< asked for on the next rung
};

/// What a trial is for.
struct ScheduleWork {
  std::size_t entry = 0;
  std::size_t rung = 0;
  std::uint64_t replicate = 0;
  std::optional<ScheduleMove> move = {};  ///< what made it, if it is a child
  std::size_t parent = 0;                 ///< an entry, with a move
  bool full = false;                      ///< bred among schedules that drop nothing
};

class ScheduleArchive {
 public:
  /// The arguments must outlive it.  With `add_cost`, the computed cost is one more objective.
  ScheduleArchive(const SearchProblem& problem, const AutoDiffusionParams& params,
                  const ScheduleCoding& coding, const ScheduleCosts& costs, bool add_cost);
  // What compares members looks things up here.
  ScheduleArchive(const ScheduleArchive&) = delete;
  ScheduleArchive& operator=(const ScheduleArchive&) = delete;

  [[nodiscard]] const std::deque<ScheduleRung>& rungs() const { return rungs_; }
  [[nodiscard]] const ScheduleEntry& operator[](std::size_t entry) const { return entries_[entry]; }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  /// Members of the front of cost and first objective at the highest rung.
  [[nodiscard]] std::size_t front_size() const { return scores_.size(); }

  /// Its index.
  std::size_t add(Point point);
  /// Takes in what was measured, in a trial that is ok.  Whether it made a success of the move:
  /// the child leads, or is better than its parent.
  bool tell(const ScheduleWork& work, const Trial& trial);

  /// The best of a rung that is in its leading share and was not yet asked for on the next; higher
  /// rungs first (Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020).
  std::optional<ScheduleWork> next_promotion();
  /// A further replicate for the member of the front that has fewest.
  std::optional<ScheduleWork> next_elite();
  /// One schedule's second replicate, once: whether replicates differ at all.
  std::optional<ScheduleWork> next_probe();
  /// They do not.  False until the probe was told.
  [[nodiscard]] bool deterministic() const { return deterministic_; }

  /// The first objective at the highest rung, over all replicates; nothing when not measured there,
  /// or not feasible.
  [[nodiscard]] std::optional<double> score_of(const ScheduleEntry& entry) const;

 private:
  [[nodiscard]] bool better(std::size_t rung, const Member& a, const Member& b) const;
  bool tell_first(const ScheduleWork& work, Member member);
  void tell_further(const ScheduleWork& work, Member member);

  const AutoDiffusionParams& params_;
  const ScheduleCoding& coding_;
  const ScheduleCosts& costs_;
  const bool add_cost_;
  std::deque<ScheduleRung> rungs_;
  std::vector<ScheduleEntry> entries_;
  ParetoArchive scores_;
  std::uint64_t elites_asked_ = 0;
  std::optional<std::size_t> probed_;  ///< an entry
  bool deterministic_ = false;
};

}  // namespace paretod
