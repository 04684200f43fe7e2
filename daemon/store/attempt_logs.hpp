#pragma once
// What attempts wrote to stderr, for people: one file per attempt, the newest of each job.  Lost
// files are no harm, so nothing here fails loudly.  Thread-safe; writing is done by a thread of its
// own.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "optimizers/core/trial.hpp"

namespace paretod {

class AttemptLogs {
 public:
  /// Files are <directory>/<job>/<trial>.<attempt>.log.
  explicit AttemptLogs(std::filesystem::path directory, std::size_t kept_per_job = 1000);
  /// Writes what is queued.
  ~AttemptLogs();
  AttemptLogs(const AttemptLogs&) = delete;
  AttemptLogs& operator=(const AttemptLogs&) = delete;

  struct Log {
    std::uint32_t attempt = 1;
    std::string text;
  };

  /// Never waits; drops what the disk cannot take in time.  `job` is a valid job name.
  void keep(const std::string& job, TrialNumber trial, Log log);
  /// By attempt; empty where nothing was written or kept.
  [[nodiscard]] std::vector<Log> of(const std::string& job, TrialNumber trial) const;

 private:
  struct Queued {
    std::string job;
    TrialNumber trial = 0;
    Log log;
  };
  void write_all();
  void write(const Queued& queued);
  std::deque<std::filesystem::path>& files_of(const std::string& job);

  const std::filesystem::path directory_;
  const std::size_t kept_per_job_;
  std::map<std::string, std::deque<std::filesystem::path>> files_;  // of the writer; oldest first
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Queued> queue_;
  bool stopping_ = false;
  std::thread writer_;
};

}  // namespace paretod
