// The private redis-server: its start, its end, its files, and who may use them.

#include "adapters/redis/embedded_redis.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "adapters/redis/aof_repair.hpp"
#include "adapters/redis/child_process.hpp"
#include "adapters/redis/state_lock.hpp"
#include "daemon/store/group_commit.hpp"
#include "daemon/store/redis_backend.hpp"
#include "tests/support/redis_fixture.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void replace_content(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::unique_ptr<RedisBackend> connect(const EmbeddedRedis& server) {
  RedisBackendOptions options;
  options.address = server.address();
  options.declared_durability = "strict";
  auto backend = RedisBackend::connect(std::move(options));
  if (!backend) throw std::runtime_error(backend.error().message);
  return std::move(*backend);
}

std::vector<std::string> read_all(LogBackend& backend, const std::string& job) {
  std::vector<std::string> events;
  auto top = backend.read(job, {}, [&](EventId, std::string_view e) {
    events.emplace_back(e);
    return true;
  });
  EXPECT_TRUE(top.ok()) << top.error().message;
  return events;
}

class EmbeddedRedisTest : public testing::Test {
 protected:
  EmbeddedRedisOptions options() {
    EmbeddedRedisOptions options;
    options.state_directory = scratch_.path() / "state";
    options.longest_restart_delay = milliseconds(100);
    options.on_message = [this](const std::string& message) {
      const std::lock_guard lock(mutex_);
      messages_ += message + "\n";
    };
    return options;
  }
  Result<std::unique_ptr<EmbeddedRedis>> start() { return EmbeddedRedis::start(options()); }
  /// Of a start that must fail.
  Error refusal(const EmbeddedRedisOptions& of) {
    auto server = EmbeddedRedis::start(of);
    return server ? Error{ErrorKind::internal, "no error"} : server.error();
  }
  std::string messages() {
    const std::lock_guard lock(mutex_);
    return messages_;
  }
  fs::path redis() { return scratch_.path() / "state" / "redis"; }
  fs::path log_file() { return redis() / "appendonlydir" / "appendonly.aof.1.incr.aof"; }

  /// A log "a" of `count` events of one entry each, on stopped files.
  void make_log(std::size_t count) {
    auto server = start();
    ASSERT_TRUE(server.ok()) << server.error().message;
    const auto backend = connect(**server);
    ASSERT_TRUE(backend->create("a", {"1"}).ok());
    for (std::uint64_t i = 2; i <= count; ++i) {
      const Batch batch{"a", {1, i - 1}, {1, i}, {std::to_string(i)}};
      ASSERT_TRUE(backend->write(std::span(&batch, 1)).front().ok());
    }
  }

  test::ScratchDirectory scratch_;

 private:
  std::mutex mutex_;
  std::string messages_;
};

TEST_F(EmbeddedRedisTest, KeepsLogsOverRestarts) {
  {
    auto server = start();
    ASSERT_TRUE(server.ok()) << server.error().message;
    EXPECT_TRUE((*server)->health().ok);
    const auto backend = connect(**server);
    EXPECT_EQ(backend->durability(), "strict");
    ASSERT_TRUE(backend->create("a", {"owner", "created"}).ok());
  }
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_THAT(read_all(*connect(**server), "a"), testing::ElementsAre("owner", "created"));
}

