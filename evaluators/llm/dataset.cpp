#include "evaluators/llm/dataset.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "adapters/json/parse.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;
using Fields = std::vector<std::pair<std::string, std::string>>;

Result<Example> example_of(const json& object, const Templates& templates) {
  Fields fields;
  for (const auto& item : object.items()) {
    if (item.value().is_string()) {
      fields.emplace_back(item.key(), item.value().get<std::string>());
    } else if (item.value().is_number() || item.value().is_boolean()) {
      fields.emplace_back(item.key(), item.value().dump());
    }
  }
  Example out;
  auto prompt = filled(templates.prompt, fields);
  if (!prompt) return prompt.error();
  if (prompt->empty()) return invalid("the prompt is empty");
  auto answer = filled(templates.answer, fields);
  if (!answer) return answer.error();
  out.prompt = std::move(*prompt);
  out.answer = std::move(*answer);
  const auto choices = object.find("choices");
  if (choices == object.end()) return out;
  if (!choices->is_array() || choices->size() < 2) {
    return invalid("\"choices\" has to be an array of at least two strings");
  }
  for (const json& choice : *choices) {
    if (!choice.is_string()) return invalid("\"choices\" has to be an array of strings");
    auto text = filled(templates.choice, {{"choice", choice.get<std::string>()}});
    if (!text) return text.error();
    out.choices.push_back(std::move(*text));
  }
  const auto gold = std::find(out.choices.begin(), out.choices.end(), out.answer);
  if (gold == out.choices.end()) return invalid("the answer is not among the choices");
  out.gold_choice = static_cast<std::size_t>(gold - out.choices.begin());
  return out;
}

}  // namespace

Result<std::string> filled(const std::string& text, const Fields& fields) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += c;
      ++i;
    } else if (c == '{') {
      const std::size_t end = text.find('}', i);
      if (end == std::string::npos) return invalid("a template lacks a closing brace");
      const std::string name = text.substr(i + 1, end - i - 1);
      const auto field = std::find_if(fields.begin(), fields.end(),
                                      [&name](const auto& entry) { return entry.first == name; });
      if (field == fields.end()) {
        return invalid("there is no field \"" + name + "\", which the template names");
      }
      out += field->second;
      i = end;
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::vector<Example>> read_examples(const std::string& path, const Templates& templates) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error{ErrorKind::not_found, "cannot read " + path};
  std::vector<Example> out;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto at = [&](const std::string& why) {
      return invalid(path + ", line " + std::to_string(number) + ": " + why);
    };
    const auto document = parse_json(line);
    if (!document) return at(document.error().text());
    if (!document->is_object()) return at("has to be an object");
    auto example = example_of(*document, templates);
    if (!example) return at(example.error().message);
    out.push_back(std::move(*example));
  }
  if (out.empty()) return invalid(path + " holds no examples");
  return out;
}

Result<void> check_disjoint(const std::array<std::vector<Example>, 3>& splits) {
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t split = 0; split < splits.size(); ++split) {
    for (const Example& example : splits[split]) {
      const auto [entry, fresh] = seen.emplace(example.prompt, split);
      if (fresh || entry->second == split) continue;
      return invalid(std::string("the splits ") + split_names[entry->second] + " and " +
                     split_names[split] + " share a prompt, which begins with \"" +
                     example.prompt.substr(0, 60) + "\"; they have to be disjoint");
    }
  }
  return {};
}

}  // namespace paretod::llm
