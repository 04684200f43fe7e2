#include "tests/support/llm/stub_api.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "adapters/safetensors/safetensors.hpp"
#include "adapters/safetensors/widen.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::testing {
namespace {

using nlohmann::json;

/// What one request asks of the model.
struct Generation {
  TokenIds prompt;
  std::size_t most = 16;
  double temperature = 0;
  std::uint64_t seed = 0;
  std::vector<std::string> stop = {};
};

struct Generated {
  TokenIds tokens;
  std::string text;
  std::string finish = "length";  ///< "eos", "word" or "length"
};

std::vector<std::string> strings_of(const json& value) {
  if (value.is_string()) return {value.get<std::string>()};
  return value.is_array() ? value.get<std::vector<std::string>>() : std::vector<std::string>{};
}

int sampled(const std::vector<double>& logprobs, double temperature, Rng& rng) {
  std::vector<double> weights;
  const double top = *std::max_element(logprobs.begin(), logprobs.end());
  for (const double value : logprobs) weights.push_back(std::exp((value - top) / temperature));
  double left = rng.uniform() * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return static_cast<int>(i);
  }
  return static_cast<int>(weights.size()) - 1;
}

Generated generate(const ToyModel& model, const Generation& wanted, const ToyDelta& delta) {
  Generated out;
  TokenIds context = wanted.prompt;
  Rng rng(wanted.seed, 0x9e4);
  while (out.tokens.size() < wanted.most) {
    const std::vector<double> scores = model.next(context, delta);
    const int token =
        wanted.temperature > 0
            ? sampled(scores, wanted.temperature, rng)
            : static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    if (token == toy_end) {
      out.finish = "eos";
      break;
    }
    out.tokens.push_back(token);
    context.push_back(token);
    out.text += ToyModel::piece(token);
    for (const std::string& word : wanted.stop) {
      if (const auto at = out.text.find(word); !word.empty() && at != std::string::npos) {
        out.text.resize(at);
        out.finish = "word";
        return out;
      }
    }
  }
  return out;
}

/// The indices of the `count` largest, best first.
std::vector<int> best_of(const std::vector<double>& scores, std::size_t count) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](int a, int b) {
                      return scores[static_cast<std::size_t>(a)] >
                             scores[static_cast<std::size_t>(b)];
                    });
  order.resize(count);
  return order;
}

double at(const std::vector<double>& scores, int token) {
  return scores[static_cast<std::size_t>(token)];
}

StubReply reply_of(const json& body, std::size_t prompt_tokens = 0, std::size_t output_tokens = 0) {
  return {200, body.dump(), "application/json", prompt_tokens, output_tokens};
}

/// A merged adapter file as a server loads it.
std::optional<ToyDelta> load_folder(const std::string& folder) {
  auto file = SafetensorsFile::open(folder + "/adapter_model.safetensors");
  if (!file) return {};
  std::map<std::string, ToyFactors> modules;
  for (const TensorView& tensor : file->tensors()) {
    const std::string prefix = "base_model.model.";
    const bool is_a = tensor.name.ends_with(".lora_A.weight");
    const std::string name =
        tensor.name.substr(prefix.size(), tensor.name.size() - prefix.size() - 14);
    ToyFactors& factors = modules[name];
    auto values = to_floats(tensor);
    if (!values) return {};
    if (is_a) {
      factors.columns = tensor.shape[1];
      factors.a = std::move(*values);
    } else {
      factors.rows = tensor.shape[0];
      factors.b = std::move(*values);
    }
  }
  std::ifstream config(folder + "/adapter_config.json");
  const json settings = json::parse(config, nullptr, false);
  if (!settings.is_object()) return {};
  const double scale = settings.value("lora_alpha", 0.0) / settings.value("r", 1.0);
  return ToyModel::delta_of(modules, scale);
}

class Base : public StubApi {
 public:
  explicit Base(std::shared_ptr<const ToyModel> model) : model_(std::move(model)) {}

 protected:
  [[nodiscard]] const ToyModel& model() const { return *model_; }
  [[nodiscard]] std::size_t count() const { return model_->adapters().size(); }

