#include "adapters/redis/embedded_redis.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "adapters/redis/aof_repair.hpp"
#include "adapters/redis/child_process.hpp"
#include "adapters/redis/redis_connection.hpp"
#include "adapters/redis/redis_refusal.hpp"
#include "adapters/redis/state_lock.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* user_name = "paretod";
constexpr std::size_t too_many_deaths = 5;
constexpr std::chrono::minutes death_window{10};
constexpr milliseconds first_restart_delay{100};
/// A server that ran this long died of something new.
constexpr milliseconds settled{30'000};
constexpr milliseconds stop_patience{10'000};
constexpr milliseconds housekeeping_interval{60'000};

/// Owns a descriptor.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void reset() {
    if (number_ >= 0) close(std::exchange(number_, -1));
  }
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

std::string random_password() {
  std::array<unsigned char, 32> bytes{};
  // Fails only for sizes above 256 bytes or bad pointers.
  (void)getrandom(bytes.data(), bytes.size(), 0);
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::uint64_t default_memory() {
  const auto pages = static_cast<std::uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 1L));
  const auto page = static_cast<std::uint64_t>(std::max(sysconf(_SC_PAGESIZE), 1L));
  return std::min<std::uint64_t>(pages * page / 4, std::uint64_t{4} << 30);
}

/// The most telling of the last lines of the server's log: the last warning, or the last line.
std::string last_words(const fs::path& log) {
  std::ifstream in(log, std::ios::binary);
  in.seekg(0, std::ios::end);
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(size - 4096, 0));
  std::string last;
  std::string warning;
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    last = line;
    if (line.find(" # ") != std::string::npos) warning = line;
  }
  return warning.empty() ? last : warning;
}

/// Bytes of "MemAvailable" of the machine, and of what `pid` has in memory.
std::optional<std::pair<std::uint64_t, std::uint64_t>> memory_left_and_used(pid_t pid) {
  std::ifstream machine("/proc/meminfo");
  std::uint64_t available = 0;
  for (std::string line; std::getline(machine, line);) {
    unsigned long long kilobytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kilobytes) == 1) {
      available = kilobytes * 1024;
    }
  }
  std::ifstream process("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  if (available == 0 || !(process >> total >> resident)) return std::nullopt;
  return std::pair(available, resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
}

/// Redis replaces dump.rdb once an hour; a second name keeps the one before.
void keep_previous_dump(const fs::path& directory) {
  std::error_code ignored;
  const fs::path dump = directory / "dump.rdb";
  if (fs::hard_link_count(dump, ignored) != 1 || ignored) return;
  const fs::path held = directory / "dump.held.rdb";
  fs::rename(held, directory / "dump.previous.rdb", ignored);
  fs::create_hard_link(dump, held, ignored);
}

Result<void> check_program_version(const std::string& path) {
  auto told = run_program({path, "--version"});
  if (!told) return told.error();
  int major = 0;
  int minor = 0;
  const std::size_t at = told->output.find("v=");
  if (at == std::string::npos ||
      std::sscanf(told->output.c_str() + at, "v=%d.%d", &major, &minor) != 2) {
    return invalid(path +
                   " does not tell its version, so it is not a redis-server; install the "
                   "Debian package redis-server");
  }
  // The manifest of append-only files and shutdown-on-sigterm came with 7.0.
  if (major >= 7) return {};
  return invalid(path + " is version " + std::to_string(major) + "." + std::to_string(minor) +
                 ", and paretod needs 7.0 or later: install the package redis-server of Debian 12 "
                 "or later, or give paretod the URL of a Redis (6.2 or later)");
}

Error no_program(const std::string& program, const std::string& package) {
  return Error{ErrorKind::not_found, program + " is not installed: install the Debian package " +
                                         package + ", or give paretod the URL of a Redis"};
}

Result<void> make_private_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    error.assign(errno, std::generic_category());
  } else if (!error) {
    fs::permissions(path, fs::perms::owner_all, error);
  }
  if (!error) return {};
  return Error{ErrorKind::denied, "cannot make the directory " + path.string() + ": " +
                                      error.message() + "; choose another state directory"};
}

}  // namespace

