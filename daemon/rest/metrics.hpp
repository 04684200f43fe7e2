#pragma once
// The daemon's metrics in the Prometheus text format, version 0.0.4.  Pure functions; any thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/jobs/dispatcher.hpp"
#include "daemon/jobs/event.hpp"
#include "daemon/rest/http_server.hpp"

namespace paretod {

using Labels = std::vector<std::pair<std::string, std::string>>;

/// Writes metric families: one heading each, then its samples.
class MetricsText {
 public:
  void counter(std::string_view name, std::string_view help) { family(name, help, "counter"); }
  void gauge(std::string_view name, std::string_view help) { family(name, help, "gauge"); }
  /// A sample of the family begun last; label values may hold anything.
  void sample(double value, const Labels& labels = {});
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void family(std::string_view name, std::string_view help, std::string_view type);
  std::string text_;
  std::string name_;
};

struct MetricsInput {
  std::array<std::uint64_t, 7> jobs{};    ///< by JobStatus
  std::array<std::uint64_t, 4> trials{};  ///< told, by TrialStatus, of all jobs
  std::uint64_t unreadable_jobs = 0;
  double evaluation_seconds = 0;
  std::vector<LaneStatus> lanes;
  HttpCounters http;
  std::size_t event_clients = 0;
  double uptime_seconds = 0;
  std::string durability;
  std::string build;
};

std::string metrics_text(const MetricsInput& input);

/// Resident memory of this process in bytes; 0 if unknown.
std::uint64_t resident_bytes();

}  // namespace paretod