  /// The merge, kept while the same one is asked for again.
  const ToyDelta& merged(const std::vector<double>& alpha, const std::vector<double>& beta,
                         bool factor_space) {
    if (!delta_ || alpha != alpha_ || beta != beta_) {
      delta_ = model_->merged(alpha, beta, factor_space);
      alpha_ = alpha;
      beta_ = beta;
    }
    return *delta_;
  }

 private:
  std::shared_ptr<const ToyModel> model_;
  std::vector<double> alpha_;
  std::vector<double> beta_;
  std::optional<ToyDelta> delta_;
};

class LlamaCpp final : public Base {
 public:
  using Base::Base;
  [[nodiscard]] bool charged(const std::string& target) const override {
    return target == "/completion";
  }

  StubReply handle(const std::string& method, const std::string& target, const json& body,
                   const StubContent& content) override {
    if (target == "/health") return reply_of({{"status", "ok"}});
    if (target == "/props") {
      return reply_of({{"total_slots", 8}, {"model_path", "toy.gguf"}, {"build_info", "stub"}});
    }
    if (target == "/lora-adapters" && method == "GET") {
      json list = json::array();
      const std::size_t all = content.pairs ? count() * count() : count();
      for (std::size_t i = 0; i < all; ++i) {
        const std::string& name = model().adapters()[content.pairs ? i / count() : i].name;
        list.push_back({{"id", i}, {"path", "adapters/" + name + ".gguf"}, {"scale", 1.0}});
      }
      return reply_of(list);
    }
    if (target == "/tokenize") {
      return reply_of({{"tokens", ToyModel::tokenize(body.value("content", ""))}});
    }
    if (target != "/completion") return error(404, "File Not Found", "not_found_error");
    if (!body.is_object()) return error(400, "the body is no JSON object", "invalid_request_error");
    return complete(body, content);
  }

 private:
  static StubReply error(int status, const std::string& message, const std::string& type) {
    return {status,
            json{{"error", {{"code", status}, {"message", message}, {"type", type}}}}.dump()};
  }

  StubReply complete(const json& body, const StubContent& content) {
    // Absent or empty: the global scales, which stay at 1.
    std::vector<double> scales(content.pairs ? count() * count() : count(), 1.0);
    const json lora = body.value("lora", json::array());
    if (!lora.is_array()) return error(400, "\"lora\" has to be an array", "invalid_request_error");
    if (!lora.empty()) {
      std::fill(scales.begin(), scales.end(), 0.0);
      for (const json& entry : lora) {
        const int id = entry.value("id", -1);
        // Unknown ids are ignored without a word.
        if (id >= 0 && id < static_cast<int>(scales.size())) {
          scales[static_cast<std::size_t>(id)] = entry.value("scale", 0.0);
        }
      }
    }
    if (content.ignore_adapters) std::fill(scales.begin(), scales.end(), 0.0);
    Generation wanted;
    const json& prompt = body.at("prompt");
    wanted.prompt =
        prompt.is_string() ? ToyModel::tokenize(prompt.get<std::string>()) : prompt.get<TokenIds>();
    wanted.most = static_cast<std::size_t>(body.value("n_predict", 16));
    wanted.temperature = body.value("temperature", 0.8);
    wanted.seed = body.value("seed", std::uint64_t{0});
    wanted.stop = strings_of(body.value("stop", json::array()));
    std::size_t cached = 0;
    if (content.contaminate_always || (content.contaminate && body.value("cache_prompt", true))) {
      // The cache looks at tokens only.
      const auto [entry, fresh] = cache_.try_emplace(wanted.prompt, scales);
      if (!fresh) {
        scales = entry->second;
        cached = content.contaminate_always ? 0 : wanted.prompt.size() - 1;
      }
    }
    const ToyDelta delta =
        content.pairs ? paired(scales) : merged(std::vector<double>(count(), 1.0), scales, false);
    const Generated out = generate(model(), wanted, delta);
    json reply{{"content", out.text},
               {"tokens", body.value("return_tokens", false) ? out.tokens : TokenIds{}},
               {"stop", true},
               {"stop_type", out.finish == "length" ? "limit" : out.finish},
               {"truncated", false},
               {"model", "toy"},
               {"tokens_evaluated", wanted.prompt.size()},
               {"tokens_cached", wanted.prompt.size() + out.tokens.size() - 1},
               {"timings",
                {{"cache_n", cached},
                 {"prompt_n", wanted.prompt.size() - cached},
                 {"predicted_n", out.tokens.size()}}}};
    if (const auto n = body.value("n_probs", std::size_t{0}); n > 0) {
      json list = json::array();
      TokenIds context = wanted.prompt;
      const auto entry = [](int id, double logprob) {
        return json{{"id", id}, {"token", ToyModel::piece(id)}, {"logprob", logprob}};
      };
      // With the end token, if that is what came.
      TokenIds shown = out.tokens;
      if (shown.empty()) shown.push_back(toy_end);
      for (const int token : shown) {
        const std::vector<double> scores = model().next(context, delta);
        json item = entry(token, at(scores, token));
        for (const int id : best_of(scores, n)) {
          item["top_logprobs"].push_back(entry(id, at(scores, id)));
        }
        list.push_back(std::move(item));
        context.push_back(token);
      }
      reply["completion_probabilities"] = std::move(list);
    }
    return reply_of(reply, wanted.prompt.size(), out.tokens.size());
  }

