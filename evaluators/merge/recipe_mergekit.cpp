#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "adapters/mergekit/mergekit_config.hpp"
#include "adapters/safetensors/model_files.hpp"
#include "evaluators/merge/merge_recipe.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;

constexpr const char* config_name = "config.json";

bool is_there(const fs::path& path) {
  std::error_code failure;
  return fs::is_regular_file(path, failure);
}

/// mergekit opens folders as Hugging Face models, by config.json; of the weights it takes an index
/// first, then model.safetensors.
bool names_its_folder(const fs::path& file) {
  const fs::path folder = file.parent_path();
  return file.filename() == model_file_name && is_there(folder / config_name) &&
         !is_there(folder / model_index_name);
}

/// The model as mergekit has to be told of it.
std::string mergekit_path(const std::string& path) {
  return is_there(path) && names_its_folder(path) ? fs::path(path).parent_path().string() : path;
}

using Numbers = std::function<double(const GroupCoefficients&)>;

class Converter {
 public:
  Converter(const MergeRecipe& recipe, const MergeSources& sources)
      : recipe_(recipe), sources_(sources), traits_(traits_of(recipe.rule.method)) {
    for (const TensorGroup& group : recipe.rule.groups) {
      for (const TensorPattern& pattern : group.patterns) {
        named_ = named_ || pattern.kind != TensorPattern::Kind::contains;
      }
    }
  }

  MergekitConfig convert() {
    const MergeMethod method = recipe_.rule.method;
    MergekitConfig config;
    config.comments = mergekit_obstacles(recipe_);
    config.merge_method = name_of(method);
    const auto& models = recipe_.paths.sources;
    if (traits_.uses_base) config.base_model = mergekit_path(recipe_.paths.base);
    if (method == MergeMethod::slerp) config.base_model = mergekit_path(models[0].path);
    for (std::size_t k = 0; k < models.size(); ++k) {
      MergekitConfig::Model& model = config.models.emplace_back();
      model.path = mergekit_path(models[k].path);
      if (method == MergeMethod::slerp) continue;
      add(model.parameters, "weight", [k](const auto& group) { return group.weights[k]; });
      if (traits_.sparsifier == Sparsifier::none) continue;
      add(model.parameters, "density", [k](const auto& group) { return group.densities[k]; });
    }
    if (method == MergeMethod::slerp) {
      add(config.parameters, "t", [](const auto& group) { return group.t; });
    } else {
      add_flag(config, "normalize", recipe_.rule.normalize);
    }
    if (traits_.uses_base) {
      add(config.parameters, "lambda", [](const auto& group) { return group.lambda; });
    }
    if (traits_.sparsifier != Sparsifier::none) {
      add_flag(config, "rescale", recipe_.rule.rescale != Rescale::none);
      if (recipe_.rule.rescale == Rescale::expected) {
        config.comments.push_back(
            "rescale was by the probability of keeping; mergekit's restores the sum of magnitudes");
      }
    }
    if (traits_.sparsifier == Sparsifier::random || traits_.sparsifier == Sparsifier::della) {
      config.comments.push_back("random masks are drawn anew: the same share, other elements");
    }
    if (traits_.sparsifier == Sparsifier::della) {
      add(config.parameters, "epsilon", [this](const auto&) { return recipe_.rule.epsilon; });
    }
    if (traits_.sparsifier == Sparsifier::breadcrumbs) {
      add(config.parameters, "gamma", [this](const auto&) { return recipe_.rule.gamma; });
    }
    config.dtype = "float32";
    for (const MergedTensor& tensor : sources_.tensors()) {
      if (tensor.copied) continue;
      config.out_dtype = tensor.layout.dtype == DType::f16    ? "float16"
                         : tensor.layout.dtype == DType::bf16 ? "bfloat16"
                                                              : "float32";
      break;
    }
    return config;
  }

 private:
  static void add_flag(MergekitConfig& config, const char* name, bool value) {
    config.parameters.push_back({name, {{std::nullopt, value}}});
  }

  void add(std::vector<MergekitSetting>& settings, const char* name, const Numbers& numbers) const {
    MergekitSetting setting{name, {}};
    const auto& groups = recipe_.numbers.groups;
    const double whole = numbers(groups.back());
    const bool same = std::all_of(groups.begin(), groups.end(),
                                  [&](const GroupCoefficients& g) { return numbers(g) == whole; });
    if (!same && named_) {
      // Of filters the first holds that is part of a name; a longer name is part of none shorter.
      std::vector<const MergedTensor*> tensors;
      for (const MergedTensor& tensor : sources_.tensors()) tensors.push_back(&tensor);
      std::stable_sort(tensors.begin(), tensors.end(), [](const auto* a, const auto* b) {
        return a->layout.name.size() > b->layout.name.size();
      });
      for (const MergedTensor* tensor : tensors) {
        setting.entries.push_back({tensor->layout.name, numbers(groups[tensor->group])});
      }
    } else if (!same) {
      for (std::size_t g = 0; g < recipe_.rule.groups.size(); ++g) {
        for (const TensorPattern& pattern : recipe_.rule.groups[g].patterns) {
          setting.entries.push_back({pattern.text, numbers(groups[g])});
        }
      }
    }
    setting.entries.push_back({std::nullopt, whole});
    settings.push_back(std::move(setting));
  }

  const MergeRecipe& recipe_;
  const MergeSources& sources_;
  const MergeTraits traits_;
  bool named_ = false;
};

}  // namespace

Result<std::string> mergekit_text(const MergeRecipe& recipe, const MergeSources& sources) {
  if (!traits_of(recipe.rule.method).in_mergekit) {
    return invalid("mergekit has no method " + std::string(name_of(recipe.rule.method)));
  }
  return to_yaml(Converter(recipe, sources).convert());
}

std::vector<std::string> mergekit_obstacles(const MergeRecipe& recipe) {
  std::vector<std::string> paths;
  if (traits_of(recipe.rule.method).uses_base) paths.push_back(recipe.paths.base);
  for (const MergePaths::Source& source : recipe.paths.sources) paths.push_back(source.path);
  std::vector<std::string> obstacles;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    if (!seen.insert(path).second) continue;
    if (is_there(path) && !names_its_folder(path)) {
      obstacles.push_back("mergekit cannot read the file " + path +
                          ": make a folder with the model's config.json and this file as "
                          "model.safetensors, and name that folder in mergekit.yml instead");
    } else if (!is_there(path) && !is_there(fs::path(path) / config_name)) {
      obstacles.push_back("mergekit cannot read the folder " + path +
                          ": put the model's config.json into it");
    }
  }
  return obstacles;
}

}  // namespace paretod
