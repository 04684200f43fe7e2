// How late events reach many clients at once: opens CLIENTS event streams of one job, reads them
// all on one thread, and prints one line of JSON when every stream has ended or SECONDS are over.
//   sse_bench HOST PORT JOB CLIENTS SECONDS
// An event's delay is from its own `time` (when the daemon appended it) to when its text was read
// here; both are clocks of this machine, to the millisecond.  A client is whole if its ids leave
// no gap and it saw the end of the job.  Exits with 1 if a stream cannot be opened.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Id = std::pair<std::uint64_t, std::uint64_t>;  ///< epoch and number

struct Client {
  int fd = -1;
  std::string buffer;
  bool in_body = false;
  bool refused = false;
  bool gap = false;
  bool finished = false;
  std::optional<Id> last;

  bool whole() const { return last && finished && !gap && !refused; }
};

double now_ms() {
  using std::chrono::system_clock;
  return std::chrono::duration<double, std::milli>(system_clock::now().time_since_epoch()).count();
}

std::optional<Id> parse_id(std::string_view text) {
  Id id;
  const char* const end = text.data() + text.size();
  const auto epoch = std::from_chars(text.data(), end, id.first);
  if (epoch.ec != std::errc() || epoch.ptr == end || *epoch.ptr != '-') return std::nullopt;
  const auto number = std::from_chars(epoch.ptr + 1, end, id.second);
  if (number.ec != std::errc() || number.ptr != end) return std::nullopt;
  return id;
}

/// Events are numbered from 1 within an epoch (docs/log-format.md).
bool follows(const Id& before, const Id& id) {
  if (id.first == before.first) return id.second == before.second + 1;
  return id.first > before.first && id.second == 1;
}

/// Milliseconds since 1970 of "2026-01-31T12:34:56.789Z".
double parse_time_ms(const std::string& text) {
  std::tm parts{};
  int ms = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d.%dZ", &parts.tm_year, &parts.tm_mon,
                  &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &ms) != 7) {
    std::fprintf(stderr, "an event's time is \"%s\"\n", text.c_str());
    std::exit(1);
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return 1000.0 * static_cast<double>(timegm(&parts)) + ms;
}

class Bench {
 public:
  Bench(sockaddr_in address, std::string request)
      : address_(address), request_(std::move(request)) {}

  bool open(std::size_t count) {
    clients_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      Client& client = clients_[i];
      client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const auto* const to = reinterpret_cast<const sockaddr*>(&address_);
      if (client.fd < 0 || connect(client.fd, to, sizeof address_) != 0 ||
          send(client.fd, request_.data(), request_.size(), MSG_NOSIGNAL) !=
              static_cast<ssize_t>(request_.size())) {
        std::perror("cannot open a stream");
        return false;
      }
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = i;
      epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event);
      ++open_;
      // Those that are open already must not wait for the others.
      read_ready(0);
    }
    return true;
  }

  void run(double seconds) {
    const double end = now_ms() + 1000 * seconds;
    while (open_ > 0 && now_ms() < end) read_ready(100);
  }

  void print() {
    std::sort(delays_.begin(), delays_.end());
    std::size_t whole = 0;
    std::size_t refused = 0;
    for (const Client& client : clients_) {
      whole += client.whole() ? 1 : 0;
      refused += client.refused ? 1 : 0;
    }
    nlohmann::ordered_json report{{"clients", clients_.size()}, {"whole", whole},
                                  {"refused", refused},         {"unfinished", open_},
                                  {"events", delays_.size()},   {"p50_ms", nullptr},
                                  {"p99_ms", nullptr},          {"max_ms", nullptr}};
    if (!delays_.empty()) {
      report["p50_ms"] = delays_[delays_.size() / 2];
      report["p99_ms"] = delays_[delays_.size() * 99 / 100];
      report["max_ms"] = delays_.back();
    }
    std::printf("%s\n", report.dump().c_str());
  }

  bool any_refused() const {
    return std::any_of(clients_.begin(), clients_.end(), [](const Client& c) { return c.refused; });
  }

 private:
  void read_ready(int timeout_ms) {
    epoll_event ready[64];
    const int count = epoll_wait(epoll_, ready, 64, timeout_ms);
    for (int i = 0; i < count; ++i) read(clients_[ready[i].data.u64]);
  }

  void read(Client& client) {
    char bytes[64 * 1024];
    const ssize_t got = recv(client.fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) {
      close(client.fd);
      --open_;
      return;
    }
    const double now = now_ms();
    client.buffer.append(bytes, static_cast<std::size_t>(got));
    std::size_t start = 0;
    if (!client.in_body) {
      const std::size_t head = client.buffer.find("\r\n\r\n");
      if (head == std::string::npos) return;
      client.in_body = true;
      client.refused = !client.buffer.starts_with("HTTP/1.1 200 ");
      start = head + 4;
    }
    std::size_t end = 0;
    while ((end = client.buffer.find("\n\n", start)) != std::string::npos) {
      take(client, std::string_view(client.buffer).substr(start, end - start), now);
      start = end + 2;
    }
    client.buffer.erase(0, start);
  }

  void take(Client& client, std::string_view frame, double now) {
    std::string_view id_text;
    std::string_view name;
    std::string_view data;
    while (!frame.empty()) {
      const std::string_view line = frame.substr(0, frame.find('\n'));
      frame.remove_prefix(std::min(frame.size(), line.size() + 1));
      if (line.starts_with("id: ")) id_text = line.substr(4);
      if (line.starts_with("event: ")) name = line.substr(7);
      if (line.starts_with("data: ")) data = line.substr(6);
    }
    if (name.empty()) return;  // keep-alive
    const auto id = parse_id(id_text);
    if (name == "reset" || !id) {
      client.gap = true;
      return;
    }
    if (client.last && !follows(*client.last, *id)) client.gap = true;
    client.last = id;
    if (name == "finished") client.finished = true;
    // Parsed once for all clients, so that reading stays cheap.
    const auto [known, is_new] = times_.try_emplace(*id, 0.0);
    if (is_new) known->second = parse_time_ms(nlohmann::json::parse(data).at("time"));
    delays_.push_back(now - known->second);
  }

  const sockaddr_in address_;
  const std::string request_;
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Client> clients_;
  std::size_t open_ = 0;
  std::map<Id, double> times_;
  std::vector<double> delays_;
};

int run(int argc, char** argv) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (argc != 6 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
    std::fprintf(stderr, "usage: sse_bench HOST PORT JOB CLIENTS SECONDS (HOST is numeric)\n");
    return 2;
  }
  address.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(argv[2], nullptr, 10)));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  Bench bench(address, "GET /v1/jobs/" + std::string(argv[3]) +
                           "/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  if (!bench.open(std::strtoull(argv[4], nullptr, 10))) return 1;
  bench.run(std::strtod(argv[5], nullptr));
  bench.print();
  return bench.any_refused() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sse_bench: %s\n", error.what());
    return 1;
  }
}