  /// The deltas of all pairs, added up.
  [[nodiscard]] ToyDelta paired(const std::vector<double>& scales) const {
    ToyDelta sum = ToyModel::no_delta();
    for (std::size_t k = 0; k < scales.size(); ++k) {
      std::map<std::string, ToyFactors> pair = model().adapters()[k / count()].modules;
      for (auto& [name, factors] : pair) {
        factors.a = model().adapters()[k % count()].modules.at(name).a;
      }
      const double c = toy_lora_alpha / static_cast<double>(toy_rank);
      const ToyDelta one = ToyModel::delta_of(pair, c * scales[k]);
      for (std::size_t i = 0; i < sum.mix.size(); ++i) sum.mix[i] += one.mix[i];
      for (std::size_t i = 0; i < sum.head.size(); ++i) sum.head[i] += one.head[i];
    }
    return sum;
  }

  std::map<TokenIds, std::vector<double>> cache_;
};

class Lorax final : public Base {
 public:
  using Base::Base;
  [[nodiscard]] bool charged(const std::string& target) const override {
    return target == "/generate";
  }

  StubReply handle(const std::string&, const std::string& target, const json& body,
                   const StubContent& content) override {
    if (target == "/health") return {200, ""};
    if (target == "/info")
      return reply_of({{"model_id", "toy"}, {"max_concurrent_requests", 1024}});
    if (target != "/generate") return {404, ""};
    if (!body.is_object()) return error(422, "the body is no JSON object", "validation");
    const json parameters = body.value("parameters", json::object());
    std::vector<double> alpha(count(), 1.0);
    std::vector<double> beta(count(), 0.0);
    if (const auto found = parameters.find("merged_adapters");
        found != parameters.end() && !found->is_null()) {
      const auto ids = found->value("ids", std::vector<std::string>{});
      const auto weights = found->value("weights", std::vector<double>{});
      if (parameters.contains("adapter_id"))
        return error(422, "both kinds of adapter", "validation");
      if (ids.empty() || ids.size() != weights.size()) {
        return error(422, "`weights` must be of the length of `ids`", "validation");
      }
      // "linear" keeps everything; the others, without a density, nothing.
      const bool linear = found->value("merge_strategy", "linear") == "linear";
      for (std::size_t k = 0; k < ids.size(); ++k) {
        const auto copy = copy_of(ids[k]);
        if (!copy) return error(424, "adapter " + ids[k] + " cannot be loaded", "generation");
        // A single id is not merged, so its weight is not looked at.
        const double weight = ids.size() == 1 ? 1.0 : weights[k];
        if (!linear && found->value("density", 0.0) == 0) continue;
        // The same id several times adds up.
        alpha[copy->first] = copy->second;
        beta[copy->first] += weight;
      }
    }
    if (content.ignore_adapters) std::fill(beta.begin(), beta.end(), 0.0);
    Generation wanted;
    wanted.prompt = ToyModel::tokenize(body.value("inputs", ""));
    wanted.most = parameters.value("max_new_tokens", std::size_t{20});
    wanted.stop = strings_of(parameters.value("stop", json::array()));
    wanted.seed = parameters.value("seed", std::uint64_t{0});
    wanted.temperature =
        parameters.value("do_sample", false) ? parameters.value("temperature", 1.0) : 0.0;
    const ToyDelta& delta = merged(alpha, beta, true);
    const Generated out = generate(model(), wanted, delta);
    json reply{{"generated_text", out.text}};
    if (parameters.value("details", false)) {
      json prefill = json::array();
      if (parameters.value("decoder_input_details", false)) {
        for (std::size_t i = 0; i < wanted.prompt.size(); ++i) {
          const TokenIds context(wanted.prompt.begin(),
                                 wanted.prompt.begin() + static_cast<std::ptrdiff_t>(i));
          const int token = wanted.prompt[i];
          prefill.push_back({{"id", token}, {"text", ToyModel::piece(token)}});
          prefill.back()["logprob"] =
              i == 0 ? json() : json(at(model().next(context, delta), token));
        }
      }
      json tokens = json::array();
      TokenIds context = wanted.prompt;
      for (const int token : out.tokens) {
        tokens.push_back({{"id", token},
                          {"text", ToyModel::piece(token)},
                          {"logprob", at(model().next(context, delta), token)},
                          {"special", false}});
        context.push_back(token);
      }
      reply["details"] = {{"finish_reason", out.finish == "eos"    ? "eos_token"
                                            : out.finish == "word" ? "stop_sequence"
                                                                   : "length"},
                          {"prompt_tokens", wanted.prompt.size()},
                          {"generated_tokens", out.tokens.size()},
                          {"seed", wanted.seed},
                          {"prefill", std::move(prefill)},
                          {"tokens", std::move(tokens)}};
    }
    return reply_of(reply, wanted.prompt.size(), out.tokens.size());
  }

