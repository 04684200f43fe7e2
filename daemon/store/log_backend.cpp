#include "daemon/store/log_backend.hpp"

#include <charconv>

namespace paretod {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  // 19 digits always fit into 64 bits.
  if (text.empty() || text.size() > 19) return std::nullopt;
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<EventId> EventId::parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto epoch = parse_number(text.substr(0, dash));
  const auto number = parse_number(text.substr(dash + 1));
  if (!epoch || !number) return std::nullopt;
  return EventId{*epoch, *number};
}

}  // namespace paretod