TEST_F(EmbeddedRedisTest, IsPrivate) {
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  const RedisAddress address = (*server)->address();
  struct stat info {};
  ASSERT_EQ(stat(redis().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(address.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);

  RedisAddress anonymous = address;
  anonymous.password.clear();
  auto outsider = RedisConnection::connect(anonymous);
  ASSERT_TRUE(outsider.ok());
  EXPECT_THAT(outsider->command({"PING"})->text, HasSubstr("NOAUTH"));

  auto daemon = RedisConnection::connect(address);
  ASSERT_TRUE(daemon.ok());
  using Words = std::vector<std::string_view>;
  for (const Words& words : {Words{"FLUSHALL"}, Words{"DEL", "pd:x"}, Words{"SHUTDOWN"},
                             Words{"CONFIG", "GET", "dir"}, Words{"EVAL", "return 1", "0"},
                             Words{"XTRIM", "pd:x", "MAXLEN", "0"}, Words{"GET", "other"}}) {
    daemon->append(words);
    EXPECT_THAT(daemon->read()->text, HasSubstr("NOPERM")) << words[0];
  }
  // The password is in no argument and in no environment.
  const std::string proc = "/proc/" + std::to_string((*server)->server_pid());
  EXPECT_THAT(content(proc + "/cmdline"), Not(HasSubstr(address.password)));
  EXPECT_THAT(content(proc + "/environ"), Not(HasSubstr(address.password)));
  EXPECT_THAT(content(proc + "/environ"), Not(HasSubstr("HOME=")));
}

TEST_F(EmbeddedRedisTest, ASecondDaemonIsRefused) {
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  const Error error = refusal(options());
  EXPECT_EQ(error.kind, ErrorKind::conflict);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("in use by paretod process " + std::to_string(getpid())),
                    HasSubstr((scratch_.path() / "state").string())));
  // The first is unharmed, and makes room when it stops.
  EXPECT_TRUE(connect(**server)->create("a", {"owner"}).ok());
  (*server)->stop();
  EXPECT_FALSE((*server)->health().ok);
  EXPECT_TRUE(start().ok());
}

TEST_F(EmbeddedRedisTest, SaysWhatIsMissing) {
  EmbeddedRedisOptions bad = options();
  bad.server_program = "no-such-redis-server";
  EXPECT_THAT(refusal(bad).message, HasSubstr("Debian package redis-server"));

  bad = options();
  bad.check_program = "no-such-redis-check-aof";
  EXPECT_THAT(refusal(bad).message, HasSubstr("Debian package redis-tools"));

  bad = options();
  bad.server_program = (scratch_.path() / "old-redis").string();
  replace_content(bad.server_program, "#!/bin/sh\necho Redis server v=6.0.16 sha=0:0 bits=64\n");
  fs::permissions(bad.server_program, fs::perms::owner_all);
  EXPECT_THAT(refusal(bad).message, AllOf(HasSubstr("6.0"), HasSubstr("7.0 or later")));

  bad = options();
  bad.state_directory = scratch_.path() / std::string(120, 'd');
  EXPECT_THAT(refusal(bad).message, AllOf(HasSubstr("may be at most"), HasSubstr("shorter")));

  bad = options();
  replace_content(scratch_.path() / "file", "");
  bad.state_directory = scratch_.path() / "file";
  EXPECT_THAT(refusal(bad).message, HasSubstr("choose another state directory"));
}

TEST_F(EmbeddedRedisTest, AServerThatCannotStartIsExplained) {
  EmbeddedRedisOptions bad = options();
  bad.server_program = (scratch_.path() / "dying-redis").string();
  replace_content(bad.server_program,
                  "#!/bin/sh\n[ \"$1\" = --version ] && echo Redis server v=7.0.15 && exit 0\n"
                  "echo '1:M # cannot go on'\nexit 3\n");
  fs::permissions(bad.server_program, fs::perms::owner_all);
  EXPECT_THAT(refusal(bad).message, AllOf(HasSubstr("exit status 3"), HasSubstr("cannot go on")));
}

TEST_F(EmbeddedRedisTest, IsRestartedAndFinallyReportsThatItKeepsDying) {
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  const auto backend = connect(**server);
  ASSERT_TRUE(backend->create("a", {"0"}).ok());
  for (std::uint64_t death = 1; death <= 5; ++death) {
    const pid_t pid = (*server)->server_pid();
    ASSERT_GT(pid, 0);
    EXPECT_TRUE((*server)->health().ok);
    kill(pid, SIGKILL);
    const Batch batch{"a", {1, death}, {1, death + 1}, {std::to_string(death)}};
    ASSERT_TRUE(backend->write(std::span(&batch, 1)).front().ok());
    ASSERT_TRUE(test::eventually([&] {
      const pid_t now = (*server)->server_pid();
      return now != 0 && now != pid;
    }));
  }
  EXPECT_THAT(read_all(*backend, "a"), testing::ElementsAre("0", "1", "2", "3", "4", "5"));
  const Health health = (*server)->health();
  EXPECT_FALSE(health.ok);
  EXPECT_THAT(health.reason, AllOf(HasSubstr("died 5 times"), HasSubstr("signal 9")));
  EXPECT_THAT(messages(), HasSubstr("redis-server ended with signal 9"));
}

