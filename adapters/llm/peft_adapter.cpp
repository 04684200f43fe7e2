#include "adapters/llm/peft_adapter.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

#include "adapters/json/parse.hpp"
#include "adapters/llm/reply_reader.hpp"
#include "adapters/safetensors/model_files.hpp"
#include "adapters/safetensors/narrow.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "adapters/safetensors/widen.hpp"

namespace paretod::llm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* tensors_name = "adapter_model.safetensors";
constexpr const char* config_name = "adapter_config.json";
constexpr std::string_view suffix_a = ".lora_A.weight";
constexpr std::string_view suffix_b = ".lora_B.weight";

Result<json> read_config(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  if (in) content << in.rdbuf();
  if (!in) return Error{ErrorKind::not_found, "cannot read " + path.string()};
  auto document = parse_json(content.str());
  if (!document) return invalid(path.string() + ": " + document.error().text());
  if (!document->is_object()) return invalid(path.string() + " has to hold an object");
  return document;
}

/// Why the adapter is none that B A describes; empty if it is.
std::string unsupported(const json& config) {
  const auto on = [&config](const char* name) { return config.value(name, json()) == true; };
  const auto filled = [&config](const char* name) {
    const auto found = config.find(name);
    return found != config.end() && !found->is_null() && !found->empty();
  };
  if (config.value("peft_type", json("LORA")) != "LORA") return "peft_type has to be LORA";
  if (on("use_dora")) return "it was trained with DoRA, whose magnitudes a merge would lose";
  if (filled("rank_pattern") || filled("alpha_pattern")) {
    return "its modules have ranks or alphas of their own, which a merge cannot keep";
  }
  if (filled("modules_to_save")) return "it holds whole modules, which cannot be merged";
  if (config.value("bias", json("none")) != "none") return "it was trained with biases";
  return {};
}

Result<void> read_tensors(const std::string& path, PeftAdapter& adapter) {
  auto file = SafetensorsFile::open(path);
  if (!file) return file.error();
  const auto refuse = [&path](const std::string& tensor, const std::string& why) {
    return invalid(path + ": tensor " + tensor + " " + why);
  };
  bool first = true;
  for (const TensorView& tensor : file->tensors()) {
    const std::string_view name = tensor.name;
    const bool is_a = name.ends_with(suffix_a);
    if (!is_a && !name.ends_with(suffix_b)) {
      return refuse(tensor.name, "is neither lora_A nor lora_B");
    }
    if (tensor.shape.size() != 2) return refuse(tensor.name, "has to have two dimensions");
    auto values = to_floats(tensor);
    if (!values) return values.error();
    if (std::exchange(first, false)) adapter.dtype = tensor.dtype;
    LoraModule& module = adapter.modules[std::string(name.substr(0, name.size() - suffix_a.size()))];
    if (is_a) {
      module.inputs = tensor.shape[1];
      module.a = std::move(*values);
    } else {
      module.outputs = tensor.shape[0];
      module.b = std::move(*values);
    }
    const std::size_t rank = tensor.shape[is_a ? 0 : 1];
    if (rank != adapter.rank) {
      return refuse(tensor.name, "is of rank " + std::to_string(rank) + ", but " + config_name +
                                     " says r = " + std::to_string(adapter.rank));
    }
    module.rank = rank;
  }
  for (const auto& [name, module] : adapter.modules) {
    if (module.a.empty() || module.b.empty()) return refuse(name, "lacks its other factor");
  }
  if (adapter.modules.empty()) return invalid(path + " holds no tensors");
  if (adapter.dtype != DType::f32 && adapter.dtype != DType::f16 && adapter.dtype != DType::bf16) {
    return invalid(path + " has to hold F32, F16 or BF16, not " +
                   std::string(name_of(adapter.dtype)));
  }
  return {};
}

