#include "daemon/cli/cli.hpp"

#include <fstream>
#include <iterator>
#include <limits>
#include <ostream>

#include "daemon/cli/commands.hpp"
#include "daemon/cli/interrupt.hpp"
#include "daemon/cli/merge_models.hpp"

namespace paretod {
namespace {

using cli::Arguments;
using cli::Console;

/// That a daemon grants one worker .
constexpr std::size_t most_slots = 256;

/// What an option says, or else its environment variable.
std::optional<std::string> setting(const Arguments& arguments, const Console& console,
                                   std::string_view option, const char* variable) {
  auto value = arguments.text(option);
  return value ? value : console.environment(variable);
}

Result<std::string> read_token(const std::string& file) {
  std::ifstream in(file);
  std::string token;
  if (!in || !std::getline(in, token)) return invalid("cannot read a token from " + file);
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  if (token.empty()) return invalid(file + " holds no token");
  return token;
}

std::string base_url(std::string url) {
  if (url.find("://") == std::string::npos) url.insert(0, "http://");
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url;
}

struct DaemonAddress {
  std::string url;
  std::string token;  ///< empty: none
};

/// Where the daemon is, by this option or its environment variable.
Result<DaemonAddress> daemon_address(const Arguments& arguments, const Console& console,
                                     std::string_view url_option) {
  const auto given_url = setting(arguments, console, url_option, "PARETOD_URL");
  DaemonAddress address{base_url(given_url.value_or("http://127.0.0.1:8780")), {}};
  if (const auto file = setting(arguments, console, "--token-file", "PARETOD_TOKEN_FILE")) {
    auto token = read_token(*file);
    if (!token) return token.error();
    address.token = std::move(*token);
  }
  if (address.url.rfind("http://", 0) != 0 && address.url.rfind("https://", 0) != 0) {
    return invalid("\"" + address.url + "\" is not an http or https URL");
  }
  return address;
}

int client_command(const Arguments& arguments, Console& console, const std::string& version) {
  auto address = daemon_address(arguments, console, "--url");
  if (!address) return cli::fail_usage(console, address.error().message);
  HttpClientOptions options;
  options.cancelled = cli::Interrupt::pending;
  options.user_agent = "paretod/" + version;
  cli::DaemonApi api(HttpClient(std::move(options)), address->url, std::move(address->token));
  std::string reach;
  if (arguments.has("--url")) reach += " --url " + address->url;
  if (const auto file = arguments.text("--token-file")) reach += " --token-file " + *file;
  return cli::run_command({arguments, console, api, reach});
}

int serve_command(const Arguments& arguments, Console& console, const LocalCommands& local) {
  const std::uint64_t port = arguments.count("--port").value_or(0);
  if (port > std::numeric_limits<std::uint16_t>::max()) {
    return cli::fail_usage(console, "--port takes a number up to 65535");
  }
  ServeOptions options{.config_file = arguments.text("--config"),
                       .state_dir = arguments.text("--state-dir"),
                       .port = std::nullopt,
                       .redis_url = arguments.text("--redis-url"),
                       .quiet = arguments.has("--quiet")};
  if (arguments.has("--port")) options.port = static_cast<std::uint16_t>(port);
  return local.serve(options);
}

int work_command(const Arguments& arguments, Console& console, const LocalCommands& local) {
  auto address = daemon_address(arguments, console, "--daemon");
  if (!address) return cli::fail_usage(console, address.error().message);
  const auto evaluator = arguments.text("--evaluator");
  if (!evaluator) {
    return cli::fail_usage(console, "paretod worker needs --evaluator NAME: what to evaluate");
  }
  WorkOptions options;
  options.url = std::move(address->url);
  options.token = std::move(address->token);
  options.evaluator = *evaluator;
  options.config_file = arguments.text("--config");
  options.state_dir = arguments.text("--state");
  options.name = arguments.text("--name");
  options.job = arguments.text("--job").value_or("");
  options.slots = arguments.count("--slots");
  if (options.slots && (*options.slots < 1 || *options.slots > most_slots)) {
    return cli::fail_usage(console, "--slots takes 1 to " + std::to_string(most_slots));
  }
  if (const auto grace = arguments.count("--grace")) options.grace_s = static_cast<double>(*grace);
  if (const auto idle = arguments.count("--idle-exit")) {
    options.idle_exit_s = static_cast<double>(*idle);
  }
  return local.work(options);
}

}  // namespace

int run_cli(const std::vector<std::string>& words, const LocalCommands& local, Console& console) {
  const auto parsed = cli::parse_arguments(words);
  if (!parsed) return cli::fail_usage(console, parsed.error().message);
  const Arguments& arguments = *parsed;
  if (arguments.version) {
    console.out << "paretod " << local.version << '\n';
    return cli::exit_ok;
  }
  if (arguments.help) {
    console.out << (arguments.verb == nullptr ? cli::general_help()
                                              : cli::help_of(*arguments.verb));
    return cli::exit_ok;
  }
  if (arguments.verb->name == "serve") return serve_command(arguments, console, local);
  if (arguments.verb->name == "worker") return work_command(arguments, console, local);
  if (arguments.verb->name == "merge") return cli::merge_command(arguments, console);
  if (arguments.verb->name == "replay") return local.replay(arguments.operand);
  return client_command(arguments, console, local.version);
}

int cli_main(int argc, const char* const* argv, const LocalCommands& local) {
  Console console = cli::system_console();
  return run_cli({argv + (argc > 0 ? 1 : 0), argv + argc}, local, console);
}

}  // namespace paretod