// ------------------------------------------------------------------ the daemon itself is killed

/// A process of its own that does what a daemon would, and then nothing more.
class OtherDaemon {
 public:
  /// `work` is given a function to call with the id of its server.
  explicit OtherDaemon(const std::function<void(const std::function<void(pid_t)>&)>& work) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
    pid_ = fork();
    if (pid_ == 0) {
      work([&](pid_t server) {
        (void)!::write(ends[1], &server, sizeof server);
        while (true) pause();
      });
      _exit(1);
    }
    close(ends[1]);
    if (::read(ends[0], &server_pid_, sizeof server_pid_) != sizeof server_pid_) server_pid_ = -1;
    close(ends[0]);
  }
  ~OtherDaemon() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] pid_t server_pid() const { return server_pid_; }

 private:
  pid_t pid_ = 0;
  pid_t server_pid_ = 0;
};

TEST_F(EmbeddedRedisTest, TheServerEndsWithAKilledDaemon) {
  make_log(3);
  OtherDaemon other([this](const auto& report) {
    auto server = start();
    if (server) report((*server)->server_pid());
  });
  ASSERT_GT(other.server_pid(), 0);
  EXPECT_THAT(refusal(options()).message,
              HasSubstr("in use by paretod process " + std::to_string(other.pid())));
  other.kill();
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_NE((*server)->server_pid(), other.server_pid());
  EXPECT_THAT(read_all(*connect(**server), "a"), testing::ElementsAre("1", "2", "3"));
}

TEST_F(EmbeddedRedisTest, AServerThatOutlivesItsDaemonIsKilled) {
  const fs::path state = scratch_.path() / "state";
  fs::create_directories(state);
  OtherDaemon other([&](const auto& report) {
    auto lock = StateLock::acquire(state, milliseconds(0), {});
    if (!lock) return;
    ChildOptions stubborn;
    // Its child, too, holds the lock for a second: as a rewrite that Redis has begun.
    stubborn.arguments = {"/bin/sh", "-c", "trap '' TERM; : > \"$0\"; while :; do sleep 1; done",
                          (scratch_.path() / "stubborn").string()};
    stubborn.inherited = lock->descriptor();
    stubborn.ends_with_thread = true;
    auto child = start_child(stubborn);
    if (!child) return;
    lock->record_child(*child);
    test::eventually([&] { return fs::exists(scratch_.path() / "stubborn"); });
    report(*child);
  });
  ASSERT_GT(other.server_pid(), 0);
  other.kill();
  EmbeddedRedisOptions impatient = options();
  impatient.lock_patience = milliseconds(100);
  auto server = EmbeddedRedis::start(impatient);
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_THAT(messages(), HasSubstr("killing the redis-server of an earlier paretod, process " +
                                    std::to_string(other.server_pid())));
}

