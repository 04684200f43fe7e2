#pragma once
// A small diffusion model with random weights, as files: width 6, 2 blocks, 3 classes, 5 pixels,
// 100 time steps, three checkpoints and an EMA, a feature network and 40 + 40 reference images.

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "optimizers/core/rng.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod::test {

struct StoredTensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::string bytes;
};
using StoredTensors = std::map<std::string, StoredTensor>;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

void write_safetensors(const std::filesystem::path& path, const StoredTensors& tensors);
/// F32, normal with this standard deviation.
StoredTensor float_tensor(const std::vector<std::uint64_t>& shape, Rng& rng, double scale);

class TinyDiffusion {
 public:
  /// Writes everything but model.json, which save() writes from `model`.
  TinyDiffusion();

  static StoredTensors checkpoint(std::uint64_t seed);
  void write_checkpoint(const std::string& name, const StoredTensors& tensors) const;
  void save() const;
  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

  nlohmann::json model;

 private:
  ScratchDirectory directory_;
};

}  // namespace paretod::test
