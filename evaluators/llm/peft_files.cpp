#include "evaluators/llm/peft_files.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
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

Result<void> read_tensors(const std::string& path, std::size_t rank, PeftAdapter& peft) {
  auto file = SafetensorsFile::open(path);
  if (!file) return file.error();
  const auto refuse = [&path](const std::string& tensor, const std::string& why) {
    return invalid(path + ": tensor " + tensor + " " + why);
  };
  std::map<std::string, LoraModule, std::less<>> modules;
  bool first = true;
  for (const TensorView& tensor : file->tensors()) {
    const std::string_view name = tensor.name;
    const bool is_a = name.ends_with(suffix_a);
    if (!is_a && !name.ends_with(suffix_b)) {
      return refuse(tensor.name, "is neither lora_A nor lora_B");
    }
    if (tensor.shape.size() != 2) return refuse(tensor.name, "has to have two dimensions");
    if (tensor.shape[is_a ? 0 : 1] != rank) {
      return refuse(tensor.name, "is of rank " + std::to_string(tensor.shape[is_a ? 0 : 1]) +
                                     ", but " + config_name + " says r = " + std::to_string(rank));
    }
    auto values = to_floats(tensor);
    if (!values) return values.error();
    if (std::exchange(first, false)) peft.dtype = tensor.dtype;
    const std::string module_name(name.substr(0, name.size() - suffix_a.size()));
    LoraModule& module = modules[module_name];
    module.name = module_name;
    module.rank = rank;
    (is_a ? module.inputs : module.outputs) = tensor.shape[is_a ? 1 : 0];
    (is_a ? module.a : module.b) = std::move(*values);
  }
  if (modules.empty()) return invalid(path + " holds no tensors");
  if (peft.dtype != DType::f32 && peft.dtype != DType::f16 && peft.dtype != DType::bf16) {
    return invalid(path + " has to hold F32, F16 or BF16, not " + std::string(name_of(peft.dtype)));
  }
  for (auto& [name, module] : modules) {
    if (module.a.empty() || module.b.empty()) return refuse(name, "lacks its other factor");
    peft.adapter.modules.push_back(std::move(module));
  }
  return {};
}

/// Row-major rows x columns, made larger with zeros.
std::vector<float> enlarged(const std::vector<float>& values, std::size_t rows, std::size_t columns,
                            std::size_t new_rows, std::size_t new_columns) {
  if (rows == new_rows && columns == new_columns) return values;
  std::vector<float> out(new_rows * new_columns, 0.0F);
  for (std::size_t row = 0; row < rows; ++row) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row * columns), columns,
                out.begin() + static_cast<std::ptrdiff_t>(row * new_columns));
  }
  return out;
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

Result<PeftAdapter> read_peft(const std::string& folder) {
  const fs::path home(folder);
  auto config = read_config(home / config_name);
  if (!config) return config.error();
  if (const std::string why = unsupported(*config); !why.empty()) {
    return invalid(folder + " cannot be merged: " + why);
  }
  ReplyReader reader(*config);
  const std::uint64_t rank = reader.count("/r");
  const double alpha = reader.number(reader.require("/lora_alpha"), "/lora_alpha");
  if (!reader.failed() && rank == 0) reader.blame("/r has to be positive");
  if (reader.failed()) {
    return invalid((home / config_name).string() + ": " + reader.error().message);
  }
  PeftAdapter out;
  const auto r = static_cast<double>(rank);
  out.adapter.scale = alpha / (config->value("use_rslora", json()) == true ? std::sqrt(r) : r);
  out.config = std::move(*config);
  if (auto read = read_tensors((home / tensors_name).string(), rank, out); !read) {
    return read.error();
  }
  return out;
}

Result<void> write_peft(const PeftAdapter& peft, const std::string& folder) {
  const fs::path home(folder);
  std::error_code error;
  fs::create_directories(home, error);
  if (error) {
    return Error{ErrorKind::unavailable,
                 "cannot make the folder " + folder + ": " + error.message()};
  }
  std::size_t rank = 1;
  for (const LoraModule& module : peft.adapter.modules) rank = std::max(rank, module.rank);
  std::vector<TensorLayout> layouts;
  for (const LoraModule& module : peft.adapter.modules) {
    layouts.push_back({module.name + std::string(suffix_a), peft.dtype, {rank, module.inputs}});
    layouts.push_back({module.name + std::string(suffix_b), peft.dtype, {module.outputs, rank}});
  }
  auto writer = SafetensorsWriter::create(folder, std::move(layouts), std::uint64_t{1} << 40U,
                                          {{"format", "pt"}});
  if (!writer) return writer.error();
  for (std::size_t i = 0; i < peft.adapter.modules.size(); ++i) {
    const LoraModule& module = peft.adapter.modules[i];
    const auto a = enlarged(module.a, module.rank, module.inputs, rank, module.inputs);
    const auto b = enlarged(module.b, module.outputs, module.rank, module.outputs, rank);
    if (auto done = writer->write(2 * i, 0, stored(a, peft.dtype)); !done) return done;
    if (auto done = writer->write(2 * i + 1, 0, stored(b, peft.dtype)); !done) return done;
  }
  if (auto done = writer->commit(); !done) return done;
  fs::rename(home / std::string(model_file_name), home / tensors_name, error);
  if (error)
    return Error{ErrorKind::unavailable, "cannot rename in " + folder + ": " + error.message()};
  json config = peft.config;
  config["r"] = rank;
  config["lora_alpha"] = peft.adapter.scale * static_cast<double>(rank);
  config["use_rslora"] = false;
  config["inference_mode"] = true;
  std::ofstream out(home / config_name);
  out << config.dump(1) << "\n";
  if (!out.flush()) {
    return Error{ErrorKind::unavailable, "cannot write " + (home / config_name).string()};
  }
  return {};
}

}  // namespace paretod::llm
