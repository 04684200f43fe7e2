#pragma once
// Whether something works right now and, if not, one sentence that says why and what to do.

#include <string>

namespace paretod {

struct Health {
  bool ok = true;
  std::string reason = {};
};

}  // namespace paretod
