#include "evaluators/merge/merge_recipe.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::uintmax_t largest_recipe = 16 << 20;
constexpr std::size_t longest_pattern = 1024;

constexpr std::array<std::pair<DType, std::string_view>, 3> dtype_names{{
    {DType::f32, "float32"},
    {DType::f16, "float16"},
    {DType::bf16, "bfloat16"},
}};

std::string absolute(const std::string& directory, const std::string& path) {
  return path.empty() ? path
                      : (std::filesystem::path(directory) / path).lexically_normal().string();
}

class RecipeReader {
 public:
  RecipeReader(const json& document, std::string directory)
      : directory_(std::move(directory)), reader_(document, "", problems_) {}

  Result<MergeRecipe> read() {
    static_cast<void>(reader_.find("$schema"));
    const std::string name = reader_.string("method").value_or("");
    const auto method = merge_method(name);
    if (!method) {
      if (reader_.is_object())
        reader_.refuse("method", "has to be one of: " + merge_method_names());
      return failure();
    }
    recipe_.rule = MergeRule::of(*method);
    traits_ = traits_of(*method);
    recipe_.paths.base = absolute(directory_, reader_.string("base").value_or(""));
    GroupCoefficients whole;
    read_sources(whole);
    read_rule();
    read_numbers(reader_, whole);
    recipe_.numbers.seed = reader_.count("seed").value_or(0);
    read_groups(whole);
    recipe_.numbers.groups.push_back(whole);
    reader_.refuse_others();
    if (!problems_.empty()) return failure();
    return std::move(recipe_);
  }

 private:
  Error failure() { return invalid("the recipe is not valid", std::move(problems_)); }

  /// Whether a field that only some methods have is there; refused for the others.
  bool has(ObjectReader& reader, const char* name, bool meant) {
    if (reader.find(name) == nullptr) return false;
    if (!meant) {
      reader.refuse(name, "means nothing to the method " +
                              std::string(name_of(recipe_.rule.method)) + "; leave it out");
    }
    return meant;
  }
  [[nodiscard]] bool sparse() const { return traits_.sparsifier != Sparsifier::none; }
  [[nodiscard]] bool weighs() const { return recipe_.rule.method != MergeMethod::slerp; }

  void read_sources(GroupCoefficients& whole) {
    const json* list = reader_.require("sources");
    if (list == nullptr) return;
    if (!list->is_array()) return reader_.refuse("sources", "has to be an array of models");
    for (std::size_t k = 0; k < list->size(); ++k) {
      ObjectReader source((*list)[k], "/sources/" + std::to_string(k), problems_);
      MergePaths::Source& read = recipe_.paths.sources.emplace_back();
      read.path = absolute(directory_, source.string("path").value_or(""));
      if (read.path.empty() && source.is_object()) {
        source.refuse("path", "is required: a safetensors file or a folder of a model");
      }
      read.name = source.string("name").value_or("");
      if (read.name.empty() && source.is_object()) {
        source.refuse("name", "is required: what to call the model's coefficients");
      }
      if (has(source, "importance", recipe_.rule.method == MergeMethod::fisher)) {
        read.importance = absolute(directory_, source.string("importance").value_or(""));
      }
      whole.weights.push_back(1);
      whole.densities.push_back(1);
      if (has(source, "weight", weighs())) {
        whole.weights.back() = source.number("weight").value_or(1);
      }
      if (has(source, "density", sparse())) {
        whole.densities.back() = source.number("density").value_or(1);
      }
      source.refuse_others();
    }
  }

  void read_rule() {
    MergeRule& rule = recipe_.rule;
    if (has(reader_, "normalize", weighs() && rule.method != MergeMethod::fisher)) {
      rule.normalize = reader_.boolean("normalize").value_or(rule.normalize);
    }
    if (has(reader_, "rescale", sparse())) {
      const json& value = *reader_.find("rescale");
      const auto named = value.is_boolean()
                             ? std::optional(value.get<bool>() ? Rescale::l1 : Rescale::none)
                         : value.is_string() ? rescale_named(value.get<std::string>())
                                             : std::nullopt;
      if (named) {
        rule.rescale = *named;
      } else {
        reader_.refuse("rescale", "has to be none, expected, l1, true (l1) or false (none)");
      }
    }
    if (has(reader_, "epsilon", traits_.sparsifier == Sparsifier::della)) {
      rule.epsilon = share("epsilon", rule.epsilon, 0.5);
    }
    if (has(reader_, "gamma", traits_.sparsifier == Sparsifier::breadcrumbs)) {
      rule.gamma = share("gamma", rule.gamma, 1);
    }
    if (const auto name = reader_.string("dtype")) {
      for (const auto& [dtype, known] : dtype_names) {
        if (known == *name) recipe_.dtype = dtype;
      }
      if (!recipe_.dtype) reader_.refuse("dtype", "has to be float32, float16 or bfloat16");
    }
  }
  double share(const char* name, double otherwise, double most) {
    const double value = reader_.number(name).value_or(otherwise);
    if (value >= 0 && value <= most) return value;
    reader_.refuse(name, "has to be a number from 0 to " + std::string(most < 1 ? "0.5" : "1"));
    return otherwise;
  }

