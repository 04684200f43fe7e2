#pragma once
// What views are made from: small copies of a job's state, taken under the job's lock so that all
// formatting happens outside it.  A job's spec never changes once it exists and its report never
// once it is final, so those are pointed at; a snapshot must not outlive its Job.

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/jobs/job.hpp"

namespace paretod {

/// A point of the measured front, in the user's sign.
struct FrontPoint {
  TrialNumber trial = 0;  ///< the first that measured it
  std::uint32_t replicates = 1;
  Candidate candidate;
  std::vector<Measurement> objectives;  ///< means; `count` is per replicate
};

/// The volume between the front and a reference point, the componentwise worst of the first 20 ok
/// trials (all ok trials of a finished job that has fewer).
struct Hypervolume {
  double value = 0;
  std::vector<double> reference;  ///< per objective, the user's sign
};

/// The last hypervolume of each job.  Thread-safe.
class HypervolumeCache {
 public:
  struct Entry {
    std::uint64_t front_version = 0;
    std::optional<Hypervolume> hypervolume;  ///< empty: none can be given
  };
  /// Empty when the version is not the one in the cache.
  std::optional<Entry> find(const std::string& job, std::uint64_t front_version) const;
  void put(const std::string& job, Entry entry);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

struct JobSnapshot {
  std::string id;
  JobStatus status = JobStatus::queued;
  std::string trouble;             ///< why it cannot go on
  const JobSpec* spec = nullptr;   ///< never null once taken
  const Report* report = nullptr;  ///< null until the job is final
  std::string status_reason;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  std::int64_t running_ms = 0;
  Budget budget;
  std::size_t parallelism = 0;
  std::uint64_t imported = 0;  ///< known from another job; not in the counts below
  std::uint64_t injected = 0;  ///< that the optimizer did not ask for; not in asked and told
  std::uint64_t injected_told = 0;
  std::uint64_t asked = 0;
  std::uint64_t told = 0;
  std::size_t in_flight = 0;
  std::array<std::uint64_t, 4> counts{};  ///< by TrialStatus
  Spend spent;                            ///< by attempts that have ended
  Spend held;                             ///< set aside for open ones, where the log says so
  std::size_t front_size = 0;
  std::optional<FrontPoint> best;  ///< single objective only
  std::optional<Hypervolume> hypervolume;
};

/// Valid as long as the job.
const JobSpec& spec_of(Job& job);

JobSnapshot take_snapshot(Job& job, HypervolumeCache& hypervolumes);

/// Copies one point; needs the job's lock.
FrontPoint front_point(const JobState& state, std::size_t measured_index);

/// Of minimised objective vectors; empty when the front is too large to do it in passing.
std::optional<double> affordable_hypervolume(const std::vector<std::vector<double>>& front,
                                             const std::vector<double>& reference);
inline constexpr std::size_t reference_trials = 20;

/// Switches between the user's sign and the minimised one.
std::vector<double> flip_signs(std::vector<double> values,
                               const std::vector<Objective>& objectives);

}  // namespace paretod
