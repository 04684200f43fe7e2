#pragma once
// Examples to score a model on: JSON Lines, one object per example, turned into prompts and gold
// answers by templates in which {field} stands for a field of the object.  Pure functions; errors
// name file and line.

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod::llm {

/// Splits in the order of Candidate::replicate.
inline constexpr std::array<const char*, 3> split_names{"search", "select", "report"};

struct Templates {
  std::string prompt = "{prompt}";
  /// With whatever separates it from the prompt, such as a leading blank.
  std::string answer = " {answer}";
  std::string choice = " {choice}";  ///< {choice}: an item of the example's "choices"
};

struct Example {
  std::string prompt;
  std::string answer;  ///< as the template gives it
  std::vector<std::string> choices = {};
  std::size_t gold_choice = 0;  ///< where `answer` is among them
};

/// Every line has to have the fields that the templates name.  "choices", an array of strings, is
/// optional; the answer then has to be among them.
Result<std::vector<Example>> read_examples(const std::string& path, const Templates& templates);

/// Splits must not share a prompt: what was searched on says nothing about the rest.
Result<void> check_disjoint(const std::array<std::vector<Example>, 3>& splits);

/// Fills a template; a field that is missing is an error.  "{{" and "}}" stand for braces.
Result<std::string> filled(const std::string& text,
                           const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace paretod::llm
