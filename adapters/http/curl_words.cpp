#include "adapters/http/curl_words.hpp"

#include <array>
#include <cerrno>
#include <cstdio>

namespace paretod {
namespace {

std::string connect_words(CURL* handle) {
  long reason = 0;
  if (handle != nullptr) curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &reason);
  if (reason == ECONNREFUSED) return "connection refused";
  if (reason == ENETUNREACH || reason == EHOSTUNREACH) return "the network has no way to it";
  return "no connection can be made";
}

std::string timeout_words(CURL* handle) {
  double seconds = 0;
  long sent = 0;
  if (handle != nullptr) {
    curl_easy_getinfo(handle, CURLINFO_TOTAL_TIME, &seconds);
    curl_easy_getinfo(handle, CURLINFO_REQUEST_SIZE, &sent);
  }
  const std::string what = sent == 0 ? "no connection" : "no complete reply";
  if (seconds <= 0) return what + " in time";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), " within %.3g s", seconds);
  return what + text.data();
}

}  // namespace

std::string words_of(CURLcode code, CURL* handle) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      return connect_words(handle);
    case CURLE_COULDNT_RESOLVE_HOST:
      return "the name of its host is not known";
    case CURLE_OPERATION_TIMEDOUT:
      return timeout_words(handle);
    // We abort only what libcurl would send again because a kept connection was dead.
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      return "the connection broke off";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its certificate is not accepted";
    case CURLE_SSL_CONNECT_ERROR:
      return "no TLS connection can be made";
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return "it does not speak HTTP";
    default:
      return curl_easy_strerror(code);
  }
}

}  // namespace paretod
