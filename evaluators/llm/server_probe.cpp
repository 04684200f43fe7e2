#include "evaluators/llm/server_probe.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/hash/sha256.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/llm/refusal.hpp"
#include "adapters/llm/reply_reader.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

class Prober {
 public:
  Prober(const ServerAccess& access, double patience_s, const Warn& warn = {})
      : access_(access),
        patience_s_(patience_s),
        warn_(warn),
        end_(std::chrono::steady_clock::now() +
             std::chrono::milliseconds(static_cast<std::int64_t>(1000 * patience_s))) {}

  Result<json> get(const std::string& path) { return as_json(path, ask("GET", path, "")); }
  Result<json> post(const std::string& path, const std::string& body) {
    return as_json(path, ask("POST", path, body));
  }
  /// Whatever it answers, as long as it agrees.
  Result<void> tell(const std::string& path, const json& body) {
    auto reply = ask("POST", path, body.dump());
    return reply ? Result<void>() : reply.error();
  }

 private:
  static Result<json> as_json(const std::string& path, const Result<std::string>& body) {
    if (!body) return body.error();
    auto document = parse_json(*body);
    if (document) return document;
    return invalid(path + " gives no JSON: " + document.error().message);
  }

  Result<std::string> ask(const std::string& method, const std::string& path,
                          const std::string& body) {
    while (true) {
      HttpTask task;
      task.method = method;
      task.url = access_.url + path;
      task.headers = access_.headers;
      if (method == "POST") task.headers.emplace_back("Content-Type", "application/json");
      task.body = body;
      task.timeout_s = 10;
      auto promise = std::make_shared<std::promise<HttpOutcome>>();
      auto future = promise->get_future();
      access_.http.start(std::move(task), [promise](HttpOutcome outcome) {
        promise->set_value(std::move(outcome));
      });
      HttpOutcome outcome = future.get();
      if (outcome.kind == HttpOutcome::Kind::reply && outcome.reply.status / 100 == 2) {
        return std::move(outcome.reply.body);
      }
      std::string why = outcome.reason;
      bool loading = outcome.kind == HttpOutcome::Kind::not_sent;
      if (outcome.kind == HttpOutcome::Kind::reply) {
        const Refusal refusal = refusal_of(outcome.reply);
        why = refusal.message;
        loading = refusal.kind == RefusalKind::overloaded || refusal.kind == RefusalKind::throttled;
        if (outcome.reply.status == 404) return Error{ErrorKind::not_found, path + ": " + why};
      }
      if (!loading || std::chrono::steady_clock::now() >= end_) {
        return Error{ErrorKind::unavailable,
                     "the server at " + access_.url + " does not answer " + path + ": " + why};
      }
      if (warn_ && why != said_) {
        warn_("waiting for the server at " + access_.url + ", at most " +
              std::to_string(std::lround(patience_s_)) + " s: " + why);
        said_ = why;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }

  const ServerAccess& access_;
  const double patience_s_;
  const Warn warn_;
  std::string said_;
  const std::chrono::steady_clock::time_point end_;
};

/// The numbers of adapters that a configuration names.
std::vector<std::string> ids_of(const MergeConfig& merge, const AdapterConfig& adapter) {
  // The last one of all pairs.
  if (merge.factor_space) {
    return {std::to_string(merge.adapters.size() * merge.adapters.size() - 1)};
  }
  if (adapter.copies.empty()) return {adapter.id};
  std::vector<std::string> out;
  for (const AdapterCopy& copy : adapter.copies) out.push_back(copy.id);
  return out;
}

Result<ServerFacts> look_at_llama(const LlmConfig& config, Prober& prober) {
  auto props = prober.get("/props");
  if (!props) return props.error();
  ServerFacts facts;
  const ReplyReader reader(*props);
  if (const JsonNode* slots = reader.find("/total_slots")) facts.slots = slots->count();
  facts.identity = reader.text_or("/model_path", "") + " " + reader.text_or("/build_info", "");
  if (config.merge.adapters.empty()) return facts;
  auto list = prober.get("/lora-adapters");
  if (!list) return list.error();
  const std::size_t known = list->is_array() ? list->size() : 0;
  for (const AdapterConfig& adapter : config.merge.adapters) {
    for (const std::string& id : ids_of(config.merge, adapter)) {
      // Newer builds ignore unknown numbers without a word.
      if (id.empty() || id.size() > 6 || id.find_first_not_of("0123456789") != std::string::npos ||
          std::stoul(id) >= known) {
        return invalid("the server has " + std::to_string(known) + " adapters (--lora); number " +
                       id + " of adapter " + adapter.name + " is none of them" +
                       (config.merge.factor_space
                            ? "; in factor space it has to have all pairs (--pairs writes them)"
                            : ""));
      }
    }
  }
  for (const json& entry : known > 0 ? *list : json::array()) {
    facts.identity += " " + ReplyReader(entry).text_or("/path", "");
  }
  return facts;
}

Result<ServerFacts> look_at_models(const LlmConfig& config, Prober& prober) {
  auto list = prober.get("/v1/models");
  if (!list) {
    // Not every service has the route.
    if (list.error().kind == ErrorKind::not_found) return ServerFacts{};
    return list.error();
  }
  std::string known;
  const ReplyReader reader(*list);
  const JsonNode* models = reader.find("/data");
  for (const JsonNode& model : models != nullptr ? models->items() : JsonNode::Range()) {
    const std::string id = ReplyReader(model).text_or("/id", "");
    if (id == config.server.model) return ServerFacts{id, 0, {}};
    if (known.size() < 200) known += (known.empty() ? "" : ", ") + id;
  }
  return invalid("the server has no model \"" + config.server.model + "\"; it has " +
                 (known.empty() ? "none" : known));
}

Result<ServerFacts> look_at_info(Prober& prober, const char* route, const char* field) {
  auto info = prober.get(route);
  if (!info) {
    if (info.error().kind == ErrorKind::not_found) return ServerFacts{};
    return info.error();
  }
  return ServerFacts{ReplyReader(*info).text_or(field, ""), 0, {}};
}

Result<ServerFacts> open_sessions(const LlmConfig& config, Prober& prober) {
  ServerFacts facts;
  for (std::size_t i = 0; i < split_names.size(); ++i) {
    auto session = prober.post("/v1/sessions", config.server.sessions[i]);
    if (!session) return session.error();
    ReplyReader reader(*session);
    facts.sessions[i] = reader.text("/session_id");
    const std::uint64_t count = reader.count("/adapter_count");
    if (reader.failed()) return reader.error();
    if (count != config.merge.adapters.size()) {
      return invalid("the service merges " + std::to_string(count) + " adapters, but " +
                     std::to_string(config.merge.adapters.size()) + " are configured");
    }
  }
  return facts;
}

/// What a vector answers to a prompt, precisely enough to tell vectors apart.
class Canary {
 public:
  explicit Canary(Workshop& workshop) : workshop_(workshop), config_(workshop.config) {}

  Result<std::string> answer(const std::vector<double>& beta, const Example& example) {
    Genome genome;
    genome.sampling = config_.sampling;
    genome.sampling.temperature = 0;
    genome.sampling.max_tokens = std::min<std::size_t>(8, genome.sampling.max_tokens);
    genome.beta = beta;
    genome.alpha.assign(beta.size(), 1.0);
    Selection selection = selection_of(config_, genome);
    std::string name;
    if (workshop_.materialiser != nullptr) {
      selection.weights.clear();
      if (!genome.base()) {
        name = workshop_.run_name + "-canary-" + std::to_string(++workshop_.last_name);
        auto folder = workshop_.materialiser->write(genome, name);
        if (!folder) return folder.error();
        const CallResult loaded = ask(free_call(workshop_.dialect.load_route(),
                                                {{"lora_name", name}, {"lora_path", *folder}}));
        if (loaded.kind != CallResult::Kind::answered) return failed(loaded.reason);
        selection.model = name;
        selection.salt = name;
      }
    }
    const CallResult result = ask(call_for(genome, selection, example));
    if (!name.empty()) {
      ask(free_call(workshop_.dialect.unload_route(), {{"lora_name", name}}));
      workshop_.materialiser->remove(name);
    }
    if (result.kind != CallResult::Kind::answered) return failed(result.reason);
    Completion seen = result.completion;
    seen.fingerprint.clear();
    return json_text(seen);
  }

 private:
  static Error failed(const std::string& why) {
    return {ErrorKind::unavailable, "a canary was not answered: " + why};
  }

  Call free_call(const std::string& path, const json& body) {
    Call call;
    call.job = "probe";
    call.inference = false;
    call.path = path;
    call.body = body.dump();
    return call;
  }

  Call call_for(const Genome& genome, const Selection& selection, const Example& example) {
    const Dialect& dialect = workshop_.dialect;
    Call call;
    call.job = "probe";
    call.ask_again = true;
    call.prompt_bound = tokens_bound(config_, example.prompt.size() + example.answer.size()) + 32;
    WireRequest request;
    if (dialect.scores_text() == ScoresText::whole) {
      request = dialect.score(example.prompt, example.answer, selection);
      call.read = [&dialect, text = example.answer](const JsonNode& reply) {
        return dialect.read_score(reply, text, true);
      };
      call.output_bound = 1;
    } else {
      Prompt prompt;
      prompt.text = example.prompt;
      const std::size_t alternatives = dialect.gives_alternatives() && has_adapters() ? 5 : 0;
      request = dialect.generate(prompt, genome.sampling, selection, alternatives);
      call.read = [&dialect](const JsonNode& reply) { return dialect.read_generation(reply); };
      call.output_bound = genome.sampling.max_tokens;
    }
    call.path = request.path;
    call.body = request.body.dump();
    // Asked several times, so not by content: each is a call of its own.
    call.key = sha256_hex(workshop_.run_name + std::to_string(++asked_));
    return call;
  }

  [[nodiscard]] bool has_adapters() const { return !config_.merge.adapters.empty(); }

  CallResult ask(Call call) {
    auto promise = std::make_shared<std::promise<CallResult>>();
    auto future = promise->get_future();
    workshop_.http.after(0, [this, promise, call = std::move(call)] {
      workshop_.caller.call(
          call, [promise](CallResult result) { promise->set_value(std::move(result)); });
    });
    return future.get();
  }

  Workshop& workshop_;
  const LlmConfig& config_;
  std::uint64_t asked_ = 0;
};

}  // namespace

Result<ServerFacts> look_at_server(const LlmConfig& config, const ServerAccess& access,
                                   double patience_s, const Warn& warn) {
  Prober prober(access, patience_s, warn);
  const std::string& api = config.server.api;
  if (api == "llama_cpp") return look_at_llama(config, prober);
  if (api == "openai" || api == "vllm") return look_at_models(config, prober);
  if (api == "lorax") return look_at_info(prober, "/info", "/model_id");
  if (api == "sglang") return look_at_info(prober, "/get_model_info", "/model_path");
  return open_sessions(config, prober);
}

std::vector<std::string> orphans_of(const Materialiser& materialiser, const ServerAccess& access) {
  std::vector<std::string> out;
  const auto list = Prober(access, 0).get("/v1/models");
  if (!list || !list->is_object()) return out;  // not every build has the route
  const json models = list->value("data", json::array());
  if (!models.is_array()) return out;
  for (const json& model : models) {
    const ReplyReader reader(model);
    if (materialiser.orphaned(reader.text_or("/root", "")))
      out.push_back(reader.text_or("/id", ""));
  }
  return out;
}

std::size_t unload_adapters(const std::vector<std::string>& names, const Dialect& dialect,
                            const ServerAccess& access) {
  Prober prober(access, 0);
  std::size_t unloaded = 0;
  for (const std::string& name : names) {
    const auto done = prober.tell(dialect.unload_route(), {{"lora_name", name}});
    if (done) ++unloaded;
    // One that is not there is as good as unloaded, but a server that is not there stays away.
    if (!done && done.error().kind != ErrorKind::not_found) break;
  }
  return unloaded;
}

Result<void> try_canaries(Workshop& workshop) {
  const LlmConfig& config = workshop.config;
  const std::vector<Example>& examples = config.tasks[0].splits[0];
  const Example& first = examples.front();
  const Example& second = examples.back();
  Canary canary(workshop);
  const std::size_t n = config.merge.adapters.size();
  const std::vector<double> none(n, 0);
  auto base = canary.answer(none, first);
  if (!base || n == 0) return base ? Result<void>() : base.error();
  const std::vector<double> all(n, std::min(1.0, config.merge.bound));
  auto merged = canary.answer(all, first);
  auto other = canary.answer(none, second);
  auto base_again = canary.answer(none, first);
  auto merged_again = canary.answer(all, first);
  for (const auto* answer : {&merged, &other, &base_again, &merged_again}) {
    if (!*answer) return answer->error();
  }
  if (*merged == *base) {
    return invalid(
        "the server answers all adapters together as it answers none: it does not apply "
        "them, or mixes up cached prompts of different adapters");
  }
  if (*base != *base_again || *merged != *merged_again) {
    return invalid(
        "the server answers the same prompt under the same adapters differently, after "
        "others were asked in between: its prompt cache mixes adapters up, or it is not "
        "deterministic at temperature 0");
  }
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> alone(n, 0);
    alone[i] = std::min(1.0, config.merge.bound);
    auto answer = canary.answer(alone, first);
    if (!answer) return answer.error();
    if (*answer == *base) {
      workshop.warn("adapter " + config.merge.adapters[i].name +
                    " alone changes nothing on the first example");
    }
  }
  return {};
}

}  // namespace paretod::llm
