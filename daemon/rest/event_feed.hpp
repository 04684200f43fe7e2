#pragma once
// Server-sent events of running jobs, for hundreds of clients, without gaps or repeats.
//
// Of each job with clients the feed keeps one Channel.  The writer thread only puts committed
// events into the channel's inbox; a live thread empties the inboxes every few milliseconds,
// formats each event once and gives the text to all clients that are up to date.  A client that is
// behind (it resumes with Last-Event-ID, or reads more slowly than events come) is fed from the
// log by a second thread, a page whenever it has taken the one before, until it has caught up.
// Every client knows the last event it was given, and is fed by one of the two threads at a time.
//
// All methods are thread-safe.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

#include "daemon/jobs/job.hpp"
#include "daemon/rest/http_message.hpp"
#include "daemon/store/log_backend.hpp"

namespace paretod {

struct EventFeedOptions {
  std::chrono::milliseconds gather{20};  ///< between two rounds of the live thread
  std::size_t page_bytes = 64 * 1024;    ///< of log text read for one client at once
  std::size_t lag_bytes = 192 * 1024;    ///< behind by more, a client leaves the live ones
  std::size_t inbox_events = 16 * 1024;  ///< more are dropped, and everyone reads them back
};

class EventFeed {
 public:
  /// `log` must outlive the feed.
  explicit EventFeed(LogBackend& log, EventFeedOptions options = {});
  /// Closes all streams.
  ~EventFeed();
  EventFeed(const EventFeed&) = delete;
  EventFeed& operator=(const EventFeed&) = delete;

  /// A stream of the events after `after`; without one, of those from now on, or of the last one
  /// if the job is final.  It ends after `finished`.  An id that the log has not reached begins
  /// with a `reset` event that carries the true one.  Null if the client has the last event of a
  /// final job: there is nothing to come.
  std::shared_ptr<EventStream> open(const std::shared_ptr<Job>& job, std::optional<EventId> after);

  [[nodiscard]] std::size_t clients() const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace paretod
