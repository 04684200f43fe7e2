#include "adapters/safetensors/model_files.hpp"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;

/// Far above any real index; one entry is about a hundred bytes.
constexpr std::uintmax_t index_limit = 100'000'000;

/// Tensor name -> file name.
using WeightMap = std::map<std::string, std::string, std::less<>>;

bool is_plain_name(const std::string& name) {
  return name.find_first_of("/\\") == std::string::npos && name.ends_with(".safetensors") &&
         name.front() != '.';
}

Result<WeightMap> read_index(const fs::path& path) {
  const auto wrong = [&path](const std::string& what) {
    return invalid(path.string() + ": " + what);
  };
  std::error_code failure;
  if (!fs::is_regular_file(path, failure)) return wrong("not a regular file");
  if (fs::file_size(path, failure) > index_limit || failure) return wrong("too large for an index");
  std::ostringstream text;
  std::ifstream in(path, std::ios::binary);
  text << in.rdbuf();
  if (!in) return wrong("cannot be read");
  JsonLimits limits;
  limits.depth = 4;
  limits.nodes = 4'000'000;
  const auto document = parse_json(text.str(), limits);
  if (!document) return wrong(document.error().text());
  const auto entries = document->is_object() ? document->find("weight_map") : document->end();
  if (entries == document->end() || !entries->is_object()) return wrong("no object weight_map");
  WeightMap map;
  for (const auto& [tensor, file] : entries->items()) {
    if (!file.is_string() || !is_plain_name(file.get_ref<const std::string&>())) {
      return wrong("weight_map: tensor \"" + tensor.substr(0, 100) +
                   "\" needs the plain name of a .safetensors file beside the index");
    }
    map.emplace(tensor, file.get<std::string>());
  }
  if (map.empty()) return wrong("weight_map is empty");
  return map;
}

}  // namespace

Result<void> ModelFiles::add(const std::string& file) {
  auto opened = SafetensorsFile::open(file);
  if (!opened) return opened.error();
  for (const TensorView& tensor : opened->tensors()) {
    if (!tensors_.emplace(tensor.name, tensor).second) {
      return invalid(file + ": tensor \"" + tensor.name + "\" is in another file too");
    }
  }
  files_.push_back(std::move(*opened));
  return {};
}

Result<ModelFiles> ModelFiles::open(const std::string& path) {
  ModelFiles model;
  model.path_ = path;
  std::error_code failure;
  if (!fs::is_directory(path, failure)) {
    if (auto added = model.add(path); !added) return added.error();
    return model;
  }
  const fs::path folder(path);
  const fs::path index = folder / model_index_name;
  if (!fs::exists(index, failure)) {
    const fs::path single = folder / model_file_name;
    if (!fs::exists(single, failure)) {
      Error error = invalid(path + ": neither " + std::string(model_file_name) + " nor " +
                            std::string(model_index_name) + " is in this folder");
      error.kind = ErrorKind::not_found;
      return error;
    }
    if (auto added = model.add(single.string()); !added) return added.error();
    return model;
  }
  const auto map = read_index(index);
  if (!map) return map.error();
  std::set<std::string> names;
  for (const auto& [tensor, file] : *map) names.insert(file);
  for (const std::string& name : names) {
    if (auto added = model.add((folder / name).string()); !added) return added.error();
    for (const TensorView& tensor : model.files_.back().tensors()) {
      const auto entry = map->find(tensor.name);
      if (entry == map->end() || entry->second != name) {
        return invalid(index.string() + ": tensor \"" + tensor.name + "\" lies in " + name +
                       ", which weight_map does not say");
      }
    }
  }
  for (const auto& [tensor, file] : *map) {
    if (model.find(tensor) == nullptr) {
      return invalid(index.string() + ": tensor \"" + tensor + "\" is not in " + file);
    }
  }
  return model;
}

const TensorView* ModelFiles::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace paretod
