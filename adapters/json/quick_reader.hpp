#pragma once
// The grammar of plain JSON (RFC 8259), for parsers that leave everything else (errors, limits,
// characters beyond ASCII, rare escapes) to a careful one: no error says more than "not here".
// What becomes of the values is the target's business:
//
//   Slot                      where one value belongs
//   null, boolean(Slot, bool), number(Slot, T)
//   text(Slot, std::string_view, bool lasting)   lasting: a part of the document itself
//   object(Slot), array(Slot), close(Slot)
//   bool member(Slot object, std::string_view key, bool lasting, Slot& value)   false: not twice
//   Slot item(Slot array)
//
// Lives on the stack of one parsing function.

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "adapters/json/parse.hpp"

namespace paretod {

/// Every function returns false where it gives up; where it stands then does not matter.
template <class Target>
class QuickReader {
 public:
  using Slot = typename Target::Slot;

  QuickReader(std::string_view text, const JsonLimits& limits, Target& target)
      : at_(text.data()), end_(text.data() + text.size()), limits_(limits), target_(target) {}

  bool document(Slot slot) {
    skip_blanks();
    if (!value(slot, 0)) return false;
    skip_blanks();
    return at_ == end_;
  }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  /// Whether a byte of a string stands for itself.
  static constexpr std::array<bool, 256> plain_bytes = [] {
    std::array<bool, 256> plain{};
    for (std::size_t byte = 0x20; byte < 0x80; ++byte) plain[byte] = byte != '"' && byte != '\\';
    return plain;
  }();

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

  bool value(Slot slot, std::size_t depth) {
    if (at_ == end_ || ++nodes_ > limits_.nodes) return false;
    switch (*at_) {
      case '{':
        return depth < limits_.depth && object(slot, depth + 1);
      case '[':
        return depth < limits_.depth && array(slot, depth + 1);
      case '"':
        if (!string()) return false;
        target_.text(slot, string_, lasting_);
        return true;
      case 't':
        target_.boolean(slot, true);
        return word("true");
      case 'f':
        target_.boolean(slot, false);
        return word("false");
      case 'n':
        target_.null(slot);
        return word("null");
      default:
        return number(slot);
    }
  }

  bool object(Slot slot, std::size_t depth) {
    target_.object(slot);
    ++at_;
    skip_blanks();
    if (!take('}')) {
      do {
        skip_blanks();
        Slot member{};
        if (!string() || !target_.member(slot, string_, lasting_, member)) return false;
        skip_blanks();
        if (!take(':')) return false;
        skip_blanks();
        if (!value(member, depth)) return false;
        skip_blanks();
      } while (take(','));
      if (!take('}')) return false;
    }
    target_.close(slot);
    return true;
  }

  bool array(Slot slot, std::size_t depth) {
    target_.array(slot);
    ++at_;
    skip_blanks();
    if (!take(']')) {
      do {
        skip_blanks();
        if (!value(target_.item(slot), depth)) return false;
        skip_blanks();
      } while (take(','));
      if (!take(']')) return false;
    }
    target_.close(slot);
    return true;
  }

  /// Into string_.
  bool string() {
    if (!take('"')) return false;
    const char* begin = at_;
    skip_plain();
    lasting_ = at_ != end_ && *at_ == '"';
    if (lasting_) {
      string_ = {begin, static_cast<std::size_t>(at_ - begin)};
    } else {
      unescaped_.clear();
      while (true) {
        unescaped_.append(begin, at_);
        if (at_ == end_ || unescaped_.size() > limits_.string_bytes) return false;
        if (*at_ == '"') break;
        if (!take('\\') || !escape()) return false;
        begin = at_;
        skip_plain();
      }
      string_ = unescaped_;
    }
    ++at_;
    return string_.size() <= limits_.string_bytes;
  }
  void skip_plain() {
    while (at_ != end_ && plain_bytes[static_cast<unsigned char>(*at_)]) ++at_;
  }
  bool escape() {
    if (at_ == end_) return false;
    switch (*at_++) {
      case '"':
        unescaped_ += '"';
        return true;
      case '\\':
        unescaped_ += '\\';
        return true;
      case '/':
        unescaped_ += '/';
        return true;
      case 'n':
        unescaped_ += '\n';
        return true;
      case 'r':
        unescaped_ += '\r';
        return true;
      case 't':
        unescaped_ += '\t';
        return true;
      default:
        return false;
    }
  }

  bool digits() {
    const char* const begin = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != begin;
  }

  bool number(Slot slot) {
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
    // Whole numbers beyond 64 bits and doubles out of range are for the careful parser.
    if (!whole) return converted<double>(begin, slot);
    return negative ? converted<std::int64_t>(begin, slot) : converted<std::uint64_t>(begin, slot);
  }

  template <class T>
  bool converted(const char* begin, Slot slot) {
    T value{};
    const auto [stop, error] = std::from_chars(begin, at_, value);
    target_.number(slot, value);
    return error == std::errc() && stop == at_;
  }

  const char* at_;
  const char* end_;
  const JsonLimits& limits_;
  Target& target_;
  std::size_t nodes_ = 0;
  std::string_view string_;  ///< read last
  bool lasting_ = false;     ///< string_ is a part of the document
  std::string unescaped_;
};

}  // namespace paretod
