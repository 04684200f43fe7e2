#pragma once
// One request of HttpMulti on its way: what the callbacks of libcurl see, and the guards that its
// header promises.  Owned and used by the loop's thread once it is made.

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
HeaderLines lines_of(const HttpClient::Headers& headers);

class HttpTransfer {
 public:
  HttpTransfer(const HttpMultiOptions& options, SocketWatch& watch, HttpTask task,
               HttpMulti::Done done);
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  /// What is the same for all requests of a handle.
  static void prepare(CURL* handle, const HttpMultiOptions& options, SocketWatch& watch);

  /// Before it is run.  The handle is the loop's, and prepared.
  void use(CURL* handle, std::uint64_t id, HeaderLines headers);
  [[nodiscard]] CURL* handle() const { return curl_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const HttpTask& task() const { return task_; }

  void finish(CURLcode code);
  void give_up();

 private:
  static curl_socket_t on_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int on_close(void* watch, curl_socket_t socket);
  static int on_request(void* self, char* ip, char* own_ip, int port, int own_port);
  static std::size_t on_header(char* data, std::size_t size, std::size_t n, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t n, void* self);

  curl_socket_t open_socket(const curl_sockaddr& address);
  bool header(std::string_view line);
  bool body(std::string_view data);

  const HttpMultiOptions& options_;
  SocketWatch& watch_;
  const HttpTask task_;
  const HttpMulti::Done done_;
  CURL* curl_ = nullptr;
  std::uint64_t id_ = 0;
  HeaderLines headers_;
  HttpReply reply_;
  ReplyHead head_;
  int requests_ = 0;
  std::string refusal_;
};

}  // namespace paretod