/// Everything, behind a thread.  Before run() and after the thread only the owner touches it.
class EmbeddedRedis::Watcher {
 public:
  Watcher(EmbeddedRedisOptions options, StateLock lock)
      : options_(std::move(options)),
        directory_(options_.state_directory / "redis"),
        lock_(std::move(lock)),
        stop_event_(eventfd(0, EFD_CLOEXEC)) {
    address_.path = (directory_ / "socket").string();
    address_.user = user_name;
    address_.password = random_password();
  }
  ~Watcher() { stop(); }

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  /// Until the server answers.
  Result<void> wait_until_ready();
  void stop();

  [[nodiscard]] RedisAddress address() const { return address_; }
  [[nodiscard]] Health health() const;
  [[nodiscard]] pid_t pid() const {
    const std::lock_guard lock(mutex_);
    return pid_;
  }

 private:
  [[nodiscard]] fs::path log_path() const { return directory_ / "redis.log"; }
  [[nodiscard]] std::string configuration() const;
  void say(const std::string& message) const {
    if (options_.on_message) options_.on_message(message);
  }
  Result<pid_t> launch();
  void run();
  /// The server's exit status, or nothing when it was ended because of stop().
  std::optional<int> watch(pid_t pid);
  int terminate(pid_t pid, int pidfd);
  void keep_house(pid_t pid);
  /// False when stopping.
  bool sleep(milliseconds duration);

  const EmbeddedRedisOptions options_;
  const fs::path directory_;
  std::optional<StateLock> lock_;
  Descriptor stop_event_;
  RedisAddress address_;
  std::thread thread_;
  bool warned_of_memory_ = false;  ///< of the thread

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  pid_t pid_ = 0;
  std::deque<Clock::time_point> deaths_;
  std::optional<Error> trouble_;  ///< why it is not running, or why it last died
};

std::string EmbeddedRedis::Watcher::configuration() const {
  const std::uint64_t memory = options_.max_memory != 0 ? options_.max_memory : default_memory();
  std::ostringstream out;
  out << "port 0\n"
      << "unixsocket " << quoted(address_.path) << "\n"
      << "unixsocketperm 700\n"
      << "dir " << quoted(directory_.string()) << "\n"
      << "daemonize no\n"
      << "databases 1\n"
      << "appendonly yes\n"
      << "appendfsync always\n"
      << "no-appendfsync-on-rewrite no\n"
      // What aof_repair let pass is whole: Redis itself must not cut anything off.
      << "aof-load-truncated no\n"
      // An hourly copy beside the append-only file; its failure must not stop writes.
      << "save 3600 1\n"
      << "stop-writes-on-bgsave-error no\n"
      << "shutdown-on-sigterm nosave now\n"
      << "maxmemory " << memory << "\n"
      << "maxmemory-policy noeviction\n"
      << "enable-debug-command no\n"
      << "enable-module-command no\n"
      << "enable-protected-configs no\n"
      << "user default off -@all\n"
      << "user " << user_name << " on >" << address_.password << " resetchannels -@all "
      << redis_acl_rules(options_.prefix) << "\n";
  return out.str();
}

