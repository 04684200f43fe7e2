#pragma once
// Group commit: one thread that writes the logs of all jobs.  While a write is on its way, new
// events gather and go together in the next one, so that many producers share each fsync
// (research: redis-log.md 4, 5.3).  Each job has at most one entry in flight, and one write()
// carries the next entry of every job that has something to say.
//
// append() may be called from any thread and never waits for I/O.  Listeners run on the writer
// thread, without locks: they may append and drop handles, and must not wait for other events,
// because nothing is written until they return.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "daemon/store/log_backend.hpp"

namespace paretod {

/// `events` more events are durable, up to `last`.  Or an error: the log is lost to this writer,
/// `events` that had been appended are not known to be durable, those appended later are dropped,
/// and no further call follows.
using CommitListener = std::function<void(const Result<EventId>& last, std::size_t events)>;

class GroupCommit {
 public:
  class Log;

  /// `backend` must outlive this, and be written to by nobody else.
  explicit GroupCommit(LogBackend& backend);
  /// Writes what is queued, lazy events too, and returns when all listeners have been called.  For
  /// as long as the backend retries, this waits; LogBackend::close() makes it give up.
  ~GroupCommit();
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  /// Starts appending to a log behind `top`: after create(), or after take_over() and read().
  /// When the handle is dropped its queue is still written, then the log is forgotten.  A handle
  /// that outlives the GroupCommit drops what it is given.
  [[nodiscard]] std::shared_ptr<Log> open(std::string job, EventId top, CommitListener listener);

 private:
  struct Core;
  struct Entry;

  std::shared_ptr<Core> core_;
};

/// Safe for any number of threads.
class GroupCommit::Log {
 public:
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// The order of calls is the order of the log.  An event larger than max_batch_bytes goes alone.
  void append(std::string event);
  /// As append(), but the event may wait until another one is appended or much has gathered: it
  /// costs no write of its own.
  void append_lazily(std::string event);
  /// Lazy events that wait need not wait any longer.
  void flush();
  /// Events that are not yet durable.
  [[nodiscard]] std::size_t backlog() const;

 private:
  friend class GroupCommit;
  Log(std::shared_ptr<Core> core, std::shared_ptr<Entry> entry);

  std::shared_ptr<Core> core_;
  std::shared_ptr<Entry> entry_;
};

}  // namespace paretod
