#pragma once
// What a Redis server must be before paretod trusts it with logs (research: redis-log.md rules 9
// and 10, reliability.md 2.3).

#include <optional>
#include <string>

#include "adapters/redis/redis_connection.hpp"

namespace paretod {

/// Checks version, role, eviction policy and permissions, and returns how durable an acknowledged
/// event is, in the words of LogBackend::durability().  `declared` ("strict", "bounded" or "none")
/// is the operator's word, used only where the server does not let CONFIG be read.
/// Errors: unavailable (it is loading, or was lost; ask again), denied, or invalid (its version,
/// role or policy will not do).
Result<std::string> check_redis_server(RedisConnection& connection, const RedisAddress& address,
                                       const std::string& prefix,
                                       const std::optional<std::string>& declared);

}  // namespace paretod
