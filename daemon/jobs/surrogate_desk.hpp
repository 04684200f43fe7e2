#pragma once
// The surrogates of jobs (optimizers/core/surrogate.hpp), fitted to what each job has been told: a
// fold over its told trials like every other view, kept until more are told.  A fit may take tenths
// of a second, so it runs on the desk's own thread and not on one that serves requests.
// Thread-safe.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/jobs/catalog.hpp"
#include "daemon/jobs/job.hpp"
#include "optimizers/core/surrogate.hpp"

namespace paretod {

struct JobSurrogate {
  std::shared_ptr<const Surrogate> model;
  std::uint64_t told = 0;  ///< trials that the job had been told when it was fitted
};

class SurrogateDesk {
 public:
  /// `catalog` must outlive the desk.
  explicit SurrogateDesk(const Catalog& catalog);
  /// Whoever still waits is told that the daemon is shutting down.
  ~SurrogateDesk();

  using Then = std::function<void(const Result<JobSurrogate>&)>;
  /// Calls `then` once with a surrogate of all that the job has been told by now: at once if it is
  /// known, else on the desk's thread.  conflict, with what to do, if the job can have none (yet).
  void ask(const std::shared_ptr<Job>& job, Then then);

 private:
  struct Known {
    std::string nonce;  ///< of the job: a name may come back
    JobSurrogate surrogate;
  };
  void work(const std::stop_token& stop);
  [[nodiscard]] std::optional<JobSurrogate> find(Job& job);
  [[nodiscard]] Result<JobSurrogate> fit(Job& job) const;
  void keep(Job& job, JobSurrogate surrogate);

  const Catalog& catalog_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::pair<std::shared_ptr<Job>, Then>> waiting_;
  std::list<std::pair<std::string, Known>> recent_;  ///< latest first
  std::jthread thread_;
};

}  // namespace paretod
