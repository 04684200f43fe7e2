#pragma once
// Opens the store that the configuration asks for: a private redis-server or an external one.

#include <memory>

#include "adapters/redis/embedded_redis.hpp"
#include "daemon/config.hpp"
#include "daemon/logger.hpp"
#include "daemon/store/redis_backend.hpp"

namespace paretod {

/// Destroyed in reverse order: the connection before the server.
struct OpenStore {
  std::unique_ptr<EmbeddedRedis> server;  ///< null with an external server
  std::unique_ptr<RedisBackend> backend;

  [[nodiscard]] Health health() const;
};

/// The state directory is made if it is missing; it also remembers which Redis data belongs to it.
Result<OpenStore> open_store(const DaemonConfig& config, Logger& logger);

}  // namespace paretod
