#include "evaluators/llm/scorer.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <numeric>
#include <regex>
#include <sstream>
#include <utility>

#include "adapters/json/parse.hpp"
#include "evaluators/llm/text_metrics.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 12> names{
    "gold_nll", "perplexity", "choice_loglik", "choice_first_token", "exact_match", "numeric",
    "token_f1", "set_f1",     "contains",      "json_valid",         "bleu",        "chrf"};
constexpr std::array<const char*, 5> text_rules{"lower", "punctuation", "numbers", "articles",
                                                "space"};
constexpr std::array<const char*, 4> choice_rules{"none", "chars", "bytes", "mutual"};

/// Bytes of a text that a pattern is looked for in.
constexpr std::size_t longest_matched = 2048;

template <class List>
bool among(const List& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

template <class List>
std::string listed(const List& list) {
  std::string out;
  for (const auto& item : list) out += (out.empty() ? "" : ", ") + std::string(item);
  return out;
}

std::string trimmed(const std::string& text) {
  const char* blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::size_t characters_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;  // not a continuation byte
  }));
}

/// The items of a list in a text: a JSON array (items as they are written), else parts.
std::vector<std::string> items_of(const std::string& text) {
  std::vector<std::string> out;
  const std::size_t open = text.find('[');
  const std::size_t close = text.rfind(']');
  if (open != std::string::npos && close != std::string::npos && close > open) {
    const auto document = parse_json(std::string_view(text).substr(open, close - open + 1));
    if (document && document->is_array()) {
      for (const json& item : *document) {
        out.push_back(item.is_string() ? item.get<std::string>() : item.dump());
      }
      return out;
    }
  }
  std::string part;
  for (const char c : text + "\n") {
    if (c != ';' && c != '\n') {
      part += c;
      continue;
    }
    part = trimmed(part);
    if (!part.empty()) out.push_back(std::exchange(part, {}));
  }
  return out;
}

bool is_article(const std::string& word) {
  return word == "a" || word == "an" || word == "the";
}

}  // namespace

Needs& Needs::operator|=(const Needs& other) {
  text |= other.text;
  alternatives |= other.alternatives;
  gold |= other.gold;
  whole |= other.whole;
  choices |= other.choices;
  bare_choices |= other.bare_choices;
  return *this;
}

std::optional<double> last_number(const std::string& text) {
  const auto digit = [&text](std::size_t i) {
    return i < text.size() && text[i] >= '0' && text[i] <= '9';
  };
  std::size_t end = text.find_last_of("0123456789");
  if (end == std::string::npos) return {};
  ++end;
  std::size_t begin = end - 1;
  bool point = false;
  // Back over digits, their separators and one decimal point.
  while (begin > 0 &&
         (digit(begin - 1) || (text[begin - 1] == ',' && begin > 1 && digit(begin - 2)) ||
          (text[begin - 1] == '.' && !point && begin > 1 && digit(begin - 2)))) {
    --begin;
    point = point || text[begin] == '.';
  }
  if (begin > 0 && (text[begin - 1] == '-' || text[begin - 1] == '+')) --begin;
  std::string number = text.substr(begin, end - begin);
  std::erase(number, ',');
  return std::strtod(number.c_str(), nullptr);
}

double f1_of(std::vector<std::string> found, std::vector<std::string> wanted) {
  if (found.empty() && wanted.empty()) return 1;
  std::sort(found.begin(), found.end());
  std::sort(wanted.begin(), wanted.end());
  std::vector<std::string> both;
  std::set_intersection(found.begin(), found.end(), wanted.begin(), wanted.end(),
                        std::back_inserter(both));
  return 2 * static_cast<double>(both.size()) / static_cast<double>(found.size() + wanted.size());
}

Result<Scorer> Scorer::make(const std::string& name, const std::vector<std::string>& normalise,
                            const std::string& pattern) {
  Problems problems;
  if (!among(names, name)) {
    problems.push_back({"/scorer", "there is no such scorer; known: " + listed(names)});
  }
  for (const std::string& rule : normalise) {
    const bool known =
        name == "choice_loglik" ? among(choice_rules, rule) : among(text_rules, rule);
    if (!known) {
      problems.push_back({"/normalise", "\"" + rule + "\" is not known; known: " +
                                            (name == "choice_loglik" ? listed(choice_rules)
                                                                     : listed(text_rules))});
    }
  }
  const bool reads_text =
      name != "gold_nll" && name != "perplexity" && !name.starts_with("choice_");
  if (!pattern.empty() && !reads_text) {
    problems.push_back({"/pattern", "is for scorers of text"});
  }
  if (name == "choice_loglik" && normalise.size() > 1) {
    problems.push_back({"/normalise", "has to name one way to normalise choices"});
  }
  try {
    const std::regex tried(pattern);
  } catch (const std::regex_error&) {
    problems.push_back({"/pattern", "is no regular expression (ECMAScript)"});
  }
  if (!problems.empty()) return invalid("the scorer is not valid", std::move(problems));
  Scorer scorer;
  scorer.name_ = name;
  scorer.normalise_ = normalise;
  scorer.pattern_ = pattern;
  return scorer;
}

