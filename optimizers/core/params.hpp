#pragma once
// Described parameters.  An optimizer or evaluator keeps its parameters in a plain struct and
// describes each field once (name, meaning, range); the default is the struct's own.  From the
// description come the JSON schema, --help, the documentation and the checked conversion from
// user input.
//
//   struct RandomParams { std::int64_t batch = 64; };
//   template <> inline Fields<RandomParams> describe() {
//     return Fields<RandomParams>().add("batch", &RandomParams::batch, "points per batch", 1,
//     4096);
//   }
//   Result<RandomParams> params = describe<RandomParams>().bind(values);

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

/// What user input can carry.  Edges convert JSON to and from this.
using ParamValue = std::variant<bool, std::int64_t, double, std::string, std::vector<double>,
                                std::vector<std::string>>;
using ParamValues = std::map<std::string, ParamValue>;

/// One field as documentation and schemas see it.
struct FieldInfo {
  std::string name;
  std::string meaning;
  ParamValue default_value;
  double low = -std::numeric_limits<double>::infinity();  ///< numbers only; inclusive
  double high = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  ///< strings only; empty: any
  /// Another field (a string) and the value of it with which this one exists; empty: always.  Of
  /// such fields several may have one name.  Fields<P> knows nothing of them.
  std::pair<std::string, std::string> only_with = {};
};

/// Checks the value against the field; converts an integer to a double where a double is wanted.
Result<ParamValue> check_field(const FieldInfo& field, const ParamValue& value);

template <class P>
class Fields {
 public:
  /// Members may be those of a base of P; the default is what a P has there.  Numbers: an inclusive
  /// range.
  template <class T, class Base>
  Fields add(std::string name, T Base::*member, std::string meaning,
             double low = -std::numeric_limits<double>::infinity(),
             double high = std::numeric_limits<double>::infinity()) && {
    return std::move(*this).add_field(
        {std::move(name), std::move(meaning), ParamValue(P{}.*member), low, high}, member);
  }
  /// Strings: a closed list of choices.
  template <class Base>
  Fields add(std::string name, std::string Base::*member, std::string meaning,
             std::vector<std::string> choices) && {
    FieldInfo info{std::move(name), std::move(meaning), ParamValue(P{}.*member)};
    info.choices = std::move(choices);
    return std::move(*this).add_field(std::move(info), member);
  }

  [[nodiscard]] const std::vector<FieldInfo>& infos() const { return infos_; }

  /// Defaults overridden by `values`; problems (unknown name, wrong type, out of range) point
  /// below `pointer`.
  [[nodiscard]] Result<P> bind(const ParamValues& values,
                               const std::string& pointer = "/optimizer/params") const {
    P params{};
    Problems problems;
    for (const auto& [name, value] : values) {
      const std::size_t i = index_of(name);
      if (i == infos_.size()) {
        problems.push_back({pointer + "/" + name, unknown_field(name)});
        continue;
      }
      auto checked = check_field(infos_[i], value);
      if (checked) {
        setters_[i](params, *checked);
      } else {
        problems.push_back({pointer + "/" + name, checked.error().message});
      }
    }
    if (!problems.empty()) return invalid("the parameters are not valid", std::move(problems));
    return params;
  }

 private:
  template <class T, class Base>
  Fields add_field(FieldInfo info, T Base::*member) && {
    infos_.push_back(std::move(info));
    setters_.push_back(
        [member](P& params, const ParamValue& value) { params.*member = std::get<T>(value); });
    return std::move(*this);
  }
  [[nodiscard]] std::size_t index_of(const std::string& name) const {
    std::size_t i = 0;
    while (i < infos_.size() && infos_[i].name != name) ++i;
    return i;
  }
  [[nodiscard]] std::string unknown_field(const std::string& name) const {
    std::string known;
    for (const FieldInfo& info : infos_) known += (known.empty() ? "" : ", ") + info.name;
    return "no parameter is called \"" + name + "\"; known: " + (known.empty() ? "none" : known);
  }

  std::vector<FieldInfo> infos_;
  std::vector<std::function<void(P&, const ParamValue&)>> setters_;
};

/// Specialised beside each parameter struct.
template <class P>
Fields<P> describe();

}  // namespace paretod
