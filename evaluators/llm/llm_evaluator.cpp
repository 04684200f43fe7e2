// paretod-llm-evaluator CONFIG [--check]: speaks the evaluator protocol on stdin and stdout for a
// model behind an inference server.  One process per provider: its limits, caps and ledger are kept
// here and shared by all jobs, through as many slots as are configured.  --check looks at the
// server, tries the canaries, says what it found, and ends.
//
// The first thread reads requests; all else happens on the HTTP client's thread.  When stdin ends,
// calls that are under way are waited for, so that what was paid for reaches the ledger, and what
// is still loaded is unloaded.

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "adapters/hash/sha256.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/json/space_json.hpp"
#include "adapters/llm/reply_reader.hpp"
#include "evaluators/llm/check_summary.hpp"
#include "evaluators/llm/oracle_run.hpp"
#include "evaluators/llm/peft_files.hpp"
#include "evaluators/llm/server_probe.hpp"
#include "evaluators/process/protocol.hpp"
#include "evaluators/process/text.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

/// How long a server may take to load its model.
constexpr double patience_s = 120;
constexpr std::size_t largest_reply = std::size_t{8} << 20U;
constexpr const char* usage =
    "usage: paretod-llm-evaluator CONFIG            serve a daemon on stdin and stdout\n"
    "       paretod-llm-evaluator CONFIG --check    look at the server, say what is there, end\n"
    "       paretod-llm-evaluator --prune ADAPTER KEEP FOLDER\n"
    "                                               write a copy that keeps a share of A\n"
    "       paretod-llm-evaluator --pairs FOLDER ADAPTER ADAPTER...\n"
    "                                               write B of each with A of each, for "
    "llama.cpp\n";

int fail(const std::string& why) {
  std::fprintf(stderr, "paretod-llm-evaluator: %s\n", why.c_str());
  return 1;
}

/// The protocol's stream; whatever else is printed goes to stderr.  Thread-safe.
class Output {
 public:
  Output() : fd_(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) {
    dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  void say(const json& message) {
    const std::string text = message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    const std::lock_guard lock(mutex_);
    for (std::size_t written = 0; written < text.size();) {
      const ssize_t count = write(fd_, text.data() + written, text.size() - written);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;  // the daemon is gone, and stdin will say so
      written += static_cast<std::size_t>(count);
    }
  }

 private:
  int fd_;
  std::mutex mutex_;
};

/// From a file that only its owner can read, or from the environment, which is then cleared.
Result<std::string> read_key(const ServerConfig& server) {
  std::string key;
  if (!server.key_file.empty()) {
    struct stat status {};
    if (stat(server.key_file.c_str(), &status) != 0) {
      return Error{ErrorKind::not_found, "cannot read the key file " + server.key_file};
    }
    if ((status.st_mode & 077U) != 0) {
      return Error{ErrorKind::denied,
                   "others can read the key file " + server.key_file + "; chmod 600 it"};
    }
    std::ifstream in(server.key_file);
    std::getline(in, key);
  } else if (!server.key_env.empty()) {
    const char* value = std::getenv(server.key_env.c_str());
    if (value == nullptr) {
      return Error{
          ErrorKind::not_found,
          "the environment has no " + server.key_env +
              "; name it in the evaluator's \"environment\" in the daemon's configuration"};
    }
    key = value;
    unsetenv(server.key_env.c_str());
  } else {
    return key;
  }
  while (!key.empty() && (key.back() == '\r' || key.back() == ' ')) key.pop_back();
  const bool odd = key.size() < 8 ||
                   std::any_of(key.begin(), key.end(), [](char c) { return c <= ' ' || c > '~'; });
  if (odd) return Error{ErrorKind::invalid, "the key has to be at least 8 printable characters"};
  return key;
}

json hello_of(const LlmConfig& config, const Dialect* dialect, const Caller& caller,
              const std::string& server) {
  std::vector<Objective> objectives;
  for (const ObjectiveConfig& objective : config.objectives) {
    objectives.push_back({objective.name, objective.goal});
  }
  json version = identity_of(config, Genome{}, server);
  for (const TaskConfig& task : config.tasks) {
    for (const auto& split : task.splits) {
      for (const Example& example : split) version.push_back({example.prompt, example.answer});
    }
  }
  json hello{{"paretod", 1},
             {"type", "hello"},
             {"evaluator", config.name},
             {"slots", config.slots},
             {"space", to_json(space_of(config))},
             {"objectives", to_json(objectives)},
             {"metrics",
              {"n_ok", "n_failed", "fingerprint_changed", "used.calls", "used.ledger_hits",
               "used.retries", "used.prompt_tokens", "used.output_tokens", "used.cached_tokens"}},
             {"fidelity", {{"unit", "examples"}, {"default", 0}}},
             {"version", sha256_hex(version.dump()).substr(0, 16)}};
  if (config.prices.paid()) {
    const CallCost worst = worst_trial(config, *dialect, caller);
    hello["paid"] = true;
    hello["resumable"] = true;
    hello["currency"] = config.prices.currency;
    hello["worst_case"] = {{"tokens", worst.tokens}, {"money_micros", worst.micros}};
  }
  return hello;
}

/// Requests in hand, by id.  On the HTTP client's thread.
class Desk {
 public:
  Desk(Workshop& workshop, const ServerFacts& facts, Output& output)
      : workshop_(workshop), facts_(facts), output_(output) {}