  void read_numbers(ObjectReader& reader, GroupCoefficients& numbers) {
    if (has(reader, "lambda", traits_.uses_base)) {
      numbers.lambda = reader.number("lambda").value_or(numbers.lambda);
    }
    if (has(reader, "t", recipe_.rule.method == MergeMethod::slerp)) {
      numbers.t = reader.number("t").value_or(numbers.t);
    }
  }

  void read_groups(const GroupCoefficients& whole) {
    const json* list = reader_.find("groups");
    if (list == nullptr) return;
    if (!list->is_array()) return reader_.refuse("groups", "has to be an array of groups");
    std::set<std::string> names;
    for (std::size_t g = 0; g < list->size(); ++g) {
      const std::string at = "/groups/" + std::to_string(g);
      ObjectReader group((*list)[g], at, problems_);
      TensorGroup& read = recipe_.rule.groups.emplace_back();
      read.name = group.string("name").value_or("");
      if (!is_merge_name(read.name) || !names.insert(read.name).second) {
        group.refuse("name", "has to be a name of its own, of 1 to 32 letters, digits, '_' or '-'");
      }
      read_patterns(group, at + "/match", read);
      GroupCoefficients& numbers = recipe_.numbers.groups.emplace_back(whole);
      if (has(group, "weight", weighs())) read_by_source(group, "weight", numbers.weights);
      if (has(group, "density", sparse())) read_by_source(group, "density", numbers.densities);
      read_numbers(group, numbers);
      group.refuse_others();
    }
  }

  void read_patterns(ObjectReader& group, const std::string& at, TensorGroup& read) {
    const json* match = group.require("match");
    if (match == nullptr) return;
    if (!match->is_array() || match->empty()) {
      return group.refuse("match",
                          "has to be an array of {\"prefix\"|\"contains\"|\"regex\": text}");
    }
    for (std::size_t i = 0; i < match->size(); ++i) {
      ObjectReader pattern((*match)[i], at + "/" + std::to_string(i), problems_);
      std::size_t given = 0;
      for (const auto& [field, kind] : {std::pair{"prefix", TensorPattern::Kind::prefix},
                                        std::pair{"contains", TensorPattern::Kind::contains},
                                        std::pair{"regex", TensorPattern::Kind::regex}}) {
        const auto text = pattern.string(field);
        if (!text) continue;
        ++given;
        read.patterns.push_back({kind, *text});
        if (text->empty() || text->size() > longest_pattern) {
          pattern.refuse(field, "has to have 1 to 1024 characters");
        }
      }
      if (given != 1 && pattern.is_object()) {
        problems_.push_back(
            {at + "/" + std::to_string(i), "has to have one of prefix, contains and regex"});
      }
      pattern.refuse_others();
    }
  }

  /// {"math": 0.5}, or one number for all sources.
  void read_by_source(ObjectReader& group, const char* name, std::vector<double>& values) {
    const json* given = group.find(name);
    if (given->is_number()) {
      std::fill(values.begin(), values.end(), given->get<double>());
      return;
    }
    ObjectReader by_source(*given, group.pointer_to(name), problems_);
    for (std::size_t k = 0; k < values.size(); ++k) {
      values[k] = by_source.number(recipe_.paths.sources[k].name).value_or(values[k]);
    }
    by_source.refuse_others();
  }

  const std::string directory_;
  Problems problems_;
  ObjectReader reader_;
  MergeRecipe recipe_;
  MergeTraits traits_;
};

json by_source(const MergeRecipe& recipe, const std::vector<double>& values) {
  json object = json::object();
  for (std::size_t k = 0; k < values.size(); ++k) {
    object[recipe.paths.sources[k].name] = values[k];
  }
  return object;
}

json pattern_json(const TensorPattern& pattern) {
  switch (pattern.kind) {
    case TensorPattern::Kind::prefix:
      return {{"prefix", pattern.text}};
    case TensorPattern::Kind::contains:
      return {{"contains", pattern.text}};
    case TensorPattern::Kind::regex:
      break;
  }
  return {{"regex", pattern.text}};
}

}  // namespace

Result<MergeRecipe> parse_recipe(std::string_view text, const std::string& directory) {
  const auto document = parse_json(text);
  if (!document) return document.error();
  return RecipeReader(*document, directory).read();
}

