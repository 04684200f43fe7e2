#pragma once
// The daemon's REST interface as a worker sees it (DESIGN 7): leases, heartbeats, results.  Each
// call is one request.  Not thread-safe: one object per thread.
//
// Errors: `unavailable`, `exhausted` and `internal` may pass; with any other, the same request
// would be refused again.

#include <cstddef>
#include <string>
#include <vector>

#include "daemon/cli/daemon_api.hpp"
#include "daemon/worker/spool.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

struct LeaseRequest {
  std::string evaluator;
  std::string job;  ///< only of this one; empty: of any
  std::size_t count = 1;
  double wait_s = 0;  ///< how long the daemon may wait for work to come
  double ttl_s = 30;  ///< how long a lease should last without a heartbeat
  std::string key;    ///< unique; a repeat gets the same answer
};

struct GrantedLease {
  std::string token;
  std::string job;
  std::string id;       ///< of the attempt: "job:trial:attempt"
  std::string request;  ///< evaluate message of the evaluator protocol, as JSON
};

struct LeaseGrant {
  std::vector<GrantedLease> leases;
  double ttl_s = 0;
};

struct LeaseProgress {
  std::string lease;
  std::string message;  ///< progress message, as JSON
};

struct HeartbeatAnswer {
  double ttl_s = 0;
  std::vector<std::string> cancel;  ///< nobody needs these any more
  std::vector<std::string> gone;    ///< these have lapsed
};

/// What a job's requests are made of.
struct JobShape {
  SearchSpace space;
  std::vector<Objective> objectives;
};

class LeaseApi {
 public:
  /// `worker` is the name that it signs with.
  LeaseApi(cli::DaemonApi api, std::string worker);

  Result<LeaseGrant> lease(const LeaseRequest& request);
  Result<HeartbeatAnswer> heartbeat(const std::vector<std::string>& leases,
                                    const std::vector<LeaseProgress>& progress);
  /// The leases whose results the daemon has now or had before, or knows nothing of; none of them
  /// needs to be reported again.
  Result<std::vector<std::string>> report(const std::vector<SpooledResult>& results);
  Result<void> release(const std::vector<std::string>& leases);
  Result<JobShape> job(const std::string& id);

 private:
  cli::DaemonApi api_;
  std::string worker_;
};

}  // namespace paretod
