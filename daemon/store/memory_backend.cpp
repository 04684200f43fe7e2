#include "daemon/store/memory_backend.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace paretod {
namespace {

Error unknown_job(const std::string& job) {
  return Error{ErrorKind::not_found, "there is no log of job '" + job + "'"};
}

bool is_before(EventId id, const std::pair<EventId, std::string>& event) {
  return id < event.first;
}

}  // namespace

Result<EventId> MemoryBackend::create(const std::string& job,
                                      const std::vector<std::string>& events) {
  if (events.empty()) return Error{ErrorKind::internal, "a log cannot be created without events"};
  const std::lock_guard lock(mutex_);
  if (closed_) return Error{ErrorKind::unavailable, "the log store is closing"};
  const auto [at, is_new] = logs_.try_emplace(job);
  if (!is_new) return Error{ErrorKind::conflict, "job '" + job + "' already has a log"};
  EventId id{1, 0};
  for (const std::string& event : events) {
    ++id.number;
    at->second.emplace_back(id, event);
  }
  return id;
}

Result<EventId> MemoryBackend::take_over(const std::string& job, const std::string& owner_event) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Error{ErrorKind::unavailable, "the log store is closing"};
  const auto at = logs_.find(job);
  if (at == logs_.end()) return unknown_job(job);
  const EventId id{at->second.back().first.epoch + 1, 1};
  at->second.emplace_back(id, owner_event);
  return id;
}

std::vector<Result<void>> MemoryBackend::write(std::span<const Batch> batches) {
  std::vector<Result<void>> answers;
  answers.reserve(batches.size());
  for (const Batch& batch : batches) {
    std::optional<Error> error;
    if (hook_) error = hook_(++batches_, batch);
    answers.push_back(error ? Result<void>(std::move(*error)) : append(batch));
  }
  return answers;
}

Result<void> MemoryBackend::append(const Batch& batch) {
  const std::uint64_t before = batch.last.epoch == batch.previous.epoch ? batch.previous.number : 0;
  if (batch.events.empty() || batch.last.number != before + batch.events.size()) {
    return Error{ErrorKind::internal, "a batch of job '" + batch.job + "' is misnumbered"};
  }
  const std::lock_guard lock(mutex_);
  if (closed_) return Error{ErrorKind::unavailable, "the log store is closing"};
  const auto at = logs_.find(batch.job);
  if (at == logs_.end()) {
    return Error{ErrorKind::corrupt, "the log of job '" + batch.job + "' is gone"};
  }
  Log& log = at->second;
  const EventId top = log.back().first;
  // A batch sent again is recognised, whatever was appended since.
  const auto found = std::upper_bound(log.begin(), log.end(), batch.previous, is_before);
  const auto count = std::ssize(batch.events);
  if (log.end() - found >= count && (found + count - 1)->first == batch.last &&
      std::equal(
          batch.events.begin(), batch.events.end(), found,
          [](const std::string& event, const auto& stored) { return event == stored.second; })) {
    return {};
  }
  if (top.epoch > batch.last.epoch) {
    return Error{ErrorKind::conflict, "job '" + batch.job +
                                          "' has a new owner, which writes in epoch " +
                                          std::to_string(top.epoch)};
  }
  if (top != batch.previous) {
    return Error{ErrorKind::corrupt, "the log of job '" + batch.job + "' ends at " + top.text() +
                                         " where " + batch.previous.text() + " was expected"};
  }
  EventId id{batch.last.epoch, batch.last.number - batch.events.size()};
  for (const std::string& event : batch.events) {
    ++id.number;
    log.emplace_back(id, event);
  }
  return {};
}

Result<EventId> MemoryBackend::read(const std::string& job, EventId after, const EventSink& sink) {
  Log found;
  EventId top;
  {
    const std::lock_guard lock(mutex_);
    const auto at = logs_.find(job);
    if (at == logs_.end()) return unknown_job(job);
    const Log& log = at->second;
    top = log.back().first;
    const auto begin = std::upper_bound(log.begin(), log.end(), after, is_before);
    found.assign(begin, log.end());
  }
  for (const auto& [id, event] : found) {
    if (!sink(id, event)) break;
  }
  return top;
}

Result<std::vector<std::string>> MemoryBackend::jobs() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, log] : logs_) names.push_back(name);
  return names;
}

void MemoryBackend::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

std::string MemoryBackend::durability() const {
  return "none: events live in memory and end with the process";
}

}  // namespace paretod
