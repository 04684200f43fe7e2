#include "daemon/store/instance_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

namespace paretod {
namespace {

Result<void> write_durably(const std::filesystem::path& path, const std::string& text) {
  const std::string partial = path.string() + ".new";
  const int file = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool written = file >= 0 &&
                 write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                 fsync(file) == 0;
  if (file >= 0) close(file);
  written = written && std::rename(partial.c_str(), path.c_str()) == 0;
  if (written) return {};
  return Error{ErrorKind::denied,
               "cannot write " + path.string() + ": " + std::generic_category().message(errno)};
}

}  // namespace

Result<void> check_instance_file(RedisBackend& backend,
                                 const std::filesystem::path& state_directory) {
  const std::filesystem::path path = state_directory / "instance";
  std::optional<std::string> known;
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    std::ifstream in(path);
    if (!(in >> known.emplace())) {
      return Error{ErrorKind::denied, "cannot read " + path.string() +
                                          "; restore it, or remove it if this is the right Redis"};
    }
  }
  auto id = backend.check_instance(known);
  if (!id) return id.error();
  if (known) return {};
  return write_durably(path, *id + "\n");
}

}  // namespace paretod
