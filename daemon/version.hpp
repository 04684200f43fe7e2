#pragma once
#include <string_view>

namespace paretod {

/// "0.1.0+ab12cd3": version and commit of this build.
std::string_view build_version();

}  // namespace paretod
