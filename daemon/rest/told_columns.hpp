#pragma once
// What a job has been told, column by column: what its history, its front at an earlier time and
// comparisons among all its points are computed from.  Kept beside the job and continued from the
// last trial seen, so that a query touches only what is new under the job's lock.

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "daemon/jobs/job.hpp"

namespace paretod {

/// One row per told trial, in the order told.  A plain value.
struct ToldColumns {
  std::size_t objectives = 0;
  std::vector<TrialNumber> trials;
  std::vector<std::int64_t> told_ms;
  std::vector<Spend> spent;           ///< up to this trial and with it
  std::vector<std::uint32_t> points;  ///< equal for replicates; JobState::no_point unless ok
  std::vector<std::uint8_t> feasible;
  std::vector<std::uint64_t> fidelities;
  /// Of points on the front from this row on (JobState::front()).
  std::vector<std::uint64_t> least_fidelities;
  std::vector<double> values;  ///< row by row, minimised; 0 unless ok
  std::vector<double> errors;  ///< standard errors, row by row; negative: unknown
  /// Rows that entered the front when they came, and the first row that measured a known point or
  /// raised the least fidelity after others (or the size): the front at any time before that one is
  /// the front of the entries so far.
  std::vector<std::size_t> entries;
  std::size_t first_repeat = 0;

  [[nodiscard]] std::size_t size() const { return trials.size(); }
  [[nodiscard]] bool ok(std::size_t row) const { return points[row] != JobState::no_point; }
  [[nodiscard]] const double* row(std::size_t row) const { return &values[row * objectives]; }
  /// The job's objectives are those of the first row.  Points are numbered by first appearance.
  /// `own` is JobState::is_own().
  void add(TrialNumber trial, const TrialRecord& record, std::uint32_t point,
           const std::vector<Objective>& of, bool own = true);

 private:
  std::uint32_t known_points_ = 0;
  ParetoArchive front_;
};

/// Points as measured by the first so many told trials, replicates pooled as in MeasuredPoint.
struct PooledPoints {
  std::size_t objectives = 0;
  std::size_t rows = 0;  ///< told trials that are in it
  std::vector<TrialNumber> first_trials;
  std::vector<std::uint32_t> replicates;
  std::vector<std::uint8_t> feasible;
  std::vector<std::uint64_t> fidelities;
  std::uint64_t least_fidelity = 0;  ///< of points on the front
  std::vector<double> means;         ///< point by point, minimised
  std::vector<double> errors;        ///< point by point; negative: unknown

  [[nodiscard]] std::size_t size() const { return first_trials.size(); }
  /// Whether it may be on the front.
  [[nodiscard]] bool competes(std::size_t point) const {
    return feasible[point] != 0 && fidelities[point] >= least_fidelity;
  }
  [[nodiscard]] const double* mean(std::size_t point) const { return &means[point * objectives]; }
  [[nodiscard]] const double* error(std::size_t point) const { return &errors[point * objectives]; }
  /// Takes the told trials that follow, up to so many in all.
  void extend(const ToldColumns& told, std::size_t end);

 private:
  /// Sums of squared deviations of the points measured more than once, and of those before them.
  std::vector<double> squares_;
  std::vector<double> reported_;  ///< likewise, sums of squared standard errors
};
/// Without the points that were off the front all the time, where that is known at no cost.
PooledPoints pooled_for_front(const ToldColumns& told, std::size_t rows);

/// The columns of the jobs asked about last.  Thread-safe.
class ToldCache {
 public:
  /// Calls `read` with all that the job has been told up to now; readers of one job take turns.
  template <class Read>
  auto with(Job& job, Read read) {
    const std::shared_ptr<Entry> entry = entry_of(job.id());
    const std::lock_guard lock(entry->mutex);
    extend(job, entry->columns);
    return read(std::as_const(entry->columns));
  }

  /// Calls `now`, which says how many trials the job has been told (at least), and then `read` with
  /// the points as just these measured them.  Continues from the call before, so that it costs what
  /// is new.
  template <class Now, class Read>
  auto with_pool(Job& job, Now now, Read read) {
    const std::shared_ptr<Entry> entry = entry_of(job.id());
    const std::lock_guard lock(entry->mutex);
    const std::size_t rows = now();
    extend(job, entry->columns);
    entry->pool.extend(entry->columns, rows);
    return read(std::as_const(entry->pool));
  }

 private:
  struct Entry {
    std::mutex mutex;
    ToldColumns columns;
    PooledPoints pool;  ///< empty until with_pool() is called
  };
  std::shared_ptr<Entry> entry_of(const std::string& job);
  static void extend(Job& job, ToldColumns& columns);

  std::mutex mutex_;
  std::list<std::pair<std::string, std::shared_ptr<Entry>>> recent_;  ///< latest first
};

}  // namespace paretod
