#include "adapters/http/http_client.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>

#include "adapters/http/reply_head.hpp"

namespace paretod {
namespace {

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListDeleter>;

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// "host:port" of a URL, or nothing if it is none that we can ask.
struct Place {
  std::string host;
  std::string port;
  [[nodiscard]] std::string text() const { return host + ":" + port; }
  [[nodiscard]] bool loopback() const {
    return host == "localhost" || host == "[::1]" || host.rfind("127.", 0) == 0;
  }
};

std::optional<Place> place_of(const std::string& url) {
  const std::unique_ptr<CURLU, UrlDeleter> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  const auto part = [&](CURLUPart what, unsigned flags) -> std::string {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), what, &text, flags) != CURLUE_OK) return {};
    std::string out = text;
    curl_free(text);
    return out;
  };
  const std::string scheme = part(CURLUPART_SCHEME, 0);
  if (scheme != "http" && scheme != "https") return {};
  return Place{part(CURLUPART_HOST, 0), part(CURLUPART_PORT, CURLU_DEFAULT_PORT)};
}

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2g s", seconds);
  return text.data();
}

long milliseconds(double seconds) {
  return std::lround(seconds * 1000);
}

}  // namespace

struct HttpClient::Handle {
  CURL* curl = nullptr;

  Handle() {
    // Once per process; libcurl counts the calls and locks them itself (since 7.84).
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready == CURLE_OK) curl = curl_easy_init();
  }
  ~Handle() { curl_easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

/// One request on its way: what the callbacks of libcurl see.
class HttpClient::Transfer {
 public:
  Transfer(const HttpClientOptions& options, CURL* curl, const Sink* sink)
      : options_(options), curl_(curl), sink_(sink), head_(options.max_header) {}

  Result<HttpReply> run(std::string_view method, const std::string& url, const Headers& headers,
                        std::string_view body);

 private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t n, void* self) {
    return static_cast<Transfer*>(self)->header({data, size * n}) ? size * n : 0;
  }
  static std::size_t on_body(char* data, std::size_t size, std::size_t n, void* self) {
    return static_cast<Transfer*>(self)->body({data, size * n}) ? size * n : 0;
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->cancelled() ? 1 : 0;
  }

  bool header(std::string_view line);
  bool body(std::string_view data);
  bool cancelled();
  [[nodiscard]] Error failure(CURLcode code, const Place& place) const;

  const HttpClientOptions& options_;
  CURL* curl_;
  const Sink* sink_;
  HttpReply reply_;
  ReplyHead head_;
  bool too_large_ = false;
  bool sink_full_ = false;
  bool given_up_ = false;
};

bool HttpClient::Transfer::header(std::string_view line) {
  too_large_ = !head_.add(line);
  return !too_large_;
}

bool HttpClient::Transfer::body(std::string_view data) {
  if (sink_ != nullptr) {
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) {
      sink_full_ = !(*sink_)(data);
      return !sink_full_;
    }
  }
  if (reply_.body.size() + data.size() > options_.max_body) {
    too_large_ = true;
    return false;
  }
  reply_.body.append(data);
  return true;
}

bool HttpClient::Transfer::cancelled() {
  given_up_ = options_.cancelled && options_.cancelled();
  return given_up_;
}

Error HttpClient::Transfer::failure(CURLcode code, const Place& place) const {
  if (too_large_) {
    return {ErrorKind::exhausted, place.text() + " sent more than is accepted in one response"};
  }
  const auto unavailable = [](std::string message) {
    return Error{ErrorKind::unavailable, std::move(message)};
  };
  if (given_up_) return unavailable("the request to " + place.text() + " was given up");
  switch (code) {
    case CURLE_COULDNT_CONNECT: {
      long reason = 0;
      curl_easy_getinfo(curl_, CURLINFO_OS_ERRNO, &reason);
      return unavailable(reason == ECONNREFUSED ? "connection refused"
                                                : "no connection to " + place.text());
    }
    case CURLE_COULDNT_RESOLVE_HOST:
      return unavailable("the host " + place.host + " is not known");
    case CURLE_OPERATION_TIMEDOUT: {
      double waited = sink_ != nullptr ? options_.idle_timeout_s : 0;
      if (sink_ == nullptr) curl_easy_getinfo(curl_, CURLINFO_TOTAL_TIME, &waited);
      return unavailable(place.text() + " did not answer within " + seconds_text(waited));
    }
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
      return unavailable(place.text() + " broke the connection off");
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return unavailable(place.text() + " does not speak HTTP");
    default:
      return unavailable(place.text() + ": " + curl_easy_strerror(code));
  }
}

Result<HttpReply> HttpClient::Transfer::run(std::string_view method, const std::string& url,
                                            const Headers& headers, std::string_view body) {
  const auto place = has_control(url) ? std::nullopt : place_of(url);
  if (!place) return invalid("\"" + url + "\" is not an http or https URL");
  if (curl_ == nullptr) return Error{ErrorKind::internal, "libcurl does not start"};

  List list;
  const auto add_header = [&](const std::string& line) {
    if (curl_slist* longer = curl_slist_append(list.get(), line.c_str())) {
      static_cast<void>(list.release());
      list.reset(longer);
    }
  };
  for (const auto& [name, value] : headers) {
    if (has_control(name) || has_control(value)) {
      return invalid("the header " + name + " holds control characters");
    }
    add_header(name + ": " + value);
  }
  add_header("Expect:");  // no "100-continue" round trip for large bodies

  curl_easy_reset(curl_);
  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(curl_, option, value);
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_HTTPHEADER, list.get());
  set(CURLOPT_USERAGENT, options_.user_agent.c_str());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  if (place->loopback()) set(CURLOPT_PROXY, "");
  set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options_.connect_timeout_s));
  if (sink_ == nullptr) {
    set(CURLOPT_TIMEOUT_MS, milliseconds(options_.timeout_s));
  } else {
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, std::max(1L, std::lround(options_.idle_timeout_s)));
  }
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
  set(CURLOPT_XFERINFODATA, this);

  const std::string method_text(method);
  if (method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (method != "GET") {
    set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_POST, 1L);
    set(CURLOPT_CUSTOMREQUEST, method_text.c_str());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    set(CURLOPT_POSTFIELDS, body.data() == nullptr ? "" : body.data());
  }

  CURLcode code = curl_easy_perform(curl_);
  if (code == CURLE_OK && !head_.complete()) code = CURLE_PARTIAL_FILE;
  if (code != CURLE_OK && !sink_full_) return failure(code, *place);
  long status = 0;
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
  reply_.status = static_cast<int>(status);
  reply_.headers = head_.take_fields();
  return std::move(reply_);
}

HttpClient::HttpClient(HttpClientOptions options)
    : options_(std::move(options)), handle_(std::make_unique<Handle>()) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

Result<HttpReply> HttpClient::request(std::string_view method, const std::string& url,
                                      const Headers& headers, std::string_view body) {
  return Transfer(options_, handle_->curl, nullptr).run(method, url, headers, body);
}

Result<HttpReply> HttpClient::stream(const std::string& url, const Headers& headers,
                                     const Sink& sink) {
  return Transfer(options_, handle_->curl, &sink).run("GET", url, headers, {});
}

std::optional<std::string> HttpReply::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::string url_escape(std::string_view text) {
  static constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~')) {
      out += c;
    } else {
      out += '%';
      out += hex[byte >> 4];
      out += hex[byte & 15];
    }
  }
  return out;
}

}  // namespace paretod
