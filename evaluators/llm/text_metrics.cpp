#include "evaluators/llm/text_metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace paretod::llm {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// ASCII signs that are words of their own wherever they stand.
bool is_sign(char c) {
  return (c >= '!' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Words of mteval-v13a.
std::vector<std::string> words_of(std::string_view given) {
  std::string text(given);
  const std::array<std::pair<const char*, const char*>, 7> rules{{{"<skipped>", ""},
                                                                  {"-\n", ""},
                                                                  {"\n", " "},
                                                                  {"&quot;", "\""},
                                                                  {"&amp;", "&"},
                                                                  {"&lt;", "<"},
                                                                  {"&gt;", ">"}}};
  for (const auto& [from, to] : rules) text = replaced(std::move(text), from, to);
  std::string signs = " ";
  for (const char c : text) {
    if (is_sign(c)) {
      signs += {' ', c, ' '};
    } else {
      signs += c;
    }
  }
  signs += ' ';
  // Full stops and commas, unless digits stand on both sides; hyphens after digits.
  std::string out;
  for (std::size_t i = 0; i < signs.size(); ++i) {
    const char c = signs[i];
    const bool after_digit = i > 0 && is_digit(signs[i - 1]);
    const bool before_digit = i + 1 < signs.size() && is_digit(signs[i + 1]);
    const bool apart =
        ((c == '.' || c == ',') && !(after_digit && before_digit)) || (c == '-' && after_digit);
    if (apart) {
      out += {' ', c, ' '};
    } else {
      out += c;
    }
  }
  std::istringstream in(out);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

/// Characters of UTF-8 without white space.
std::vector<std::string> characters_of(std::string_view text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) continue;
    if ((static_cast<unsigned char>(c) & 0xC0U) == 0x80U && !out.empty()) {
      out.back() += c;
    } else {
      out.emplace_back(1, c);
    }
  }
  return out;
}

struct Matches {
  double both = 0;
  double given = 0;
  double wanted = 0;
};

using Pieces = std::map<std::vector<std::string>, std::size_t>;

Pieces pieces_of(const std::vector<std::string>& items, std::size_t length) {
  Pieces out;
  for (std::size_t i = 0; i + length <= items.size(); ++i) {
    const auto begin = items.begin() + static_cast<std::ptrdiff_t>(i);
    ++out[{begin, begin + static_cast<std::ptrdiff_t>(length)}];
  }
  return out;
}

/// Of all pieces of a length, each counted as often as it is in both.
Matches matches_of(const std::vector<std::string>& given, const std::vector<std::string>& wanted,
                   std::size_t length) {
  const auto count = [length](const std::vector<std::string>& items) {
    return static_cast<double>(items.size() < length ? 0 : items.size() - length + 1);
  };
  Matches out{0, count(given), count(wanted)};
  const Pieces there = pieces_of(wanted, length);
  for (const auto& [piece, times] : pieces_of(given, length)) {
    const auto found = there.find(piece);
    if (found != there.end()) out.both += static_cast<double>(std::min(times, found->second));
  }
  return out;
}

}  // namespace

double bleu_of(std::string_view text, std::string_view reference) {
  const std::vector<std::string> given = words_of(text);
  const std::vector<std::string> wanted = words_of(reference);
  double logs = 0;
  double orders = 0;
  double unmatched = 1;
  bool any = false;
  for (std::size_t length = 1; length <= 4; ++length) {
    const Matches matches = matches_of(given, wanted, length);
    if (matches.given == 0) break;
    any = any || matches.both > 0;
    if (matches.both == 0) unmatched *= 2;
    const double both = matches.both > 0 ? matches.both : 1 / unmatched;
    logs += std::log(both / matches.given);
    ++orders;
  }
  if (!any) return 0;
  const double shortness = static_cast<double>(wanted.size()) / static_cast<double>(given.size());
  return std::exp(logs / orders + std::min(0.0, 1 - shortness));
}

double chrf_of(std::string_view text, std::string_view reference) {
  constexpr double recall_weight = 4;  // beta 2, squared
  const std::vector<std::string> given = characters_of(text);
  const std::vector<std::string> wanted = characters_of(reference);
  double precision = 0;
  double recall = 0;
  double orders = 0;
  for (std::size_t length = 1; length <= 6; ++length) {
    const Matches matches = matches_of(given, wanted, length);
    if (matches.given == 0 || matches.wanted == 0) continue;
    precision += matches.both / matches.given;
    recall += matches.both / matches.wanted;
    ++orders;
  }
  if (precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  return (1 + recall_weight) * precision * recall / (recall_weight * precision + recall);
}

}  // namespace paretod::llm
