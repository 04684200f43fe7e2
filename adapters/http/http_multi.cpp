#include "adapters/http/http_multi.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "adapters/http/http_transfer.hpp"
#include "adapters/http/socket_watch.hpp"
#include "adapters/http/url_parts.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;

using Headers = HttpClient::Headers;

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
    for (const auto& [id, transfer] : running_) {
      curl_multi_remove_handle(multi_, transfer->handle());
      curl_easy_cleanup(transfer->handle());
    }
    running_.clear();
    for (CURL* handle : spare_) curl_easy_cleanup(handle);
    curl_multi_cleanup(multi_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  std::uint64_t start(HttpTask task, Done done) {
    auto transfer =
        std::make_unique<HttpTransfer>(options_, watch_, std::move(task), std::move(done));
    const std::lock_guard lock(mutex_);
    const std::uint64_t id = ++last_id_;
    arrived_.emplace_back(id, std::move(transfer));
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
    std::vector<std::pair<std::uint64_t, std::unique_ptr<HttpTransfer>>> arrived;
    std::vector<std::uint64_t> cancelled;
    std::vector<std::function<void()>> due;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return false;
      knocked_ = false;
      arrived.swap(arrived_);
      cancelled.swap(cancelled_);
      while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
        due.push_back(std::move(timers_.begin()->second));
        timers_.erase(timers_.begin());
      }
    }
    for (auto& [id, transfer] : arrived) {
      transfer->use(take_handle(), id, lines_for(transfer->task().headers));
      curl_multi_add_handle(multi_, transfer->handle());
      running_.emplace(id, std::move(transfer));
    }
    for (const std::uint64_t id : cancelled) {
      if (const auto transfer = remove(id)) transfer->give_up();
    }
    for (const auto& action : due) action();
    return true;
  }

  void finish(CURL* handle, CURLcode code) {
    char* of_handle = nullptr;
    curl_easy_getinfo(handle, CURLINFO_PRIVATE, &of_handle);
    const std::uint64_t id = reinterpret_cast<HttpTransfer*>(of_handle)->id();
    auto node = running_.extract(id);
    curl_multi_remove_handle(multi_, handle);
    node.mapped()->finish(code);
    give_back(handle);
  }

  std::unique_ptr<HttpTransfer> remove(std::uint64_t id) {
    auto node = running_.extract(id);
    if (node.empty()) return nullptr;
    curl_multi_remove_handle(multi_, node.mapped()->handle());
    give_back(node.mapped()->handle());
    return std::move(node.mapped());
  }

  /// Making a handle costs more than a short request; its connections belong to the multi handle.
  CURL* take_handle() {
    if (spare_.empty()) {
      CURL* handle = curl_easy_init();
      HttpTransfer::prepare(handle, options_, watch_);
      return handle;
    }
    CURL* handle = spare_.back();
    spare_.pop_back();
    return handle;
  }
  void give_back(CURL* handle) { spare_.push_back(handle); }

  /// Most requests have the headers of the one before.
  const HeaderLines& lines_for(const Headers& headers) {
    if (last_lines_ == nullptr || headers != last_headers_) {
      last_headers_ = headers;
      last_lines_ = lines_of(headers);
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

  const HttpMultiOptions options_;
  SocketWatch watch_;
  CURLM* multi_ = nullptr;
  std::unordered_map<std::uint64_t, std::unique_ptr<HttpTransfer>> running_;  // the loop's thread
  std::vector<CURL*> spare_;  // likewise, as all here
  Headers last_headers_;
  HeaderLines last_lines_;

  std::mutex mutex_;
  std::uint64_t last_id_ = 0;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<HttpTransfer>>> arrived_;
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
