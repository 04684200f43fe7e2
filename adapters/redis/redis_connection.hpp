#pragma once
// One connection to Redis: commands out, replies back, in order.  The RESP decoder is hiredis,
// which no other file includes; the socket is our own, because hiredis 0.14 raises SIGPIPE, leaks
// its descriptor into children and has no deadline per reply.
//
// Used by one thread at a time.  After any timeout or I/O error the connection is closed for good:
// a late reply must never be taken for the answer to the next command (redis-log.md rule 8).

#include <chrono>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/redis_address.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct RedisTimeouts {
  std::chrono::milliseconds connect{1000};
  std::chrono::milliseconds command{5000};  ///< from asking for a reply to having it
};

struct RedisReply {
  enum class Kind { nil, text, error, integer, array };

  Kind kind = Kind::nil;
  long long integer = 0;
  std::string text = {};  ///< of text and error; an error begins with its code, e.g. "NOPERM"
  std::vector<RedisReply> elements = {};

  [[nodiscard]] bool is_error() const { return kind == Kind::error; }
};

class RedisConnection {
 public:
  /// Connects, logs in and selects the database.
  /// Errors: unavailable (nobody there; try again), denied (login refused), invalid.
  static Result<RedisConnection> connect(const RedisAddress& address, RedisTimeouts timeouts = {});
  ~RedisConnection();
  RedisConnection(RedisConnection&&) noexcept;
  RedisConnection& operator=(RedisConnection&&) noexcept;

  /// Adds a command to those that the next read() sends.
  void append(std::span<const std::string_view> arguments);
  void append(std::initializer_list<std::string_view> arguments);
  /// Sends what was appended, then waits for the next reply.  What Redis refuses is a reply; an
  /// error means that the connection is closed and every open command in doubt.  It is unavailable,
  /// or invalid if the other side does not speak the protocol.
  Result<RedisReply> read();
  /// append() and read().  Precondition: no reply is outstanding.
  Result<RedisReply> command(std::initializer_list<std::string_view> arguments);

  [[nodiscard]] bool usable() const;
  /// Usable, and no reply is outstanding.
  [[nodiscard]] bool idle() const;

 private:
  struct State;
  explicit RedisConnection(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace paretod
