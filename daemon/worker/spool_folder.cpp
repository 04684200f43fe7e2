#include "daemon/worker/spool_folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

namespace paretod {
namespace {

namespace fs = std::filesystem;
using Opened = Result<std::unique_ptr<Spool>>;
using Say = std::function<void(const std::string&)>;

constexpr int most_workers_per_host = 4096;

bool held_by_another(const Opened& opened) {
  return !opened && opened.error().kind == ErrorKind::conflict;
}

std::string file_name(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_') c = '-';
  }
  return text;
}

Opened open_named(const fs::path& folder, const std::string& file) {
  auto opened = Spool::open(folder, file);
  // Another worker may just be looking for what was left in it.
  for (int tries = 0; held_by_another(opened) && tries < 20; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    opened = Spool::open(folder, file);
  }
  if (held_by_another(opened)) {
    return Error{ErrorKind::conflict,
                 opened.error().message + "; give this one another name with --name"};
  }
  return opened;
}

Opened open_free(const fs::path& workers, const std::string& file) {
  Opened opened = Error{ErrorKind::exhausted, "too many workers on this host"};
  for (int number = 1; number <= most_workers_per_host; ++number) {
    opened = Spool::open(workers / (host_name() + "-" + std::to_string(number)), file);
    if (!held_by_another(opened)) break;
  }
  return opened;
}

/// Takes over what a dead worker left in its folder.
void adopt(Spool& spool, const fs::path& folder, const std::string& file, const Say& say) {
  auto left = Spool::open(folder, file);
  if (!left || (*left)->pending_count() == 0) return;
  const auto results = (*left)->pending((*left)->pending_count(), SIZE_MAX);
  if (const auto added = spool.add(results); !added) return say(added.error().message);
  std::vector<std::string> leases;
  leases.reserve(results.size());
  for (const SpooledResult& result : results) leases.push_back(result.lease);
  (*left)->acknowledge(leases);
  say("found " + std::to_string(results.size()) + " results that a worker left in " +
      folder.string());
}

void adopt_all(Spool& spool, const fs::path& workers, const std::string& file, const Say& say) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(workers, error)) {
    if (entry.path() == spool.folder()) continue;
    const auto size = fs::file_size(entry.path() / (file + ".jsonl"), error);
    if (!error && size > 0) adopt(spool, entry.path(), file, say);
  }
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "host";
  return file_name(name.data());
}

Opened open_worker_spool(const fs::path& state_directory, const std::optional<std::string>& name,
                         const std::string& url, const Say& say) {
  const fs::path workers = state_directory / "workers";
  const std::string file = file_name(url);
  auto opened = name ? open_named(workers / *name, file) : open_free(workers, file);
  if (!opened) return opened;
  Spool& spool = **opened;
  if (spool.dropped() > 0) {
    say(std::to_string(spool.dropped()) + " torn lines were dropped from " +
        spool.folder().string());
  }
  adopt_all(spool, workers, file, say);
  return opened;
}

}  // namespace paretod
