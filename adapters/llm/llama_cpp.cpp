// The server of llama.cpp: adapters were named when it started; every request carries the scale of
// each.  Log-probabilities come with generated tokens only, so the likelihood of a given text takes
// one request per token.

#include <algorithm>
#include <cmath>
#include <limits>

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/reply_reader.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

class LlamaCpp final : public Dialect {
 public:
  [[nodiscard]] ScoresText scores_text() const override { return ScoresText::per_token; }
  [[nodiscard]] bool gives_alternatives() const override { return true; }

  [[nodiscard]] WireRequest generate(const Prompt& prompt, const Sampling& sampling,
                                     const Selection& selection,
                                     std::size_t alternatives) const override {
    json body = request(selection, sampling.max_tokens, alternatives);
    body["prompt"] = prompt.flat();
    body["temperature"] = sampling.temperature;
    body["seed"] = sampling.seed;
    body["stop"] = sampling.stop;
    if (sampling.temperature == 0) {
      body["top_k"] = 1;
    } else {
      body["top_k"] = 0;
      body["top_p"] = sampling.top_p;
      body["min_p"] = 0;
    }
    return {"/completion", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_generation(const JsonNode& reply) const override {
    ReplyReader reader(reply);
    Completion out = read_common(reader);
    if (const JsonNode* first = probabilities(reader)) out.first = alternatives_of(reader, *first);
    return reader.checked(std::move(out));
  }

  [[nodiscard]] WireRequest tokenize(const std::string& text) const override {
    return {"/tokenize", {{"content", text}, {"add_special", true}, {"parse_special", false}}};
  }

  [[nodiscard]] Result<std::vector<int>> read_tokens(const JsonNode& reply) const override {
    ReplyReader reader(reply);
    const JsonNode& list = reader.require("/tokens");
    std::vector<int> out;
    for (const JsonNode& item : list.items()) {
      // With "with_pieces" they are objects; we did not ask for that.
      if (!item.is_whole() || std::abs(item.number()) > std::numeric_limits<int>::max()) {
        reader.blame("/tokens has to be an array of whole numbers");
        break;
      }
      out.push_back(static_cast<int>(item.number()));
    }
    if (!list.is_array()) reader.blame("/tokens has to be an array of whole numbers");
    return reader.checked(std::move(out));
  }

  [[nodiscard]] WireRequest score_token(const std::vector<int>& context, const Selection& selection,
                                        std::size_t alternatives) const override {
    json body = request(selection, 1, alternatives);
    body["prompt"] = context;
    body["temperature"] = 0;
    body["top_k"] = 1;
    body["seed"] = 1;
    return {"/completion", std::move(body)};
  }

  [[nodiscard]] Result<Completion> read_token_score(const JsonNode& reply,
                                                    int wanted) const override {
    ReplyReader reader(reply);
    Completion out = read_common(reader);
    const JsonNode* first = probabilities(reader);
    if (first == nullptr && !reader.failed()) reader.blame("it lacks /completion_probabilities/0");
    if (reader.failed()) return reader.error();
    const ReplyReader entry(*first);
    const JsonNode* top = entry.find("/top_logprobs");
    double left = 1;
    double least = 0;
    bool first_one = true;
    for (const JsonNode& alternative : top != nullptr ? top->items() : JsonNode::Range()) {
      const JsonNode* logprob = alternative.find("logprob");
      const double value =
          logprob == nullptr ? 0 : reader.number(*logprob, "the log-probability of a token");
      if (logprob == nullptr) reader.blame("a token lacks its logprob");
      if (reader.failed()) return reader.error();
      const JsonNode* id = alternative.find("id");
      if (id != nullptr && id->is_whole() && id->integer() == wanted) {
        out.logprobs = {value};
        out.greedy = first_one;
        return out;
      }
      left -= std::exp(value);
      least = value;
      first_one = false;
    }
    if (first_one) reader.blame("it lacks /completion_probabilities/0/top_logprobs");
    if (reader.failed()) return reader.error();
    out.logprobs = {std::min(least, std::log(std::max(left, 1e-30)))};
    out.beyond = true;
    return out;
  }

 private:
  static json request(const Selection& selection, std::size_t most, std::size_t alternatives) {
    json lora = json::array();
    // All of them: an empty list would mean the server's own scales, and those that are left out
    // may be ones that it knows under another number.
    for (const auto& [id, scale] : selection.weights) {
      lora.push_back({{"id", std::stoi(id)}, {"scale", scale}});
    }
    json body{{"n_predict", most},
              {"repeat_penalty", 1.0},
              // The cache of prompts looks at tokens, not at adapters (issues 30129, 26207).
              {"cache_prompt", false},
              {"return_tokens", false},
              {"stream", false}};
    if (!lora.empty()) body["lora"] = std::move(lora);
    if (alternatives > 0) body["n_probs"] = alternatives;
    return body;
  }

  static Completion read_common(ReplyReader& reader) {
    Completion out;
    out.text = reader.text("/content");
    const std::string stop = reader.text_or("/stop_type", "none");
    out.finish = stop == "limit" ? "length" : "stop";
    const std::uint64_t cached = reader.count_or("/timings/cache_n", 0);
    if (cached > 0) {
      reader.blame(
          "it used a cached prompt although that was forbidden, so other adapters may have "
          "had a part in it; start the server with --cache-ram 0");
    }
    out.fingerprint = reader.text_or("/model", "");
    out.usage.prompt_tokens =
        reader.count_or("/tokens_evaluated", cached + reader.count_or("/timings/prompt_n", 0));
    out.usage.output_tokens = reader.count_or("/timings/predicted_n", 0);
    return out;
  }

  /// What is said of the first generated token; the newer field's name, then the older one's.
  static const JsonNode* probabilities(const ReplyReader& reader) {
    const JsonNode* first = reader.find("/completion_probabilities/0");
    return first != nullptr ? first : reader.find("/probs/0");
  }

  static std::vector<std::pair<std::string, double>> alternatives_of(ReplyReader& reader,
                                                                     const JsonNode& first) {
    std::vector<std::pair<std::string, double>> out;
    const JsonNode* list = first.find("top_logprobs");
    for (const JsonNode& item : list != nullptr ? list->items() : JsonNode::Range()) {
      const JsonNode* token = item.find("token");
      if (token == nullptr || !token->is_string()) continue;
      const JsonNode* logprob = item.find("logprob");
      if (logprob == nullptr) reader.blame("an alternative lacks its logprob");
      if (reader.failed()) break;
      out.emplace_back(token->text(), reader.number(*logprob, "a log-probability"));
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<Dialect> llama_cpp_dialect() {
  return std::make_unique<LlamaCpp>();
}

}  // namespace paretod::llm
