#include "daemon/store_setup.hpp"

#include <filesystem>
#include <fstream>
#include <string>

namespace paretod {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line) || line.empty()) return std::nullopt;
  return line;
}

/// Redis and the state directory must know each other: see RedisBackend::check_instance.
Result<void> check_instance(RedisBackend& backend, const fs::path& state) {
  const fs::path file = state / "instance";
  const auto known = first_line(file);
  auto instance = backend.check_instance(known);
  if (!instance) return instance.error();
  if (known) return {};
  std::ofstream out(file);
  out << *instance << '\n';
  out.flush();
  if (!out) return Error{ErrorKind::unavailable, "cannot write " + file.string()};
  return {};
}

}  // namespace

Health OpenStore::health() const {
  if (server) {
    if (Health health = server->health(); !health.ok) return health;
  }
  return backend->health();
}

Result<OpenStore> open_store(const DaemonConfig& config, Logger& logger) {
  std::error_code failed;
  fs::create_directories(config.state_directory, failed);
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
  } else {
    auto address = parse_redis_url(config.redis_url);
    if (!address) return address.error();
    options.address = std::move(*address);
  }
  auto backend = RedisBackend::connect(std::move(options));
  if (!backend) return backend.error();
  store.backend = std::move(*backend);
  if (auto checked = check_instance(*store.backend, config.state_directory); !checked) {
    return checked.error();
  }
  return store;
}

}  // namespace paretod
