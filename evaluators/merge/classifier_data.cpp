#include "evaluators/merge/classifier_data.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/safetensors/safetensors.hpp"
#include "adapters/safetensors/widen.hpp"
#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::uintmax_t size_limit = 1 << 20;
/// Labels beyond this are not class numbers.
constexpr float most_classes = 1 << 20;
/// Changes with the meaning of what is read.
constexpr std::uint64_t code_version = 1;

struct Description {
  ClassifierData data;
  float scale = 1;
  float offset = 0;
  std::string search;
  std::string heldout;
  struct Names {
    std::string inputs;
    std::string labels;
  };
  std::vector<Names> tensors;  ///< one per task
};

std::string required(ObjectReader& reader, const std::string& name) {
  reader.require(name);
  auto value = reader.string(name);
  if (value && value->empty()) reader.refuse(name, "must not be empty");
  return value.value_or("");
}

void read_activation(ObjectReader& reader, ClassifierData& data) {
  const std::string name = reader.string("activation").value_or("relu");
  const std::map<std::string, Activation> known = {
      {"relu", Activation::relu}, {"tanh", Activation::tanh}, {"silu", Activation::silu}};
  const auto found = known.find(name);
  if (found == known.end()) return reader.refuse("activation", "must be one of relu, tanh, silu");
  data.activation = found->second;
}

void read_objectives(ObjectReader& reader, ClassifierData& data) {
  const std::string name = reader.string("objectives").value_or("accuracy");
  if (name != "accuracy" && name != "loss" && name != "both") {
    return reader.refuse("objectives", "must be one of accuracy, loss, both");
  }
  data.accuracy_objectives = name != "loss";
  data.loss_objectives = name != "accuracy";
}

void read_tasks(ObjectReader& reader, Description& description, Problems& problems) {
  const json* tasks = reader.require("tasks");
  if (tasks == nullptr) return;
  if (!tasks->is_array() || tasks->empty()) {
    return reader.refuse("tasks", "must be an array of at least one task");
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < tasks->size(); ++i) {
    ObjectReader task((*tasks)[i], "/tasks/" + std::to_string(i), problems);
    if (!task.is_object()) continue;
    description.data.tasks.push_back({required(task, "name"), {}, {}});
    description.tensors.push_back({required(task, "inputs"), required(task, "labels")});
    if (!names.insert(description.data.tasks.back().name).second) {
      task.refuse("name", "is the name of an earlier task");
    }
    task.refuse_others();
  }
}

Result<Description> read_description(const std::filesystem::path& path) {
  std::error_code missing;
  const auto size = std::filesystem::file_size(path, missing);
  if (missing) return invalid(path.string() + ": cannot be read: " + missing.message());
  if (size > size_limit) return invalid(path.string() + ": is too large for a description");
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  auto document = parse_json(text);
  if (!document) return invalid(path.string() + ": " + document.error().message);
  Problems problems;
  ObjectReader reader(*document, "", problems);
  Description description;
  reader.require("layers");
  description.data.layers = reader.strings("layers").value_or(std::vector<std::string>());
  if (problems.empty() && description.data.layers.empty()) {
    reader.refuse("layers", "must name at least one layer");
  }
  read_activation(reader, description.data);
  read_objectives(reader, description.data);
  description.scale = static_cast<float>(reader.number("scale").value_or(1));
  description.offset = static_cast<float>(reader.number("offset").value_or(0));
  description.search = required(reader, "search");
  description.heldout = reader.string("heldout").value_or("");
  read_tasks(reader, description, problems);
  reader.refuse_others();
  if (!problems.empty()) return invalid(path.string() + " is not valid", std::move(problems));
  description.data.has_heldout = !description.heldout.empty();
  return description;
}

Result<std::vector<std::uint32_t>> read_labels(const SafetensorsFile& file, const std::string& name,
                                               std::size_t count) {
  const auto tensor = file.get(name, {count});
  if (!tensor) return tensor.error();
  const auto values = to_floats(*tensor);
  if (!values) return invalid(file.path() + ": " + values.error().message);
  std::vector<std::uint32_t> labels;
  labels.reserve(count);
  for (const float value : *values) {
    if (!(value >= 0 && value < most_classes) || value != std::floor(value)) {
      return invalid(file.path() + ": tensor \"" + name + "\" holds " + std::to_string(value) +
                     ", which is not the number of a class");
    }
    labels.push_back(static_cast<std::uint32_t>(value));
  }
  return labels;
}