TEST_F(EmbeddedRedisTest, ALockOfNobodyKnownIsExplained) {
  const fs::path state = scratch_.path() / "state";
  fs::create_directories(state);
  // As another host on a shared file system: the lock is held, its holder is not to be seen.
  const int foreign = open((state / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(flock(foreign, LOCK_EX), 0);
  EmbeddedRedisOptions impatient = options();
  impatient.lock_patience = milliseconds(50);
  const Error error = refusal(impatient);
  EXPECT_EQ(error.kind, ErrorKind::conflict);
  EXPECT_THAT(error.message, HasSubstr("still locked"));
  close(foreign);
}

// ---------------------------------------------------------------------------- damaged files

TEST(TornCommand, IsOneThatEndsTooEarly) {
  const std::string whole = "*3\r\n$4\r\nXADD\r\n$3\r\nkey\r\n$5\r\nhello\r\n";
  for (std::size_t length = 1; length < whole.size(); ++length) {
    EXPECT_TRUE(is_torn_command(whole.substr(0, length))) << length;
    EXPECT_TRUE(is_torn_command(whole.substr(0, length) + std::string(4096, '\0'))) << length;
  }
  EXPECT_TRUE(is_torn_command(std::string(100, '\0')));
  EXPECT_FALSE(is_torn_command(whole));
  EXPECT_FALSE(is_torn_command("X" + whole));
  EXPECT_FALSE(is_torn_command("*3\r\n$4\r\nXADD\r\nX3\r\nkey"));
  EXPECT_FALSE(is_torn_command("*3\r\n$2\r\nXADD\r\n$3\r\nkey"));
  EXPECT_FALSE(is_torn_command("*x"));
  // A length that was damaged swallows what follows, but does not hide it.
  EXPECT_FALSE(is_torn_command("*3\r\n$4\r\nXADD\r\n$3\r\nkey\r\n$5000\r\nhello\r\n" + whole));
}

TEST_F(EmbeddedRedisTest, ATornEndIsCutOffAndKeptAside) {
  make_log(20);
  const std::string bytes = content(log_file());
  replace_content(log_file(), bytes.substr(0, bytes.size() - 5));
  {
    auto server = start();
    ASSERT_TRUE(server.ok()) << server.error().message;
    EXPECT_EQ(read_all(*connect(**server), "a").size(), 19u);
    EXPECT_THAT(messages(), HasSubstr("cut a torn, never acknowledged write"));
    EXPECT_EQ(content(fs::directory_iterator(redis() / "aside")->path()),
              bytes.substr(0, bytes.size() - 5));
  }
  // Once repaired it stays so.
  auto again = start();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(read_all(*connect(**again), "a").size(), 19u);
}

TEST_F(EmbeddedRedisTest, CutAtAnyPlaceItLoadsWhatIsWhole) {
  make_log(30);
  const std::string bytes = content(log_file());
  // Where each event's command ends.
  std::vector<std::size_t> ends;
  for (std::size_t at = bytes.find("XADD"); at != std::string::npos;
       at = bytes.find("XADD", at + 1)) {
    const std::size_t next = bytes.find("\r\n*", at);
    ends.push_back(next == std::string::npos ? bytes.size() : next + 2);
  }
  ASSERT_EQ(ends.size(), 30u);
  const char* const cycles = std::getenv("PARETOD_CHAOS_CYCLES");
  std::mt19937 random(7);
  for (int i = cycles == nullptr ? 10 : std::atoi(cycles); i > 0; --i) {
    const std::size_t cut =
        std::uniform_int_distribution<std::size_t>(ends[0], bytes.size())(random);
    replace_content(log_file(), bytes.substr(0, cut) + std::string(i % 3 == 0 ? 512 : 0, '\0'));
    auto server = start();
    ASSERT_TRUE(server.ok()) << "cut at " << cut << ": " << server.error().message;
    const auto events = read_all(*connect(**server), "a");
    const auto whole = std::upper_bound(ends.begin(), ends.end(), cut) - ends.begin();
    ASSERT_EQ(static_cast<std::ptrdiff_t>(events.size()), whole) << "cut at " << cut;
    for (std::size_t k = 0; k < events.size(); ++k) ASSERT_EQ(events[k], std::to_string(k + 1));
  }
}

TEST_F(EmbeddedRedisTest, ATornEndBeforeAnEmptyNewFileIsCutOff) {
  make_log(5);
  const std::string bytes = content(log_file());
  replace_content(log_file(), bytes.substr(0, bytes.size() - 5));
  // As a rewrite leaves it that was killed when it had just begun.
  replace_content(redis() / "appendonlydir" / "appendonly.aof.2.incr.aof", "");
  std::ofstream(redis() / "appendonlydir" / "appendonly.aof.manifest", std::ios::app)
      << "file appendonly.aof.2.incr.aof seq 2 type i\n";
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_EQ(read_all(*connect(**server), "a").size(), 4u);
}

TEST_F(EmbeddedRedisTest, ADamagedMiddleIsRefusedAndLeftAlone) {
  make_log(20);
  const std::string bytes = content(log_file());
  const std::size_t middle = bytes.find("$4\r\nXADD", bytes.size() / 2);
  std::string wrong_mark = bytes;
  wrong_mark[middle] = '#';
  std::string swallowing = bytes;
  swallowing.replace(middle, 2, "$4000");
  for (const std::string& damaged : {wrong_mark, swallowing}) {
    replace_content(log_file(), damaged);
    for (int attempt = 0; attempt < 2; ++attempt) {
      const Error error = refusal(options());
      EXPECT_EQ(error.kind, ErrorKind::corrupt);
      EXPECT_THAT(error.message, AllOf(HasSubstr(log_file().string()), HasSubstr("is damaged"),
                                       HasSubstr("A copy is at")));
      EXPECT_EQ(content(log_file()), damaged);
    }
  }
  // What the message advises when a backup is at hand.
  replace_content(log_file(), bytes);
  auto server = start();
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_EQ(read_all(*connect(**server), "a").size(), 20u);
}

TEST_F(EmbeddedRedisTest, AMissingManifestIsRefused) {
  make_log(3);
  fs::remove(redis() / "appendonlydir" / "appendonly.aof.manifest");
  const Error error = refusal(options());
  EXPECT_EQ(error.kind, ErrorKind::corrupt);
  EXPECT_THAT(error.message, HasSubstr("no manifest"));
}

TEST_F(EmbeddedRedisTest, LeftoversOfRewritesAreRemoved) {
  make_log(3);
  replace_content(redis() / "temp-rewriteaof-bg-123.aof", "x");
  ASSERT_TRUE(start().ok());
  EXPECT_FALSE(fs::exists(redis() / "temp-rewriteaof-bg-123.aof"));
}

// ---------------------------------------------------------------------------------- disk full

TEST_F(EmbeddedRedisTest, AFullDiskDelaysButLosesNothing) {
  const fs::path state = scratch_.path() / "state";
  fs::create_directories(state);
  if (mount("tmpfs", state.c_str(), "tmpfs", 0, "size=4m") != 0) {
    GTEST_SKIP() << "needs the right to mount a small file system";
  }
  {
    auto server = start();
    ASSERT_TRUE(server.ok()) << server.error().message;
    const auto backend = connect(**server);
    ASSERT_TRUE(backend->create("a", {"owner"}).ok());
    const fs::path ballast = state / "ballast";
    {
      std::ofstream out(ballast, std::ios::binary);
      const std::string block(4096, 'b');
      while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
      }
    }
    std::atomic<std::size_t> committed = 0;
    constexpr std::size_t count = 200;
    {
      GroupCommit group(*backend);
      const auto log =
          group.open("a", {1, 1}, [&](const Result<EventId>& last, std::size_t events) {
            EXPECT_TRUE(last.ok());
            committed += events;
          });
      for (std::size_t i = 0; i < count; ++i)
        log->append(std::to_string(i) + std::string(400, 'x'));
      ASSERT_TRUE(
          test::eventually([&] { return !backend->health().ok && !(*server)->health().ok; }));
      fs::remove(ballast);
      ASSERT_TRUE(test::eventually([&] { return committed == count; }));
    }
    const auto events = read_all(*backend, "a");
    ASSERT_EQ(events.size(), count + 1);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(events[i + 1], std::to_string(i) + std::string(400, 'x'));
    }
  }
  umount(state.c_str());
}

}  // namespace
}  // namespace paretod
