#pragma once
// Logs in Redis streams, by the measured rules of research/redis-log.md section 5.
//
// A batch is one entry of the stream <prefix>{JOB}:log: XADD NOMKSTREAM with the id of its last
// event and one field "e" per event.  A single command is atomic also when it is torn by a crash,
// leaves no gaps, and is refused when its id does not grow: that is the fence between owners, and
// what makes a repeated batch recognisable by its content.  <prefix>jobs is the set of all job
// names; a name whose log is missing was never finished creating and is skipped.
//
// After every new connection, and after every reply but success, the writer compares the end of
// the stream with what it believes before it appends again.
//
// create() needs two commands, the owner event alone and then the rest, because only the id 1-1
// is refused by every existing log.  A crash between them leaves a log of one owner event: nobody
// was told that such a job exists.  An owner event must hold something unique (a random number),
// which is how an owner recognises its own after a lost reply.
//
// Threads as LogBackend says; health() from any.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "adapters/redis/health.hpp"
#include "adapters/redis/redis_connection.hpp"
#include "daemon/store/log_backend.hpp"

namespace paretod {

struct RedisBackendOptions {
  RedisAddress address;
  std::string prefix = "pd:";  ///< letters, digits and . _ : - only
  RedisTimeouts timeouts = {};
  /// "strict", "bounded" or "none"; used where the server does not permit CONFIG GET.
  std::optional<std::string> declared_durability = {};
  /// How long connect() waits for a server that is loading its data.
  std::chrono::milliseconds loading_patience = std::chrono::minutes(10);
  /// How long everything but write() keeps asking a server that does not answer.
  std::chrono::milliseconds patience = std::chrono::seconds(30);
  /// Told what connect() is waiting for; on the calling thread.
  std::function<void(const std::string&)> on_progress = {};
};

class RedisBackend final : public LogBackend {
 public:
  /// Connects, checks the server (redis_server_check.hpp) and waits while it loads.
  static Result<std::unique_ptr<RedisBackend>> connect(RedisBackendOptions options);
  ~RedisBackend() override;

  /// Guards against a server that lost its data or is another one.  Redis and the daemon's state
  /// directory each remember a UUID; `known` is the one in the state directory.  Returns the UUID
  /// to keep there.  Without `known`, that of the server is adopted, or a new one is given to it.
  /// Errors: corrupt (the server has none although this daemon has used it), conflict (it belongs
  /// to another daemon), unavailable.
  Result<std::string> check_instance(const std::optional<std::string>& known);

  /// Not ok while a write is being retried; nothing is lost meanwhile.
  [[nodiscard]] Health health() const;

  Result<EventId> create(const std::string& job, const std::vector<std::string>& events) override;
  Result<EventId> take_over(const std::string& job, const std::string& owner_event) override;
  std::vector<Result<void>> write(std::span<const Batch> batches) override;
  Result<EventId> read(const std::string& job, EventId after, const EventSink& sink) override;
  Result<std::vector<std::string>> jobs() override;
  void close() override;
  [[nodiscard]] std::string durability() const override { return durability_; }

 private:
  /// What one round trip says about one batch.
  struct Verdict {
    enum class Kind {
      done,       ///< it is in the log
      absent,     ///< it is not, and the log ends where it should: append
      unknown,    ///< look before doing anything else
      try_later,  ///< refused for now; look again after a pause
      failed,     ///< never; `error` says why
      lost,       ///< the connection is gone
    };
    Kind kind;
    Error error = {};
  };

  RedisBackend(RedisBackendOptions options, std::string durability);

  [[nodiscard]] std::string log_key(const std::string& job) const;
  void send_append(RedisConnection& connection, const Batch& batch) const;
  Verdict receive_append(RedisConnection& connection, const Batch& batch) const;
  void send_look(RedisConnection& connection, const Batch& batch) const;
  Verdict receive_look(RedisConnection& connection, const Batch& batch) const;
  Verdict judge(const Batch& batch, const RedisReply& found, const RedisReply& top) const;
  [[nodiscard]] Verdict refused(const RedisReply& reply) const;
  /// The next reply, or why there will be none.  nullopt: try again, `why` says why.
  std::optional<Result<RedisReply>> answer_of(RedisConnection& connection, std::string& why) const;

  /// Runs `attempt` on a connection of the pool until it answers, until patience ends or
  /// close() is called (then `unavailable`).  nullopt from `attempt`: try again, `why` says why.
  template <class T>
  Result<T> persist(
      const std::function<std::optional<Result<T>>(RedisConnection&, std::string& why)>& attempt);
  Result<RedisConnection> lend();
  void give_back(RedisConnection connection);
  /// False when closed.
  bool pause(std::chrono::milliseconds delay);
  [[nodiscard]] bool closed() const;
  [[nodiscard]] Error closing_error() const;
  void set_health(Health health);

  const RedisBackendOptions options_;
  const std::string durability_;

  std::mutex writer_mutex_;  ///< guards the next two
  std::optional<RedisConnection> writer_;
  /// Jobs whose log ends, on this connection, where their writer believes.
  std::unordered_set<std::string> verified_;

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable closing_;
  std::vector<RedisConnection> pool_;
  bool closed_ = false;
  Health health_;
};

}  // namespace paretod
