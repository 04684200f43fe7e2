#pragma once
// Bytes from foreign programs: cut into lines, and made fit for people and for JSON.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace paretod {

/// Valid UTF-8 of at most `most` bytes: invalid sequences and control characters other than line
/// end and tab become '?'; what does not fit is cut off at the end and marked with "...".
std::string printable_text(std::string_view bytes, std::size_t most);

/// Collects a byte stream and hands out its lines.  Not thread-safe.
class LineBuffer {
 public:
  explicit LineBuffer(std::size_t longest) : longest_(longest) {}

  void append(std::string_view bytes);
  /// The next complete line without its end ("\n" or "\r\n"); valid until the next call.
  std::optional<std::string_view> next();
  /// Whether the line being collected is longer than allowed.  Ask when next() gave nothing.
  [[nodiscard]] bool too_long() const { return data_.size() - begin_ > longest_; }
  /// The start of the line being collected.
  [[nodiscard]] std::string_view rest() const { return std::string_view(data_).substr(begin_); }

 private:
  std::size_t longest_;
  std::string data_;
  std::size_t begin_ = 0;    // of the line being collected
  std::size_t scanned_ = 0;  // no line end before this
};

/// The last bytes of a stream, such as a program's stderr.  Not thread-safe.
class TailBuffer {
 public:
  explicit TailBuffer(std::size_t most) : most_(most) {}

  void append(std::string_view bytes);
  void clear() {
    data_.clear();
    written_ = 0;
  }
  /// Bytes appended since the last clear().
  [[nodiscard]] std::uint64_t written() const { return written_; }
  /// At most `most` bytes.
  [[nodiscard]] std::string_view bytes() const;
  /// Those of them that came after the first `position` bytes.
  [[nodiscard]] std::string_view since(std::uint64_t position) const;
  /// The last few lines, printable; for messages.
  [[nodiscard]] std::string last_lines() const;

 private:
  std::size_t most_;
  std::string data_;
  std::uint64_t written_ = 0;
};

}  // namespace paretod
