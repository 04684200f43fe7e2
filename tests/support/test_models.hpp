#pragma once
// Small models on disk for tests of merging: named tensors of given dtypes with values of ours.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "adapters/safetensors/model_files.hpp"
#include "adapters/safetensors/narrow.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "adapters/safetensors/widen.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

using TensorValues = std::map<std::string, std::vector<float>>;

/// Bytes of `values` in a float dtype.
inline std::vector<std::byte> stored(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  if (values.empty()) return bytes;
  if (dtype == DType::f16) {
    narrow_f16(values.data(), values.size(), bytes.data());
  } else if (dtype == DType::bf16) {
    narrow_bf16(values.data(), values.size(), bytes.data());
  } else if (dtype == DType::f64) {
    const std::vector<double> doubles(values.begin(), values.end());
    std::memcpy(bytes.data(), doubles.data(), bytes.size());
  } else {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  return bytes;
}

/// Writes a model folder; throws when that fails.
inline void write_model(const std::string& folder, const std::vector<TensorLayout>& layouts,
                        const std::vector<std::vector<std::byte>>& contents,
                        std::uint64_t shard_bytes = 1 << 30) {
  std::filesystem::create_directories(folder);
  auto writer = SafetensorsWriter::create(folder, layouts, shard_bytes, {});
  if (!writer) throw std::runtime_error(writer.error().text());
  for (std::size_t t = 0; t < layouts.size(); ++t) {
    if (!writer->write(t, 0, contents[t])) throw std::runtime_error("cannot write " + folder);
  }
  if (!writer->commit()) throw std::runtime_error("cannot commit " + folder);
}

/// Normal values around `centre` (or 0); integer tensors count.
inline std::vector<std::vector<std::byte>> random_contents(const std::vector<TensorLayout>& layouts,
                                                           std::uint64_t seed, float spread = 1,
                                                           const TensorValues* centre = nullptr) {
  std::vector<std::vector<std::byte>> contents;
  for (std::size_t t = 0; t < layouts.size(); ++t) {
    const TensorLayout& layout = layouts[t];
    if (layout.dtype == DType::i64) {
      std::vector<std::byte> bytes(layout.bytes());
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>((i + seed) & 0x7F);
      }
      contents.push_back(std::move(bytes));
      continue;
    }
    Rng rng(seed, t);
    std::vector<float> values(layout.elements());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float middle = centre == nullptr ? 0.0F : centre->at(layout.name)[i];
      values[i] = middle + spread * static_cast<float>(rng.normal());
    }
    contents.push_back(stored(layout.dtype, values));
  }
  return contents;
}

/// All float tensors of a model, widened.
inline TensorValues read_model(const std::string& path) {
  const auto model = ModelFiles::open(path);
  if (!model) throw std::runtime_error(model.error().text());
  TensorValues values;
  for (const auto& [name, view] : model->tensors()) {
    if (view.dtype == DType::i64) continue;
    auto floats = to_floats(view);
    if (!floats) throw std::runtime_error(floats.error().text());
    values[name] = std::move(*floats);
  }
  return values;
}

}  // namespace paretod