 private:
  static StubReply error(int status, const std::string& message, const std::string& type) {
    return {status, json{{"error", message}, {"error_type", type}}.dump()};
  }
  /// "folder/useful0@0.25": the adapter and the share of A that this copy of it keeps.
  std::optional<std::pair<std::size_t, double>> copy_of(const std::string& id) const {
    const std::string last = id.substr(id.rfind('/') + 1);
    const std::string name = last.substr(0, last.find('@'));
    for (std::size_t i = 0; i < count(); ++i) {
      if (model().adapters()[i].name != name) continue;
      return std::pair{i, name == last ? 1.0 : std::stod(last.substr(name.size() + 1))};
    }
    return {};
  }
};

/// vLLM and SGLang: adapters that were loaded from folders under a name.
class Loading : public Base {
 public:
  using Base::Base;

 protected:
  static StubReply error(int status, const std::string& message, const std::string& type) {
    return {status,
            json{{"error",
                  {{"message", message}, {"type", type}, {"param", nullptr}, {"code", status}}}}
                .dump()};
  }

  StubReply load(const json& body) {
    const std::string name = body.value("lora_name", "");
    const std::string path = body.value("lora_path", "");
    if (name.empty() || path.empty()) {
      return error(400, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput");
    }
    if (loaded_.contains(name)) {
      return error(400, "The lora adapter '" + name + "' has already been loaded.",
                   "InvalidUserInput");
    }
    auto delta = load_folder(path);
    if (!delta) return error(500, "No adapter found for '" + path + "'", "InternalServerError");
    loaded_.emplace(name, Loaded{path, std::move(*delta)});
    return {200, "Success: LoRA adapter '" + name + "' added successfully.", "text/plain"};
  }
  StubReply unload(const json& body) {
    if (loaded_.erase(body.value("lora_name", "")) == 0) {
      return error(404, "The lora adapter cannot be found.", "NotFoundError");
    }
    return {200, "Success: LoRA adapter removed successfully.", "text/plain"};
  }

  /// Null when there is none of that name.
  const ToyDelta* find(const std::string& name, const std::string& salt, const TokenIds& prompt,
                       const StubContent& content) {
    static const ToyDelta none = ToyModel::no_delta();
    const auto found = loaded_.find(name);
    const ToyDelta* delta = name == "toy" || name.empty() ? &none
                            : found == loaded_.end()      ? nullptr
                                                          : &found->second.delta;
    if (delta == nullptr || content.ignore_adapters) return delta == nullptr ? nullptr : &none;
    if (!content.contaminate && !content.contaminate_always) return delta;
    // The cache knows adapters by name, and a name may have been given again.
    const std::string key = content.contaminate_always ? "" : name + "/" + salt;
    return &cache_.try_emplace({key, prompt}, *delta).first->second;
  }

  [[nodiscard]] StubReply models() const {
    json list = json::array({{{"id", "toy"}, {"object", "model"}, {"root", "toy"}}});
    for (const auto& [name, loaded] : loaded_) {
      list.push_back({{"id", name}, {"object", "model"}, {"root", loaded.path}, {"parent", "toy"}});
    }
    return reply_of({{"object", "list"}, {"data", std::move(list)}});
  }

 private:
  struct Loaded {
    std::string path;
    ToyDelta delta;
  };
  std::map<std::string, Loaded> loaded_;

 private:
  std::map<std::pair<std::string, TokenIds>, ToyDelta> cache_;
};

class Vllm final : public Loading {
 public:
  using Loading::Loading;
  [[nodiscard]] bool charged(const std::string& target) const override {
    return target == "/v1/completions";
  }