  void take(const json& message) {
    ReplyReader reader(message);
    const std::string id = reader.text_or("/id", "");
    const std::string type = reader.text_or("/type", "");
    if (type == "cancel") {
      const auto found = runs_.find(id);
      if (found == runs_.end()) return;
      const auto cancel = found->second;
      return cancel();
    }
    if (type != "evaluate" || id.empty()) return;
    const auto refuse = [&](const std::string& why) {
      output_.say({{"type", "error"}, {"id", id}, {"kind", "failed"}, {"message", why}});
    };
    auto genome = genome_of(workshop_.config, message.value("candidate", json()));
    if (!genome) return refuse(genome.error().text());
    // Three splits, and blocks within them: search, select, report, search's next block, ...
    const std::uint64_t replicate = reader.count_or("/replicate", 0);
    const std::uint64_t count = reader.count_or("/fidelity", 0);
    if (reader.failed()) return refuse(reader.error().message);
    const std::uint64_t split = replicate % split_names.size();
    const std::uint64_t block = replicate / split_names.size();
    const auto say = [this, id](json reply) {
      if (reply["type"] != "progress") runs_.erase(id);
      output_.say(reply);
    };
    if (workshop_.config.server.api == "loss_oracle") {
      return ask_oracle(workshop_, *genome, facts_.sessions[split], split, id, say);
    }
    const auto run =
        std::make_shared<TrialRun>(workshop_, std::move(*genome), id, split, block, count, say);
    runs_.emplace(id, [run] { run->cancel(); });
    run->start();
  }

