#include "tests/support/tiny_diffusion.hpp"

#include <fstream>

#include "evaluators/diffusion/denoiser.hpp"

namespace paretod::test {

void write_safetensors(const std::filesystem::path& path, const StoredTensors& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  const std::string text = header.dump();
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xFF);
  std::ofstream(path, std::ios::binary) << length << text << data;
}

StoredTensor float_tensor(const std::vector<std::uint64_t>& shape, Rng& rng, double scale) {
  std::size_t count = 1;
  for (const std::uint64_t extent : shape) count *= extent;
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(scale * rng.normal());
  return {"F32", shape, bytes_of(values)};
}

TinyDiffusion::TinyDiffusion()
    : model({{"architecture", "residual-mlp"},
             {"width", 6},
             {"blocks", 2},
             {"classes", 3},
             {"pixels", 5},
             {"prediction", "v"},
             {"schedule", "cosine"},
             {"timesteps", 100},
             {"checkpoints",
              {{{"file", "step-1.safetensors"}, {"iteration", 1}},
               {{"file", "step-2.safetensors"}, {"iteration", 2}},
               {{"file", "step-3.safetensors"}, {"iteration", 3}}}},
             {"ema", {{{"file", "ema-0.9.safetensors"}, {"decay", 0.9}, {"iteration", 3}}}},
             {"features", "features.safetensors"},
             {"reference", "reference.safetensors"},
             {"feature_pixel_weight", 0.5}}) {
  std::uint64_t seed = 0;
  for (const char* name : {"step-1", "step-2", "step-3", "ema-0.9"}) {
    write_checkpoint(name, checkpoint(++seed));
  }
  Rng rng(10);
  write_safetensors(path() / "features.safetensors", {{"f1.w", float_tensor({7, 5}, rng, 0.5)},
                                                      {"f1.b", float_tensor({7}, rng, 0.5)},
                                                      {"f2.w", float_tensor({3, 7}, rng, 0.5)},
                                                      {"f2.b", float_tensor({3}, rng, 0.5)}});
  StoredTensors images;
  for (const char* name : {"a.images", "b.images"}) {
    std::string pixels(std::size_t{40} * 5, '\0');
    for (char& pixel : pixels) pixel = static_cast<char>(rng.below(17));
    images[name] = {"U8", {40, 5}, pixels};
  }
  write_safetensors(path() / "reference.safetensors", images);
}

StoredTensors TinyDiffusion::checkpoint(std::uint64_t seed) {
  StoredTensors tensors;
  Rng rng(seed);
  for (const TensorSpec& spec : denoiser_layout({6, 2, 3, 5})) {
    tensors[spec.name] = float_tensor(spec.shape, rng, 0.3);
  }
  return tensors;
}

void TinyDiffusion::write_checkpoint(const std::string& name, const StoredTensors& tensors) const {
  write_safetensors(path() / (name + ".safetensors"), tensors);
}

void TinyDiffusion::save() const {
  std::ofstream(path() / "model.json") << model.dump();
}

}  // namespace paretod::test
