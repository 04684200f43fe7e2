#pragma once
// Exclusive use of a state directory: a flock() on its file "lock", held by the daemon and, through
// an inherited descriptor, by the redis-server that it starts.  While either lives nobody else
// may open the same append-only file (research: redis-log.md 6; fcntl locks are not inherited).

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "optimizers/core/result.hpp"

namespace paretod {

class StateLock {
 public:
  /// If a living daemon holds the lock: conflict, at once, with its process id.  If only the
  /// redis-server of a dead one does, waits `patience` for it to end, then kills it.
  static Result<StateLock> acquire(const std::filesystem::path& directory,
                                   std::chrono::milliseconds patience,
                                   const std::function<void(const std::string&)>& on_message);
  ~StateLock();
  StateLock(StateLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  StateLock& operator=(StateLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  /// For the child to inherit.
  [[nodiscard]] int descriptor() const { return descriptor_; }
  /// Writes down which process inherited the lock; 0 is none.
  void record_child(pid_t child) const;

 private:
  explicit StateLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace paretod
