#include "daemon/worker/spool.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "adapters/hash/sha256.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t digits = 16;
/// A file that holds more than this is rewritten when most of it is acknowledged.
constexpr std::size_t rewrite_bytes = std::size_t{1} << 20;

Error failure(const std::string& doing, const fs::path& path) {
  return {ErrorKind::unavailable,
          "cannot " + doing + " " + path.string() + ": " + std::generic_category().message(errno)};
}

json json_of(const SpooledResult& result) {
  json object{{"lease", result.lease}, {"message", json::parse(result.message, nullptr, false)}};
  if (!result.log.empty()) object["log"] = result.log;
  return object;
}

std::string line_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string sum_of(std::string_view text) {
  return sha256_hex(text).substr(0, digits);
}

std::string signed_line(const SpooledResult& result) {
  const std::string line = line_of(json_of(result));
  return sum_of(std::string_view(line).substr(0, line.size() - 1)) + " " + line;
}

/// A line without its end; empty when it is torn.
std::optional<SpooledResult> read_line(std::string_view line) {
  if (line.size() <= digits || line[digits] != ' ') return {};
  const std::string_view text = line.substr(digits + 1);
  if (sum_of(text) != line.substr(0, digits)) return {};
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object() || !document.contains("lease") || !document.contains("message")) {
    return {};
  }
  return SpooledResult{document["lease"].get<std::string>(), document["message"].dump(),
                       document.value("log", "")};
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

FileDescriptor open_to_append(const fs::path& path) {
  return FileDescriptor(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

/// Makes a new or renamed file survive a power cut.
bool sync_folder(const fs::path& folder) {
  const FileDescriptor directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.get() >= 0 && fsync(directory.get()) == 0;
}

}  // namespace

Spool::Spool(fs::path folder, const std::string& name, FileDescriptor lock)
    : folder_(std::move(folder)), path_(folder_ / (name + ".jsonl")), lock_(std::move(lock)) {}

Result<std::unique_ptr<Spool>> Spool::open(const fs::path& folder, const std::string& name) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return Error{ErrorKind::denied,
                 "cannot make the folder " + folder.string() + ": " + error.message()};
  }
  fs::permissions(folder, fs::perms::owner_all, error);
  const fs::path lock_path = folder / "lock";
  FileDescriptor lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.get() < 0) return failure("open", lock_path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failure("lock", lock_path);
    return Error{ErrorKind::conflict, "another worker uses the folder " + folder.string()};
  }
  std::unique_ptr<Spool> spool(new Spool(folder, name, std::move(lock)));
  if (auto loaded = spool->load(); !loaded) return loaded.error();
  return spool;
}

Result<void> Spool::load() {
  std::ifstream in(path_, std::ios::binary);
  std::ostringstream content;
  if (in) content << in.rdbuf();
  const std::string text = content.str();
  std::unordered_set<std::string> known;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    auto result = end == std::string::npos
                      ? std::nullopt
                      : read_line(std::string_view(text).substr(begin, end - begin));
    if (!result) {
      ++dropped_;
    } else if (known.insert(result->lease).second) {
      pending_bytes_ += result->message.size();
      pending_.push_back(std::move(*result));
    }
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  // Never append to a torn line.
  if (dropped_ > 0) return rewrite();
  file_ = open_to_append(path_);
  if (file_.get() < 0 || !sync_folder(folder_)) return failure("write", path_);
  file_bytes_ = text.size();
  return {};
}

Result<void> Spool::append(const std::string& text) {
  if (write_all(file_.get(), text) && fdatasync(file_.get()) == 0) {
    file_bytes_ += text.size();
    return {};
  }
  const Error error = failure("write", path_);
  // Half a line would spoil the next one too.
  (void)!ftruncate(file_.get(), static_cast<off_t>(file_bytes_));
  return error;
}

Result<void> Spool::add(std::vector<SpooledResult> results) {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (SpooledResult& result : results) {
    text += signed_line(result);
    pending_bytes_ += result.message.size();
    pending_.push_back(std::move(result));
  }
  return append(text);
}

std::vector<SpooledResult> Spool::pending(std::size_t count, std::size_t bytes) const {
  const std::lock_guard lock(mutex_);
  std::vector<SpooledResult> results;
  std::size_t taken = 0;
  for (const SpooledResult& result : pending_) {
    taken += result.message.size();
    if (results.size() == count || (!results.empty() && taken > bytes)) break;
    results.push_back(result);
  }
  return results;
}

std::size_t Spool::pending_count() const {
  const std::lock_guard lock(mutex_);
  return pending_.size();
}

void Spool::acknowledge(const std::vector<std::string>& leases) {
  const std::unordered_set<std::string_view> known(leases.begin(), leases.end());
  const std::lock_guard lock(mutex_);
  std::erase_if(pending_, [&](const SpooledResult& result) {
    if (!known.contains(result.lease)) return false;
    pending_bytes_ -= result.message.size();
    return true;
  });
  shrink();
}

Result<void> Spool::set_aside(const std::string& lease, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(pending_.begin(), pending_.end(),
                                  [&](const auto& result) { return result.lease == lease; });
  if (found == pending_.end()) return {};
  const fs::path path = folder_ / "refused.jsonl";
  const FileDescriptor file = open_to_append(path);
  json object = json_of(*found);
  object["reason"] = reason;
  const std::string text = line_of(object);
  if (!write_all(file.get(), text) || fdatasync(file.get()) != 0) return failure("write", path);
  pending_bytes_ -= found->message.size();
  pending_.erase(found);
  shrink();
  return {};
}

void Spool::shrink() {
  if (pending_.empty() && file_bytes_ > 0) {
    // Not synced: at worst, results come back that the daemon knows.
    if (ftruncate(file_.get(), 0) == 0) file_bytes_ = 0;
  } else if (file_bytes_ > rewrite_bytes && pending_bytes_ < file_bytes_ / 4) {
    static_cast<void>(rewrite());  // on failure the longer file stays
  }
}

Result<void> Spool::rewrite() {
  std::string text;
  for (const SpooledResult& result : pending_) text += signed_line(result);
  const fs::path fresh = path_.string() + ".new";
  FileDescriptor file(
      ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!write_all(file.get(), text) || fdatasync(file.get()) != 0 ||
      std::rename(fresh.c_str(), path_.c_str()) != 0 || !sync_folder(folder_)) {
    return failure("write", path_);
  }
  file_ = std::move(file);
  file_bytes_ = text.size();
  return {};
}

}  // namespace paretod
