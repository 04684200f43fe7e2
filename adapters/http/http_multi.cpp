#include "adapters/http/http_multi.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "adapters/http/address_rule.hpp"
#include "adapters/http/socket_watch.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

Url parse_url(const std::string& text) {
  Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return {};
  return url;
}

std::string origin_of(CURLU* url) {
  return part_of(url, CURLUPART_SCHEME) + "://" + part_of(url, CURLUPART_HOST) + ":" +
         part_of(url, CURLUPART_PORT);
}

/// Whether the host of a URL is an address, or the one name that always means one.
bool names_an_address(const std::string& text) {
  const Url url = parse_url(text);
  if (!url) return false;
  const std::string host = part_of(url.get(), CURLUPART_HOST);
  in_addr v4{};
  return host == "localhost" || host.starts_with('[') || inet_pton(AF_INET, host.c_str(), &v4) == 1;
}

/// "Name: value" lines as libcurl wants them.
using HeaderLines = std::shared_ptr<curl_slist>;

using Headers = HttpClient::Headers;

HeaderLines lines_of(const Headers& headers) {
  curl_slist* list = nullptr;
  for (const auto& [name, value] : headers) {
    list = curl_slist_append(list, (name + ": " + value).c_str());
  }
  list = curl_slist_append(list, "Expect:");  // no "100-continue" round trip
  return {list, curl_slist_free_all};
}

