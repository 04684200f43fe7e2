#include "adapters/json/quick_parse.hpp"

#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace paretod {
namespace {

using nlohmann::json;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80;
}

/// Every function returns false where it gives up; where it stands then does not matter.
class QuickReader {
 public:
  QuickReader(std::string_view text, const JsonLimits& limits)
      : at_(text.data()), end_(text.data() + text.size()), limits_(limits) {}

  bool document(json& out) {
    skip_blanks();
    if (!value(out, 0)) return false;
    skip_blanks();
    return at_ == end_;
  }

 private:
  void skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  /// Takes one character, which has to be this one.
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view text) {
    if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, text.size()) != text)
      return false;
    at_ += text.size();
    return true;
  }

  bool value(json& out, std::size_t depth) {
    if (at_ == end_ || ++nodes_ > limits_.nodes) return false;
    switch (*at_) {
      case '{':
        return depth < limits_.depth && object(out, depth + 1);
      case '[':
        return depth < limits_.depth && array(out, depth + 1);
      case '"': {
        std::string text;
        if (!string(text)) return false;
        out = std::move(text);
        return true;
      }
      case 't':
        out = true;
        return word("true");
      case 'f':
        out = false;
        return word("false");
      case 'n':
        return word("null");
      default:
        return number(out);
    }
  }

  bool object(json& out, std::size_t depth) {
    out = json::object();
    auto& members = out.get_ref<json::object_t&>();
    ++at_;
    skip_blanks();
    if (take('}')) return true;
    do {
      skip_blanks();
      std::string key;
      if (!string(key)) return false;
      const auto [member, fresh] = members.try_emplace(std::move(key));
      skip_blanks();
      if (!fresh || !take(':')) return false;
      skip_blanks();
      if (!value(member->second, depth)) return false;
      skip_blanks();
    } while (take(','));
    return take('}');
  }

  bool array(json& out, std::size_t depth) {
    out = json::array();
    auto& items = out.get_ref<json::array_t&>();
    ++at_;
    skip_blanks();
    if (take(']')) return true;
    do {
      skip_blanks();
      if (!value(items.emplace_back(), depth)) return false;
      skip_blanks();
    } while (take(','));
    return take(']');
  }

  bool string(std::string& out) {
    if (!take('"')) return false;
    while (true) {
      const char* const begin = at_;
      while (at_ != end_ && *at_ != '"' && *at_ != '\\' && is_plain(*at_)) ++at_;
      out.append(begin, at_);
      if (at_ == end_ || out.size() > limits_.string_bytes) return false;
      if (take('"')) return true;
      if (!take('\\') || at_ == end_) return false;
      switch (*at_++) {
        case '"':
          out += '"';
          break;
        case '\\':
          out += '\\';
          break;
        case '/':
          out += '/';
          break;
        case 'n':
          out += '\n';
          break;
        case 'r':
          out += '\r';
          break;
        case 't':
          out += '\t';
          break;
        default:
          return false;
      }
    }
  }

  bool digits() {
    const char* const begin = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != begin;
  }

  bool number(json& out) {
    const char* const begin = at_;
    const bool negative = take('-');
    if (!take('0') && !digits()) return false;
    bool whole = true;
    if (take('.')) {
      whole = false;
      if (!digits()) return false;
    }
    if (take('e') || take('E')) {
      whole = false;
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    // Whole numbers beyond 64 bits and doubles out of range are for the careful half.
    if (!whole) return converted<double>(begin, out);
    return negative ? converted<std::int64_t>(begin, out) : converted<std::uint64_t>(begin, out);
  }

  template <class T>
  bool converted(const char* begin, json& out) {
    T value{};
    const auto [stop, error] = std::from_chars(begin, at_, value);
    out = value;
    return error == std::errc() && stop == at_;
  }

  const char* at_;
  const char* end_;
  const JsonLimits& limits_;
  std::size_t nodes_ = 0;
};

}  // namespace

std::optional<json> parse_json_quickly(std::string_view text, const JsonLimits& limits) {
  json out;
  if (!QuickReader(text, limits).document(out)) return std::nullopt;
  return out;
}

}  // namespace paretod
