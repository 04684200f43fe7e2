#pragma once
// Request and reply shapes of the servers that the stub can be, after their documentation:
// llama.cpp, LoRAX, vLLM, SGLang, hosted OpenAI, and the loss service of the Black-Box-Merging
// release.  They answer from the toy model; they know nothing of sockets, money or faults.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/llm/toy_model.hpp"

namespace paretod::testing {

struct StubReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
};

/// What faults do to an answer's content.
struct StubContent {
  bool contaminate = false;         ///< as the real servers do, where the request permits the cache
  bool contaminate_always = false;  ///< even where it does not, and without saying so
  bool ignore_adapters = false;
  std::string fingerprint = "fp_toy";
  bool pairs = false;  ///< llama.cpp: its adapters are all pairs (B of one, A of another)
};

class StubApi {
 public:
  virtual ~StubApi() = default;
  /// Whether requests to this route cost money.
  [[nodiscard]] virtual bool charged(const std::string& target) const = 0;
  virtual StubReply handle(const std::string& method, const std::string& target,
                           const nlohmann::json& body, const StubContent& content) = 0;
};

/// "llama_cpp", "lorax", "vllm", "sglang", "openai" or "loss_oracle"; throws for another.
std::unique_ptr<StubApi> make_stub_api(const std::string& kind,
                                       std::shared_ptr<const ToyModel> model);

}  // namespace paretod::testing
