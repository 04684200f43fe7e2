#include "evaluators/merge/weights_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace paretod {
namespace {

namespace fs = std::filesystem;

constexpr const char* name_begins = "paretod-merge-";
constexpr const char* lock_name = "/lock";

Error failed(const std::string& what) {
  const int code = errno;
  Error error = invalid(what + ": " + std::strerror(code));
  if (code == ENOSPC || code == EDQUOT) error.kind = ErrorKind::exhausted;
  return error;
}

bool is_mine(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == ::geteuid();
}

/// A folder without a lock file is just being made; one whose lock is held has an owner.
void remove_if_orphaned(const std::string& path) {
  const int lock = ::open((path + lock_name).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (lock < 0) return;
  if (::flock(lock, LOCK_EX | LOCK_NB) == 0) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  ::close(lock);
}

}  // namespace

Result<WeightsDirectory> WeightsDirectory::open(const std::string& parent) {
  std::error_code failure;
  for (fs::directory_iterator at(parent, failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string path = at->path().string();
    if (names_one(at->path().filename().string()) && is_mine(path)) {
      remove_if_orphaned(path);
    }
  }
  for (int attempt = 0; attempt < 10; ++attempt) {
    std::string path = parent + "/" + name_begins + "XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return failed("cannot make a folder in " + parent);
    WeightsDirectory made;
    made.path_ = path;
    made.lock_ = ::open((path + lock_name).c_str(),
                        O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (made.lock_ < 0) return failed("cannot make " + path + lock_name);
    struct stat status {};
    // Between the two lines another owner may have taken the folder for an orphan.
    if (::flock(made.lock_, LOCK_EX | LOCK_NB) == 0 && ::fstat(made.lock_, &status) == 0 &&
        status.st_nlink > 0) {
      return made;
    }
  }
  return Error{ErrorKind::unavailable, "cannot keep a folder in " + parent};
}

bool WeightsDirectory::names_one(std::string_view name) {
  return name.size() == std::strlen(name_begins) + 6 && name.starts_with(name_begins);
}

WeightsDirectory::WeightsDirectory(WeightsDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      lock_(std::exchange(other.lock_, -1)),
      next_(other.next_) {}

WeightsDirectory& WeightsDirectory::operator=(WeightsDirectory&& other) noexcept {
  if (this == &other) return *this;
  close();
  path_ = std::exchange(other.path_, {});
  lock_ = std::exchange(other.lock_, -1);
  next_ = other.next_;
  return *this;
}

WeightsDirectory::~WeightsDirectory() {
  close();
}

void WeightsDirectory::close() {
  if (!path_.empty()) remove(path_);
  if (lock_ >= 0) ::close(lock_);
}

Result<std::string> WeightsDirectory::add() {
  std::string folder = path_ + "/" + std::to_string(next_++);
  if (::mkdir(folder.c_str(), 0700) != 0) return failed("cannot make the folder " + folder);
  return folder;
}

void WeightsDirectory::remove(const std::string& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

}  // namespace paretod
