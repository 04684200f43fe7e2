#include "evaluators/declared.hpp"

#include <algorithm>
#include <string>

#include "evaluators/evaluator.hpp"

namespace paretod {
namespace {

template <class T>
const T* find_named(const std::vector<T>& items, const std::string& name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const T& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

template <class T>
std::string names_of(const std::vector<T>& items) {
  std::string names;
  for (const T& item : items) names += (names.empty() ? "" : ", ") + item.name;
  return names.empty() ? "none" : names;
}

void check_names(const std::vector<std::string>& declared, const std::vector<std::string>& asked,
                 const std::string& at, Problems& problems) {
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (std::find(declared.begin(), declared.end(), asked[i]) == declared.end()) {
      problems.push_back({at + "/" + std::to_string(i), "is none that the evaluator declares"});
    }
  }
}

void check_parameter(const Parameter& declared, const Parameter& asked, const std::string& at,
                     Problems& problems) {
  if (declared.type != asked.type) {
    problems.push_back(
        {at + "/type", "the evaluator declares it as " + std::string(name_of(declared.type))});
    return;
  }
  const bool bounded = asked.type == ParameterType::real || asked.type == ParameterType::integer ||
                       asked.type == ParameterType::affine || asked.type == ParameterType::schedule;
  if (bounded && asked.low < declared.low) {
    problems.push_back({at + "/low", "is below what the evaluator declares"});
  }
  if (bounded && asked.high > declared.high) {
    problems.push_back({at + "/high", "is above what the evaluator declares"});
  }
  if (asked.size != declared.size) {
    problems.push_back({at + "/size", "the evaluator declares " + std::to_string(declared.size)});
  }
  if (asked.whole != declared.whole) {
    problems.push_back({at + "/whole", "is not as the evaluator declares it"});
  }
  if (asked.least < declared.least) {
    problems.push_back({at + "/least", "is below what the evaluator declares"});
  }
  if (asked.most > declared.most) {
    problems.push_back({at + "/most", "is above what the evaluator declares"});
  }
  check_names(declared.choices, asked.choices, at + "/choices", problems);
  check_names(declared.mask, asked.mask, at + "/mask", problems);
}

}  // namespace

Problems check_objectives(const std::vector<Objective>& declared,
                          const std::vector<Objective>& asked) {
  Problems problems;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const std::string at = "/objectives/" + std::to_string(i);
    const Objective* known = find_named(declared, asked[i].name);
    if (known == nullptr) {
      problems.push_back({at + "/name", "the evaluator does not measure \"" + asked[i].name +
                                            "\"; it measures: " + names_of(declared)});
    } else if (known->goal != asked[i].goal) {
      problems.push_back({at + "/goal", "the evaluator declares the other goal for it"});
    }
  }
  return problems;
}

Problems check_space(const std::vector<Parameter>& declared, const std::vector<Parameter>& asked) {
  Problems problems;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const std::string at = "/space/" + std::to_string(i);
    const Parameter* known = find_named(declared, asked[i].name);
    if (known == nullptr) {
      problems.push_back({at + "/name", "the evaluator has no parameter \"" + asked[i].name +
                                            "\"; it has: " + names_of(declared)});
    } else {
      check_parameter(*known, asked[i], at, problems);
    }
  }
  for (const Parameter& parameter : declared) {
    if (find_named(asked, parameter.name) == nullptr) {
      problems.push_back(
          {"/space", "the evaluator needs the parameter \"" + parameter.name + "\""});
    }
  }
  return problems;
}

Problems check_params(const std::vector<FieldInfo>& fields, const ParamValues& values) {
  Problems problems;
  for (const auto& [name, value] : values) {
    const FieldInfo* field = find_named(fields, name);
    if (field == nullptr) {
      problems.push_back({"/evaluator/params/" + name,
                          "no parameter is called \"" + name + "\"; known: " + names_of(fields)});
    } else if (const auto checked = check_field(*field, value); !checked) {
      problems.push_back({"/evaluator/params/" + name, checked.error().message});
    }
  }
  return problems;
}

Problems check_declared(const EvaluatorDescription& declared, const EvaluationContext& context) {
  Problems problems = check_params(declared.params, context.params);
  const auto add = [&problems](const Problems& found) {
    problems.insert(problems.end(), found.begin(), found.end());
  };
  if (!declared.objectives.empty()) add(check_objectives(declared.objectives, context.objectives));
  if (declared.space) add(check_space(*declared.space, context.space.parameters()));
  return problems;
}

}  // namespace paretod
