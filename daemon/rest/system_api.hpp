#pragma once
// Operations on the daemon itself: what it can run, whether it is well, its metrics.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "daemon/jobs/job_manager.hpp"
#include "daemon/rest/event_feed.hpp"
#include "daemon/rest/http_server.hpp"
#include "daemon/rest/operation.hpp"

namespace paretod {

/// One thing that the daemon needs to do its work.
struct ReadinessCheck {
  std::string name;  ///< "store"
  bool ready = true;
  std::string message;  ///< "ok", or what is wrong
};

/// What only the daemon's main program knows.  Called on server threads.
struct SystemHooks {
  std::function<std::vector<ReadinessCheck>()> readiness;  ///< empty: always ready
  std::function<HttpCounters()> http_counters;             ///< empty: zeros
  std::string build;
};

/// Manager and feed must outlive the operations.
std::vector<Operation> system_operations(JobManager& manager, EventFeed& feed, SystemHooks hooks);

}  // namespace paretod
