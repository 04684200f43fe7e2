#pragma once
// Makes Redis' append-only files loadable before a start, without ever dropping an acknowledged
// event (research: redis-log.md 3 and rule 9, reliability.md 3.8).
//
// redis-check-aof tells how far a file is whole, but cuts off the rest whatever it is.  So the rest
// is looked at first.  A command that ends too early, perhaps followed by zeros, is what a crash
// leaves of a write that nobody was told of: it is cut off.  Anything else, a byte that cannot
// stand where it stands or a further command behind, is damage to data that may have been
// acknowledged: that is for a person to decide.

#include <filesystem>
#include <string>
#include <string_view>

#include "optimizers/core/result.hpp"

namespace paretod {

/// `directory` is that of the server.  Returns what was done, for the log; "" if nothing was
/// needed.  A file about to be changed, or refused, is copied to <directory>/aside first.
/// No server may be running on the directory.
/// Errors: corrupt (a person must look), unavailable (disk full and the like; try again).
Result<std::string> repair_append_only_files(const std::filesystem::path& directory,
                                             const std::string& check_program);

/// Whether these last bytes of an append-only file are one command torn by a crash.
bool is_torn_command(std::string_view tail);

}  // namespace paretod