Result<TaskExamples> read_examples(const SafetensorsFile& file, const Description::Names& names,
                                   float scale, float offset) {
  const TensorView* inputs = file.find(names.inputs);
  if (inputs == nullptr || inputs->shape.size() < 2 || inputs->elements() == 0) {
    return invalid(file.path() + ": a tensor \"" + names.inputs +
                   "\" of shape [examples, ...] is needed" +
                   (inputs == nullptr ? "" : ", not " + to_string(inputs->shape)));
  }
  TaskExamples examples;
  examples.count = inputs->shape[0];
  examples.width = inputs->elements() / examples.count;
  const auto stored = to_floats(*inputs);
  if (!stored) return invalid(file.path() + ": " + stored.error().message);
  const auto labels = read_labels(file, names.labels, examples.count);
  if (!labels) return labels.error();
  std::vector<std::size_t> order(examples.count);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  Rng rng(examples.count);
  rng.shuffle(order);
  examples.inputs.reserve(stored->size());
  for (const std::size_t from : order) {
    for (std::size_t i = 0; i < examples.width; ++i) {
      examples.inputs.push_back(scale * (*stored)[from * examples.width + i] + offset);
    }
    examples.labels.push_back((*labels)[from]);
  }
  examples.tiles = to_tiles(examples.inputs.data(), examples.count, examples.width);
  return examples;
}

std::uint64_t mixed(std::uint64_t hash, const std::string& text) {
  for (const char c : text) hash = mix64(hash, static_cast<unsigned char>(c));
  return mix64(hash, text.size());
}

std::uint64_t mixed(std::uint64_t hash, const TaskExamples& examples) {
  for (const float value : examples.inputs) hash = mix64(hash, std::bit_cast<std::uint32_t>(value));
  for (const std::uint32_t label : examples.labels) hash = mix64(hash, label);
  return hash;
}

std::string version_of(const ClassifierData& data) {
  std::uint64_t hash = mix64(code_version, static_cast<std::uint64_t>(data.activation));
  hash = mix64(hash, (data.accuracy_objectives ? 1 : 0) + (data.loss_objectives ? 2 : 0));
  for (const std::string& layer : data.layers) hash = mixed(hash, layer);
  for (const ClassifierData::Task& task : data.tasks) {
    hash = mixed(mixed(hash, task.name), task.search);
    if (task.heldout) hash = mixed(hash, *task.heldout);
  }
  constexpr char digits[] = "0123456789abcdef";
  std::string text = "classifier-";
  for (int shift = 60; shift >= 0; shift -= 4) text += digits[hash >> shift & 15];
  return text;
}

}  // namespace

Result<ClassifierData> load_classifier_data(const std::string& file) {
  const std::filesystem::path path(file);
  auto description = read_description(path);
  if (!description) return description.error();
  ClassifierData& data = description->data;
  const auto search = SafetensorsFile::open((path.parent_path() / description->search).string());
  if (!search) return search.error();
  std::optional<SafetensorsFile> heldout;
  if (data.has_heldout) {
    auto opened = SafetensorsFile::open((path.parent_path() / description->heldout).string());
    if (!opened) return opened.error();
    heldout = std::move(*opened);
  }
  for (std::size_t i = 0; i < data.tasks.size(); ++i) {
    const auto& names = description->tensors[i];
    auto examples = read_examples(*search, names, description->scale, description->offset);
    if (!examples) return examples.error();
    data.tasks[i].search = std::move(*examples);
    if (!heldout) continue;
    auto others = read_examples(*heldout, names, description->scale, description->offset);
    if (!others) return others.error();
    if (others->width != data.tasks[i].search.width) {
      return invalid(heldout->path() + ": examples of task \"" + data.tasks[i].name +
                     "\" have another size than those to search with");
    }
    data.tasks[i].heldout = std::move(*others);
  }
  data.version = version_of(data);
  return std::move(data);
}

}  // namespace paretod
