#pragma once
// The daemon's memory of which Redis holds its data: the file "instance" in its state directory
// (see RedisBackend::check_instance).

#include <filesystem>

#include "daemon/store/redis_backend.hpp"

namespace paretod {

/// Checks that `backend` is the server of this state directory; at the first meeting, makes it so.
/// Errors: those of check_instance(); denied if the file cannot be read or written.
Result<void> check_instance_file(RedisBackend& backend,
                                 const std::filesystem::path& state_directory);

}  // namespace paretod
