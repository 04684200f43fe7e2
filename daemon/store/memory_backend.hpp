#pragma once
// The in-memory twin of the Redis log: same epochs, same refusals, nothing survives the process.
// For tests, and for runs whose results nobody keeps.  Thread rules are those of LogBackend.

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/store/log_backend.hpp"

namespace paretod {

class MemoryBackend final : public LogBackend {
 public:
  /// Called for each batch before it is judged, with its number (1, 2, ... over the backend's
  /// life), on the writing thread and without a lock, so it may block.  An error that it returns
  /// becomes the batch's answer and nothing is appended.
  using WriteHook = std::function<std::optional<Error>(std::size_t number, const Batch& batch)>;

  MemoryBackend() = default;
  explicit MemoryBackend(WriteHook hook) : hook_(std::move(hook)) {}

  Result<EventId> create(const std::string& job, const std::vector<std::string>& events) override;
  Result<EventId> take_over(const std::string& job, const std::string& owner_event) override;
  std::vector<Result<void>> write(std::span<const Batch> batches) override;
  Result<EventId> read(const std::string& job, EventId after, const EventSink& sink) override;
  Result<std::vector<std::string>> jobs() override;
  void close() override;
  [[nodiscard]] std::string durability() const override;

 private:
  using Log = std::vector<std::pair<EventId, std::string>>;

  Result<void> append(const Batch& batch);

  WriteHook hook_;
  std::mutex mutex_;
  std::map<std::string, Log> logs_;
  std::size_t batches_ = 0;
  bool closed_ = false;
};

}  // namespace paretod