Result<MergeRecipe> load_recipe(const std::string& file) {
  std::error_code failure;
  const auto size = std::filesystem::file_size(file, failure);
  if (failure) return invalid("cannot read the recipe " + file + ": " + failure.message());
  if (size > largest_recipe) return invalid("the recipe " + file + " is larger than 16 MiB");
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return invalid("cannot read the recipe " + file);
  const auto folder = std::filesystem::absolute(file).parent_path();
  auto recipe = parse_recipe(text.str(), folder.string());
  if (recipe) return recipe;
  Error error = recipe.error();
  error.message = file + ": " + error.message;
  return error;
}

Problems in_recipe(const MergeRecipe& recipe, Problems problems) {
  // "/groups/0/weights/1"
  struct Place {
    std::size_t group = 0;
    std::string field;
    std::string index;
  };
  const auto place_of = [](const std::string& pointer) -> std::optional<Place> {
    std::vector<std::string> parts;
    std::istringstream text(pointer);
    for (std::string part; std::getline(text, part, '/');) parts.push_back(part);
    if (parts.size() < 4 || parts[1] != "groups") return {};
    return Place{std::stoul(parts[2]), parts[3], parts.size() > 4 ? parts[4] : ""};
  };
  const std::size_t whole = recipe.rule.groups.size();
  Problems result;
  std::set<std::string> of_whole;  // what is wrong, wherever it is
  for (const Problem& problem : problems) {
    const auto place = place_of(problem.pointer);
    if (place && place->group == whole) {
      of_whole.insert(place->field + "/" + place->index + problem.message);
    }
  }
  for (Problem& problem : problems) {
    const auto place = place_of(problem.pointer);
    if (!place) {
      result.push_back(std::move(problem));
      continue;
    }
    const auto& [group, field, index] = *place;
    if (group != whole && of_whole.contains(field + "/" + index + problem.message)) continue;
    const std::string name = field == "weights"     ? "weight"
                             : field == "densities" ? "density"
                                                    : field;
    std::string pointer = group == whole ? "" : "/groups/" + std::to_string(group);
    const bool by_source = name != field;
    if (group != whole) {
      pointer += "/" + name;
      if (!index.empty()) pointer += "/" + recipe.paths.sources[std::stoul(index)].name;
    } else if (by_source) {
      pointer += "/sources" + (index.empty() ? "" : "/" + index + "/" + name);
    } else {
      pointer += "/" + name;
    }
    result.push_back({std::move(pointer), std::move(problem.message)});
  }
  return result;
}

std::string recipe_text(const MergeRecipe& recipe) {
  const MergeRule& rule = recipe.rule;
  const MergeTraits traits = traits_of(rule.method);
  const bool sparse = traits.sparsifier != Sparsifier::none;
  const bool weighs = rule.method != MergeMethod::slerp;
  const auto numbers_into = [&](nlohmann::ordered_json& object, const GroupCoefficients& numbers) {
    if (traits.uses_base) object["lambda"] = numbers.lambda;
    if (rule.method == MergeMethod::slerp) object["t"] = numbers.t;
  };
  nlohmann::ordered_json document;
  document["method"] = name_of(rule.method);
  if (!recipe.paths.base.empty()) document["base"] = recipe.paths.base;
  const GroupCoefficients& whole = recipe.numbers.groups.back();
  for (std::size_t k = 0; k < recipe.paths.sources.size(); ++k) {
    const MergePaths::Source& source = recipe.paths.sources[k];
    nlohmann::ordered_json object{{"name", source.name}, {"path", source.path}};
    if (!source.importance.empty()) object["importance"] = source.importance;
    if (weighs) object["weight"] = whole.weights[k];
    if (sparse) object["density"] = whole.densities[k];
    document["sources"].push_back(std::move(object));
  }
  for (const auto& [dtype, name] : dtype_names) {
    if (recipe.dtype == dtype) document["dtype"] = name;
  }
  if (weighs && rule.method != MergeMethod::fisher) document["normalize"] = rule.normalize;
  if (sparse) document["rescale"] = name_of(rule.rescale);
  if (traits.sparsifier == Sparsifier::della) document["epsilon"] = rule.epsilon;
  if (traits.sparsifier == Sparsifier::breadcrumbs) document["gamma"] = rule.gamma;
  numbers_into(document, whole);
  if (traits.sparsifier == Sparsifier::random || traits.sparsifier == Sparsifier::della) {
    document["seed"] = recipe.numbers.seed;
  }
  for (std::size_t g = 0; g < rule.groups.size(); ++g) {
    const GroupCoefficients& numbers = recipe.numbers.groups[g];
    nlohmann::ordered_json object{{"name", rule.groups[g].name}};
    for (const TensorPattern& pattern : rule.groups[g].patterns) {
      object["match"] += nlohmann::ordered_json(pattern_json(pattern));
    }
    if (weighs) object["weight"] = by_source(recipe, numbers.weights);
    if (sparse) object["density"] = by_source(recipe, numbers.densities);
    numbers_into(object, numbers);
    document["groups"].push_back(std::move(object));
  }
  return document.dump(2) + "\n";
}

}  // namespace paretod
