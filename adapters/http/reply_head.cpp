#include "adapters/http/reply_head.hpp"

#include <algorithm>
#include <cctype>

namespace paretod {
namespace {

std::string trimmed(std::string_view text) {
  const char* blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(blanks) - first + 1));
}

}  // namespace

bool ReplyHead::add(std::string_view line) {
  bytes_ += line.size();
  if (bytes_ > max_bytes_) return false;
  if (line.starts_with("HTTP/")) {  // a final status line after an interim one starts afresh
    fields_.clear();
    complete_ = false;
    return true;
  }
  if (line == "\r\n" || line == "\n") complete_ = true;
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return true;
  if (fields_.empty()) fields_.reserve(8);
  std::string name = trimmed(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  fields_.emplace_back(std::move(name), trimmed(line.substr(colon + 1)));
  return true;
}

}  // namespace paretod
