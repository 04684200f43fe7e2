#pragma once
// The configuration file: what this daemon offers and where it keeps things.  Every field is
// optional; config/schemas/config.json describes it, errors name the field.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/serve_options.hpp"
#include "daemon/rest/rate_limit.hpp"
#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct EvaluatorConfig {
  std::string type;  ///< of evaluator_types()
  ParamValues fields;
};

struct DaemonConfig {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8780;      ///< 0 picks a free one
  std::string token_file;         ///< required for any address but loopback
  std::string worker_token_file;  ///< of a token that is good for workers only
  std::vector<std::string> host_names;
  int http_threads = 2;

  std::string state_directory;
  std::string redis_url;  ///< empty: a private redis-server in the state directory
  std::string redis_prefix = "pd:";
  std::string redis_durability;  ///< declared, where the server does not let us look

  std::map<std::string, EvaluatorConfig> evaluators;
  std::size_t evaluation_threads = 0;  ///< 0: one per core

  std::size_t max_active_jobs = 64;
  std::size_t max_stored_jobs = 10'000;
  double drain_seconds = 60;
  double lease_ttl_seconds = 30;  ///< a worker that is silent for so long has lost its attempts
  RateLimit rate;                 ///< per client; holds where a token is needed

  std::string log_level = "info";
  std::string log_format = "auto";  ///< json, text, or text on a terminal and json elsewhere

  /// Directory that relative paths refer to: the file's own, else the working directory.
  std::string base_directory = ".";
};

/// Reads the file named by the options (defaults without one) and lets the options override it.
Result<DaemonConfig> load_config(const ServeOptions& options);
/// Likewise from text, for tests.
Result<DaemonConfig> parse_config(const std::string& text, const std::string& base_directory);

}  // namespace paretod
