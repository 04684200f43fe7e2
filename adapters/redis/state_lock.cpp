#include "adapters/redis/state_lock.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>

#include "adapters/redis/child_process.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// A process id may be used again, together with its start time it is unique.
struct Process {
  pid_t pid = 0;
  unsigned long long start = 0;

  [[nodiscard]] bool alive() const { return pid > 0 && process_start_time(pid) == start; }
};

struct Holders {
  Process daemon;
  Process child;
};

Holders read_holders(int descriptor) {
  std::array<char, 256> text{};
  const ssize_t n = pread(descriptor, text.data(), text.size() - 1, 0);
  std::istringstream in(n > 0 ? text.data() : "");
  std::string word;
  Holders holders;
  in >> word >> holders.daemon.pid >> holders.daemon.start;
  in >> word >> holders.child.pid >> holders.child.start;
  return holders;
}

void write_holders(int descriptor, pid_t child) {
  const auto line = [](const char* name, pid_t pid) {
    const auto start = pid > 0 ? process_start_time(pid) : std::nullopt;
    return std::string(name) + " " + std::to_string(pid) + " " + std::to_string(start.value_or(0)) +
           "\n";
  };
  const std::string text = line("paretod", getpid()) + line("redis-server", child);
  // Only for people and for the next daemon's patience: what it says is always checked.
  if (pwrite(descriptor, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())) {
    (void)!ftruncate(descriptor, static_cast<off_t>(text.size()));
  }
}

/// Kills exactly this process: its id cannot be used again while the descriptor is open.
void kill_process(const Process& process) {
  const int pidfd = open_process(process.pid);
  if (pidfd < 0) return;
  if (process.alive()) signal_process(pidfd, SIGKILL);
  close(pidfd);
}

}  // namespace

Result<StateLock> StateLock::acquire(const std::filesystem::path& directory, milliseconds patience,
                                     const std::function<void(const std::string&)>& on_message) {
  const std::string path = (directory / "lock").string();
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    return Error{ErrorKind::denied, "cannot open " + path + ": " +
                                        std::generic_category().message(errno) +
                                        "; the state directory must be writable by paretod's user"};
  }
  StateLock lock(descriptor);
  // An orphaned rewrite child of the killed server may hold the lock a little longer.
  constexpr milliseconds after_kill{10'000};
  auto deadline = Clock::now() + patience;
  bool waited = false;
  bool killed = false;
  while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return Error{ErrorKind::unavailable,
                   "cannot lock " + path + ": " + std::generic_category().message(errno)};
    }
    const Holders holders = read_holders(descriptor);
    if (holders.daemon.alive()) {
      return Error{ErrorKind::conflict, "state directory " + directory.string() +
                                            " is in use by paretod process " +
                                            std::to_string(holders.daemon.pid) +
                                            "; stop that one, or choose another state directory"};
    }
    if (!waited && on_message) {
      on_message("waiting for the redis-server of an earlier paretod (process " +
                 std::to_string(holders.child.pid) + ") to end");
    }
    waited = true;
    if (Clock::now() >= deadline) {
      if (killed || !holders.child.alive()) {
        return Error{ErrorKind::conflict,
                     "state directory " + directory.string() +
                         " is still locked although process " + std::to_string(holders.daemon.pid) +
                         ", which locked it, is gone; find who holds " + path + " with fuser"};
      }
      if (on_message) {
        on_message("killing the redis-server of an earlier paretod, process " +
                   std::to_string(holders.child.pid));
      }
      kill_process(holders.child);
      killed = true;
      deadline = Clock::now() + after_kill;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  write_holders(descriptor, 0);
  return lock;
}

StateLock::~StateLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

void StateLock::record_child(pid_t child) const {
  write_holders(descriptor_, child);
}

}  // namespace paretod
