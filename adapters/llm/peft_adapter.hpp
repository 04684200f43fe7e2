#pragma once
// Low-rank adapters as Hugging Face's PEFT keeps them (a folder with adapter_model.safetensors and
// adapter_config.json), and their merges.  A forward pass adds c B A to each module, with
// c = lora_alpha / r, or lora_alpha / sqrt(r) where the adapter was trained with rsLoRA.
//
// Factor space is Evo-Merging's operator (arXiv 2509.12951, appendix):
//   A = sum beta_i S_alpha_i(A_i),  B = sum beta_i B_i,  the rank stays
// delta space adds the adapters' effects, as llama.cpp does:
//   c B A = sum beta_i c_i B_i S_alpha_i(A_i),  the ranks add up
//
// Arithmetic in float, adapters in their order; stored in the first adapter's dtype.  Immutable;
// any thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

/// S_alpha: keeps the k = round(alpha n) largest magnitudes of a tensor (half to even, at least
/// one), and whatever is as large as the k-th; the others become 0.  Nothing is rescaled.  alpha is
/// clamped to [0, 1]; 0 keeps nothing, 1 everything.
std::vector<float> sparsified(std::span<const float> tensor, double alpha);

/// Factors of one module, row-major.
struct LoraModule {
  std::size_t rank = 0;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  std::vector<float> a;  ///< rank x inputs
  std::vector<float> b;  ///< outputs x rank
};

struct PeftAdapter {
  std::map<std::string, LoraModule> modules;  ///< by name, without ".lora_A.weight"
  DType dtype = DType::f32;
  double lora_alpha = 1;
  std::size_t rank = 1;
  bool rslora = false;
  nlohmann::json config;

  [[nodiscard]] double scale() const;
};

/// Reads a folder.  Refuses what a plain merge would get wrong: DoRA, per-module ranks or alphas,
/// biases, saved whole modules.
Result<PeftAdapter> read_peft(const std::string& folder);
/// Writes a folder that must not hold an adapter yet; it is made if it is not there.  Its files
/// appear under their names only when they are complete.
Result<void> write_peft(const PeftAdapter& adapter, const std::string& folder);

/// One alpha and one beta per adapter.  Modules are those of the first adapter; one that lacks a
/// module contributes nothing to it.  Factor space needs equal ranks and scales.
Result<PeftAdapter> merge_factors(std::span<const PeftAdapter> adapters,
                                  std::span<const double> alpha, std::span<const double> beta);
Result<PeftAdapter> merge_deltas(std::span<const PeftAdapter> adapters,
                                 std::span<const double> alpha, std::span<const double> beta);

}  // namespace paretod::llm
