#pragma once
// The optimizers paretod knows: one explicit list, since linkers drop self-registration.

#include <string_view>
#include <vector>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

/// All of them, sorted by name; built once per call.
std::vector<Optimizer> builtin_optimizers();

}  // namespace paretod
