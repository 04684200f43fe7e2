#pragma once
// Numbers and text as people like to read them.  Pure functions.  Widths are columns of a
// terminal, taken as one per UTF-8 code point.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace paretod::cli {

/// A value with its standard error, if it has one.
struct Measured {
  double value = 0;
  std::optional<double> standard_error = {};
};

/// Four significant digits, without trailing zeros: 0.4123, 12, 1.5e-7.
std::string format_number(double value);
/// With exactly so many decimals, and no "-0.0".
std::string format_fixed(double value, int decimals);
/// 12345 -> "12,345".
std::string format_count(std::uint64_t count);
/// The standard error to two digits and the value to the same place: "0.4123 ± 0.0051".
std::string format_measured(const Measured& measured);
/// A column of a table, all to the same place; "-" where there is nothing.  `with_sign` writes
/// "+" before values above zero.
std::vector<std::string> format_column(const std::vector<std::optional<Measured>>& column,
                                       bool with_sign = false);
/// "0.8 s", "12 s", "1 m 35 s", "2 h 05 m", "3 d 4 h".
std::string format_seconds(double seconds);
/// "512 B", "41 kB", "3.2 MB".
std::string format_bytes(std::uint64_t bytes);
/// "2024-11-23 18:31:02" from an RFC 3339 time.
std::string format_time(std::string_view rfc3339);

std::size_t display_width(std::string_view text);
/// Padded with blanks to `width`; longer text stays as it is.
std::string pad_left(std::string text, std::size_t width);
std::string pad_right(std::string text, std::size_t width);
/// Cut to `width`, the cut marked by "…".
std::string cut(std::string_view text, std::size_t width);
/// Broken at blanks into lines of at most `width` (a longer word stands alone); at least one line.
std::vector<std::string> wrap(std::string_view text, std::size_t width);
/// Digits compare as numbers: x2 before x10.
bool natural_less(std::string_view a, std::string_view b);
/// "1 point", "3 points".
std::string plural(std::uint64_t count, const std::string& noun);

}  // namespace paretod::cli
