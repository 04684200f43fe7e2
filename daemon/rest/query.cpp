#include "daemon/rest/query.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

/// Digits only; what has too many of them is larger than any bound.
std::optional<std::int64_t> whole_number(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? value : std::numeric_limits<std::int64_t>::max();
}

/// Empty when the value is good; then `number` holds it if it is one.
std::string check(const QueryField& field, const std::string& value, std::int64_t& number) {
  if (field.kind == QueryField::Kind::flag) {
    const bool known = value.empty() || value == "true" || value == "false";
    return known ? "" : "must be true or false, or stand alone";
  }
  if (value.empty()) return "must not be empty";
  if (field.kind == QueryField::Kind::choice) {
    const bool known =
        std::find(field.choices.begin(), field.choices.end(), value) != field.choices.end();
    return known ? "" : "must be one of " + joined(field.choices);
  }
  if (field.kind == QueryField::Kind::text) return "";
  const auto parsed = whole_number(value);
  if (parsed && field.clamped && *parsed > field.high) {
    number = field.high;
    return "";
  }
  if (!parsed || *parsed < field.low || *parsed > field.high) {
    return "must be a whole number from " + std::to_string(field.low) + " to " +
           std::to_string(field.high);
  }
  number = *parsed;
  return "";
}

}  // namespace

QueryField QueryField::text(std::string name, std::string meaning) {
  return {.name = std::move(name), .kind = Kind::text, .meaning = std::move(meaning)};
}

QueryField QueryField::integer(std::string name, std::string meaning, std::int64_t low,
                               std::int64_t high) {
  return {.name = std::move(name),
          .kind = Kind::integer,
          .meaning = std::move(meaning),
          .low = low,
          .high = high};
}

QueryField QueryField::choice(std::string name, std::string meaning,
                              std::vector<std::string> choices) {
  return {.name = std::move(name),
          .kind = Kind::choice,
          .meaning = std::move(meaning),
          .choices = std::move(choices)};
}

QueryField QueryField::flag(std::string name, std::string meaning) {
  return {.name = std::move(name), .kind = Kind::flag, .meaning = std::move(meaning)};
}

std::vector<std::string> QueryValues::texts(std::string_view name) const {
  std::vector<std::string> values;
  const auto [first, last] = texts_.equal_range(name);
  for (auto it = first; it != last; ++it) values.push_back(it->second);
  return values;
}

bool QueryValues::flag(std::string_view name) const {
  const auto value = text(name);
  return value && *value != "false";
}

std::optional<std::string> QueryValues::text(std::string_view name) const {
  const auto found = texts_.find(name);
  if (found == texts_.end()) return std::nullopt;
  return found->second;
}

std::int64_t QueryValues::integer(std::string_view name, std::int64_t fallback) const {
  const auto found = integers_.find(name);
  return found == integers_.end() ? fallback : found->second;
}

Result<QueryValues> read_query(const std::vector<QueryField>& fields, const NameValues& query) {
  QueryValues values;
  Problems problems;
  for (const auto& [name, value] : query) {
    const std::string pointer = "/query/" + pointer_token(name);
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&](const QueryField& known) { return known.name == name; });
    if (field == fields.end()) {
      std::vector<std::string> known;
      for (const QueryField& each : fields) known.push_back(each.name);
      problems.push_back({pointer, "there is no such query parameter here; known: " +
                                       (known.empty() ? "none" : joined(known))});
      continue;
    }
    if (!field->repeatable && values.texts_.count(name) > 0) {
      problems.push_back({pointer, "is given more than once"});
      continue;
    }
    std::int64_t number = 0;
    if (std::string problem = check(*field, value, number); !problem.empty()) {
      problems.push_back({pointer, std::move(problem)});
      continue;
    }
    values.texts_.emplace(name, value);
    if (field->kind == QueryField::Kind::integer) values.integers_.emplace(name, number);
  }
  if (problems.empty()) return values;
  std::vector<std::string> names;
  for (const Problem& problem : problems) {
    names.push_back(problem.pointer.substr(std::string_view("/query/").size()));
  }
  return invalid("The query is not valid: " + joined(names) + ".", std::move(problems));
}

std::vector<QueryField> page_fields() {
  QueryField size = QueryField::integer(
      "page_size", "How many items at most; larger values count as the maximum.", 1, max_page_size);
  size.clamped = true;
  return {std::move(size),
          QueryField::text("page_token", "The next_page_token of the page before this one.")};
}

}  // namespace paretod
