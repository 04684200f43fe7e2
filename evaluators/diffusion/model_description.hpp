#pragma once
// model.json: what a folder of checkpoints holds.  Paths in it are relative to it.
//
//   {"architecture": "residual-mlp", "width": 64, "blocks": 8, "classes": 10, "pixels": 64,
//    "prediction": "v", "schedule": "cosine", "timesteps": 1000,
//    "checkpoints": [{"file": "step-000400.safetensors", "iteration": 400}, ...],
//    "ema": [{"file": "ema-0.98.safetensors", "decay": 0.98, "iteration": 8000}, ...],
//    "features": "features.safetensors", "reference": "reference.safetensors",
//    "feature_pixel_weight": 0.4}
//
// Optional: "null_class", the class that stands for none, of a model trained for guidance.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/diffusion/denoiser.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// One column of the merge.
struct CheckpointFile {
  std::string path;
  std::string label;                ///< the file's name without its extension
  std::optional<double> iteration;  ///< of raw checkpoints; empty for derived columns (EMA)
};

struct ModelDescription {
  DenoiserShape shape;
  std::size_t timesteps = 1000;
  std::optional<std::size_t> null_class;    ///< never asked for as a label
  std::vector<CheckpointFile> checkpoints;  ///< by increasing iteration
  std::vector<CheckpointFile> ema;
  std::string features;   ///< path
  std::string reference;  ///< path
  double pixel_weight = 1;

  /// Classes that samples are dealt, in turn: all but the null class.
  [[nodiscard]] std::size_t labels() const { return shape.classes - (null_class ? 1 : 0); }
  /// Of a sample of any block of noise.
  [[nodiscard]] std::size_t label(std::size_t sample) const {
    const std::size_t dealt = sample % labels();
    return dealt + (null_class && dealt >= *null_class ? 1 : 0);
  }
};

/// Errors name the file and carry pointers into it.
Result<ModelDescription> read_model_description(const std::string& path);

}  // namespace paretod
