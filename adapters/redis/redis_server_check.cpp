#include "adapters/redis/redis_server_check.hpp"

#include <cstdio>
#include <initializer_list>
#include <string_view>

#include "adapters/redis/redis_refusal.hpp"

namespace paretod {
namespace {

/// The value of "name:value" in the text of INFO, or "".
std::string info_field(std::string_view info, std::string_view name) {
  for (std::size_t begin = 0; begin < info.size();) {
    const std::size_t end = std::min(info.find("\r\n", begin), info.size());
    const std::string_view line = info.substr(begin, end - begin);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      return std::string(line.substr(name.size() + 1));
    }
    begin = end + 2;
  }
  return {};
}

Error unfit(const RedisAddress& address, const std::string& why) {
  return Error{ErrorKind::invalid, "Redis at " + address.text() + " cannot be used: " + why};
}

Result<void> check_version(const RedisAddress& address, const std::string& version) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) {
    return unfit(address, "it does not tell its version (redis_version is '" + version + "')");
  }
  if (major > 6 || (major == 6 && minor >= 2)) return {};
  return unfit(address, "it is version " + version +
                            ", and paretod needs 6.2 or later (Debian 12 has 7.0); upgrade it, or "
                            "let paretod run its own by leaving the Redis URL out");
}

Result<void> check_info(const RedisAddress& address, const std::string& info) {
  if (auto version = check_version(address, info_field(info, "redis_version")); !version) {
    return version;
  }
  if (info_field(info, "cluster_enabled") == "1") {
    return unfit(address, "it is a node of a cluster; paretod needs a single server");
  }
  if (const std::string role = info_field(info, "role"); role != "master") {
    const std::string master =
        info_field(info, "master_host") + ":" + info_field(info, "master_port");
    return unfit(address, "it is a read-only replica of " + master +
                              "; put the master's address into the URL");
  }
  const std::string policy = info_field(info, "maxmemory_policy");
  if (!policy.empty() && policy != "noeviction") {
    return unfit(address, "its maxmemory-policy is '" + policy +
                              "', which may delete logs; set it with CONFIG SET maxmemory-policy "
                              "noeviction, and in redis.conf");
  }
  if (info_field(info, "loading") == "1") {
    const std::string percent = info_field(info, "loading_loaded_perc");
    return Error{ErrorKind::unavailable, "Redis at " + address.text() + " is loading its data" +
                                             (percent.empty() ? "" : ", " + percent + "% so far")};
  }
  return {};
}

/// Tries each kind of command on a log that does not exist: nothing is changed by it.
Result<void> check_permissions(RedisConnection& connection, const RedisAddress& address,
                               const std::string& prefix) {
  const std::string key = prefix + "{}:log";
  connection.append({"XADD", key, "NOMKSTREAM", "1-1", "e", ""});
  connection.append({"MULTI"});
  connection.append({"XRANGE", key, "-", "+", "COUNT", "1"});
  connection.append({"XREVRANGE", key, "+", "-", "COUNT", "1"});
  connection.append({"EXISTS", key});
  connection.append({"SMEMBERS", key});
  connection.append({"GET", key});
  connection.append({"EXEC"});
  std::optional<Error> first;
  for (int i = 0; i < 8; ++i) {
    auto reply = connection.read();
    if (!reply) return reply.error();
    if (!reply->is_error() || first) continue;
    const RedisRefusal refusal(reply->text);
    // A full or busy server is met again, and waited for, by the writer.
    if (refusal.meaning() == RedisRefusal::Meaning::try_later && i == 0) continue;
    first = refusal.error(address);
  }
  if (first) return *first;
  return {};
}

std::string durability_of(const std::string& appendonly, const std::string& fsync) {
  if (appendonly != "yes") {
    return "none: Redis keeps no append-only file, so a restart may lose all recent events; set "
           "appendonly yes and appendfsync always";
  }
  if (fsync == "always") return "strict";
  if (fsync == "everysec") {
    return "bounded: a crash of Redis or its machine may lose about the last two seconds of events "
           "(appendfsync everysec); set appendfsync always to lose none";
  }
  return "none: Redis leaves flushing to the system (appendfsync " + fsync +
         "), so a crash may lose many events; set appendfsync always";
}

std::string undisclosed_durability(const std::string& info,
                                   const std::optional<std::string>& declared) {
  if (info_field(info, "aof_enabled") == "0") return durability_of("no", "");
  if (declared == "strict") return "strict";
  if (declared == "bounded") {
    return "bounded: as declared by the operator, because CONFIG GET is not permitted";
  }
  if (declared == "none") return "none: as declared by the operator";
  return "none: Redis does not permit CONFIG GET, so its appendfsync is not known; grant "
         "+config|get, or declare the durability in the configuration";
}

}  // namespace

Result<std::string> check_redis_server(RedisConnection& connection, const RedisAddress& address,
                                       const std::string& prefix,
                                       const std::optional<std::string>& declared) {
  if (declared && *declared != "strict" && *declared != "bounded" && *declared != "none") {
    return invalid("the declared durability of Redis is '" + *declared +
                   "'; it must be strict, bounded or none");
  }
  auto info = connection.command({"INFO"});
  if (!info) return info.error();
  if (info->is_error()) return RedisRefusal(info->text).error(address);
  if (auto fit = check_info(address, info->text); !fit) return fit.error();
  if (auto may = check_permissions(connection, address, prefix); !may) return may.error();

  std::string values[2];
  const std::string_view names[2] = {"appendonly", "appendfsync"};
  for (int i = 0; i < 2; ++i) {
    auto reply = connection.command({"CONFIG", "GET", names[i]});
    if (!reply) return reply.error();
    if (reply->elements.size() == 2) values[i] = reply->elements[1].text;
  }
  if (values[0].empty() || values[1].empty()) return undisclosed_durability(info->text, declared);
  return durability_of(values[0], values[1]);
}

}  // namespace paretod
