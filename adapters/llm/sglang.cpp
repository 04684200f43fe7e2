// SGLang: a merged adapter is loaded from a folder under a name of its own, which requests give as
// `lora_path`.  Its sampling defaults come from the model's files, so every field is set.

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/reply_reader.hpp"
#include "adapters/llm/token_span.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

class Sglang final : public Dialect {
 public:
  [[nodiscard]] ScoresText scores_text() const override { return ScoresText::whole; }
  [[nodiscard]] bool gives_alternatives() const override { return false; }
  [[nodiscard]] std::string load_route() const override { return "/load_lora_adapter"; }
  [[nodiscard]] std::string unload_route() const override { return "/unload_lora_adapter"; }

  [[nodiscard]] WireRequest generate(const Prompt& prompt, const Sampling& sampling,
                                     const Selection& selection, std::size_t) const override {
    json body = common(selection);
    body["text"] = prompt.flat();
    body["sampling_params"] = {{"temperature", sampling.temperature},
                               {"top_p", sampling.top_p},
                               {"top_k", -1},
                               {"min_p", 0},
                               {"repetition_penalty", 1},
                               {"max_new_tokens", sampling.max_tokens},
                               {"stop", sampling.stop}};
    return {"/generate", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_generation(const JsonNode& reply) const override {
    ReplyReader reader(reply);
    return reader.checked(read_common(reader));
  }

  [[nodiscard]] WireRequest score(const std::string& context, const std::string& continuation,
                                  const Selection& selection) const override {
    json body = common(selection);
    body["text"] = context + continuation;
    body["sampling_params"] = {{"temperature", 0}, {"max_new_tokens", 1}};
    body["return_logprob"] = true;
    body["logprob_start_len"] = 0;
    body["return_text_in_logprobs"] = true;
    return {"/generate", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_score(const JsonNode& reply,
                                              const std::string& continuation,
                                              bool has_context) const override {
    ReplyReader reader(reply);
    Completion out = read_common(reader);
    const JsonNode& list = reader.require("/meta_info/input_token_logprobs");
    std::vector<ScoredToken> tokens;
    for (const JsonNode& item : list.items()) {
      const JsonNode* logprob = item.item(0);
      const JsonNode* text = item.item(2);
      if (text == nullptr || !text->is_string()) {
        reader.blame("/meta_info/input_token_logprobs has to be a list of [logprob, id, text]");
        break;
      }
      ScoredToken scored{std::string(text->text()), {}};
      if (!logprob->is_null()) scored.logprob = reader.number(*logprob, "a log-probability");
      tokens.push_back(std::move(scored));
    }
    return with_end(reader.checked(std::move(out)), tokens, continuation, !has_context);
  }

 private:
  static json common(const Selection& selection) {
    return {{"lora_path", selection.model.empty() ? json() : json(selection.model)}};
  }

  static Completion read_common(ReplyReader& reader) {
    Completion out;
    out.text = reader.text("/text");
    out.finish = reader.text_or("/meta_info/finish_reason/type", "stop");
    out.usage = {reader.count("/meta_info/prompt_tokens"),
                 reader.count("/meta_info/completion_tokens"),
                 reader.count_or("/meta_info/cached_tokens", 0)};
    return out;
  }
};

}  // namespace

std::unique_ptr<Dialect> sglang_dialect() {
  return std::make_unique<Sglang>();
}

}  // namespace paretod::llm
