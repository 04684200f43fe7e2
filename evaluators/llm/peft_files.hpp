#pragma once
// Low-rank adapters as Hugging Face's PEFT keeps them: a folder with adapter_model.safetensors and
// adapter_config.json.  Pure functions; any thread.

#include <nlohmann/json.hpp>
#include <string>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/llm/lora_merge.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

struct PeftAdapter {
  LoraAdapter adapter;       ///< its modules without ".lora_A.weight"
  DType dtype = DType::f32;  ///< F32, F16 or BF16: what the tensors are stored in
  nlohmann::json config;
};

/// Refuses what c B A does not describe: DoRA, ranks or alphas per module, biases, whole modules.
Result<PeftAdapter> read_peft(const std::string& folder);

/// Writes a folder, which is made and must not exist yet.  Modules of less than the largest rank
/// are filled up with zeros.  adapter_config.json appears last.
Result<void> write_peft(const PeftAdapter& adapter, const std::string& folder);

}  // namespace paretod::llm
