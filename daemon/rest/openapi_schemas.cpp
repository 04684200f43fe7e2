#include <nlohmann/json.hpp>

#include "daemon/rest/openapi.hpp"
#include "daemon/schemas.hpp"

namespace paretod {
namespace {

using nlohmann::json;

const json text = {{"type", "string"}};
const json number = {{"type", "number"}};
const json count = {{"type", "integer"}, {"minimum", 0}};
const json flag = {{"type", "boolean"}};
const json moment = {{"type", "string"}, {"format", "date-time"}};

json ref(const std::string& name) {
  return {{"$ref", "#/components/schemas/" + name}};
}
json list_of(json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}
json map_of(json values) {
  return {{"type", "object"}, {"additionalProperties", std::move(values)}};
}
json or_null(json schema) {
  return {{"oneOf", json::array({std::move(schema), {{"type", "null"}}})}};
}
json one_of(std::vector<std::string> names) {
  return {{"type", "string"}, {"enum", std::move(names)}};
}

/// Properties of which all but `optional` are always there.
json object_of(json properties, const std::vector<std::string>& optional = {}) {
  json required = json::array();
  for (const auto& [name, schema] : properties.items()) {
    if (std::find(optional.begin(), optional.end(), name) == optional.end()) {
      required.push_back(name);
    }
  }
  return {{"type", "object"}, {"properties", std::move(properties)}, {"required", required}};
}

/// A request body: nothing else is accepted.
json request_of(json properties) {
  return {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

json page_of(const std::string& items, const std::string& item) {
  return object_of({{items, list_of(ref(item))}, {"next_page_token", text}}, {"next_page_token"});
}

json status_names() {
  return one_of({"queued", "running", "paused", "succeeded", "failed", "cancelled", "diverged"});
}

json job_fields() {
  return {{"id", text},
          {"name", text},
          {"status", status_names()},
          {"status_reason", text},
          {"create_time", moment},
          {"update_time", moment},
          {"progress", ref("Progress")},
          {"conditions", list_of(ref("Condition"))}};
}

json job_schema_object() {
  json fields = job_fields();
  fields["spec"] = {{"type", "object"},
                    {"description", "As submitted, completed with what was left out."}};
  fields["report"] = or_null(ref("Report"));
  return object_of(std::move(fields));
}

json progress_schema() {
  json volume = object_of({{"value", number}, {"reference_point", map_of(number)}});
  volume["description"] =
      "Relative to the worst of the first 20 ok trials; null while there are fewer, and when the "
      "front has more than three objectives and too many points.";
  return object_of(
      {{"asked", count},
       {"told", count},
       {"imported", count},
       {"injected", count},
       {"injected_told", count},
       {"in_flight", count},
       {"ok", count},
       {"infeasible", count},
       {"failed", count},
       {"unknown", count},
       {"budget_trials", count},
       {"parallelism", count},
       {"evaluation_seconds", number},
       {"budgets", map_of(ref("SpentBudget"))},
       {"running_seconds", number},
       {"trials_per_second", number},
       {"seconds_left", or_null(number)},
       {"front_size", count},
       {"best", or_null(object_of({{"trial", count}, {"objectives", map_of(ref("Measured"))}}))},
       {"hypervolume", or_null(std::move(volume))}});
}

json spent_budget_schema() {
  const json amount = {{"oneOf", json::array({number, text})}};
  json schema =
      object_of({{"spent", amount}, {"held", amount}, {"cap", amount}, {"share", number}});
  schema["description"] =
      "Of a resource with a cap. Held is set aside for attempts that run. Money is text with its "
      "currency, such as \"4.98 USD\".";
  return schema;
}

json seconds_up_to(double most) {
  return {{"type", "number"}, {"minimum", 0}, {"maximum", most}};
}

/// What workers and those who ask and tell send and get.
json lease_schemas() {
  const json name = {{"type", "string"}, {"maxLength", 128}};
  const json message = {{"type", "object"},
                        {"description", "A message of the evaluator protocol, version 1."}};
  const json lease = object_of(
      {{"lease", text}, {"job", text}, {"trial", count}, {"attempt", count}, {"request", message}});
  const auto with_message = [&](const char* more) {
    json properties{{"lease", text}, {"message", message}};
    if (*more != 0) properties[more] = text;
    return list_of(object_of(std::move(properties), {more}));
  };
  json asked = {{"count", {{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}}},
                {"wait_s", seconds_up_to(25)},
                {"ttl_s", seconds_up_to(604'800)},
                {"request", name}};
  asked["request"]["description"] = "Unique; a repeat gets the same answer.";
  json leased = asked;
  leased["worker"] = name;
  leased["evaluator"] = name;
  leased["job"] = name;
  json lease_request = request_of(std::move(leased));
  lease_request["required"] = {"worker", "evaluator"};
  json results = request_of({{"worker", name}, {"results", with_message("log")}});
  results["required"] = {"results"};
  json release = request_of({{"worker", name}, {"leases", list_of(text)}});
  release["required"] = {"leases"};
  return {
      {"AskRequest", request_of(std::move(asked))},
      {"LeaseRequest", std::move(lease_request)},
      {"Leases", object_of({{"leases", list_of(lease)}, {"ttl_s", number}})},
      {"HeartbeatRequest",
       request_of(
           {{"worker", name}, {"leases", list_of(text)}, {"progress", with_message("log")}})},
      {"HeartbeatAnswer",
       object_of({{"ttl_s", number}, {"cancel", list_of(text)}, {"gone", list_of(text)}})},
      {"ResultsRequest", std::move(results)},
      {"ResultsAnswer",
       object_of({{"results", list_of(object_of(
                                  {{"lease", text},
                                   {"status", one_of({"accepted", "duplicate", "unknown"})}}))}})},
      {"ReleaseRequest", std::move(release)},
      {"ReleaseAnswer", object_of({{"released", count}})}};
}

json problem_schema() {
  json problem =
      object_of({{"type", text},
                 {"title", text},
                 {"status", count},
                 {"detail", text},
                 {"problems", list_of(object_of({{"pointer", text}, {"message", text}}))}},
                {"problems"});
  problem["description"] =
      "RFC 9457. A pointer is a JSON pointer into the body; /query/NAME is a query parameter, "
      "/headers/NAME a header field.";
  return problem;
}

json front_schema() {
  const json recommended = object_of({{"name", text},
                                      {"trial", count},
                                      {"candidate", ref("Candidate")},
                                      {"estimates", map_of(ref("Estimate"))}});
  const json fields = {{"trial", count},
                       {"candidate", ref("Candidate")},
                       {"objectives", map_of(ref("Measured"))},
                       {"tag", text}};
  json crowding = or_null(number);
  crowding["description"] =
      "The gap between a point's neighbours on the whole front, summed over the objectives in "
      "parts of their ranges; null at the ends.";
  json point_fields = fields;
  point_fields["crowding_distance"] = crowding;
  const json why =
      object_of({{"method", one_of({"chebyshev", "weighted_sum", "reference_point", "knee"})},
                 {"weights", map_of(number)},
                 {"reference_point", map_of(number)},
                 {"rho", number},
                 {"value", number},
                 {"runner_up", or_null(object_of({{"trial", count}, {"value", number}}))},
                 {"considered", count},
                 {"sentence", text}},
                {"weights", "reference_point", "rho"});
  json chosen_fields = point_fields;
  chosen_fields["why"] = why;
  const json miss = object_of({{"constraint", text}, {"value", number}, {"by", number}});
  const json where =
      object_of({{"constraints", list_of(text)},
                 {"satisfied", count},
                 {"of", count},
                 {"closest", or_null(object_of({{"trial", count}, {"misses", list_of(miss)}}))}});
  json plausible =
      object_of({{"confidence", number}, {"count", count}, {"points", list_of(object_of(fields))}});
  plausible["description"] =
      "Points off the front that no member dominates with the confidence asked for.";
  return object_of({{"job", text},
                    {"status", status_names()},
                    {"source", one_of({"measured"})},
                    {"objectives", list_of(ref("Objective"))},
                    {"trials", count},
                    {"front_size", count},
                    {"ideal", or_null(map_of(number))},
                    {"nadir", or_null(map_of(number))},
                    {"at", or_null(count)},
                    {"where", or_null(where)},
                    {"message", text},
                    {"chosen", or_null(object_of(chosen_fields))},
                    {"plausible", std::move(plausible)},
                    {"points", list_of(object_of(point_fields))},
                    {"recommended", or_null(recommended)}},
                   {"plausible"});
}

json estimate_of_model() {
  return map_of(object_of({{"mean", number}, {"sd", number}, {"sd_mean", number}}));
}

json predicted_front_schema() {
  const json nearest =
      object_of({{"trial", count}, {"distance", number}, {"objectives", map_of(ref("Measured"))}});
  const json fields = {{"predicted", flag},
                       {"candidate", ref("Candidate")},
                       {"objectives", estimate_of_model()},
                       {"nearest", or_null(nearest)},
                       {"feasibility", number},
                       {"extrapolated", flag}};
  json chosen = fields;
  chosen["why"] =
      object_of({{"method", one_of({"chebyshev", "weighted_sum", "reference_point", "knee"})},
                 {"weights", map_of(number)},
                 {"reference_point", map_of(number)},
                 {"value", number},
                 {"sentence", text}},
                {"weights", "reference_point"});
  const json where = object_of({{"constraints", list_of(text)},
                                {"satisfied", count},
                                {"of", count},
                                {"closest", or_null(object_of(fields))}});
  json schema = object_of({{"job", text},
                           {"status", status_names()},
                           {"source", one_of({"predicted"})},
                           {"objectives", list_of(ref("Objective"))},
                           {"trials", count},
                           {"front_size", count},
                           {"ideal", map_of(number)},
                           {"nadir", map_of(number)},
                           {"verdict", text},
                           {"warnings", list_of(text)},
                           {"where", or_null(where)},
                           {"message", text},
                           {"chosen", or_null(object_of(chosen))},
                           {"points", list_of(object_of(fields))}});
  schema["description"] =
      "Nothing here is measured but `nearest`. sd is the standard deviation of a measurement "
      "there, sd_mean that of the mean alone; a distance is the root mean square over the "
      "coordinates, in parts of the sampled "
      "box.";
  return schema;
}

json surrogate_schema() {
  const json coordinate = object_of({{"name", text},
                                     {"low", number},
                                     {"high", number},
                                     {"log", flag},
                                     {"sampled_low", number},
                                     {"sampled_high", number}});
  const json model = object_of(
      {{"name", text},
       {"goal", one_of({"minimize", "maximize"})},
       {"link", one_of({"identity", "logit", "log"})},
       {"low", number},
       {"high", number},
       {"form", one_of({"full", "diagonal", "linear", "constant"})},
       {"constant", number},
       {"linear", list_of(number)},
       {"quadratic", list_of(list_of(number))},
       {"eigenvalues", list_of(number)},
       {"curvature", one_of({"hill", "bowl", "saddle", "flat"})},
       {"observations", count},
       {"terms", count},
       {"wanted_terms", count},
       {"rank", count},
       {"condition", or_null(number)},
       {"leverage", number},
       {"degrees_of_freedom", number},
       {"penalty", number},
       {"r2", or_null(number)},
       {"loo_r2", or_null(number)},
       {"loo_rmse", or_null(number)},
       {"best", object_of({{"candidate", ref("Candidate")}, {"mean", number}, {"sd", number}})}},
      {"low", "high"});
  return object_of({{"job", text},
                    {"source", one_of({"predicted"})},
                    {"optimizer", text},
                    {"trials", count},
                    {"observations", count},
                    {"infeasible", count},
                    {"formula", text},
                    {"scaling", one_of({"box", "shares"})},
                    {"coordinates", list_of(coordinate)},
                    {"objectives", list_of(model)},
                    {"ideal", map_of(number)},
                    {"nadir", map_of(number)},
                    {"verdict", one_of({"trade-off", "single solution", "unclear"})},
                    {"verdict_reason", text},
                    {"warnings", list_of(text)}});
}

json verify_request_schema() {
  const json several = {{"type", "integer"}, {"minimum", 1}, {"maximum", 100}};
  json schema = request_of({{"count", several},
                            {"preference", text},
                            {"method", one_of({"chebyshev", "weighted_sum"})},
                            {"reference_point", text},
                            {"knee", flag},
                            {"where", {{"oneOf", json::array({text, list_of(text)})}}},
                            {"candidates", list_of(ref("Candidate"))},
                            {"fidelity", count},
                            {"replicate", count}});
  schema["description"] =
      "One of count (1 if there is nothing else), candidates, and a question in the words of GET "
      "/front: preference, reference_point or knee, with where.";
  return schema;
}

json history_schema() {
  const json row = object_of({{"trial", count},
                              {"told", count},
                              {"time", moment},
                              {"seconds", number},
                              {"evaluation_seconds", number},
                              {"spent", ref("Spend")},
                              {"best", or_null(map_of(number))},
                              {"front_size", count},
                              {"hypervolume", or_null(number)}});
  return object_of({{"objectives", list_of(ref("Objective"))},
                    {"reference_point", or_null(map_of(number))},
                    {"history", list_of(row)}});
}

json evaluator_schema() {
  return object_of({{"name", text},
                    {"type", text},
                    {"summary", text},
                    {"slots", count},
                    {"leased", flag},
                    {"version", text},
                    {"paid", flag},
                    {"currency", text},
                    {"worst_case", ref("Spend")},
                    {"busy", count},
                    {"queued", count},
                    {"objectives", list_of(ref("Objective"))},
                    {"space", or_null(list_of({{"type", "object"}}))},
                    {"metrics", list_of(text)},
                    {"fidelity_unit", text},
                    {"default_fidelity", count},
                    {"params_schema", {{"type", "object"}}}});
}

}  // namespace

json openapi_schemas() {
  json spec = json::parse(job_schema());
  spec.erase("$schema");
  json recipe = json::parse(merge_recipe_schema());
  recipe.erase("$schema");
  const json estimate =
      object_of({{"mean", number}, {"stderr", number}, {"n", count}}, {"stderr", "n"});
  json outcome = object_of({{"status", text},
                            {"objectives", map_of({{"type", "object"}})},
                            {"metrics", map_of(number)},
                            {"seconds", number},
                            {"attempts", count},
                            {"constraints", list_of(number)},
                            {"cost", object_of({{"tokens", count}, {"money_micros", count}})},
                            {"examples", map_of(count)},
                            {"reason", text}},
                           {"constraints", "cost", "examples", "reason"});
  json schemas = {
      {"JobSpec", std::move(spec)},
      {"EmptyRequest", request_of(json::object())},
      {"PauseRequest", request_of({{"reason", {{"type", "string"}, {"maxLength", 1000}}}})},
      {"ExtendRequest",
       request_of(
           {{"budget",
             request_of({{"trials", {{"type", "integer"}, {"minimum", 1}, {"maximum", 1'000'000}}},
                         {"wall_s", {{"type", "number"}, {"minimum", 0}}},
                         {"evaluation_s", {{"type", "number"}, {"minimum", 0}}},
                         {"tokens", count},
                         {"money", text}})},
            {"parallelism", {{"type", "integer"}, {"minimum", 1}, {"maximum", 10'000}}}})},
      {"Problem", problem_schema()},
      {"Job", job_schema_object()},
      {"JobSummary", object_of(job_fields())},
      {"JobList", page_of("jobs", "JobSummary")},
      {"Progress", progress_schema()},
      {"SpentBudget", spent_budget_schema()},
      {"Spend", object_of({{"seconds", number}, {"tokens", count}, {"money", text}}, {"money"})},
      {"Condition", object_of({{"type", text},
                               {"status", flag},
                               {"reason", text},
                               {"message", text},
                               {"time", moment}})},
      {"Candidate",
       {{"type", "object"},
        {"description", "One value per parameter; coefficients of an affine one as an array."}}},
      {"Objective", object_of({{"name", text}, {"goal", one_of({"minimize", "maximize"})}})},
      {"Measured",
       object_of({{"value", number}, {"stderr", number}, {"n", count}, {"replicates", count}},
                 {"stderr", "n"})},
      {"Estimate", estimate},
      {"Report",
       object_of({{"stop_reason", text},
                  {"quantities", list_of(text)},
                  {"rows", list_of(object_of({{"name", text},
                                              {"trial", count},
                                              {"candidate", ref("Candidate")},
                                              {"estimates", map_of(ref("Estimate"))},
                                              {"difference", map_of(ref("Estimate"))}}))}})},
      {"Outcome", std::move(outcome)},
      {"Trial",
       object_of(
           {{"number", count},
            {"status", one_of({"asked", "ok", "infeasible", "failed", "unknown"})},
            {"candidate", ref("Candidate")},
            {"fidelity", count},
            {"replicate", count},
            {"tag", text},
            {"outcome", ref("Outcome")},
            {"asked_time", moment},
            {"told_time", moment},
            {"progress", object_of({{"done", number}, {"objectives", map_of(ref("Measured"))}})}},
           {"outcome", "told_time", "progress"})},
      {"TrialLog",
       object_of({{"trial", count},
                  {"attempts", list_of(object_of({{"attempt", count}, {"log", text}}))}})},
      {"MergeRecipe", recipe},
      {"TrialList", page_of("trials", "Trial")},
      {"Front", {{"oneOf", json::array({ref("MeasuredFront"), ref("PredictedFront")})}}},
      {"MeasuredFront", front_schema()},
      {"PredictedFront", predicted_front_schema()},
      {"Surrogate", surrogate_schema()},
      {"VerifyRequest", verify_request_schema()},
      {"Verification",
       object_of({{"job", text},
                  {"trials", list_of(object_of({{"trial", count},
                                                {"candidate", ref("Candidate")},
                                                {"fidelity", count},
                                                {"replicate", count},
                                                {"predicted", or_null(estimate_of_model())}}))}})},
      {"History", history_schema()},
      {"OptimizerList",
       object_of({{"optimizers", list_of(object_of({{"name", text},
                                                    {"revision", count},
                                                    {"summary", text},
                                                    {"source", text},
                                                    {"params_schema", {{"type", "object"}}}}))}})},
      {"EvaluatorList", object_of({{"evaluators", list_of(evaluator_schema())}})},
      {"Health", object_of({{"status", text}})},
      {"Readiness", object_of({{"status", text}, {"checks", map_of(text)}})}};
  schemas.update(lease_schemas());
  return schemas;
}

}  // namespace paretod
