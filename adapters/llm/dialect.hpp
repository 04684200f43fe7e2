#pragma once
// What is said to inference servers, and what they answer: one dialect per server, as requests and
// replies in JSON, without any socket.  Shapes after research on llama.cpp
// (tools/server/README.md), LoRAX (docs/guides/merging_adapters.md), vLLM (docs/features/lora.md),
// SGLang (docs/advanced_features/lora.ipynb) and the OpenAI API.  Pure functions of their
// arguments; any thread.  Replies are not trusted: whatever is missing or of another type is an
// error that names the field.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/json/flat_json.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

struct Sampling {
  std::size_t max_tokens = 64;
  double temperature = 0;  ///< 0: greedy
  double top_p = 1;
  std::vector<std::string> stop = {};
  std::uint64_t seed = 1;
};

struct Prompt {
  std::string system = {};
  std::vector<std::pair<std::string, std::string>> shots = {};  ///< question and answer
  std::string text;

  /// For servers that take one string: system, shots and text, each on its own lines.
  [[nodiscard]] std::string flat() const;
};

/// Which adapters a request is answered with.
struct Selection {
  /// llama.cpp: every adapter's number and scale, zeros included.  LoRAX: names and weights.
  std::vector<std::pair<std::string, float>> weights = {};
  std::string model = {};  ///< the model or the merged adapter that was loaded under this name
  std::string salt = {};   ///< distinguishes cached prefixes of different candidates
};

struct Usage {
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint64_t cached_tokens = 0;
};

/// A reply, in one form for all dialects; what the ledger keeps.
struct Completion {
  std::string text;
  std::string finish;  ///< "stop", "length" or what else the server says
  Usage usage;
  std::string fingerprint;  ///< of the server's software and model, if it says
  /// Of each token of the wanted continuation, where one was asked about.
  std::vector<double> logprobs;
  /// Alternatives to the first generated token, by text.
  std::vector<std::pair<std::string, double>> first;
  /// All tokens that were asked about were the most likely ones.
  bool greedy = false;
  bool beyond = false;
};
/// One JSON object as text.
std::string json_text(const Completion& completion);
void append_json_text(std::string& out, const Completion& completion);
Result<Completion> completion_from_json(const JsonNode& value);

/// POST of a JSON body.
struct WireRequest {
  std::string path;
  nlohmann::json body;
};

enum class ScoresText {
  no,         ///< only of tokens it generates
  per_token,  ///< one request per token of the continuation, which needs token numbers
  whole,      ///< of a whole text
};

class Dialect {
 public:
  virtual ~Dialect() = default;

  [[nodiscard]] virtual ScoresText scores_text() const = 0;
  /// Whether generated tokens come with log-probabilities of their alternatives.
  [[nodiscard]] virtual bool gives_alternatives() const = 0;

  /// `alternatives`: how many to the first token, 0 for none.
  [[nodiscard]] virtual WireRequest generate(const Prompt& prompt, const Sampling& sampling,
                                             const Selection& selection,
                                             std::size_t alternatives) const = 0;
  [[nodiscard]] virtual Result<Completion> read_generation(const JsonNode& reply) const = 0;

  /// ScoresText::whole: log-probabilities of `continuation` after `context`; without a context, of
  /// all its tokens but the first.
  [[nodiscard]] virtual WireRequest score(const std::string& context,
                                          const std::string& continuation,
                                          const Selection& selection) const;
  [[nodiscard]] virtual Result<Completion> read_score(const JsonNode& reply,
                                                      const std::string& continuation,
                                                      bool has_context) const;

  /// ScoresText::per_token.
  [[nodiscard]] virtual WireRequest tokenize(const std::string& text) const;
  [[nodiscard]] virtual Result<std::vector<int>> read_tokens(const JsonNode& reply) const;
  [[nodiscard]] virtual WireRequest score_token(const std::vector<int>& context,
                                                const Selection& selection,
                                                std::size_t alternatives) const;
  /// A token beyond the alternatives counts with all the probability that they leave: its
  /// likelihood is then an upper bound, and `beyond` is set.
  [[nodiscard]] virtual Result<Completion> read_token_score(const JsonNode& reply,
                                                            int wanted) const;

  /// Routes of runtime loading; empty where there are none.
  [[nodiscard]] virtual std::string load_route() const { return {}; }
  [[nodiscard]] virtual std::string unload_route() const { return {}; }
};

/// "llama_cpp", "lorax", "vllm", "sglang" or "openai"; null for another name.
std::unique_ptr<Dialect> make_dialect(const std::string& api);

// The dialects, each in a file of its own.
std::unique_ptr<Dialect> llama_cpp_dialect();
std::unique_ptr<Dialect> lorax_dialect();
std::unique_ptr<Dialect> vllm_dialect();
std::unique_ptr<Dialect> sglang_dialect();
std::unique_ptr<Dialect> openai_dialect();

}  // namespace paretod::llm
