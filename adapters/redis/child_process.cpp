#include "adapters/redis/child_process.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

namespace paretod {
namespace {

Error system_error(const std::string& what, int code) {
  return Error{ErrorKind::unavailable, what + ": " + std::generic_category().message(code)};
}

/// Runs between fork and exec in a process of many threads: only async-signal-safe calls, no
/// allocation.  Descriptors are first moved out of the way of 0 to 3, then put in place.
[[noreturn]] void become(const ChildOptions& options, char* const* arguments,
                         char* const* environment, pid_t parent, int report) {
  const auto give_up = [report] {
    const int code = errno;
    (void)!write(report, &code, sizeof code);
    _exit(127);
  };
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  setpgid(0, 0);
  if (options.ends_with_thread) {
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) give_up();
    if (getppid() != parent) _exit(127);
  }
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  const int input = fcntl(options.input >= 0 ? options.input : null, F_DUPFD_CLOEXEC, 10);
  const int output = fcntl(options.output >= 0 ? options.output : null, F_DUPFD_CLOEXEC, 10);
  const int inherited =
      fcntl(options.inherited >= 0 ? options.inherited : null, F_DUPFD_CLOEXEC, 10);
  const int reporting = fcntl(report, F_DUPFD_CLOEXEC, 10);
  if (null < 0 || input < 0 || output < 0 || inherited < 0 || reporting < 0) give_up();
  report = reporting;
  if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) give_up();
  if (dup2(inherited, 3) < 0) give_up();
  close_range(4, ~0U, CLOSE_RANGE_CLOEXEC);
  execve(arguments[0], arguments, environment);
  give_up();
  _exit(127);
}

}  // namespace

std::string find_program(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    return access(program.c_str(), X_OK) == 0 ? program : std::string();
  }
  const char* const path = std::getenv("PATH");
  std::istringstream folders((path == nullptr ? std::string() : std::string(path) + ":") +
                             "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + program;
    if (folder.starts_with('/') && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

Result<pid_t> start_child(const ChildOptions& options) {
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::array<std::string, 2> variables = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"};
  std::array<char*, 3> environment = {variables[0].data(), variables[1].data(), nullptr};

  std::array<int, 2> report{};
  if (pipe2(report.data(), O_CLOEXEC) != 0) return system_error("cannot make a pipe", errno);
  const pid_t parent = getpid();
  const pid_t child = fork();
  const int fork_error = errno;
  if (child == 0) become(options, arguments.data(), environment.data(), parent, report[1]);
  close(report[1]);
  int code = 0;
  ssize_t got = 0;
  if (child > 0) {
    // A successful exec closes the pipe.
    do {
      got = read(report[0], &code, sizeof code);
    } while (got < 0 && errno == EINTR);
  }
  close(report[0]);
  if (child < 0) return system_error("cannot start " + options.arguments[0], fork_error);
  if (got > 0) {
    waitpid(child, nullptr, 0);
    return system_error("cannot start " + options.arguments[0], code);
  }
  return child;
}

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    const char* const name = sigdescr_np(number);
    return "signal " + std::to_string(number) + " (" + (name == nullptr ? "?" : name) + ")";
  }
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

Result<ProgramResult> run_program(std::vector<std::string> arguments, std::string_view input) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (pipe2(in.data(), O_CLOEXEC) != 0) return system_error("cannot make a pipe", errno);
  if (pipe2(out.data(), O_CLOEXEC) != 0) {
    const int code = errno;
    close(in[0]);
    close(in[1]);
    return system_error("cannot make a pipe", code);
  }
  // Fits into the pipe, so it cannot block, and no reader is needed yet.
  const bool fed = write(in[1], input.data(), input.size()) == static_cast<ssize_t>(input.size());
  close(in[1]);
  ChildOptions options;
  options.arguments = std::move(arguments);
  options.input = in[0];
  options.output = out[1];
  const auto child =
      fed ? start_child(options)
          : Result<pid_t>(system_error("cannot feed " + options.arguments[0], errno));
  close(in[0]);
  close(out[1]);
  ProgramResult result;
  std::array<char, 4096> buffer;
  while (child) {
    const ssize_t n = read(out[0], buffer.data(), buffer.size());
    if (n > 0) {
      result.output.append(buffer.data(), static_cast<std::size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  close(out[0]);
  if (!child) return child.error();
  while (waitpid(*child, &result.status, 0) < 0 && errno == EINTR) {
  }
  return result;
}

// As plain system calls: the functions of glibc 2.36 are declared without C linkage.
int open_process(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

void signal_process(int descriptor, int signal) {
  syscall(SYS_pidfd_send_signal, descriptor, signal, nullptr, 0);
}

std::optional<unsigned long long> process_start_time(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The second field, the name in parentheses, may itself hold spaces; the 22nd is wanted.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  std::string state;
  fields >> state;
  // A zombie has ended; only its parent has not looked yet.
  if (state == "Z" || state == "X") return std::nullopt;
  for (int i = 4; i <= 21; ++i) fields >> field;
  unsigned long long start = 0;
  if (!(fields >> start)) return std::nullopt;
  return start;
}

}  // namespace paretod
