#include "daemon/rest/openapi.hpp"

#include <nlohmann/json.hpp>
#include <set>

namespace paretod {
namespace {

using nlohmann::json;

json reference(const std::string& schema) {
  return {{"$ref", "#/components/schemas/" + schema}};
}

json query_parameter(const QueryField& field) {
  json schema{{"type", "string"}};
  switch (field.kind) {
    case QueryField::Kind::integer:
      schema = {{"type", "integer"}, {"minimum", field.low}};
      if (!field.clamped) schema["maximum"] = field.high;
      break;
    case QueryField::Kind::choice:
      schema["enum"] = field.choices;
      break;
    case QueryField::Kind::text:
      schema["minLength"] = 1;
      break;
    case QueryField::Kind::flag:
      schema = {{"type", "boolean"}};
      break;
  }
  // Repeated as name=a&name=b, which is what "form" and "explode" stand for by default.
  if (field.repeatable) schema = {{"type", "array"}, {"items", std::move(schema)}};
  json parameter{{"name", field.name},
                 {"in", "query"},
                 {"required", false},
                 {"description", field.meaning},
                 {"schema", std::move(schema)}};
  if (field.kind == QueryField::Kind::flag) parameter["allowEmptyValue"] = true;
  return parameter;
}

/// The names in braces.
std::vector<std::string> path_parameters(const std::string& pattern) {
  std::vector<std::string> names;
  for (std::size_t open = pattern.find('{'); open != pattern.npos;
       open = pattern.find('{', open + 1)) {
    names.push_back(pattern.substr(open + 1, pattern.find('}', open) - open - 1));
  }
  return names;
}

json parameters_of(const Operation& operation) {
  json parameters = json::array();
  for (const std::string& name : path_parameters(operation.pattern)) {
    parameters.push_back({{"name", name},
                          {"in", "path"},
                          {"required", true},
                          {"schema", {{"type", "string"}, {"pattern", "^[A-Za-z0-9._-]{1,64}$"}}}});
  }
  for (const QueryField& field : operation.query) parameters.push_back(query_parameter(field));
  for (const auto& [name, meaning] : operation.headers) {
    parameters.push_back({{"name", name},
                          {"in", "header"},
                          {"required", false},
                          {"description", meaning},
                          {"schema", {{"type", "string"}}}});
  }
  return parameters;
}

json response_of(const Answer& answer) {
  json response{{"description", answer.meaning}};
  if (answer.content_type.empty()) return response;
  response["content"][answer.content_type] = answer.schema.empty()
                                                 ? json{{"schema", {{"type", "string"}}}}
                                                 : json{{"schema", reference(answer.schema)}};
  return response;
}

json operation_of(const Operation& operation) {
  json object{{"operationId", operation.name},
              {"summary", operation.summary},
              {"parameters", parameters_of(operation)},
              {"responses", json::object()}};
  for (const Answer& answer : operation.answers) {
    object["responses"][std::to_string(answer.status)] = response_of(answer);
  }
  object["responses"]["default"] =
      response_of(problem_answer(0,
                                 "What any operation may answer: 401 without the token, 429 with "
                                 "Retry-After for more requests than a client may send, 4xx for "
                                 "requests refused before they arrive, 5xx."));
  if (!operation.body_schema.empty()) {
    object["requestBody"] = {
        {"required", operation.body_required},
        {"content", {{"application/json", {{"schema", reference(operation.body_schema)}}}}}};
  }
  if (operation.pattern == "/healthz") object["security"] = json::array();
  return object;
}

}  // namespace

json openapi_document(const std::vector<Operation>& operations) {
  json document{{"openapi", "3.1.0"},
                {"info",
                 {{"title", "paretod"},
                  {"version", "1"},
                  {"description", "Black-box and Pareto search over expensive evaluations."},
                  {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
                {"paths", json::object()},
                {"components",
                 {{"schemas", openapi_schemas()},
                  {"securitySchemes", {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
  // Without a configured token no credentials are needed.
  document["security"] = json::array({json{{"bearer", json::array()}}, json::object()});
  for (const Operation& operation : operations) {
    std::string method = operation.method;
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    document["paths"][operation.pattern][method] = operation_of(operation);
  }
  return document;
}

}  // namespace paretod
