#pragma once
// The log: one append-only sequence of events per job.  A LogBackend is where logs live; the Redis
// one is adapters/redis, its in-memory twin is daemon/store/memory_backend, and both pass one
// contract suite.  GroupCommit (group_commit.hpp) puts the writer thread on top.
//
// Events are numbered 1, 2, 3, ... within an epoch; an event's id is (epoch, number).  Every epoch
// starts with the owner event of whoever appends in it.  Ids only grow, so a writer whose epoch
// has been passed is refused: that is the whole of ownership (research: redis-log.md 1, 5).

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

struct EventId {
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  auto operator<=>(const EventId&) const = default;
  /// "5-1234", the id that clients see.
  [[nodiscard]] std::string text() const {
    return std::to_string(epoch) + "-" + std::to_string(number);
  }
  /// Exactly two decimal numbers of 1 to 19 digits; nothing otherwise.
  static std::optional<EventId> parse(std::string_view text);
};

/// What an entry may hold at most (redis-log.md rule 3).
inline constexpr std::size_t max_batch_events = 256;
inline constexpr std::size_t max_batch_bytes = 256 * 1024;

/// Consecutive events of one job, appended all or none, with ids previous.number+1 ... in
/// previous.epoch (or 1 ... when the epoch of `last` is new).
struct Batch {
  std::string job;
  EventId previous;  ///< the top that the writer believes in
  EventId last;      ///< id of the last event of the batch
  std::vector<std::string> events;
};

/// Events read back, in order.  False ends the reading early.
using EventSink = std::function<bool(EventId, std::string_view event)>;

/// Safe for one writer thread beside any number of reader threads.
class LogBackend {
 public:
  virtual ~LogBackend() = default;

  /// Starts a log with its first events in epoch 1 (the first one is the owner event).
  /// Errors: conflict (the job exists), unavailable.
  virtual Result<EventId> create(const std::string& job,
                                 const std::vector<std::string>& events) = 0;
  /// Appends the owner event in the epoch after the top's, and returns its id.  Entries before it
  /// are valid even if their writer never learnt so: read after taking over.
  /// Errors: not_found, unavailable.
  virtual Result<EventId> take_over(const std::string& job, const std::string& owner_event) = 0;
  /// Durably appends each batch, each judged alone (at most one per job); blocks, retries what
  /// can be retried and resolves what is in doubt, so an answer is final:
  /// ok; conflict (another owner has a later epoch); corrupt (the log is not what it must be);
  /// denied, invalid, internal (the server refuses the write for good: rights, a wrong key type);
  /// unavailable (the backend is closing).
  virtual std::vector<Result<void>> write(std::span<const Batch> batches) = 0;

  /// Calls `sink` for every event with id > after, in order, until it says false.  Returns the id
  /// of the last event that it knows of: the log's top, unless the sink ended the reading. Checks
  /// numbering and epochs (redis-log.md rule 11): corrupt rather than skip.
  virtual Result<EventId> read(const std::string& job, EventId after, const EventSink& sink) = 0;
  /// All jobs that have a log, in no particular order.
  virtual Result<std::vector<std::string>> jobs() = 0;

  /// Makes a write() that is retrying, now or later, give up with `unavailable`.
  virtual void close() = 0;

  /// How safe an acknowledged event is: "strict", "bounded: ...", "none: ...".
  [[nodiscard]] virtual std::string durability() const = 0;
};

}  // namespace paretod
