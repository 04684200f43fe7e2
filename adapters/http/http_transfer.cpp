#include "adapters/http/http_transfer.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "adapters/http/address_rule.hpp"
#include "adapters/http/curl_words.hpp"
#include "adapters/http/url_parts.hpp"

namespace paretod {

HeaderLines lines_of(const HttpTask& task) {
  curl_slist* list = nullptr;
  const auto add = [&list](const HttpClient::Headers& headers) {
    for (const auto& [name, value] : headers) {
      list = curl_slist_append(list, (name + ": " + value).c_str());
    }
  };
  if (task.common_headers) add(*task.common_headers);
  add(task.headers);
  // As a line: libcurl would put its own together anew for every request.
  list = curl_slist_append(list, "User-Agent: paretod");
  list = curl_slist_append(list, "Expect:");  // no "100-continue" round trip
  return {list, curl_slist_free_all};
}

HttpTransfer::HttpTransfer(const HttpMultiOptions& options, SocketWatch& watch)
    : options_(options), watch_(watch), curl_(curl_easy_init()), head_(options.max_header) {
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_CONNECTTIMEOUT_MS, std::lround(options.connect_timeout_s * 1000));
  set(CURLOPT_MAXAGE_CONN, std::max(1L, std::lround(options.longest_idle_s)));
  set(CURLOPT_OPENSOCKETFUNCTION, &HttpTransfer::on_socket);
  set(CURLOPT_CLOSESOCKETFUNCTION, &HttpTransfer::on_close);
  set(CURLOPT_CLOSESOCKETDATA, &watch);
  set(CURLOPT_PREREQFUNCTION, &HttpTransfer::on_request);
  set(CURLOPT_HEADERFUNCTION, &HttpTransfer::on_header);
  set(CURLOPT_WRITEFUNCTION, &HttpTransfer::on_body);
  set(CURLOPT_OPENSOCKETDATA, this);
  set(CURLOPT_PREREQDATA, this);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_PRIVATE, this);
}

void HttpTransfer::begin(std::uint64_t id, HttpTask task, HttpMulti::Done done,
                         const HeaderLines& headers) {
  id_ = id;
  task_ = std::move(task);
  done_ = std::move(done);
  // All that differs between requests, whatever the handle was used for before.
  if (task_.url != url_) {
    url_ = task_.url;
    set(CURLOPT_URL, url_.c_str());
  }
  if (headers != headers_) {
    headers_ = headers;
    set(CURLOPT_HTTPHEADER, headers_.get());
  }
  set(CURLOPT_TIMEOUT_MS, std::max(1L, std::lround(task_.timeout_s * 1000)));
  set(CURLOPT_FRESH_CONNECT, task_.fresh ? 1L : 0L);
  const bool get = task_.method == "GET";
  set(get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
  set(CURLOPT_CUSTOMREQUEST, get || task_.method == "POST" ? nullptr : task_.method.c_str());
  if (get) return;
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(task_.body.size()));
  set(CURLOPT_POSTFIELDS, task_.body.c_str());
}

void HttpTransfer::end(CURLcode code) {
  HttpOutcome outcome;
  if (code == CURLE_OK && !head_.complete()) code = CURLE_PARTIAL_FILE;
  if (code == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    reply_.status = static_cast<int>(status);
    reply_.headers = head_.take_fields();
    outcome.kind = HttpOutcome::Kind::reply;
    outcome.reply = std::move(reply_);
  } else if (!refusal_.empty()) {
    outcome.kind = HttpOutcome::Kind::refused;
    outcome.reason = refusal_;
  } else {
    long sent = 0;
    curl_easy_getinfo(curl_, CURLINFO_REQUEST_SIZE, &sent);
    outcome.kind = sent == 0 ? HttpOutcome::Kind::not_sent : HttpOutcome::Kind::broken;
    outcome.reason = words_of(code, curl_);
  }
  report(std::move(outcome));
}

void HttpTransfer::give_up() {
  report({HttpOutcome::Kind::broken, {}, "given up"});
}

/// Ready for the next request before anything is told of this one.
void HttpTransfer::report(HttpOutcome outcome) {
  outcome.request_body = std::move(task_.body);
  const HttpMulti::Done done = std::exchange(done_, nullptr);
  id_ = 0;
  reply_ = {};
  head_ = ReplyHead(options_.max_header);
  requests_ = 0;
  refusal_.clear();
  done(std::move(outcome));
}

curl_socket_t HttpTransfer::on_socket(void* self, curlsocktype, curl_sockaddr* address) {
  return static_cast<HttpTransfer*>(self)->open_socket(*address);
}

int HttpTransfer::on_close(void* watch, curl_socket_t socket) {
  static_cast<SocketWatch*>(watch)->closed(socket);
  return close(socket);
}

int HttpTransfer::on_request(void* self, char*, char*, int, int) {
  // A second time: the kept connection was dead.
  return static_cast<HttpTransfer*>(self)->requests_++ == 0 ? CURL_PREREQFUNC_OK
                                                            : CURL_PREREQFUNC_ABORT;
}

std::size_t HttpTransfer::on_header(char* data, std::size_t size, std::size_t n, void* self) {
  return static_cast<HttpTransfer*>(self)->header({data, size * n}) ? size * n : 0;
}

std::size_t HttpTransfer::on_body(char* data, std::size_t size, std::size_t n, void* self) {
  return static_cast<HttpTransfer*>(self)->body({data, size * n}) ? size * n : 0;
}

curl_socket_t HttpTransfer::open_socket(const curl_sockaddr& address) {
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

bool HttpTransfer::header(std::string_view line) {
  if (head_.add(line)) return true;
  refusal_ = "it sent more header fields than are accepted";
  return false;
}

bool HttpTransfer::body(std::string_view data) {
  if (reply_.body.size() + data.size() > options_.max_body) {
    refusal_ = "it sent more than " + std::to_string(options_.max_body) + " bytes";
    return false;
  }
  reply_.body.append(data);
  return true;
}

}  // namespace paretod
