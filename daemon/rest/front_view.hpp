#pragma once
// The measured front as JSON and CSV.  A client that polls a moving front gets mostly the points
// it got before, so their text is kept.

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/rest/snapshot.hpp"

namespace paretod {

/// The head of a front answer, without its points.
struct FrontHead {
  JobStatus status = JobStatus::queued;
  std::uint64_t version = 0;
  std::uint64_t told = 0;
  std::size_t size = 0;            ///< points of the whole front
  const Report* report = nullptr;  ///< null until the job is final
};
FrontHead front_head(Job& job);

/// Which of `size` points to show if at most `limit` may be: evenly spread, both ends included.
/// Precondition: limit > 0.
std::vector<std::size_t> spread(std::size_t size, std::size_t limit);

/// Writes fronts and remembers the text of points.  Thread-safe.
class FrontWriter {
 public:
  /// At most `limit` points, evenly spread.  Precondition: limit > 0.
  std::string json(Job& job, std::size_t limit);

 private:
  struct Text {
    std::uint32_t replicates = 0;  ///< a further replicate changes the point
    std::shared_ptr<const std::string> text;
  };
  using Texts = std::unordered_map<TrialNumber, Text>;

  std::shared_ptr<const Texts> recall(const std::string& job);
  void remember(const std::string& job, std::shared_ptr<const Texts> texts);

  std::mutex mutex_;
  std::list<std::pair<std::string, std::shared_ptr<const Texts>>> recent_;  ///< latest first
};

/// RFC 4180 with a header: trial, a column per parameter (per coefficient: "alpha[3]"), and two
/// per objective: its value and its standard error.
std::string front_csv(Job& job, std::size_t limit);

}  // namespace paretod