  StubReply handle(const std::string&, const std::string& target, const json& body,
                   const StubContent& content) override {
    if (target == "/health") return {200, ""};
    if (target == "/v1/models") return models();
    if (target == "/v1/load_lora_adapter") return load(body);
    if (target == "/v1/unload_lora_adapter") return unload(body);
    if (target != "/v1/completions") return {404, R"({"detail":"Not Found"})"};
    if (!body.is_object()) return error(400, "the body is no JSON object", "BadRequestError");
    const std::string prompt = body.value("prompt", "");
    Generation wanted;
    wanted.prompt = ToyModel::tokenize(prompt);
    wanted.most = body.value("max_tokens", std::size_t{16});
    wanted.temperature = body.value("temperature", 1.0);
    wanted.seed = body.value("seed", std::uint64_t{0});
    wanted.stop = strings_of(body.value("stop", json::array()));
    const ToyDelta* delta =
        find(body.value("model", ""), body.value("cache_salt", ""), wanted.prompt, content);
    if (delta == nullptr) return error(404, "The model does not exist.", "NotFoundError");
    const Generated out = generate(model(), wanted, *delta);
    const bool echo = body.value("echo", false);
    json choice{{"index", 0},
                {"text", echo ? prompt + out.text : out.text},
                {"finish_reason", out.finish == "length" ? "length" : "stop"},
                {"logprobs", nullptr}};
    if (body.contains("logprobs") && !body["logprobs"].is_null()) {
      choice["logprobs"] =
          logprobs(wanted.prompt, out.tokens, echo, body["logprobs"].get<std::size_t>(), *delta);
    }
    return reply_of({{"id", "cmpl-1"},
                     {"object", "text_completion"},
                     {"model", body.value("model", "")},
                     {"system_fingerprint", content.fingerprint},
                     {"choices", json::array({std::move(choice)})},
                     {"usage",
                      {{"prompt_tokens", wanted.prompt.size()},
                       {"completion_tokens", out.tokens.size()},
                       {"total_tokens", wanted.prompt.size() + out.tokens.size()}}}},
                    wanted.prompt.size(), out.tokens.size());
  }

 private:
  json logprobs(const TokenIds& prompt, const TokenIds& generated, bool echo, std::size_t top,
                const ToyDelta& delta) const {
    json out{{"tokens", json::array()},
             {"token_logprobs", json::array()},
             {"top_logprobs", json::array()},
             {"text_offset", json::array()}};
    TokenIds all = prompt;
    all.insert(all.end(), generated.begin(), generated.end());
    std::size_t offset = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::string piece = ToyModel::piece(all[i]);
      if (i == 0) piece.erase(0, 1);  // the text begins without a blank
      if (echo || i >= prompt.size()) {
        out["tokens"].push_back(piece);
        out["text_offset"].push_back(offset);
        if (i == 0) {
          out["token_logprobs"].push_back(nullptr);
          out["top_logprobs"].push_back(nullptr);
        } else {
          const auto scores = model().next(
              TokenIds(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(i)), delta);
          out["token_logprobs"].push_back(at(scores, all[i]));
          json best = json::object();
          for (const int id : best_of(scores, top)) best[ToyModel::piece(id)] = at(scores, id);
          out["top_logprobs"].push_back(std::move(best));
        }
      }
      offset += piece.size();
    }
    return out;
  }
};

class Sglang final : public Loading {
 public:
  using Loading::Loading;
  [[nodiscard]] bool charged(const std::string& target) const override {
    return target == "/generate";
  }