/// The first term is taken, not added to 0, so that a single adapter stays as it is, bit for bit.
void add(std::vector<float>& sum, std::span<const float> term, float weight, bool& empty) {
  if (std::exchange(empty, false)) {
    sum.resize(term.size());
    for (std::size_t i = 0; i < term.size(); ++i) sum[i] = weight * term[i];
  } else {
    for (std::size_t i = 0; i < term.size(); ++i) sum[i] += weight * term[i];
  }
}

Result<void> check_merge(std::span<const PeftAdapter> adapters, std::span<const double> alpha,
                         std::span<const double> beta) {
  if (adapters.empty() || alpha.size() != adapters.size() || beta.size() != adapters.size()) {
    return invalid("a merge needs adapters, and one alpha and one beta for each");
  }
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    if (!std::isfinite(alpha[i]) || !std::isfinite(beta[i])) {
      return invalid("the coefficients of adapter " + std::to_string(i) + " have to be finite");
    }
    for (const auto& [name, module] : adapters[i].modules) {
      const auto same = adapters[0].modules.find(name);
      if (same != adapters[0].modules.end() && (same->second.inputs != module.inputs ||
                                                same->second.outputs != module.outputs)) {
        return invalid("adapter " + std::to_string(i) + " has another shape at " + name);
      }
    }
  }
  return {};
}

std::vector<std::byte> stored(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> out(values.size() * size_of(dtype));
  if (dtype == DType::f32) {
    const auto bytes = std::as_bytes(std::span<const float>(values));
    std::copy(bytes.begin(), bytes.end(), out.begin());
  } else if (dtype == DType::f16) {
    narrow_f16(values.data(), values.size(), out.data());
  } else {
    narrow_bf16(values.data(), values.size(), out.data());
  }
  return out;
}

}  // namespace

std::vector<float> sparsified(std::span<const float> tensor, double alpha) {
  alpha = std::clamp(alpha, 0.0, 1.0);
  if (alpha == 1 || tensor.empty()) return {tensor.begin(), tensor.end()};
  std::vector<float> out(tensor.size(), 0.0F);
  if (!(alpha > 0)) return out;
  const auto n = static_cast<double>(tensor.size());
  // The default rounding mode is to nearest, half to even.
  const auto k = static_cast<std::size_t>(std::clamp(std::nearbyint(alpha * n), 1.0, n));
  std::vector<float> sizes(tensor.size());
  std::transform(tensor.begin(), tensor.end(), sizes.begin(),
                 [](float value) { return std::abs(value); });
  const auto kth = sizes.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(sizes.begin(), kth, sizes.end(), std::greater<>());
  const float threshold = *kth;
  for (std::size_t i = 0; i < tensor.size(); ++i) {
    if (std::abs(tensor[i]) >= threshold) out[i] = tensor[i];
  }
  return out;
}

double PeftAdapter::scale() const {
  const auto r = static_cast<double>(rank);
  return lora_alpha / (rslora ? std::sqrt(r) : r);
}

Result<PeftAdapter> read_peft(const std::string& folder) {
  const fs::path home(folder);
  auto config = read_config(home / config_name);
  if (!config) return config.error();
  if (const std::string why = unsupported(*config); !why.empty()) {
    return invalid(folder + " cannot be merged: " + why);
  }
  ReplyReader reader(*config);
  PeftAdapter adapter;
  adapter.rank = reader.count("/r");
  adapter.lora_alpha = reader.number(reader.require("/lora_alpha"), "/lora_alpha");
  adapter.rslora = config->value("use_rslora", json()) == true;
  if (!reader.failed() && adapter.rank == 0) reader.blame("/r has to be positive");
  if (reader.failed()) {
    return invalid((home / config_name).string() + ": " + reader.error().message);
  }
  adapter.config = std::move(*config);
  if (auto read = read_tensors((home / tensors_name).string(), adapter); !read) return read.error();
  return adapter;
}

