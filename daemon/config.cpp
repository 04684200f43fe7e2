#include "daemon/config.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/params_json.hpp"
#include "adapters/json/parse.hpp"
#include "daemon/jobs/job_spec.hpp"

namespace paretod {
namespace {

using nlohmann::json;

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address == "[::1]" ||
         address.starts_with("127.");
}

std::string default_state_directory() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/') {
    return std::string(state) + "/paretod";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::string(home) + "/.local/state/paretod";
  }
  return "/var/lib/paretod";
}

void one_of(ObjectReader& reader, const std::string& name, std::string& value,
            const std::vector<std::string>& choices) {
  const auto given = reader.string(name);
  if (!given) return;
  value = *given;
  if (std::find(choices.begin(), choices.end(), *given) != choices.end()) return;
  std::string known;
  for (const std::string& choice : choices) known += (known.empty() ? "" : ", ") + choice;
  reader.refuse(name, "must be one of: " + known);
}

void read_listen(const json& value, DaemonConfig& config, Problems& problems) {
  ObjectReader reader(value, "/listen", problems);
  config.address = reader.string("address").value_or(config.address);
  if (const auto port = reader.count("port")) {
    if (*port > 65535) reader.refuse("port", "must be 0 to 65535");
    config.port = static_cast<std::uint16_t>(*port);
  }
  config.token_file = reader.string("token_file").value_or("");
  config.worker_token_file = reader.string("worker_token_file").value_or("");
  if (!config.worker_token_file.empty() && config.token_file.empty()) {
    reader.refuse("worker_token_file", "needs a token_file too: without one, nobody needs a token");
  }
  config.host_names = reader.strings("host_names").value_or(std::vector<std::string>{});
  if (const auto threads = reader.count("threads")) {
    if (*threads < 1 || *threads > 64) reader.refuse("threads", "must be 1 to 64");
    config.http_threads = static_cast<int>(*threads);
  }
  reader.refuse_others();
}

void read_redis(const json& value, DaemonConfig& config, Problems& problems) {
  ObjectReader reader(value, "/redis", problems);
  config.redis_url = reader.string("url").value_or("");
  config.redis_prefix = reader.string("prefix").value_or(config.redis_prefix);
  if (reader.find("durability") != nullptr) {
    one_of(reader, "durability", config.redis_durability, {"strict", "bounded", "none"});
  }
  reader.refuse_others();
}

void read_evaluators(const json& value, DaemonConfig& config, Problems& problems) {
  if (!value.is_object()) {
    problems.push_back({"/evaluators", "must be an object: evaluators by name"});
    return;
  }
  for (const auto& [name, block] : value.items()) {
    const std::string at = "/evaluators/" + pointer_token(name);
    if (!valid_job_name(name)) {
      problems.push_back({at, "names have 1 to 64 letters, digits, '.', '_' or '-'"});
    }
    if (!block.is_object() || !block.contains("type") || !block["type"].is_string()) {
      problems.push_back({at + "/type", "is required: the kind of evaluator, such as \"process\""});
      continue;
    }
    json fields = block;
    fields.erase("type");
    auto values = param_values_from_json(fields, at);
    if (values) {
      config.evaluators[name] = {block["type"].get<std::string>(), std::move(*values)};
    } else {
      const Problems& found = values.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
}

void read_limits(const json& value, DaemonConfig& config, Problems& problems) {
  ObjectReader reader(value, "/limits", problems);
  config.max_active_jobs = reader.count("active_jobs").value_or(config.max_active_jobs);
  config.max_stored_jobs = reader.count("stored_jobs").value_or(config.max_stored_jobs);
  if (config.max_active_jobs < 1) reader.refuse("active_jobs", "must be at least 1");
  config.drain_seconds = reader.number("drain_s").value_or(config.drain_seconds);
  if (config.drain_seconds < 0) reader.refuse("drain_s", "must not be negative");
  config.lease_ttl_seconds = reader.number("lease_ttl_s").value_or(config.lease_ttl_seconds);
  if (!(config.lease_ttl_seconds >= 1 && config.lease_ttl_seconds <= 3600)) {
    reader.refuse("lease_ttl_s", "must be 1 to 3600 seconds");
  }
  config.evaluation_threads = reader.count("evaluation_threads").value_or(0);
  config.rate.per_second = reader.number("requests_per_s").value_or(config.rate.per_second);
  if (config.rate.per_second < 0) reader.refuse("requests_per_s", "must not be negative");
  config.rate.burst = reader.number("request_burst").value_or(config.rate.burst);
  if (config.rate.burst < 1) reader.refuse("request_burst", "must be at least 1");
  reader.refuse_others();
}

void read_log(const json& value, DaemonConfig& config, Problems& problems) {
  ObjectReader reader(value, "/log", problems);
  one_of(reader, "level", config.log_level, {"debug", "info", "warning", "error"});
  one_of(reader, "format", config.log_format, {"auto", "json", "text"});
  reader.refuse_others();
}

std::string resolved(const std::string& base, const std::string& path) {
  return path.empty() ? path : (std::filesystem::path(base) / path).lexically_normal().string();
}

}  // namespace

Result<DaemonConfig> parse_config(const std::string& text, const std::string& base_directory) {
  auto document = parse_json(text);
  if (!document) return document.error();
  DaemonConfig config;
  config.base_directory = base_directory;
  Problems problems;
  ObjectReader reader(*document, "", problems);
  static_cast<void>(reader.find("$schema"));
  if (const json* listen = reader.find("listen")) read_listen(*listen, config, problems);
  config.state_directory = resolved(base_directory, reader.string("state_directory").value_or(""));
  if (const json* redis = reader.find("redis")) read_redis(*redis, config, problems);
  if (const json* evaluators = reader.find("evaluators")) {
    read_evaluators(*evaluators, config, problems);
  }
  if (const json* limits = reader.find("limits")) read_limits(*limits, config, problems);
  if (const json* log = reader.find("log")) read_log(*log, config, problems);
  reader.refuse_others();
  config.token_file = resolved(base_directory, config.token_file);
  config.worker_token_file = resolved(base_directory, config.worker_token_file);
  if (!is_loopback(config.address) && config.token_file.empty()) {
    problems.push_back(
        {"/listen/token_file", "is required to listen on " + config.address +
                                   ": any address but loopback needs a bearer token"});
  }
  if (!problems.empty()) return invalid("the configuration is not valid", std::move(problems));
  return config;
}

Result<DaemonConfig> load_config(const ServeOptions& options) {
  std::string text = "{}";
  std::string base = ".";
  if (options.config_file) {
    std::ifstream file(*options.config_file);
    if (!file) return invalid("cannot read the configuration file " + *options.config_file);
    std::ostringstream content;
    content << file.rdbuf();
    text = content.str();
    base = std::filesystem::absolute(*options.config_file).parent_path().string();
  }
  auto config = parse_config(text, base);
  if (!config) {
    Error error = config.error();
    if (options.config_file) error.message = *options.config_file + ": " + error.message;
    return error;
  }
  if (options.state_dir) config->state_directory = *options.state_dir;
  if (config->state_directory.empty()) config->state_directory = default_state_directory();
  if (options.port) config->port = *options.port;
  if (options.redis_url) config->redis_url = *options.redis_url;
  if (options.quiet) config->log_level = "warning";
  return config;
}

}  // namespace paretod
