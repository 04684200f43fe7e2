#include "adapters/http/http_multi.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/http/http_transfer.hpp"
#include "adapters/http/socket_watch.hpp"
#include "adapters/http/url_parts.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

class HttpMulti::Loop {
 public:
  explicit Loop(HttpMultiOptions options) : options_(options) {
    // Once per process; libcurl counts the calls and locks them itself (since 7.84).
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    static_cast<void>(ready);
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Loop::on_interest);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    thread_ = std::thread([this] { run(); });
  }
  ~Loop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    watch_.knock();
    thread_.join();
    for (const auto& transfer : transfers_) {
      if (transfer->id() != 0) curl_multi_remove_handle(multi_, transfer->handle());
    }
    transfers_.clear();
    curl_multi_cleanup(multi_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  std::uint64_t start(HttpTask task, Done done) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t id = ++last_id_;
    arrived_.push_back({id, std::move(task), std::move(done)});
    wake();
    return id;
  }
  void cancel(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
    wake();
  }
  void after(double seconds, std::function<void()> action) {
    const auto due = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(seconds));
    const std::lock_guard lock(mutex_);
    timers_.emplace(due, std::move(action));
    wake();
  }

 private:
  /// With the lock held.  The loop's own thread looks at what it was given before it waits.
  void wake() {
    if (std::this_thread::get_id() == thread_.get_id() || std::exchange(knocked_, true)) return;
    watch_.knock();
  }

  static int on_interest(CURL*, curl_socket_t socket, int what, void* self, void*) {
    const bool in = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
    const bool out = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
    static_cast<Loop*>(self)->watch_.want(socket, in, out);
    return 0;
  }
  /// Until libcurl wants to be called without a socket; -1: it need not be.
  long curl_wait_ms() {
    long ms = -1;
    curl_multi_timeout(multi_, &ms);
    return ms;
  }

  /// Only what can go on is looked at, however many requests are under way.
  void run() {
    while (take()) {
      if (curl_wait_ms() == 0) act(CURL_SOCKET_TIMEOUT, 0);
      reap();  // some are answered that fast
      for (const SocketWatch::Ready& ready : watch_.wait(wait_ms())) {
        act(ready.socket, (ready.in ? CURL_CSELECT_IN : 0) | (ready.out ? CURL_CSELECT_OUT : 0) |
                              (ready.error ? CURL_CSELECT_ERR : 0));
      }
      reap();
    }
  }
  void reap() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg == CURLMSG_DONE) finish(message->easy_handle, message->data.result);
    }
  }
  void act(curl_socket_t socket, int events) {
    int active = 0;
    curl_multi_socket_action(multi_, socket, events, &active);
  }

  /// False: the end.
  bool take() {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return false;
      knocked_ = false;
      beginning_.swap(arrived_);
      cancelling_.swap(cancelled_);
      if (!timers_.empty()) {
        const auto now = Clock::now();
        while (!timers_.empty() && timers_.begin()->first <= now) {
          due_.push_back(std::move(timers_.begin()->second));
          timers_.erase(timers_.begin());
        }
      }
    }
    for (Arrival& arrival : beginning_) {
      HttpTransfer& transfer = spare_transfer();
      const HeaderLines lines = lines_for(arrival.task);
      transfer.begin(arrival.id, std::move(arrival.task), std::move(arrival.done), lines);
      curl_multi_add_handle(multi_, transfer.handle());
    }
    beginning_.clear();
    for (const std::uint64_t id : cancelling_) {
      const auto found = std::find_if(transfers_.begin(), transfers_.end(),
                                      [id](const auto& transfer) { return transfer->id() == id; });
      if (found == transfers_.end()) continue;
      HttpTransfer& transfer = **found;
      leave(transfer);
      transfer.give_up();
    }
    cancelling_.clear();
    for (const auto& action : due_) action();
    due_.clear();
    return true;
  }

  void finish(CURL* handle, CURLcode code) {
    char* of_handle = nullptr;
    curl_easy_getinfo(handle, CURLINFO_PRIVATE, &of_handle);
    auto& transfer = *reinterpret_cast<HttpTransfer*>(of_handle);
    leave(transfer);
    transfer.end(code);
  }

  /// Its connection belongs to the multi handle.
  void leave(HttpTransfer& transfer) {
    curl_multi_remove_handle(multi_, transfer.handle());
    spare_.push_back(&transfer);
  }

  HttpTransfer& spare_transfer() {
    if (spare_.empty()) {
      return *transfers_.emplace_back(std::make_unique<HttpTransfer>(options_, watch_));
    }
    HttpTransfer& transfer = *spare_.back();
    spare_.pop_back();
    return transfer;
  }

  /// Most requests have the headers of the one before.
  HeaderLines lines_for(const HttpTask& task) {
    if (!task.headers.empty() || task.common_headers == nullptr) return lines_of(task);
    if (task.common_headers != last_headers_) {
      last_headers_ = task.common_headers;
      last_lines_ = lines_of(task);
    }
    return last_lines_;
  }

  int wait_ms() {
    std::int64_t ms = 60'000;
    if (const long curl = curl_wait_ms(); curl >= 0) ms = std::min<std::int64_t>(ms, curl);
    const std::lock_guard lock(mutex_);
    if (!arrived_.empty() || !cancelled_.empty()) return 0;
    if (!timers_.empty()) {
      const auto left = timers_.begin()->first - Clock::now();
      ms = std::min<std::int64_t>(ms, std::chrono::ceil<std::chrono::milliseconds>(left).count());
    }
    return static_cast<int>(std::max<std::int64_t>(0, ms));
  }

  struct Arrival {
    std::uint64_t id;
    HttpTask task;
    Done done;
  };

  const HttpMultiOptions options_;
  SocketWatch watch_;
  CURLM* multi_ = nullptr;
  // The loop's thread, all of these.
  std::vector<std::unique_ptr<HttpTransfer>> transfers_;
  std::vector<HttpTransfer*> spare_;  ///< have no request
  std::shared_ptr<const HttpClient::Headers> last_headers_;
  HeaderLines last_lines_;
  std::vector<Arrival> beginning_;  // and what take() has taken
  std::vector<std::uint64_t> cancelling_;
  std::vector<std::function<void()>> due_;

  std::mutex mutex_;
  std::uint64_t last_id_ = 0;
  std::vector<Arrival> arrived_;
  std::vector<std::uint64_t> cancelled_;
  std::multimap<Clock::time_point, std::function<void()>> timers_;
  bool stopping_ = false;
  bool knocked_ = false;  ///< and not heard yet
  std::thread thread_;
};

HttpMulti::HttpMulti(HttpMultiOptions options) : loop_(std::make_unique<Loop>(options)) {}
HttpMulti::~HttpMulti() = default;

std::uint64_t HttpMulti::start(HttpTask task, Done done) {
  return loop_->start(std::move(task), std::move(done));
}
void HttpMulti::cancel(std::uint64_t id) {
  loop_->cancel(id);
}
void HttpMulti::after(double seconds, std::function<void()> action) {
  loop_->after(seconds, std::move(action));
}

std::optional<double> retry_after_s(const HttpReply& reply) {
  const auto text = reply.header("retry-after");
  if (!text || text->empty()) return {};
  if (std::all_of(text->begin(), text->end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::strtod(text->c_str(), nullptr);
  }
  const std::time_t date = curl_getdate(text->c_str(), nullptr);
  if (date < 0) return {};
  return std::max(0.0, std::difftime(date, std::time(nullptr)));
}

std::optional<std::string> same_origin(const std::string& base, const std::string& location) {
  const Url url = parse_url(base);
  if (!url) return {};
  const std::string origin = origin_of(url.get());
  if (curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) return {};
  if (origin_of(url.get()) != origin) return {};
  return part_of(url.get(), CURLUPART_URL);
}

}  // namespace paretod