 private:
  Workshop& workshop_;
  const ServerFacts& facts_;
  Output& output_;
  std::map<std::string, std::function<void()>> runs_;
};

void read_requests(HttpMulti& http, Desk& desk) {
  LineBuffer lines(longest_line);
  std::array<char, 64 * 1024> buffer;
  while (true) {
    const ssize_t count = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    lines.append({buffer.data(), static_cast<std::size_t>(count)});
    while (const auto line = lines.next()) {
      auto message = parse_json(*line);
      if (!message || !message->is_object()) continue;
      http.after(0, [&desk, message = std::move(*message)] { desk.take(message); });
    }
  }
}

void serve(const LlmConfig& config, Workshop& workshop, const ServerFacts& facts, Output& output,
           const ServerAccess& access) {
  HttpMulti& http = workshop.http;
  Desk desk(workshop, facts, output);
  const bool merges = config.server.api != "loss_oracle";
  output.say(
      hello_of(config, merges ? &workshop.dialect : nullptr, workshop.caller, facts.identity));
  // A daemon that stops sends it too; the end of input is what ends this.
  std::signal(SIGTERM, SIG_IGN);
  read_requests(http, desk);
  auto drained = std::make_shared<std::promise<std::vector<std::string>>>();
  auto left = drained->get_future();
  http.after(0, [&workshop, drained] {
    workshop.caller.drain([&workshop, drained] {
      drained->set_value({workshop.loaded.begin(), workshop.loaded.end()});
    });
  });
  unload_adapters(left.get(), workshop.dialect, access);
}

int run(const std::string& path, bool check_only) {
  std::optional<Output> output;
  if (!check_only) output.emplace();
  auto config = read_llm_config(path);
  if (!config) return fail(config.error().text());
  const auto key = read_key(config->server);
  if (!key) return fail(key.error().text());
  HttpClient::Headers headers;
  if (!key->empty()) headers.emplace_back("Authorization", "Bearer " + *key);

  auto http = std::make_unique<HttpMulti>(
      HttpMultiOptions{.max_body = largest_reply, .allow_internal = config->server.allow_private});
  auto ledger = ResponseLedger::open(
      config->state, [&http](std::function<void()> action) { http->after(0, std::move(action)); });
  if (!ledger) return fail(ledger.error().text());
  if ((*ledger)->totals().dropped > 0) {
    std::fprintf(stderr, "%llu torn lines of the ledger were dropped\n",
                 static_cast<unsigned long long>((*ledger)->totals().dropped));
  }

  const std::vector<std::string> secrets =
      key->empty() ? std::vector<std::string>{} : std::vector{*key};
  const Warn warn = [&secrets](const std::string& warning) {
    std::fprintf(stderr, "%s\n", redacted(warning, secrets).c_str());
  };
  const ServerAccess access{config->server.url, headers, *http};
  const auto facts = look_at_server(*config, access, patience_s, warn);
  if (!facts) return fail(redacted(facts.error().text(), secrets));
  const auto dialect = make_dialect(config->server.api);
  std::unique_ptr<Materialiser> materialiser;
  std::unique_ptr<Background> background;
  if (dialect && !dialect->load_route().empty() && !config->merge.adapters.empty()) {
    auto opened = Materialiser::open(config->merge);
    if (!opened) return fail(opened.error().text());
    materialiser = std::move(*opened);
    const auto orphans = orphans_of(*materialiser, access);
    const std::size_t gone = unload_adapters(orphans, *dialect, access);
    if (!orphans.empty()) {
      warn("unloaded " + std::to_string(gone) + " of " + std::to_string(orphans.size()) +
           " merged adapters that an evaluator left in the server when it was killed");
    }
    background = std::make_unique<Background>();
  }
  CallerOptions options;
  options.url = config->server.url;
  options.headers = headers;
  options.secrets = secrets;
  options.timeout_s = config->server.timeout_s;
  options.retries = config->server.retries;
  options.resend_unknown = config->resend_unknown;
  options.prices = config->prices;
  options.caps = config->caps;
  options.limits = config->limits;
  if (facts->slots > 0 && facts->slots < options.limits.concurrency) {
    // What waits in the server's queue could as well wait here.
    options.limits.concurrency = facts->slots;
  }
  const std::size_t calls_at_once = options.limits.concurrency;
  Caller caller(std::move(options), *http, **ledger);
  // Whichever way this ends, in this order: no callback into what is gone.
  const auto end_of_calls = [&](const Caller*) {
    background.reset();
    ledger->reset();
    http.reset();
  };
  const std::unique_ptr<const Caller, decltype(end_of_calls)> calls(&caller, end_of_calls);
  const auto started = std::chrono::system_clock::now().time_since_epoch().count();
  const auto oracle_dialect = llama_cpp_dialect();  // never asked
  Workshop workshop{.config = *config,
                    .dialect = dialect ? *dialect : *oracle_dialect,
                    .caller = caller,
                    .http = *http,
                    .ledger = ledger->get(),
                    .materialiser = materialiser.get(),
                    .background = background.get(),
                    .server = facts->identity,
                    .run_name = "paretod-" + std::to_string(started),
                    .warn = warn};
  if (config->server.probe && dialect) {
    const auto tried = try_canaries(workshop);
    if (!tried) return fail(tried.error().text());
  }
  if (check_only) {
    const CallCost worst =
        config->prices.paid() && dialect ? worst_trial(*config, *dialect, caller) : CallCost{};
    const std::string found =
        check_summary(*config, {*facts, calls_at_once, (*ledger)->totals(), worst});
    std::fputs(redacted(found, secrets).c_str(), stdout);
  } else {
    serve(*config, workshop, *facts, *output, access);
  }
  return 0;
}

int prune(const std::string& adapter, const std::string& keep_text, const std::string& folder) {
  char* end = nullptr;
  const double keep = std::strtod(keep_text.c_str(), &end);
  if (keep_text.empty() || *end != '\0' || !(keep >= 0 && keep <= 1))
    return fail("KEEP has to be from 0 to 1");
  if (std::filesystem::exists(folder)) return fail(folder + " exists already");
  auto peft = read_peft(adapter);
  if (!peft) return fail(peft.error().text());
  for (LoraModule& module : peft->adapter.modules) {
    const float threshold = keep_threshold(module.a, keep);
    for (float& value : module.a) value = std::abs(value) < threshold ? 0 : value;
  }
  const auto written = write_peft(*peft, folder);
  return written ? 0 : fail(written.error().text());
}

/// All pairs, in the order in which a server has to have them, whose names are printed.
int pair(const std::string& folder, const std::vector<std::string>& adapters) {
  std::error_code trouble;
  if (std::filesystem::exists(folder, trouble)) return fail(folder + " exists already");
  std::vector<PeftAdapter> pool;
  for (const std::string& adapter : adapters) {
    auto peft = read_peft(adapter);
    if (!peft) return fail(peft.error().text());
    pool.push_back(std::move(*peft));
  }
  if (!std::filesystem::create_directories(folder, trouble)) {
    return fail(folder + " cannot be made: " + trouble.message());
  }
  for (std::size_t i = 0; i < pool.size(); ++i) {
    for (std::size_t j = 0; j < pool.size(); ++j) {
      auto made = pair_of(pool[i].adapter, pool[j].adapter);
      if (!made) return fail(adapters[i] + " and " + adapters[j] + ": " + made.error().text());
      // B is of one, A of the other.
      const DType dtype = pool[i].dtype == pool[j].dtype ? pool[i].dtype : DType::f32;
      const std::string name = folder + "/b" + std::to_string(i) + "-a" + std::to_string(j);
      const auto written = write_peft({std::move(*made), dtype, pool[i].config}, name);
      if (!written) return fail(written.error().text());
      std::printf("%s\n", name.c_str());
    }
  }
  return 0;
}

}  // namespace
}  // namespace paretod::llm

int main(int argc, char** argv) {
  if (argc == 2 && (std::string(argv[1]) == "--help" || std::string(argv[1]) == "-h")) {
    std::fputs(paretod::llm::usage, stdout);
    return 0;
  }
  if (argc == 5 && std::string(argv[1]) == "--prune") {
    return paretod::llm::prune(argv[2], argv[3], argv[4]);
  }
  if (argc >= 5 && std::string(argv[1]) == "--pairs") {
    return paretod::llm::pair(argv[2], {argv + 3, argv + argc});
  }
  const bool check = argc == 3 && std::string(argv[2]) == "--check";
  if ((argc != 2 && !check) || *argv[1] == '-') {
    std::fputs(paretod::llm::usage, stderr);
    return 2;
  }
  // What the replies of a burst took stays for the next: giving it back and fetching it again costs
  // a twentieth of a call.
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  return paretod::llm::run(argv[1], check);
}
