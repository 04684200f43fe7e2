#pragma once
// Parameters of optimizers and evaluators as JSON, and the schemas that describe them.  Pure
// functions; any thread.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// An object whose values are booleans, numbers, strings, arrays of numbers or arrays of strings.
/// An empty array reads as one of numbers.  Meaning and ranges are checked by Fields::bind.
Result<ParamValues> param_values_from_json(const nlohmann::json& object,
                                           const std::string& pointer);

nlohmann::json to_json(const ParamValue& value);
nlohmann::json to_json(const ParamValues& values);

/// JSON Schema (draft 2020-12) of the object that these fields describe.  Fields that exist only
/// with a value of another one are in "allOf", one {"if", "then"} per value; they come together,
/// after that other field.
nlohmann::json json_schema(const std::vector<FieldInfo>& fields);
/// The inverse for the "properties" of such a schema: per name type, default, and optionally
/// description, minimum, maximum, enum (for arrays of "items": {"type": ..}).  A default is
/// required and has to obey its own bounds.
Result<std::vector<FieldInfo>> fields_from_json(const nlohmann::json& properties,
                                                const std::string& pointer);

}  // namespace paretod
