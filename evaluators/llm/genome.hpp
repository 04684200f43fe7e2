#pragma once
// What a candidate means to a server: coefficients of adapters, sampling, prompts.  Pure functions.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/llm/dialect.hpp"
#include "evaluators/llm/llm_config.hpp"
#include "optimizers/core/parameter.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

/// "alpha.NAME" (where keep fractions are searched) and "beta.NAME" of every adapter, then
/// "temperature", "top_p", "system", "shots" where they are genes.
std::vector<Parameter> space_of(const LlmConfig& config);

struct Genome {
  std::vector<double> alpha;  ///< per adapter
  std::vector<double> beta;
  Sampling sampling;
  const std::string* system = nullptr;  ///< null: the task's own
  const std::vector<std::pair<std::string, std::string>>* shots = nullptr;

  /// No adapter has an effect.
  [[nodiscard]] bool base() const;
};

/// The genome refers to the configuration.  Equal effects become equal: in factor space, where all
/// signs together change nothing, the sum of beta is not negative; where beta is 0 alpha is 1.
Result<Genome> genome_of(const LlmConfig& config, const nlohmann::json& candidate);

/// How the server is told, where requests carry the coefficients.  llama.cpp in factor space: it
/// has every pair (pair_of) as an adapter of its own, number i * N + j with B of adapter i and A of
/// adapter j.
Selection selection_of(const LlmConfig& config, const Genome& genome);

/// What, apart from the request itself, the answers depend on: server, adapters, coefficients.
/// `server`: what the server says it is.
nlohmann::json identity_of(const LlmConfig& config, const Genome& genome,
                           const std::string& server);

}  // namespace paretod::llm
