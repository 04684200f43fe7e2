#pragma once
// The JSON schemas of config/schemas/, compiled in (CMake writes the source from the files).

#include <string_view>

namespace paretod {

std::string_view job_schema();           ///< config/schemas/job.json
std::string_view config_schema();        ///< config/schemas/config.json
std::string_view merge_recipe_schema();  ///< config/schemas/merge-recipe.json

}  // namespace paretod
