#pragma once
// A recipe: which models, by which method, with which numbers; the file that `paretod merge` and
// the evaluator `merge` take, and that is written beside a merged model.  Schema:
// config/schemas/merge-recipe.json.
//
//   {"method": "ties", "base": "base", "dtype": "bfloat16", "lambda": 1,
//    "sources": [{"name": "math", "path": "models/math", "weight": 0.5, "density": 0.6},
//                {"name": "code", "path": "models/code", "weight": 0.5, "density": 0.6}],
//    "groups": [{"name": "attention", "match": [{"contains": "self_attn"}],
//                "weight": {"math": 0.8}}]}
//
// What a group leaves out is as for the whole.  Pure functions but for load_recipe; any thread.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/merge/merge_method.hpp"
#include "evaluators/merge/merge_sources.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct MergeRecipe {
  MergePaths paths;
  MergeRule rule;
  MergeCandidate numbers;
  std::optional<DType> dtype;  ///< of the output; absent: each tensor keeps the original's
};

/// Problems point into the document.  Relative paths are taken from `directory`.
Result<MergeRecipe> parse_recipe(std::string_view text, const std::string& directory);
/// From a file, whose folder relative paths are taken from; errors name it.
Result<MergeRecipe> load_recipe(const std::string& file);
/// Indented text that parse_recipe() reads back.
std::string recipe_text(const MergeRecipe& recipe);

/// Problems of check_candidate(), for numbers laid out as the recipe's, where its fields are:
/// "/sources/1/weight", "/groups/0/weight/code", "/lambda".  Those that a group has from the whole
/// are named once.
Problems in_recipe(const MergeRecipe& recipe, Problems problems);

/// The recipe as a mergekit configuration in YAML.  Groups become filters: those of substrings as
/// they are, others as lists of the names of their tensors, so that mergekit chooses the same ones.
/// A model file that is its folder's only model, with a config.json beside it, is named by the
/// folder, as mergekit wants it; mergekit_obstacles() head the text.  An error where mergekit has
/// no such method.
Result<std::string> mergekit_text(const MergeRecipe& recipe, const MergeSources& sources);
/// What has to be done before mergekit can read the recipe's models; usually nothing.
std::vector<std::string> mergekit_obstacles(const MergeRecipe& recipe);

}  // namespace paretod
