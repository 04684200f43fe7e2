#include "daemon/store_setup.hpp"

#include <filesystem>
#include <string>

#include "daemon/store/instance_file.hpp"

namespace paretod {
Health OpenStore::health() const {
  if (server) {
    if (Health health = server->health(); !health.ok) return health;
  }
  return backend->health();
}

Result<OpenStore> open_store(const DaemonConfig& config, Logger& logger) {
  std::error_code failed;
  std::filesystem::create_directories(config.state_directory, failed);
  if (failed) {
    return Error{ErrorKind::denied, "cannot make the state directory " + config.state_directory +
                                        ": " + failed.message() +
                                        "; choose another with --state-dir"};
  }
  const auto say = [&logger](const std::string& message) {
    logger.info(message, {{"component", "store"}});
  };
  OpenStore store;
  RedisBackendOptions options;
  options.prefix = config.redis_prefix;
  options.on_progress = say;
  if (!config.redis_durability.empty()) options.declared_durability = config.redis_durability;
  if (config.redis_url.empty()) {
    EmbeddedRedisOptions embedded;
    embedded.state_directory = config.state_directory;
    embedded.prefix = config.redis_prefix;
    embedded.on_message = say;
    auto server = EmbeddedRedis::start(std::move(embedded));
    if (!server) return server.error();
    store.server = std::move(*server);
    options.address = store.server->address();
    options.declared_durability = "strict";  // we wrote its configuration
  } else {
    auto address = parse_redis_url(config.redis_url);
    if (!address) return address.error();
    options.address = std::move(*address);
  }
  auto backend = RedisBackend::connect(std::move(options));
  if (!backend) return backend.error();
  store.backend = std::move(*backend);
  if (auto checked = check_instance_file(*store.backend, config.state_directory); !checked) {
    return checked.error();
  }
  return store;
}

}  // namespace paretod