Result<pid_t> EmbeddedRedis::Watcher::launch() {
  auto repaired = repair_append_only_files(directory_, find_program(options_.check_program));
  if (!repaired) return repaired.error();
  if (!repaired->empty()) say(*repaired);

  std::error_code ignored;
  if (fs::file_size(log_path(), ignored) > 1024 * 1024 && !ignored) {
    fs::rename(log_path(), log_path().string() + ".1", ignored);
  }
  const Descriptor log(open(log_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::array<int, 2> ends{};
  if (log.get() < 0 || pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Error{ErrorKind::unavailable, "cannot start redis-server in " + directory_.string() +
                                             ": " + std::generic_category().message(errno)};
  }
  const Descriptor reading(ends[0]);
  Descriptor writing(ends[1]);
  // Through a pipe, because arguments and files can be read by others.  It fits into its buffer.
  const std::string text = configuration();
  if (write(writing.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Error{ErrorKind::unavailable, "cannot hand redis-server its configuration"};
  }
  writing.reset();

  ChildOptions child;
  child.arguments = {find_program(options_.server_program), "-"};
  child.input = reading.get();
  child.output = log.get();
  child.inherited = lock_->descriptor();
  child.ends_with_thread = true;
  if (child.arguments[0].empty()) return no_program(options_.server_program, "redis-server");
  auto pid = start_child(child);
  if (pid) lock_->record_child(*pid);
  return pid;
}

void EmbeddedRedis::Watcher::run() {
  milliseconds delay = first_restart_delay;
  while (true) {
    const auto started = Clock::now();
    auto pid = launch();
    std::optional<Error> trouble;
    if (pid) {
      {
        const std::lock_guard lock(mutex_);
        pid_ = *pid;
      }
      changed_.notify_all();
      const auto status = watch(*pid);
      lock_->record_child(0);
      if (!status) return;
      trouble = Error{ErrorKind::unavailable, "redis-server ended with " + describe_exit(*status) +
                                                  "; its last words in " + log_path().string() +
                                                  ": " + last_words(log_path())};
    } else {
      trouble = pid.error();
    }
    {
      const std::lock_guard lock(mutex_);
      pid_ = 0;
      trouble_ = trouble;
      deaths_.push_back(Clock::now());
      while (deaths_.size() > too_many_deaths) deaths_.pop_front();
    }
    changed_.notify_all();
    say(trouble->message);
    if (Clock::now() - started > settled) delay = first_restart_delay;
    // Damage does not heal: only a person can help, and then restarts the daemon.
    const bool hopeless = trouble->kind == ErrorKind::corrupt;
    if (!sleep(hopeless ? milliseconds::max() : delay)) return;
    delay = std::min(delay * 2, options_.longest_restart_delay);
  }
}

std::optional<int> EmbeddedRedis::Watcher::watch(pid_t pid) {
  const Descriptor pidfd(open_process(pid));
  auto housekeeping = Clock::now();
  while (true) {
    if (Clock::now() >= housekeeping) {
      keep_house(pid);
      housekeeping = Clock::now() + housekeeping_interval;
    }
    std::array<pollfd, 2> polled = {{{pidfd.get(), POLLIN, 0}, {stop_event_.get(), POLLIN, 0}}};
    poll(polled.data(), polled.size(), static_cast<int>(housekeeping_interval.count()));
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) == pid) return status;
    if (polled[1].revents != 0) {
      terminate(pid, pidfd.get());
      return std::nullopt;
    }
  }
}

int EmbeddedRedis::Watcher::terminate(pid_t pid, int pidfd) {
  kill(pid, SIGTERM);
  pollfd polled{pidfd, POLLIN, 0};
  const auto deadline = Clock::now() + stop_patience;
  int ready = 0;
  while (ready <= 0 && Clock::now() < deadline) ready = poll(&polled, 1, 100);
  if (ready <= 0) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

void EmbeddedRedis::Watcher::keep_house(pid_t pid) {
  keep_previous_dump(directory_);
  const auto memory = memory_left_and_used(pid);
  const bool scarce = memory && memory->first < memory->second;
  if (scarce && !warned_of_memory_) {
    say("redis-server uses " + std::to_string(memory->second >> 20) + " MiB and only " +
        std::to_string(memory->first >> 20) +
        " MiB are left: rewriting its append-only file may run out of memory");
  }
  warned_of_memory_ = scarce;
}

bool EmbeddedRedis::Watcher::sleep(milliseconds duration) {
  std::unique_lock lock(mutex_);
  const auto stopping = [this] { return stopping_; };
  if (duration == milliseconds::max()) {
    changed_.wait(lock, stopping);
    return false;
  }
  return !changed_.wait_for(lock, duration, stopping);
}

Result<void> EmbeddedRedis::Watcher::wait_until_ready() {
  const auto deadline = Clock::now() + options_.loading_patience;
  std::string told;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return pid_ != 0 || trouble_; });
      // Whatever ends the very first start is told to who asked for it.
      if (trouble_) return *trouble_;
    }
    std::string why = "it does not listen";
    auto connection = RedisConnection::connect(address_);
    if (connection) {
      auto reply = connection->command({"PING"});
      if (reply && !reply->is_error()) return {};
      why = reply ? reply->text : reply.error().message;
      if (reply && why != told) say("waiting for redis-server: " + (told = why));
    } else if (connection.error().kind == ErrorKind::denied) {
      return connection.error();
    }
    if (Clock::now() >= deadline) {
      return Error{ErrorKind::unavailable, "redis-server was not ready in time: " + why};
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, milliseconds(10), [this] { return trouble_.has_value(); });
  }
}

