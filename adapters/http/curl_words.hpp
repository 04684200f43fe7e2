#pragma once
// What became of a request, in words of the network instead of libcurl's.

#include <curl/curl.h>

#include <string>

namespace paretod {

/// Of a request that failed; `handle` is the one it ran on, or null for what the code alone tells.
std::string words_of(CURLcode code, CURL* handle);

}  // namespace paretod
