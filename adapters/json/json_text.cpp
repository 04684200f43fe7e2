#include "adapters/json/json_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace paretod {
namespace {

template <class T>
void append_number(std::string& out, T value) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// What stands behind a backslash; 0 for what is written as it is.
char short_escape(char c) {
  switch (c) {
    case '"':
    case '\\':
      return c;
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

/// Whether a byte stands for itself.
constexpr std::array<bool, 256> plain_bytes = [] {
  std::array<bool, 256> plain{};
  for (std::size_t byte = 0x20; byte < 0x80; ++byte) plain[byte] = byte != '"' && byte != '\\';
  return plain;
}();

}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
  const std::size_t start = out.size();
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (plain_bytes[static_cast<unsigned char>(text[i])]) continue;
    const char escape = short_escape(text[i]);
    if (escape == 0) {
      // Other control characters and all beyond ASCII are the library's to check and to repair.
      out.resize(start);
      const std::string quoted =
          nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      out.append(quoted, 1, quoted.size() - 2);
      return;
    }
    out.append(text, begin, i - begin);
    out += '\\';
    out += escape;
    begin = i + 1;
  }
  out.append(text, begin);
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_json_number(std::string& out, double value) {
  append_number(out, value);
  // "-0" would read back as the integer zero.
  if (value == 0 && std::signbit(value)) out += ".0";
}
void append_json_number(std::string& out, std::int64_t value) {
  append_number(out, value);
}
void append_json_number(std::string& out, std::uint64_t value) {
  append_number(out, value);
}

}  // namespace paretod
