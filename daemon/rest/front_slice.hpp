#pragma once
// A front at one moment, copied from a job.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/jobs/front_query.hpp"
#include "daemon/rest/snapshot.hpp"
#include "daemon/rest/told_columns.hpp"

namespace paretod {

/// A front with all that a question to it needs.
struct FrontSlice {
  std::uint64_t told = 0;  ///< trials told at the time
  std::vector<TrialNumber> trials;
  std::vector<std::uint32_t> replicates;
  ObjectiveVectors points;            ///< minimised means, sorted
  std::vector<double> errors;         ///< of the means, point by point; negative: unknown
  std::vector<double> crowding = {};  ///< infinite at the ends
  FrontScale scale = {};
};

/// Without crowding and scale, which measure() adds.  Needs the job's lock.
std::shared_ptr<FrontSlice> slice_of(JobState& state);
void measure(FrontSlice& slice);

/// The front of the pooled points, measured.
std::shared_ptr<FrontSlice> slice_of(const PooledPoints& pool);

/// Without crowding and scale.
void add_point(FrontSlice& slice, const PooledPoints& pool, std::size_t point);

/// The points at some places, with what only the job's trials know.  Takes the job's lock.
std::vector<FrontPoint> filled(Job& job, const JobSpec& spec, const FrontSlice& slice,
                               const std::vector<std::size_t>& places);

}  // namespace paretod
