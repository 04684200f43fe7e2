#pragma once
// The configuration of paretod-llm-evaluator, one JSON file (config/schemas/llm-evaluator.json).
// Read once at the start; every problem is reported with its pointer.  Plain values.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "adapters/llm/dialect.hpp"
#include "evaluators/llm/dataset.hpp"
#include "evaluators/llm/governor.hpp"
#include "evaluators/llm/prices.hpp"
#include "evaluators/llm/scorer.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod::llm {

struct ServerConfig {
  std::string api;    ///< "llama_cpp", "lorax", "vllm", "sglang", "openai", "loss_oracle"
  std::string url;    ///< without a trailing '/'
  std::string model;  ///< as requests name it; "" where they do not
  std::string key_file;
  std::string key_env;
  double timeout_s = 120;
  std::uint32_t retries = 4;
  bool allow_private = false;
  bool probe = true;
  std::size_t alternatives = 20;  ///< tokens that a server is asked log-probabilities of
  /// loss_oracle: what POST /v1/sessions is sent, per split.
  std::array<std::string, 3> sessions;
};

/// A copy of an adapter that keeps only a share of A: what a server without sparsity can be given.
struct AdapterCopy {
  double keep = 1;
  std::string id;
};

struct AdapterConfig {
  std::string name;
  std::string id;    ///< the server's: a number (llama.cpp) or a name (LoRAX)
  std::string path;  ///< PEFT folder (vLLM, SGLang)
  std::vector<AdapterCopy> copies = {};
};

struct MergeConfig {
  std::vector<AdapterConfig> adapters;
  bool factor_space = true;
  bool alpha = false;  ///< whether keep fractions are searched
  double bound = 1.5;
  std::filesystem::path folder;  ///< where merged adapters are written
  std::string server_folder;     ///< the same folder as the server sees it
};

/// A real-valued gene of sampling.
struct RangeGene {
  std::string name;
  double low = 0;
  double high = 1;
};

struct PromptGene {
  std::vector<std::pair<std::string, std::string>> system = {};  ///< by label
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> shots = {};
};

struct TaskConfig {
  std::string name;
  Templates templates;
  std::string system;  ///< where no gene chooses it
  std::array<std::vector<Example>, 3> splits;
};

struct ObjectiveConfig {
  std::string name;
  Goal goal = Goal::minimize;
  std::string source = "score";  ///< "score", "output_tokens", "money"
  std::size_t task = 0;
  std::optional<Scorer> scorer = {};
};

struct LlmConfig {
  std::string name;
  std::size_t slots = 4;
  ServerConfig server;
  std::filesystem::path state;  ///< the provider's folder: ledger and lock
  GovernorLimits limits;
  Prices prices;
  SpendCaps caps;
  bool resend_unknown = false;
  /// Of the tokens that a prompt may have at most: per byte, and in all.
  double tokens_per_byte = 1;
  std::uint64_t extra_tokens = 64;
  double missing_share = 0;  ///< of examples that may lack a score
  MergeConfig merge;
  Sampling sampling;
  std::vector<RangeGene> ranges;
  PromptGene prompts;
  std::vector<TaskConfig> tasks;
  std::vector<ObjectiveConfig> objectives;
};

/// Relative paths are from the folder of the file.
Result<LlmConfig> read_llm_config(const std::filesystem::path& path);
Result<LlmConfig> llm_config_from_json(const nlohmann::json& document,
                                       const std::filesystem::path& base);

}  // namespace paretod::llm
