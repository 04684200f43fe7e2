#pragma once
// The commands about what an optimizer's surrogate predicts; each returns an exit status.

#include <cstddef>
#include <string>

#include "daemon/cli/session.hpp"

namespace paretod::cli {

int surrogate(const Session& session, const std::string& job);
/// Asks for measurements and, if told to, waits for them.
int verify(const Session& session, const std::string& job);
/// Prints a reply of /front?source=predicted with the measured front beside it.
int predicted_front(const Session& session, const std::string& job, const Json& reply,
                    std::size_t rows);

}  // namespace paretod::cli
