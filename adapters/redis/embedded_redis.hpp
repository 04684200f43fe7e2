#pragma once
// A private redis-server, for a daemon that was given no Redis URL (research: reliability.md 3,
// redis-log.md 5 and 6).  It listens only on a unix socket in <state directory>/redis, which only
// the daemon's user may enter, with a new random password at each start of the daemon, and flushes
// every write before it answers.
//
// The server is started, watched and restarted by a thread of this object, because Linux ends such
// a child when the *thread* that started it ends: the server goes when the daemon goes, however
// that happens.  Until it is really gone it holds the lock of the state directory, so that no
// second one can open the same files.
//
// All members may be called from any thread, except that stop() and the destructor need the last
// call to themselves.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "adapters/redis/health.hpp"
#include "adapters/redis/redis_address.hpp"

namespace paretod {

struct EmbeddedRedisOptions {
  std::filesystem::path state_directory;  ///< made if it is missing
  std::string prefix = "pd:";             ///< the only keys that the daemon may touch
  std::uint64_t max_memory = 0;           ///< bytes; 0 is a quarter of the machine, at most 4 GiB
  std::string server_program = "redis-server";
  std::string check_program = "redis-check-aof";
  /// For the server of a daemon that died to end by itself, before it is killed.
  std::chrono::milliseconds lock_patience = std::chrono::seconds(30);
  std::chrono::milliseconds loading_patience = std::chrono::minutes(10);
  /// Restarts wait 0.1 s, 0.2 s, ... up to this.
  std::chrono::milliseconds longest_restart_delay = std::chrono::seconds(30);
  /// What a log should say: repairs, restarts, waiting.  Called on any thread.
  std::function<void(const std::string&)> on_message = {};
};

class EmbeddedRedis {
 public:
  /// Returns when the server answers.  Errors: conflict (the state directory is in use; names the
  /// process), corrupt (an append-only file is damaged), denied, invalid, unavailable.
  static Result<std::unique_ptr<EmbeddedRedis>> start(EmbeddedRedisOptions options);
  /// As stop().
  ~EmbeddedRedis();

  /// The same over restarts of the server.
  [[nodiscard]] RedisAddress address() const;
  /// Not ok while the server is down, and for ten minutes after its fifth death in ten.
  [[nodiscard]] Health health() const;
  /// 0 while it is down.
  [[nodiscard]] pid_t server_pid() const;
  /// Ends the server, and then releases the state directory.  May be repeated.
  void stop();

 private:
  class Watcher;
  explicit EmbeddedRedis(std::unique_ptr<Watcher> watcher);

  std::unique_ptr<Watcher> watcher_;
};

}  // namespace paretod
