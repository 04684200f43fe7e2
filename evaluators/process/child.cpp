#include "evaluators/process/child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace paretod {
namespace {

struct Pipe {
  FileDescriptor read;
  FileDescriptor write;
};

/// The standard numbers stay free, so that the child's dup2 calls cannot clobber one another even
/// when the daemon itself runs with a closed stream.
FileDescriptor above_standard(int fd) {
  if (fd > STDERR_FILENO) return FileDescriptor(fd);
  const FileDescriptor low(fd);
  return FileDescriptor(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

std::optional<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  Pipe pipe{above_standard(ends[0]), above_standard(ends[1])};
  if (pipe.read.get() < 0 || pipe.write.get() < 0) return {};
  return pipe;
}

bool make_non_blocking(const FileDescriptor& fd) {
  return fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK) == 0;
}

/// posix_spawn's two option objects, destroyed together.
class SpawnOptions {
 public:
  SpawnOptions() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
  ~SpawnOptions() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }

  /// 0 or an error number.
  int set(const std::string& directory, int in, int out, int err) {
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    int error = 0;
    const auto step = [&error](int result) {
      if (error == 0) error = result;
    };
    step(posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK));
    step(posix_spawnattr_setpgroup(&attributes_, 0));
    step(posix_spawnattr_setsigdefault(&attributes_, &all));
    step(posix_spawnattr_setsigmask(&attributes_, &none));
    step(posix_spawn_file_actions_adddup2(&actions_, in, STDIN_FILENO));
    step(posix_spawn_file_actions_adddup2(&actions_, out, STDOUT_FILENO));
    step(posix_spawn_file_actions_adddup2(&actions_, err, STDERR_FILENO));
    // Another library of the daemon may have opened something without CLOEXEC.
    step(posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1));
    if (!directory.empty()) {
      step(posix_spawn_file_actions_addchdir_np(&actions_, directory.c_str()));
    }
    return error;
  }

  [[nodiscard]] const posix_spawn_file_actions_t* actions() const { return &actions_; }
  [[nodiscard]] const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string error_text(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof buffer);
}

Error system_failure(const char* what) {
  return {ErrorKind::unavailable, std::string(what) + ": " + error_text(errno)};
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn(const ChildCommand& command) {
  auto in = make_pipe();
  auto out = make_pipe();
  auto err = make_pipe();
  if (!in || !out || !err) return system_failure("no pipe for the process");
  if (!make_non_blocking(in->write) || !make_non_blocking(out->read) ||
      !make_non_blocking(err->read)) {
    return system_failure("no pipe for the process");
  }
  SpawnOptions options;
  int error = options.set(command.directory, in->read.get(), out->write.get(), err->write.get());
  pid_t pid = -1;
  if (error == 0) {
    const auto argv = pointers_to(command.argv);
    const auto environment = pointers_to(command.environment);
    error = posix_spawnp(&pid, argv[0], options.actions(), options.attributes(), argv.data(),
                         environment.data());
  }
  if (error != 0) {
    return invalid("cannot start \"" + command.argv[0] + "\": " + error_text(error) +
                   (command.directory.empty() ? "" : " (in " + command.directory + ")"));
  }
  // By number: the header of glibc 2.36 declares pidfd_open as a C++ function.
  FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int unlimited = apply_limits(pid, command.limits);
  if (pidfd.get() < 0 || unlimited != 0) {
    if (unlimited != 0) errno = unlimited;
    Error failure = system_failure(unlimited != 0 ? "cannot set the limits of the process"
                                                  : "cannot watch the process");
    kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return failure;
  }
  return ChildProcess(std::move(in->write), std::move(out->read), std::move(err->read),
                      std::move(pidfd), pid);
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  signal_group(SIGKILL);
  waitpid(pid_, nullptr, WNOHANG);
}

void ChildProcess::signal_group(int signal) const {
  if (pid_ > 0) kill(-pid_, signal);
}

std::string ChildProcess::reap() {
  signal_group(SIGKILL);
  int status = 0;
  const pid_t waited = waitpid(pid_, &status, 0);
  const pid_t pid = std::exchange(pid_, -1);
  if (waited != pid) return "ended in a way that was not seen";
  if (WIFEXITED(status)) return "exited with status " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  const char* name = sigdescr_np(signal);
  return "was killed by signal " + std::to_string(signal) +
         (name == nullptr ? "" : " (" + std::string(name) + ")");
}

}  // namespace paretod