  StubReply handle(const std::string&, const std::string& target, const json& body,
                   const StubContent& content) override {
    if (target == "/health") return {200, ""};
    if (target == "/get_model_info") return reply_of({{"model_path", "toy"}});
    if (target == "/v1/models") return models();
    if (target == "/load_lora_adapter") return load(body);
    if (target == "/unload_lora_adapter") return unload(body);
    if (target != "/generate") return {404, R"({"detail":"Not Found"})"};
    if (!body.is_object()) return error(400, "the body is no JSON object", "BadRequest");
    const json sampling = body.value("sampling_params", json::object());
    const std::string text = body.value("text", "");
    Generation wanted;
    wanted.prompt = ToyModel::tokenize(text);
    wanted.most = sampling.value("max_new_tokens", std::size_t{128});
    wanted.temperature = sampling.value("temperature", 1.0);
    wanted.seed = sampling.value("sampling_seed", std::uint64_t{0});
    wanted.stop = strings_of(sampling.value("stop", json::array()));
    const json path = body.value("lora_path", json());
    const ToyDelta* delta =
        find(path.is_string() ? path.get<std::string>() : "", "", wanted.prompt, content);
    if (delta == nullptr) return error(400, "the adapter is not loaded", "BadRequest");
    const Generated out = generate(model(), wanted, *delta);
    json meta{{"prompt_tokens", wanted.prompt.size()},
              {"completion_tokens", out.tokens.size()},
              {"cached_tokens", 0},
              {"finish_reason", {{"type", out.finish == "length" ? "length" : "stop"}}}};
    if (body.value("return_logprob", false)) {
      json input = json::array();
      for (std::size_t i = 0; i < wanted.prompt.size(); ++i) {
        const TokenIds context(wanted.prompt.begin(),
                               wanted.prompt.begin() + static_cast<std::ptrdiff_t>(i));
        const int token = wanted.prompt[i];
        const std::string piece = ToyModel::piece(token);
        input.push_back({i == 0 ? json() : json(at(model().next(context, *delta), token)), token,
                         body.value("return_text_in_logprobs", false) ? json(piece) : json()});
      }
      meta["input_token_logprobs"] = std::move(input);
    }
    return reply_of({{"text", out.text}, {"meta_info", std::move(meta)}}, wanted.prompt.size(),
                    out.tokens.size());
  }
};

/// A hosted model: the better the instructions, the more of the teacher it has.
class OpenAi final : public Base {
 public:
  using Base::Base;
  [[nodiscard]] bool charged(const std::string& target) const override {
    return target == "/v1/chat/completions";
  }

  StubReply handle(const std::string&, const std::string& target, const json& body,
                   const StubContent& content) override {
    if (target == "/v1/models") {
      return reply_of({{"object", "list"}, {"data", {{{"id", "toy"}, {"object", "model"}}}}});
    }
    if (target != "/v1/chat/completions" || !body.is_object() || body.value("model", "") != "toy") {
      return {404, json{{"error",
                         {{"message", "there is no such model"},
                          {"type", "invalid_request_error"},
                          {"param", nullptr},
                          {"code", "model_not_found"}}}}
                       .dump()};
    }
    double skill = 0.4;
    std::size_t prompt_tokens = 0;
    std::string question;
    for (const json& message : body.value("messages", json::array())) {
      const std::string text = message.value("content", "");
      prompt_tokens += ToyModel::tokenize(text).size() + 4;
      const std::string role = message.value("role", "");
      if (role == "system" && text.find("expert") != std::string::npos) skill += 0.3;
      if (role == "assistant") skill += 0.15;  // an example
      question = text;
    }
    std::vector<double> beta;
    for (const ToyAdapter& adapter : model().adapters()) {
      beta.push_back(adapter.planted_beta * std::min(skill, 1.0));
    }
    Generation wanted;
    wanted.prompt = ToyModel::tokenize(question);
    wanted.most = body.value("max_completion_tokens", body.value("max_tokens", std::size_t{16}));
    wanted.temperature = body.value("temperature", 1.0);
    wanted.seed = body.value("seed", std::uint64_t{0});
    wanted.stop = strings_of(body.value("stop", json::array()));
    const ToyDelta& delta =
        merged(std::vector<double>(count(), ToyModel::planted_alpha()), beta, true);
    const Generated out = generate(model(), wanted, delta);
    json choice{{"index", 0},
                {"message", {{"role", "assistant"}, {"content", out.text}}},
                {"finish_reason", out.finish == "length" ? "length" : "stop"},
                {"logprobs", nullptr}};
    if (body.value("logprobs", false)) {
      json list = json::array();
      TokenIds context = wanted.prompt;
      for (const int token : out.tokens) {
        const auto scores = model().next(context, delta);
        json top = json::array();
        for (const int id : best_of(scores, body.value("top_logprobs", std::size_t{0}))) {
          top.push_back({{"token", ToyModel::piece(id)}, {"logprob", at(scores, id)}});
        }
        list.push_back({{"token", ToyModel::piece(token)},
                        {"logprob", at(scores, token)},
                        {"top_logprobs", std::move(top)}});
        context.push_back(token);
      }
      choice["logprobs"] = {{"content", std::move(list)}};
    }
    return reply_of({{"id", "chatcmpl-1"},
                     {"object", "chat.completion"},
                     {"model", "toy"},
                     {"system_fingerprint", content.fingerprint},
                     {"choices", json::array({std::move(choice)})},
                     {"usage",
                      {{"prompt_tokens", prompt_tokens},
                       {"completion_tokens", out.tokens.size()},
                       {"total_tokens", prompt_tokens + out.tokens.size()}}}},
                    prompt_tokens, out.tokens.size());
  }
};