/// One request on its way: what the callbacks of libcurl see.  Owned by the loop's thread.
class Transfer {
 public:
  Transfer(const HttpMultiOptions& options, SocketWatch& watch, HttpTask task, HttpMulti::Done done)
      : options_(options), watch_(watch), task_(std::move(task)), done_(std::move(done)) {}
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// What is the same for all requests of a handle.
  static void prepare(CURL* handle, const HttpMultiOptions& options, SocketWatch& watch) {
    const auto set = [handle](CURLoption option, auto value) {
      curl_easy_setopt(handle, option, value);
    };
    set(CURLOPT_USERAGENT, "paretod");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_CONNECTTIMEOUT_MS, std::lround(options.connect_timeout_s * 1000));
    set(CURLOPT_MAXAGE_CONN, std::max(1L, std::lround(options.longest_idle_s)));
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_socket);
    set(CURLOPT_CLOSESOCKETFUNCTION, &Transfer::on_close);
    set(CURLOPT_CLOSESOCKETDATA, &watch);
    set(CURLOPT_PREREQFUNCTION, &Transfer::on_request);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  }

  /// Before it is run.  The handle is the loop's, and prepared.
  void use(CURL* handle, std::uint64_t id, HeaderLines headers) {
    curl_ = handle;
    id_ = id;
    headers_ = std::move(headers);
    set_up();
  }
  [[nodiscard]] CURL* handle() const { return curl_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const HttpTask& task() const { return task_; }

  void finish(CURLcode code) {
    HttpOutcome outcome;
    if (code == CURLE_OK) {
      long status = 0;
      curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
      reply_.status = static_cast<int>(status);
      outcome = {HttpOutcome::Kind::reply, std::move(reply_), {}};
    } else if (!refusal_.empty()) {
      outcome = {HttpOutcome::Kind::refused, {}, refusal_};
    } else {
      long sent = 0;
      curl_easy_getinfo(curl_, CURLINFO_REQUEST_SIZE, &sent);
      const bool nothing = sent == 0 || requests_ == 0;
      outcome = {nothing ? HttpOutcome::Kind::not_sent : HttpOutcome::Kind::broken,
                 {},
                 curl_easy_strerror(code)};
    }
    done_(std::move(outcome));
  }
  void give_up() { done_({HttpOutcome::Kind::broken, {}, "given up"}); }

 private:
  template <class T>
  void set(CURLoption option, T value) {
    curl_easy_setopt(curl_, option, value);
  }

  /// All that differs between requests, whatever the handle was used for before.
  void set_up() {
    set(CURLOPT_URL, task_.url.c_str());
    set(CURLOPT_HTTPHEADER, headers_.get());
    set(CURLOPT_TIMEOUT_MS, std::max(1L, std::lround(task_.timeout_s * 1000)));
    set(CURLOPT_FRESH_CONNECT, task_.fresh ? 1L : 0L);
    set(CURLOPT_OPENSOCKETDATA, this);
    set(CURLOPT_PREREQDATA, this);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_PRIVATE, this);
    const bool get = task_.method == "GET";
    set(get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
    set(CURLOPT_CUSTOMREQUEST, get || task_.method == "POST" ? nullptr : task_.method.c_str());
    if (get) return;
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(task_.body.size()));
    set(CURLOPT_POSTFIELDS, task_.body.c_str());
  }

  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address) {
    return static_cast<Transfer*>(self)->open_socket(*address);
  }
  static int on_close(void* watch, curl_socket_t socket) {
    static_cast<SocketWatch*>(watch)->closed(socket);
    return close(socket);
  }
  static int on_request(void* self, char*, char*, int, int) {
    // A second time: the kept connection was dead.
    return static_cast<Transfer*>(self)->requests_++ == 0 ? CURL_PREREQFUNC_OK
                                                          : CURL_PREREQFUNC_ABORT;
  }
  static std::size_t on_header(char* data, std::size_t size, std::size_t n, void* self) {
    return static_cast<Transfer*>(self)->header({data, size * n}) ? size * n : 0;
  }
  static std::size_t on_body(char* data, std::size_t size, std::size_t n, void* self) {
    return static_cast<Transfer*>(self)->body({data, size * n}) ? size * n : 0;
  }

  curl_socket_t open_socket(const curl_sockaddr& address) {
    const AddressClass found = class_of(address.addr);
    if (found == AddressClass::forbidden) {
      refusal_ = "it leads to an address that is never asked (link-local, metadata or multicast)";
    } else if (found == AddressClass::internal && !options_.allow_internal &&
               !names_an_address(task_.url)) {
      refusal_ =
          "its name leads to a loopback or private address; set allow_private if that is meant";
    }
    if (!refusal_.empty()) return CURL_SOCKET_BAD;
    const int made = socket(address.family, address.socktype | SOCK_CLOEXEC, address.protocol);
    if (made >= 0) watch_.opened(made);
    return made;
  }

  bool header(std::string_view line) {
    header_bytes_ += line.size();
    if (header_bytes_ > options_.max_header) {
      refusal_ = "it sent more header fields than are accepted";
      return false;
    }
    if (line.starts_with("HTTP/")) reply_.headers.clear();
    add_header_line(reply_, line);
    return true;
  }

  bool body(std::string_view data) {
    if (reply_.body.size() + data.size() > options_.max_body) {
      refusal_ = "it sent more than " + std::to_string(options_.max_body) + " bytes";
      return false;
    }
    reply_.body.append(data);
    return true;
  }

  const HttpMultiOptions& options_;
  SocketWatch& watch_;
  const HttpTask task_;
  const HttpMulti::Done done_;
  CURL* curl_ = nullptr;
  std::uint64_t id_ = 0;
  HeaderLines headers_;
  HttpReply reply_;
  std::size_t header_bytes_ = 0;
  int requests_ = 0;
  std::string refusal_;
};

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
    auto transfer = std::make_unique<Transfer>(options_, watch_, std::move(task), std::move(done));
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
    std::vector<std::pair<std::uint64_t, std::unique_ptr<Transfer>>> arrived;
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
    const std::uint64_t id = reinterpret_cast<Transfer*>(of_handle)->id();
    auto node = running_.extract(id);
    curl_multi_remove_handle(multi_, handle);
    node.mapped()->finish(code);
    give_back(handle);
  }

  std::unique_ptr<Transfer> remove(std::uint64_t id) {
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
      Transfer::prepare(handle, options_, watch_);
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
  std::unordered_map<std::uint64_t, std::unique_ptr<Transfer>> running_;  // the loop's thread
  std::vector<CURL*> spare_;                                              // likewise, as all here
  Headers last_headers_;
  HeaderLines last_lines_;

  std::mutex mutex_;
  std::uint64_t last_id_ = 0;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<Transfer>>> arrived_;
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
