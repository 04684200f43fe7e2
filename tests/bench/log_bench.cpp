// The log's own ceiling: events per second that a given number of producers get through group
// commit on Redis, each waiting for its own event, with nothing else going on.
//   log_bench REDIS_URL PRODUCERS EVENTS BYTES

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

#include "daemon/store/group_commit.hpp"
#include "daemon/store/redis_backend.hpp"

int main(int argc, char** argv) {
  using namespace paretod;
  if (argc != 5) return 2;
  const std::size_t producers = std::strtoull(argv[2], nullptr, 10);
  const std::size_t events = std::strtoull(argv[3], nullptr, 10);
  const std::string event(std::strtoull(argv[4], nullptr, 10), 'x');
  RedisBackendOptions options;
  options.address = parse_redis_url(argv[1]).value();
  auto backend = RedisBackend::connect(std::move(options));
  if (!backend) {
    std::fprintf(stderr, "%s\n", backend.error().text().c_str());
    return 1;
  }
  const auto nonce = std::chrono::steady_clock::now().time_since_epoch().count();
  const std::string job = "log-bench-" + std::to_string(nonce);
  const auto top = (*backend)->create(job, {"owner " + std::to_string(nonce), "created"}).value();

  std::mutex mutex;
  std::condition_variable done;
  std::size_t committed = 0;
  std::size_t appended = 0;
  std::shared_ptr<GroupCommit::Log> log;
  GroupCommit commits(**backend);
  const auto start = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(mutex);
    // Each producer appends its next event when it learns that its last one is durable.
    log = commits.open(job, top, [&](const Result<EventId>& last, std::size_t count) {
      const std::lock_guard inner(mutex);
      if (!last) std::abort();
      committed += count;
      for (; count > 0 && appended < events; --count, ++appended) log->append(event);
      if (committed == events) done.notify_one();
    });
    for (; appended < producers; ++appended) log->append(event);
  }
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return committed == events; });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::printf("%.0f\n", static_cast<double>(events) / elapsed.count());
  return 0;
}
