// vLLM: a merged adapter is loaded from a folder under a name of its own, which requests then give
// as their model.  Its prefix cache knows adapters by name only (issues 42125, 30931), so names are
// never used twice and a salt stands beside them.

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/reply_reader.hpp"
#include "adapters/llm/token_span.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

class Vllm final : public Dialect {
 public:
  [[nodiscard]] ScoresText scores_text() const override { return ScoresText::whole; }
  [[nodiscard]] bool gives_alternatives() const override { return true; }
  [[nodiscard]] std::string load_route() const override { return "/v1/load_lora_adapter"; }
  [[nodiscard]] std::string unload_route() const override { return "/v1/unload_lora_adapter"; }

  [[nodiscard]] WireRequest generate(const Prompt& prompt, const Sampling& sampling,
                                     const Selection& selection,
                                     std::size_t alternatives) const override {
    json body = common(selection);
    body["prompt"] = prompt.flat();
    body["max_tokens"] = sampling.max_tokens;
    body["temperature"] = sampling.temperature;
    body["top_p"] = sampling.top_p;
    body["seed"] = sampling.seed;
    if (!sampling.stop.empty()) body["stop"] = sampling.stop;
    if (alternatives > 0) body["logprobs"] = alternatives;
    return {"/v1/completions", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_generation(const JsonNode& reply) const override {
    ReplyReader reader(reply);
    Completion out = read_common(reader);
    if (const JsonNode* top = reader.find("/choices/0/logprobs/top_logprobs/0")) {
      for (const JsonNode& item : top->members()) {
        out.first.emplace_back(item.key(), reader.number(item, "a log-probability"));
      }
    }
    return reader.checked(std::move(out));
  }

  [[nodiscard]] WireRequest score(const std::string& context, const std::string& continuation,
                                  const Selection& selection) const override {
    json body = common(selection);
    body["prompt"] = context + continuation;
    body["echo"] = true;
    body["max_tokens"] = 0;
    body["temperature"] = 0;
    body["logprobs"] = 1;
    return {"/v1/completions", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_score(const JsonNode& reply,
                                              const std::string& continuation,
                                              bool has_context) const override {
    ReplyReader reader(reply);
    Completion out = read_common(reader);
    out.text.clear();  // the prompt again
    const JsonNode& texts = reader.require("/choices/0/logprobs/tokens");
    const JsonNode& values = reader.require("/choices/0/logprobs/token_logprobs");
    if (!reader.failed() &&
        (!texts.is_array() || !values.is_array() || texts.size() != values.size())) {
      reader.blame("/choices/0/logprobs needs as many token_logprobs as tokens");
    }
    std::vector<ScoredToken> tokens;
    auto value = values.items().begin();
    for (const JsonNode& text : texts.items()) {
      if (reader.failed()) break;
      ScoredToken scored{std::string(text.text()), {}};
      if (!value->is_null()) scored.logprob = reader.number(*value, "a log-probability");
      tokens.push_back(std::move(scored));
      ++value;
    }
    return with_end(reader.checked(std::move(out)), tokens, continuation, !has_context);
  }

 private:
  static json common(const Selection& selection) {
    json body{{"model", selection.model}};
    if (!selection.salt.empty()) body["cache_salt"] = selection.salt;
    return body;
  }

  static Completion read_common(ReplyReader& reader) {
    Completion out;
    out.text = reader.text("/choices/0/text");
    out.finish = reader.text_or("/choices/0/finish_reason", "stop");
    out.usage = {reader.count("/usage/prompt_tokens"),
                 reader.count_or("/usage/completion_tokens", 0),
                 reader.count_or("/usage/prompt_tokens_details/cached_tokens", 0)};
    out.fingerprint = reader.text_or("/system_fingerprint", "");
    return out;
  }
};

}  // namespace

std::unique_ptr<Dialect> vllm_dialect() {
  return std::make_unique<Vllm>();
}

}  // namespace paretod::llm
