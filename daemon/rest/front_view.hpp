#pragma once
// The measured front as JSON and CSV, and its answers to questions (daemon/jobs/front_query.hpp).
// A client that polls a moving front gets mostly the points it got before, so their text is kept;
// between two changes of the front nothing is copied under the job's lock.

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/jobs/front_query.hpp"
#include "daemon/rest/front_slice.hpp"
#include "daemon/rest/plausible_points.hpp"
#include "daemon/rest/snapshot.hpp"
#include "daemon/rest/told_columns.hpp"

namespace paretod {

/// What an answer depends on beside the question.
struct FrontHead {
  JobStatus status = JobStatus::queued;
  std::uint64_t version = 0;
  std::uint64_t told = 0;
  const JobSpec* spec = nullptr;
  const Report* report = nullptr;  ///< null until the job is final
};
FrontHead front_head(Job& job);

/// What to show of a front.
struct FrontRequest {
  FrontQuery query;
  std::size_t limit = 1'000;      ///< points at most; > 0
  std::optional<TrialNumber> at;  ///< as of the moment this trial was told; it has been told
};

/// Writes fronts and remembers the text of points.  Thread-safe.
class FrontWriter {
 public:
  explicit FrontWriter(ToldCache& told) : told_(told) {}

  std::string json(Job& job, const FrontRequest& request);
  /// RFC 4180 with a header: trial, a column per parameter (per coefficient: "alpha[3]"), two per
  /// objective: its value and its standard error; then "replicates", "on_front" if the question has
  /// a confidence and "chosen" if it chooses, with the chosen point first.  What a candidate lacks
  /// is empty.
  std::string csv(Job& job, const FrontRequest& request);

 private:
  struct Text {
    std::uint32_t replicates = 0;  ///< a further replicate changes the point
    std::shared_ptr<const std::string> text;
  };
  struct Memory {
    std::unordered_map<TrialNumber, Text> texts;
    std::uint64_t version = 0;
    std::shared_ptr<const FrontSlice> now;
    std::list<std::pair<TrialNumber, std::shared_ptr<const FrontSlice>>> earlier;
    std::shared_ptr<PlausiblePoints> plausible = std::make_shared<PlausiblePoints>();
  };
  struct Answer;

  Answer answer(Job& job, const FrontRequest& request);
  std::shared_ptr<const FrontSlice> slice_now(Job& job, FrontHead& head);
  void look_back(Job& job, const FrontRequest& request, Answer& answer);
  /// The front as it is, and the points that it does not surely dominate.
  void look_around(Job& job, double confidence, Answer& answer);
  /// One text without its closing brace per place.
  std::vector<std::string> texts_of(Job& job, const JobSpec& spec, const FrontSlice& slice,
                                    const std::vector<std::size_t>& places);
  /// Calls `use` with the memory of a job, under the lock.
  template <class Use>
  void with_memory(const std::string& job, Use use);

  ToldCache& told_;
  std::mutex mutex_;
  std::list<std::pair<std::string, Memory>> recent_;  ///< latest first
};

}  // namespace paretod