class LossOracle final : public Base {
 public:
  using Base::Base;
  [[nodiscard]] bool charged(const std::string& target) const override {
    return target.ends_with("/evaluate");
  }

  StubReply handle(const std::string&, const std::string& target, const json& body,
                   const StubContent& content) override {
    if (target == "/health") return reply_of({{"status", "ok"}});
    if (target == "/v1/sessions") {
      const std::string split = body.value("/query_plus/dataset"_json_pointer, "search");
      sessions_.push_back(toy_examples(model(),
                                       split == "search"   ? 0
                                       : split == "select" ? 1
                                                           : 2,
                                       40));
      return reply_of(
          {{"session_id", std::to_string(sessions_.size() - 1)}, {"adapter_count", count()}});
    }
    const std::string prefix = "/v1/sessions/";
    std::size_t session = sessions_.size();
    if (target.starts_with(prefix) && charged(target)) {
      session = static_cast<std::size_t>(std::stoul("0" + target.substr(prefix.size())));
    }
    if (session >= sessions_.size()) return {404, R"({"detail":"unknown session"})"};
    auto alpha = body.value("alpha", std::vector<double>{});
    auto beta = body.value("beta", std::vector<double>{});
    if (alpha.size() != count() || beta.size() != count()) {
      return {422, R"({"detail":"alpha and beta have to be as long as the list of adapters"})"};
    }
    if (content.ignore_adapters) std::fill(beta.begin(), beta.end(), 0.0);
    const ToyDelta& delta = merged(alpha, beta, true);
    double sum = 0;
    std::size_t tokens = 0;
    for (const ToyExample& example : sessions_[session]) {
      sum += model().loss(example.prompt, example.answer, delta);
      tokens += ToyModel::tokenize(example.prompt).size() + 2;
    }
    return reply_of({{"loss", sum / static_cast<double>(sessions_[session].size())},
                     {"adapter_dir", "merged/" + body.value("tag", "")}},
                    tokens, 0);
  }

 private:
  std::vector<std::vector<ToyExample>> sessions_;
};

}  // namespace

std::unique_ptr<StubApi> make_stub_api(const std::string& kind,
                                       std::shared_ptr<const ToyModel> model) {
  if (kind == "llama_cpp") return std::make_unique<LlamaCpp>(std::move(model));
  if (kind == "lorax") return std::make_unique<Lorax>(std::move(model));
  if (kind == "vllm") return std::make_unique<Vllm>(std::move(model));
  if (kind == "sglang") return std::make_unique<Sglang>(std::move(model));
  if (kind == "openai") return std::make_unique<OpenAi>(std::move(model));
  if (kind == "loss_oracle") return std::make_unique<LossOracle>(std::move(model));
  throw std::runtime_error("the stub cannot be " + kind);
}

}  // namespace paretod::testing
