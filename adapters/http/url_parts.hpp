#pragma once
// URLs taken apart by libcurl's own parser, so that what is judged is what is asked.  Pure
// functions; any thread.

#include <curl/curl.h>

#include <memory>
#include <string>

namespace paretod {

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

/// Null for what is no URL.
Url parse_url(const std::string& text);
/// "" where it has none; the port also where it goes without saying.
std::string part_of(CURLU* url, CURLUPart part);
/// "scheme://host:port".
std::string origin_of(CURLU* url);
/// Whether the host of a URL is an address, or the one name that always means one.
bool names_an_address(const std::string& text);

}  // namespace paretod
