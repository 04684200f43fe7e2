#include "daemon/rest/etag.hpp"

#include <algorithm>

#include "adapters/hash/sha256.hpp"

namespace paretod {

bool lists_tag(std::string_view field, std::string_view tag) {
  while (!field.empty()) {
    std::string_view item = field.substr(0, field.find(','));
    field.remove_prefix(std::min(field.size(), item.size() + 1));
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (item == "*" || item == tag || (item.substr(0, 2) != "W/" && item == tag.substr(2))) {
      return true;
    }
  }
  return false;
}

std::string query_digest(const NameValues& query) {
  NameValues sorted = query;
  std::stable_sort(sorted.begin(), sorted.end());
  std::string text;
  for (const auto& [name, value] : sorted) {
    text += std::to_string(name.size()) + ":" + name + std::to_string(value.size()) + ":" + value;
  }
  constexpr std::size_t digits = 16;
  return sha256_hex(text).substr(0, digits);
}

}  // namespace paretod
