#include "adapters/http/url_parts.hpp"

#include <arpa/inet.h>

namespace paretod {

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

bool names_an_address(const std::string& text) {
  const Url url = parse_url(text);
  if (!url) return false;
  const std::string host = part_of(url.get(), CURLUPART_HOST);
  in_addr v4{};
  return host == "localhost" || host.starts_with('[') || inet_pton(AF_INET, host.c_str(), &v4) == 1;
}

}  // namespace paretod