void EmbeddedRedis::Watcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  const std::uint64_t one = 1;
  (void)!write(stop_event_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(mutex_);
  pid_ = 0;
  lock_.reset();
}

Health EmbeddedRedis::Watcher::health() const {
  const std::lock_guard lock(mutex_);
  if (stopping_) return {false, "redis-server has been stopped"};
  if (pid_ == 0) {
    const bool hopeless = trouble_ && trouble_->kind == ErrorKind::corrupt;
    return {false,
            (hopeless ? "redis-server cannot be started: " : "redis-server is being restarted: ") +
                (trouble_ ? trouble_->message : std::string("it has not run yet"))};
  }
  if (deaths_.size() >= too_many_deaths && Clock::now() - deaths_.front() < death_window) {
    return {false, "redis-server died " + std::to_string(too_many_deaths) +
                       " times within 10 minutes; the last time: " + trouble_->message};
  }
  return {};
}

EmbeddedRedis::EmbeddedRedis(std::unique_ptr<Watcher> watcher) : watcher_(std::move(watcher)) {}
EmbeddedRedis::~EmbeddedRedis() = default;

Result<std::unique_ptr<EmbeddedRedis>> EmbeddedRedis::start(EmbeddedRedisOptions options) {
  std::error_code error;
  options.state_directory = fs::absolute(options.state_directory, error).lexically_normal();
  const std::string path = options.state_directory.string();
  if (path.find('\n') != std::string::npos) return invalid("the state directory holds a line end");
  constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path) - 1;
  const std::string socket_path = (options.state_directory / "redis" / "socket").string();
  if (socket_path.size() > longest_path) {
    return invalid("the path of the state directory, " + path + ", is " +
                   std::to_string(path.size()) + " bytes long and may be at most " +
                   std::to_string(path.size() + longest_path - socket_path.size()) +
                   ", because of the unix socket in it; choose a shorter one");
  }
  const std::string server = find_program(options.server_program);
  if (server.empty()) return no_program(options.server_program, "redis-server");
  if (find_program(options.check_program).empty()) {
    return no_program(options.check_program, "redis-tools");
  }
  if (auto fit = check_program_version(server); !fit) return fit.error();
  fs::create_directories(options.state_directory, error);
  if (auto made = make_private_directory(options.state_directory / "redis"); !made) {
    return made.error();
  }
  auto lock =
      StateLock::acquire(options.state_directory, options.lock_patience, options.on_message);
  if (!lock) return lock.error();

  auto watcher = std::make_unique<Watcher>(std::move(options), std::move(*lock));
  watcher->start();
  if (auto ready = watcher->wait_until_ready(); !ready) return ready.error();
  return std::unique_ptr<EmbeddedRedis>(new EmbeddedRedis(std::move(watcher)));
}

RedisAddress EmbeddedRedis::address() const {
  return watcher_->address();
}
Health EmbeddedRedis::health() const {
  return watcher_->health();
}
pid_t EmbeddedRedis::server_pid() const {
  return watcher_->pid();
}
void EmbeddedRedis::stop() {
  watcher_->stop();
}

}  // namespace paretod
