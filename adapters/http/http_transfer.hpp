#pragma once
// One request of HttpMulti on its way: what the callbacks of libcurl see, and the guards that its
// header promises.  Owned and used by the loop's thread.  It is used again and again, since making
// a handle, and telling it what does not change, costs more than a short request.

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "adapters/http/http_multi.hpp"
#include "adapters/http/reply_head.hpp"
#include "adapters/http/socket_watch.hpp"

namespace paretod {

/// "Name: value" lines as libcurl wants them.
using HeaderLines = std::shared_ptr<curl_slist>;
HeaderLines lines_of(const HttpTask& task);

class HttpTransfer {
 public:
  HttpTransfer(const HttpMultiOptions& options, SocketWatch& watch);
  ~HttpTransfer() { curl_easy_cleanup(curl_); }
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  /// Before it is run.  `id` is not 0.
  void begin(std::uint64_t id, HttpTask task, HttpMulti::Done done, const HeaderLines& headers);
  /// When it was run.  It can be begun again after that.
  void end(CURLcode code);
  void give_up();

  [[nodiscard]] CURL* handle() const { return curl_; }
  /// 0 while it has no request.
  [[nodiscard]] std::uint64_t id() const { return id_; }

 private:
  static curl_socket_t on_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int on_close(void* watch, curl_socket_t socket);
  static int on_request(void* self, char* ip, char* own_ip, int port, int own_port);
  static std::size_t on_header(char* data, std::size_t size, std::size_t n, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t n, void* self);

  curl_socket_t open_socket(const curl_sockaddr& address);
  bool header(std::string_view line);
  bool body(std::string_view data);

  template <class T>
  void set(CURLoption option, T value) {
    curl_easy_setopt(curl_, option, value);
  }
  void report(HttpOutcome outcome);

  const HttpMultiOptions& options_;
  SocketWatch& watch_;
  CURL* const curl_;
  std::uint64_t id_ = 0;
  HttpTask task_;
  HttpMulti::Done done_;
  HeaderLines headers_;
  std::string url_;  ///< that the handle was told
  HttpReply reply_;
  ReplyHead head_;
  int requests_ = 0;
  std::string refusal_;
};

}  // namespace paretod