Result<void> write_peft(const PeftAdapter& adapter, const std::string& folder) {
  const fs::path home(folder);
  std::error_code error;
  fs::create_directories(home, error);
  if (error) {
    return Error{ErrorKind::unavailable, "cannot make the folder " + folder + ": " + error.message()};
  }
  std::vector<TensorLayout> layouts;
  std::vector<const std::vector<float>*> values;
  for (const auto& [name, module] : adapter.modules) {
    layouts.push_back(
        {name + std::string(suffix_a), adapter.dtype, {module.rank, module.inputs}});
    values.push_back(&module.a);
    layouts.push_back(
        {name + std::string(suffix_b), adapter.dtype, {module.outputs, module.rank}});
    values.push_back(&module.b);
  }
  auto writer = SafetensorsWriter::create(folder, std::move(layouts), std::uint64_t{1} << 40U,
                                          {{"format", "pt"}});
  if (!writer) return writer.error();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (auto done = writer->write(i, 0, stored(*values[i], adapter.dtype)); !done) return done;
  }
  if (auto done = writer->commit(); !done) return done;
  json config = adapter.config;
  config["r"] = adapter.rank;
  config["lora_alpha"] = adapter.lora_alpha;
  config["use_rslora"] = adapter.rslora;
  config["inference_mode"] = true;
  std::ofstream out(home / config_name);
  out << config.dump(1) << "\n";
  if (!out.flush()) {
    return Error{ErrorKind::unavailable, "cannot write " + (home / config_name).string()};
  }
  fs::rename(home / std::string(model_file_name), home / tensors_name, error);
  if (error) return Error{ErrorKind::unavailable, "cannot rename in " + folder + ": " + error.message()};
  return {};
}

Result<PeftAdapter> merge_factors(std::span<const PeftAdapter> adapters,
                                  std::span<const double> alpha, std::span<const double> beta) {
  if (auto checked = check_merge(adapters, alpha, beta); !checked) return checked.error();
  PeftAdapter out = adapters[0];
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    if (adapters[i].rank != out.rank || adapters[i].scale() != out.scale()) {
      return invalid("in factor space all adapters need one rank and one scale (lora_alpha / r); "
                     "adapter " +
                     std::to_string(i) + " differs from the first");
    }
  }
  for (auto& [name, module] : out.modules) {
    bool empty_a = true;
    bool empty_b = true;
    LoraModule sum = module;
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      const auto found = adapters[i].modules.find(name);
      if (found == adapters[i].modules.end()) continue;
      const auto weight = static_cast<float>(beta[i]);
      add(sum.a, sparsified(found->second.a, alpha[i]), weight, empty_a);
      add(sum.b, found->second.b, weight, empty_b);
    }
    module = std::move(sum);
  }
  return out;
}

Result<PeftAdapter> merge_deltas(std::span<const PeftAdapter> adapters,
                                 std::span<const double> alpha, std::span<const double> beta) {
  if (auto checked = check_merge(adapters, alpha, beta); !checked) return checked.error();
  PeftAdapter out = adapters[0];
  out.rank = 0;
  for (const PeftAdapter& adapter : adapters) out.rank += adapter.rank;
  // The scales are in A, so that the merge's own is one.
  out.lora_alpha = static_cast<double>(out.rank);
  out.rslora = false;
  for (auto& [name, module] : out.modules) {
    LoraModule stacked{out.rank, module.inputs, module.outputs, {},
                       std::vector<float>(module.outputs * out.rank, 0.0F)};
    std::size_t column = 0;
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      const std::size_t rank = adapters[i].rank;
      const auto found = adapters[i].modules.find(name);
      if (found == adapters[i].modules.end()) {
        stacked.a.insert(stacked.a.end(), rank * module.inputs, 0.0F);
      } else {
        const auto weight = static_cast<float>(beta[i] * adapters[i].scale());
        for (const float value : sparsified(found->second.a, alpha[i])) {
          stacked.a.push_back(weight * value);
        }
        for (std::size_t row = 0; row < module.outputs; ++row) {
          for (std::size_t k = 0; k < rank; ++k) {
            stacked.b[row * out.rank + column + k] = found->second.b[row * rank + k];
          }
        }
      }
      column += rank;
    }
    module = std::move(stacked);
  }
  return out;
}

}  // namespace paretod::llm
