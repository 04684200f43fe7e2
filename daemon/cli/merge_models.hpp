#pragma once
// Merging on the spot, where the models' files are visible: `paretod merge` and `paretod export
// --trial`.  Writes the merged model, what belongs to it (configuration and tokenizer of the base
// or the first source), recipe.json, and mergekit.yml where mergekit has the method.  The model
// appears last, so that an interrupted merge leaves none.

#include <cstdint>
#include <string>

#include "daemon/cli/arguments.hpp"
#include "daemon/cli/console.hpp"
#include "evaluators/merge/merge_recipe.hpp"

namespace paretod::cli {

struct MergeOptions {
  std::string folder;
  std::uint64_t memory_bytes = 0;  ///< 0: the engine's default
  std::uint64_t shard_bytes = 5'000'000'000;
  std::size_t threads = 0;  ///< 0: one per core
};

/// The options of a command line that name `folder` themselves.
MergeOptions merge_options(const Arguments& arguments, std::string folder);

/// The exit status; says on the console what was done.
int merge_models(const MergeRecipe& recipe, const MergeOptions& options, Console& console);

/// `paretod merge`.
int merge_command(const Arguments& arguments, Console& console);

}  // namespace paretod::cli
