#include "daemon/store/attempt_logs.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <utility>

namespace paretod {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_queued = 1000;

/// "17.2.log"
std::string file_name(TrialNumber trial, std::uint32_t attempt) {
  return std::to_string(trial) + "." + std::to_string(attempt) + ".log";
}

}  // namespace

AttemptLogs::AttemptLogs(fs::path directory, std::size_t kept_per_job)
    : directory_(std::move(directory)),
      kept_per_job_(kept_per_job),
      writer_([this] { write_all(); }) {}

AttemptLogs::~AttemptLogs() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

void AttemptLogs::keep(const std::string& job, TrialNumber trial, Log log) {
  if (log.text.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= most_queued) return;
    queue_.push_back({job, trial, std::move(log)});
  }
  changed_.notify_all();
}

void AttemptLogs::write_all() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Queued queued = std::move(queue_.front());
    lock.unlock();
    write(queued);
    lock.lock();
    // Only now, so that of() finds it here or in its file.
    queue_.pop_front();
  }
}

std::deque<fs::path>& AttemptLogs::files_of(const std::string& job) {
  const auto [place, added] = files_.try_emplace(job);
  if (!added) return place->second;
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> dated;
  for (const auto& entry : fs::directory_iterator(directory_ / job, error)) {
    dated.emplace_back(entry.last_write_time(error), entry.path());
  }
  std::sort(dated.begin(), dated.end());
  for (auto& [time, path] : dated) place->second.push_back(std::move(path));
  return place->second;
}

void AttemptLogs::write(const Queued& queued) {
  std::error_code error;
  fs::create_directories(directory_ / queued.job, error);
  std::deque<fs::path>& files = files_of(queued.job);
  fs::path file = directory_ / queued.job / file_name(queued.trial, queued.log.attempt);
  std::ofstream(file, std::ios::binary) << queued.log.text;
  files.push_back(std::move(file));
  while (files.size() > kept_per_job_) {
    fs::remove(files.front(), error);
    files.pop_front();
  }
}

std::vector<AttemptLogs::Log> AttemptLogs::of(const std::string& job, TrialNumber trial) const {
  std::map<std::uint32_t, std::string> logs;
  {
    const std::lock_guard lock(mutex_);
    for (const Queued& queued : queue_) {
      if (queued.job == job && queued.trial == trial) logs[queued.log.attempt] = queued.log.text;
    }
  }
  const std::string prefix = std::to_string(trial) + ".";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_ / job, error)) {
    const std::string name = entry.path().filename().string();
    std::uint32_t attempt = 0;
    if (!name.starts_with(prefix)) continue;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), attempt);
    if (name != file_name(trial, attempt)) continue;
    std::stringstream text;
    text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    logs.try_emplace(attempt, text.str());
  }
  std::vector<Log> sorted;
  for (auto& [attempt, text] : logs) sorted.push_back({attempt, std::move(text)});
  return sorted;
}

}  // namespace paretod