Needs Scorer::needs() const {
  Needs needs;
  needs.gold = name_ == "gold_nll";
  needs.whole = name_ == "perplexity";
  needs.choices = name_ == "choice_loglik";
  needs.bare_choices = needs.choices && has("mutual");
  needs.alternatives = name_ == "choice_first_token";
  needs.text = !needs.scored_text();
  return needs;
}

Goal Scorer::goal() const {
  return name_ == "gold_nll" || name_ == "perplexity" ? Goal::minimize : Goal::maximize;
}

bool Scorer::has(const std::string& rule) const {
  return among(normalise_, rule);
}

Score Scorer::score(const Example& example, const Replies& replies) const {
  if (name_ == "gold_nll" || name_ == "perplexity") {
    const std::vector<double>& values =
        (name_ == "gold_nll" ? replies.gold : replies.whole)->logprobs;
    const double count = static_cast<double>(std::max<std::size_t>(values.size(), 1));
    return {-sum_of(values) / count, count};
  }
  if (name_ == "choice_loglik") {
    return {best_choice(example, replies) == example.gold_choice ? 1.0 : 0.0};
  }
  if (name_ == "choice_first_token") {
    return {first_letter(example, replies) == example.gold_choice ? 1.0 : 0.0};
  }
  return {text_score(example, replies.generation->text)};
}

std::size_t Scorer::best_choice(const Example& example, const Replies& replies) const {
  std::size_t best = 0;
  double best_value = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < replies.choices.size(); ++i) {
    double value = sum_of(replies.choices[i].logprobs);
    const std::string text = trimmed(example.choices[i]);
    if (has("chars")) value /= static_cast<double>(std::max<std::size_t>(characters_of(text), 1));
    if (has("bytes")) value /= static_cast<double>(std::max<std::size_t>(text.size(), 1));
    if (has("mutual")) value -= sum_of(replies.bare_choices[i].logprobs);
    if (value > best_value) {
      best_value = value;
      best = i;
    }
  }
  return best;
}

/// Which choice the likeliest alternative begins; the number of choices where it is none.
std::size_t Scorer::first_letter(const Example& example, const Replies& replies) const {
  std::size_t best = example.choices.size();
  double best_value = -std::numeric_limits<double>::infinity();
  for (const auto& [token, logprob] : replies.generation->first) {
    const std::string start = trimmed(token);
    for (std::size_t i = 0; i < example.choices.size(); ++i) {
      if (!start.empty() && trimmed(example.choices[i]).starts_with(start) &&
          logprob > best_value) {
        best_value = logprob;
        best = i;
      }
    }
  }
  return best;
}

std::string Scorer::normalised(const std::string& text) const {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (has("punctuation") && byte < 0x80 && std::ispunct(byte) != 0) continue;
    if (has("numbers") && byte < 0x80 && std::isdigit(byte) != 0) continue;
    out += has("lower") && byte < 0x80 ? static_cast<char>(std::tolower(byte)) : c;
  }
  if (has("articles") || has("space")) {
    std::string joined;
    for (const std::string& word : words_of(out)) {
      if (!has("articles") || !is_article(word)) joined += (joined.empty() ? "" : " ") + word;
    }
    out = std::move(joined);
  }
  return trimmed(out);
}

/// What the pattern finds first, its group if it has one; all of the text without a pattern, and
/// nothing where it finds nothing.
std::optional<std::string> Scorer::found_in(const std::string& text) const {
  if (pattern_.empty()) return text;
  std::smatch match;
  // libstdc++ recurses once per character, and the text is a stranger's.
  const std::string start = text.substr(0, longest_matched);
  if (!std::regex_search(start, match, std::regex(pattern_))) return {};
  return match.size() > 1 ? match[1].str() : match[0].str();
}

double Scorer::text_score(const Example& example, const std::string& whole) const {
  const auto yes = [](bool holds) { return holds ? 1.0 : 0.0; };
  const auto part = found_in(whole);
  // Not even an empty answer is right where the wanted form is missing.
  if (!part) return 0;
  const std::string& text = *part;
  if (name_ == "json_valid") return yes(static_cast<bool>(parse_json(trimmed(text))));
  if (name_ == "numeric") {
    const auto found = last_number(text);
    const auto wanted = last_number(example.answer);
    return yes(found && wanted && *found == *wanted);
  }
  const std::string given = normalised(text);
  const std::string wanted = normalised(example.answer);
  if (name_ == "exact_match") return yes(given == wanted);
  if (name_ == "contains") return yes(given.find(wanted) != std::string::npos);
  if (name_ == "token_f1") return f1_of(words_of(given), words_of(wanted));
  if (name_ == "bleu") return std::min(1.0, bleu_of(given, wanted));
  if (name_ == "chrf") return chrf_of(given, wanted);
  std::vector<std::string> found = items_of(text);
  std::vector<std::string> items = items_of(example.answer);
  for (std::vector<std::string>* list : {&found, &items}) {
    for (std::string& item : *list) item = normalised(item);
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  return f1_of(std::move(found), std::move(items));
}

}  // namespace paretod::llm
