#include "daemon/cli/format.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace paretod::cli {
namespace {

constexpr int max_significant = 7;

std::string print(const char* format, int precision, double value) {
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), format, precision, value);
  return text.data();
}

/// "1.5e-07" -> "1.5e-7", "1.500e-7" -> "1.5e-7".
std::string tidy_exponent(std::string text) {
  const std::size_t e = text.find('e');
  if (e == std::string::npos) return text;
  std::string mantissa = text.substr(0, e);
  if (mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  std::size_t digits = e + 2;
  while (digits + 1 < text.size() && text[digits] == '0') ++digits;
  return mantissa + "e" + (text[e + 1] == '-' ? "-" : "") + text.substr(digits);
}

std::string scientific(double value, int digits) {
  return tidy_exponent(print("%.*e", digits, value));
}

/// Place of the leading digit: 0 for 1..9.99, -1 for 0.1..0.99.
int magnitude(double value) {
  return value == 0 ? 0 : static_cast<int>(std::floor(std::log10(std::abs(value))));
}

bool wants_exponent(double largest) {
  return largest != 0 && (largest < 1e-4 || largest >= 1e7);
}

/// How a set of values is written together.
struct Places {
  bool exponent = false;
  int decimals = 0;
};

Places places_of(const std::vector<Measured>& values) {
  double largest = 0;
  double least_error = 0;
  double most_error = 0;
  bool whole = true;
  for (const Measured& measured : values) {
    largest = std::max(largest, std::abs(measured.value));
    whole = whole && measured.value == std::round(measured.value);
    const double error = measured.standard_error.value_or(0);
    if (error > 0) {
      least_error = least_error == 0 ? error : std::min(least_error, error);
      most_error = std::max(most_error, error);
    }
  }
  Places places{wants_exponent(std::max(largest, most_error)), 0};
  if (most_error > 0) {
    places.decimals = std::min(1 - magnitude(least_error), 2 - magnitude(most_error));
  } else if (!whole) {
    places.decimals = 4 - std::max(magnitude(largest), -1);
  }
  const int room = max_significant - 1 - std::max(magnitude(std::max(largest, most_error)), 0);
  places.decimals = std::clamp(places.decimals, 0, std::max(room, 0));
  return places;
}

std::string write(const Measured& measured, const Places& places, bool with_sign) {
  const double error = measured.standard_error.value_or(0);
  const std::string sign = with_sign && measured.value > 0 ? "+" : "";
  if (places.exponent) {
    const std::string value = sign + scientific(measured.value, 3);
    return error > 0 ? value + " ± " + scientific(error, 1) : value;
  }
  const std::string value = sign + format_fixed(measured.value, places.decimals);
  const std::string error_text = format_fixed(error, places.decimals);
  const bool visible = error_text.find_first_not_of("0.") != std::string::npos;
  return error > 0 && visible ? value + " ± " + error_text : value;
}

}  // namespace

std::string format_number(double value) {
  if (wants_exponent(std::abs(value))) return scientific(value, 3);
  std::string text = format_fixed(value, std::clamp(3 - magnitude(value), 0, 7));
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string format_fixed(double value, int decimals) {
  std::string text = print("%.*f", decimals, value);
  if (text[0] == '-' && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);
  return text;
}

std::string format_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string format_measured(const Measured& measured) {
  if (measured.standard_error.value_or(0) <= 0) return format_number(measured.value);
  return write(measured, places_of({measured}), false);
}

std::vector<std::string> format_column(const std::vector<std::optional<Measured>>& column,
                                       bool with_sign) {
  std::vector<Measured> present;
  for (const auto& cell : column) {
    if (cell) present.push_back(*cell);
  }
  const Places places = places_of(present);
  std::vector<std::string> out;
  out.reserve(column.size());
  for (const auto& cell : column) out.push_back(cell ? write(*cell, places, with_sign) : "-");
  return out;
}

std::string format_seconds(double seconds) {
  if (seconds < 9.95) return format_fixed(std::max(seconds, 0.0), 1) + " s";
  if (seconds >= 1e15) return scientific(seconds, 1) + " s";
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  const auto two = [](std::uint64_t number) {
    return (number < 10 ? "0" : "") + std::to_string(number);
  };
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " m " + two(whole % 60) + " s";
  const std::uint64_t minutes = (whole + 30) / 60;
  if (minutes < 24 * 60) return std::to_string(minutes / 60) + " h " + two(minutes % 60) + " m";
  const std::uint64_t hours = (minutes + 30) / 60;
  return format_count(hours / 24) + " d " + std::to_string(hours % 24) + " h";
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  double size = static_cast<double>(bytes) / 1000;
  const std::array<const char*, 4> units = {" kB", " MB", " GB", " TB"};
  std::size_t unit = 0;
  while (size >= 999.5 && unit + 1 < units.size()) {
    size /= 1000;
    ++unit;
  }
  return format_fixed(size, size < 9.95 ? 1 : 0) + units[unit];
}

std::string format_time(std::string_view rfc3339) {
  std::string text(rfc3339.substr(0, 19));
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string pad_left(std::string text, std::size_t width) {
  const std::size_t now = display_width(text);
  return now >= width ? text : std::string(width - now, ' ') + text;
}

std::string pad_right(std::string text, std::size_t width) {
  const std::size_t now = display_width(text);
  return now >= width ? text : text + std::string(width - now, ' ');
}

std::string cut(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::size_t end = 0;
  for (std::size_t points = 0; end < text.size(); ++end) {
    const bool starts_point = (static_cast<unsigned char>(text[end]) & 0xc0) != 0x80;
    if (starts_point && points++ == width - 1) break;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines(1);
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty()) continue;
    std::string& line = lines.back();
    if (line.empty()) {
      line = word;
    } else if (display_width(line) + 1 + display_width(word) <= width) {
      line += ' ';
      line += word;
    } else {
      lines.emplace_back(word);
    }
  }
  return lines;
}

bool natural_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0;
  std::size_t k = 0;
  while (i < a.size() && k < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[k])) {
      if (a[i] != b[k]) return a[i] < b[k];
      ++i, ++k;
      continue;
    }
    const auto number = [&](std::string_view text, std::size_t& at) {
      while (at < text.size() && text[at] == '0') ++at;
      const std::size_t begin = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(begin, at - begin);
    };
    const std::string_view left = number(a, i);
    const std::string_view right = number(b, k);
    if (left.size() != right.size()) return left.size() < right.size();
    if (left != right) return left < right;
  }
  return a.size() - i < b.size() - k;
}

std::string plural(std::uint64_t count, const std::string& noun) {
  return format_count(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace paretod::cli
