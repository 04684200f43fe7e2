#pragma once
// Which folder of the state directory a worker spools in: <state directory>/workers/<name>, with
// one file per daemon.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "daemon/worker/spool.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// The spool of the worker called `name`; without a name the first of host-1, host-2, ... that no
/// other worker uses, so that a worker that was killed is followed by one that finds its results.
/// What dead workers of other names left for the same daemon is moved here.  `say` gets a line
/// where people should know.
Result<std::unique_ptr<Spool>> open_worker_spool(
    const std::filesystem::path& state_directory, const std::optional<std::string>& name,
    const std::string& url, const std::function<void(const std::string&)>& say);

/// The host's name, with '-' for what names may not hold.
std::string host_name();

}  // namespace paretod
