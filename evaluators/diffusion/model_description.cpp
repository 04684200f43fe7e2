#include "evaluators/diffusion/model_description.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::uintmax_t size_limit = 1 << 20;
constexpr std::uint64_t extent_limit = 65'536;

void require_word(ObjectReader& reader, const std::string& name, const std::string& word) {
  const auto value = reader.string(name);
  if (!value) {
    if (reader.find(name) == nullptr) reader.require(name);
  } else if (*value != word) {
    reader.refuse(name, "\"" + *value + "\" is not supported; only \"" + word + "\" is");
  }
}

std::size_t require_extent(ObjectReader& reader, const std::string& name, std::uint64_t low) {
  reader.require(name);
  const auto value = reader.count(name);
  if (value && (*value < low || *value > extent_limit)) {
    reader.refuse(
        name, "must lie between " + std::to_string(low) + " and " + std::to_string(extent_limit));
  }
  return value.value_or(low);
}

std::string require_path(ObjectReader& reader, const std::string& name,
                         const std::filesystem::path& directory) {
  reader.require(name);
  const auto value = reader.string(name);
  if (value && value->empty()) reader.refuse(name, "must not be empty");
  return (directory / value.value_or("")).string();
}

void read_columns(ObjectReader& reader, const std::string& name, bool raw,
                  const std::filesystem::path& directory, Problems& problems,
                  std::vector<CheckpointFile>& columns) {
  const json* items = reader.find(name);
  if (items == nullptr) return;
  if (!items->is_array()) {
    reader.refuse(name, "must be an array, not " + json_type_name(*items));
    return;
  }
  double last = 0;
  for (std::size_t i = 0; i < items->size(); ++i) {
    ObjectReader item((*items)[i], reader.pointer_to(name) + "/" + std::to_string(i), problems);
    if (!item.is_object()) continue;
    CheckpointFile column;
    column.path = require_path(item, "file", directory);
    column.label = std::filesystem::path(column.path).stem().string();
    const auto iteration = item.number("iteration");
    if (raw) {
      item.require("iteration");
      if (iteration && (*iteration <= last)) {
        item.refuse("iteration", "must be positive and greater than the one before");
      }
      last = iteration.value_or(last);
      column.iteration = iteration;
    } else {
      const auto decay = item.number("decay");
      item.require("decay");
      if (decay && !(*decay > 0 && *decay < 1)) {
        item.refuse("decay", "must lie between 0 and 1");
      }
    }
    item.refuse_others();
    columns.push_back(std::move(column));
  }
}

}  // namespace

Result<ModelDescription> read_model_description(const std::string& path) {
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) {
    return Error{ErrorKind::not_found, path + ": no such file"};
  }
  if (!std::filesystem::is_regular_file(path, failed)) return invalid(path + ": not a file");
  if (std::filesystem::file_size(path, failed) > size_limit || failed) {
    return invalid(path + ": larger than " + std::to_string(size_limit) + " bytes");
  }
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) return invalid(path + ": cannot be read");
  const auto document = parse_json(text);
  if (!document) return invalid(path + ": " + document.error().message, document.error().problems);

  const auto directory = std::filesystem::path(path).parent_path();
  Problems problems;
  ObjectReader reader(*document, "", problems);
  ModelDescription model;
  if (reader.is_object()) {
    require_word(reader, "architecture", "residual-mlp");
    require_word(reader, "prediction", "v");
    require_word(reader, "schedule", "cosine");
    model.shape.width = require_extent(reader, "width", 2);
    if (model.shape.width % 2 != 0) reader.refuse("width", "must be even");
    model.shape.blocks = require_extent(reader, "blocks", 0);
    model.shape.classes = require_extent(reader, "classes", 1);
    model.null_class = reader.count("null_class");
    if (model.null_class && (*model.null_class >= model.shape.classes || model.shape.classes < 2)) {
      reader.refuse("null_class", "must be one of two or more classes, counted from 0");
    }
    model.shape.pixels = require_extent(reader, "pixels", 1);
    model.timesteps = require_extent(reader, "timesteps", 1);
    reader.require("checkpoints");
    read_columns(reader, "checkpoints", true, directory, problems, model.checkpoints);
    read_columns(reader, "ema", false, directory, problems, model.ema);
    model.features = require_path(reader, "features", directory);
    model.reference = require_path(reader, "reference", directory);
    reader.require("feature_pixel_weight");
    model.pixel_weight = reader.number("feature_pixel_weight").value_or(1);
    if (!std::isfinite(model.pixel_weight) || std::abs(model.pixel_weight) > 1e6) {
      reader.refuse("feature_pixel_weight", "is out of range");
    }
    reader.refuse_others();
  }
  if (!problems.empty()) {
    return invalid(path + ": not a valid model description", std::move(problems));
  }
  return model;
}

}  // namespace paretod
