// Chat completions as OpenAI and most hosted services offer them: no adapters, only a model, a
// prompt and sampling.  Log-probabilities exist for generated tokens only.

#include <algorithm>

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/reply_reader.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

/// What stands for "not among the best twenty".
constexpr double outside = -9999;

class OpenAi final : public Dialect {
 public:
  [[nodiscard]] ScoresText scores_text() const override { return ScoresText::no; }
  [[nodiscard]] bool gives_alternatives() const override { return true; }

  [[nodiscard]] WireRequest generate(const Prompt& prompt, const Sampling& sampling,
                                     const Selection& selection,
                                     std::size_t alternatives) const override {
    json messages = json::array();
    const auto say = [&messages](const char* role, const std::string& text) {
      messages.push_back({{"role", role}, {"content", text}});
    };
    if (!prompt.system.empty()) say("system", prompt.system);
    for (const auto& [question, answer] : prompt.shots) {
      say("user", question);
      say("assistant", answer);
    }
    say("user", prompt.text);
    json body{{"model", selection.model},
              {"messages", std::move(messages)},
              {"max_completion_tokens", sampling.max_tokens},
              {"temperature", sampling.temperature},
              {"top_p", sampling.top_p},
              {"seed", sampling.seed},
              {"stream", false}};
    if (!sampling.stop.empty()) body["stop"] = sampling.stop;
    if (alternatives > 0) {
      body["logprobs"] = true;
      body["top_logprobs"] = std::min<std::size_t>(alternatives, 20);
    }
    return {"/v1/chat/completions", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_generation(const JsonNode& reply) const override {
    ReplyReader reader(reply);
    Completion out;
    out.text = reader.text("/choices/0/message/content");  // null: spent on reasoning
    out.finish = reader.text_or("/choices/0/finish_reason", "stop");
    out.usage = {reader.count("/usage/prompt_tokens"), reader.count("/usage/completion_tokens"),
                 reader.count_or("/usage/prompt_tokens_details/cached_tokens", 0)};
    out.fingerprint = reader.text_or("/system_fingerprint", "");
    const JsonNode* list = reader.find("/choices/0/logprobs/content/0/top_logprobs");
    for (const JsonNode& item : list != nullptr ? list->items() : JsonNode::Range()) {
      const JsonNode* logprob = item.find("logprob");
      if (logprob == nullptr) continue;
      const double value = reader.number(*logprob, "a log-probability");
      const JsonNode* token = item.find("token");
      if (value > outside) out.first.emplace_back(token == nullptr ? "" : token->text(), value);
    }
    return reader.checked(std::move(out));
  }
};

}  // namespace

std::unique_ptr<Dialect> openai_dialect() {
  return std::make_unique<OpenAi>();
}

}  // namespace paretod::llm
