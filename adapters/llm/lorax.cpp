// LoRAX: a request names adapters and weights, which the server merges in factor space.  Traps that
// are avoided here: `details` is said explicitly, the weight of a single adapter is ignored (so it
// is sent twice), and strategies other than linear drop or randomise what they are not told.

#include <cmath>

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/reply_reader.hpp"
#include "adapters/llm/token_span.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

class Lorax final : public Dialect {
 public:
  [[nodiscard]] ScoresText scores_text() const override { return ScoresText::whole; }
  [[nodiscard]] bool gives_alternatives() const override { return false; }

  [[nodiscard]] WireRequest generate(const Prompt& prompt, const Sampling& sampling,
                                     const Selection& selection, std::size_t) const override {
    json parameters = common(selection);
    parameters["max_new_tokens"] = sampling.max_tokens;
    parameters["seed"] = sampling.seed;
    parameters["stop"] = sampling.stop;
    parameters["do_sample"] = sampling.temperature > 0;
    if (sampling.temperature > 0) {
      parameters["temperature"] = sampling.temperature;
      if (sampling.top_p < 1) parameters["top_p"] = sampling.top_p;
    }
    return {"/generate", {{"inputs", prompt.flat()}, {"parameters", std::move(parameters)}}};
  }

  [[nodiscard]] Result<Completion> read_generation(const JsonNode& reply) const override {
    ReplyReader reader(reply);
    return reader.checked(read_common(reader));
  }

  [[nodiscard]] WireRequest score(const std::string& context, const std::string& continuation,
                                  const Selection& selection) const override {
    json parameters = common(selection);
    parameters["max_new_tokens"] = 1;
    parameters["do_sample"] = false;
    parameters["decoder_input_details"] = true;
    return {"/generate",
            {{"inputs", context + continuation}, {"parameters", std::move(parameters)}}};
  }

  [[nodiscard]] Result<Completion> read_score(const JsonNode& reply,
                                              const std::string& continuation,
                                              bool has_context) const override {
    ReplyReader reader(reply);
    Completion out = read_common(reader);
    const JsonNode& prefill = reader.require("/details/prefill");
    std::vector<ScoredToken> tokens;
    for (const JsonNode& token : prefill.items()) {
      const JsonNode* text = token.find("text");
      ScoredToken scored{std::string(text == nullptr ? "" : text->text()), {}};
      const JsonNode* logprob = token.find("logprob");
      if (logprob != nullptr && !logprob->is_null()) {
        scored.logprob = reader.number(*logprob, "/details/prefill: a log-probability");
      }
      tokens.push_back(std::move(scored));
    }
    return with_end(reader.checked(std::move(out)), tokens, continuation, !has_context);
  }

 private:
  static json common(const Selection& selection) {
    json parameters{{"details", true}, {"return_full_text", false}};
    json ids = json::array();
    json weights = json::array();
    bool any = false;
    for (const auto& [id, weight] : selection.weights) {
      any = any || weight != 0;
      ids.push_back(id);
      weights.push_back(weight);
    }
    // None at all is the base model, exactly.
    if (!any) return parameters;
    if (ids.size() == 1) {
      // The weights add up in each factor.
      ids.push_back(ids[0]);
      weights = {weights[0].get<float>() / 2, weights[0].get<float>() / 2};
    }
    parameters["merged_adapters"] = {{"ids", std::move(ids)},
                                     {"weights", std::move(weights)},
                                     {"merge_strategy", "linear"},
                                     {"density", 1.0}};
    parameters["adapter_source"] = "local";
    return parameters;
  }

  static Completion read_common(ReplyReader& reader) {
    Completion out;
    out.text = reader.text("/generated_text");
    out.finish = reader.text("/details/finish_reason") == "length" ? "length" : "stop";
    out.usage.prompt_tokens = reader.count("/details/prompt_tokens");
    out.usage.output_tokens = reader.count("/details/generated_tokens");
    return out;
  }
};

}  // namespace

std::unique_ptr<Dialect> lorax_dialect() {
  return std::make_unique<Lorax>();
}

}  // namespace paretod::llm
